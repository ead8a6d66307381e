/* sample.coord_conv: tells a convolution where it is, by appending to an image a channel with each
 * pixel's y coordinate and one with its x coordinate, both from -1 to 1, and if wanted one with its
 * distance from the centre, sqrt(y^2 + x^2). Put it before a conv. Liu et al. 2018, "An intriguing
 * failing of convolutional neural networks and the CoordConv solution".
 *
 * (N, C, H, W) -> (N, C + 2 or 3, H, W). The new channels are constants, so the gradient of the
 * input is that of the output without them. */
#include "lamina/layer.h"

#include <math.h>
#include <string.h>

typedef struct coord_config {
    int32_t radius;
} coord_config;

static const lamina_param params[] = {
    {.name = "radius",
     .doc = "Whether to append the distance from the centre too.",
     .type = LAMINA_BOOL,
     .offset = offsetof(coord_config, radius),
     .def = "false"},
};

/* Filled by setup(), only read afterwards: forward() and backward() run on many threads at once. */
typedef struct coord_conv {
    const coord_config *config;
    int64_t channels, height, width; /* of the input */
    int64_t extra;                   /* channels appended */
} coord_conv;

static int32_t create(lamina_call *call, const void *config, void **self) {
    coord_conv *c = call->host->alloc(call, sizeof *c); /* freed by the host */
    if (c == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    c->config = config;
    *self = c;
    return LAMINA_OK;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    coord_conv *c = self;
    lamina_shape shape = *setup->in[0];

    if (shape.ndim != 4) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs image input (N, C, H, W), got %d dimensions",
                                (int)shape.ndim);
    }
    c->channels = shape.dim[1];
    c->height = shape.dim[2];
    c->width = shape.dim[3];
    c->extra = c->config->radius ? 3 : 2;
    shape.dim[1] += c->extra;
    return call->host->set_output(call, 0, &shape);
}

/* Pixel i of n, from -1 to 1; the only one of a line is in its middle. */
static float coordinate(int64_t i, int64_t n) {
    return n > 1 ? (float)(2 * i - (n - 1)) / (float)(n - 1) : 0.0F;
}

/* In memory both images are channels-last: a pixel is its input channels, then the new ones. */
static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const coord_conv *c = self;
    const float *in = io->in[0]->data;
    float *out = io->out[0]->data;

    (void)call;
    for (int64_t row = 0; row < io->samples * c->height; row++) {
        const float y = coordinate(row % c->height, c->height);
        for (int64_t column = 0; column < c->width; column++) {
            const float x = coordinate(column, c->width);
            memcpy(out, in, (size_t)c->channels * sizeof *out);
            in += c->channels;
            out += c->channels;
            *out++ = y;
            *out++ = x;
            if (c->extra == 3) {
                *out++ = sqrtf(y * y + x * x);
            }
        }
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const coord_conv *c = self;

    (void)call;
    if (io->d_in[0] == NULL) { /* the data itself: nobody wants its gradient */
        return LAMINA_OK;
    }
    const float *d_out = io->d_out[0]->data;
    float *d_in = io->d_in[0]->data;
    for (int64_t pixel = 0; pixel < io->samples * c->height * c->width; pixel++) {
        memcpy(d_in, d_out, (size_t)c->channels * sizeof *d_in);
        d_in += c->channels;
        d_out += c->channels + c->extra;
    }
    return LAMINA_OK;
}

static const char *const cases[] = {"{input: [2, 3, 5, 4]}",
                                    "{input: [2, 1, 4, 6], params: {radius: true}}",
                                    "{input: [3, 2, 1, 1]}", NULL};

static const lamina_layer_type coord_conv_type = {
    .struct_size = sizeof coord_conv_type,
    .name = "sample.coord_conv",
    .doc = "Appends the coordinates of each pixel to an image, as channels.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(coord_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};

static const lamina_layer_type *const types[] = {&coord_conv_type, NULL};

static const lamina_plugin plugin = {.struct_size = sizeof plugin,
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR,
                                     .name = "coord_conv",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
