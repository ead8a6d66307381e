/* reshape: the same numbers under another shape, in logical row-major order, as torch.reshape with
 * the batch left alone: `shape: [-1]` is flatten, `shape: [8, 4, 4]` makes images of 8 channels.
 *
 *   dx = dy under x's shape
 *
 * Images lie in memory as H, W, C, so numbers move where an image of several channels and pixels
 * becomes something else, or the other way; where its channels stay the same they do not. */
#include "layers/reorder.h"
#include "layers/shape.h"

#include <inttypes.h>

typedef struct reshape_config {
    lamina_int_list shape;
} reshape_config;

static const lamina_param params[] = {
    {.name = "shape",
     .doc = "Sizes of the output without the batch, each 1 or more: [C, H, W] for images, one "
            "number for a row; one of them may be -1: what is left.",
     .type = LAMINA_INT_LIST,
     .offset = offsetof(reshape_config, shape),
     .required = 1,
     .max_count = LAMINA_MAX_DIMS - 1},
};

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina__reorder *layer = self;
    const lamina_int_list *sizes = &((const reshape_config *)layer->config)->shape;
    const int64_t all = lamina__sample_size(setup->in[0]);
    lamina_shape out = {
        .dtype = setup->in[0]->dtype, .ndim = sizes->count + 1, .dim = {setup->in[0]->dim[0]}};
    int64_t known = 1;
    int32_t open = 0; /* where -1 stands */

    for (int32_t i = 0; i < sizes->count; i++) {
        const int64_t size = sizes->value[i];
        if (size == -1 && open == 0) {
            open = i + 1;
        } else if (size < 1) {
            return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                    "shape has %" PRId64 "%s; sizes are 1 or more, and one may be "
                                    "-1: what is left",
                                    size, size == -1 ? " twice" : "");
        } else if (__builtin_mul_overflow(known, size, &known)) {
            known = INT64_MAX;
        }
        out.dim[i + 1] = size;
    }
    if (open > 0 && all % known == 0) {
        out.dim[open] = all / known;
        known = all;
    }
    if (known != all) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "the sizes in shape make %" PRId64 " numbers%s, a sample of the "
                                "input %s has %" PRId64,
                                known, open > 0 ? " times what -1 stands for" : "",
                                lamina__dims(setup->in[0]).text, all);
    }
    return LAMINA__REAL_NAME(reorder_setup)(self, call, setup, &out);
}

static const char *const cases[] = {"{input: [2, 12], params: {shape: [3, 2, 2]}}",
                                    "{input: [2, 3, 5, 4], params: {shape: [-1]}}",
                                    "{input: [2, 3, 4, 4], params: {shape: [3, 2, 8]}}",
                                    "{input: [2, 3, 4, 4], params: {shape: [4, 2, -1]}}", NULL};

const lamina_layer_type LAMINA__LAYER(reshape) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "reshape",
    .doc = "The same numbers under another shape, in the order C, H, W.",
    .flags = LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(reshape_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = LAMINA__REAL_NAME(reorder_create),
    .setup = setup,
    .forward = LAMINA__REAL_NAME(reorder_forward),
    .backward = LAMINA__REAL_NAME(reorder_backward),
    .cases = cases};
