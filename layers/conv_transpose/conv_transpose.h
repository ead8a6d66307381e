/* Transposed convolution: what its kernels know of it. The layer itself is in conv_transpose.c. */
#ifndef LAMINA_LAYERS_CONV_TRANSPOSE_H
#define LAMINA_LAYERS_CONV_TRANSPOSE_H

#include "layers/conv/conv.h"

typedef struct lamina__conv_transpose_config {
    int64_t filters;
    lamina_int_list kernel, stride, padding, output_padding, dilation;
    int64_t groups;
    int32_t bias;
} lamina__conv_transpose_config;

/* Filled by setup(), read-only afterwards. `conv` is the convolution whose transpose this is: from
 * the output's pixels and channels, conv.window.*.in and conv.in_channels, to the input's.
 * weight[0] is its filters, in memory (I, KH, KW, O/groups), dense; weight[1] our bias (O), if
 * there is one, of which it knows nothing. in[0] and out[0] are dense (N, H, W, C). */
typedef struct lamina__conv_transpose {
    const lamina__conv_transpose_config *config;
    lamina__conv conv;
    int32_t bias; /* 1: weight[1] exists */
} lamina__conv_transpose;

/* The kernels that are conv's with their passes exchanged: conv_transpose_by_conv.c. */
extern const lamina_kernel LAMINA__REAL_NAME(conv_transpose_reference);
#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__conv_transpose_planes, lamina__conv_transpose_direct,
    lamina__conv_transpose_winograd, lamina__conv_transpose_depthwise, lamina__conv_transpose_taps,
    lamina__conv_transpose_onednn;
/* For few filters: conv_transpose_patches.c. */
extern const lamina_kernel lamina__conv_transpose_patches;
#endif

/* y (pixels, O) = y + bias, and then max(0, y) with `relu`; a NaN stays a NaN. NULL bias: none. */
void LAMINA__REAL_NAME(conv_transpose_finish)(const lamina_real *bias, int32_t relu, int64_t pixels,
                                              int64_t channels, lamina_real *y);
/* finish() for all the samples of a call. */
int32_t LAMINA__REAL_NAME(conv_transpose_finish_all)(const lamina__conv_transpose *, lamina_call *,
                                                     const lamina_io *, int32_t relu);
/* d_weight[1] += the sum over pixels of d_out, if it is wanted. */
int32_t LAMINA__REAL_NAME(conv_transpose_bias_gradient)(const lamina__conv_transpose *,
                                                        lamina_call *, const lamina_io *);

#endif
