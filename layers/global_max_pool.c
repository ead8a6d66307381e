/* global_max_pool: the largest value of each channel in the whole image.
 *
 *   y[n,c] = max over i,j of x[n,c,i,j]
 *   dx[n,c,i,j] = dy[n,c] where y came from, the first largest in row order, else 0
 *
 * so forward saves where that is. An image with a NaN gives NaN, the last one.
 * Shapes: (N, C, H, W) -> (N, C, 1, 1). As torch.nn.AdaptiveMaxPool2d(1). */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

enum { BLOCK = 64 }; /* channels that are computed at a time */

typedef struct global_pool {
    int64_t channels, pixels, blocks;
    int32_t threads;
    int32_t saves; /* 1: saved[0] is the pixel (row * width + column) of y, (N, C) */
} global_pool;

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    return lamina__make_self(call, sizeof(global_pool), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    global_pool *pool = self;
    lamina_shape out = *setup->in[0];

    if (lamina__check_image(call, &out) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    if (out.dim[2] > INT32_MAX / out.dim[3]) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the image is too large");
    }
    pool->channels = out.dim[1];
    pool->pixels = out.dim[2] * out.dim[3];
    pool->blocks = (pool->channels + BLOCK - 1) / BLOCK;
    pool->threads = setup->threads;
    pool->saves = setup->training;
    out.dim[2] = out.dim[3] = 1;
    int32_t status = LAMINA_OK;
    if (pool->saves) {
        const lamina_shape from = {
            .dtype = LAMINA_I32, .ndim = 2, .dim = {out.dim[0], pool->channels}};
        status = call->host->add_saved(call, "argmax", &from);
    }
    if (status >= 0) {
        status = call->host->set_output(call, 0, &out);
    }
    return status < 0 ? status : LAMINA_OK;
}

/* One call, as the threads share it. */
typedef struct work {
    const global_pool *pool;
    const lamina_io *io;
} work;

/* The largest of so many channels, `count` of `step`, of a sample, and where they are. */
LAMINA__VECTOR_CLONES
static void find_largest(int64_t pixels, int64_t step, int64_t count, const lamina_real *restrict x,
                         lamina_real *restrict y, int32_t *restrict from) {
    for (int64_t c = 0; c < count; c++) {
        y[c] = x[c];
        from[c] = 0;
    }
    for (int64_t p = 1; p < pixels; p++) {
        const lamina_real *pixel = x + p * step;
        for (int64_t c = 0; c < count; c++) {
            const int larger = pixel[c] > y[c] || pixel[c] != pixel[c];
            y[c] = larger ? pixel[c] : y[c];
            from[c] = larger ? (int32_t)p : from[c];
        }
    }
}

/* Blocks begin .. end-1 of channels, counted through all samples. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const global_pool *pool = w->pool;
    const lamina_real *x = w->io->in[0]->data;
    lamina_real *y = w->io->out[0]->data;
    int32_t *from = pool->saves ? w->io->saved[0]->data : NULL;
    int32_t unused[BLOCK];

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t n = i / pool->blocks, c = i % pool->blocks * BLOCK;
        const int64_t left = pool->channels - c, at = n * pool->channels + c;
        find_largest(pool->pixels, pool->channels, left < BLOCK ? left : BLOCK,
                     x + n * pool->pixels * pool->channels + c, y + at,
                     from != NULL ? from + at : &unused[0]);
    }
    return LAMINA_OK;
}

/* Samples begin .. end-1. */
static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t channels = w->pool->channels, size = w->pool->pixels * channels;
    const lamina_real *dy = w->io->d_out[0]->data;
    const int32_t *from = w->io->saved[0]->data;
    lamina_real *dx = w->io->d_in[0]->data;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        memset(dx + n * size, 0, (size_t)size * sizeof *dx);
        for (int64_t c = 0; c < channels; c++) {
            dx[n * size + from[n * channels + c] * channels + c] = dy[n * channels + c];
        }
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.pool = self, .io = io};
    return lamina__spread(call, w.pool->threads, io->samples * w.pool->blocks, 1, forward_range,
                          &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.pool = self, .io = io};
    return io->d_in[0] == NULL
               ? LAMINA_OK
               : lamina__spread(call, w.pool->threads, io->samples, 1, backward_range, &w);
}

static const char *const cases[] = {"{input: [2, 3, 6, 5]}", "{input: [3, 17, 1, 1]}",
                                    "{input: [1, 70, 7, 7]}", "{input: [2, 1, 9, 4]}", NULL};

const lamina_layer_type LAMINA__LAYER(global_max_pool) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "global_max_pool",
    .doc = "The largest value of each channel in the whole image.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
