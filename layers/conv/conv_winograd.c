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
 * pixels; nothing is padded. Each point's product is a block product (layers/product).
 *
 * Each output sample is computed by itself, in an order that the number of samples does not change.
 *
 * Accuracy: evaluating at 2 and 1/2 costs a digit. The largest error of any pass, as a part of the
 * root mean square of its results, was 1.2e-6 for F(2x2, 3x3), 3.4e-5 for F(4x4, 3x3) and 2.3e-5
 * for F(4x4, 5x5), where plain float sums have 1e-6 to 2e-6 (64 channels; 20 and 50). The test,
 * tests/layers/test_conv_winograd.c, holds it to that. */
#include "layers/conv/conv.h"
#include "layers/conv/winograd.h"
#include "layers/parallel.h"
#include "layers/product/panel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* One correlation: forward, or backward data with the roles of in and out exchanged. */
typedef struct correlation {
    int64_t in_y, in_x, in_channels; /* pixels, of the image that patches are taken from */
    int64_t out_y, out_x, out_channels;
    int64_t pad_y, pad_x; /* the first patch begins so far outside the image; may be negative */
    int64_t tiles_y, tiles_x;
} correlation;

typedef struct winograd {
    const lamina__winograd_isa *isa;
    const lamina__winograd_tiling *tiling;
    const lamina__product_isa *product;
    correlation forward, data;
    int32_t passes;
    int32_t packed_forward, packed_data; /* transformed filters, or -1 */
    int32_t transposed;                  /* 1: backward data is the transpose of forward */
    int64_t points;                      /* t * t */
    int64_t in_wide, out_wide;           /* channels, their last vector filled up */
    int64_t group;                       /* tiles, at most, in a group */
    int64_t v_step, m_step, d_u_step;    /* floats from point to point: V, M and dU */
    int64_t forward_step, data_step;     /* the same of U for these passes */
    int64_t thread_floats;               /* scratch of each thread */
    int64_t *by_in, *by_out;             /* i * in_wide and i * out_wide, for rows of products */
    int64_t *columns;                    /* i */
} winograd;

static const lamina__winograd_isa *isa_to_use(void) {
#if LAMINA__ISA_X86
    const lamina__isa isa = lamina__isa_to_use();
    if (isa == LAMINA__ISA_AVX512) {
        return &lamina__winograd_avx512;
    }
    if (isa == LAMINA__ISA_AVX2) {
        return &lamina__winograd_avx2;
    }
#endif
    return &lamina__winograd_portable;
}

/* ---- Choosing a tiling --------------------------------------------------------------------- */

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Multiply-adds of a sample, with what the transforms cost counted in as such: they are no products
 * and are bound by loads and stores. Measured to be about 3 of them for each number. */
static double cost_of(const lamina__conv *conv, const lamina__winograd_tiling *tiling) {
    const double tiles = (double)(ceil_div(conv->window.y.out, tiling->out) *
                                  ceil_div(conv->window.x.out, tiling->out));
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

static void describe(const lamina__conv *conv, winograd *w) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t out = w->tiling->out;
    w->forward = (correlation){.in_y = y->in,
                               .in_x = x->in,
                               .in_channels = conv->in_channels,
                               .out_y = y->out,
                               .out_x = x->out,
                               .out_channels = conv->out_channels,
                               .pad_y = y->pad_begin,
                               .pad_x = x->pad_begin,
                               .tiles_y = ceil_div(y->out, out),
                               .tiles_x = ceil_div(x->out, out)};
    w->data = (correlation){.in_y = y->out,
                            .in_x = x->out,
                            .in_channels = conv->out_channels,
                            .out_y = y->in,
                            .out_x = x->in,
                            .out_channels = conv->in_channels,
                            .pad_y = y->kernel - 1 - y->pad_begin,
                            .pad_x = x->kernel - 1 - x->pad_begin,
                            .tiles_y = ceil_div(y->in, out),
                            .tiles_x = ceil_div(x->in, out)};
}

/* As many tiles as leave V and M in the second-level cache, but enough for the transformed filters
 * to be worth reading once more. */
static int64_t group_size(const winograd *w, const lamina_setup *setup) {
    enum { CACHE = 1 << 20, LEAST = 32, MOST_TILES = 256 };
    const int64_t bytes = w->points * (w->in_wide + w->out_wide) * (int64_t)sizeof(float);
    int64_t group = CACHE / bytes / 8 * 8;
    group = group < LEAST ? LEAST : group > MOST_TILES ? MOST_TILES : group;
    const correlation *f = &w->forward, *d = &w->data;
    const int64_t tiles = f->tiles_y * f->tiles_x > d->tiles_y * d->tiles_x
                              ? f->tiles_y * f->tiles_x
                              : d->tiles_y * d->tiles_x;
    const int64_t all = (setup->samples[0] * tiles + 7) / 8 * 8;
    return group < all ? group : all;
}

