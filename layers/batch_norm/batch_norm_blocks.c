/* Batch normalisation block by block: memory is gone through as rarely as can be. Forward reads x
 * for the sums and once more to write y; backward reads x and dy for the sums and once more to
 * write dx. A relu or clip behind it is done along with both, from x alone.
 *
 * The pixels of the batch are cut into blocks by their number alone, never by threads, and each
 * block sums up by itself (layers/channels.h): its own mean, and squares of distances from a number
 * near it, in float. The blocks' sums are joined in double, in their order (Chan, Golub and LeVeque
 * 1979):
 *
 *   mean  += d n_b / n,   square += square_b + d^2 (n - n_b) n_b / n,   d = mean_b - mean
 *
 * n counting what is joined so far, block b too. So results do not depend on threads, and hold
 * their digits however far the mean is from 0. */
#include "layers/batch_norm/batch_norm.h"
#include "layers/channels.h"
#include "layers/clip.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

enum {
    MOST_BLOCKS = 64,
    BLOCK_NUMBERS = 8192, /* at least, and */
    BLOCK_PIXELS = 32,    /* so many pixels, beside which a block's sums are little */
    SUMS = 3              /* of a block: shift, sum and square, or sum and product */
};

typedef struct blocks {
    const lamina__channels_isa *isa;
    lamina__channel_bounds bounds; /* of the layer behind */
    size_t room;                   /* numbers in an array of channels, in scratch */
    size_t wide;                   /* in a wide one */
} blocks;

/* The pixels of a call: n blocks of whole units, of which the last has what is left, too. */
typedef struct cut {
    lamina__channels rows;
    int64_t pixels, unit, units, n;
} cut;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__batch_norm *bn;
    const blocks *kernel;
    const lamina_io *io;
    cut cut;
    double *first, *second; /* (C): mean and square, or sum and product, of the batch */
    lamina__batch_norm_moments moments;
    lamina__channel_map map;
    float *sums;   /* (blocks, SUMS, C) */
    float *memory; /* (threads, SUMS, wide) */
} work;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static cut cut_pixels(const lamina__channels_isa *isa, int64_t channels, int64_t pixels) {
    cut c = {.rows = lamina__channels_for(isa, channels, pixels), .pixels = pixels};
    c.unit = 4 * c.rows.pixels; /* so many rows are summed at a time */
    c.units = pixels / c.unit;
    c.n = smaller(smaller(pixels * channels / BLOCK_NUMBERS, pixels / BLOCK_PIXELS),
                  smaller(c.units, MOST_BLOCKS));
    c.n = c.n > 0 ? c.n : 1;
    return c;
}

static int64_t block_begin(const cut *c, int64_t block) {
    return block == c->n ? c->pixels : c->units * block / c->n * c->unit;
}

static lamina__channel_bounds bounds_of(const lamina_setup *setup) {
    if (setup->fused == NULL) {
        return (lamina__channel_bounds){.bounded = 0};
    }
    if (strcmp(setup->fused, "relu") == 0) {
        return (lamina__channel_bounds){.bounded = 1, .least = 0, .most = NAN};
    }
    const lamina__clip_config *clip = setup->fused_config;
    return (lamina__channel_bounds){
        .bounded = 1, .least = (float)clip->min, .most = (float)clip->max};
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__batch_norm *bn = self;
    const lamina__channels_isa *isa = lamina__channels_to_use();
    const cut c = cut_pixels(isa, bn->channels, setup->samples[0] * bn->pixels);
    blocks *b = call->host->alloc(call, sizeof *b);

    (void)passes;
    if (b == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = b;
    b->isa = isa;
    b->bounds = bounds_of(setup);
    b->room = (size_t)lamina__channels_room(bn->channels);
    b->wide = (size_t)lamina__channels_room(c.rows.width);
    const size_t threads = setup->threads > 0 ? (size_t)setup->threads : 1;
    return call->host->add_scratch(
        call, 2 * b->room * sizeof(double) +
                  (b->room * (LAMINA__BATCH_NORM_MOMENTS + SUMS * (size_t)c.n) +
                   b->wide * (5 + SUMS * threads)) *
                      sizeof(float));
}

static work begin_run(const lamina__batch_norm *bn, const blocks *b, const lamina_io *io) {
    work w = {.bn = bn,
              .kernel = b,
              .io = io,
              .cut = cut_pixels(b->isa, bn->channels, io->samples * bn->pixels),
              .map = {.bounds = b->bounds}};
    w.first = io->scratch;
    w.second = w.first + b->room;
    float *at = (float *)(void *)(w.second + b->room);
    float **const wide[] = {&w.map.mean, &w.map.scale, &w.map.bias, &w.map.slope, &w.map.offset};
    w.moments = lamina__batch_norm_moments_in(
        bn, bn->saves && io->phase == LAMINA_TRAIN ? io->saved[0]->data : at);
    at += b->room * LAMINA__BATCH_NORM_MOMENTS;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++, at += b->wide) {
        *wide[i] = at;
    }
    w.sums = at;
    w.memory = at + b->room * SUMS * (size_t)w.cut.n;
    return w;
}

