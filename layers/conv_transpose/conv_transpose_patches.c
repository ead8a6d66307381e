/* Transposed convolution with few filters, as the last layer of a decoder has: columns that are
 * filters would leave most of a vector unused, so they are all the numbers of a filter's window.
 * With W as it lies in memory, (I, K) where K = KH*KW*O, and chunks of pixels X (pixels, I),
 *
 *   forward           P  = X W        patches (pixels, K), each added to y where its window is
 *   backward weights  dW += X^T P     P: the windows of dy, copied, with zeros for padding
 *
 * by block products (layers/product). Each sample is computed by itself forward; the sums of
 * backward weights grow chunk after chunk, so their order depends on the shapes alone. */
#include "layers/conv/conv_taps.h"
#include "layers/conv_transpose/conv_transpose.h"
#include "layers/parallel.h"
#include "layers/product/panel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* Patches of a chunk: about so many floats; pixels, at least and at most. */
enum { CHUNK = 8192, LEAST = 16, MOST = 256 };

typedef struct patches {
    const lamina__product_isa *isa;
    int64_t size;         /* of a patch, K */
    int64_t chunk;        /* pixels */
    int32_t relu;         /* 1: forward ends with max(0, y) */
    int64_t *a_at, *c_at; /* forward: of a pixel of a chunk, in x and in P; weights: of a channel */
    int64_t *x_at, *w_at;
} patches;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__conv_transpose *layer;
    const patches *p;
    const lamina_io *io;
} work;

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = &((const lamina__conv_transpose *)self)->conv;
    (void)setup, (void)pass;
    return conv->groups == 1 && conv->in_channels < lamina__product_to_use()->width;
}

/* 0, step, 2 step, ...; NULL: no memory. */
static int64_t *places(lamina_call *call, int64_t n, int64_t step) {
    int64_t *at = call->host->alloc(call, (size_t)n * sizeof *at);
    for (int64_t i = 0; at != NULL && i < n; i++) {
        at[i] = i * step;
    }
    return at;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = &((const lamina__conv_transpose *)self)->conv;
    patches *p = call->host->alloc(call, sizeof *p);

    (void)passes;
    if (p == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = p;
    p->isa = lamina__product_to_use();
    p->size = conv->window.y.kernel * conv->window.x.kernel * conv->in_channels;
    p->chunk = CHUNK / p->size;
    p->chunk = p->chunk < LEAST ? LEAST : p->chunk > MOST ? MOST : p->chunk;
    p->relu = setup->fused != NULL;
    p->a_at = places(call, p->chunk, conv->out_channels);
    p->c_at = places(call, p->chunk, p->size);
    p->x_at = places(call, conv->out_channels, 1);
    p->w_at = places(call, conv->out_channels, p->size);
    if (p->a_at == NULL || p->c_at == NULL || p->x_at == NULL || p->w_at == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    const int32_t status = call->host->add_scratch(
        call, (size_t)(p->chunk * p->size * setup->threads) * sizeof(float));
    return status < 0 ? status : LAMINA_OK;
}

static float *patches_of(const work *w, int32_t thread) {
    return (float *)w->io->scratch + thread * w->p->chunk * w->p->size;
}

/* ---- Between patches and an image ---- */

enum { ADD_TO_IMAGE = 0, COPY_FROM_IMAGE = 1 };

static inline void move_run(float *restrict image, float *restrict patch, int64_t n, int way) {
    for (int64_t i = 0; i < n; i++) {
        if (way == ADD_TO_IMAGE) {
            image[i] += patch[i];
        } else {
            patch[i] = image[i];
        }
    }
}

/* The patches of pixels first .. end-1 of row py of a sample, and its image of O channels, pixel by
 * pixel: a row of a window is a run of memory. */
static inline void move_pixels(const lamina__conv *conv, int64_t py, int64_t first, int64_t end,
                               float *image, float *patch, int way) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t channels = conv->in_channels, size = y->kernel * x->kernel * channels;
    const int64_t row = py * y->stride - y->pad_begin;
    int64_t u_begin, u_end, v_begin, v_end;

    lamina__axis_range(y, py, &u_begin, &u_end);
    for (int64_t px = first; px < end; px++, patch += size) {
        lamina__axis_range(x, px, &v_begin, &v_end);
        const int64_t column = px * x->stride - x->pad_begin;
        const int64_t step = x->dilation == 1 ? v_end - v_begin : 1; /* taps side by side */
        for (int64_t u = u_begin; u < u_end; u++) {
            float *to = image + ((row + u * y->dilation) * x->in + column) * channels;
            for (int64_t v = v_begin; v < v_end; v += step) {
                move_run(to + v * x->dilation * channels, patch + (u * x->kernel + v) * channels,
                         step * channels, way);
            }
        }
    }
}

/* The same for one channel, whose runs are short: tap by tap. */
static inline void move_taps(const lamina__conv *conv, int64_t py, int64_t first, int64_t end,
                             float *image, float *patch, int way) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t size = y->kernel * x->kernel, stride = x->stride;
    int64_t u_begin, u_end;

    lamina__axis_range(y, py, &u_begin, &u_end);
    for (int64_t v = 0; v < x->kernel; v++) {
        int64_t px, px_end;
        lamina__tap_outputs(x, v, &px, &px_end);
        px = px > first ? px : first;
        px_end = px_end < end ? px_end : end;
        for (int64_t u = u_begin; u < u_end; u++) {
            const int64_t row = py * y->stride - y->pad_begin + u * y->dilation;
            float *to = image + row * x->in + px * stride - x->pad_begin + v * x->dilation;
            float *from = patch + (px - first) * size + u * x->kernel + v;
            for (int64_t i = 0; i < px_end - px; i++) {
                move_run(to + i * stride, from + i * size, 1, way);
            }
        }
    }
}

