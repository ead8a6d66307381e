/* hinge_loss: the multi-class margin loss, as torch.nn.MultiMarginLoss. Weston and Watkins 1999.
 *
 *   loss = 1/K sum over k != t of z[k]^p,   z[k] = max(0, margin - x[t] + x[k])
 *   dx[k] = dloss p z[k]^(p-1) / K where z[k] > 0 (k != t),   dx[t] = -(sum of the others)
 *
 * with p 1 or 2: a score counts unless it is below the label's by the margin. Scores (N, K) or
 * (N, K, 1, 1), labels (N) -> (N): the loss of each sample. docs/mathematics.md. */
#include "layers/labels.h"
#include "layers/parallel.h"
#include "layers/self.h"

typedef struct hinge_loss_config {
    int64_t p;
    double margin;
} hinge_loss_config;

static const lamina_param params[] = {
    {.name = "p",
     .doc = "Power of what a score is too large by.",
     .type = LAMINA_INT,
     .offset = offsetof(hinge_loss_config, p),
     .min = 1,
     .max = 2,
     .def = "1"},
    {.name = "margin",
     .doc = "How far above the others the label's score should be.",
     .type = LAMINA_REAL,
     .offset = offsetof(hinge_loss_config, margin),
     .min = -1e30,
     .max = 1e30,
     .def = "1"},
};

typedef struct hinge_loss {
    const hinge_loss_config *config;
    int64_t classes;
    int32_t threads;
} hinge_loss;

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(hinge_loss), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    hinge_loss *loss = self;
    const lamina_shape out = {
        .dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {setup->in[0]->dim[0]}};
    loss->threads = setup->threads;
    const int32_t status = lamina__check_scores_and_labels(call, setup, &loss->classes);
    return status != LAMINA_OK ? status : call->host->set_output(call, 0, &out);
}

/* One call, as the threads share it. */
typedef struct work {
    const hinge_loss *loss;
    const lamina_io *io;
} work;

/* What score k is too large by. A NaN stays one. */
static lamina_real excess(lamina_real margin, lamina_real label_score, lamina_real score) {
    const lamina_real z = margin - label_score + score;
    return z < 0 ? 0 : z;
}

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const lamina_real margin = (lamina_real)w->loss->config->margin;
    const int32_t *label = w->io->in[1]->data;
    lamina_real *out = w->io->out[0]->data;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const lamina_real *x = (const lamina_real *)w->io->in[0]->data + n * classes;
        double sum = 0;
        for (int64_t k = 0; k < classes; k++) {
            const lamina_real z = k != label[n] ? excess(margin, x[label[n]], x[k]) : 0;
            sum += (double)(w->loss->config->p == 1 ? z : z * z);
        }
        out[n] = (lamina_real)(sum / (double)classes);
    }
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const lamina_real margin = (lamina_real)w->loss->config->margin;
    const int32_t *label = w->io->in[1]->data;
    const lamina_real *d_loss = w->io->d_out[0]->data;
    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        const lamina_real *x = (const lamina_real *)w->io->in[0]->data + n * classes;
        lamina_real *dx = (lamina_real *)w->io->d_in[0]->data + n * classes;
        const lamina_real scale = d_loss[n] / (lamina_real)classes;
        double sum = 0;
        for (int64_t k = 0; k < classes; k++) {
            const lamina_real z = k != label[n] ? excess(margin, x[label[n]], x[k]) : 0;
            const lamina_real one = z > 0 ? 1 : z;
            dx[k] = scale * (w->loss->config->p == 1 ? one : 2 * z);
            sum += (double)dx[k];
        }
        dx[label[n]] = (lamina_real)-sum;
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 4096 }; /* less is not worth a thread */

static int32_t run(const void *self, lamina_call *call, const lamina_io *io, lamina_range_fn *fn) {
    work w = {.loss = self, .io = io};
    return lamina__spread(call, w.loss->threads, io->samples, GRAIN_NUMBERS / w.loss->classes + 1,
                          fn, &w);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return run(self, call, io, forward_range);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return io->d_in[0] != NULL ? run(self, call, io, backward_range) : LAMINA_OK;
}

static const char *const cases[] = {"{input: [4, 5]}", "{input: [3, 2, 1, 1]}",
                                    "{input: [4, 7], params: {p: 2, margin: 0.4}}", NULL};

const lamina_layer_type LAMINA__LAYER(hinge_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "hinge_loss",
    .doc = "How far the label's score is from being the largest by a margin.",
    .flags = LAMINA_IS_LOSS | LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(hinge_loss_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
