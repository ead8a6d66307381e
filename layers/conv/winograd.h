/* The transforms and products of Winograd's convolution, one set for each instruction set.
 * conv_winograd.c says what they are for.
 *
 * A tiling F(m x m, r x r) computes tiles of m x m outputs of a filter of r x r from patches of
 * t x t inputs, t = m + r - 1, by t * t products instead of m * m * r * r. With polynomials for
 * rows (Toom and Cook), x -> (x(p1), x(p2), ...) is the evaluation at t points, the last of them
 * infinity, and
 *
 *   E(m)   (t x m): a polynomial of m coefficients at each point
 *   G(r)   (t x r): E(r) with each point scaled
 *   B^T    (t x t): what makes  y = E(m)^T [ (G(r) w) . (B^T d) ]  the correlation of d with w
 *
 * in one dimension; in two, along columns and then along rows. The points are 0, 1, -1, then 2, -2,
 * then 1/2, -1/2, as many as there are, and infinity. Lavin and Gray 2016; the matrices follow from
 * the points by Winograd 1980. */
#ifndef LAMINA_LAYERS_CONV_WINOGRAD_H
#define LAMINA_LAYERS_CONV_WINOGRAD_H

#include "layers/isa.h"

#include <stdint.h>

enum {
    LAMINA__N_TILINGS = 4,
    LAMINA__WINOGRAD_TILE = 8,   /* the largest t */
    LAMINA__WINOGRAD_WIDTH = 16, /* the most floats in a vector */
    /* At most, in a block of a product. */
    LAMINA__WINOGRAD_ROWS = 8,
    LAMINA__WINOGRAD_VECTORS = 4,
};

/* A t x t or m x m square of pixels, channels-last, of which some may lie outside the image: those
 * outside rows y_begin .. y_end - 1 and columns x_begin .. x_end - 1 read as 0 and are not
 * written. */
typedef struct lamina__winograd_square {
    int64_t row, column; /* from one pixel to the next, in floats */
    int32_t y_begin, y_end, x_begin, x_end;
} lamina__winograd_square;

/* Transformed squares lie point after point: that of point (i, j) is at (i * t + j) * step. All
 * transforms go over `channels` channels, and fill up the last vector of transformed squares. */
typedef struct lamina__winograd_tiling {
    int32_t tile, out, filter; /* t, m, r */
    /* B^T d B */
    void (*input)(const float *from, const lamina__winograd_square *, int64_t channels, float *to,
                  int64_t step);
    /* += B dV B^T */
    void (*d_input)(const float *from, int64_t step, int64_t channels, float *to,
                    const lamina__winograd_square *);
    /* E^T M E + bias, then max(0, that) if `relu`; bias NULL: none. */
    void (*output)(const float *from, int64_t step, const float *bias, int relu, int64_t channels,
                   float *to, const lamina__winograd_square *);
    /* E dy E^T */
    void (*d_output)(const float *from, const lamina__winograd_square *, int64_t channels,
                     float *to, int64_t step);
    /* G w G^T; `pixel`, floats from one element of the filter to the next, may be negative. */
    void (*weights)(const float *from, int64_t pixel, int64_t channels, float *to, int64_t step);
    /* += G^T dU G */
    void (*d_weights)(const float *from, int64_t step, int64_t channels, float *to, int64_t pixel);
} lamina__winograd_tiling;

/* c[row][j] = (or +=) sum over i of a[row, i] * b[i, j], for a few whole vectors of columns j. All
 * steps are in floats. */
typedef struct lamina__winograd_product {
    int64_t rows, n; /* i < n */
    const float *a;
    int64_t a_row, a_step; /* from row to row, and from i to i */
    const float *b;
    int64_t b_step;
    float *c;
    int64_t c_row;
    int32_t add; /* 1: add to c */
} lamina__winograd_product;

typedef struct lamina__winograd_isa {
    int32_t width;   /* floats in a vector */
    int32_t vectors; /* at most, of a product */
    /* By vectors - 1. Sums are made in the order of i. */
    void (*multiply[LAMINA__WINOGRAD_VECTORS])(const lamina__winograd_product *);
    lamina__winograd_tiling tiling[LAMINA__N_TILINGS];
} lamina__winograd_isa;

extern const lamina__winograd_isa lamina__winograd_portable;
#if LAMINA__ISA_X86
extern const lamina__winograd_isa lamina__winograd_avx512, lamina__winograd_avx2;
#endif

#endif
