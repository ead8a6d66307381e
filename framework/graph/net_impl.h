/* Inside a net: what build.c makes, plan.c places in memory and executor.c runs.
 *
 * Values are the activations: the images, the labels, and every layer's outputs. A value lives in a
 * store, a piece of the arena; values that are computed in place share one.
 *
 * A piece is what one call into a layer can get. The batch is cut evenly into parts, the slices of
 * the shards: part p belongs to shard p / slices. So the pieces are: the parts; the shards, where
 * those have several slices; the whole batch, the last. Each value has a view of each piece. A lane
 * is what one call needs: a layer called on the whole batch has a single one, others one for each
 * part and shard, in the order of the pieces; one called in stages has one for the whole batch
 * behind them, too.
 *
 * A run is what happens between two times at which all shards wait for each other: a unit's forward
 * phase, its backward phase, or, of the last unit, both. What lives in one run only is local: it
 * lies in a block of each shard, in which its slices follow each other.
 *
 * The arena: the common part, scratch of whole-batch calls, then a block for each shard, then
 * scratch for each shard. */
#ifndef LAMINA_GRAPH_NET_IMPL_H
#define LAMINA_GRAPH_NET_IMPL_H

#include "graph/net.h"

enum { LAMINA__VALUE_DATA = 0, LAMINA__VALUE_TARGET = 1 };

typedef enum lamina__place {
    LAMINA__PLACE_LOCAL = 1, /* in each shard's block of the arena, in one run only */
    LAMINA__PLACE_COMMON,    /* the whole batch contiguous, in the common part */
    LAMINA__PLACE_GIVEN      /* the caller's memory: images and labels */
} lamina__place;

/* From time first to time last (plan.c says what time is) of a training step, if it is there then,
 * and to eval_last of an evaluation; -1: it is not there. */
typedef struct lamina__lifetime {
    int32_t first, last, eval_last;
    bool trained;
    /* In a training step: its last use in the forward phase, and its first in the backward phase,
     * INT32_MAX: none. `gap`: it is not there between them, as it is made again. */
    int32_t forward_last, backward_first;
    bool gap;
} lamina__lifetime;

typedef struct lamina__store {
    lamina__place place;
    size_t sample_bytes;
    int64_t samples;                /* of a block, when it is local */
    lamina__lifetime life, in_unit; /* by the clock of runs, and by that of layers */
    size_t offset;                  /* in its part of the arena */
} lamina__store;

/* A tensor somewhere in memory, seen by piece. */
typedef struct lamina__views {
    int32_t store;       /* -1: there is no such tensor */
    lamina_tensor *view; /* pieces */
} lamina__views;

typedef struct lamina__value {
    lamina_shape shape; /* whole batch */
    int32_t producer;   /* layer; -1 for images and labels */
    int32_t n_uses;     /* inputs it is */
    int32_t last_use;   /* the last layer that uses it, -1: none */
    /* The same of those that a training step runs: they give it gradients. */
    int32_t n_trained_uses, last_trained_use;
    int32_t loss; /* the loss whose output it is, -1: of none; its gradient is given */
    bool needs_gradient;
    int32_t store_again; /* in the backward phase, when it is made again there; 0: it is not */
    lamina__views data, gradient;
} lamina__value;

typedef struct lamina__lane {
    lamina__call call;
    lamina_error error;
    lamina_io io;
    double weight_sum;              /* of a loss: io.weight_sum points here */
    lamina_tensor *d_weight;        /* n_weights */
    const lamina_tensor **pointers; /* the arrays io points to, one after another */
    void **packed;
} lamina__lane;

typedef struct lamina__layer {
    lamina__instance *instance;
    const lamina__layer_spec *spec;
    bool whole;          /* called once, on the whole batch */
    bool staged;         /* called in stages */
    bool repeats;        /* its forward pass is repeated in the backward phase, in the same run */
    bool backward;       /* its backward pass is run */
    bool eval_only;      /* skipped in a training step */
    bool fused;          /* the layer before computes its forward pass, too, */
    bool fused_backward; /* and its backward pass */
    bool frozen;         /* its weights and running state stay as they are */
    int32_t value_in[LAMINA__MAX_INPUTS], value_out[LAMINA__MAX_OUTPUTS];
    /* Where a gradient is not the first to reach its value: it goes here and is added. store -1:
     * written directly. */
    lamina__views d_in_apart[LAMINA__MAX_INPUTS];
    lamina__views saved[LAMINA__MAX_DECLARED];
    int32_t shared;                       /* store, -1: none */
    int32_t first_unit, last_unit;        /* the same, unless it is staged */
    int32_t weight[LAMINA__MAX_DECLARED]; /* in the net's list; a sharer's are its owner's */
    int32_t first_state;                  /* in the net's list */
    size_t packed_offset[LAMINA__MAX_DECLARED];
    int32_t n_lanes;
    lamina__lane *lanes;
} lamina__layer;

