/* What is done with the runs of depthwise.h, for the instruction set of the file that includes
 * this, after layers/vector_<instruction set>.h. */
#include "layers/vector_some.h"

/* Pixels of a block of gather(), and taps of one of correlate(): so many sums in registers. */
enum { PIXELS = 8, TAPS = 9 };

#ifdef __clang__
#define UNROLL_TAPS UNROLL
#else
#define UNROLL_TAPS _Pragma("GCC unroll 9")
#endif

/* A vector of some pixels. is_3x3: that many taps, so the compiler knows. */
INLINE void gather_vector(const int pixels, const int is_3x3, const int partial, mask m,
                          const lamina__depthwise_run *run, const float *a, const float *filter,
                          const float *bias, int relu, float *c) {
    const int64_t taps_y = is_3x3 ? 3 : run->taps[1], taps_x = is_3x3 ? 3 : run->taps[0];
    vector sum[PIXELS];
    const vector start = bias != NULL ? load_some(partial, bias, m) : zero();

    UNROLL
    for (int p = 0; p < pixels; p++) {
        sum[p] = start;
    }
    for (int64_t u = 0; u < taps_y; u++) {
        const float *x = a + u * run->tap_step[1], *w = filter + u * run->filter_step[1];
        for (int64_t v = 0; v < taps_x; v++) {
            const vector weight = load_some(partial, w, m);
            UNROLL
            for (int p = 0; p < pixels; p++) {
                const vector from = load_some(partial, x + p * run->a_step[0], m);
                sum[p] = multiply_add(from, weight, sum[p]);
            }
            x += run->tap_step[0];
            w += run->filter_step[0];
        }
    }
    UNROLL
    for (int p = 0; p < pixels; p++) {
        store_some(partial, c + p * run->c_step[0], m, relu ? positive(sum[p]) : sum[p]);
    }
}

INLINE void gather_channels(const int pixels, const int is_3x3, const lamina__depthwise_run *run,
                            const float *a, const float *filter, const float *bias, int relu,
                            float *c) {
    const int64_t whole = run->channels / WIDTH * WIDTH;
    for (int64_t i = 0; i < whole; i += WIDTH) {
        gather_vector(pixels, is_3x3, 0, mask_of(WIDTH), run, a + i, filter + i,
                      bias != NULL ? bias + i : NULL, relu, c + i);
    }
    if (whole < run->channels) {
        gather_vector(pixels, 0, 1, mask_of((int)(run->channels - whole)), run, a + whole,
                      filter + whole, bias != NULL ? bias + whole : NULL, relu, c + whole);
    }
}

/* All channels of some pixels of a row. */
INLINE void gather_pixels(const int pixels, const lamina__depthwise_run *run, const float *a,
                          const float *filter, const float *bias, int relu, float *c) {
    if (run->taps[0] == 3 && run->taps[1] == 3) {
        gather_channels(pixels, 1, run, a, filter, bias, relu, c);
    } else {
        gather_channels(pixels, 0, run, a, filter, bias, relu, c);
    }
}

/* All channels of a row, or a column, of pixels. */
TARGET static void gather_line(const lamina__depthwise_run *run, const float *a,
                               const float *filter, const float *bias, int relu, float *c) {
    int64_t left = run->columns;
    while (left > 0) {
        int64_t pixels = PIXELS;
        if (left >= 8) {
            gather_pixels(8, run, a, filter, bias, relu, c);
        } else if (left >= 4) {
            pixels = 4;
            gather_pixels(4, run, a, filter, bias, relu, c);
        } else if (left >= 2) {
            pixels = 2;
            gather_pixels(2, run, a, filter, bias, relu, c);
        } else {
            pixels = 1;
            gather_pixels(1, run, a, filter, bias, relu, c);
        }
        left -= pixels;
        a += pixels * run->a_step[0];
        c += pixels * run->c_step[0];
    }
}

