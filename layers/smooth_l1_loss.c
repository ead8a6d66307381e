/* smooth_l1_loss: l1_loss with a parabola at its corner; any shape. Girshick 2015; with beta 1 the
 * loss of Huber 1964.
 *
 *   l(x, t) = r^2 / (2 beta)   where |r| < beta,   else |r| - beta / 2,   r = x - t
 *   slopes    r / beta         where |r| < beta,   else sign(r);   by t with the other sign
 *
 * With beta 0 it is l1_loss. Prediction and target (N, ...) -> (N): the mean over each sample's
 * numbers. docs/mathematics.md. */
#include "layers/pairs.h"

typedef struct smooth_l1_loss_config {
    double beta;
} smooth_l1_loss_config;

static const lamina_param params[] = {
    {.name = "beta",
     .doc = "Differences below it count by their square.",
     .type = LAMINA_REAL,
     .offset = offsetof(smooth_l1_loss_config, beta),
     .max = 1e30,
     .def = "1"},
};

LAMINA__VECTOR_CLONES
static void values(const void *config, const lamina_real *x, const lamina_real *t, int64_t first,
                   lamina_real *l, int64_t n) {
    const lamina_real beta = (lamina_real)((const smooth_l1_loss_config *)config)->beta;
    const lamina_real half = beta > 0 ? (lamina_real)0.5 / beta : 0;
    (void)first;
    for (int64_t i = 0; i < n; i++) {
        const lamina_real r = x[i] - t[i], size = r < 0 ? -r : r;
        l[i] = size < beta ? half * r * r : size - (lamina_real)0.5 * beta;
    }
}

LAMINA__VECTOR_CLONES
static void slopes(const void *config, const lamina_real *x, const lamina_real *t, int64_t first,
                   lamina_real scale, int by_target, lamina_real *d, int64_t n) {
    const lamina_real beta = (lamina_real)((const smooth_l1_loss_config *)config)->beta;
    const lamina_real factor = by_target ? -scale : scale;
    const lamina_real inner = beta > 0 ? factor / beta : 0;
    (void)first;
    for (int64_t i = 0; i < n; i++) {
        const lamina_real r = x[i] - t[i], size = r < 0 ? -r : r;
        const lamina_real outer = r > 0 ? factor : r < 0 ? -factor : factor * r;
        d[i] = size < beta ? inner * r : outer;
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_forward)(self, call, io, values);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_backward)(self, call, io, slopes);
}

static const char *const cases[] = {"{input: [4, 5], target: values}",
                                    "{input: [[2, 3, 2, 2], [2, 12]], target: values}",
                                    "{input: [4, 5], target: values, params: {beta: 0.3}}", NULL};

const lamina_layer_type LAMINA__LAYER(smooth_l1_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "smooth_l1_loss",
    .doc = "l1_loss with a parabola for small differences.",
    .flags = LAMINA_IS_LOSS | LAMINA_ANY_DTYPE | LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .config_size = sizeof(smooth_l1_loss_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(pairs_create),
    .setup = LAMINA__REAL_NAME(pairs_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
