/* Convolution by Winograd's minimal filtering: fewer multiplications for 3x3 and 5x5 filters of
 * stride 1. winograd.h has the mathematics. A layer's images are cut into tiles of m x m outputs;
 * with U = G w G^T the transformed filters, V = B^T d B the transformed input patches, and M the
 * transformed outputs,
 *
 *   forward           M = U V at each of the t * t points: (tiles, C) times (C, K); Y = E^T M E
 *   backward data     the same with the filters turned around, from d_out to d_in; or, where the
 *                     inputs need more tiles than the outputs do, the transpose of forward:
 *                     dM = E dY E^T; dV = dM U^T; dX += B dV B^T
 *   backward weights  dM = E dY E^T; dU = dM^T V, summed over all tiles; dw += G^T dU G
 *
 * Tiles are taken in groups, whose V and M fit the
 * second-level cache. Patches and tiles at the border are read and written as far as there are
 * pixels; nothing is padded.
 *
 * Each output sample is computed by itself, in an order that the number of samples does not change.
 *
 * Accuracy: evaluating at 2 and 1/2 costs a digit. The largest error of any pass, as a part of the
 * root mean square of its results, was 1.2e-6 for F(2x2, 3x3), 3.4e-5 for F(4x4, 3x3) and 2.4e-5
 * for F(4x4, 5x5), where plain float sums have 1e-6 to 2e-6 (64 channels; 20 and 50). The test,
 * tests/layers/test_conv_winograd.c, holds it to that. */
#include "layers/conv/conv_winograd.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

static const lamina__winograd_isa *isa_to_use(void) {
    return LAMINA__SET_TO_USE(lamina__winograd);
}

/* ---- Choosing a tiling --------------------------------------------------------------------- */

/* Multiply-adds of a sample, with what the transforms cost counted in as such: they are no products
 * and are bound by loads and stores. Measured to be about 3 of them for each number. */
static double cost_of(const lamina__conv *conv, const lamina__winograd_tiling *tiling) {
    const double tiles = (double)(lamina__ceil_div(conv->window.y.out, tiling->out) *
                                  lamina__ceil_div(conv->window.x.out, tiling->out));
    const double channels = (double)conv->in_channels, filters = (double)conv->out_channels;
    const double points = (double)(tiling->tile * tiling->tile);
    return tiles * points * (channels * filters + 48 * (channels + filters));
}

/* The cheapest tiling for this filter, NULL: none. */
static const lamina__winograd_tiling *best_tiling(const lamina__conv *conv) {
    const lamina__winograd_isa *isa = isa_to_use();
    const lamina__winograd_tiling *best = NULL;
    for (int i = 0; i < LAMINA__N_TILINGS; i++) {
        const lamina__winograd_tiling *tiling = &isa->tiling[i];
        if (tiling->filter == conv->window.y.kernel && tiling->filter == conv->window.x.kernel &&
            (best == NULL || cost_of(conv, tiling) < cost_of(conv, best))) {
            best = tiling;
        }
    }
    return best;
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;

    (void)setup, (void)pass;
    return conv->groups == 1 && y->stride == 1 && x->stride == 1 && y->dilation == 1 &&
           x->dilation == 1 && conv->in_channels >= 8 && conv->out_channels >= 8 &&
           best_tiling(conv) != NULL;
}

/* ---- Making it ----------------------------------------------------------------------------- */

static void describe(const lamina__conv *conv, lamina__winograd *w) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t out = w->tiling->out;
    w->forward = (lamina__correlation){.in_y = y->in,
                                       .in_x = x->in,
                                       .in_channels = conv->in_channels,
                                       .out_y = y->out,
                                       .out_x = x->out,
                                       .out_channels = conv->out_channels,
                                       .pad_y = y->pad_begin,
                                       .pad_x = x->pad_begin,
                                       .tiles_y = lamina__ceil_div(y->out, out),
                                       .tiles_x = lamina__ceil_div(x->out, out)};
    w->data = (lamina__correlation){.in_y = y->out,
                                    .in_x = x->out,
                                    .in_channels = conv->out_channels,
                                    .out_y = y->in,
                                    .out_x = x->in,
                                    .out_channels = conv->in_channels,
                                    .pad_y = y->kernel - 1 - y->pad_begin,
                                    .pad_x = x->kernel - 1 - x->pad_begin,
                                    .tiles_y = lamina__ceil_div(y->in, out),
                                    .tiles_x = lamina__ceil_div(x->in, out)};
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* A group has as many tiles as leave V and M in the second-level cache, but enough for the
 * transformed filters to be worth reading once more. Where those are large and all tiles are one
 * group, they are not kept but made block by block, each used while it is in that cache: writing
 * and reading them would take longer than computing with them. */
