/* Fully connected layer by block products (layers/product), on the weights as they lie, (O, F):
 * repacking them every step would cost more than it saves.
 *
 *   forward           Y^T = W X^T + b   rows: units      columns: samples    sum over: features
 *   backward data     dX  = dY W        rows: samples    columns: features   sum over: units
 *   backward weights  dW += dY^T X      rows: units      columns: features   sum over: samples
 *
 * Forward turns X around, a block of features at a time, and then Y back: both are small beside W.
 * A small batch is computed without that, as dot products along the features; one sample reads W
 * once, at the speed of the cache it lies in. (Copying the panels of W that backward data reads was
 * slower for 8, 32, 64 and 128 samples.)
 *
 * Several threads share a call by units, so each goes through its own rows of W in all passes, and
 * through their gradients: the update, too, gives a thread about the same rows, and they stay in
 * the caches of one core. Backward data then sums over units: each thread makes a dX of its own
 * ones, and these are added; where they would be larger than W the threads share the features
 * instead.
 *
 * A sum is made in blocks of its own length, in an order that depends on the batch's size and,
 * where threads share a call of backward data, on their number, but not on how many of the batch's
 * samples are in a call. */
#include "layers/linear/linear.h"

#if !LAMINA_LAYERS_F64

#include "layers/parallel.h"
#include "layers/product/panel.h"

enum {
    FEATURES = 256, /* of X turned around at a time: with the samples of a panel they fit L1 */
    UNITS = 128,    /* rows of W at a time in backward data: a panel of them fits L1, too */
    SINGLE = 3,     /* batch up to which W is gone through once for each */
    FEW = 8         /* batch up to which forward computes dot products */
};

typedef struct product {
    const lamina__product_isa *isa;
    int64_t batch;          /* decides how forward computes: not what one call gets of it */
    int32_t relu;           /* 1: forward ends with max(0, y) */
    int64_t wide;           /* columns of the widest panel */
    int64_t thread_floats;  /* scratch of each thread, forward */
    int32_t by_units_apart; /* 1: threads share backward data by units; see below */
    int64_t *by_features;   /* i * features, */
    int64_t *by_units;      /* i * units, */
    int64_t *by_wide;       /* i * wide, */
    int64_t *by_one;        /* and i, for the rows of products */
} product;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__linear *linear;
    const product *p;
    const lamina_io *io;
    int64_t
        parts; /* of backward data by units: counted, as there may be fewer threads than asked */
} work;

static int64_t *make_steps(lamina_call *call, int64_t n, int64_t step) {
    int64_t *at = call->host->alloc(call, (size_t)n * sizeof *at);
    for (int64_t i = 0; at != NULL && i < n; i++) {
        at[i] = i * step;
    }
    return at;
}

