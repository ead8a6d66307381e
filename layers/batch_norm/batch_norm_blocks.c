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
 * their digits however far the mean is from 0.
 *
 * Called in stages (LAMINA_KERNEL_STAGES) it needs no pass over memory of its own: a call by shard
 * or slice sums up what the layer before has just written, or writes what the layer behind is about
 * to read. Then the pixels of each call of SUM are cut into blocks. */
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
    STAGE_PIXELS = 1024,  /* the same of a call of SUM: its blocks do not share out work */
    STAGE_BLOCKS = 4,     /* of a call of SUM, at most, where there are many calls */
    SUMS = 3,             /* of a block: shift, sum and square, or sum and product */
    FACTORS = 2           /* of a channel, for dx: slope and offset */
};

typedef struct blocks {
    const lamina__channels_isa *isa;
    lamina__channel_bounds bounds; /* of the layer behind */
    size_t room;                   /* numbers in an array of channels, in scratch */
    size_t wide;                   /* in a wide one */
    int64_t call_blocks;           /* of a call of SUM, at most; 0: there are no stages */
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
    float *factors; /* (FACTORS, C), from JOIN to APPLY */
    lamina__channel_map map;
    float *sums;   /* (blocks, SUMS, C) */
    float *memory; /* (threads, SUMS, wide) */
} work;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Into blocks of at least so many pixels. */
static cut cut_pixels(const lamina__channels_isa *isa, int64_t channels, int64_t pixels,
                      int64_t least, int64_t most) {
    cut c = {.rows = lamina__channels_for(isa, channels, pixels), .pixels = pixels};
    c.unit = 4 * c.rows.pixels; /* so many rows are summed at a time */
    c.units = pixels / c.unit;
    c.n =
        smaller(smaller(pixels * channels / BLOCK_NUMBERS, pixels / least), smaller(c.units, most));
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

/* The pixels of a call: of all of them, or of one in stages. */
static cut cut_call(const lamina__batch_norm *bn, const blocks *b, int64_t samples) {
    return b->call_blocks > 0
               ? cut_pixels(b->isa, bn->channels, samples * bn->pixels, STAGE_PIXELS,
                            b->call_blocks)
               : cut_pixels(b->isa, bn->channels, samples * bn->pixels, BLOCK_PIXELS, MOST_BLOCKS);
}

/* What is shared: moments, factors, the sums of all blocks. */
static size_t shared_numbers(const blocks *b, int64_t calls) {
    return b->room *
           (LAMINA__BATCH_NORM_MOMENTS + FACTORS + SUMS * (size_t)(calls * b->call_blocks));
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__batch_norm *bn = self;
    blocks *b = call->host->alloc(call, sizeof *b);

    (void)passes;
    if (b == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = b;
    b->isa = lamina__channels_to_use();
    b->bounds = bounds_of(setup);
    b->room = (size_t)lamina__channels_room(bn->channels);
    if (setup->calls > 0) {
        const int64_t all = MOST_BLOCKS / setup->calls;
        b->call_blocks = all > STAGE_BLOCKS ? all : STAGE_BLOCKS;
    }
    const cut c = cut_call(bn, b, setup->samples[0]);
    const size_t threads = setup->threads > 0 ? (size_t)setup->threads : 1;
    const size_t own = b->call_blocks > 0 ? 0 : LAMINA__BATCH_NORM_MOMENTS + SUMS * (size_t)c.n;
    b->wide = (size_t)lamina__channels_room(c.rows.width);
    const int32_t status = call->host->add_scratch(
        call, 2 * b->room * sizeof(double) +
                  (b->room * own + b->wide * (5 + SUMS * threads)) * sizeof(float));
    return status != LAMINA_OK || setup->calls == 0
               ? status
               : call->host->add_shared(call, shared_numbers(b, setup->calls) * sizeof(float));
}

static work begin_run(const lamina__batch_norm *bn, const blocks *b, const lamina_io *io) {
    work w = {.bn = bn,
              .kernel = b,
              .io = io,
              .cut = cut_call(bn, b, io->samples),
              .map = {.bounds = b->bounds}};
    w.first = io->scratch;
    w.second = w.first + b->room;
    float *at = (float *)(void *)(w.second + b->room);
    float **const wide[] = {&w.map.mean, &w.map.scale, &w.map.bias, &w.map.slope, &w.map.offset};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++, at += b->wide) {
        *wide[i] = at;
    }
    w.memory = at;
    if (b->call_blocks > 0) {
        float *shared = io->shared;
        w.moments = lamina__batch_norm_moments_in(bn, shared);
        w.factors = shared + LAMINA__BATCH_NORM_MOMENTS * b->room;
        w.sums = w.factors + FACTORS * b->room;
        return w;
    }
    at += b->wide * SUMS * (size_t)(bn->threads > 0 ? bn->threads : 1);
    w.moments = lamina__batch_norm_moments_in(
        bn, bn->saves && io->phase == LAMINA_TRAIN ? io->saved[0]->data : at);
    w.sums = at + b->room * LAMINA__BATCH_NORM_MOMENTS;
    return w;
}

/* ---- Blocks begin .. end-1 ----------------------------------------------------------------- */

/* Of a block of call c of SUM; c is 0 where there are no stages. */
static float *sums_of(const work *w, int64_t c, int64_t block) {
    return w->sums + (size_t)(c * w->kernel->call_blocks + block) * SUMS * w->kernel->room;
}

static float *block_sums(const work *w, int64_t block) {
    return sums_of(w, w->io->call, block);
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

/* Of a cut, behind n pixels; returns how many there are then. */
static double join_moments_of(const work *w, int64_t c, const cut *of, double n) {
    for (int64_t b = 0; b < of->n; b++) {
        const float *sums = sums_of(w, c, b);
        const double pixels = (double)(block_begin(of, b + 1) - block_begin(of, b));
        n += pixels;
        join_moments(w->bn->channels, pixels, n, sums, sums + w->kernel->room,
                     sums + 2 * w->kernel->room, w->first, w->second);
    }
    return n;
}

static double join_products_of(const work *w, int64_t c, const cut *of, double n) {
    for (int64_t b = 0; b < of->n; b++) {
        const float *sums = sums_of(w, c, b);
        join_sums(w->bn->channels, sums, w->first);
        join_sums(w->bn->channels, sums + w->kernel->room, w->second);
    }
    return n;
}

typedef double join_fn(const work *, int64_t c, const cut *, double n);

/* The blocks of all calls. */
static void join_all(const work *w, join_fn *join) {
    const int64_t calls = w->io->calls, batch = w->io->samples;
    double n = 0;
    clear(w);
    if (w->kernel->call_blocks == 0) {
        join(w, 0, &w->cut, n);
        return;
    }
    for (int64_t c = 0; c < calls; c++) {
        const int64_t samples = batch * (c + 1) / calls - batch * c / calls;
        const cut of_call = cut_call(w->bn, w->kernel, samples);
        n = samples > 0 ? join(w, c, &of_call, n) : n;
    }
}

/* ---- The factors of y and dx --------------------------------------------------------------- */

/* weight: NULL where there is none. */
static float scale_of(const float *weight, const lamina__batch_norm_moments *m, int64_t c) {
    return weight != NULL ? weight[c] * m->inverse[c] : m->inverse[c];
}

static void make_forward(const work *w) {
    const lamina__batch_norm_moments *m = &w->moments;
    const lamina__channel_map *map = &w->map;
    const int affine = w->bn->config->affine;
    const float *weight = affine ? w->io->weight[0]->data : NULL;
    const float *bias = affine ? w->io->weight[1]->data : NULL;
    for (int64_t c = 0; c < w->bn->channels; c++) {
        map->mean[c] = m->mean[c];
        map->scale[c] = scale_of(weight, m, c);
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

/* From the joined sums. scale (C): forward's. */
static void make_factors(const work *w, const float *scale, float *slope, float *offset) {
    const double pixels = (double)(w->io->samples * w->bn->pixels);
    take_factors(w->bn->channels, 1 / pixels, w->first, w->second, w->moments.rest,
                 w->moments.inverse, scale, slope, offset);
}

/* Of slope and offset (C) in the map: wide; away where mean and deviation are constants. */
static void end_factors(work *w) {
    if (w->io->phase != LAMINA_TRAIN) {
        w->map.slope = w->map.offset = NULL;
        return;
    }
    lamina__channels_widen(&w->cut.rows, w->map.slope);
    lamina__channels_widen(&w->cut.rows, w->map.offset);
}

/* ---- All at once --------------------------------------------------------------------------- */

static int32_t forward(work *w, lamina_call *call) {
    int32_t status = lamina__batch_norm_check(w->bn, call, w->io);
    if (status == LAMINA_OK && w->io->phase == LAMINA_TRAIN && !w->io->again) {
        status = lamina__spread(call, w->bn->threads, w->cut.n, 1, sum_moments, w);
        join_all(w, join_moments_of);
        lamina__batch_norm_of_batch(w->bn, w->io, w->first, w->second, w->moments);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    make_forward(w);
    return lamina__spread(call, w->bn->threads, w->cut.n, 1, write_out, w);
}

static int32_t backward(work *w, lamina_call *call) {
    make_forward(w);
    if (lamina__batch_norm_needs_sums(w->bn, w->io)) {
        lamina__spread(call, w->bn->threads, w->cut.n, 1, sum_products, w);
        join_all(w, join_products_of);
        lamina__batch_norm_add_gradients(w->bn, w->io, w->moments, w->first, w->second);
    }
    if (w->io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    if (w->io->phase == LAMINA_TRAIN) {
        make_factors(w, w->map.scale, w->map.slope, w->map.offset);
    }
    end_factors(w);
    return lamina__spread(call, w->bn->threads, w->cut.n, 1, write_d_in, w);
}

/* ---- In stages ----------------------------------------------------------------------------- */

static int32_t forward_stage(work *w, lamina_call *call) {
    const int training = w->io->phase == LAMINA_TRAIN;
    if (w->io->stage == LAMINA_STAGE_SUM) {
        return training ? sum_moments(w, 0, w->cut.n, 0) : LAMINA_OK;
    }
    if (w->io->stage == LAMINA_STAGE_APPLY) {
        make_forward(w);
        return write_out(w, 0, w->cut.n, 0);
    }
    const int32_t status = lamina__batch_norm_check(w->bn, call, w->io);
    if (status == LAMINA_OK && training) {
        join_all(w, join_moments_of);
        lamina__batch_norm_of_batch(w->bn, w->io, w->first, w->second, w->moments);
    } else if (status == LAMINA_OK) {
        lamina__batch_norm_of_state(w->bn, w->io, w->moments);
    }
    return status;
}

static void join_backward(work *w) {
    const int affine = w->bn->config->affine;
    const float *weight = affine ? w->io->weight[0]->data : NULL;
    if (!lamina__batch_norm_needs_sums(w->bn, w->io)) {
        return;
    }
    join_all(w, join_products_of);
    lamina__batch_norm_add_gradients(w->bn, w->io, w->moments, w->first, w->second);
    for (int64_t c = 0; c < w->bn->channels; c++) {
        w->map.scale[c] = scale_of(weight, &w->moments, c);
    }
    make_factors(w, w->map.scale, w->factors, w->factors + w->kernel->room);
}

static int32_t backward_stage(work *w) {
    const size_t bytes = (size_t)w->bn->channels * sizeof(float);
    if (w->io->stage == LAMINA_STAGE_JOIN) {
        join_backward(w);
        return LAMINA_OK;
    }
    make_forward(w);
    if (w->io->stage == LAMINA_STAGE_SUM) {
        return lamina__batch_norm_needs_sums(w->bn, w->io) ? sum_products(w, 0, w->cut.n, 0)
                                                           : LAMINA_OK;
    }
    if (w->io->phase == LAMINA_TRAIN) {
        memcpy(w->map.slope, w->factors, bytes);
        memcpy(w->map.offset, w->factors + w->kernel->room, bytes);
    }
    end_factors(w);
    return w->io->d_in[0] != NULL ? write_d_in(w, 0, w->cut.n, 0) : LAMINA_OK;
}

/* ---- Running ------------------------------------------------------------------------------- */

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__batch_norm *bn = self;

    if (lamina__batch_norm_does_nothing(pass, io)) {
        return LAMINA_OK;
    }
    work w = begin_run(bn, kernel, io);
    if (io->stage != LAMINA_STAGE_ALL) {
        return pass == LAMINA_PASS_FORWARD ? forward_stage(&w, call) : backward_stage(&w);
    }
    if (io->phase != LAMINA_TRAIN) {
        lamina__batch_norm_of_state(bn, io, w.moments);
    }
    return pass == LAMINA_PASS_FORWARD ? forward(&w, call) : backward(&w, call);
}

static const char *const fuses[] = {"relu", "clip", NULL};

const lamina_kernel lamina__batch_norm_blocks = {
    .struct_size = sizeof(lamina_kernel),
    .name = "blocks",
    .doc = "Sums of blocks of pixels, in vectors; two passes over memory each way.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_TOGETHER | LAMINA_KERNEL_FUSES_BACKWARD | LAMINA_KERNEL_STAGES,
    .create = create,
    .run = run,
    .fuses = fuses};

#endif
