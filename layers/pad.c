/* pad: rows and columns of pixels around an image, channel by channel.
 *
 *   y[i,j] = x[r(i - top), r(j - left)]   where r, for an axis of H pixels, takes p to
 *
 *   constant    p inside the image; y is `value` where p is outside
 *   reflect     -p where p < 0, 2 (H - 1) - p where p >= H: mirrored at the edge pixels, which are
 *               not repeated
 *   replicate   the nearest pixel inside
 *
 * so y = A_y x A_x^T, but for `value`, with at most a 1 in each row of A_y and A_x, and
 *
 *   dx = A_y^T dy A_x: each pixel gets the sum of the gradients of its copies
 *
 * Shapes: (N, C, H, W) -> (N, C, top + H + bottom, left + W + right). As torch.nn.ConstantPad2d,
 * ZeroPad2d, ReflectionPad2d and ReplicationPad2d; the order of the sides is conv's. */
#include "layers/resample.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <inttypes.h>

typedef struct pad_config {
    lamina_int_list padding;
    int32_t mode;
    double value;
} pad_config;

typedef struct pad {
    const pad_config *config;
    int64_t in[2], first[2]; /* rows, columns: of the image, and before it */
    lamina__resample resample;
} pad;

#define FIELD(name) offsetof(pad_config, name)

enum { CONSTANT, REFLECT, REPLICATE };
static const char *const modes[] = {"constant", "reflect", "replicate", NULL};

static const lamina_param params[] = {
    {.name = "padding",
     .doc = "Pixels around the image: one number, [height, width] or [top, left, bottom, right].",
     .unit = "pixels",
     .type = LAMINA_INT_LIST,
     .required = 1,
     .offset = FIELD(padding),
     .min = 0,
     .max = 4096,
     .max_count = 4},
    {.name = "mode",
     .doc = "`constant`: all of one value; `reflect`: the image mirrored at its edge pixels; "
            "`replicate`: copies of these.",
     .type = LAMINA_ENUM,
     .offset = FIELD(mode),
     .def = "constant",
     .choices = modes},
    {.name = "value",
     .doc = "What the pixels are in mode constant.",
     .type = LAMINA_REAL,
     .offset = FIELD(value),
     .def = "0"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    const pad_config *c = config;
    if (c->padding.count == 3) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "padding must be one number, [height, width] or "
                                "[top, left, bottom, right], not a list of 3");
    }
    if (c->mode != CONSTANT && c->value != 0) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "value means nothing in mode %s; use mode: constant",
                                modes[c->mode]);
    }
    return lamina__make_self_with(call, config, sizeof(pad), self);
}

/* The pixel that pixel o of the output is a copy of. */
static int64_t row_of(const void *arg, int axis, int64_t o, int64_t at[2], lamina_real weight[2]) {
    const pad *layer = arg;
    const int64_t last = layer->in[axis] - 1, p = o - layer->first[axis];

    weight[0] = 1;
    at[0] = p;
    if (p < 0) {
        at[0] = layer->config->mode == REFLECT ? -p : 0;
    } else if (p > last) {
        at[0] = layer->config->mode == REFLECT ? 2 * last - p : last;
    }
    return layer->config->mode == CONSTANT && at[0] != p ? 0 : 1;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    pad *layer = self;
    const lamina_int_list *padding = &layer->config->padding;
    const lamina_shape *in = setup->in[0];
    int64_t out[2];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    for (int axis = 0; axis < 2; axis++) {
        const int64_t before = padding->value[axis];
        const int64_t after = padding->value[padding->count == 4 ? 2 + axis : axis];
        const int64_t most = before > after ? before : after;
        layer->in[axis] = in->dim[2 + axis];
        layer->first[axis] = before;
        out[axis] = before + layer->in[axis] + after;
        if (layer->config->mode == REFLECT && most >= layer->in[axis]) {
            return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                    "an image of %" PRId64 "x%" PRId64
                                    " can be mirrored by fewer pixels than it has, not by %" PRId64
                                    "; use less padding or mode: replicate",
                                    in->dim[2], in->dim[3], most);
        }
    }
    layer->resample.fill = (lamina_real)layer->config->value;
    return LAMINA__REAL_NAME(resample_setup)(call, setup, out, row_of, layer, &layer->resample);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const pad *layer = self;
    return LAMINA__REAL_NAME(resample_forward)(&layer->resample, call, io);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const pad *layer = self;
    return LAMINA__REAL_NAME(resample_backward)(&layer->resample, call, io);
}

static const char *const cases[] = {
    "{input: [2, 3, 4, 5], params: {padding: 1}}",
    "{input: [2, 3, 4, 5], params: {padding: [0, 1, 2, 3], value: -1.5}}",
    "{input: [2, 17, 3, 4], params: {padding: [2, 3], mode: reflect}}",
    "{input: [3, 2, 1, 2], params: {padding: [2, 0, 1, 3], mode: replicate}}", NULL};

const lamina_layer_type LAMINA__LAYER(pad) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "pad",
    .doc = "Rows and columns of pixels around an image: of one value, mirrored or copied.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(pad_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
