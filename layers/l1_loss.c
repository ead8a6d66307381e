/* l1_loss: the mean of the sizes of the differences; any shape.
 *
 *   l(x, t) = |x - t|,   slopes sign(x - t) and -sign(x - t), 0 where both are equal
 *
 * Prediction and target (N, ...) -> (N): the mean over each sample's numbers. docs/mathematics.md.
 */
#include "layers/pairs.h"

LAMINA__VECTOR_CLONES
static void slopes(const void *config, const lamina_real *x, const lamina_real *t, int64_t first,
                   lamina_real scale, int by_target, lamina_real *d, int64_t n) {
    const lamina_real factor = by_target ? -scale : scale;
    (void)config;
    (void)first;
    for (int64_t i = 0; i < n; i++) {
        const lamina_real r = x[i] - t[i];
        d[i] = r > 0 ? factor : r < 0 ? -factor : factor * r; /* a NaN stays one */
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_forward)(self, call, io, LAMINA__REAL_NAME(pairs_distances));
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_backward)(self, call, io, slopes);
}

static const char *const cases[] = {"{input: [4, 5], target: values}",
                                    "{input: [[2, 3, 2, 2], [2, 12]], target: values}", NULL};

const lamina_layer_type LAMINA__LAYER(l1_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "l1_loss",
    .doc = "The mean of the absolute differences from the target.",
    .flags = LAMINA_IS_LOSS | LAMINA_ANY_DTYPE | LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(pairs_create),
    .setup = LAMINA__REAL_NAME(pairs_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
