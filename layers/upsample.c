/* upsample: an image enlarged s times along each axis, channel by channel.
 *
 *   nearest    y[i,j] = x[i / s, j / s], rounded down: every pixel becomes a block of s x s
 *   bilinear   y[i,j] = the weighted mean of the up to four pixels around the point of x that it
 *              lies on: p = (i + 1/2) / s - 1/2 (0 where that is negative), so that the images'
 *              edges coincide; with align_corners p = i (H - 1) / (sH - 1), so that the centres of
 *              their corners do
 *
 * Along an axis a pixel between pixels k and k+1, at p = k + l, is (1 - l) x[k] + l x[k+1], so y is
 * A_y x A_x^T with at most two numbers in a row of A_y and A_x, and
 *
 *   dx = A_y^T dy A_x
 *
 * Shapes: (N, C, H, W) -> (N, C, sH, sW). As torch.nn.Upsample; docs/mathematics.md. */
#include "layers/resample.h"
#include "layers/self.h"
#include "layers/shape.h"

typedef struct upsample_config {
    lamina_int_list scale;
    int32_t mode, align_corners;
} upsample_config;

typedef struct upsample {
    const upsample_config *config;
    int64_t in[2]; /* pixels: rows, columns */
    lamina__resample resample;
} upsample;

#define FIELD(name) offsetof(upsample_config, name)

enum { NEAREST, BILINEAR };
static const char *const modes[] = {"nearest", "bilinear", NULL};

static const lamina_param params[] = {
    {.name = "scale",
     .doc = "How many times as large the image becomes: one number or [height, width].",
     .type = LAMINA_INT_LIST,
     .required = 1,
     .offset = FIELD(scale),
     .min = 1,
     .max = 1024,
     .max_count = 2},
    {.name = "mode",
     .doc = "`nearest`: pixels become blocks; `bilinear`: weighted means of up to four pixels.",
     .type = LAMINA_ENUM,
     .offset = FIELD(mode),
     .def = "nearest",
     .choices = modes},
    {.name = "align_corners",
     .doc = "Whether the centres of the corner pixels stay where they are, in mode bilinear; else "
            "the edges of the image do.",
     .type = LAMINA_BOOL,
     .offset = FIELD(align_corners),
     .def = "false"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    const upsample_config *c = config;
    if (c->align_corners && c->mode == NEAREST) {
        return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                "align_corners means nothing in mode nearest; use mode: bilinear");
    }
    return lamina__make_self_with(call, config, sizeof(upsample), self);
}

/* The pixels that pixel o of the output is made of. The point it lies on is a fraction. */
static int64_t row_of(const void *arg, int axis, int64_t o, int64_t at[2], lamina_real weight[2]) {
    const upsample *layer = arg;
    const int64_t in = layer->in[axis], scale = layer->config->scale.value[axis];
    int64_t over = o, under = scale;

    if (layer->config->mode == BILINEAR && layer->config->align_corners) {
        over = o * (in - 1);
        under = scale * in > 1 ? scale * in - 1 : 1;
    } else if (layer->config->mode == BILINEAR) {
        over = 2 * o + 1 > scale ? 2 * o + 1 - scale : 0;
        under = 2 * scale;
    }
    at[0] = over / under;
    weight[0] = 1;
    if (layer->config->mode == NEAREST || over % under == 0 || at[0] + 1 == in) {
        return 1;
    }
    at[1] = at[0] + 1;
    weight[1] = (lamina_real)(over % under) / (lamina_real)under;
    weight[0] = 1 - weight[1];
    return 2;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    upsample *layer = self;
    const lamina_shape *in = setup->in[0];
    int64_t out[2];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    for (int axis = 0; axis < 2; axis++) {
        layer->in[axis] = in->dim[2 + axis];
        out[axis] = layer->in[axis] * layer->config->scale.value[axis];
    }
    return LAMINA__REAL_NAME(resample_setup)(call, setup, out, row_of, layer, &layer->resample);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const upsample *layer = self;
    return LAMINA__REAL_NAME(resample_forward)(&layer->resample, call, io);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const upsample *layer = self;
    return LAMINA__REAL_NAME(resample_backward)(&layer->resample, call, io);
}

static const char *const cases[] = {
    "{input: [2, 3, 4, 5], params: {scale: 2}}",
    "{input: [2, 17, 3, 2], params: {scale: [1, 3]}}",
    "{input: [2, 3, 4, 5], params: {scale: 2, mode: bilinear}}",
    "{input: [1, 5, 3, 4], params: {scale: [3, 2], mode: bilinear, align_corners: true}}",
    "{input: [3, 2, 1, 1], params: {scale: 4, mode: bilinear}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(upsample) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "upsample",
    .doc = "An image enlarged a whole number of times, by copies or by weighted means of pixels.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(upsample_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
