/* Winograd's convolution: transformed filters, as panels that block products read. */
#include "layers/conv/conv_winograd.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* Filters o .. o+width-1 and channels c .. c+some-1, transformed along the channels: (points,
 * filters, channels), width each. */
static void transform_square(const lamina__conv *conv, const lamina__winograd *w,
                             const float *weight, int64_t o, int64_t c, int64_t some, float *to) {
    const int64_t width = w->isa->width, square = width * width;
    const int64_t size = (int64_t)w->tiling->filter * w->tiling->filter * conv->in_channels;
    for (int64_t i = 0; i < width; i++) {
        if (o + i < conv->out_channels) {
            w->tiling->weights(weight + (o + i) * size + c, conv->in_channels, some, to + i * width,
                               square);
            continue;
        }
        for (int64_t p = 0; p < w->points; p++) {
            memset(to + p * square + i * width, 0, (size_t)width * sizeof *to);
        }
    }
}

/* Turns a square around, of which `some` channels are wanted. */
static void turn(const lamina__winograd *w, const float *square, int64_t some, float *to,
                 int64_t row) {
    const int64_t width = w->isa->width;
    if (some == width) {
        w->product->transpose(square, width, to, row);
        return;
    }
    for (int64_t j = 0; j < some; j++) {
        for (int64_t i = 0; i < width; i++) {
            to[j * row + i] = square[i * width + j];
        }
    }
}

void lamina__winograd_forward_filters(const lamina__conv *conv, const lamina__winograd *w,
                                      const float *weight, lamina__panel panel, int64_t c_begin,
                                      int64_t c_end, float *scratch, float *to, int64_t step) {
    const int64_t width = w->isa->width, row = panel.vectors * width;
    for (int64_t v = 0; v < panel.vectors; v++) {
        for (int64_t c = c_begin; c < c_end; c += width) {
            const int64_t some = c_end - c < width ? c_end - c : width;
            transform_square(conv, w, weight, panel.first + v * width, c, some, scratch);
            for (int64_t p = 0; p < w->points; p++) {
                turn(w, scratch + p * width * width, some,
                     to + p * step + (c - c_begin) * row + v * width, row);
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
        w->tiling->weights(w->transposed ? from : from + last, w->transposed ? channels : -channels,
                           some, to + (o - o_begin) * wide, step);
    }
}

#endif
