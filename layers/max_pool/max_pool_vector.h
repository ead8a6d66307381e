/* Max pooling along the channels: what its files share.
 *
 * All passes walk over runs of pixels that look alike: each pixel of the run has, at the same
 * places relative to it, a few pixels on the other side of the layer, its taps, and each of these
 * is one position of a window. max_pool_vector.c makes the runs; what is done with one is here for
 * each instruction set. */
#ifndef LAMINA_LAYERS_MAX_POOL_VECTOR_H
#define LAMINA_LAYERS_MAX_POOL_VECTOR_H

#include "layers/isa.h"

#include <stdint.h>

typedef struct lamina__pool_run {
    int64_t count;    /* pixels */
    int64_t step;     /* floats from one to the next; windows are `channels` apart */
    int64_t tap_step; /* floats from one's taps to the next's */
    int64_t channels;
    int64_t taps;
    const int64_t *at;   /* where the first pixel's taps are, floats */
    const uint8_t *code; /* their positions in the window, row by row */
} lamina__pool_run;

typedef struct lamina__pool_isa {
    int64_t width; /* the fewest channels these can do */
    /* A run of windows. out: the largest tap, the first of equals, or a NaN if there is one; code:
     * its position, NULL when nobody asks. */
    void (*largest)(const lamina__pool_run *run, const float *in, float *out, uint8_t *code);
    /* A run of windows. Each tap of d_in: its window's d_out if it was the largest, else 0. */
    void (*spread)(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                   float *d_in);
    /* A run of input pixels, whose taps are windows. d_in: the sum of d_out of those where it was
     * the largest. */
    void (*collect)(const lamina__pool_run *run, const float *d_out, const uint8_t *code,
                    float *d_in);
} lamina__pool_isa;

extern const lamina__pool_isa lamina__pool_portable;
#if LAMINA__ISA_X86
extern const lamina__pool_isa lamina__pool_avx2, lamina__pool_avx512;
#endif

#endif
