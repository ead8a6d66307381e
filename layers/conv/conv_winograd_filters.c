/* Winograd's convolution: transformed filters, as panels that products read. */
#include "layers/conv/conv_winograd.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* One tap of filters o .. o+width-1 and channels c .. c+some-1, turned around: (channels, filters),
 * width each, with zeros where there are none. */
static void turn(const lamina__conv *conv, const lamina__winograd *w, const float *tap, int64_t o,
                 int64_t some, float *to) {
    float square[LAMINA__WINOGRAD_WIDTH * LAMINA__WINOGRAD_WIDTH] = {0};
    const int64_t width = w->isa->width, filters = conv->out_channels - o;
    const int64_t size = (int64_t)w->tiling->filter * w->tiling->filter * conv->in_channels;
    if (some == width && filters >= width) {
        /* The next channels: into the second-level cache, as rows of so many bytes are often on the
         * same few lines of the first. */
        for (int64_t i = 0; i < width; i++) {
            __builtin_prefetch(tap + i * size + width, 0, 2);
        }
        w->product->transpose(tap, size, to, width);
        return;
    }
    for (int64_t i = 0; i < width && i < filters; i++) {
        memcpy(square + i * width, tap + i * size, (size_t)some * sizeof *tap);
    }
    w->product->transpose(square, width, to, width);
}

/* Turning the taps of a filter around, and then transforming along the filters, is less work than
 * turning the points around. */
void lamina__winograd_forward_filters(const lamina__conv *conv, const lamina__winograd *w,
                                      const float *weight, lamina__panel panel, int64_t c_begin,
                                      int64_t c_end, float *scratch, float *to, int64_t step) {
    const int64_t width = w->isa->width, row = panel.vectors * width, square = width * width;
    const int64_t taps = (int64_t)w->tiling->filter * w->tiling->filter;
    for (int64_t v = 0; v < panel.vectors; v++) {
        const int64_t o = panel.first + v * width;
        for (int64_t c = c_begin; c < c_end; c += width) {
            const int64_t some = c_end - c < width ? c_end - c : width;
            for (int64_t t = 0; t < taps; t++) {
                turn(conv, w, weight + (o * taps + t) * conv->in_channels + c, o, some,
                     scratch + t * square);
            }
            for (int64_t i = 0; i < some; i++) {
                w->tiling->weights(scratch + i * width, square, width,
                                   to + (c - c_begin + i) * row + v * width, step);
            }
        }
    }
}

void lamina__winograd_data_filters(const lamina__conv *conv, const lamina__winograd *w,
                                   const float *weight, lamina__panel panel, int64_t o_begin,
                                   int64_t o_end, float *to, int64_t step) {
    const int64_t channels = conv->in_channels, wide = (int64_t)panel.vectors * w->isa->width;
    const int64_t some = wide - w->isa->width + panel.last;
    const int64_t last = ((int64_t)w->tiling->filter * w->tiling->filter - 1) * channels;
    for (int64_t o = o_begin; o < o_end; o++) {
        const float *from = weight + o * (last + channels) + panel.first;
        if (o + LAMINA__WINOGRAD_AHEAD < o_end) {
            lamina__winograd_fetch(conv, w, from + LAMINA__WINOGRAD_AHEAD * (last + channels),
                                   some);
        }
        w->tiling->weights(w->transposed ? from : from + last, w->transposed ? channels : -channels,
                           some, to + (o - o_begin) * wide, step);
    }
}

/* Adds a square (channels, filters), turned around, to one tap of the filters. */
static void add_turned(const lamina__winograd *w, const float *square, int64_t rows,
                       int64_t columns, float *to, int64_t to_row) {
    float turned[LAMINA__WINOGRAD_WIDTH * LAMINA__WINOGRAD_WIDTH];
    const int64_t width = w->isa->width;
    w->product->transpose(square, width, turned, width);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            to[i * to_row + j] += turned[i * width + j];
        }
    }
}

void lamina__winograd_add_d_filters(const lamina__conv *conv, const lamina__winograd *w,
                                    const float *d_u, int64_t o, float *scratch, float *d_weight) {
    const int64_t width = w->isa->width, square = width * width, channels = conv->in_channels;
    const int64_t taps = (int64_t)w->tiling->filter * w->tiling->filter;
    const int64_t filters = conv->out_channels - o < width ? conv->out_channels - o : width;
    for (int64_t c = 0; c < channels; c += width) {
        const int64_t some = channels - c < width ? channels - c : width;
        memset(scratch, 0, (size_t)(taps * square) * sizeof *scratch);
        for (int64_t i = 0; i < some; i++) {
            w->tiling->d_weights(d_u + (c + i) * w->out_wide + o, w->d_u_step, width,
                                 scratch + i * width, square);
        }
        for (int64_t t = 0; t < taps; t++) {
            add_turned(w, scratch + t * square, filters, some,
                       d_weight + (o * taps + t) * channels + c, taps * channels);
        }
    }
}

#endif
