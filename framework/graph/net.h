/* A net: a network built for one input shape and batch size, with its plan and its memory, ready to
 * train or to evaluate.
 *
 * The plan. The batch is cut into shards; a worker thread takes one shard through all layers that
 * are called by shard, forward and then backward. A layer that couples the batch is called in
 * stages, by shard and joined in between, if its kernel can, else once on the whole batch. So is
 * one of which the plan says so: a layer with many weights and little to do for a sample, such as a
 * large linear layer, whose kernels then share the weights among the threads instead of each going
 * through all of them, and which has one gradient to sum instead of one for each shard. With one
 * shard and several threads every layer is called so, unless the plan says by_shard. Tensors live
 * in an arena: each shard has a part of its own, where tensors share memory when they are never
 * alive at the same time; those that are still there when shards wait for each other lie in a
 * common part.
 *
 * A shard may be cut again, into slices, which its thread takes one after the other, so that the
 * activations of a slice stay in the core's cache where those of a shard would not; they add to the
 * same gradients. When all layers are called by shard each slice goes forward and then backward
 * through the whole network, and the slices use the same memory. Where shards wait for each other,
 * all slices go up to there first; what lives beyond that is kept for each.
 *
 * After lamina__net_build a step allocates nothing. One thread uses a net at a time. */
#ifndef LAMINA_GRAPH_NET_H
#define LAMINA_GRAPH_NET_H

#include "data/loader.h"
#include "graph/network.h"

#include <stdbool.h>

/* What a plan decides, so that a resumed run computes with the same cut and kernels, and a new run
 * need not measure again. */
typedef struct lamina__recorded_kernel {
    char *layer;
    char *kernel[LAMINA__N_PASSES]; /* NULL: none for that pass */
    bool whole;                     /* the layer is called once, on the whole batch */
} lamina__recorded_kernel;

typedef struct lamina__plan_record {
    int32_t shards, slices; /* slices 0: as 1 */
    bool by_shard; /* one shard: layers on one thread, though there are more; see net_options */
    lamina__recorded_kernel *kernels;
    size_t count;
} lamina__plan_record;

void lamina__plan_record_free(lamina__plan_record *); /* its contents */
/* What a plan (may be NULL) has for a layer, or NULL. */
const lamina__recorded_kernel *lamina__plan_record_find(const lamina__plan_record *,
                                                        const char *layer);

typedef struct lamina__net_options {
    int64_t channels, height, width; /* of the input images */
    int64_t batch;                   /* the largest batch */
    int64_t partial[2];  /* other batch sizes that will come (last of an epoch); 0: none */
    int64_t classes;     /* labels are below this; a loss needs as many outputs; 0: unchecked */
    lamina_shape target; /* ndim 0: labels; else the shape of float32 targets, whatever dim[0] */
    int threads;         /* 0: lamina__default_threads() */
    int shards;          /* 0: decided here */
    int slices;          /* of each shard; 0: decided here */
    /* With one shard and several threads layers are called on the whole batch and their kernels use
     * the threads; with this they are called by shard, on one thread: for steps so short that
     * threads would cost more than they do. */
    bool by_shard;
    bool training; /* false: forward only */
    /* Activations may be made again in the backward phase, which saves memory: for at most this
     * share of a step's multiply-adds. */
    bool recompute;
    double recompute_share;
    bool keep_all;       /* every tensor keeps its memory to the end of the step (dump) */
    bool shapes_only;    /* shapes, kernels and plan, but no memory: for `summary` */
    bool trial;          /* for its speed alone: weights are some numbers, quickly made */
    const char *kernels; /* "auto" or NULL, "reference", "onednn" */
    const lamina__plan_record *recorded; /* an earlier run's; NULL: none */
    /* Where recorded, kernels, shards and slices leave the plan open: the one that was measured for
     * this very net on this machine is taken from a folder, if it is there; with `measure` it is
     * otherwise made and put there. NULL: no folder. */
    const char *cache;
    bool measure;
    const volatile int *stop; /* measuring ends when it is not 0; NULL: never before its time */
    uint64_t seed;
} lamina__net_options;

typedef struct lamina__net lamina__net;

/* Shape errors go to diags with the layer's place; other errors too (code says which). The network
 * must outlive the net. Weights are initialised. LAMINA_ERROR_INTERRUPTED, and no diagnostic, when
 * options->stop ended the measuring. */
lamina_status lamina__net_build(const lamina__network *, const lamina__net_options *,
                                lamina__net **, lamina__diags *);
void lamina__net_free(lamina__net *);

/* ---- Looking ---- */

int32_t lamina__net_n_layers(const lamina__net *);
const lamina__instance *lamina__net_layer(const lamina__net *, int32_t layer);
const lamina__layer_spec *lamina__net_layer_spec(const lamina__net *, int32_t layer);
int32_t lamina__net_shards(const lamina__net *);
int32_t lamina__net_slices(const lamina__net *); /* of each shard */
bool lamina__net_by_shard(const lamina__net *);  /* one shard on one of several threads */
/* The layer is called once, on the whole batch. */
bool lamina__net_is_whole(const lamina__net *, int32_t layer);
int32_t lamina__net_threads(const lamina__net *);
/* Not run in a training step: a metric, or a layer that only metrics read. */
bool lamina__net_eval_only(const lamina__net *, int32_t layer);

/* The losses, in the order of the layers. The network's loss is the sum of their means over the
 * batch, each times its weight. */
