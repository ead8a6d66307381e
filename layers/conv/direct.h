/* The inner loops of the direct convolution, one set for each instruction set.
 *
 * All passes are made of one block product: a few rows times a few vectors of columns, held in
 * registers while two nested loops walk the operands,
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

/* At most, in a block. */
enum { LAMINA__DIRECT_ROWS = 8, LAMINA__DIRECT_VECTORS = 3, LAMINA__DIRECT_DOTS = 2 };

/* What i runs over: two nested loops, [0] innermost. Steps are in floats. */
typedef struct lamina__direct_walk {
    int64_t n[2], a_step[2], b_step[2];
} lamina__direct_walk;

typedef struct lamina__direct_tile {
    lamina__direct_walk walk;
    const float *a;
    const int64_t *a_at; /* where each row begins in a, floats */
    const float *b;
    float *c;
    const int64_t *c_at; /* where each row begins in c, floats */
    const float *bias;   /* NULL: none */
    int64_t b_column;    /* of dot products: from one column to the next in b, floats */
    int32_t last;        /* columns in the last vector; b, c and bias are not touched past them */
    int32_t b_is_full;   /* 1: b's last vector is filled up with zeros, so may be read whole */
    int32_t add;         /* 1: add to c */
} lamina__direct_tile;

typedef void lamina__direct_fn(const lamina__direct_tile *tile);

/* Functions by [rows - 1][vectors or columns - 1]. */
typedef lamina__direct_fn *lamina__direct_table[LAMINA__DIRECT_ROWS][LAMINA__DIRECT_VECTORS];

typedef struct lamina__direct_isa {
    int32_t width;         /* floats in a vector */
    int32_t rows, vectors; /* of the largest block */
    lamina__direct_table block;
    /* Up to LAMINA__DIRECT_DOTS single columns, b_column apart, summed by vectors along the
     * innermost loop, where a and b must be contiguous: for what would fill little of a vector. */
    lamina__direct_table dot;
    /* sum[j] += from[i * columns + j] for all i < rows */
    void (*sum_rows)(int64_t rows, int64_t columns, const float *from, float *sum);
} lamina__direct_isa;

#if LAMINA__DIRECT_X86
extern const lamina__direct_isa lamina__direct_avx512, lamina__direct_avx2;
#endif

#endif
