/* leaky_relu: y = x where x > 0, else slope * x, element by element, any shape.
 *
 *   dx = dy where y > 0, else slope * dy
 *
 * As slope is not negative the output says which, and both passes can work in place. Maas, Hannun
 * and Ng 2013. */
#include "layers/elementwise.h"

typedef struct leaky_relu_config {
    double slope;
} leaky_relu_config;

#define FIELD(name) offsetof(leaky_relu_config, name)

static const lamina_param params[] = {
    {.name = "slope",
     .doc = "What negative values are multiplied with.",
     .type = LAMINA_REAL,
     .offset = FIELD(slope),
     .min = 0,
     .max = 1e6,
     .def = "0.01"},
};

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    const leaky_relu_config *c = config;
    const lamina_real slope = (lamina_real)c->slope;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] > 0 ? x[i] : slope * x[i];
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    const leaky_relu_config *c = config;
    const lamina_real slope = (lamina_real)c->slope;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];
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

const lamina_layer_type LAMINA__LAYER(leaky_relu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "leaky_relu",
    .doc = "Rectified linear unit that lets a part of negative values through.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(leaky_relu_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
