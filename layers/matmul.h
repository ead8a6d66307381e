/* The matrix product under the plain-C convolution and linear layer. */
#ifndef LAMINA_LAYERS_MATMUL_H
#define LAMINA_LAYERS_MATMUL_H

#include "layers/real.h"

/* A read-only matrix: element (i, j) is data[i * row + j * col]. */
typedef struct lamina__matrix {
    const lamina_real *data;
    int64_t row, col; /* strides in elements */
} lamina__matrix;

/* C (m x n, rows ldc apart) += A (m x k) B (k x n). B's columns must be contiguous (col == 1); the
 * product is quickest when n is large. Every element is summed in the order of k, in the same
 * groups whatever m and n are: cutting a product by rows or columns does not change a bit of it. */
void LAMINA__REAL_NAME(matmul_add)(int64_t m, int64_t n, int64_t k, lamina__matrix a,
                                   lamina__matrix b, lamina_real *c, int64_t ldc);

/* to (cols x rows) = the transpose of from (rows x cols), both dense. */
void LAMINA__REAL_NAME(transpose)(int64_t rows, int64_t cols, const lamina_real *from,
                                  lamina_real *to);

#endif
