/* Rectified linear unit: what its kernels know of it. The layer itself is in relu.c. */
#ifndef LAMINA_LAYERS_RELU_H
#define LAMINA_LAYERS_RELU_H

#include "layers/real.h"

/* Filled by setup(), read-only afterwards. in[0] and out[0] are dense and of one shape; they may be
 * the same memory, and so may d_out[0] and d_in[0]. backward reads out[0], not in[0]. */
typedef struct lamina__relu {
    int64_t elements; /* per sample */
    int32_t threads;  /* that one call may use through parallel_for */
} lamina__relu;

#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__relu_onednn;
#endif

#endif
