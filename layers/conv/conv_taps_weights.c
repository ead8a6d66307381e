/* Backward weights of conv_taps.c: for each tap, dW_tap[O, I] += dY^T X over the outputs that read
 * inside the image through it, of all samples.
 *
 *   rows: filters     columns: channels     sum over: samples, outputs
 *
 * The sum goes on chunk after chunk of so many samples, or rows of outputs of one, that both images
 * stay in the second-level cache while they are read for every tap and block of filters; so its
 * order depends on the chunks, which the shapes alone decide, and not on the threads. dW is gone
 * through as it lies. */
#include "layers/conv/conv_taps.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

enum { CHUNK = 128 * 1024 }; /* floats of X and dY that are read together */

typedef struct range {
    int64_t begin, end;
} range;

struct lamina__tap_weights {
    const lamina__product_isa *isa;
    int64_t samples;                      /* of a chunk */
    int64_t rows;                         /* of outputs, of a chunk: all, unless samples is 1 */
    int64_t row_blocks;                   /* of the filters of one group */
    range *y, *x;                         /* outputs of each tap */
    int64_t *a_at, *c_at;                 /* by filter */
    lamina__pointwise_weights *pointwise; /* not NULL: does all of it */
};

/* One run, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const lamina__tap_weights *t;
    const lamina_io *io;
} work;

static range *make_ranges(lamina_call *call, const lamina__axis *axis) {
    range *ranges = call->host->alloc(call, (size_t)axis->kernel * sizeof *ranges);
    for (int64_t u = 0; ranges != NULL && u < axis->kernel; u++) {
        lamina__tap_outputs(axis, u, &ranges[u].begin, &ranges[u].end);
    }
    return ranges;
}

int32_t lamina__tap_weights_create(const lamina__conv *conv, lamina_call *call,
                                   const lamina_setup *setup, lamina__tap_weights **made,
                                   int64_t *scratch) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t filters = lamina__group_out(conv);
    const int64_t row = x->in * conv->in_channels * y->stride + x->out * conv->out_channels;
    const int64_t sample = y->in * x->in * conv->in_channels + y->out * x->out * conv->out_channels;
    lamina__tap_weights *t = call->host->alloc(call, sizeof *t);

    if (t == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *made = t;
    t->isa = lamina__product_to_use();
    if (lamina__pointwise_weights_apply(conv)) {
        return lamina__pointwise_weights_create(conv, call, &t->pointwise, scratch);
    }
    t->samples = CHUNK / sample > 1 ? CHUNK / sample : 1;
    t->samples = t->samples < setup->samples[0] ? t->samples : setup->samples[0];
    t->rows = sample <= CHUNK ? y->out : CHUNK / row > 1 ? CHUNK / row : 1;
    t->row_blocks = (filters + t->isa->rows - 1) / t->isa->rows;
    t->y = make_ranges(call, y);
    t->x = make_ranges(call, x);
    t->a_at = call->host->alloc(call, (size_t)filters * sizeof *t->a_at);
    t->c_at = call->host->alloc(call, (size_t)filters * sizeof *t->c_at);
    if (t->y == NULL || t->x == NULL || t->a_at == NULL || t->c_at == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    for (int64_t o = 0; o < filters; o++) {
        t->a_at[o] = o;
        t->c_at[o] = o * y->kernel * x->kernel * lamina__group_in(conv);
    }
    return LAMINA_OK;
}

/* The part of the images that a chunk is. */
typedef struct chunk {
    int64_t first, samples;
    range rows; /* of outputs */
} chunk;

