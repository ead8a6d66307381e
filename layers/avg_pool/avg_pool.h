/* Average pooling: what its kernels know of it. The layer itself is in avg_pool.c. */
#ifndef LAMINA_LAYERS_AVG_POOL_H
#define LAMINA_LAYERS_AVG_POOL_H

#include "layers/real.h"
#include "layers/window.h"

typedef struct lamina__avg_pool_config {
    lamina_int_list kernel, stride, padding;
    int32_t ceil_mode;
    int32_t count_include_pad;
} lamina__avg_pool_config;

/* Filled by setup(), read-only afterwards. in[0] and out[0] are dense (N, H, W, C); dilation is 1.
 * With count_include_pad a window is divided by the number of its positions inside the padded image
 * (so what ceil_mode adds beyond pad_end does not count), without by those inside the image. */
typedef struct lamina__avg_pool {
    const lamina__avg_pool_config *config;
    int64_t channels;
    lamina__window window; /* in ceil_mode window.*.overhang can exceed window.*.pad_end */
    int32_t count_include_pad;
    int32_t threads; /* that one call may use through parallel_for */
} lamina__avg_pool;

#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__avg_pool_onednn;
#endif

#endif
