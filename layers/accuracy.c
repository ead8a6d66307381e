/* accuracy: a metric: is the label among the `top` largest scores?
 *
 *   value = 1 if fewer than `top` scores come before the label's, else 0
 *
 * A score comes before another when it is larger, or equal and of a class with a lower number (so
 * that top 1 is what the largest score predicts). With a score that is NaN the sample is wrong.
 * Samples with the ignored label do not count. Scores (N, K) or (N, K, 1, 1), labels (N) -> (N). */
#include "layers/labels.h"
#include "layers/parallel.h"
#include "layers/self.h"

typedef struct accuracy_config {
    int64_t top, ignore_label;
} accuracy_config;

static const lamina_param params[] = {
    {.name = "top",
     .doc = "The label must be among so many largest scores.",
     .type = LAMINA_INT,
     .offset = offsetof(accuracy_config, top),
     .min = 1,
     .max = 1e9,
     .def = "1"},
    LAMINA__IGNORE_LABEL_PARAM(offsetof(accuracy_config, ignore_label),
                               "Samples with this label do not count; -1: none."),
};

typedef struct accuracy {
    const accuracy_config *config;
    int64_t classes;
    int32_t threads;
} accuracy;

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(accuracy), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    accuracy *metric = self;
    const lamina_shape out = {
        .dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {setup->in[0]->dim[0]}};
    metric->threads = setup->threads;
    int32_t status = lamina__check_scores_and_labels(call, setup, &metric->classes);
    if (status == LAMINA_OK && metric->config->top > metric->classes) {
        status =
            call->host->fail(call, LAMINA_ERROR_CONFIG,
                             "top %" PRId64 " of %" PRId64 " classes: every label is among them",
                             metric->config->top, metric->classes);
    }
    if (status == LAMINA_OK && metric->config->ignore_label >= 0) {
        status = call->host->set_ignored_label(call, metric->config->ignore_label);
    }
    return status != LAMINA_OK ? status : call->host->set_output(call, 0, &out);
}

/* One call, as the threads share it. */
typedef struct work {
    const accuracy *metric;
    const lamina_io *io;
} work;

static lamina_real is_right(const lamina_real *x, int64_t classes, int32_t label, int64_t top) {
    int64_t before = 0;
    for (int64_t k = 0; k < classes; k++) {
        if (x[k] != x[k]) {
            return 0;
        }
        before += k < label ? x[k] >= x[label] : x[k] > x[label];
    }
    return before < top ? 1 : 0;
}

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const accuracy_config *config = w->metric->config;
    const lamina_real *x = w->io->in[0]->data;
    const int32_t *label = w->io->in[1]->data;
    lamina_real *out = w->io->out[0]->data;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        out[n] =
            label[n] == config->ignore_label
                ? 0
                : is_right(x + n * w->metric->classes, w->metric->classes, label[n], config->top);
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 16384 }; /* less is not worth a thread */

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.metric = self, .io = io};
    return lamina__spread(call, w.metric->threads, io->samples,
                          GRAIN_NUMBERS / w.metric->classes + 1, forward_range, &w);
}

static const char *const cases[] = {"{input: [6, 3]}", "{input: [6, 3, 1, 1], params: {top: 2}}",
                                    "{input: [9, 5], params: {top: 3, ignore_label: 1}}", NULL};

const lamina_layer_type LAMINA__LAYER(accuracy) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "accuracy",
    .doc = "How often the label is among the largest scores.",
    .flags = LAMINA_IS_METRIC | LAMINA_NO_BACKWARD,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(accuracy_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .cases = cases};