static void decide_group(const lamina__conv *conv, lamina__winograd *w, const lamina_setup *setup) {
    enum {
        CACHE = 1 << 20,
        PIECE = 1 << 19,
        LARGE = 2 << 20,
        LEAST = 32,
        MOST_TILES = 256,
        ONE_GROUP = 128
    };
    const int64_t bytes = w->points * (w->in_wide + w->out_wide) * (int64_t)sizeof(float);
    const int64_t tiles = larger(w->forward.tiles_y * w->forward.tiles_x,
                                 w->transposed ? 0 : w->data.tiles_y * w->data.tiles_x);
    const int64_t all = (setup->samples[0] * tiles + 7) / 8 * 8;
    w->group = larger(LEAST, CACHE / bytes / 8 * 8);
    w->group = w->group > MOST_TILES ? MOST_TILES : w->group;
    w->group = w->group < all ? w->group : all;
    /* Each thread a piece of what correlates, as far as there are tiles; sums over tiles, in
     * backward weights, are made group by group whatever the threads are. */
    const int64_t share = lamina__ceil_div(setup->samples[0] * tiles, setup->threads);
    w->piece = larger(LEAST, PIECE / bytes / 8 * 8);
    w->piece = w->piece < w->group ? w->piece : w->group;
    w->piece = w->piece < share ? w->piece : share;
    w->streams = all <= ONE_GROUP && w->points * conv->in_channels * conv->out_channels >
                                         LARGE / (int64_t)sizeof(float);
    if (w->streams) {
        const int64_t row = w->points * w->isa->vectors * w->isa->width;
        w->group = w->piece = all;
        w->block = CACHE / 2 / (row * (int64_t)sizeof(float)) / w->isa->width;
        w->block = larger(w->block, 1) * w->isa->width;
    }
}

/* Scratch: V and M, blocks of filters and what turns them around for each thread. */
static int32_t declare_streaming(lamina_call *call, const lamina_setup *setup,
                                 lamina__winograd *w) {
    const int64_t row = (int64_t)w->isa->vectors * w->isa->width;
    w->block_step = w->block * row + w->isa->width;
    w->thread_floats = w->points * (w->block_step + (int64_t)w->isa->width * w->isa->width);
    w->d_bias_at = w->points * (w->v_step + w->m_step) + w->thread_floats * setup->threads;
    const int64_t scratch = w->d_bias_at + w->out_wide;
    const int32_t status = call->host->add_scratch(call, (size_t)scratch * sizeof(float));
    return status < 0 ? status : LAMINA_OK;
}

