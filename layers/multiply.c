/* multiply: y = the product of the inputs, element by element; 2 to 16 of them.
 *
 *   dx_k = dy * (the product of the other inputs)
 *
 * never dy * y / x_k, which a zero would spoil. An input of an image's size may have dimensions of
 * 1 where the others have more, and is then read again and again along them, so that a gate
 * (N, C, 1, 1) scales the channels of (N, C, H, W), as in Hu, Shen and Sun 2018 (squeeze and
 * excitation), and a mask (N, 1, H, W) its pixels. The gradient of what is read again is the sum
 * over the places that read it:
 *
 *   d_gate[n,c] = sum over h,w of dy[n,c,h,w] * x[n,c,h,w]
 *
 * In memory, where images are channels-last, all is done a line of W * C numbers at a time. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/sum.h"

#include <string.h>

/* Inputs; numbers, as in add.c; numbers side by side in registers. */
enum { MOST = 16, GRAIN = 16384, BLOCK = 2048, LANES = 16 };

/* How an input is gone through: steps from line to line, pixel to pixel and channel to channel of
 * the output, 0 where the same number is read again. */
typedef struct factor {
    int64_t sample; /* its numbers in a sample */
    int64_t line, pixel, channel;
    int32_t again; /* 1: one of the steps is 0 */
} factor;

typedef struct multiply {
    int64_t lines, pixels, channels; /* of the output; an input that is no image: 1, 1, all */
    int64_t elements;                /* of a sample */
    int32_t n_in;
    int32_t again; /* 1: some input is read again */
    int32_t full;  /* an input that is not, -1: none */
    int32_t threads;
    factor factor[MOST];
} multiply;

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    return lamina__make_self(call, sizeof(multiply), self);
}

/* The output's shape: along each axis the size that the inputs have, those with 1 aside. */
static int32_t common_shape(lamina_call *call, const lamina_setup *setup, lamina_shape *out) {
    *out = *setup->in[0];
    for (int32_t k = 1; k < setup->n_in; k++) {
        const lamina_shape *in = setup->in[k];
        int fits = in->ndim == out->ndim;
        for (int32_t i = 1; fits && i < out->ndim; i++) {
            fits = in->dim[i] == out->dim[i] ||
                   (out->ndim == 4 && (in->dim[i] == 1 || out->dim[i] == 1));
            out->dim[i] = in->dim[i] > out->dim[i] ? in->dim[i] : out->dim[i];
        }
        if (!fits) {
            return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                    "input %d is %s and does not fit %s: sizes must agree, or be 1 "
                                    "in an image's channels, height or width",
                                    (int)k + 1, lamina__dims(in).text,
                                    lamina__dims(k == 1 ? setup->in[0] : out).text);
        }
    }
    return LAMINA_OK;
}