/* One tap's gradient for a few filters of a group, `block`, over a chunk. */
static void add_tap(const work *w, const chunk *h, int64_t group, range block, int64_t u,
                    int64_t v) {
    const lamina__conv *conv = w->conv;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const lamina__tap_weights *t = w->t;
    const int64_t filters = lamina__group_out(conv), channels = lamina__group_in(conv);
    const int64_t in_row = x->in * conv->in_channels, out_row = x->out * conv->out_channels;
    const range columns = t->x[v];
    const range rows = {t->y[u].begin > h->rows.begin ? t->y[u].begin : h->rows.begin,
                        t->y[u].end < h->rows.end ? t->y[u].end : h->rows.end};
    if (rows.begin >= rows.end || columns.begin >= columns.end) {
        return;
    }
    const int64_t in_y = rows.begin * y->stride - y->pad_begin + u * y->dilation;
    const int64_t in_x = columns.begin * x->stride - x->pad_begin + v * x->dilation;
    const float *in = (const float *)w->io->in[0]->data + h->first * y->in * in_row +
                      in_y * in_row + in_x * conv->in_channels + group * channels;
    const float *d_out = (const float *)w->io->d_out[0]->data + h->first * y->out * out_row +
                         rows.begin * out_row + columns.begin * conv->out_channels +
                         group * filters + block.begin;
    const lamina__product_walk loops = {
        .n = {columns.end - columns.begin, rows.end - rows.begin, h->samples},
        .a_step = {conv->out_channels, out_row, y->out * out_row},
        .b_step = {x->stride * conv->in_channels, y->stride * in_row, y->in * in_row}};
    lamina__product_tile tile = {
        .walk = lamina__tap_walk(&loops), .a = d_out, .add = 1, .fetch = 1};
    const int is_even = tile.walk.n[1] == 1 && tile.walk.n[2] <= 1;
    float *to = (float *)w->io->d_weight[0]->data +
                (((group * filters + block.begin) * y->kernel + u) * x->kernel + v) * channels;

    tile.a_row = is_even;
    for (int64_t i = 0; i < lamina__n_panels(t->isa, channels); i++) {
        const lamina__panel panel = lamina__panel_of(t->isa, channels, i);
        tile.b = in + panel.first;
        tile.c = to + panel.first;
        tile.last = panel.last;
        lamina__product_rows(t->isa, is_even ? t->isa->even : t->isa->block, panel.vectors,
                             block.end - block.begin, t->a_at, t->c_at, &tile);
    }
}

/* Blocks begin .. end-1 of the filters of all groups, over a chunk. */
static void add_chunk(const work *w, const chunk *h, int64_t begin, int64_t end) {
    const int64_t filters = lamina__group_out(w->conv), blocks = w->t->row_blocks;
    for (int64_t i = begin; i < end; i++) {
        const range block = {filters * (i % blocks) / blocks, filters * (i % blocks + 1) / blocks};
        for (int64_t u = 0; u < w->conv->window.y.kernel; u++) {
            for (int64_t v = 0; v < w->conv->window.x.kernel; v++) {
                add_tap(w, h, i / blocks, block, u, v);
            }
        }
    }
}

static int32_t add_chunks(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t samples = w->io->samples, out_y = w->conv->window.y.out;
    (void)thread;
    for (int64_t n = 0; n < samples; n += w->t->samples) {
        for (int64_t y = 0; y < out_y; y += w->t->rows) {
            const chunk h = {.first = n,
                             .samples = samples - n < w->t->samples ? samples - n : w->t->samples,
                             .rows = {y, y + w->t->rows < out_y ? y + w->t->rows : out_y}};
            add_chunk(w, &h, begin, end);
        }
    }
    return LAMINA_OK;
}

int32_t lamina__tap_weights_run(const lamina__conv *conv, const lamina__tap_weights *t,
                                lamina_call *call, const lamina_io *io) {
    work w = {.conv = conv, .t = t, .io = io};
    if (conv->bias && io->d_weight[1] != NULL) {
        t->isa->sum_rows(io->samples * conv->window.y.out * conv->window.x.out, conv->out_channels,
                         io->d_out[0]->data, io->d_weight[1]->data);
    }
    if (io->d_weight[0] != NULL && t->pointwise != NULL) {
        return lamina__pointwise_weights_run(conv, t->pointwise, call, io);
    }
    return io->d_weight[0] == NULL
               ? LAMINA_OK
               : lamina__spread(call, conv->threads, conv->groups * t->row_blocks, 1, add_chunks,
                                &w);
}

#endif