/* Scratch: V and M for each thread, and sums of the filters' gradients. Transformed filters. */
static int32_t declare_packed(const lamina__conv *conv, lamina_call *call,
                              const lamina_setup *setup, uint32_t passes, lamina__winograd *w) {
    w->forward_step = conv->in_channels * w->out_wide + w->isa->width;
    w->data_step = conv->out_channels * w->in_wide + w->isa->width;
    /* Vectors of dU hold channels or filters: what leaves less of the last one empty, by enough to
     * pay for turning sums of filters around. */
    w->filters_last = conv->in_channels * w->out_wide * 20 < conv->out_channels * w->in_wide * 19;
    w->d_u_step = w->filters_last ? conv->in_channels * w->out_wide + w->isa->width : w->data_step;
    w->thread_floats = w->points * (w->v_step + w->m_step);
    int64_t scratch = w->thread_floats * setup->threads;
    if ((passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0) {
        w->d_bias_at = scratch + w->points * w->d_u_step;
        scratch = w->d_bias_at + w->out_wide;
    }
    /* prepare() turns squares of filters and channels around. */
    scratch = larger(scratch, w->points * w->isa->width * w->isa->width);
    int32_t status = call->host->add_scratch(call, (size_t)scratch * sizeof(float));
    if (status >= 0 && (passes & LAMINA_PASS_FORWARD) != 0) {
        status = w->packed_forward = call->host->add_packed(
            call, "weight_forward", (size_t)(w->points * w->forward_step) * sizeof(float));
    }
    if (status >= 0 && (passes & LAMINA_PASS_BACKWARD_DATA) != 0) {
        status = w->packed_data = call->host->add_packed(
            call, "weight_backward", (size_t)(w->points * w->data_step) * sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    lamina__winograd *w = call->host->alloc(call, sizeof *w);

    if (w == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = w;
    w->isa = isa_to_use();
    w->product = lamina__product_to_use();
    w->tiling = best_tiling(conv);
    w->relu = setup->fused != NULL;
    w->passes = (int32_t)passes;
    w->points = (int64_t)w->tiling->tile * w->tiling->tile;
    w->in_wide = lamina__whole_vectors(w->product, conv->in_channels);
    w->out_wide = lamina__whole_vectors(w->product, conv->out_channels);
    describe(conv, w);
    w->transposed =
        w->forward.tiles_y * w->forward.tiles_x * 5 < w->data.tiles_y * w->data.tiles_x * 4;
    w->filter_panels = lamina__winograd_n_panels(w, conv->out_channels);
    w->channel_panels = lamina__winograd_n_panels(w, conv->in_channels);
    decide_group(conv, w, setup);
    /* A vector more, so that points do not all fall on the same lines of a cache. */
    w->v_step = w->group * larger(w->in_wide, w->out_wide) + w->isa->width;
    w->m_step = w->v_step;
    w->packed_forward = w->packed_data = -1;
    return w->streams ? declare_streaming(call, setup, w)
                      : declare_packed(conv, call, setup, passes, w);
}

/* ---- Packing ------------------------------------------------------------------------------- */

/* A panel of filters and a vector of channels at a time, of which each part has a run. */
static void pack_forward(const lamina__conv *conv, const lamina__winograd *w, const lamina_io *io) {
    const int64_t width = w->isa->width, channels = conv->in_channels;
    const int64_t blocks = lamina__ceil_div(channels, width), n = w->filter_panels * blocks;
    for (int64_t i = n * io->part / io->parts; i < n * (io->part + 1) / io->parts; i++) {
        const lamina__panel panel = lamina__winograd_panel(w, conv->out_channels, i / blocks);
        const int64_t c = i % blocks * width, end = c + width < channels ? c + width : channels;
        lamina__winograd_forward_filters(conv, w, io->weight[0]->data, panel, c, end, io->scratch,
                                         (float *)io->packed[w->packed_forward] +
                                             channels * panel.first + c * panel.vectors * width,
                                         w->forward_step);
    }
}

/* All panels of channels, of which each part has some filters. */
static void pack_data(const lamina__conv *conv, const lamina__winograd *w, const lamina_io *io) {
    const int64_t filters = conv->out_channels;
    const int64_t begin = filters * io->part / io->parts,
                  end = filters * (io->part + 1) / io->parts;
    for (int64_t p = 0; p < w->channel_panels; p++) {
        const lamina__panel panel = lamina__winograd_panel(w, conv->in_channels, p);
        lamina__winograd_data_filters(conv, w, io->weight[0]->data, panel, begin, end,
                                      (float *)io->packed[w->packed_data] + filters * panel.first +
                                          begin * panel.vectors * w->isa->width,
                                      w->data_step);
    }
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const lamina__winograd *w = kernel;
    (void)call;
    if (w->packed_forward >= 0) {
        pack_forward(self, w, io);
    }
    if (w->packed_data >= 0) {
        pack_data(self, w, io);
    }
    return LAMINA_OK;
}

/* ---- Products ------------------------------------------------------------------------------ */

/* to = from U at all points: (count, from_channels) times (from_channels, to_channels). */
static void multiply_points(const lamina__winograd *w, int64_t count, const float *from,
                            int64_t from_channels, int64_t from_wide, const float *u,
                            int64_t u_step, float *to, int64_t to_channels, int64_t to_wide) {
    lamina__winograd_product product = {
        .rows = count, .n = from_channels, .a_row = from_wide, .a_step = 1, .c_row = to_wide};
    for (int64_t point = 0; point < w->points; point++) {
        for (int64_t p = 0; p < lamina__winograd_n_panels(w, to_channels); p++) {
            const lamina__panel panel = lamina__winograd_panel(w, to_channels, p);
            product.a = from + point * w->v_step;
            product.b = u + point * u_step + from_channels * panel.first;
            product.b_step = (int64_t)panel.vectors * w->isa->width;
            product.c = to + point * w->m_step + panel.first;
            w->isa->multiply[panel.vectors - 1](&product);
        }
    }
}

/* dU (points, K, C) = or += dM^T V at points begin .. end-1, over `count` tiles; (points, C, K) =
 * or += V^T dM if that fills vectors better. */
static void add_points(const lamina__conv *conv, const lamina__winograd *w, int64_t begin,
                       int64_t end, int64_t count, const float *v, const float *m, int add,
                       float *u) {
    const float *a = w->filters_last ? v : m, *b = w->filters_last ? m : v;
    const int64_t a_wide = w->filters_last ? w->in_wide : w->out_wide;
    const int64_t b_wide = w->filters_last ? w->out_wide : w->in_wide;
    const int64_t rows = w->filters_last ? conv->in_channels : conv->out_channels;
    const int64_t columns = w->filters_last ? conv->out_channels : conv->in_channels;
    lamina__winograd_product product = {.rows = rows,
                                        .n = count,
                                        .a_row = 1,
                                        .a_step = a_wide,
                                        .b_step = b_wide,
                                        .c_row = b_wide,
                                        .add = add};
    for (int64_t point = begin; point < end; point++) {
        for (int64_t p = 0; p < lamina__winograd_n_panels(w, columns); p++) {
            const lamina__panel panel = lamina__winograd_panel(w, columns, p);
            product.a = a + point * w->v_step;
            product.b = b + point * w->v_step + panel.first;
            product.c = u + point * w->d_u_step + panel.first;
            w->isa->multiply[panel.vectors - 1](&product);
        }
    }
}

/* ---- Running ------------------------------------------------------------------------------- */

static float *thread_scratch(const lamina__winograd_work *k, int32_t thread) {
    return (float *)k->io->scratch + thread * k->w->thread_floats;
}

/* Pieces begin .. end-1 of the tiles, forward or backward data. */
static int32_t correlate(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    const lamina__correlation *c = k->c;
    const int forward = c == &w->forward;
    const int64_t in_wide = forward ? w->in_wide : w->out_wide;
    const int64_t out_wide = forward ? w->out_wide : w->in_wide;
    float *v = thread_scratch(k, thread), *m = v + w->points * w->v_step;
    for (int64_t g = begin; g < end; g++) {
        const int64_t first = g * w->piece;
        const int64_t count = k->tiles - first < w->piece ? k->tiles - first : w->piece;
        lamina__winograd_inputs(w, c, k->in, first, 0, count, in_wide, v);
        multiply_points(w, count, v, c->in_channels, in_wide, k->u,
                        forward ? w->forward_step : w->data_step, m, c->out_channels, out_wide);
        lamina__winograd_outputs(w, c, m, k->bias, first, 0, count, out_wide, k->out);
    }
    return LAMINA_OK;
}

/* Samples begin .. end-1, backward data as the transpose of forward. */
static int32_t correlate_transposed(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    const lamina__correlation *c = &w->forward;
    const int64_t last = end * c->tiles_y * c->tiles_x;
    float *v = thread_scratch(k, thread), *m = v + w->points * w->v_step;
    for (int64_t first = begin * c->tiles_y * c->tiles_x; first < last; first += w->piece) {
        const int64_t count = last - first < w->piece ? last - first : w->piece;
        lamina__winograd_d_outputs(w, k->in, first, 0, count, m);
        multiply_points(w, count, m, c->out_channels, w->out_wide, k->u, w->data_step, v,
                        c->in_channels, w->in_wide);
        lamina__winograd_add_d_inputs(w, v, first, count, k->out);
    }
    return LAMINA_OK;
}

static int32_t run_correlation(lamina_call *call, lamina__winograd_work *k) {
    k->tiles = k->io->samples * k->c->tiles_y * k->c->tiles_x;
    return lamina__spread(call, k->conv->threads, lamina__ceil_div(k->tiles, k->w->piece), 1,
                          correlate, k);
}

static int32_t transform_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    float *v = thread_scratch(k, 0), *m = v + k->w->points * k->w->v_step;
    (void)thread;
    if (k->weights_wanted) {
        lamina__winograd_inputs(k->w, k->c, k->in, k->first, begin, end, k->w->in_wide, v);
    }
    lamina__winograd_d_outputs(k->w, k->io->d_out[0]->data, k->first, begin, end, m);
    return LAMINA_OK;
}

static float *filter_sums(const lamina__winograd_work *k) {
    return thread_scratch(k, k->conv->threads > 1 ? k->conv->threads : 1);
}

static int32_t points_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const float *v = thread_scratch(k, 0), *m = v + k->w->points * k->w->v_step;
    (void)thread;
    add_points(k->conv, k->w, begin, end, k->count, v, m, k->first > 0, filter_sums(k));
    return LAMINA_OK;
}

static int32_t filters_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    const int64_t channels = k->conv->in_channels;
    const int64_t size = (int64_t)w->tiling->filter * w->tiling->filter * channels;
    float *d_weight = k->io->d_weight[0]->data;
    (void)thread;
    for (int64_t o = begin; o < end; o++) {
        w->tiling->d_weights(filter_sums(k) + o * w->in_wide, w->d_u_step, channels,
                             d_weight + o * size, channels);
    }
    return LAMINA_OK;
}

/* The same for vectors begin .. end-1 of filters, where these are the vectors of dU. */
static int32_t filter_vectors_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    float *scratch = thread_scratch(k, thread); /* V and M have been used */
    for (int64_t v = begin; v < end; v++) {
        lamina__winograd_add_d_filters(k->conv, w, filter_sums(k), v * w->isa->width, scratch,
                                       k->io->d_weight[0]->data);
    }
    return LAMINA_OK;
}