static factor factor_of(const lamina_shape *in, const lamina_shape *out) {
    factor f = {.sample = lamina__sample_size(in)};
    if (in->ndim == 4) {
        f.channel = in->dim[1] == out->dim[1];
        f.pixel = in->dim[3] == out->dim[3] ? in->dim[1] : 0;
        f.line = in->dim[2] == out->dim[2] ? in->dim[3] * in->dim[1] : 0;
        f.again = f.channel == 0 || f.pixel == 0 || f.line == 0;
    }
    return f;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    multiply *layer = self;
    lamina_shape out;
    int32_t status = common_shape(call, setup, &out);
    if (status != LAMINA_OK) {
        return status;
    }
    layer->full = -1;
    for (int32_t k = 0; k < setup->n_in; k++) {
        layer->factor[k] = factor_of(setup->in[k], &out);
        layer->again = layer->again || layer->factor[k].again;
        layer->full = layer->factor[k].again ? layer->full : k;
    }
    if (out.ndim == 4) {
        layer->lines = out.dim[2];
        layer->pixels = out.dim[3];
        layer->channels = out.dim[1];
    }
    layer->elements = lamina__sample_size(&out);
    layer->n_in = setup->n_in;
    layer->threads = setup->threads;
    if (layer->again && setup->training) {
        const size_t line = (size_t)(layer->pixels * layer->channels) * sizeof(lamina_real);
        status = call->host->add_scratch(call, line * (size_t)setup->threads);
    }
    return status < 0 ? status : call->host->set_output(call, 0, &out);
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* y = a * b; y may be a. */
LAMINA__VECTOR_CLONES
static void multiply_row(const lamina_real *a, const lamina_real *b, lamina_real *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

/* A line of pixels: y = a * b, where b steps from pixel to pixel by `pixel` numbers and has one for
 * all channels when `channel` is 0; y may be a. LANES channels of a b that does not step stay in a
 * register. */
LAMINA__VECTOR_CLONES
static void scale_line(const lamina_real *a, const lamina_real *b, lamina_real *y, int64_t pixel,
                       int64_t channel, int64_t pixels, int64_t channels) {
    int64_t first = 0;
    for (; pixel == 0 && channel != 0 && first + LANES <= channels; first += LANES) {
        lamina_real scale[LANES];
        memcpy(scale, b + first, sizeof scale);
        for (int64_t at = first; at < pixels * channels; at += channels) {
#pragma omp simd
            for (int l = 0; l < LANES; l++) {
                y[at + l] = a[at + l] * scale[l];
            }
        }
    }
    for (int64_t p = 0; p < pixels; p++, a += channels, y += channels, b += pixel) {
        const lamina_real scale = b[0];
        if (channel == 0) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                y[c] = a[c] * scale;
            }
        } else {
#pragma omp simd
            for (int64_t c = first; c < channels; c++) {
                y[c] = a[c] * b[c];
            }
        }
    }
}

/* Adds a line's gradients to those of an input that is read again; LANES sums stay in a register
 * where all pixels add to the same. */
LAMINA__VECTOR_CLONES
static void gather_line(lamina_real *d, const lamina_real *line, int64_t pixel, int64_t channel,
                        int64_t pixels, int64_t channels) {
    int64_t first = 0;
    for (; pixel == 0 && channel != 0 && first + LANES <= channels; first += LANES) {
        lamina_real sum[LANES];
        memcpy(sum, d + first, sizeof sum);
        for (int64_t at = first; at < pixels * channels; at += channels) {
            for (int l = 0; l < LANES; l++) {
                sum[l] += line[at + l];
            }
        }
        memcpy(d + first, sum, sizeof sum);
    }
    for (int64_t p = 0; p < pixels; p++, line += channels, d += pixel) {
        if (channel == 0) {
            d[0] += lamina__sum(line, channels);
            continue;
        }
#pragma omp simd
        for (int64_t c = first; c < channels; c++) {
            d[c] += line[c];
        }
    }
}

/* ---- Passes -------------------------------------------------------------------------------- */

/* One run of one pass, as the threads share it. */
typedef struct work {
    const multiply *layer;
    const lamina_io *io;
} work;

static const lamina_real *numbers(const lamina_tensor *tensor, int64_t at) {
    return (const lamina_real *)tensor->data + at;
}

/* All inputs of one shape: y = first * inputs from .. n_in-1 without `skip`, n numbers. */
static void multiply_block(const work *w, const lamina_real *first, int32_t from, int32_t skip,
                           int64_t at, int64_t n, lamina_real *y) {
    for (int32_t k = from; k < w->layer->n_in; k++) {
        if (k != skip) {
            multiply_row(first, numbers(w->io->in[k], at), y, n);
            first = y;
        }
    }
}

static int32_t forward_alike(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        multiply_block(w, numbers(w->io->in[0], at), 1, -1, at, n,
                       (lamina_real *)w->io->out[0]->data + at);
    }
    return LAMINA_OK;
}

static int32_t backward_alike(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        for (int32_t k = 0; k < w->layer->n_in; k++) {
            if (w->io->d_in[k] != NULL) {
                multiply_block(w, numbers(w->io->d_out[0], at), 0, k, at, n,
                               (lamina_real *)w->io->d_in[k]->data + at);
            }
        }
    }
    return LAMINA_OK;
}

