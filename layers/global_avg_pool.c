/* global_avg_pool: the mean of each channel over the whole image, which makes a network take images
 * of any size.
 *
 *   y[n,c] = 1/(H W) sum over i,j of x[n,c,i,j]        dx[n,c,i,j] = dy[n,c] / (H W)
 *
 * Shapes: (N, C, H, W) -> (N, C, 1, 1). As torch.nn.AdaptiveAvgPool2d(1); Lin, Chen and Yan 2013.
 */
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/sum_rows.h"

#include <string.h>

enum { BLOCK = 256 }; /* channels that are computed at a time */

typedef struct global_pool {
    int64_t channels, pixels, blocks;
    int32_t threads;
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
    pool->channels = out.dim[1];
    pool->pixels = out.dim[2] * out.dim[3];
    pool->blocks = (pool->channels + BLOCK - 1) / BLOCK;
    pool->threads = setup->threads;
    out.dim[2] = out.dim[3] = 1;
    return call->host->set_output(call, 0, &out);
}

/* One call, as the threads share it. */
typedef struct work {
    const global_pool *pool;
    const lamina_real *from;
    lamina_real *to;
} work;

/* Block i: some channels of one sample. */
typedef struct block {
    int64_t sample, first, count;
} block;

static block block_of(const global_pool *pool, int64_t i) {
    const int64_t first = i % pool->blocks * BLOCK, left = pool->channels - first;
    return (block){i / pool->blocks, first, left < BLOCK ? left : BLOCK};
}

/* y[k] = x[k] / n, for so many. */
LAMINA__VECTOR_CLONES
static void divide(int64_t count, const lamina_real *x, lamina_real n, lamina_real *y) {
    for (int64_t k = 0; k < count; k++) {
        y[k] = x[k] / n;
    }
}

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const global_pool *pool = w->pool;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const block b = block_of(pool, i);
        lamina_real *y = w->to + b.sample * pool->channels + b.first;
        memset(y, 0, (size_t)b.count * sizeof *y);
        LAMINA__REAL_NAME(sum_rows)
        (pool->pixels, pool->channels, b.count,
         w->from + b.sample * pool->pixels * pool->channels + b.first, y);
        divide(b.count, y, (lamina_real)pool->pixels, y);
    }
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const global_pool *pool = w->pool;
    lamina_real share[BLOCK];

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const block b = block_of(pool, i);
        lamina_real *dx = w->to + b.sample * pool->pixels * pool->channels + b.first;
        divide(b.count, w->from + b.sample * pool->channels + b.first, (lamina_real)pool->pixels,
               share);
        for (int64_t p = 0; p < pool->pixels; p++) {
            memcpy(dx + p * pool->channels, share, (size_t)b.count * sizeof *dx);
        }
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.pool = self, .from = io->in[0]->data, .to = io->out[0]->data};
    return lamina__spread(call, w.pool->threads, io->samples * w.pool->blocks, 1, forward_range,
                          &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.pool = self, .from = io->d_out[0]->data, .to = io->d_in[0]->data};
    return lamina__spread(call, w.pool->threads, io->samples * w.pool->blocks, 1, backward_range,
                          &w);
}

static const char *const cases[] = {"{input: [2, 3, 6, 5]}", "{input: [3, 17, 1, 1]}",
                                    "{input: [1, 300, 7, 7]}", "{input: [2, 1, 9, 4]}", NULL};

const lamina_layer_type LAMINA__LAYER(global_avg_pool) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "global_avg_pool",
    .doc = "The mean of each channel over the whole image.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
