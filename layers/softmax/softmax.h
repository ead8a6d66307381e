/* Softmax: what its kernels know of it. The layer itself is in softmax.c. */
#ifndef LAMINA_LAYERS_SOFTMAX_H
#define LAMINA_LAYERS_SOFTMAX_H

#include "layers/real.h"

/* Filled by setup(), read-only afterwards. In memory in[0] and out[0] are dense matrices
 * (N * rows, channels), softmax going along each row: rows is 1 for a flat input, H * W for an
 * image. They may be the same memory, and so may d_out[0] and d_in[0]. backward reads out[0]. */
typedef struct lamina__softmax {
    int64_t rows; /* per sample */
    int64_t channels;
    int32_t threads; /* that one call may use through parallel_for */
} lamina__softmax;

/* create() and setup(), also of log_softmax. */
int32_t LAMINA__REAL_NAME(softmax_create)(lamina_call *, const void *config, void **self);
int32_t LAMINA__REAL_NAME(softmax_setup)(void *self, lamina_call *, const lamina_setup *);

#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__softmax_onednn;
#endif

#endif
