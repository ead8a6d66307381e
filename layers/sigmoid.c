/* sigmoid: y = 1 / (1 + exp(-x)), element by element, any shape.
 *
 *   dx = dy y (1 - y) */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = lamina__vector_sigmoid(x[i]);
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = dy[i] * y[i] * (1 - y[i]);
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

const lamina_layer_type LAMINA__LAYER(sigmoid) = {.struct_size = sizeof(lamina_layer_type),
                                                  .name = "sigmoid",
                                                  .doc = "Logistic function: 1 / (1 + exp(-x)).",
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
