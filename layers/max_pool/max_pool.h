/* Max pooling: what its kernels know of it. The layer itself is in max_pool.c. */
#ifndef LAMINA_LAYERS_MAX_POOL_H
#define LAMINA_LAYERS_MAX_POOL_H

#include "layers/real.h"
#include "layers/window.h"

typedef struct lamina__max_pool_config {
    lamina_int_list kernel, stride, padding, dilation;
    int32_t ceil_mode;
} lamina__max_pool_config;

/* Filled by setup(), read-only afterwards. in[0] and out[0] are dense (N, H, W, C). setup() saves
 * nothing: each kernel declares what its own backward needs (LAMINA_KERNEL_TOGETHER). */
typedef struct lamina__max_pool {
    const lamina__max_pool_config *config;
    int64_t channels;
    lamina__window window; /* in ceil_mode window.*.overhang can exceed window.*.pad_end */
    int32_t threads;       /* that one call may use through parallel_for */
} lamina__max_pool;

#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__max_pool_vector;
#endif

#endif
