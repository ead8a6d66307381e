/* Depthwise convolution along the channels: what its files share. conv_depthwise.c makes the runs;
 * what is done with one is here for each instruction set. */
#ifndef LAMINA_LAYERS_CONV_DEPTHWISE_H
#define LAMINA_LAYERS_CONV_DEPTHWISE_H

#include "layers/isa.h"

#include <stdint.h>

/* Pixels in rows that meet the same taps: `columns` of them in each of `rows` rows. Steps are in
 * floats; [0] is along a row, [1] from row to row. Sums are made in the order of the taps, row by
 * row of the filter. */
typedef struct lamina__depthwise_run {
    int64_t channels;      /* of which each pixel has so many here, from where the pointers point */
    int64_t rows, columns; /* pixels */
    int64_t taps[2];       /* [0] in a row of the filter */
    int64_t a_step[2];     /* from pixel to pixel of what has the taps */
    int64_t tap_step[2];   /* there, from tap to tap */
    int64_t c_step[2];     /* from pixel to pixel of the other side */
    int64_t filter_step[2]; /* from tap to tap of the filters, or of their sums */
} lamina__depthwise_run;

/* Of a row of pixels of c: the rows of a that it meets, and with which of the filter, in floats
 * from where the image and the filters begin. */
typedef struct lamina__depthwise_line {
    int64_t taps; /* at most 3 */
    int64_t a[3], filter[3];
} lamina__depthwise_line;

/* Rows of c, from end to end, under filters of three taps in a row: pixel p of c meets pixels
 * p * stride - 1, p * stride and p * stride + 1 of a. */
typedef struct lamina__depthwise_lines {
    int64_t channels;
    int64_t rows, columns; /* of c */
    const lamina__depthwise_line *line;
    int64_t filter_step; /* from tap to tap along a row of a */
    int relu;
    int right; /* 1: the last pixel's last tap is on padding; the first one's first always is */
} lamina__depthwise_lines;

typedef struct lamina__depthwise_isa {
    int32_t width; /* floats in a vector */
    /* c = bias + sum over taps of a * filter; then max(0, that) if relu; bias NULL: none. */
    void (*gather)(const lamina__depthwise_run *, const float *a, const float *filter,
                   const float *bias, int relu, float *c);
    /* The same, lines[stride - 1]. */
    void (*lines[2])(const lamina__depthwise_lines *, const float *a, const float *filter,
                     const float *bias, float *c);
    /* sums of each tap += sum over pixels of a at the tap * c */
    void (*correlate)(const lamina__depthwise_run *, const float *a, const float *c, float *sums);
    /* sum[i] += sum over pixels, `step` floats apart, of c[i] */
    void (*total)(int64_t pixels, int64_t step, int64_t channels, const float *c, float *sum);
} lamina__depthwise_isa;

extern const lamina__depthwise_isa lamina__depthwise_portable;
#if LAMINA__ISA_X86
extern const lamina__depthwise_isa lamina__depthwise_avx2, lamina__depthwise_avx512;
#endif

#endif
