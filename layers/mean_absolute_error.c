/* mean_absolute_error: a metric: the mean of |x - t| over each sample's numbers; any shape.
 * Prediction and target (N, ...) -> (N). The same number as l1_loss. */
#include "layers/pairs.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    return LAMINA__REAL_NAME(pairs_run_forward)(self, call, io, LAMINA__REAL_NAME(pairs_distances));
}

static const char *const cases[] = {"{input: [4, 5], target: values}",
                                    "{input: [[2, 3, 2, 2], [2, 12]], target: values}", NULL};

const lamina_layer_type LAMINA__LAYER(mean_absolute_error) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "mean_absolute_error",
    .doc = "The mean of the absolute differences from the target.",
    .flags = LAMINA_IS_METRIC | LAMINA_NO_BACKWARD | LAMINA_ANY_DTYPE,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(pairs_create),
    .setup = LAMINA__REAL_NAME(pairs_setup),
    .forward = forward,
    .cases = cases};
