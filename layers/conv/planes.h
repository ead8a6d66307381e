/* The inner loops of conv_planes.c, one set for each instruction set. conv_planes.c says what they
 * are for.
 *
 * The image lies in planes, one for each channel (and each column modulo the stride), so the pixels
 * of a row that follow each other in the output do so in memory, under every tap of the filters;
 * `tap_at` says where a tap's first pixel is, in floats after the tile's image. */
#ifndef LAMINA_LAYERS_CONV_PLANES_H
#define LAMINA_LAYERS_CONV_PLANES_H

#include "layers/isa.h"

#include <stdint.h>

/* At most, of the blocks' sizes. */
enum {
    LAMINA__PLANES_VECTORS = 2, /* of filters */
    LAMINA__PLANES_PIXELS = 12, /* of a row, in a forward block */
    LAMINA__PLANES_LANES = 4,   /* vectors of pixels */
    LAMINA__PLANES_SINGLE = 4,  /* single filters */
    LAMINA__PLANES_RUNS = 9,
    LAMINA__PLANES_TAPS = 6,
    LAMINA__PLANES_WIDTHS = 3, /* kernel widths 3, 5, 7 */
    LAMINA__PLANES_VECTOR = 16 /* floats in a vector */
};

/* Some rows of a few blocks of pixels times a few vectors of filters:
 *   out[pixel][filter] = bias[filter] + sum over taps of image[tap][pixel] * filters[tap][filter]
 */
typedef struct lamina__planes_tile {
    const float *image;
    const int64_t *tap_at; /* of forward_runs: run_at, and n_runs */
    int64_t n_taps;
    const float *filters; /* (taps, vectors), filled up with zeros */
    const float *bias;    /* NULL: none */
    float *out;
    int64_t rows, blocks;       /* blocks of pixels in a row, side by side */
    int64_t image_row, out_row; /* floats from one row to the next */
    int64_t out_step;           /* floats from one pixel to the next */
    int32_t last; /* filters in the last vector; out and bias are not touched past them */
    int32_t relu; /* 1: out = max(0, that); a NaN stays a NaN */
} lamina__planes_tile;

/* The same with whole vectors of pixels, for single filters. A vector may be cut short or empty,
 * but its pixels must be readable. */
typedef struct lamina__planes_lanes {
    const float *image[LAMINA__PLANES_LANES];
    float *out[LAMINA__PLANES_LANES];
    int32_t count[LAMINA__PLANES_LANES]; /* pixels */
    const int64_t *tap_at;
    int64_t n_taps;
    const float *filters; /* (taps, filters) */
    const float *bias;    /* NULL: none */
    int64_t out_step;
    int32_t relu;
} lamina__planes_lanes;

/* Gradients of runs of taps, as many as the kernel is wide and one pixel apart:
 *   sums[run][tap][filter] += sum over pixels of image[run][tap + pixel] * d_out[pixel][filter] */
typedef struct lamina__planes_runs {
    const float *image;
    const int64_t *run_at;
    int64_t rows, columns, image_row; /* of the output; floats from a row of it to the next */
    const float *d_out;
    int64_t d_step; /* floats from one pixel to the next */
    float *sums;
    int64_t sums_step; /* floats from one tap to the next */
    float *ones;       /* NULL, or what a tap that reads 1 everywhere would get: the bias's sums */
    int32_t last;      /* filters in the last vector; d_out is not read past them */
} lamina__planes_runs;

/* The same for single filters, whose gradients lie in planes as the image does, zeros where there
 * is no output pixel. Sums stay vectors: their elements are to be added up. */
typedef struct lamina__planes_singles {
    const float *image;
    const int64_t *tap_at;
    int64_t n; /* pixels, in whole vectors */
    const float *d_out;
    int64_t d_step;    /* floats from one filter to the next */
    float *sums;       /* of a tap: a vector for each filter */
    int64_t sums_step; /* floats from one tap to the next */
    float *ones;       /* as above */
} lamina__planes_singles;

typedef void lamina__planes_forward(const lamina__planes_tile *);
typedef void lamina__planes_forward_lanes(const lamina__planes_lanes *);
typedef void lamina__planes_weights(const lamina__planes_runs *);
typedef void lamina__planes_weights_single(const lamina__planes_singles *);

typedef struct lamina__planes_isa {
    int32_t width;                          /* floats in a vector */
    int32_t lanes;                          /* vectors of pixels in every block of forward_lanes */
    int32_t pixels[LAMINA__PLANES_VECTORS]; /* the most, by [vectors - 1] */
    int32_t runs[LAMINA__PLANES_WIDTHS][LAMINA__PLANES_VECTORS]; /* the most; 0: none */
    int32_t taps;                                                /* the most, of weights_single */
    lamina__planes_forward *forward[LAMINA__PLANES_VECTORS][LAMINA__PLANES_PIXELS];
    /* For one vector of filters and runs of taps as below: [width / 2 - 1][pixels - 1]. */
    lamina__planes_forward *forward_runs[LAMINA__PLANES_WIDTHS][LAMINA__PLANES_PIXELS];
    lamina__planes_forward_lanes *forward_lanes[LAMINA__PLANES_SINGLE]; /* [filters - 1] */
    /* [width / 2 - 1][vectors - 1][runs - 1] */
    lamina__planes_weights
        *weights[LAMINA__PLANES_WIDTHS][LAMINA__PLANES_VECTORS][LAMINA__PLANES_RUNS];
    lamina__planes_weights_single *weights_single[LAMINA__PLANES_SINGLE][LAMINA__PLANES_TAPS];
    /* to[filter * to_step + pixel] = from[pixel * from_step + filter] for up to 4 filters. */
    void (*split)(const float *from, int64_t from_step, int64_t pixels, int64_t filters, float *to,
                  int64_t to_step);
} lamina__planes_isa;

extern const lamina__planes_isa lamina__planes_portable;
#if LAMINA__ISA_X86
extern const lamina__planes_isa lamina__planes_avx512, lamina__planes_avx2;
#endif

#endif