/* ---- Blocks begin .. end-1 ----------------------------------------------------------------- */

static float *block_sums(const work *w, int64_t block) {
    return w->sums + (size_t)block * SUMS * w->kernel->room;
}

/* Keeps the sums of a block, which lie in the thread's memory. */
static void keep(const work *w, int64_t block, const float *memory, int n) {
    float *sums = block_sums(w, block);
    for (int i = 0; i < n; i++) {
        memcpy(sums + (size_t)i * w->kernel->room, memory + (size_t)i * w->kernel->wide,
               (size_t)w->bn->channels * sizeof *sums);
    }
}

static int32_t sum_moments(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const size_t wide = w->kernel->wide;
    float *memory = w->memory + (size_t)thread * SUMS * wide;
    for (int64_t b = begin; b < end; b++) {
        const int64_t first = block_begin(&w->cut, b), next = block_begin(&w->cut, b + 1);
        lamina__channels_moments(&w->cut.rows,
                                 (const float *)w->io->in[0]->data + first * w->bn->channels,
                                 next - first, memory, memory + wide, memory + 2 * wide);
        keep(w, b, memory, 3);
    }
    return LAMINA_OK;
}

static int32_t sum_products(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const size_t wide = w->kernel->wide;
    float *memory = w->memory + (size_t)thread * SUMS * wide;
    for (int64_t b = begin; b < end; b++) {
        const int64_t first = block_begin(&w->cut, b), next = block_begin(&w->cut, b + 1);
        const int64_t at = first * w->bn->channels;
        lamina__channels_products(&w->cut.rows, &w->map, (const float *)w->io->in[0]->data + at,
                                  (const float *)w->io->d_out[0]->data + at, next - first, memory,
                                  memory + wide);
        keep(w, b, memory, 2);
    }
    return LAMINA_OK;
}

static int32_t write_out(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t b = end - 1; b >= begin; b--) {
        const int64_t first = block_begin(&w->cut, b), next = block_begin(&w->cut, b + 1);
        const int64_t at = first * w->bn->channels;
        lamina__channels_forward(&w->cut.rows, &w->map, (const float *)w->io->in[0]->data + at,
                                 (float *)w->io->out[0]->data + at, next - first);
    }
    return LAMINA_OK;
}

static int32_t write_d_in(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t b = end - 1; b >= begin; b--) {
        const int64_t first = block_begin(&w->cut, b), next = block_begin(&w->cut, b + 1);
        const int64_t at = first * w->bn->channels;
        lamina__channels_backward(&w->cut.rows, &w->map, (const float *)w->io->in[0]->data + at,
                                  (const float *)w->io->d_out[0]->data + at,
                                  (float *)w->io->d_in[0]->data + at, next - first);
    }
    return LAMINA_OK;
}

/* ---- Joining them -------------------------------------------------------------------------- */

/* A block of n_b pixels comes to those before it, n pixels with it; shift, sum and square become
 * the mean and the squared distances from it. */
LAMINA__VECTOR_CLONES
static void join_moments(int64_t channels, double n_b, double n, const float *restrict shift,
                         const float *restrict sum, const float *restrict square_of,
                         double *restrict mean, double *restrict square) {
    const double one = 1 / n_b, part = n_b / n, weight = (n - n_b) * part;
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        const double s = (double)sum[c], from_shift = s * one;
        const double own = (double)square_of[c] - s * from_shift;
        const double d = (double)shift[c] + from_shift - mean[c];
        mean[c] += d * part;
        square[c] += (own > 0 ? own : own == own ? 0 : own) + d * d * weight;
    }
}

LAMINA__VECTOR_CLONES
static void join_sums(int64_t channels, const float *restrict from, double *restrict sum) {
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        sum[c] += (double)from[c];
    }
}

static void clear(const work *w) {
    memset(w->first, 0, (size_t)w->bn->channels * sizeof *w->first);
    memset(w->second, 0, (size_t)w->bn->channels * sizeof *w->second);
}

