/* hard_sigmoid: y = x / 6 + 1 / 2, no less than 0 and no more than 1; any shape.
 *
 *   dx = dy / 6 where 0 < y < 1, else 0
 *
 * A NaN stays a NaN. Howard et al. 2019 (MobileNetV3). */
#include "layers/elementwise.h"

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real line = x[i] / 6 + (lamina_real)0.5;
        y[i] = x[i] <= -3 ? 0 : x[i] >= 3 ? 1 : line;
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *y, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        dx[i] = y[i] <= 0 || y[i] >= 1 ? 0 : dy[i] / 6;
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

const lamina_layer_type LAMINA__LAYER(hard_sigmoid) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "hard_sigmoid",
    .doc = "Straight-line relative of sigmoid: x / 6 + 1 / 2, from 0 to 1.",
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
