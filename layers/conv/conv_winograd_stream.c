/* Winograd's convolution for many channels and few tiles, where the transformed filters would be
 * larger than all else: all tiles are one group, and filters are transformed block by block, each
 * block being used at all points while it is in the second-level cache. So are the sums of the
 * filters' gradients, which never exist as a whole.
 *
 * Threads share the tiles, then the panels of columns, then the tiles again; no sum is shared. */
#include "layers/conv/conv_winograd.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

static float *v_of(const lamina__winograd_work *k) {
    return k->io->scratch;
}

static float *m_of(const lamina__winograd_work *k) {
    return v_of(k) + k->w->points * k->w->v_step;
}

/* A thread's block, and behind it its square. */
static float *block_of(const lamina__winograd_work *k, int32_t thread) {
    return m_of(k) + k->w->points * k->w->m_step + thread * k->w->thread_floats;
}

static int64_t at_most(int64_t n, int64_t most) {
    return n < most ? n : most;
}

/* ---- Products ------------------------------------------------------------------------------ */

/* Rows of all tiles times one block of filters, at all points; `first` is the block's first row. */
static void multiply_block(const lamina__winograd_work *k, const float *from, int64_t from_wide,
                           int64_t first, int64_t n, lamina__panel panel, const float *block,
                           float *to, int64_t to_wide) {
    const lamina__winograd *w = k->w;
    lamina__winograd_product product = {.rows = k->tiles,
                                        .n = n,
                                        .a_row = from_wide,
                                        .a_step = 1,
                                        .b_step = (int64_t)panel.vectors * w->isa->width,
                                        .c_row = to_wide,
                                        .add = first > 0};
    for (int64_t p = 0; p < w->points; p++) {
        product.a = from + p * w->v_step + first;
        product.b = block + p * w->block_step;
        product.c = to + p * w->m_step + panel.first;
        w->isa->multiply[panel.vectors - 1](&product);
    }
}

/* M = V U, panels begin .. end-1 of filters. */
static int32_t forward_panels(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    float *block = block_of(k, thread), *square = block + w->points * w->block_step;
    for (int64_t p = begin; p < end; p++) {
        const lamina__panel panel = lamina__winograd_panel(w, k->conv->out_channels, p);
        for (int64_t c = 0; c < k->conv->in_channels; c += w->block) {
            const int64_t n = at_most(k->conv->in_channels - c, w->block);
            lamina__winograd_forward_filters(k->conv, w, k->io->weight[0]->data, panel, c, c + n,
                                             square, block, w->block_step);
            multiply_block(k, v_of(k), w->in_wide, c, n, panel, block, m_of(k), w->out_wide);
        }
    }
    return LAMINA_OK;
}

/* From transformed gradients of outputs (in V, or in M for the transpose of forward) to those of
 * inputs (in the other), panels begin .. end-1 of channels. */
static int32_t data_panels(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    const float *from = w->transposed ? m_of(k) : v_of(k);
    float *to = w->transposed ? v_of(k) : m_of(k), *block = block_of(k, thread);
    for (int64_t p = begin; p < end; p++) {
        const lamina__panel panel = lamina__winograd_panel(w, k->conv->in_channels, p);
        for (int64_t o = 0; o < k->conv->out_channels; o += w->block) {
            const int64_t n = at_most(k->conv->out_channels - o, w->block);
            lamina__winograd_data_filters(k->conv, w, k->io->weight[0]->data, panel, o, o + n,
                                          block, w->block_step);
            multiply_block(k, from, w->out_wide, o, n, panel, block, to, w->in_wide);
        }
    }
    return LAMINA_OK;
}

/* dw += G^T (dM^T V) G, blocks begin .. end-1: filters of a block, channels of a panel. */
static int32_t weight_blocks(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const lamina__winograd *w = k->w;
    const int64_t channels = k->conv->in_channels;
    const int64_t size = (int64_t)w->tiling->filter * w->tiling->filter * channels;
    float *block = block_of(k, thread), *d_weight = k->io->d_weight[0]->data;
    for (int64_t b = begin; b < end; b++) {
        const lamina__panel panel = lamina__winograd_panel(w, channels, b % w->channel_panels);
        const int64_t first = b / w->channel_panels * w->block;
        const int64_t n = at_most(k->conv->out_channels - first, w->block);
        const int64_t some = (int64_t)(panel.vectors - 1) * w->isa->width + panel.last;
        const int64_t wide = (int64_t)panel.vectors * w->isa->width;
        lamina__winograd_product product = {.rows = n,
                                            .n = k->tiles,
                                            .a_row = 1,
                                            .a_step = w->out_wide,
                                            .b_step = w->in_wide,
                                            .c_row = wide};
        for (int64_t p = 0; p < w->points; p++) {
            product.a = m_of(k) + p * w->m_step + first;
            product.b = v_of(k) + p * w->v_step + panel.first;
            product.c = block + p * w->block_step;
            w->isa->multiply[panel.vectors - 1](&product);
        }
        for (int64_t i = 0; i < n; i++) {
            float *to = d_weight + (first + i) * size + panel.first;
            if (i + LAMINA__WINOGRAD_AHEAD < n) {
                lamina__winograd_fetch(k->conv, w, to + LAMINA__WINOGRAD_AHEAD * size, some);
            }
            w->tiling->d_weights(block + i * wide, w->block_step, some, to, channels);
        }
    }
    return LAMINA_OK;
}

