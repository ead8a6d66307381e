/* mish: y = x t, t = tanh(softplus(x)) = tanh(log(1 + exp(x))); any shape.
 *
 *   dx = dy (t + x (1 - t^2) sigmoid(x))
 *
 * With e = exp(-|x|) t is a fraction in which nothing overflows: (1 + 2e) / (1 + 2e + 2e^2) for
 * x > 0, (e^2 + 2e) / (e^2 + 2e + 2) else; 1 - t^2 is taken as a fraction of its own, so that
 * nothing cancels. Misra 2019. */
#include "layers/elementwise.h"
#include "layers/vector_math.h"

/* t, and its derivative (1 - t^2) sigmoid(x). */
static inline lamina_real tanh_softplus(lamina_real x, lamina_real *slope) {
    const lamina_real e = lamina__vector_exp(x > 0 ? -x : x);
    const lamina_real num = x > 0 ? 1 + 2 * e : e * (e + 2);
    const lamina_real rest = x > 0 ? 2 * e * e : 2; /* of the denominator, num + rest */
    const lamina_real den = num + rest;
    const lamina_real sigmoid = (x > 0 ? 1 : e) / (1 + e);

    *slope = rest * (num + den) / (den * den) * sigmoid;
    return num / den;
}

LAMINA__VECTOR_CLONES
static void forward_row(const void *config, const lamina_real *x, lamina_real *y, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        lamina_real slope;
        y[i] = x[i] * tanh_softplus(x[i], &slope);
    }
}

LAMINA__VECTOR_CLONES
static void backward_row(const void *config, const lamina_real *x, const lamina_real *dy,
                         lamina_real *dx, int64_t n) {
    (void)config;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        lamina_real slope;
        const lamina_real t = tanh_softplus(x[i], &slope);
        dx[i] = dy[i] * (t + x[i] * slope);
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

const lamina_layer_type LAMINA__LAYER(mish) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "mish",
    .doc = "A smooth relative of relu: x * tanh(softplus(x)).",
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
