/* Images made of others by a sparse matrix along each axis, channel by channel:
 *
 *   y = A_y x A_x^T         dx = A_y^T dy A_x
 *
 * (x: rows by columns of pixels). Upsampling and padding are such; they say which pixels, with
 * which weights, each row and column of the result is the sum of, and this does the rest. */
#ifndef LAMINA_LAYERS_RESAMPLE_H
#define LAMINA_LAYERS_RESAMPLE_H

#include "layers/real.h"

/* A row of A_y or A_x: the terms of pixel o along axis 0 (y) or 1 (x). Returns how many there are,
 * at most 2; none leave the result at `fill`. `arg` is the layer's. */
typedef int64_t lamina__resample_row(const void *arg, int axis, int64_t o, int64_t at[2],
                                     lamina_real weight[2]);

/* One of these matrices, or its transpose: row o has the terms begin[o] .. begin[o+1]-1. */
typedef struct lamina__resample_matrix {
    int64_t rows, columns;
    int64_t *begin, *at;
    lamina_real *weight;
} lamina__resample_matrix;

typedef struct lamina__resample {
    int64_t channels;
    lamina__resample_matrix forward[2], backward[2]; /* y, x */
    lamina_real fill;                                /* of results without terms */
    int32_t threads;
    int64_t scratch; /* numbers of a thread's */
} lamina__resample;

/* For setup(): sets up *resample, whose fill is there, for out = (rows, columns) of the output;
 * declares that and scratch. */
int32_t LAMINA__REAL_NAME(resample_setup)(lamina_call *call, const lamina_setup *setup,
                                          const int64_t out[2], lamina__resample_row *row,
                                          const void *arg, lamina__resample *resample);
int32_t LAMINA__REAL_NAME(resample_forward)(const lamina__resample *, lamina_call *,
                                            const lamina_io *);
int32_t LAMINA__REAL_NAME(resample_backward)(const lamina__resample *, lamina_call *,
                                             const lamina_io *);

#endif
