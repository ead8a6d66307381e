/* 2-D convolution: what its kernels know of it. The layer itself is in conv.c. */
#ifndef LAMINA_LAYERS_CONV_H
#define LAMINA_LAYERS_CONV_H

#include "layers/real.h"
#include "layers/window.h"

typedef struct lamina__conv_config {
    int64_t filters;
    lamina_int_list kernel, stride, padding, dilation;
    int64_t groups;
    int32_t bias;
} lamina__conv_config;

/* Filled by setup(), read-only afterwards. weight[0] is the filters, in memory
 * (O, KH, KW, I/groups), dense; weight[1] the bias (O), if there is one. in[0] and out[0] are dense
 * (N, H, W, C). */
typedef struct lamina__conv {
    const lamina__conv_config *config;
    int64_t in_channels, out_channels, groups;
    lamina__window window; /* window.y.in x window.x.in pixels -> window.y.out x window.x.out */
    int32_t bias;          /* 1: weight[1] exists */
    int32_t threads;       /* that one call may use through parallel_for */
    /* 1: the pass backward data is the forward pass of a transposed convolution (layers/
     * conv_transpose), so a kernel that looks at these ends it with + weight[1], (I), and max(0, .)
     */
    int32_t data_bias, data_relu;
} lamina__conv;

extern const lamina_kernel LAMINA__REAL_NAME(conv_reference);
#if !LAMINA_LAYERS_F64
/* What our own kernels' forward passes can do along with the convolution. */
static const char *const lamina__fuses_relu[] = {"relu", NULL};

extern const lamina_kernel lamina__conv_planes, lamina__conv_direct, lamina__conv_winograd,
    lamina__conv_taps, lamina__conv_depthwise, lamina__conv_onednn;
#endif

#endif
