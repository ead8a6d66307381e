/* Block products: the inner loops of our convolutions and matrix products, one set for each
 * instruction set.
 *
 * All passes are made of one block product: a few rows times a few vectors of columns, held in
 * registers while nested loops walk the operands,
 *
 *   c[row][column] = (or +=) bias[column] + sum over i of a[row, i] * b[i, column].
 *
 * a is read one number at a time and multiplied with whole vectors of b. Where a row begins in a
 * and in c is looked up, so rows may be any pixels or any taps of a filter, and nothing is copied
 * to patches first. Sums are made in the order of i, whatever the blocks are. */
#ifndef LAMINA_LAYERS_PRODUCT_H
#define LAMINA_LAYERS_PRODUCT_H

#include "layers/isa.h"

#include <stdint.h>

/* At most, in a block. */
enum { LAMINA__PRODUCT_ROWS = 8, LAMINA__PRODUCT_VECTORS = 6, LAMINA__PRODUCT_DOTS = 2 };

/* What i runs over: three nested loops, [0] innermost. Steps are in floats. Dot products have two.
 */
typedef struct lamina__product_walk {
    int64_t n[3]; /* of the outermost, 0 counts as 1 */
    int64_t a_step[3], b_step[3];
} lamina__product_walk;

/* What is fetched, from `at` on, and how much for each i of the walk: up to 32 floats. */
typedef struct lamina__product_ahead {
    const float *at;
    int64_t step;
} lamina__product_ahead;

typedef struct lamina__product_tile {
    lamina__product_walk walk;
    const float *a;
    const int64_t *a_at; /* where each row begins in a, floats */
    const float *b;
    float *c;
    const int64_t *c_at; /* where each row begins in c, floats; rows may overlap where they add */
    const float *bias;   /* NULL: none */
    int64_t b_column;    /* of dot products: from one column to the next in b, floats */
    int32_t last;        /* columns in the last vector; b, c and bias are not touched past them */
    int32_t b_is_full;   /* 1: b's last vector is filled up with zeros, so may be read whole */
    int32_t add;         /* 1: add to c */
    int32_t relu;        /* 1: c = max(0, that); a NaN stays a NaN */
    int32_t fetch;       /* 1: c is far away: it is fetched while the sums are made */
    /* Of `even` blocks: floats from a row of a to the next, and what is fetched meanwhile, of
     * ahead[1] up to 16 floats for each i. A step of 0, and what is near, for nothing. */
    int64_t a_row;
    lamina__product_ahead ahead[2];
} lamina__product_tile;

typedef void lamina__product_fn(const lamina__product_tile *tile);

/* Functions by [rows - 1][vectors or columns - 1]. */
typedef lamina__product_fn *lamina__product_table[LAMINA__PRODUCT_ROWS][LAMINA__PRODUCT_VECTORS];

typedef struct lamina__product_isa {
    int32_t width;         /* floats in a vector */
    int32_t rows, vectors; /* of the largest block: how most products are cut */
    /* Vectors of the widest, and rows by vectors - 1. Those of more than `vectors` write more of a
     * row at once and read b, which must be full, more often: for a b in the first-level cache. */
    int32_t wide, most_rows[LAMINA__PRODUCT_VECTORS];
    lamina__product_table block;
    lamina__product_table even; /* the same for one loop and rows of a that are evenly spaced */
    /* Up to LAMINA__PRODUCT_DOTS single columns, b_column apart, summed by vectors along the
     * innermost loop, where a and b must be contiguous: for what would fill little of a vector. */
    lamina__product_table dot;
    /* sum[j] += from[i * columns + j] for all i < rows */
    void (*sum_rows)(int64_t rows, int64_t columns, const float *from, float *sum);
    /* to[j * to_row + i] = from[i * from_row + j] for i, j < width. */
    void (*transpose)(const float *from, int64_t from_row, float *to, int64_t to_row);
} lamina__product_isa;

extern const lamina__product_isa lamina__product_portable;
#if LAMINA__ISA_X86
extern const lamina__product_isa lamina__product_avx512, lamina__product_avx2;
#endif

/* Those of the instruction set in use (isa.h). */
const lamina__product_isa *lamina__product_to_use(void);

#endif
