/* softplus: y = log(1 + exp(beta x)) / beta, a smooth relu; any shape.
 *
 *   dx = dy sigmoid(beta x)
 *
 * Computed as max(x, 0) + log(1 + exp(-|beta x|)) / beta, which neither overflows nor cancels and
 * so needs no threshold. Dugas et al. 2001. */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

typedef struct softplus_config {
    double beta;
} softplus_config;

#define FIELD(name) offsetof(softplus_config, name)

static const lamina_param params[] = {
    {.name = "beta",
     .doc = "How sharp the bend at 0 is.",
     .type = LAMINA_REAL,
     .offset = FIELD(beta),
     .min = 1e-6,
     .max = 1e6,
     .def = "1"},
};

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    const softplus_config *c = config;
    const lamina_real beta = (lamina_real)c->beta;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real size = beta * (x[i] < 0 ? x[i] : -x[i]);
        const lamina_real rest = lamina__vector_log1p(lamina__vector_exp(size)) / beta;
        y[i] = x[i] < 0 ? rest : x[i] + rest;
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *x, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    const softplus_config *c = config;
    const lamina_real beta = (lamina_real)c->beta;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = dy[i] * lamina__vector_sigmoid(beta * x[i]);
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_forward)(self, call, io, forward_row);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_backward)(self, call, io, backward_row, 0);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [4, 10], range: [-30, 30]}", NULL};

const lamina_layer_type LAMINA__LAYER(softplus) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "softplus",
    .doc = "A smooth relu: log(1 + exp(beta x)) / beta.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(softplus_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