/* Consecutive layers that are called alike: by shard (one parallel region), or one on the whole
 * batch. A layer called in stages is the last of one unit, for what is before its sums are joined,
 * and the first of the next. */
typedef struct lamina__unit {
    int32_t begin, end; /* layers */
    bool whole;
    bool eval_only; /* all of them */
    bool applies;   /* it begins with the second half of a layer called in stages, */
    bool sums;      /* and ends with the first half of one */
    bool sliced;    /* shards are taken slice by slice */
} lamina__unit;

/* A layer whose forward pass is repeated before the backward phase of a unit. */
typedef struct lamina__again {
    int32_t layer, unit;
} lamina__again;

typedef struct lamina__clock lamina__clock;

/* Where a weight's gradients are: a copy for each shard, or one when the layer is called on the
 * whole batch; none when it is frozen. */
typedef struct lamina__net_gradient {
    int64_t offset; /* of the first copy in the gradient block, in floats */
    int64_t apart;  /* from copy to copy */
    int32_t copies;
} lamina__net_gradient;

/* What a thread met in the update: the last weight whose gradient, or which itself after the
 * update, is not finite; -1: none. */
typedef struct lamina__not_finite {
    int32_t gradient, weight;
} lamina__not_finite;

struct lamina__net {
    lamina__net_options options;
    const lamina__plan_record *own_plan; /* while it is built; NULL: none */
    const lamina__network *network;
    int32_t shards, slices, parts, threads; /* parts: shards * slices */
    bool all_whole; /* one shard, several threads: kernels use the threads */
    bool openmp;    /* regions are OpenMP's: a kernel opens some itself */
    int32_t pieces; /* the last is the whole batch */

    int32_t n_layers, n_values, n_stores, n_units, n_weights, n_states;
    lamina__layer *layers;
    lamina__value *values;
    lamina__store *stores;
    lamina__unit *units;
    lamina__again *again; /* n_again, in the order in which they are run */
    int32_t n_again;
    size_t stores_capacity;
    bool *eval_only; /* n_layers; before there are layers */
    int32_t n_losses, n_metrics;
    lamina__net_loss losses[LAMINA__MAX_LOSSES];
    int32_t metrics[LAMINA__MAX_METRICS]; /* layers */
    int32_t label_loss;                   /* layer, -1: none */

    lamina__net_weight *weights;
    lamina__net_gradient *gradients; /* n_weights */
    lamina_tensor *weight_views;
    lamina__net_state *states;
    lamina_tensor *state_views;
    int64_t weight_floats, state_floats, gradient_floats;
    size_t packed_bytes;
    size_t common_bytes, shard_bytes, common_scratch, shard_scratch; /* multiples of 64 */

    /* Memory. */
    float *weight_block, *state_block;
    float *gradient_block; /* all zero between steps */
    char *arena;
    char *packed_block;
    float *loss_gradient; /* (losses, batch): each loss's weight / samples */
    int32_t *predictions; /* batch */
    lamina_tensor *views; /* of all lamina__views, one block */
    size_t n_views;

    /* The step. */
    int32_t phase;         /* of the call that is set; frozen layers are told evaluation always */
    int64_t bound_samples; /* batch size the views are set for */
    const lamina__batch *batch;
    bool packed_fresh;
    bool frozen_fresh;              /* the packed weights of frozen layers are */
    int32_t failed;                 /* a lane failed: set atomically */
    lamina__not_finite *not_finite; /* for each thread */
    lamina__clock *clock;           /* NULL: nothing is timed */
};

/* Where the samples of a part begin; it has those up to where the next one's begin. */
static inline int64_t lamina__part_begin(int64_t samples, int32_t part, int32_t parts) {
    return samples * part / parts;
}

/* Lanes begin .. end-1 by which a unit takes a shard, or, when it is called on the whole batch, its
 * only lane. */
typedef struct lamina__lanes {
    int32_t begin, end;
} lamina__lanes;

static inline lamina__lanes lamina__unit_lanes(const lamina__net *net, const lamina__unit *unit,
                                               int32_t shard) {
    if (unit->whole) {
        return (lamina__lanes){0, 1};
    }
    if (unit->sliced || net->slices == 1) {
        return (lamina__lanes){shard * net->slices, (shard + 1) * net->slices};
    }
    return (lamina__lanes){net->parts + shard, net->parts + shard + 1};
}

static inline int32_t lamina__lane_shard(const lamina__net *net, int32_t lane) {
    return lane < net->parts ? lane / net->slices : lane - net->parts;
}

/* Into how many calls by samples a unit cuts the batch. */
static inline int32_t lamina__unit_calls(const lamina__net *net, const lamina__unit *unit) {
    return unit->sliced ? net->parts : net->shards;
}

