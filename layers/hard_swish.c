/* hard_swish: y = x * hard_sigmoid(x): 0 for x <= -3, x for x >= 3, x (x + 3) / 6 between; any
 * shape.
 *
 *   dx = dy (x / 3 + 1 / 2) between, 0 below, dy above
 *
 * A NaN stays a NaN. Howard et al. 2019 (MobileNetV3). */
#include "layers/elementwise.h"

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real between = x[i] * (x[i] + 3) / 6;
        y[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? x[i] : between;
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *x, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real between = dy[i] * (x[i] / 3 + (lamina_real)0.5);
        dx[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? dy[i] : between;
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

const lamina_layer_type LAMINA__LAYER(hard_swish) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "hard_swish",
    .doc = "Relative of silu without an exponential: x * hard_sigmoid(x).",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(elementwise_create),
    .setup = LAMINA__REAL_NAME(elementwise_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
