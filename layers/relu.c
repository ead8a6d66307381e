/* relu: y = max(x, 0), element by element, any shape; a NaN stays a NaN, so that a run that
 * diverges is seen.
 *
 *   dx = dy where y > 0, else 0
 *
 * so backward reads the output, and both passes can work in place. Nair and Hinton 2010.
 *
 * Both are bound by memory and take the time of one pass over it, as oneDNN's do. */
#include "layers/elementwise.h"

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] < 0 ? 0 : x[i];
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] <= 0 ? 0 : dy[i];
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_forward)(self, call, io, forward_row);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(elementwise_run_backward)(self, call, io, backward_row, 1);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [2, 17, 6, 7]}", "{input: [4]}", NULL};

const lamina_layer_type LAMINA__LAYER(relu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "relu",
    .doc = "Rectified linear unit: negative values become 0.",
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
