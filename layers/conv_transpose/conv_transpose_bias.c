/* The bias of a transposed convolution: y += b, and db += the sum over pixels of dy. */
#include "layers/conv_transpose/conv_transpose.h"
#include "layers/parallel.h"
#include "layers/sum_rows.h"

enum {
    ROW = 256,     /* numbers: narrow pixels are taken several at a time */
    GRAIN = 16384, /* numbers: less is not worth a thread */
    COLUMNS = 64   /* whose gradients one thread sums */
};

/* y[i] += b[i], for n numbers. */
LAMINA__VECTOR_CLONES
static void add_row(const lamina_real *restrict b, int32_t relu, int64_t n,
                    lamina_real *restrict y) {
    for (int64_t i = 0; b != NULL && i < n; i++) {
        y[i] += b[i];
    }
    for (int64_t i = 0; relu && i < n; i++) {
        y[i] = y[i] < 0 ? 0 : y[i];
    }
}

void LAMINA__REAL_NAME(conv_transpose_finish)(const lamina_real *bias, int32_t relu, int64_t pixels,
                                              int64_t channels, lamina_real *y) {
    const int64_t together = channels < ROW ? ROW / channels : 1, wide = together * channels;
    const int64_t numbers = pixels * channels;
    lamina_real row[ROW];

    if (bias == NULL) {
        add_row(NULL, relu, numbers, y);
        return;
    }
    for (int64_t i = 0; together > 1 && i < wide; i++) {
        row[i] = bias[i % channels];
    }
    for (int64_t i = 0; i < numbers; i += wide) {
        add_row(together > 1 ? row : bias, relu, numbers - i < wide ? numbers - i : wide, y + i);
    }
}

/* One run, as the threads share it. */
typedef struct work {
    const lamina__conv_transpose *layer;
    const lamina_io *io;
    int32_t relu;
} work;

static int64_t pixels_of(const lamina__conv_transpose *layer) {
    return layer->conv.window.y.in * layer->conv.window.x.in;
}

/* Pixels begin .. end-1, counted through all samples. */
static int32_t finish_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t channels = w->layer->conv.in_channels;

    (void)thread;
    LAMINA__REAL_NAME(conv_transpose_finish)
    (w->layer->bias ? w->io->weight[1]->data : NULL, w->relu, end - begin, channels,
     (lamina_real *)w->io->out[0]->data + begin * channels);
    return LAMINA_OK;
}

int32_t LAMINA__REAL_NAME(conv_transpose_finish_all)(const lamina__conv_transpose *layer,
                                                     lamina_call *call, const lamina_io *io,
                                                     int32_t relu) {
    work w = {.layer = layer, .io = io, .relu = relu};
    if (!layer->bias && !relu) {
        return LAMINA_OK;
    }
    return lamina__spread(call, layer->conv.threads, io->samples * pixels_of(layer),
                          GRAIN / layer->conv.in_channels + 1, finish_range, &w);
}

/* Blocks begin .. end-1 of the output's channels. */
static int32_t sum_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t channels = w->layer->conv.in_channels;

    (void)thread;
    for (int64_t c = begin * COLUMNS; c < end * COLUMNS && c < channels; c += COLUMNS) {
        LAMINA__REAL_NAME(sum_rows)
        (w->io->samples * pixels_of(w->layer), channels,
         channels - c < COLUMNS ? channels - c : COLUMNS,
         (const lamina_real *)w->io->d_out[0]->data + c,
         (lamina_real *)w->io->d_weight[1]->data + c);
    }
    return LAMINA_OK;
}

int32_t LAMINA__REAL_NAME(conv_transpose_bias_gradient)(const lamina__conv_transpose *layer,
                                                        lamina_call *call, const lamina_io *io) {
    work w = {.layer = layer, .io = io};
    if (!layer->bias || io->d_weight[1] == NULL) {
        return LAMINA_OK;
    }
    return lamina__spread(call, layer->conv.threads,
                          (layer->conv.in_channels + COLUMNS - 1) / COLUMNS, 1, sum_range, &w);
}