/* y = first * the line's numbers of every input but `skip`; first is a line of the output's size.
 */
static void multiply_line(const work *w, int64_t sample, int64_t line, const lamina_real *first,
                          int32_t skip, lamina_real *y) {
    const multiply *layer = w->layer;
    for (int32_t k = 0; k < layer->n_in; k++) {
        const factor *f = &layer->factor[k];
        if (k != skip) {
            scale_line(first, numbers(w->io->in[k], sample * f->sample + line * f->line), y,
                       f->pixel, f->channel, layer->pixels, layer->channels);
            first = y;
        }
    }
}

/* Lines begin .. end-1, counted through all samples. They begin with an input of full size, or,
 * where there is none, with ones. */
static int32_t forward_lines(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t size = w->layer->pixels * w->layer->channels;
    const int32_t full = w->layer->full;
    (void)thread;
    for (int64_t l = begin; l < end; l++) {
        lamina_real *y = (lamina_real *)w->io->out[0]->data + l * size;
        for (int64_t i = 0; full < 0 && i < size; i++) {
            y[i] = 1;
        }
        multiply_line(w, l / w->layer->lines, l % w->layer->lines,
                      full < 0 ? y : numbers(w->io->in[full], l * size), full, y);
    }
    return LAMINA_OK;
}

static void backward_sample(const work *w, int64_t sample, int32_t k, lamina_real *scratch) {
    const multiply *layer = w->layer;
    const factor *f = &layer->factor[k];
    const int64_t size = layer->pixels * layer->channels;
    lamina_real *d_in = (lamina_real *)w->io->d_in[k]->data + sample * f->sample;

    for (int64_t i = 0; f->again && i < f->sample; i++) {
        d_in[i] = 0;
    }
    for (int64_t line = 0; line < layer->lines; line++) {
        lamina_real *to = f->again ? scratch : d_in + line * size;
        multiply_line(w, sample, line,
                      numbers(w->io->d_out[0], sample * layer->elements + line * size), k, to);
        if (f->again) {
            gather_line(d_in + line * f->line, to, f->pixel, f->channel, layer->pixels,
                        layer->channels);
        }
    }
}

/* Samples begin .. end-1. */
static int32_t backward_samples(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    lamina_real *scratch =
        (lamina_real *)w->io->scratch + thread * w->layer->pixels * w->layer->channels;
    for (int64_t sample = begin; sample < end; sample++) {
        for (int32_t k = 0; k < w->layer->n_in; k++) {
            if (w->io->d_in[k] != NULL) {
                backward_sample(w, sample, k, scratch);
            }
        }
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .io = io};
    if (!w.layer->again) {
        return lamina__spread(call, w.layer->threads, io->samples * w.layer->elements, GRAIN,
                              forward_alike, &w);
    }
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->lines,
                          GRAIN / (w.layer->pixels * w.layer->channels) + 1, forward_lines, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.layer = self, .io = io};
    if (!w.layer->again) {
        return lamina__spread(call, w.layer->threads, io->samples * w.layer->elements, GRAIN,
                              backward_alike, &w);
    }
    return lamina__spread(call, w.layer->threads, io->samples, GRAIN / w.layer->elements + 1,
                          backward_samples, &w);
}

static const char *const cases[] = {"{input: [[3, 7], [3, 7]]}",
                                    "{input: [[2, 3, 5, 4], [2, 3, 5, 4], [2, 3, 5, 4]]}",
                                    "{input: [[2, 5, 4, 3], [2, 5, 1, 1]]}",
                                    "{input: [[2, 5, 1, 1], [2, 5, 4, 3]]}",
                                    "{input: [[2, 5, 4, 3], [2, 1, 4, 3]]}",
                                    NULL};

const lamina_layer_type LAMINA__LAYER(multiply) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "multiply",
    .doc = "The product of several inputs, number by number, such as features and a gate for each "
           "channel.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 2,
    .max_in = MOST,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