/* The patches of pixels first .. first+count-1 of a sample, and its image. */
static inline void move(const lamina__conv *conv, int64_t first, int64_t count, float *image,
                        float *patch, int way) {
    const int64_t wide = conv->window.x.out, end = first + count;
    const int64_t size = conv->window.y.kernel * conv->window.x.kernel * conv->in_channels;

    if (way == COPY_FROM_IMAGE) { /* zeros for padding */
        memset(patch, 0, (size_t)(count * size) * sizeof *patch);
    }
    while (first < end) {
        const int64_t py = first / wide, px = first % wide;
        const int64_t n = wide - px < end - first ? wide - px : end - first;
        if (conv->in_channels == 1) {
            move_taps(conv, py, px, px + n, image, patch, way);
        } else {
            move_pixels(conv, py, px, px + n, image, patch, way);
        }
        first += n;
        patch += n * size;
    }
}

/* ---- Running ---- */

/* to (pixels, K) = x (pixels, I) W. */
static void multiply(const work *w, const float *x, int64_t pixels, float *to) {
    const patches *p = w->p;
    lamina__product_tile tile = {
        .walk = {.n = {w->layer->conv.out_channels, 1}, .a_step = {1}, .b_step = {p->size}},
        .a = x};
    for (int64_t i = 0; i < lamina__n_panels(p->isa, p->size); i++) {
        const lamina__panel panel = lamina__panel_of(p->isa, p->size, i);
        tile.b = (const float *)w->io->weight[0]->data + panel.first;
        tile.c = to + panel.first;
        tile.last = panel.last;
        lamina__product_rows(p->isa, p->isa->block, panel.vectors, pixels, p->a_at, p->c_at, &tile);
    }
}

/* Samples begin .. end-1. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = &w->layer->conv;
    const int64_t pixels = conv->window.y.out * conv->window.x.out;
    const int64_t image = conv->window.y.in * conv->window.x.in;
    const float *bias = w->layer->bias ? w->io->weight[1]->data : NULL;
    float *patch = patches_of(w, thread);

    for (int64_t n = begin; n < end; n++) {
        const float *x = (const float *)w->io->in[0]->data + n * pixels * conv->out_channels;
        float *y = (float *)w->io->out[0]->data + n * image * conv->in_channels;
        memset(y, 0, (size_t)(image * conv->in_channels) * sizeof *y);
        for (int64_t i = 0; i < pixels; i += w->p->chunk) {
            const int64_t count = pixels - i < w->p->chunk ? pixels - i : w->p->chunk;
            multiply(w, x + i * conv->out_channels, count, patch);
            move(conv, i, count, y, patch, ADD_TO_IMAGE);
        }
        lamina__conv_transpose_finish(bias, w->p->relu, image, conv->in_channels, y);
    }
    return LAMINA_OK;
}

/* dW's rows begin .. end-1 += x^T P, over a chunk of pixels. */
static void add_product(const work *w, const float *x, const float *patch, int64_t pixels,
                        int64_t begin, int64_t end) {
    const patches *p = w->p;
    lamina__product_tile tile = {
        .walk = {.n = {pixels, 1}, .a_step = {w->layer->conv.out_channels}, .b_step = {p->size}},
        .a = x,
        .add = 1};
    for (int64_t i = 0; i < lamina__n_panels(p->isa, p->size); i++) {
        const lamina__panel panel = lamina__panel_of(p->isa, p->size, i);
        tile.b = patch + panel.first;
        tile.c = (float *)w->io->d_weight[0]->data + panel.first;
        tile.last = panel.last;
        lamina__product_rows(p->isa, p->isa->block, panel.vectors, end - begin, p->x_at + begin,
                             p->w_at + begin, &tile);
    }
}

/* Channels begin .. end-1 of the input, over all samples. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = &w->layer->conv;
    const int64_t pixels = conv->window.y.out * conv->window.x.out;
    const int64_t image = conv->window.y.in * conv->window.x.in * conv->in_channels;
    float *patch = patches_of(w, thread);

    for (int64_t n = 0; n < w->io->samples; n++) {
        const float *x = (const float *)w->io->in[0]->data + n * pixels * conv->out_channels;
        float *dy = (float *)w->io->d_out[0]->data + n * image;
        for (int64_t i = 0; i < pixels; i += w->p->chunk) {
            const int64_t count = pixels - i < w->p->chunk ? pixels - i : w->p->chunk;
            move(conv, i, count, dy, patch, COPY_FROM_IMAGE);
            add_product(w, x + i * conv->out_channels, patch, count, begin, end);
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    work w = {.layer = self, .p = kernel, .io = io};
    const int32_t threads = w.layer->conv.threads;

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, threads, io->samples, 1, forward, &w);
    }
    const int32_t status = io->d_weight[0] == NULL
                               ? LAMINA_OK
                               : lamina__spread(call, threads, w.layer->conv.out_channels,
                                                w.p->isa->rows, backward_weights, &w);
    return status != LAMINA_OK ? status : lamina__conv_transpose_bias_gradient(w.layer, call, io);
}

const lamina_kernel lamina__conv_transpose_patches = {
    .struct_size = sizeof(lamina_kernel),
    .name = "patches",
    .doc = "For few filters: pixels times all of a filter's window, in AVX-512, AVX2 or plain C.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_WEIGHTS,
    .applies = applies,
    .create = create,
    .run = run,
    .fuses = lamina__fuses_relu};

#endif