/* Group after group; inside one, threads share its tiles, then its points. */
static int32_t backward_weights(lamina_call *call, lamina__winograd_work *k) {
    const lamina__winograd *w = k->w;
    const int32_t threads = k->conv->threads;
    int32_t status = LAMINA_OK;
    k->tiles = k->io->samples * k->c->tiles_y * k->c->tiles_x;
    for (k->first = 0; status == LAMINA_OK && k->first < k->tiles; k->first += w->group) {
        k->count = k->tiles - k->first < w->group ? k->tiles - k->first : w->group;
        status = lamina__spread(call, threads, k->count, 1, transform_range, k);
        if (k->d_bias != NULL) {
            lamina__winograd_add_d_bias(w, thread_scratch(k, 0) + w->points * w->v_step, k->count,
                                        k->d_bias);
        }
        if (status == LAMINA_OK && k->weights_wanted) {
            status = lamina__spread(call, threads, w->points, 1, points_range, k);
        }
    }
    if (status != LAMINA_OK || !k->weights_wanted) {
        return status;
    }
    return w->filters_last
               ? lamina__spread(call, threads, w->out_wide / w->isa->width, 1, filter_vectors_range,
                                k)
               : lamina__spread(call, threads, k->conv->out_channels, 1, filters_range, k);
}

