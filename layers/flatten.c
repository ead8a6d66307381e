/* flatten: all numbers of a sample as one row, in logical order: (N, C, H, W) -> (N, C*H*W), where
 * number (c*H + h)*W + w is channel c at pixel h, w.
 *
 *   dx = dy under x's shape
 *
 * An image lies in memory as H, W, C, so this moves its numbers, unless it has one channel or one
 * pixel. A linear layer takes images as they are, in the same order of its weights; flatten before
 * it changes nothing but the time. */
#include "layers/reorder.h"
#include "layers/shape.h"

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_shape *in = setup->in[0];
    const lamina_shape out = {
        .dtype = in->dtype, .ndim = 2, .dim = {in->dim[0], lamina__sample_size(in)}};
    return LAMINA__REAL_NAME(reorder_setup)(self, call, setup, &out);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [2, 1, 5, 4]}", "{input: [2, 6, 1, 1]}", NULL};

const lamina_layer_type LAMINA__LAYER(flatten) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "flatten",
    .doc = "All numbers of a sample in one row, in the order C, H, W.",
    .flags = LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(reorder_create),
    .setup = setup,
    .forward = LAMINA__REAL_NAME(reorder_forward),
    .backward = LAMINA__REAL_NAME(reorder_backward),
    .cases = cases};