#define LAMINA__MAX_LOSSES 16
typedef struct lamina__net_loss {
    int32_t layer;
    double weight;
} lamina__net_loss;
int32_t lamina__net_n_losses(const lamina__net *);
lamina__net_loss lamina__net_loss_at(const lamina__net *, int32_t i);
/* The first loss whose target is labels: predictions and accuracy are those of what it is given.
 * -1: there is none. */
int32_t lamina__net_label_loss(const lamina__net *);
int64_t lamina__net_classes(const lamina__net *); /* outputs of what that is given; 0: none */
/* Does that loss count samples with this label? */
bool lamina__net_counts_label(const lamina__net *, int32_t label);
/* Which loss or metric has no output for a label, and does not ignore it? -1: none. *outputs: how
 * many it has. */
int32_t lamina__net_refuses_label(const lamina__net *, int32_t label, int64_t *outputs);

/* The metrics, in the order of the layers; the name is the layer's. */
#define LAMINA__MAX_METRICS 16
int32_t lamina__net_n_metrics(const lamina__net *);
int32_t lamina__net_metric_at(const lamina__net *, int32_t i); /* layer */

typedef struct lamina__memory {
    size_t weights, gradients, activations, packed; /* bytes; activations: arena and scratch */
} lamina__memory;
lamina__memory lamina__net_memory(const lamina__net *);

/* Weights and running state. All weights lie in one block of floats, each from a 64-byte boundary,
 * in stored order with its padding; optimizer slots use the same offsets. */
typedef struct lamina__net_weight {
    const char *layer;
    const lamina_weight *weight;    /* name, shape, order */
    int64_t offset;                 /* in the block, in floats */
    int64_t elements;               /* floats, padding included */
    const lamina__layer_keys *keys; /* frozen: it has no gradient; scales for the optimizer */
    float *data;
} lamina__net_weight;

int32_t lamina__net_n_weights(const lamina__net *);
lamina__net_weight lamina__net_weight_at(const lamina__net *, int32_t i);
int64_t lamina__net_weight_floats(const lamina__net *); /* length of the block */
float *lamina__net_weight_block(const lamina__net *);

typedef struct lamina__net_state {
    const char *layer;
    const lamina__state *state;
    float *data; /* seen through lamina__tensor_view: 4-D is channels-last */
} lamina__net_state;

int32_t lamina__net_n_states(const lamina__net *);
lamina__net_state lamina__net_state_at(const lamina__net *, int32_t i);

/* With keep_all, after a step: a layer's output and its gradient, whole batch. d_output's data is
 * NULL when no gradient was needed. */
lamina_status lamina__net_output(const lamina__net *, int32_t layer, int32_t output,
                                 lamina_tensor *out, lamina_tensor *d_out);

/* ---- Running ---- */

/* Sums are over the samples, in their order. A batch whose mean is m counts m W in the sum of a
 * loss and W in its weight: the number of samples, unless the loss has another (weight_sum of
 * lamina_io). So the mean of several batches does not depend on where they were cut. */
typedef struct lamina__result {
    double loss_sum;  /* of all losses, each times its loss_weight */
    int64_t correct;  /* samples whose largest output is their label's */
    int64_t labelled; /* samples with a label that counts; 0 without a loss that takes labels */
    int64_t samples;
    double losses[LAMINA__MAX_LOSSES]; /* each by itself */
    double weights[LAMINA__MAX_LOSSES];
    /* net_evaluate alone: sums, and of how many samples. */
    double metrics[LAMINA__MAX_METRICS];
    int64_t measured[LAMINA__MAX_METRICS];
} lamina__result;

/* Adds a part's sums. */
void lamina__result_add(lamina__result *, const lamina__result *part);
/* The mean of loss i; NaN where nothing counts. */
double lamina__result_loss_of(const lamina__result *, int32_t i);
/* The network's loss: the sum of the losses' means, each times its loss_weight. Losses of which
 * nothing counts are left out; NaN when that is all of them. */
double lamina__result_loss(const lamina__net *, const lamina__result *);
/* The same of sums that have their loss_weight in them: losses[n], weights[n], and all in one. */
double lamina__mean_loss(double loss_sum, int64_t samples, int32_t n, const double *losses,
                         const double *weights);

/* Floats begin..end-1 of the block, all of weight number `weight`; gradient[0] belongs to begin:
 * the mean over the batch. Called on several threads at once with other ranges, and not for frozen
 * weights. */
typedef void lamina__update_fn(void *arg, int32_t weight, int64_t begin, int64_t end,
                               const float *gradient);

/* Forward, backward, the sum of the shards' gradients in a fixed order, update. `step`: steps done
 * before. LAMINA_ERROR_NUMERIC when a loss or gradient is not finite, naming layer and tensor; a
 * loss that is not finite leaves the weights as they were. */
lamina_status lamina__net_train_step(lamina__net *, const lamina__batch *, int64_t step,
                                     lamina__update_fn *, void *arg, lamina__result *,
                                     lamina_error *);
lamina_status lamina__net_evaluate(lamina__net *, const lamina__batch *, lamina__result *,
                                   lamina_error *);
/* After a step or net_evaluate, for each sample of the batch: the index of its largest output, -1
 * when one is not a number. Without a loss that takes labels they mean nothing. */
const int32_t *lamina__net_predictions(const lamina__net *);

/* Repacks weights for the kernels; needed after somebody wrote to the weights (loading). */
void lamina__net_weights_changed(lamina__net *);

#endif
