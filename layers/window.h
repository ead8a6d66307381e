/* Windows that slide over an image: the geometry that convolution and pooling share.
 *
 * Along each axis, window o of `out` covers the input positions
 *     o * stride - pad_begin + k * dilation,   k = 0 .. kernel-1,
 * of which those outside [0, in) are padding. */
#ifndef LAMINA_LAYERS_WINDOW_H
#define LAMINA_LAYERS_WINDOW_H

#include "layers/real.h"

typedef struct lamina__axis {
    int64_t in, out; /* pixels */
    int64_t kernel, stride, dilation;
    int64_t pad_begin, pad_end; /* as configured; `same` is resolved to numbers */
    int64_t extent; /* pixels from a window's first to its last: (kernel-1)*dilation+1 */
    /* Pixels by which the last window passes the end of the input: at most pad_end, unless
     * ceil_mode made it larger; below pad_end when the stride leaves some unused. Not negative. */
    int64_t overhang;
} lamina__axis;

typedef struct lamina__window {
    lamina__axis y, x;
} lamina__window;

/* The config values a window is made from. */
typedef struct lamina__window_config {
    const lamina_int_list *kernel; /* k or [height, width] */
    const lamina_int_list *stride; /* s or [height, width], or word 0: the kernel's */
    const lamina_int_list
        *padding; /* p, [height, width], [top, left, bottom, right], or word 0: same */
    const lamina_int_list *dilation; /* d or [height, width] */
    int32_t ceil_mode;    /* a last window that passes the end counts, if it begins inside */
    int32_t half_padding; /* 1: padding may be at most half the kernel, as for pooling */
} lamina__window_config;

/* The words that `padding` accepts: {"same", NULL}. `same`: out = ceil(in / stride), with the odd
 * pixel of padding at the bottom and right. */
extern const char *const LAMINA__REAL_NAME(padding_words)[];
/* The words that pooling's `stride` accepts: {"kernel", NULL}. */
extern const char *const LAMINA__REAL_NAME(stride_words)[];

/* Fills *window for an image input (N, C, H, W); fails with a message that says what does not fit.
 */
int32_t LAMINA__REAL_NAME(window_setup)(lamina_call *call, const lamina__window_config *config,
                                        const lamina_shape *in, lamina__window *window);

/* The same for a transposed convolution, whose *window is that of the convolution it transposes: in
 * are the output's pixels, (input - 1) * stride - padding + extent + output_padding (one number or
 * [height, width], smaller than the stride or the dilation), out the input's. No words. */
int32_t LAMINA__REAL_NAME(window_setup_transposed)(lamina_call *call,
                                                   const lamina__window_config *config,
                                                   const lamina_int_list *output_padding,
                                                   const lamina_shape *in, lamina__window *window);

/* The k in [*begin, *end) for which window `o` reads inside the input; may be none. */
static inline void lamina__axis_range(const lamina__axis *axis, int64_t o, int64_t *begin,
                                      int64_t *end) {
    const int64_t first = o * axis->stride - axis->pad_begin;
    const int64_t d = axis->dilation;
    if (first >= 0 && first + (axis->kernel - 1) * d < axis->in) { /* most windows: no division */
        *begin = 0;
        *end = axis->kernel;
        return;
    }
    *begin = first >= 0 ? 0 : (-first + d - 1) / d;
    *end = first >= axis->in ? 0 : (axis->in - 1 - first) / d + 1;
    *begin = *begin < axis->kernel ? *begin : axis->kernel;
    *end = *end < axis->kernel ? *end : axis->kernel;
    *end = *end > *begin ? *end : *begin;
}

#endif