static int64_t at_most(int64_t n, int64_t most) {
    return n < most ? n : most;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__linear *linear = self;
    const int64_t samples = setup->samples[0], units = linear->units;
    product *p = call->host->alloc(call, sizeof *p);

    if (p == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = p;
    p->isa = lamina__product_to_use();
    p->batch = setup->in[0]->dim[0];
    p->relu = setup->fused != NULL;
    p->wide = (int64_t)p->isa->vectors * p->isa->width;
    p->by_features = make_steps(call, samples > units ? samples : units, linear->features);
    p->by_units = make_steps(call, samples, units);
    p->by_wide = make_steps(call, units, p->wide);
    p->by_one = make_steps(call, units, 1);
    if (p->by_features == NULL || p->by_units == NULL || p->by_wide == NULL || p->by_one == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    int32_t status = LAMINA_OK;
    if ((passes & LAMINA_PASS_FORWARD) != 0) { /* X turned around, and Y before it is turned back */
        p->thread_floats = (FEATURES + units) * p->wide;
        status = call->host->add_scratch(call, (size_t)(p->thread_floats * setup->threads) *
                                                   sizeof(float));
    }
    const int64_t others = setup->threads - 1;
    p->by_units_apart = others > 0 && others * samples <= units;
    if (status >= 0 && p->by_units_apart && (passes & LAMINA_PASS_BACKWARD_DATA) != 0) {
        status = call->host->add_scratch(call, (size_t)(others * samples * linear->features) *
                                                   sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

/* ---- Forward ------------------------------------------------------------------------------- */

/* to[f * wide + n] = x[n * features + f] for f < n_features and n < samples, 0 up to `columns`. */
static void turn_inputs(const product *p, const float *x, int64_t features, int64_t n_features,
                        int64_t samples, int64_t columns, float *to) {
    const int64_t width = p->isa->width;
    for (int64_t n = 0; n < columns; n += width) {
        for (int64_t f = 0; f < n_features; f += width) {
            const int64_t n_some = at_most(samples - n, width);
            const int64_t f_some = at_most(n_features - f, width);
            if (n_some == width && f_some == width) {
                p->isa->transpose(x + n * features + f, features, to + f * p->wide + n, p->wide);
                continue;
            }
            for (int64_t i = 0; i < f_some; i++) {
                for (int64_t j = 0; j < width; j++) {
                    to[(f + i) * p->wide + n + j] = j < n_some ? x[(n + j) * features + f + i] : 0;
                }
            }
        }
    }
}

LAMINA__VECTOR_CLONES
static void finish(const float *bias, int relu, int64_t n, float *y) {
    for (int64_t o = 0; bias != NULL && o < n; o++) {
        y[o] += bias[o];
    }
    for (int64_t o = 0; relu && o < n; o++) {
        y[o] = y[o] < 0 ? 0 : y[o];
    }
}

/* y[n * units + o] = from[o * wide + n], plus the bias, for o < n_units and n < samples. */
static void turn_outputs(const work *w, const float *from, int64_t n_units, int64_t samples,
                         const float *bias, float *y) {
    const product *p = w->p;
    const int64_t width = p->isa->width, units = w->linear->units;
    for (int64_t n = 0; n < samples; n += width) {
        for (int64_t o = 0; o < n_units; o += width) {
            const int64_t n_some = at_most(samples - n, width);
            const int64_t o_some = at_most(n_units - o, width);
            if (n_some == width && o_some == width) {
                p->isa->transpose(from + o * p->wide + n, p->wide, y + n * units + o, units);
                continue;
            }
            for (int64_t j = 0; j < n_some; j++) {
                for (int64_t i = 0; i < o_some; i++) {
                    y[(n + j) * units + o + i] = from[(o + i) * p->wide + n + j];
                }
            }
        }
    }
    for (int64_t n = 0; n < samples; n++) {
        finish(bias, p->relu, n_units, y + n * units);
    }
}

/* Units begin .. end-1 for one panel of samples. */
static void forward_panel(const work *w, int64_t begin, int64_t end, lamina__panel panel,
                          float *scratch) {
    const product *p = w->p;
    const int64_t features = w->linear->features, width = p->isa->width;
    const int64_t columns = panel.vectors * width, samples = columns - width + panel.last;
    const float *weight = (const float *)w->io->weight[0]->data + begin * features;
    const float *x = (const float *)w->io->in[0]->data + panel.first * features;
    const float *bias = w->linear->bias ? (const float *)w->io->weight[1]->data + begin : NULL;
    float *y = (float *)w->io->out[0]->data + panel.first * w->linear->units + begin;
    float *inputs = scratch, *outputs = scratch + FEATURES * p->wide;
    lamina__product_tile tile = {.walk = {.n = {0, 1}, .a_step = {1, 0}, .b_step = {p->wide, 0}},
                                 .b = inputs,
                                 .c = outputs,
                                 .last = p->isa->width,
                                 .b_is_full = 1};
    for (int64_t f = 0; f < features; f += FEATURES) {
        const int64_t some = at_most(features - f, FEATURES);
        turn_inputs(p, x + f, features, some, samples, columns, inputs);
        tile.walk.n[0] = some;
        tile.a = weight + f;
        tile.add = f > 0;
        lamina__product_rows(p->isa, p->isa->block, panel.vectors, end - begin, p->by_features,
                             p->by_wide, &tile);
    }
    turn_outputs(w, outputs, end - begin, samples, bias, y);
}

/* Units begin .. end-1 for a few samples: dot products of rows of W and of X. */
static void forward_few(const work *w, int64_t begin, int64_t end) {
    const product *p = w->p;
    const int64_t features = w->linear->features, units = w->linear->units;
    const float *weight = w->io->weight[0]->data, *x = w->io->in[0]->data;
    const float *bias = w->linear->bias ? w->io->weight[1]->data : NULL;
    float *y = w->io->out[0]->data;
    lamina__product_tile tile = {.walk = {.n = {features, 1}}, .relu = p->relu};

    if (p->batch > SINGLE) { /* rows: samples; columns: units, two at a time */
        tile.a = x;
        tile.b_column = features;
        for (int64_t o = begin; o < end; o += LAMINA__PRODUCT_DOTS) {
            tile.b = weight + o * features;
            tile.c = y + o;
            tile.bias = bias != NULL ? bias + o : NULL;
            lamina__product_rows(p->isa, p->isa->dot, at_most(end - o, LAMINA__PRODUCT_DOTS),
                                 w->io->samples, p->by_features, p->by_units, &tile);
        }
        return;
    }
    tile.a = weight + begin * features; /* rows: units; one column: the sample */
    tile.relu = 0;
    for (int64_t n = 0; n < w->io->samples; n++) {
        tile.b = x + n * features;
        tile.c = y + n * units + begin;
        lamina__product_rows(p->isa, p->isa->dot, 1, end - begin, p->by_features, p->by_one, &tile);
        finish(bias != NULL ? bias + begin : NULL, p->relu, end - begin, tile.c);
    }
}

static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const product *p = w->p;
    const int64_t samples = w->io->samples;
    float *scratch = (float *)w->io->scratch + thread * p->thread_floats;
    if (p->batch <= FEW) {
        forward_few(w, begin, end);
        return LAMINA_OK;
    }
    for (int64_t i = 0; i < lamina__n_panels(p->isa, samples); i++) {
        forward_panel(w, begin, end, lamina__panel_of(p->isa, samples, i), scratch);
    }
    return LAMINA_OK;
}

/* ---- Backward ------------------------------------------------------------------------------ */

/* Asks for rows begin .. end-1 of the columns of W that are used next. They lie far apart, so the
 * processor does not guess them, and another thread may have updated them last. */
static void fetch_rows(const work *w, const float *at, int64_t begin, int64_t end) {
    const int64_t features = w->linear->features;
    for (int64_t o = begin; o < end; o++) {
        for (int64_t f = 0; f < w->p->wide; f += 16) {
            __builtin_prefetch(at + o * features + f);
        }
    }
}

/* One panel of features, `some` units from tile->b on: samples in blocks, while the `next` ones are
 * fetched bit by bit. */
static void backward_block(const work *w, int64_t vectors, int64_t some, const float *next,
                           lamina__product_tile *tile) {
    const product *p = w->p;
    const int64_t samples = w->io->samples;
    const int64_t blocks = (samples + p->isa->rows - 1) / p->isa->rows;
    for (int64_t i = 0; i < blocks; i++) {
        const int64_t first = samples * i / blocks, count = samples * (i + 1) / blocks - first;
        fetch_rows(w, next, some * i / blocks, some * (i + 1) / blocks);
        tile->a_at = p->by_units + first;
        tile->c_at = p->by_features + first;
        p->isa->block[count - 1][vectors - 1](tile);
    }
}

/* A panel of features, units begin .. end-1. The panel after it begins at feature `after`. */
static void backward_panel(const work *w, lamina__panel panel, int64_t after, int64_t begin,
                           int64_t end, float *d_in) {
    const int64_t features = w->linear->features;
    const float *weight = w->io->weight[0]->data;
    lamina__product_tile tile = {.walk = {.n = {0, 1}, .a_step = {1, 0}, .b_step = {features, 0}},
                                 .c = d_in + panel.first,
                                 .last = panel.last};
    for (int64_t o = begin; o < end; o += UNITS) {
        const int64_t some = at_most(end - o, UNITS), left = at_most(end - o - some, UNITS);
        const float *next = left > 0 ? weight + (o + some) * features + panel.first
                                     : weight + begin * features + after;
        tile.walk.n[0] = some;
        tile.a = (const float *)w->io->d_out[0]->data + o;
        tile.b = weight + o * features + panel.first;
        tile.add = o > begin;
        backward_block(w, panel.vectors, left > 0 ? left : at_most(end - begin, UNITS), next,
                       &tile);
    }
}

/* Panels begin .. end-1 of the features. */
static int32_t backward_panels(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const product *p = w->p;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const lamina__panel panel = lamina__panel_of(p->isa, w->linear->features, i);
        const lamina__panel next =
            lamina__panel_of(p->isa, w->linear->features, i + 1 < end ? i + 1 : begin);
        backward_panel(w, panel, next.first, 0, w->linear->units, w->io->d_in[0]->data);
    }
    return LAMINA_OK;
}

/* What the units begin .. end-1 of a thread give to all features: the first thread's in place, the
 * others' in scratch. */
static int32_t backward_units(void *arg, int64_t begin, int64_t end, int32_t thread) {
    work *w = arg;
    const product *p = w->p;
    const int64_t features = w->linear->features, panels = lamina__n_panels(p->isa, features);
    float *d_in = thread == 0 ? w->io->d_in[0]->data
                              : (float *)w->io->scratch + (thread - 1) * w->io->samples * features;
    __atomic_fetch_add(&w->parts, 1, __ATOMIC_RELAXED);
    for (int64_t i = 0; i < panels; i++) {
        const lamina__panel next = lamina__panel_of(p->isa, features, (i + 1) % panels);
        backward_panel(w, lamina__panel_of(p->isa, features, i), next.first, begin, end, d_in);
    }
    return LAMINA_OK;
}

LAMINA__VECTOR_CLONES
static void add(const float *restrict from, int64_t n, float *restrict to) {
    for (int64_t i = 0; i < n; i++) {
        to[i] += from[i];
    }
}

/* Floats begin .. end-1 of d_in: what the other threads made of theirs, in their order. */
static int32_t add_parts(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t floats = w->io->samples * w->linear->features;
    (void)thread;
    for (int64_t i = 0; i < w->parts - 1; i++) {
        add((const float *)w->io->scratch + i * floats + begin, end - begin,
            (float *)w->io->d_in[0]->data + begin);
    }
    return LAMINA_OK;
}

static int32_t backward_data(lamina_call *call, work *w) {
    enum { GRAIN = 8, FLOATS = 1024 };
    const int32_t threads = w->linear->threads;
    if (!w->p->by_units_apart) {
        return lamina__spread(call, threads, lamina__n_panels(w->p->isa, w->linear->features), 1,
                              backward_panels, w);
    }
    const int32_t status =
        lamina__spread(call, threads, w->linear->units, GRAIN, backward_units, w);
    return status != LAMINA_OK || w->parts < 2
               ? status
               : lamina__spread(call, threads, w->io->samples * w->linear->features, FLOATS,
                                add_parts, w);
}

/* Rows begin .. end-1 of dW, a block of them at a time: they are gone through as they lie. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const product *p = w->p;
    const int64_t features = w->linear->features, units = w->linear->units;
    float *d_weight = w->io->d_weight[0]->data;
    lamina__product_tile tile = {
        .walk = {.n = {w->io->samples, 1}, .a_step = {units, 0}, .b_step = {features, 0}},
        .add = 1};

    (void)thread;
    for (int64_t o = begin; o < end; o += p->isa->rows) {
        const int64_t rows = at_most(end - o, p->isa->rows);
        tile.a = (const float *)w->io->d_out[0]->data + o;
        for (int64_t i = 0; i < lamina__n_panels(p->isa, features); i++) {
            const lamina__panel panel = lamina__panel_of(p->isa, features, i);
            tile.b = (const float *)w->io->in[0]->data + panel.first;
            tile.c = d_weight + o * features + panel.first;
            tile.last = panel.last;
            lamina__product_rows(p->isa, p->isa->block, panel.vectors, rows, p->by_one,
                                 p->by_features, &tile);
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__linear *linear = self;
    work w = {.linear = linear, .p = kernel, .io = io, .parts = 0};
    enum { GRAIN = 8 }; /* rows of a block */

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, linear->threads, linear->units, GRAIN, forward, &w);
    }
    if (pass == LAMINA_PASS_BACKWARD_DATA) {
        return io->d_in[0] == NULL ? LAMINA_OK : backward_data(call, &w);
    }
    if (linear->bias && io->d_weight[1] != NULL) {
        w.p->isa->sum_rows(io->samples, linear->units, io->d_out[0]->data, io->d_weight[1]->data);
    }
    return io->d_weight[0] == NULL
               ? LAMINA_OK
               : lamina__spread(call, linear->threads, linear->units, GRAIN, backward_weights, &w);
}

static const char *const fuses[] = {"relu", NULL};

const lamina_kernel lamina__linear_product = {
    .struct_size = sizeof(lamina_kernel),
    .name = "product",
    .doc = "Block products on the weights as they lie, in AVX-512, AVX2 or plain C.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .create = create,
    .run = run,
    .fuses = fuses};

#endif