static inline size_t lamina__sample_bytes(const lamina_shape *shape) {
    return (size_t)(lamina__shape_count(shape) / shape->dim[0]) * lamina__dtype_bytes(shape->dtype);
}

/* Its weights' gradients are one copy: no two calls write to them at once. */
static inline bool lamina__has_one_gradient(const lamina__layer *layer) {
    return layer->whole || layer->staged;
}

/* build.c */
/* Builds a net by a plan of this machine's own (tune.c), which says nothing of kernels that are
 * forced, or, when that is NULL, as the options say. Errors of a layer go to diags with its place;
 * *error (may be NULL) has them, too. */
lamina_status lamina__net_make(const lamina__network *, const lamina__net_options *,
                               const lamina__plan_record *own, lamina__net **, lamina__diags *,
                               lamina_error *);

/* Does a layer take labels, as a loss or metric? */
static inline bool lamina__takes_labels(const lamina__layer *layer) {
    return lamina__has_target(layer->instance->type) && layer->instance->in[1].dtype == LAMINA_I32;
}

static inline bool lamina__net_is_stopped(const lamina__net_options *options) {
    return options->stop != NULL && *options->stop != 0;
}

/* units.c */
/* Makes the units of layers that are set up, and tells these the sizes of their calls. */
lamina_status lamina__make_units(lamina__net *, lamina_error *);
/* How many slices of a shard are likely to be best: more than 1 only where layers are called in
 * stages. */
int32_t lamina__likely_slices(const lamina__net *);
/* Every number of samples a call can get, largest first, without repeats; returns how many. On the
 * whole batch; or by part, by shard, or either. */
enum { LAMINA__MOST_SIZES = 16 };
int32_t lamina__whole_sizes(const lamina__net *, int64_t sizes[LAMINA__MOST_SIZES]);
int32_t lamina__shard_sizes(const lamina__net *, bool parts, bool shards,
                            int64_t sizes[LAMINA__MOST_SIZES]);

/* plan.c */
/* May layer i put its output where its input is? The input must have no other reader, before or
 * after. */
bool lamina__net_in_place(const lamina__net *, int32_t i);
/* Does its backward pass read its output? */
bool lamina__plan_needs_output(const lamina__layer *);
/* The run of a unit's backward phase; that of its forward phase is its number. */
int32_t lamina__plan_backward_run(const lamina__net *, int32_t unit);
/* Can its forward pass be repeated in a training step? */
bool lamina__plan_can_repeat(const lamina__layer *);
/* A second store for what another one has, from one time to another of the clock of runs. Its
 * number, -1: no memory. */
int32_t lamina__plan_add_second(lamina__net *, int32_t store, int32_t first, int32_t last);
/* Decides stores, their lifetimes and offsets. Layers are set up and bound. */
lamina_status lamina__net_plan(lamina__net *, lamina_error *);

/* again.c */
/* Chooses what is made again, once values have stores. */
lamina_status lamina__plan_again(lamina__net *, lamina_error *);

/* fit.c */
/* Is `available` (bytes; INT64_MAX: unknown) enough for the plan? */
lamina_status lamina__net_check_memory(const lamina__net *, int64_t available, lamina_error *);

/* wire.c */
/* Allocates everything, makes views and lanes. */
lamina_status lamina__net_wire(lamina__net *, lamina_error *);
void lamina__net_unwire(lamina__net *);
/* Sets views and lanes for a batch of so many samples. */
void lamina__net_bind_samples(lamina__net *, int64_t samples);
void lamina__net_bind_batch(lamina__net *, const lamina__batch *);
/* Sets the views of what layer's output shares a store with to its memory in the forward phase, or
 * to that where it is made again. */
void lamina__net_bind_again(lamina__net *, int32_t layer, bool again);

/* clock.c */
enum lamina__clock_counter {
    LAMINA__CLOCK_PREPARE = 0,
    LAMINA__CLOCK_UPDATE,
    LAMINA__CLOCK_INPUT, /* normalising images */
    LAMINA__CLOCK_PASSES /* from here on: the passes of each layer */
};
static inline int32_t lamina__clock_pass(int32_t layer, int pass) {
    return LAMINA__CLOCK_PASSES + layer * LAMINA__N_PASSES + pass;
}
/* The thread's first lap begins. */
void lamina__clock_mark(lamina__clock *, int32_t thread);
/* Adds the time since the thread's mark to a counter; its next lap begins. */
void lamina__clock_lap(lamina__clock *, int32_t thread, int32_t counter);
/* Thread 0's lap, outside any region: all threads worked on it, or waited. */
void lamina__clock_lap_all(lamina__clock *, int32_t counter);
/* A parallel region, or a step, that began then is over. */
void lamina__clock_region_end(lamina__clock *, double begin);
void lamina__clock_step_end(lamina__clock *, double begin);

#endif
