/* Sums and maps channel by channel, for the norms: over pixels that lie one after the other in
 * memory, each with all its channels.
 *
 * A few pixels together are a wide row, so that few channels fill vectors, too: of 16 channels 16
 * pixels make a row of 256 numbers. Sums are kept for each place of a row and added up at the end,
 * half to half; so their order follows from the sizes and the instruction set alone. Arrays called
 * wide are of such a row; the first of them, `channels` long, are a channel's. */
#ifndef LAMINA_LAYERS_CHANNELS_H
#define LAMINA_LAYERS_CHANNELS_H

#include "layers/real.h"

typedef struct lamina__channels_isa lamina__channels_isa;

typedef struct lamina__channels {
    const lamina__channels_isa *isa;
    int64_t channels;
    int64_t pixels; /* in a wide row, a power of two */
    int64_t width;  /* numbers in a wide row */
} lamina__channels;

/* For create() or setup(): the loops of the instruction set in use. */
const lamina__channels_isa *LAMINA__REAL_NAME(channels_to_use)(void);

/* Rows for so many pixels at a time. Fewer pixels never have wider rows. */
static inline lamina__channels lamina__channels_for(const lamina__channels_isa *isa,
                                                    int64_t channels, int64_t pixels) {
    lamina__channels rows = {isa, channels, 1, channels};
    while (rows.width < 256 && 2 * rows.pixels <= pixels) {
        rows.pixels *= 2;
        rows.width *= 2;
    }
    return rows;
}

/* Numbers that an array in scratch takes, so that the next one begins at 64 bytes again. */
static inline int64_t lamina__channels_room(int64_t n) {
    return (n + 15) / 16 * 16;
}

/* What is done to y: nothing, unless `bounded`. A bound that is a NaN, which nothing is less or
 * more than, is none: relu's `most`. */
typedef struct lamina__channel_bounds {
    int32_t bounded;
    lamina_real least, most;
} lamina__channel_bounds;

/* Each wide:
 *   forward   y = (x - mean) scale + bias, and no less than least, no more than most, if bounded
 *   backward  dx = dy scale + (x - mean) slope + offset, where dy, if bounded, counts as 0 wherever
 *             forward's y is one of the bounds */
typedef struct lamina__channel_map {
    lamina_real *mean, *scale, *bias, *slope, *offset; /* slope: NULL where it is 0, offset, too */
    lamina__channel_bounds bounds;
} lamina__channel_map;

/* The loops, over whole rows of `width` numbers; sums are added to. */
struct lamina__channels_isa {
    void (*moments)(const lamina_real *x, int64_t rows, int64_t width, const lamina_real *shift,
                    lamina_real *sum, lamina_real *square);
    void (*products)(const lamina__channel_map *, const lamina_real *x, const lamina_real *dy,
                     int64_t rows, int64_t width, lamina_real *sum, lamina_real *product);
    void (*forward)(const lamina__channel_map *, const lamina_real *x, lamina_real *y, int64_t rows,
                    int64_t width);
    void (*backward)(const lamina__channel_map *, const lamina_real *x, const lamina_real *dy,
                     lamina_real *dx, int64_t rows, int64_t width);
};

#if !LAMINA_LAYERS_F64
extern const lamina__channels_isa lamina__channels_portable, lamina__channels_avx2,
    lamina__channels_avx512; /* the last two: only where isa.h says LAMINA__ISA_X86 */
#endif

/* Fills a wide array from its first `channels` numbers. */
void LAMINA__REAL_NAME(channels_widen)(const lamina__channels *, lamina_real *wide);

/* Of each channel: a number `shift` near its mean (the mean of its first pixels), the sum of
 * x - shift, and that of its square. As shift is a mean of numbers that are in the sums, the square
 * of the sum is at most pixels / 8 times as large as what is left of the squares without it: no
 * mean, however far from 0, costs more digits than that. shift, sum and square are wide, what is
 * behind the channels is working memory. */
void LAMINA__REAL_NAME(channels_moments)(const lamina__channels *, const lamina_real *x,
                                         int64_t pixels, lamina_real *shift, lamina_real *sum,
                                         lamina_real *square);

/* Of each channel the sum of dy, and of dy (x - mean), dy as the map's backward sees it.
 * sum and product are wide, as above. */
void LAMINA__REAL_NAME(channels_products)(const lamina__channels *, const lamina__channel_map *,
                                          const lamina_real *x, const lamina_real *dy,
                                          int64_t pixels, lamina_real *sum, lamina_real *product);

void LAMINA__REAL_NAME(channels_forward)(const lamina__channels *, const lamina__channel_map *,
                                         const lamina_real *x, lamina_real *y, int64_t pixels);
void LAMINA__REAL_NAME(channels_backward)(const lamina__channels *, const lamina__channel_map *,
                                          const lamina_real *x, const lamina_real *dy,
                                          lamina_real *dx, int64_t pixels);

#endif
