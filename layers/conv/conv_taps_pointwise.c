/* Backward weights of conv_taps.c where a filter is one tap that reads every pixel, and channels
 * are few: dW[O, I] += dY^T X over all pixels.
 *
 *   rows: the fewer of O and I     columns: the others     sum over: pixels
 *
 * Pixels are many, so both images come from far away and are gone through once: in chunks that stay
 * in the first-level cache while they are read for every block of dW, and each block fetches its
 * share of the next chunk. Where the rows are input channels, dW is made turned around in scratch.
 * The order of the sum depends on the chunks, which the shapes alone decide. */
#include "layers/conv/conv_taps.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

enum {
    CHUNK = 6144, /* floats of X and dY that are read together */
    MOST = 8192,  /* and at most */
    PIXELS = 36   /* of a chunk at least: of fewer, the sums are not worth adding to dW */
};

struct lamina__pointwise_weights {
    const lamina__product_isa *isa;
    int32_t is_turned;          /* 1: rows are input channels */
    int64_t rows, columns;      /* of dW */
    int64_t row_blocks, panels; /* it is cut to */
    int64_t chunk;              /* pixels */
    int64_t *a_at, *c_at;       /* by row */
};

/* One run, as the threads share it. */
typedef struct work {
    const lamina__pointwise_weights *t;
    const float *a, *b; /* (pixels, rows), (pixels, columns) */
    float *c, *d_weight;
    int64_t pixels;
} work;

static int reads_every_pixel(const lamina__axis *axis) {
    return axis->kernel == 1 && axis->stride == 1 && axis->pad_begin == 0 && axis->out == axis->in;
}

/* Input channels fill blocks badly as columns, so they are rows. */
static int is_turned(const lamina__conv *conv) {
    return conv->in_channels < conv->out_channels &&
           conv->in_channels < 2 * lamina__product_to_use()->width;
}

int lamina__pointwise_weights_apply(const lamina__conv *conv) {
    return reads_every_pixel(&conv->window.y) && reads_every_pixel(&conv->window.x) &&
           conv->groups == 1 && PIXELS * (conv->in_channels + conv->out_channels) <= MOST &&
           (conv->in_channels >= conv->out_channels || is_turned(conv));
}

int32_t lamina__pointwise_weights_create(const lamina__conv *conv, lamina_call *call,
                                         lamina__pointwise_weights **made, int64_t *scratch) {
    lamina__pointwise_weights *t = call->host->alloc(call, sizeof *t);
    if (t == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *made = t;
    t->isa = lamina__product_to_use();
    t->is_turned = is_turned(conv);
    t->rows = t->is_turned ? conv->in_channels : conv->out_channels;
    t->columns = t->is_turned ? conv->out_channels : conv->in_channels;
    t->row_blocks = lamina__ceil_div(t->rows, t->isa->rows);
    t->panels = lamina__n_panels(t->isa, t->columns);
    t->chunk = CHUNK / (t->rows + t->columns);
    t->chunk = t->chunk > PIXELS ? t->chunk : PIXELS;
    t->a_at = call->host->alloc(call, (size_t)t->rows * sizeof *t->a_at);
    t->c_at = call->host->alloc(call, (size_t)t->rows * sizeof *t->c_at);
    if (t->a_at == NULL || t->c_at == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    for (int64_t i = 0; i < t->rows; i++) {
        t->a_at[i] = i;
        t->c_at[i] = i * t->columns;
    }
    *scratch = t->is_turned ? t->rows * t->columns : 0;
    return LAMINA_OK;
}

/* A block of dW: some rows of a panel. */
typedef struct part {
    lamina__panel panel;
    int64_t first, rows;
} part;

static part part_of(const lamina__pointwise_weights *t, int64_t index) {
    const int64_t block = index % t->row_blocks;
    const int64_t first = t->rows * block / t->row_blocks;
    return (part){.panel = lamina__panel_of(t->isa, t->columns, index / t->row_blocks),
                  .first = first,
                  .rows = t->rows * (block + 1) / t->row_blocks - first};
}

/* Adds n pixels, from `pixel` on, to parts begin .. end-1. */
static void add_chunk(const work *w, int64_t pixel, int64_t n, int64_t begin, int64_t end) {
    const lamina__pointwise_weights *t = w->t;
    const float *a = w->a + pixel * t->rows, *b = w->b + pixel * t->columns;
    /* What each part fetches of the next chunk, for each pixel of this one. */
    const int is_last = pixel + n >= w->pixels;
    const int64_t of_a = is_last ? 0 : lamina__ceil_div(t->rows, end - begin);
    const int64_t of_b = is_last ? 0 : lamina__ceil_div(t->columns, end - begin);
    const float *next_a = is_last ? a : a + n * t->rows, *next_b = is_last ? b : b + n * t->columns;
    lamina__product_tile tile = {
        .walk = {.n = {n, 1, 1}, .a_step = {t->rows}, .b_step = {t->columns}},
        .a_at = t->a_at,
        .a_row = 1,
        .c_at = t->c_at,
        .add = !t->is_turned || pixel > 0};

    for (int64_t i = begin; i < end; i++) {
        const part p = part_of(t, i);
        tile.a = a + p.first;
        tile.b = b + p.panel.first;
        tile.c = w->c + p.first * t->columns + p.panel.first;
        tile.last = p.panel.last;
        tile.ahead[0] = (lamina__product_ahead){next_b + (i - begin) * n * of_b, of_b};
        tile.ahead[1] = (lamina__product_ahead){next_a + (i - begin) * n * of_a, of_a};
        t->isa->even[p.rows - 1][p.panel.vectors - 1](&tile);
    }
}

/* Adds a part that was made turned around to dW. */
static void turn(const work *w, const part *p) {
    const lamina__pointwise_weights *t = w->t;
    const int64_t columns = (p->panel.vectors - 1) * t->isa->width + p->panel.last;
    for (int64_t j = p->panel.first; j < p->panel.first + columns; j++) {
        for (int64_t i = p->first; i < p->first + p->rows; i++) {
            w->d_weight[j * t->rows + i] += w->c[i * t->columns + j];
        }
    }
}

static int32_t add_parts(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t chunk = w->t->chunk;
    (void)thread;
    for (int64_t pixel = 0; pixel < w->pixels; pixel += chunk) {
        const int64_t left = w->pixels - pixel;
        add_chunk(w, pixel, left < chunk ? left : chunk, begin, end);
    }
    for (int64_t i = begin; w->t->is_turned && i < end; i++) {
        const part p = part_of(w->t, i);
        turn(w, &p);
    }
    return LAMINA_OK;
}

int32_t lamina__pointwise_weights_run(const lamina__conv *conv, const lamina__pointwise_weights *t,
                                      lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *d_y = io->d_out[0]->data;
    float *d_weight = io->d_weight[0]->data;
    work w = {.t = t,
              .a = t->is_turned ? x : d_y,
              .b = t->is_turned ? d_y : x,
              .c = t->is_turned ? io->scratch : d_weight,
              .d_weight = d_weight,
              .pixels = io->samples * conv->window.y.out * conv->window.x.out};
    return w.pixels == 0
               ? LAMINA_OK
               : lamina__spread(call, conv->threads, t->row_blocks * t->panels, 1, add_parts, &w);
}

#endif
