/* Convolution of any kind as a sum of matrix products, one for each tap (u, v) of the filter,
 * straight from channels-last memory:
 *
 *   forward           Y[outputs, O]  = sum over taps, I of X[inputs at the tap, I] W_tap^T + b
 *   backward data     dX[inputs, I]  = sum over taps, O of dY[outputs at the tap, O] W_tap
 *   backward weights  dW_tap[O, I]  += sum over outputs of dY^T X       (conv_taps_weights.c)
 *
 * No patches are made and no padding is copied: pixels are sorted by the taps that they meet inside
 * the image (conv_taps_runs.c), and those of one kind, of several samples, are the rows of one
 * block product (layers/product). So of a 3x3 filter on a 2x2 image 16 products are made of 36.
 * The first two passes are one correlation with the roles of in and out exchanged.
 *
 * The filters are packed to panels of columns. Those that stay in the second-level cache are packed
 * by prepare(); larger ones where they are used, a chunk (a panel of one tap) at a time, since
 * writing and reading them whole costs more; and then the sums grow in c, chunk after chunk.
 *
 * A sum is made tap after tap and channel after channel, in chunks that depend on the filter alone:
 * in the same order whatever part of the batch is in a call and however the threads share it. */
#include "layers/conv/conv_taps.h"

#if !LAMINA_LAYERS_F64

#include "layers/parallel.h"

#include <string.h>

enum {
    NEAR = 4096,              /* floats of a panel that stays in the first-level cache */
    CACHED = 128 * 1024,      /* floats of filters that are packed once, by prepare() */
    WHOLE_PANEL = 128 * 1024, /* floats of a panel up to which it is one chunk */
    CHANNELS = 512,           /* in a chunk, at most */
    PART_ROWS = 512           /* rows for which a chunk is packed, about, and at least a sample */
};

/* Pixels of c that meet the same taps, of all the samples of a part: sample after sample. */
typedef struct pixels {
    lamina__tap_run y, x;
    int64_t n;            /* in one sample */
    int64_t *a_at, *c_at; /* (samples, n), floats */
} pixels;

typedef struct side {
    int64_t row, size; /* floats of a row of pixels, and of a sample */
    int64_t channels, group_channels;
} side;

/* c = a W, for forward and backward data. */
typedef struct correlation {
    side a, c;
    int64_t taps, kernel_x;
    int64_t samples;        /* of a part */
    int64_t panels, wide;   /* of one group; floats of a packed row of the widest */
    int64_t ranges, chunks; /* 0: a chunk is a panel; else parts of a's channels, for each tap */
    int32_t packed;         /* by prepare(), or -1 */
    int64_t a_row;          /* floats of a pixel of a, if they are read in order; else 0 */
    int64_t n_pixels;
    pixels *pixels;
} correlation;

typedef struct taps {
    const lamina__product_isa *isa;
    correlation forward, data;
    int64_t thread_floats; /* scratch of each thread */
    int32_t relu;          /* 1: forward ends with max(0, y) */
    lamina__tap_weights *weights;
} taps;

/* Narrow columns leave most of a vector unused. */
static int fills_vectors(int64_t columns) {
    return columns * 4 >= lamina__product_to_use()->width;
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    (void)setup;
    return fills_vectors(pass == LAMINA_PASS_FORWARD ? lamina__group_out(conv)
                                                     : lamina__group_in(conv));
}

/* ---- Making it ---- */

/* The rows of pixels of y and x. */
static int make_pixels(lamina_call *call, const correlation *k, pixels *p) {
    const lamina__tap_run *y = &p->y, *x = &p->x;
    p->n = y->count * x->count;
    p->a_at = call->host->alloc(call, (size_t)(k->samples * p->n) * sizeof *p->a_at);
    p->c_at = call->host->alloc(call, (size_t)(k->samples * p->n) * sizeof *p->c_at);
    if (p->a_at == NULL || p->c_at == NULL) {
        return 0;
    }
    for (int64_t i = 0; i < k->samples * p->n; i++) {
        const int64_t sample = i / p->n, py = i % p->n / x->count, px = i % x->count;
        const int is_read = y->taps > 0 && x->taps > 0;
        p->c_at[i] = sample * k->c.size + (y->first + py * y->step) * k->c.row +
                     (x->first + px * x->step) * k->c.channels;
        p->a_at[i] = is_read ? sample * k->a.size + (y->from + py * y->from_step) * k->a.row +
                                   (x->from + px * x->from_step) * k->a.channels
                             : 0;
    }
    return 1;
}