/* The bias's gradient is summed from dM, which is small and at hand. */
static int32_t run_backward_weights(lamina_call *call, lamina__winograd_work *k) {
    const lamina__winograd *w = k->w;
    float *d_bias = k->conv->bias && k->io->d_weight[1] != NULL ? k->io->d_weight[1]->data : NULL;
    k->weights_wanted = k->io->d_weight[0] != NULL;
    if (d_bias == NULL && !k->weights_wanted) {
        return LAMINA_OK;
    }
    if (d_bias != NULL) {
        k->d_bias = (float *)k->io->scratch + w->d_bias_at;
        memset(k->d_bias, 0, (size_t)w->out_wide * sizeof *k->d_bias);
    }
    const int32_t status = w->streams
                               ? lamina__winograd_stream(call, k, LAMINA_PASS_BACKWARD_WEIGHTS)
                               : backward_weights(call, k);
    for (int64_t o = 0; d_bias != NULL && o < k->c->out_channels; o++) {
        d_bias[o] += k->d_bias[o];
    }
    return status;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__winograd *w = kernel;
    lamina__winograd_work k = {
        .conv = self, .w = w, .io = io, .c = &w->forward, .in = io->in[0]->data};
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return run_backward_weights(call, &k);
    }
    if (pass == LAMINA_PASS_BACKWARD_DATA && io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    if (w->streams) {
        return lamina__winograd_stream(call, &k, pass);
    }
    if (pass == LAMINA_PASS_FORWARD) {
        k.u = io->packed[w->packed_forward];
        k.bias = k.conv->bias ? io->weight[1]->data : NULL;
        k.out = io->out[0]->data;
        return run_correlation(call, &k);
    }
    k.c = &w->data;
    k.in = io->d_out[0]->data;
    k.u = io->packed[w->packed_data];
    k.out = io->d_in[0]->data;
    return w->transposed
               ? lamina__spread(call, k.conv->threads, io->samples, 1, correlate_transposed, &k)
               : run_correlation(call, &k);
}

const lamina_kernel lamina__conv_winograd = {
    .struct_size = sizeof(lamina_kernel),
    .name = "winograd",
    .doc = "Winograd's minimal filtering for 3x3 and 5x5 filters of stride 1: fewer products.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .flags = LAMINA_KERNEL_SHARES_PREPARE,
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .rounding = 8,
    .fuses = lamina__fuses_relu};

#endif
