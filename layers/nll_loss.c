/* nll_loss: the negative log-likelihood, for a network that ends in log-probabilities
 * (log_softmax). Options and means as torch.nn.NLLLoss.
 *
 *   loss = -w[t] x[t] batch / (sum of w[t] over the batch)
 *   dx   = dloss times the same factor, at t alone
 *
 * with class weights w; 0 when t is the ignored label (layers/labels.h). Log-probabilities (N, K)
 * or (N, K, 1, 1), labels (N) -> (N): the loss of each sample. docs/mathematics.md. */
#include "layers/labels.h"
#include "layers/parallel.h"
#include "layers/self.h"

#include <string.h>

static const lamina_param params[] = {LAMINA__LABEL_PARAMS};

typedef struct nll_loss {
    const lamina__label_config *config;
    int64_t classes;
    int32_t threads;
} nll_loss;

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(nll_loss), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    nll_loss *loss = self;
    const lamina_shape out = {
        .dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {setup->in[0]->dim[0]}};
    loss->threads = setup->threads;
    int32_t status = lamina__check_scores_and_labels(call, setup, &loss->classes);
    if (status == LAMINA_OK) {
        status = lamina__check_label_config(call, loss->config, loss->classes);
    }
    return status != LAMINA_OK ? status : call->host->set_output(call, 0, &out);
}

/* One call, as the threads share it. */
typedef struct work {
    const nll_loss *loss;
    const lamina_io *io;
    double scale;
} work;

static lamina_real factor_of(const work *w, int64_t label) {
    return (lamina_real)(lamina__label_weight(w->loss->config, label) * w->scale);
}

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina_real *x = w->io->in[0]->data;
    const int32_t *label = w->io->in[1]->data;
    lamina_real *out = w->io->out[0]->data;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        out[n] = 0;
        if (label[n] != w->loss->config->ignore_label) { /* which may have no score */
            out[n] = -factor_of(w, label[n]) * x[n * w->loss->classes + label[n]];
        }
    }
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const int32_t *label = w->io->in[1]->data;
    const lamina_real *d_loss = w->io->d_out[0]->data;
    lamina_real *dx = w->io->d_in[0]->data;
    (void)thread;
    memset(dx + begin * classes, 0, (size_t)((end - begin) * classes) * sizeof *dx);
    for (int64_t n = begin; n < end; n++) {
        if (label[n] != w->loss->config->ignore_label) {
            dx[n * classes + label[n]] = -factor_of(w, label[n]) * d_loss[n];
        }
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 16384 }; /* less is not worth a thread */

static int32_t run(const void *self, lamina_call *call, const lamina_io *io, lamina_range_fn *fn) {
    const nll_loss *loss = self;
    work w = {.loss = loss, .io = io, .scale = lamina__label_scale(loss->config, io)};
    return lamina__spread(call, loss->threads, io->samples, GRAIN_NUMBERS / loss->classes + 1, fn,
                          &w);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return run(self, call, io, forward_range);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return io->d_in[0] != NULL ? run(self, call, io, backward_range) : LAMINA_OK;
}

static const char *const cases[] = {
    "{input: [4, 5]}", "{input: [3, 2, 1, 1]}",
    "{input: [6, 3], params: {class_weights: [1, 2, 0.5], ignore_label: 0}}", NULL};

const lamina_layer_type LAMINA__LAYER(nll_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "nll_loss",
    .doc = "The negative of the label's log-probability, after log_softmax.",
    .flags = LAMINA_IS_LOSS,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(lamina__label_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