/* Whether a panel goes through all pixels whole, one after the other. */
static int goes_in_order(const lamina__conv *conv, const correlation *k) {
    const pixels *p = k->pixels;
    const int64_t n = k->n_pixels == 1 ? k->samples * p->n : 0;
    return n > 0 && k->chunks == 1 && k->taps == 1 && conv->groups == 1 &&
           p->a_at[n - 1] == (n - 1) * k->a.channels;
}

/* Pixels of each pair of runs. */
static int make_all_pixels(const lamina__conv *conv, lamina_call *call, correlation *k,
                           int64_t (*runs_of)(const lamina__axis *, lamina__tap_run *)) {
    const int64_t rows = k->c.size / k->c.row, columns = k->c.row / k->c.channels;
    lamina__tap_run *y = call->host->alloc(call, (size_t)rows * sizeof *y);
    lamina__tap_run *x = call->host->alloc(call, (size_t)columns * sizeof *x);
    int ok = y != NULL && x != NULL;
    if (ok) {
        const int64_t n_y = runs_of(&conv->window.y, y), n_x = runs_of(&conv->window.x, x);
        k->n_pixels = n_y * n_x;
        k->pixels = call->host->alloc(call, (size_t)k->n_pixels * sizeof *k->pixels);
        ok = k->pixels != NULL;
        for (int64_t i = 0; ok && i < k->n_pixels; i++) {
            k->pixels[i] = (pixels){.y = y[i / n_x], .x = x[i % n_x]};
            ok = make_pixels(call, k, &k->pixels[i]);
        }
        k->a_row = ok && goes_in_order(conv, k) ? k->a.channels : 0;
    }
    call->host->free(call, y);
    call->host->free(call, x);
    return ok;
}

static side side_of(int64_t pixels_y, int64_t pixels_x, int64_t channels, int64_t groups) {
    return (side){.row = pixels_x * channels,
                  .size = pixels_y * pixels_x * channels,
                  .channels = channels,
                  .group_channels = channels / groups};
}

/* Wide ones, where they are even and near: then pixels of c are written in longer pieces. */
static int64_t panels_of(const correlation *k, const lamina__product_isa *isa) {
    const int64_t vectors = lamina__ceil_div(k->c.group_channels, isa->width);
    const int64_t n = lamina__ceil_div(vectors, isa->wide);
    const int64_t floats = k->taps * k->a.group_channels * (vectors / n) * isa->width;
    return vectors % n == 0 && floats <= NEAR ? n : lamina__n_panels(isa, k->c.group_channels);
}

static void measure(const lamina__conv *conv, const lamina_setup *setup,
                    const lamina__product_isa *isa, correlation *k) {
    const int64_t rows = k->c.size / k->c.channels;
    k->kernel_x = conv->window.x.kernel;
    k->taps = conv->window.y.kernel * k->kernel_x;
    k->samples = lamina__ceil_div(PART_ROWS, rows);
    k->samples = k->samples < setup->samples[0] ? k->samples : setup->samples[0];
    k->panels = panels_of(k, isa);
    k->wide =
        lamina__ceil_div(lamina__ceil_div(k->c.group_channels, isa->width), k->panels) * isa->width;
    k->chunks = 1;
    if (k->taps * k->a.group_channels * k->wide > WHOLE_PANEL) {
        k->ranges = lamina__ceil_div(k->a.group_channels, CHANNELS);
        k->chunks = k->taps * k->ranges;
    }
}

/* Floats of all its packed filters. */
static int64_t packed_floats(const lamina__conv *conv, const correlation *k) {
    return conv->groups * k->panels * k->taps * k->a.group_channels * k->wide;
}

