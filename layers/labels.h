/* What losses of labels have in common: the parameters class_weights and ignore_label, and what the
 * mean divides by.
 *
 * As in PyTorch, the loss of a sample counts with the weight w of its label (1; 0 when it is
 * ignored) and the mean over the batch divides by the sum of those weights, not by the number of
 * samples. The host's mean divides by the number, and a call may see but a part of the batch; so
 * each call adds up the weights of the whole batch's labels, in one order, and scales its losses by
 * batch / sum. It tells the host the sum, so that the mean over an epoch or split divides by the
 * sum of all its weights, whatever the batch. When all samples are ignored the losses are 0
 * (PyTorch's mean is then 0 / 0). */
#ifndef LAMINA_LAYERS_LABELS_H
#define LAMINA_LAYERS_LABELS_H

#include "layers/real.h"

#include <inttypes.h>

typedef struct lamina__label_config {
    lamina_reals class_weights; /* none: all 1 */
    int64_t ignore_label;       /* -1: none */
} lamina__label_config;

/* field: a row's offset in the layer's config; text: its documentation. */
#define LAMINA__IGNORE_LABEL_PARAM(field, text)                                                    \
    {                                                                                              \
        .name = "ignore_label", .doc = (text), .type = LAMINA_INT, .offset = (field), .min = -1,   \
        .max = 2147483647, .def = "-1"                                                             \
    }

/* The two parameters, of a config struct that begins with a lamina__label_config. */
#define LAMINA__LABEL_PARAMS                                                                       \
    {.name = "class_weights",                                                                      \
     .doc =                                                                                        \
         "What the loss of a sample is multiplied by, a number for each class; the mean over a "   \
         "batch, an epoch or a split divides by the sum of its labels' weights. Default: all 1.",  \
     .type = LAMINA_REALS,                                                                         \
     .offset = offsetof(lamina__label_config, class_weights),                                      \
     .max = 1e30,                                                                                  \
     .def = "[]",                                                                                  \
     .max_count = 1 << 20},                                                                        \
        LAMINA__IGNORE_LABEL_PARAM(offsetof(lamina__label_config, ignore_label),                   \
                                   "Samples with this label count nothing; -1: none.")

/* Scores (N, K) or (N, K, 1, 1); K comes back. */
static inline int32_t lamina__check_scores(lamina_call *call, const lamina_shape *x,
                                           int64_t *classes) {
    if (x->dtype != LAMINA__REAL_DTYPE) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "input 1 must be float32 values");
    }
    if (x->ndim != 2 && !(x->ndim == 4 && x->dim[2] == 1 && x->dim[3] == 1)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs one score for each class, (N, K) or (N, K, 1, 1), got %d "
                                "dimensions%s; put a linear layer before it",
                                (int)x->ndim, x->ndim == 4 ? " of more than one pixel" : "");
    }
    *classes = x->dim[1];
    return LAMINA_OK;
}

static inline int32_t lamina__check_labels(lamina_call *call, const lamina_shape *labels,
                                           int64_t batch) {
    if (labels->dtype != LAMINA_I32 || labels->ndim != 1 || labels->dim[0] != batch) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs one label for each of the %" PRId64 " samples", batch);
    }
    return LAMINA_OK;
}

/* Both inputs of a loss or metric of labels. */
static inline int32_t lamina__check_scores_and_labels(lamina_call *call, const lamina_setup *setup,
                                                      int64_t *classes) {
    const int32_t status = lamina__check_scores(call, setup->in[0], classes);
    return status != LAMINA_OK ? status
                               : lamina__check_labels(call, setup->in[1], setup->in[0]->dim[0]);
}

/* The weights fit the classes; tells the host which label to ignore. */
static inline int32_t
lamina__check_label_config(lamina_call *call, const lamina__label_config *config, int64_t classes) {
    const lamina_reals *weights = &config->class_weights;
    int64_t zeros = 0;
    while (zeros < weights->count && weights->value[zeros] == 0) {
        zeros++;
    }
    if (weights->count > 0 && weights->count != classes) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "class_weights has %" PRId64 " number%s for %" PRId64 " class%s",
                                weights->count, weights->count == 1 ? "" : "s", classes,
                                classes == 1 ? "" : "es");
    }
    if (weights->count > 0 && zeros == weights->count) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "class_weights are all 0, so nothing would be learned; give at "
                                "least one class a weight");
    }
    return config->ignore_label < 0 ? LAMINA_OK
                                    : call->host->set_ignored_label(call, config->ignore_label);
}

static inline double lamina__label_weight(const lamina__label_config *config, int64_t label) {
    if (label == config->ignore_label) {
        return 0;
    }
    return config->class_weights.count > 0 ? config->class_weights.value[label] : 1;
}

/* batch / the sum of the weights of all its labels; 0 when that is 0. Tells the host the sum, which
 * the mean over several batches needs. */
static inline double lamina__label_scale(const lamina__label_config *config, const lamina_io *io) {
    const int32_t *label = io->target->data;
    double sum = 0;
    if (config->class_weights.count == 0 && config->ignore_label < 0) {
        return 1;
    }
    for (int64_t n = 0; n < io->batch; n++) {
        sum += lamina__label_weight(config, label[n]);
    }
    if (io->weight_sum != NULL) {
        *io->weight_sum = sum;
    }
    return sum > 0 ? (double)io->batch / sum : 0;
}

#endif