/* Along the longer way, so that more pixels go through one block. */
static void gather(const lamina__depthwise_run *run, const float *a, const float *filter,
                   const float *bias, int relu, float *c) {
    lamina__depthwise_run turned = *run;
    if (run->rows > run->columns) {
        turned.rows = run->columns;
        turned.columns = run->rows;
        turned.a_step[0] = run->a_step[1];
        turned.a_step[1] = run->a_step[0];
        turned.c_step[0] = run->c_step[1];
        turned.c_step[1] = run->c_step[0];
    }
    for (int64_t y = 0; y < turned.rows; y++) {
        gather_line(&turned, a + y * turned.a_step[1], filter, bias, relu,
                    c + y * turned.c_step[1]);
    }
}

/* A vector of the sums of some taps, over all pixels. */
INLINE void correlate_vector(const int taps, const int partial, mask m,
                             const lamina__depthwise_run *run, const int64_t at[TAPS],
                             const float *a, const float *c, float *const sums[TAPS], int64_t i) {
    vector sum[TAPS];
    UNROLL_TAPS
    for (int t = 0; t < taps; t++) {
        sum[t] = load_some(partial, sums[t] + i, m);
    }
    for (int64_t y = 0; y < run->rows; y++) {
        const float *x = a + i + y * run->a_step[1], *d = c + i + y * run->c_step[1];
        for (int64_t k = 0; k < run->columns; k++) {
            const vector by = load_some(partial, d, m);
            UNROLL_TAPS
            for (int t = 0; t < taps; t++) {
                sum[t] = multiply_add(load_some(partial, x + at[t], m), by, sum[t]);
            }
            x += run->a_step[0];
            d += run->c_step[0];
        }
    }
    UNROLL_TAPS
    for (int t = 0; t < taps; t++) {
        store_some(partial, sums[t] + i, m, sum[t]);
    }
}

/* All channels of taps first, first + 1, ... */
INLINE void correlate_taps(const int taps, int64_t first, const lamina__depthwise_run *run,
                           const float *a, const float *c, float *sums) {
    const int64_t whole = run->channels / WIDTH * WIDTH;
    int64_t at[TAPS];
    float *sum[TAPS];

    for (int t = 0; t < taps; t++) {
        const int64_t u = (first + t) / run->taps[0], v = (first + t) % run->taps[0];
        at[t] = u * run->tap_step[1] + v * run->tap_step[0];
        sum[t] = sums + u * run->filter_step[1] + v * run->filter_step[0];
    }
    for (int64_t i = 0; i < whole; i += WIDTH) {
        correlate_vector(taps, 0, mask_of(WIDTH), run, at, a, c, sum, i);
    }
    if (whole < run->channels) {
        correlate_vector(taps, 1, mask_of((int)(run->channels - whole)), run, at, a, c, sum, whole);
    }
}

TARGET static void correlate(const lamina__depthwise_run *run, const float *a, const float *c,
                             float *sums) {
    const int64_t taps = run->taps[0] * run->taps[1];
    int64_t first = 0;
    while (first < taps) { /* a 3x3 filter has 9 taps inside, 6 at an edge and 4 in a corner */
        const int64_t left = taps - first;
        if (left >= 9) {
            correlate_taps(9, first, run, a, c, sums);
            first += 9;
        } else if (left >= 6) {
            correlate_taps(6, first, run, a, c, sums);
            first += 6;
        } else if (left >= 4) {
            correlate_taps(4, first, run, a, c, sums);
            first += 4;
        } else if (left >= 2) {
            correlate_taps(2, first, run, a, c, sums);
            first += 2;
        } else {
            correlate_taps(1, first, run, a, c, sums);
            first += 1;
        }
    }
}

TARGET static void total(int64_t pixels, int64_t step, int64_t channels, const float *c,
                         float *sum) {
    for (int64_t i = 0; i < channels; i += WIDTH) {
        const mask m = mask_of(channels - i < WIDTH ? (int)(channels - i) : WIDTH);
        vector even = zero(), odd = zero();
        int64_t p = 0;
        for (; p + 1 < pixels; p += 2) {
            even = plus(even, load_part(c + p * step + i, m));
            odd = plus(odd, load_part(c + (p + 1) * step + i, m));
        }
        if (p < pixels) {
            even = plus(even, load_part(c + p * step + i, m));
        }
        store(sum + i, m, plus(load_part(sum + i, m), plus(even, odd)));
    }
}
