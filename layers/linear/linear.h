/* Fully connected layer: what its kernels know of it. The layer itself is in linear.c. */
#ifndef LAMINA_LAYERS_LINEAR_H
#define LAMINA_LAYERS_LINEAR_H

#include "layers/real.h"

typedef struct lamina__linear_config {
    int64_t units;
    int32_t bias;
} lamina__linear_config;

/* Filled by setup(), read-only afterwards. Whatever the input's shape is, in memory it is a dense
 * matrix (N, features); weight[0] is a dense matrix (units, features) whose rows are in the memory
 * order of the input (so of an image: H, W, C); weight[1] the bias (units), if there is one. */
typedef struct lamina__linear {
    const lamina__linear_config *config;
    int64_t features, units;
    int32_t bias;    /* 1: weight[1] exists */
    int32_t threads; /* that one call may use through parallel_for */
} lamina__linear;

#if !LAMINA_LAYERS_F64
extern const lamina_kernel lamina__linear_product, lamina__linear_onednn;
#endif

#endif
