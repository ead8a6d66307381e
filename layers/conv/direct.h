/* The inner loops of the direct convolution, one set for each instruction set.
 *
 * All passes are made of one block product: a few rows times a few vectors of columns, held in
 * registers while three nested loops walk the operands,
 *
 *   c[row][column] = (or +=) bias[column] + sum over i of a[row, i] * b[i, column].
 *
 * a is read one number at a time and multiplied with whole vectors of b. Where a row begins in a
 * and in c is looked up, so rows may be any pixels or any taps of a filter, and nothing is copied
 * to patches first. Sums are made in the order of i, whatever the blocks are. */
#ifndef LAMINA_LAYERS_CONV_DIRECT_H
#define LAMINA_LAYERS_CONV_DIRECT_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define LAMINA__DIRECT_X86 1
#else
#define LAMINA__DIRECT_X86 0
#endif

enum { LAMINA__DIRECT_ROWS = 8, LAMINA__DIRECT_VECTORS = 3 }; /* at most, in a block */

/* What i runs over: three nested loops, [0] innermost. Steps are in floats. */
typedef struct lamina__direct_walk {
    int64_t n[3], a_step[3], b_step[3];
} lamina__direct_walk;

typedef struct lamina__direct_tile {
    lamina__direct_walk walk;
    const float *a;
    const int64_t *a_at; /* where each row begins in a, floats */
    const float *b;
    float *c;
    const int64_t *c_at; /* where each row begins in c, floats */
    const float *bias;   /* NULL: none */
    int32_t last;        /* columns in the last vector; neither b, c nor bias is touched past them */
    int32_t add;         /* 1: add to c */
} lamina__direct_tile;

typedef void lamina__direct_fn(const lamina__direct_tile *tile);

typedef struct lamina__direct_isa {
    int32_t width;         /* floats in a vector */
    int32_t rows, vectors; /* of the largest block */
    /* [rows - 1][vectors - 1] */
    lamina__direct_fn *block[LAMINA__DIRECT_ROWS][LAMINA__DIRECT_VECTORS];
    /* [rows - 1]: one column, summed by vectors along the innermost loop, where a and b must be
     * contiguous: for columns that would fill little of a vector. `last` is not used. */
    lamina__direct_fn *dot[LAMINA__DIRECT_ROWS];
    /* sum[j] += from[i * columns + j] for all i < rows */
    void (*sum_rows)(int64_t rows, int64_t columns, const float *from, float *sum);
} lamina__direct_isa;

#if LAMINA__DIRECT_X86
extern const lamina__direct_isa lamina__direct_avx512, lamina__direct_avx2;
#endif

#endif
