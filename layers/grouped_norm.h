/* Norms of each sample by itself, over the pixels of a group of channels: what group_norm and
 * instance_norm, whose groups are the single channels, share.
 *
 *   y = weight xhat + bias,   xhat = (x - mean) / sqrt(variance + eps)
 *
 * with mean and variance over the M = pixels C / groups values of a group in a sample, weight and
 * bias by channel. Backward, sums over a group's values: of d xhat = weight dy,
 *
 *   dx = (d xhat - (sum d xhat) / M - xhat (sum d xhat xhat) / M) / sqrt(variance + eps)
 *   d_bias = sum dy,   d_weight = sum dy xhat          over samples and pixels, by channel
 *
 * Sums are taken by channel (layers/channels.h) and then joined, in double, to those of groups. */
#ifndef LAMINA_LAYERS_GROUPED_NORM_H
#define LAMINA_LAYERS_GROUPED_NORM_H

#include "layers/channels.h"

typedef struct lamina__grouped_norm {
    const void *config; /* the layer's */
    int64_t channels, groups;
    int64_t pixels; /* of a sample; 1 for (N, C) */
    double eps;
    int32_t affine; /* 1: weight[0] and weight[1] are weight and bias (C) */
    int32_t threads;
    int32_t saves; /* 1: saved[0] has the moments for backward */
    const lamina__channels_isa *isa;
    size_t room, wide; /* numbers in arrays of channels, and of wide rows, in scratch */
} lamina__grouped_norm;

/* These go into a lamina_layer_type as they are. */
int32_t LAMINA__REAL_NAME(grouped_norm_create)(lamina_call *, const void *config, void **self);
int32_t LAMINA__REAL_NAME(grouped_norm_forward)(const void *self, lamina_call *, const lamina_io *);
int32_t LAMINA__REAL_NAME(grouped_norm_backward)(const void *self, lamina_call *,
                                                 const lamina_io *);

/* The rest of setup(): declares everything, once in[0] is known to be an image or (N, C), and
 * groups to divide its channels. */
int32_t LAMINA__REAL_NAME(grouped_norm_setup)(lamina__grouped_norm *, lamina_call *,
                                              const lamina_setup *, int64_t groups, double eps,
                                              int32_t affine);

#endif
