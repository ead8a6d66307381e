/* selu, scaled elu: y = scale * x where x > 0, else scale * alpha (exp(x) - 1); any shape. With
 * these two constants activations drift to mean 0 and variance 1 by themselves.
 *
 *   dx = scale * dy where y > 0, else dy (y + scale * alpha)
 *
 * Klambauer et al. 2017. */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

static const lamina_real scale = (lamina_real)1.0507009873554804934193349852946;
static const lamina_real scale_alpha =
    (lamina_real)(1.0507009873554804934193349852946 * 1.6732632423543772848170429916717);

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] > 0 ? scale * x[i] : scale_alpha * (lamina__vector_exp(x[i]) - 1);
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] > 0 ? scale * dy[i] : dy[i] * (y[i] + scale_alpha);
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

const lamina_layer_type LAMINA__LAYER(selu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "selu",
    .doc = "Scaled exponential linear unit, which keeps activations near mean 0, variance 1.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
