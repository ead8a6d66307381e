/* elu, exponential linear unit: y = x where x > 0, else alpha (exp(x) - 1); any shape.
 *
 *   dx = dy where y > 0, else dy (y + alpha)
 *
 * Clevert, Unterthiner and Hochreiter 2015. */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

typedef struct elu_config {
    double alpha;
} elu_config;

#define FIELD(name) offsetof(elu_config, name)

static const lamina_param params[] = {
    {.name = "alpha",
     .doc = "Minus the value that very negative inputs get.",
     .type = LAMINA_REAL,
     .offset = FIELD(alpha),
     .min = 0,
     .max = 1e6,
     .def = "1"},
};

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    const elu_config *c = config;
    const lamina_real alpha = (lamina_real)c->alpha;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] > 0 ? x[i] : alpha * (lamina__vector_exp(x[i]) - 1);
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    const elu_config *c = config;
    const lamina_real alpha = (lamina_real)c->alpha;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] > 0 ? dy[i] : dy[i] * (y[i] + alpha);
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_forward)(self, call, io, forward_row);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_backward)(self, call, io, backward_row, 1);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [4, 10], range: [-30, 30]}", NULL};

const lamina_layer_type LAMINA__LAYER(elu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "elu",
    .doc = "Exponential linear unit: negative values go to -alpha smoothly.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(elu_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