static int64_t *make_steps(lamina_call *call, int64_t n, int64_t step) {
    int64_t *at = call->host->alloc(call, (size_t)n * sizeof *at);
    for (int64_t i = 0; at != NULL && i < n; i++) {
        at[i] = i * step;
    }
    return at;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    winograd *w = call->host->alloc(call, sizeof *w);

    if (w == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = w;
    w->isa = isa_to_use();
    w->product = lamina__product_to_use();
    w->tiling = best_tiling(conv);
    w->passes = (int32_t)passes;
    w->points = (int64_t)w->tiling->tile * w->tiling->tile;
    w->in_wide = lamina__whole_vectors(w->product, conv->in_channels);
    w->out_wide = lamina__whole_vectors(w->product, conv->out_channels);
    describe(conv, w);
    w->transposed =
        w->forward.tiles_y * w->forward.tiles_x * 5 < w->data.tiles_y * w->data.tiles_x * 4;
    w->group = group_size(w, setup);
    /* A vector more, so that points do not all fall on the same lines of a cache. */
    w->v_step = w->group * larger(w->in_wide, w->out_wide) + w->isa->width;
    w->m_step = w->v_step;
    w->d_u_step = conv->out_channels * w->in_wide + w->isa->width;
    w->forward_step = conv->in_channels * w->out_wide + w->isa->width;
    w->data_step = conv->out_channels * w->in_wide + w->isa->width;
    w->by_in = make_steps(call, larger(w->group, conv->out_channels), w->in_wide);
    w->by_out = make_steps(call, w->group, w->out_wide);
    w->columns = make_steps(call, conv->out_channels, 1);
    if (w->by_in == NULL || w->by_out == NULL || w->columns == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }

    w->packed_forward = w->packed_data = -1;
    w->thread_floats = w->points * (w->v_step + w->m_step);
    int64_t scratch = w->thread_floats * setup->threads;
    if ((passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0) {
        scratch += w->points * w->d_u_step;
    }
    /* prepare() turns a square of filters and channels around. */
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

/* ---- Filters ------------------------------------------------------------------------------- */

/* Where column `column` of row `row` lies in panels of so many rows. */
static int64_t panel_offset(const lamina__product_isa *isa, int64_t columns, int64_t rows,
                            int64_t row, int64_t column) {
    int64_t p = lamina__n_panels(isa, columns) - 1;
    while (lamina__panel_of(isa, columns, p).first > column) {
        p--;
    }
    const lamina__panel panel = lamina__panel_of(isa, columns, p);
    return rows * panel.first + row * panel.vectors * isa->width + column - panel.first;
}

/* U (points, panels of (C, filters)): squares of filters and channels are transformed along the
 * channels and turned around. */
static void prepare_forward(const lamina__conv *conv, const winograd *w, const float *weight,
                            float *scratch, float *to) {
    const int64_t width = w->isa->width, channels = conv->in_channels, filters = conv->out_channels;
    const int64_t size = (int64_t)w->tiling->filter * w->tiling->filter * channels;
    for (int64_t o = 0; o < filters; o += width) {
        const int64_t row = panel_offset(w->product, filters, channels, 1, o) -
                            panel_offset(w->product, filters, channels, 0, o);
        for (int64_t c = 0; c < channels; c += width) {
            const int64_t some = channels - c < width ? channels - c : width;
            for (int64_t i = 0; i < width; i++) {
                float *at = scratch + i * width;
                if (o + i < filters) {
                    w->tiling->weights(weight + (o + i) * size + c, channels, some, at,
                                       width * width);
                    continue;
                }
                for (int64_t p = 0; p < w->points; p++) {
                    memset(at + p * width * width, 0, (size_t)width * sizeof *at);
                }
            }
            for (int64_t p = 0; p < w->points; p++) {
                float *into =
                    to + p * w->forward_step + panel_offset(w->product, filters, channels, c, o);
                const float *square = scratch + p * width * width;
                if (some == width) {
                    w->isa->transpose(square, width, into, row);
                    continue;
                }
                for (int64_t j = 0; j < some; j++) {
                    for (int64_t i = 0; i < width; i++) {
                        into[j * row + i] = square[i * width + j];
                    }
                }
            }
        }
    }
}

/* U (points, panels of (filters, C)), of the filters turned around unless the pass is the transpose
 * of forward. */
static void prepare_data(const lamina__conv *conv, const winograd *w, const float *weight,
                         float *to) {
    const int64_t channels = conv->in_channels, filters = conv->out_channels;
    const int64_t last = ((int64_t)w->tiling->filter * w->tiling->filter - 1) * channels;
    for (int64_t p = 0; p < lamina__n_panels(w->product, channels); p++) {
        const lamina__panel panel = lamina__panel_of(w->product, channels, p);
        const int64_t wide = (int64_t)panel.vectors * w->product->width;
        const int64_t some = wide - w->product->width + panel.last;
        for (int64_t o = 0; o < filters; o++) {
            const float *from = weight + o * (last + channels) + panel.first;
            w->tiling->weights(w->transposed ? from : from + last,
                               w->transposed ? channels : -channels, some,
                               to + filters * panel.first + o * wide, w->data_step);
        }
    }
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const winograd *w = kernel;
    const float *weight = io->weight[0]->data;

    (void)call;
    if (w->packed_forward >= 0) {
        prepare_forward(self, w, weight, io->scratch, io->packed[w->packed_forward]);
    }
    if (w->packed_data >= 0) {
        prepare_data(self, w, weight, io->packed[w->packed_data]);
    }
    return LAMINA_OK;
}

/* ---- Tiles --------------------------------------------------------------------------------- */

static int32_t clamp(int64_t x, int64_t most) {
    return (int32_t)(x < 0 ? 0 : x > most ? most : x);
}

/* The pixels (y, x) .. of an image that a square of n x n covers. */
static lamina__winograd_square square_at(int64_t y, int64_t x, int64_t height, int64_t width,
                                         int64_t channels, int64_t n) {
    return (lamina__winograd_square){.row = width * channels,
                                     .column = channels,
                                     .y_begin = clamp(-y, n),
                                     .y_end = clamp(height - y, n),
                                     .x_begin = clamp(-x, n),
                                     .x_end = clamp(width - x, n)};
}

/* Tile `tile`, counted through all samples: its sample, row and column of tiles. */
typedef struct place {
    int64_t n, y, x;
} place;

static place place_of(const correlation *c, int64_t tile) {
    const int64_t of_sample = c->tiles_y * c->tiles_x, in = tile % of_sample;
    return (place){tile / of_sample, in / c->tiles_x, in % c->tiles_x};
}

/* V of tiles first .. first+count-1. */
static void transform_inputs(const winograd *w, const correlation *c, const float *in,
                             int64_t first, int64_t begin, int64_t end, int64_t wide, float *v) {
    for (int64_t i = begin; i < end; i++) {
        const place at = place_of(c, first + i);
        const int64_t y = at.y * w->tiling->out - c->pad_y, x = at.x * w->tiling->out - c->pad_x;
        const lamina__winograd_square square =
            square_at(y, x, c->in_y, c->in_x, c->in_channels, w->tiling->tile);
        w->tiling->input(in + ((at.n * c->in_y + y) * c->in_x + x) * c->in_channels, &square,
                         c->in_channels, v + i * wide, w->v_step);
    }
}

/* The square of outputs of a tile, and where it begins in the image. */
static lamina__winograd_square output_square(const winograd *w, const correlation *c, place at,
                                             int64_t *offset) {
    const int64_t y = at.y * w->tiling->out, x = at.x * w->tiling->out;
    *offset = ((at.n * c->out_y + y) * c->out_x + x) * c->out_channels;
    return square_at(y, x, c->out_y, c->out_x, c->out_channels, w->tiling->out);
}

static void transform_outputs(const winograd *w, const correlation *c, const float *m,
                              const float *bias, int64_t first, int64_t count, int64_t wide,
                              float *out) {
    for (int64_t i = 0; i < count; i++) {
        int64_t offset;
        const lamina__winograd_square square = output_square(w, c, place_of(c, first + i), &offset);
        w->tiling->output(m + i * wide, w->m_step, bias, c->out_channels, out + offset, &square);
    }
}

/* dM of tiles first + begin .. first + end - 1. */
static void transform_d_outputs(const winograd *w, const float *d_out, int64_t first, int64_t begin,
                                int64_t end, float *m) {
    const correlation *c = &w->forward;
    for (int64_t i = begin; i < end; i++) {
        int64_t offset;
        const lamina__winograd_square square = output_square(w, c, place_of(c, first + i), &offset);
        w->tiling->d_output(d_out + offset, &square, c->out_channels, m + i * w->out_wide,
                            w->m_step);
    }
}

/* ---- Products ------------------------------------------------------------------------------ */

/* `rows` rows of a block product, in blocks of about equally many. */
static void multiply(const winograd *w, int64_t rows, const int64_t *a_at, const int64_t *c_at,
                     int32_t vectors, lamina__product_tile *tile) {
    int64_t first = 0;
    for (int64_t left = ceil_div(rows, w->product->rows); left > 0; left--) {
        const int64_t count = (rows - first + left - 1) / left;
        tile->a_at = a_at + first;
        tile->c_at = c_at + first;
        w->product->block[count - 1][vectors - 1](tile);
        first += count;
    }
}

/* to = from U at all points: (count, from_channels) times (from_channels, to_channels). */
static void multiply_points(const winograd *w, int64_t count, const float *from,
                            int64_t from_channels, const int64_t *from_at, const float *u,
                            int64_t u_step, float *to, int64_t to_channels, const int64_t *to_at) {
    lamina__product_tile tile = {.walk = {.n = {from_channels, 1}, .a_step = {1, 0}},
                                 .last = w->product->width,
                                 .b_is_full = 1};
    for (int64_t point = 0; point < w->points; point++) {
        for (int64_t p = 0; p < lamina__n_panels(w->product, to_channels); p++) {
            const lamina__panel panel = lamina__panel_of(w->product, to_channels, p);
            tile.walk.b_step[0] = (int64_t)panel.vectors * w->product->width;
            tile.a = from + point * w->v_step;
            tile.b = u + point * u_step + from_channels * panel.first;
            tile.c = to + point * w->m_step + panel.first;
            multiply(w, count, from_at, to_at, panel.vectors, &tile);
        }
    }
}

/* dU (points, K, C) = or += dM^T V at points begin .. end-1, over `count` tiles. */
static void add_points(const lamina__conv *conv, const winograd *w, int64_t begin, int64_t end,
                       int64_t count, const float *v, const float *m, int add, float *u) {
    lamina__product_tile tile = {
        .walk = {.n = {count, 1}, .a_step = {w->out_wide, 0}, .b_step = {w->in_wide, 0}},
        .last = w->product->width,
        .b_is_full = 1,
        .add = add};
    for (int64_t point = begin; point < end; point++) {
        for (int64_t p = 0; p < lamina__n_panels(w->product, conv->in_channels); p++) {
            const lamina__panel panel = lamina__panel_of(w->product, conv->in_channels, p);
            tile.a = m + point * w->m_step;
            tile.b = v + point * w->v_step + panel.first;
            tile.c = u + point * w->d_u_step + panel.first;
            multiply(w, conv->out_channels, w->columns, w->by_in, panel.vectors, &tile);
        }
    }
}

/* ---- Running ------------------------------------------------------------------------------- */

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const winograd *w;
    const lamina_io *io;
    const correlation *c;
    const float *in, *u, *bias;
    float *out;
    int64_t tiles; /* of all samples */
    /* Backward weights: the group at hand. */
    int64_t first, count;
} work;

static float *thread_scratch(const work *k, int32_t thread) {
    return (float *)k->io->scratch + thread * k->w->thread_floats;
}

/* Groups begin .. end-1 of tiles, forward or backward data. */
static int32_t correlate(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *k = arg;
    const winograd *w = k->w;
    const correlation *c = k->c;
    const int forward = c == &w->forward;
    const int64_t in_wide = forward ? w->in_wide : w->out_wide;
    const int64_t out_wide = forward ? w->out_wide : w->in_wide;
    const int64_t *in_at = forward ? w->by_in : w->by_out;
    const int64_t *out_at = forward ? w->by_out : w->by_in;
    float *v = thread_scratch(k, thread), *m = v + w->points * w->v_step;
    for (int64_t g = begin; g < end; g++) {
        const int64_t first = g * w->group;
        const int64_t count = k->tiles - first < w->group ? k->tiles - first : w->group;
        transform_inputs(w, c, k->in, first, 0, count, in_wide, v);
        multiply_points(w, count, v, c->in_channels, in_at, k->u,
                        forward ? w->forward_step : w->data_step, m, c->out_channels, out_at);
        transform_outputs(w, c, m, k->bias, first, count, out_wide, k->out);
    }
    return LAMINA_OK;
}

/* dX of the tiles' patches: added, into a sample that is cleared when its first tile comes. */
static void add_d_inputs(const winograd *w, const float *v, int64_t first, int64_t count,
                         float *d_in) {
    const correlation *c = &w->forward;
    const int64_t size = c->in_y * c->in_x * c->in_channels;
    for (int64_t i = 0; i < count; i++) {
        const place at = place_of(c, first + i);
        const int64_t y = at.y * w->tiling->out - c->pad_y, x = at.x * w->tiling->out - c->pad_x;
        const lamina__winograd_square square =
            square_at(y, x, c->in_y, c->in_x, c->in_channels, w->tiling->tile);
        if (at.y == 0 && at.x == 0) {
            memset(d_in + at.n * size, 0, (size_t)size * sizeof *d_in);
        }
        w->tiling->d_input(v + i * w->in_wide, w->v_step, c->in_channels,
                           d_in + at.n * size + (y * c->in_x + x) * c->in_channels, &square);
    }
}

/* Samples begin .. end-1, backward data as the transpose of forward. */
static int32_t correlate_transposed(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *k = arg;
    const winograd *w = k->w;
    const correlation *c = &w->forward;
    const int64_t last = end * c->tiles_y * c->tiles_x;
    float *v = thread_scratch(k, thread), *m = v + w->points * w->v_step;
    for (int64_t first = begin * c->tiles_y * c->tiles_x; first < last; first += w->group) {
        const int64_t count = last - first < w->group ? last - first : w->group;
        transform_d_outputs(w, k->in, first, 0, count, m);
        multiply_points(w, count, m, c->out_channels, w->by_out, k->u, w->data_step, v,
                        c->in_channels, w->by_in);
        add_d_inputs(w, v, first, count, k->out);
    }
    return LAMINA_OK;
}

static int32_t run_correlation(lamina_call *call, work *k) {
    k->tiles = k->io->samples * k->c->tiles_y * k->c->tiles_x;
    return lamina__spread(call, k->conv->threads, ceil_div(k->tiles, k->w->group), 1, correlate, k);
}

static int32_t transform_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *k = arg;
    float *v = thread_scratch(k, 0), *m = v + k->w->points * k->w->v_step;
    (void)thread;
    transform_inputs(k->w, k->c, k->in, k->first, begin, end, k->w->in_wide, v);
    transform_d_outputs(k->w, k->io->d_out[0]->data, k->first, begin, end, m);
    return LAMINA_OK;
}

static float *filter_sums(const work *k) {
    return thread_scratch(k, k->conv->threads > 1 ? k->conv->threads : 1);
}

static int32_t points_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *k = arg;
    const float *v = thread_scratch(k, 0), *m = v + k->w->points * k->w->v_step;
    (void)thread;
    add_points(k->conv, k->w, begin, end, k->count, v, m, k->first > 0, filter_sums(k));
    return LAMINA_OK;
}

