/* dropout2d: in training each channel of each sample is kept with probability 1 - p and divided by
 * that, or becomes 0 as a whole; in evaluation the layer changes nothing. Images (N, C, H, W).
 *
 *   y[n,c] = m[n,c] * x[n,c],  dx[n,c] = m[n,c] * dy[n,c],  m = 1/(1-p) where kept, else 0
 *
 * The pixels of a feature map are alike, so dropping some of them, as dropout does, loses little of
 * it. Which channels are kept is a function of the seed, the layer, the step and n*C + c, n counted
 * through the batch. Both passes can work in place. Tompson, Goroshin, Jain, LeCun and Bregler
 * 2015. */
#include "layers/dropout.h"
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

/* Numbers: less is not worth a thread; random numbers drawn at a time. */
enum { GRAIN = 16384, BLOCK = 256 };

typedef struct dropout2d_config {
    double p;
} dropout2d_config;

typedef struct dropout2d {
    const dropout2d_config *config;
    int64_t channels, pixels;
    int32_t threads;
} dropout2d;

#define FIELD(name) offsetof(dropout2d_config, name)

static const lamina_param params[] = {
    LAMINA__DROPOUT_P_PARAM(FIELD(p),
                            "Probability that a channel of a sample becomes 0 in training."),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(dropout2d), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    dropout2d *layer = self;
    const lamina_shape *in = setup->in[0];
    int32_t status = LAMINA_OK;
    if (in->ndim != 4) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs images (N, C, H, W), got %s; dropout takes any shape",
                                lamina__dims(in).text);
    }
    layer->channels = in->dim[1];
    layer->pixels = in->dim[2] * in->dim[3];
    layer->threads = setup->threads;
    if (setup->training) {
        const lamina_shape scale = {
            .dtype = LAMINA__REAL_DTYPE, .ndim = 2, .dim = {in->dim[0], layer->channels}};
        status = call->host->add_saved(call, "scale", &scale);
    }
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* The channels of `samples` samples: 0, or 1/(1-p). */
static void draw(const dropout2d *layer, lamina_call *call, const lamina_io *io) {
    const double p = layer->config->p;
    const lamina_real scale = p < 1 ? (lamina_real)(1 / (1 - p)) : 0;
    const int64_t count = io->samples * layer->channels;
    const uint64_t first = (uint64_t)io->first_sample * (uint64_t)layer->channels;
    lamina_real *to = io->saved[0]->data;
    float uniform[BLOCK];
    for (int64_t at = 0; at < count; at += BLOCK) {
        const int64_t n = count - at < BLOCK ? count - at : BLOCK;
        call->host->uniform(call, first + (uint64_t)at, uniform, (size_t)n);
        for (int64_t i = 0; i < n; i++) {
            to[at + i] = uniform[i] >= (float)p ? scale : 0;
        }
    }
}

/* One pass of one call, as the threads share it. */
typedef struct work {
    int64_t channels, pixels;
    const lamina_real *from, *scale; /* scale NULL: 1 */
    lamina_real *to;                 /* may be from */
} work;

LAMINA__VECTOR_CLONES
static void scale_row(const lamina_real *from, const lamina_real *scale, lamina_real *to,
                      int64_t n) {
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        to[c] = from[c] * scale[c];
    }
}

/* Pixels begin .. end-1, counted through all samples. */
static int32_t scale_pixels(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        scale_row(w->from + i * w->channels, w->scale + i / w->pixels * w->channels,
                  w->to + i * w->channels, w->channels);
    }
    return LAMINA_OK;
}

static int32_t copy_pixels(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    memcpy(w->to + begin * w->channels, w->from + begin * w->channels,
           (size_t)((end - begin) * w->channels) * sizeof *w->to);
    return LAMINA_OK;
}

static int32_t spread(const dropout2d *layer, lamina_call *call, int64_t samples,
                      lamina_range_fn *fn, work *w) {
    return lamina__spread(call, layer->threads, samples * layer->pixels,
                          GRAIN / layer->channels + 1, fn, w);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const dropout2d *layer = self;
    work w = {.channels = layer->channels,
              .pixels = layer->pixels,
              .from = io->in[0]->data,
              .to = io->out[0]->data};
    if (io->phase == LAMINA_TRAIN) {
        draw(layer, call, io);
        w.scale = io->saved[0]->data;
        return spread(layer, call, io->samples, scale_pixels, &w);
    }
    return w.from == w.to ? LAMINA_OK : spread(layer, call, io->samples, copy_pixels, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const dropout2d *layer = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.channels = layer->channels,
              .pixels = layer->pixels,
              .from = io->d_out[0]->data,
              .scale = io->saved[0]->data,
              .to = io->d_in[0]->data};
    return spread(layer, call, io->samples, scale_pixels, &w);
}

static const char *const cases[] = {"{input: [3, 7, 2, 3]}",
                                    "{input: [2, 17, 5, 4], params: {p: 0.2}}",
                                    "{input: [2, 300, 1, 2], params: {p: 0.9}}", NULL};

const lamina_layer_type LAMINA__LAYER(dropout2d) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "dropout2d",
    .doc = "In training sets channels of images to 0 at random and makes up for it in the others.",
    .flags = LAMINA_IN_PLACE | LAMINA_USES_RANDOM,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(dropout2d_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