/* ---- Tiles --------------------------------------------------------------------------------- */

static int32_t input_tiles(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const int forward = k->c == &k->w->forward;
    (void)thread;
    lamina__winograd_inputs(k->w, k->c, k->in, 0, begin, end,
                            forward ? k->w->in_wide : k->w->out_wide, v_of(k));
    return LAMINA_OK;
}

static int32_t output_tiles(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const int forward = k->c == &k->w->forward;
    (void)thread;
    lamina__winograd_outputs(k->w, k->c, m_of(k), k->bias, 0, begin, end,
                             forward ? k->w->out_wide : k->w->in_wide, k->out);
    return LAMINA_OK;
}

static int32_t d_output_tiles(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    (void)thread;
    lamina__winograd_d_outputs(k->w, k->io->d_out[0]->data, 0, begin, end, m_of(k));
    return LAMINA_OK;
}

/* The tiles of samples begin .. end-1. */
static int32_t d_input_tiles(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina__winograd_work *k = arg;
    const int64_t of_sample = k->w->forward.tiles_y * k->w->forward.tiles_x;
    (void)thread;
    lamina__winograd_add_d_inputs(k->w, v_of(k) + begin * of_sample * k->w->in_wide,
                                  begin * of_sample, (end - begin) * of_sample, k->out);
    return LAMINA_OK;
}

/* ---- Passes -------------------------------------------------------------------------------- */

static int32_t forward(lamina_call *call, lamina__winograd_work *k) {
    const int32_t threads = k->conv->threads;
    k->bias = k->conv->bias ? k->io->weight[1]->data : NULL;
    k->out = k->io->out[0]->data;
    int32_t status = lamina__spread(call, threads, k->tiles, 1, input_tiles, k);
    if (status == LAMINA_OK) {
        status = lamina__spread(call, threads, k->w->filter_panels, 1, forward_panels, k);
    }
    return status == LAMINA_OK ? lamina__spread(call, threads, k->tiles, 1, output_tiles, k)
                               : status;
}

static int32_t backward_data(lamina_call *call, lamina__winograd_work *k) {
    const int32_t threads = k->conv->threads, transposed = k->w->transposed;
    k->in = k->io->d_out[0]->data;
    k->out = k->io->d_in[0]->data;
    if (!transposed) {
        k->c = &k->w->data;
        k->tiles = k->io->samples * k->c->tiles_y * k->c->tiles_x;
    }
    int32_t status =
        lamina__spread(call, threads, k->tiles, 1, transposed ? d_output_tiles : input_tiles, k);
    if (status == LAMINA_OK) {
        status = lamina__spread(call, threads, k->w->channel_panels, 1, data_panels, k);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    return transposed ? lamina__spread(call, threads, k->io->samples, 1, d_input_tiles, k)
                      : lamina__spread(call, threads, k->tiles, 1, output_tiles, k);
}

static int32_t backward_weights(lamina_call *call, lamina__winograd_work *k) {
    const int32_t threads = k->conv->threads;
    const int64_t blocks =
        lamina__ceil_div(k->conv->out_channels, k->w->block) * k->w->channel_panels;
    int32_t status = lamina__spread(call, threads, k->tiles, 1, d_output_tiles, k);
    if (status == LAMINA_OK && k->d_bias != NULL) {
        lamina__winograd_add_d_bias(k->w, m_of(k), k->tiles, k->d_bias);
    }
    if (status == LAMINA_OK && k->weights_wanted) {
        status = lamina__spread(call, threads, k->tiles, 1, input_tiles, k);
    }
    return status == LAMINA_OK && k->weights_wanted
               ? lamina__spread(call, threads, blocks, 1, weight_blocks, k)
               : status;
}

int32_t lamina__winograd_stream(lamina_call *call, lamina__winograd_work *k, uint32_t pass) {
    k->tiles = k->io->samples * k->w->forward.tiles_y * k->w->forward.tiles_x;
    if (pass == LAMINA_PASS_FORWARD) {
        return forward(call, k);
    }
    return pass == LAMINA_PASS_BACKWARD_DATA ? backward_data(call, k) : backward_weights(call, k);
}

#endif