static void join_all_moments(const work *w) {
    clear(w);
    for (int64_t b = 0; b < w->cut.n; b++) {
        const float *sums = block_sums(w, b);
        const int64_t begin = block_begin(&w->cut, b), end = block_begin(&w->cut, b + 1);
        join_moments(w->bn->channels, (double)(end - begin), (double)end, sums,
                     sums + w->kernel->room, sums + 2 * w->kernel->room, w->first, w->second);
    }
}

static void join_all_products(const work *w) {
    clear(w);
    for (int64_t b = 0; b < w->cut.n; b++) {
        const float *sums = block_sums(w, b);
        join_sums(w->bn->channels, sums, w->first);
        join_sums(w->bn->channels, sums + w->kernel->room, w->second);
    }
}

/* ---- The factors of y and dx --------------------------------------------------------------- */

static void make_forward(const work *w) {
    const lamina__batch_norm_moments *m = &w->moments;
    const lamina__channel_map *map = &w->map;
    const int affine = w->bn->config->affine;
    const float *weight = affine ? w->io->weight[0]->data : NULL;
    const float *bias = affine ? w->io->weight[1]->data : NULL;
    for (int64_t c = 0; c < w->bn->channels; c++) {
        map->mean[c] = m->mean[c];
        map->scale[c] = affine ? weight[c] * m->inverse[c] : m->inverse[c];
        map->bias[c] = (affine ? bias[c] : 0) - m->rest[c] * map->scale[c];
    }
    lamina__channels_widen(&w->cut.rows, map->mean);
    lamina__channels_widen(&w->cut.rows, map->scale);
    lamina__channels_widen(&w->cut.rows, map->bias);
}

/* scale (dy - d_bias / M - xhat d_weight / M), with xhat = (x - mean - rest) inverse, by x - mean.
 */
LAMINA__VECTOR_CLONES
static void take_factors(int64_t channels, double part, const double *restrict sum,
                         const double *restrict product, const float *restrict rest_of,
                         const float *restrict inverse_of, const float *restrict scale_of,
                         float *restrict slope, float *restrict offset) {
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        const double rest = (double)rest_of[c], inverse = (double)inverse_of[c];
        const double scale = (double)scale_of[c] * part;
        const double of_x = -scale * inverse * inverse * (product[c] - rest * sum[c]);
        slope[c] = (float)of_x;
        offset[c] = (float)(-scale * sum[c] - of_x * rest);
    }
}

static void make_backward(work *w) {
    if (w->io->phase != LAMINA_TRAIN) {
        w->map.slope = w->map.offset = NULL;
        return;
    }
    take_factors(w->bn->channels, 1 / (double)w->cut.pixels, w->first, w->second, w->moments.rest,
                 w->moments.inverse, w->map.scale, w->map.slope, w->map.offset);
    lamina__channels_widen(&w->cut.rows, w->map.slope);
    lamina__channels_widen(&w->cut.rows, w->map.offset);
}

/* ---- Running ------------------------------------------------------------------------------- */

static int32_t forward(work *w, lamina_call *call) {
    int32_t status = lamina__batch_norm_check(w->bn, call, w->io);
    if (status == LAMINA_OK && w->io->phase == LAMINA_TRAIN && !w->io->again) {
        status = lamina__spread(call, w->bn->threads, w->cut.n, 1, sum_moments, w);
        join_all_moments(w);
        lamina__batch_norm_of_batch(w->bn, w->io, w->first, w->second, w->moments);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    make_forward(w);
    return lamina__spread(call, w->bn->threads, w->cut.n, 1, write_out, w);
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__batch_norm *bn = self;

    if (lamina__batch_norm_does_nothing(pass, io)) {
        return LAMINA_OK;
    }
    work w = begin_run(bn, kernel, io);
    if (io->phase != LAMINA_TRAIN) {
        lamina__batch_norm_of_state(bn, io, w.moments);
    }
    if (pass == LAMINA_PASS_FORWARD) {
        return forward(&w, call);
    }
    make_forward(&w);
    if (lamina__batch_norm_needs_sums(bn, io)) {
        lamina__spread(call, bn->threads, w.cut.n, 1, sum_products, &w);
        join_all_products(&w);
        lamina__batch_norm_add_gradients(bn, io, w.moments, w.first, w.second);
    }
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    make_backward(&w);
    return lamina__spread(call, bn->threads, w.cut.n, 1, write_d_in, &w);
}

static const char *const fuses[] = {"relu", "clip", NULL};

const lamina_kernel lamina__batch_norm_blocks = {
    .struct_size = sizeof(lamina_kernel),
    .name = "blocks",
    .doc = "Sums of blocks of pixels, in vectors; two passes over memory each way.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_TOGETHER | LAMINA_KERNEL_FUSES_BACKWARD,
    .create = create,
    .run = run,
    .fuses = fuses};

#endif