static int32_t filters_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *k = arg;
    const winograd *w = k->w;
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

/* Group after group; inside one, threads share its tiles, then its points. */
static int32_t backward_weights(lamina_call *call, work *k) {
    const winograd *w = k->w;
    const int32_t threads = k->conv->threads;
    int32_t status = LAMINA_OK;
    if (k->conv->bias && k->io->d_weight[1] != NULL) {
        w->product->sum_rows(k->io->samples * k->c->out_y * k->c->out_x, k->c->out_channels,
                             k->io->d_out[0]->data, k->io->d_weight[1]->data);
    }
    if (k->io->d_weight[0] == NULL) {
        return LAMINA_OK;
    }
    k->tiles = k->io->samples * k->c->tiles_y * k->c->tiles_x;
    for (k->first = 0; status == LAMINA_OK && k->first < k->tiles; k->first += w->group) {
        k->count = k->tiles - k->first < w->group ? k->tiles - k->first : w->group;
        status = lamina__spread(call, threads, k->count, 1, transform_range, k);
        if (status == LAMINA_OK) {
            status = lamina__spread(call, threads, w->points, 1, points_range, k);
        }
    }
    return status != LAMINA_OK
               ? status
               : lamina__spread(call, threads, k->conv->out_channels, 1, filters_range, k);
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const winograd *w = kernel;
    work k = {.conv = self, .w = w, .io = io, .c = &w->forward, .in = io->in[0]->data};
    if (pass == LAMINA_PASS_FORWARD) {
        k.u = io->packed[w->packed_forward];
        k.bias = k.conv->bias ? io->weight[1]->data : NULL;
        k.out = io->out[0]->data;
        return run_correlation(call, &k);
    }
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return backward_weights(call, &k);
    }
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
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
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .rounding = 8};

#endif
