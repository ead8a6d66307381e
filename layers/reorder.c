/* What flatten and reshape share: reorder.h. Where the orders in memory agree nothing is done in
 * place, and else one copy; where they differ a sample is transposed, in place by way of scratch.
 */
#include "layers/reorder.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

enum { TILE = 16, GRAIN = 16384 }; /* TILE floats are a cache line; GRAIN: as elsewhere */

int32_t LAMINA__REAL_NAME(reorder_create)(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__reorder), self);
}

static lamina__order order_of(const lamina_shape *shape) {
    const int64_t pixels = shape->ndim == 4 ? shape->dim[2] * shape->dim[3] : 1;
    return pixels > 1 && shape->dim[1] > 1 ? (lamina__order){pixels, shape->dim[1]}
                                           : (lamina__order){1, lamina__sample_size(shape)};
}

static int orders_agree(const lamina__reorder *layer) {
    return layer->in.channels == layer->out.channels;
}

int32_t LAMINA__REAL_NAME(reorder_setup)(lamina__reorder *layer, lamina_call *call,
                                         const lamina_setup *setup, const lamina_shape *out) {
    int32_t status = LAMINA_OK;
    layer->elements = lamina__sample_size(out);
    layer->in = order_of(setup->in[0]);
    layer->out = order_of(out);
    layer->threads = setup->threads;
    if (!orders_agree(layer)) {
        const size_t bytes = (size_t)layer->elements * sizeof(lamina_real);
        status = call->host->add_scratch(call, bytes * (size_t)setup->threads);
    }
    return status < 0 ? status : call->host->set_output(call, 0, out);
}

/* to (columns, rows) = the transpose of from (rows, columns). Each tile is turned in a place of its
 * own, so that cache lines are read and written once, also where strides are a power of two. */
LAMINA__VECTOR_CLONES
static void transpose(const lamina_real *restrict from, int64_t rows, int64_t columns,
                      lamina_real *restrict to) {
    lamina_real tile[TILE][TILE];
    for (int64_t r0 = 0; r0 < rows; r0 += TILE) {
        const int64_t n_rows = r0 + TILE < rows ? TILE : rows - r0;
        for (int64_t c0 = 0; c0 < columns; c0 += TILE) {
            const int64_t n_columns = c0 + TILE < columns ? TILE : columns - c0;
            const lamina_real *source = from + r0 * columns + c0;
            for (int64_t r = 0; r < n_rows; r++) {
                for (int64_t c = 0; c < n_columns; c++) {
                    tile[c][r] = source[r * columns + c];
                }
            }
            for (int64_t c = 0; c < n_columns; c++) {
                memcpy(to + (c0 + c) * rows + r0, tile[c], (size_t)n_rows * sizeof *to);
            }
        }
    }
}

/* One pass of one call, as the threads share it. */
typedef struct work {
    int64_t elements;
    lamina__order before, after;
    const lamina_real *from;
    lamina_real *to; /* may be from */
    lamina_real *scratch;
} work;

/* By way of the logical order, which is in `scratch` unless one of the two is in it already. */
static void reorder_sample(const work *w, const lamina_real *from, lamina_real *to,
                           lamina_real *scratch) {
    const size_t bytes = (size_t)w->elements * sizeof *to;
    const lamina_real *logical = from;
    if (w->before.pixels > 1) {
        lamina_real *place = w->after.pixels > 1 || from == to ? scratch : to;
        transpose(from, w->before.pixels, w->before.channels, place);
        logical = place;
    } else if (from == to) {
        memcpy(scratch, from, bytes);
        logical = scratch;
    }
    if (w->after.pixels > 1) {
        transpose(logical, w->after.channels, w->after.pixels, to);
    } else if (logical != to) {
        memcpy(to, logical, bytes);
    }
}

static int32_t reorder_samples(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    for (int64_t n = begin; n < end; n++) {
        reorder_sample(w, w->from + n * w->elements, w->to + n * w->elements,
                       w->scratch + thread * w->elements);
    }
    return LAMINA_OK;
}

static int32_t copy_numbers(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    memcpy(w->to + begin, w->from + begin, (size_t)(end - begin) * sizeof *w->to);
    return LAMINA_OK;
}

static int32_t reorder(const lamina__reorder *layer, lamina_call *call, int64_t samples, work *w) {
    w->elements = layer->elements;
    if (!orders_agree(layer)) {
        return lamina__spread(call, layer->threads, samples, GRAIN / layer->elements + 1,
                              reorder_samples, w);
    }
    return w->from == w->to ? LAMINA_OK
                            : lamina__spread(call, layer->threads, samples * layer->elements, GRAIN,
                                             copy_numbers, w);
}

int32_t LAMINA__REAL_NAME(reorder_forward)(const void *self, lamina_call *call,
                                           const lamina_io *io) {
    const lamina__reorder *layer = self;
    work w = {.before = layer->in,
              .after = layer->out,
              .from = io->in[0]->data,
              .to = io->out[0]->data,
              .scratch = io->scratch};
    return reorder(layer, call, io->samples, &w);
}

int32_t LAMINA__REAL_NAME(reorder_backward)(const void *self, lamina_call *call,
                                            const lamina_io *io) {
    const lamina__reorder *layer = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.before = layer->out,
              .after = layer->in,
              .from = io->d_out[0]->data,
              .to = io->d_in[0]->data,
              .scratch = io->scratch};
    return reorder(layer, call, io->samples, &w);
}