/* Where the filters are packed: while training, each step again. */
static int32_t declare(const lamina__conv *conv, lamina_call *call, const lamina_setup *setup,
                       const char *name, taps *t, correlation *k) {
    const int64_t all = packed_floats(conv, k);
    if (all <= CACHED || !setup->training) {
        k->packed = call->host->add_packed(call, name, (size_t)all * sizeof(float));
        return k->packed;
    }
    const int64_t channels = k->ranges > 0 ? lamina__ceil_div(k->a.group_channels, k->ranges)
                                           : k->taps * k->a.group_channels;
    t->thread_floats =
        t->thread_floats > channels * k->wide ? t->thread_floats : channels * k->wide;
    return LAMINA_OK;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const side in = side_of(y->in, x->in, conv->in_channels, conv->groups);
    const side out = side_of(y->out, x->out, conv->out_channels, conv->groups);
    taps *t = call->host->alloc(call, sizeof *t);
    int64_t weights_floats = 0;
    int32_t status = LAMINA_OK;
    int ok = t != NULL;

    *kernel = t;
    if (ok) {
        t->isa = lamina__product_to_use();
        t->relu = setup->fused != NULL;
        t->forward = (correlation){.a = in, .c = out, .packed = -1};
        t->data = (correlation){.a = out, .c = in, .packed = -1};
    }
    if (ok && (passes & LAMINA_PASS_FORWARD) != 0) {
        measure(conv, setup, t->isa, &t->forward);
        ok = make_all_pixels(conv, call, &t->forward, lamina__tap_runs_forward);
        status = declare(conv, call, setup, "weight_forward", t, &t->forward);
    }
    if (ok && status >= 0 && (passes & LAMINA_PASS_BACKWARD_DATA) != 0) {
        measure(conv, setup, t->isa, &t->data);
        ok = make_all_pixels(conv, call, &t->data, lamina__tap_runs_data);
        status = declare(conv, call, setup, "weight_backward", t, &t->data);
    }
    if (!ok) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    if (status >= 0 && (passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0) {
        status = lamina__tap_weights_create(conv, call, setup, &t->weights, &weights_floats);
    }
    const int64_t floats = t->thread_floats * setup->threads;
    if (status >= 0 && (floats > 0 || weights_floats > 0)) {
        status = call->host->add_scratch(
            call, (size_t)(floats > weights_floats ? floats : weights_floats) * sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

/* ---- Packing ---- */

/* A panel's columns, counted through all groups. */
typedef struct columns {
    lamina__panel panel;
    int64_t group, wide;
} columns;

static columns columns_of(const taps *t, const correlation *k, int64_t index) {
    const lamina__panel panel =
        lamina__panel_of_n(t->isa->width, k->c.group_channels, index % k->panels, k->panels);
    return (columns){
        .panel = panel, .group = index / k->panels, .wide = (int64_t)panel.vectors * t->isa->width};
}

/* Rows begin .. end-1 of a panel of forward, counted through taps and channels: that is how they
 * lie in the filters, which are turned around. */
static void pack_forward(const lamina__conv *conv, const lamina__product_isa *isa,
                         const float *weight, columns c, int64_t begin, int64_t end, float *to) {
    const int64_t width = isa->width;
    const int64_t window = conv->window.y.kernel * conv->window.x.kernel * lamina__group_in(conv);
    const float *from = weight + (c.group * lamina__group_out(conv) + c.panel.first) * window;

    for (int64_t o = 0; o < c.wide; o += width) {
        const int64_t filters = o + width < c.wide ? width : c.panel.last;
        int64_t i = begin;
        for (; filters == width && i + width <= end; i += width) {
            isa->transpose(from + o * window + i, window, to + (i - begin) * c.wide + o, c.wide);
        }
        for (; i < end; i++) {
            for (int64_t j = 0; j < width; j++) {
                to[(i - begin) * c.wide + o + j] = j < filters ? from[(o + j) * window + i] : 0;
            }
        }
    }
}

/* Rows begin .. end-1 of a panel of backward data, counted through taps and filters. */
static void pack_data(const lamina__conv *conv, const lamina__product_isa *isa, const float *weight,
                      columns c, int64_t begin, int64_t end, float *to) {
    const int64_t n_taps = conv->window.y.kernel * conv->window.x.kernel;
    const int64_t filters = lamina__group_out(conv), channels = lamina__group_in(conv);
    const int64_t used = c.wide - isa->width + c.panel.last;
    const float *from = weight + c.group * filters * n_taps * channels + c.panel.first;

    for (int64_t i = begin; i < end; i++, to += c.wide) {
        const float *row = from + (i % filters * n_taps + i / filters) * channels;
        memcpy(to, row, (size_t)used * sizeof *to);
        memset(to + used, 0, (size_t)(c.wide - used) * sizeof *to);
    }
}

typedef void pack_fn(const lamina__conv *, const lamina__product_isa *, const float *weight,
                     columns, int64_t begin, int64_t end, float *to);

static void pack_all(const lamina__conv *conv, const taps *t, const correlation *k, pack_fn *pack,
                     const lamina_io *io) {
    const int64_t rows = k->taps * k->a.group_channels;
    for (int64_t i = 0; k->packed >= 0 && i < conv->groups * k->panels; i++) {
        pack(conv, t->isa, io->weight[0]->data, columns_of(t, k, i), 0, rows,
             (float *)io->packed[k->packed] + i * rows * k->wide);
    }
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const taps *t = kernel;
    (void)call;
    pack_all(self, t, &t->forward, pack_forward, io);
    pack_all(self, t, &t->data, pack_data, io);
    return LAMINA_OK;
}

/* ---- Running ---- */

/* One run of one pass, as the threads share it: each part of the samples, cut by rows when there
 * are too few parts and panels for the threads, times each panel. */
typedef struct work {
    const lamina__conv *conv;
    const taps *t;
    const correlation *k;
    const lamina_io *io;
    pack_fn *pack;
    const float *a, *bias;
    float *c;
    int64_t cuts;
    int32_t relu;
} work;

/* Some rows of a packed panel: all of them, or channels begin .. end-1 of one tap. */
typedef struct chunk {
    int64_t index, tap, begin, end;
} chunk;

static chunk chunk_of(const correlation *k, int64_t index) {
    if (k->ranges == 0) {
        return (chunk){.end = k->a.group_channels};
    }
    const int64_t i = index % k->ranges, channels = k->a.group_channels;
    return (chunk){.index = index,
                   .tap = index / k->ranges,
                   .begin = channels * i / k->ranges,
                   .end = channels * (i + 1) / k->ranges};
}

/* What these pixels have to do with a chunk: fills in the tile's walk and what is done to c with
 * its sums. 0: nothing. `b`: the chunk. */
static int meet(const work *w, const pixels *p, const chunk *h, columns c, const float *b,
                lamina__product_tile *tile) {
    const correlation *k = w->k;
    const lamina__tap_run *y = &p->y, *x = &p->x;
    const int64_t tap_floats = k->a.group_channels * c.wide;
    const float *bias =
        w->bias != NULL ? w->bias + c.group * k->c.group_channels + c.panel.first : NULL;
    lamina__product_walk loops = {
        .n = {h->end - h->begin, x->taps, y->taps},
        .a_step = {1, x->from_tap_step * k->a.channels, y->from_tap_step * k->a.row},
        .b_step = {c.wide, x->tap_step * tap_floats, y->tap_step * k->kernel_x * tap_floats}};
    int is_first = 1, is_last = 1;

    tile->a = w->a + c.group * k->a.group_channels + h->begin;
    tile->b = b;
    if (y->taps == 0 || x->taps == 0) {
        if (h->index > 0) {
            return 0;
        }
    } else if (k->ranges == 0) {
        tile->b += (y->tap * k->kernel_x + x->tap) * tap_floats;
    } else {
        const int64_t u = h->tap / k->kernel_x - y->tap, v = h->tap % k->kernel_x - x->tap;
        const int64_t i = u / y->tap_step, j = v / x->tap_step;
        if (u < 0 || v < 0 || u % y->tap_step != 0 || v % x->tap_step != 0 || i >= y->taps ||
            j >= x->taps) {
            return 0;
        }
        tile->a += i * loops.a_step[2] + j * loops.a_step[1];
        loops.n[1] = loops.n[2] = 1;
        is_first = i == 0 && j == 0 && h->begin == 0;
        is_last = i == y->taps - 1 && j == x->taps - 1 && h->end == k->a.group_channels;
    }
    tile->walk = lamina__tap_walk(&loops);
    tile->add = !is_first;
    tile->bias = is_first ? bias : NULL;
    tile->relu = is_last && w->relu;
    return 1;
}

/* One panel for a cut of the rows of `samples` samples, `first` and those after it. */
static void multiply(const work *w, int64_t first, int64_t samples, int64_t cut, int64_t panel,
                     float *scratch) {
    const correlation *k = w->k;
    const columns c = columns_of(w->t, k, panel);
    const int64_t rows = k->taps * k->a.group_channels;
    lamina__product_tile tile = {.c = w->c + first * k->c.size + c.group * k->c.group_channels +
                                      c.panel.first,
                                 .last = c.panel.last,
                                 .b_is_full = 1,
                                 .fetch = 1,
                                 .a_row = k->a_row};

    for (int64_t i = 0; i < k->chunks; i++) {
        const chunk h = chunk_of(k, i);
        const float *b = scratch;
        if (k->packed >= 0) {
            b = (const float *)w->io->packed[k->packed] + panel * rows * k->wide +
                (h.tap * k->a.group_channels + h.begin) * c.wide;
        } else {
            const int64_t begin = h.tap * k->a.group_channels + h.begin;
            const int64_t count = k->ranges > 0 ? h.end - h.begin : rows;
            w->pack(w->conv, w->t->isa, w->io->weight[0]->data, c, begin, begin + count, scratch);
        }
        for (int64_t j = 0; j < k->n_pixels; j++) {
            const pixels *p = &k->pixels[j];
            const int64_t begin = samples * p->n * cut / w->cuts;
            const int64_t end = samples * p->n * (cut + 1) / w->cuts;
            if (meet(w, p, &h, c, b, &tile)) {
                tile.a += first * k->a.size;
                lamina__product_rows(w->t->isa, k->a_row > 0 ? w->t->isa->even : w->t->isa->block,
                                     c.panel.vectors, end - begin, p->a_at + begin, p->c_at + begin,
                                     &tile);
            }
        }
    }
}

/* Items begin .. end-1: (parts, cuts, panels of all groups). */
static int32_t multiply_some(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const correlation *k = w->k;
    const int64_t panels = k->panels * w->conv->groups;
    float *scratch = (float *)w->io->scratch + thread * w->t->thread_floats;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i / panels / w->cuts * k->samples;
        const int64_t left = w->io->samples - first;
        multiply(w, first, left < k->samples ? left : k->samples, i / panels % w->cuts, i % panels,
                 scratch);
    }
    return LAMINA_OK;
}

static int32_t correlate(lamina_call *call, work *w) {
    const correlation *k = w->k;
    const int64_t threads = w->conv->threads;
    const int64_t items =
        lamina__ceil_div(w->io->samples, k->samples) * k->panels * w->conv->groups;
    const int64_t blocks =
        lamina__ceil_div(k->samples * k->c.size / k->c.channels, w->t->isa->rows);
    w->cuts = threads <= 1 || items == 0 || items >= 4 * threads
                  ? 1
                  : lamina__ceil_div(2 * threads, items);
    w->cuts = w->cuts < blocks ? w->cuts : blocks;
    return lamina__spread(call, w->conv->threads, items * w->cuts, 1, multiply_some, w);
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__conv *conv = self;
    const taps *t = kernel;
    work w = {.conv = conv, .t = t, .io = io};

    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return lamina__tap_weights_run(conv, t->weights, call, io);
    }
    if (pass == LAMINA_PASS_FORWARD) {
        w.k = &t->forward;
        w.pack = pack_forward;
        w.a = io->in[0]->data;
        w.bias = conv->bias ? io->weight[1]->data : NULL;
        w.c = io->out[0]->data;
        w.relu = t->relu;
        return correlate(call, &w);
    }
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    w.k = &t->data;
    w.pack = pack_data;
    w.a = io->d_out[0]->data;
    w.bias = conv->data_bias ? io->weight[1]->data : NULL;
    w.c = io->d_in[0]->data;
    w.relu = conv->data_relu;
    return correlate(call, &w);
}

const lamina_kernel lamina__conv_taps = {
    .struct_size = sizeof(lamina_kernel),
    .name = "taps",
    .doc = "A matrix product for each tap of the filter, in AVX-512, AVX2 or plain C.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .fuses = lamina__fuses_relu};

#endif
