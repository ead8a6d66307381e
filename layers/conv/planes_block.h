/* The inner loops of planes.h, for the instruction set of the file that includes this. It has
 * included layers/vector_<instruction set>.h and defined
 *   LANES           vectors of pixels in a block of forward_lanes
 *   put_pixels      to[p * step + f] = x[f][p] for 4 filters f and the first n pixels p
 *   take_pixels     to[f * to_step + p] = from[p * step + f] for 4 filters f and 4 pixels p
 */
#include "layers/unroll.h"

#include <string.h>

/* Loops over a block's sums, which are up to 28 and have to be registers. */
#ifdef __clang__
#define UNROLL_ALL _Pragma("clang loop unroll(full)")
#else
#define UNROLL_ALL _Pragma("GCC unroll 40")
#endif

/* Keeps the compiler from carrying pixels from one turn of a loop to the next, where they have
 * other taps: it runs out of registers for them. */
#define HIDE(i) __asm__("" : "+r"(i))

enum { SINGLE = LAMINA__PLANES_SINGLE, PIXELS = LAMINA__PLANES_PIXELS };
enum { VECTORS = LAMINA__PLANES_VECTORS, RUNS = LAMINA__PLANES_RUNS, MAX_WIDTH = 7 };

INLINE void store_all(float *to, vector x) {
    memcpy(to, &x, sizeof x);
}

/* One block of pixels, for all taps. */
INLINE void sum_taps(const int pixels, const int vectors, const lamina__planes_tile *tile,
                     const float *image, vector sum[PIXELS][VECTORS]) {
    const float *filters = tile->filters;

    for (int64_t t = 0; t < tile->n_taps; t++, filters += vectors * WIDTH) {
        const float *from = image + tile->tap_at[t];
        vector filter[VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            filter[v] = load(filters + v * WIDTH);
        }
        UNROLL_ALL
        for (int p = 0; p < pixels; p++) {
            const vector x = broadcast(from + p);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[p][v] = multiply_add(x, filter[v], sum[p][v]);
            }
        }
    }
}

/* The same where taps come in runs of `width` pixels side by side, for one vector of filters: a
 * pixel is read once for all of a run. Reading it for each tap, as above, would take as long as
 * multiplying. */
INLINE void sum_runs(const int pixels, const int width, const lamina__planes_tile *tile,
                     const float *image, vector sum[PIXELS][VECTORS]) {
    const float *filters = tile->filters;

    for (int64_t r = 0; r < tile->n_taps; r++, filters += width * WIDTH) {
        const float *from = image + tile->tap_at[r];
        vector filter[MAX_WIDTH];
        UNROLL
        for (int v = 0; v < width; v++) {
            filter[v] = load(filters + v * WIDTH);
        }
        UNROLL_ALL
        for (int p = 0; p < pixels + width - 1; p++) {
            const vector x = broadcast(from + p);
            UNROLL
            for (int v = 0; v < width; v++) {
                if (p >= v && p - v < pixels) {
                    sum[p - v][0] = multiply_add(x, filter[v], sum[p - v][0]);
                }
            }
        }
    }
}

/* One block of pixels of the output. */
INLINE void forward_block(const int pixels, const int vectors, const int width,
                          const lamina__planes_tile *tile, const vector bias[VECTORS],
                          const float *image, float *out) {
    const int64_t out_step = tile->out_step;
    const mask last = mask_of(tile->last);
    vector sum[PIXELS][VECTORS];

    UNROLL_ALL
    for (int p = 0; p < pixels; p++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[p][v] = bias[v];
        }
    }
    if (width > 0) {
        sum_runs(pixels, width, tile, image, sum);
    } else {
        sum_taps(pixels, vectors, tile, image, sum);
    }
    if (tile->relu) {
        UNROLL_ALL
        for (int p = 0; p < pixels; p++) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[p][v] = positive(sum[p][v]);
            }
        }
    }
    const int partial = tile->last < WIDTH;
    UNROLL_ALL
    for (int p = 0; p < pixels; p++, out += out_step) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if (partial && v == vectors - 1) {
                store(out + v * WIDTH, last, sum[p][v]);
            } else {
                store_all(out + v * WIDTH, sum[p][v]);
            }
        }
    }
}

/* width 0: taps in any order. */
INLINE void forward(const int pixels, const int vectors, const int width,
                    const lamina__planes_tile *tile) {
    vector bias[VECTORS];

    UNROLL
    for (int v = 0; v < vectors; v++) {
        bias[v] = zero();
        if (tile->bias != NULL) {
            bias[v] =
                load_part(tile->bias + v * WIDTH, mask_of(v == vectors - 1 ? tile->last : WIDTH));
        }
    }
    for (int64_t i = 0; i < tile->rows; i++) {
        const float *image = tile->image + i * tile->image_row;
        float *out = tile->out + i * tile->out_row;
        for (int64_t j = 0; j < tile->blocks; j++) {
            forward_block(pixels, vectors, width, tile, bias, image, out);
            image += pixels;
            out += pixels * tile->out_step;
        }
    }
}

/* Pixels of which some, or some of the four filters, are not wanted. */
INLINE void put_some(const int filters, const vector x[SINGLE], int n, float *to, int64_t step) {
    float column[SINGLE][WIDTH];
    UNROLL
    for (int f = 0; f < filters; f++) {
        store_all(column[f], x[f]);
    }
    for (int p = 0; p < n; p++) {
        UNROLL
        for (int f = 0; f < filters; f++) {
            to[p * step + f] = column[f][p];
        }
    }
}

INLINE void forward_lanes(const int filters, const lamina__planes_lanes *tile) {
    const float *weight = tile->filters;
    vector sum[LANES][SINGLE];

    UNROLL
    for (int f = 0; f < filters; f++) {
        const vector bias = tile->bias != NULL ? splat(tile->bias[f]) : zero();
        UNROLL
        for (int p = 0; p < LANES; p++) {
            sum[p][f] = bias;
        }
    }
    for (int64_t t = 0; t < tile->n_taps; t++, weight += filters) {
        const int64_t at = tile->tap_at[t];
        vector x[LANES];
        UNROLL
        for (int p = 0; p < LANES; p++) {
            x[p] = load(tile->image[p] + at);
        }
        UNROLL
        for (int f = 0; f < filters; f++) {
            const vector w = broadcast(weight + f);
            UNROLL
            for (int p = 0; p < LANES; p++) {
                sum[p][f] = multiply_add(x[p], w, sum[p][f]);
            }
        }
    }
    UNROLL
    for (int p = 0; p < LANES; p++) {
        if (tile->relu) {
            UNROLL
            for (int f = 0; f < filters; f++) {
                sum[p][f] = positive(sum[p][f]);
            }
        }
        if (filters == SINGLE) {
            put_pixels(sum[p], tile->count[p], tile->out[p], tile->out_step);
        } else {
            put_some(filters, sum[p], tile->count[p], tile->out[p], tile->out_step);
        }
    }
}

/* `pixels` pixels side by side, one or two, into all sums: a pixel of the image is read once for
 * both, as it is under one tap for the first and under the tap before for the second. */
INLINE void add_columns(const int pixels, const int width, const int runs, const int vectors,
                        const int partial, const float *const x[RUNS], int64_t at,
                        const float *d_out, int64_t d_step, mask last,
                        vector sum[RUNS * MAX_WIDTH][VECTORS], vector ones[VECTORS]) {
    vector d[2][VECTORS];

    HIDE(at);
    UNROLL
    for (int p = 0; p < pixels; p++) {
        const float *from = d_out + p * d_step;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            d[p][v] = partial && v == vectors - 1 ? load_part(from + v * WIDTH, last)
                                                  : load(from + v * WIDTH);
            ones[v] = plus(ones[v], d[p][v]);
        }
    }
    UNROLL_ALL
    for (int t = 0; t < runs * (width + pixels - 1); t++) {
        const int r = t / (width + pixels - 1), q = t % (width + pixels - 1);
        const vector pixel = broadcast(x[r] + at + q);
        UNROLL
        for (int p = 0; p < pixels; p++) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                if (q >= p && q - p < width) {
                    vector *to = &sum[r * width + q - p][v];
                    *to = multiply_add(pixel, d[p][v], *to);
                }
            }
        }
    }
}

INLINE void walk_runs(const int width, const int runs, const int vectors, const int partial,
                      const lamina__planes_runs *tile, vector sum[RUNS * MAX_WIDTH][VECTORS],
                      vector ones[VECTORS]) {
    const int pixels = vectors == 1 ? 2 : 1;
    const mask last = mask_of(tile->last);
    const int64_t columns = tile->columns, d_step = tile->d_step;
    const float *d_out = tile->d_out, *x[RUNS];

    UNROLL_ALL
    for (int r = 0; r < runs; r++) {
        x[r] = tile->image + tile->run_at[r];
    }
    for (int64_t i = 0; i < tile->rows; i++) {
        int64_t j = 0;
        for (; j + pixels <= columns; j += pixels) {
            add_columns(pixels, width, runs, vectors, partial, x, j, d_out, d_step, last, sum,
                        ones);
            d_out += pixels * d_step;
        }
        if (j < columns) {
            add_columns(1, width, runs, vectors, partial, x, j, d_out, d_step, last, sum, ones);
            d_out += d_step;
        }
        UNROLL_ALL
        for (int r = 0; r < runs; r++) {
            x[r] += tile->image_row;
        }
    }
}

INLINE void weights(const int width, const int runs, const int vectors,
                    const lamina__planes_runs *tile) {
    vector sum[RUNS * MAX_WIDTH][VECTORS], ones[VECTORS];

    UNROLL_ALL
    for (int t = 0; t < runs * width; t++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[t][v] = zero();
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        ones[v] = zero();
    }
    if (tile->last == WIDTH) {
        walk_runs(width, runs, vectors, 0, tile, sum, ones);
    } else {
        walk_runs(width, runs, vectors, 1, tile, sum, ones);
    }
    if (tile->ones != NULL) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            store_all(tile->ones + v * WIDTH, plus(load(tile->ones + v * WIDTH), ones[v]));
        }
    }
    float *to = tile->sums;
    UNROLL_ALL
    for (int t = 0; t < runs * width; t++, to += tile->sums_step) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            store_all(to + v * WIDTH, plus(load(to + v * WIDTH), sum[t][v]));
        }
    }
}

INLINE void weights_single(const int filters, const int taps, const lamina__planes_singles *tile) {
    const float *x[LAMINA__PLANES_TAPS];
    vector sum[LAMINA__PLANES_TAPS][SINGLE], ones[SINGLE];

    UNROLL
    for (int f = 0; f < filters; f++) {
        ones[f] = zero();
    }
    UNROLL
    for (int t = 0; t < taps; t++) {
        x[t] = tile->image + tile->tap_at[t];
        UNROLL
        for (int f = 0; f < filters; f++) {
            sum[t][f] = zero();
        }
    }
    for (int64_t i = 0; i < tile->n; i += WIDTH) {
        vector d[SINGLE];
        UNROLL
        for (int f = 0; f < filters; f++) {
            d[f] = load(tile->d_out + f * tile->d_step + i);
            ones[f] = plus(ones[f], d[f]);
        }
        UNROLL
        for (int t = 0; t < taps; t++) {
            const vector pixels = load(x[t] + i);
            UNROLL
            for (int f = 0; f < filters; f++) {
                sum[t][f] = multiply_add(pixels, d[f], sum[t][f]);
            }
        }
    }
    if (tile->ones != NULL) {
        UNROLL
        for (int f = 0; f < filters; f++) {
            store_all(tile->ones + f * WIDTH, plus(load(tile->ones + f * WIDTH), ones[f]));
        }
    }
    float *to = tile->sums;
    UNROLL
    for (int t = 0; t < taps; t++, to += tile->sums_step) {
        UNROLL
        for (int f = 0; f < filters; f++) {
            store_all(to + f * WIDTH, plus(load(to + f * WIDTH), sum[t][f]));
        }
    }
}

TARGET static void split(const float *from, int64_t from_step, int64_t pixels, int64_t filters,
                         float *to, int64_t to_step) {
    int64_t p = 0;
    if (filters == SINGLE) {
        for (; p + 4 <= pixels; p += 4) {
            take_pixels(from + p * from_step, from_step, to + p, to_step);
        }
    }
    for (; p < pixels; p++) {
        for (int64_t f = 0; f < filters; f++) {
            to[f * to_step + p] = from[p * from_step + f];
        }
    }
}

/* The blocks' sizes are constants inside each of these, so their sums stay in registers. */
#define FORWARD(vectors, pixels)                                                                   \
    TARGET static void forward_##vectors##_##pixels(const lamina__planes_tile *tile) {             \
        forward(pixels, vectors, 0, tile);                                                         \
    }
#define FORWARD_RUNS(width, pixels)                                                                \
    TARGET static void forward_runs_##width##_##pixels(const lamina__planes_tile *tile) {          \
        forward(pixels, 1, width, tile);                                                           \
    }
#define LANES_OF(filters)                                                                          \
    TARGET static void forward_lanes_##filters(const lamina__planes_lanes *tile) {                 \
        forward_lanes(filters, tile);                                                              \
    }
#define WEIGHTS(width, vectors, runs)                                                              \
    TARGET static void weights_##width##_##vectors##_##runs(const lamina__planes_runs *tile) {     \
        weights(width, runs, vectors, tile);                                                       \
    }
#define SINGLES(filters, taps)                                                                     \
    TARGET static void weights_single_##filters##_##taps(const lamina__planes_singles *tile) {     \
        weights_single(filters, taps, tile);                                                       \
    }

/* Their names, with a comma, for the tables. */
#define FORWARD_NAME(vectors, pixels)      forward_##vectors##_##pixels,
#define FORWARD_RUNS_NAME(width, pixels)   forward_runs_##width##_##pixels,
#define WEIGHTS_NAME(width, vectors, runs) weights_##width##_##vectors##_##runs,
#define SINGLES_NAME(filters, taps)        weights_single_##filters##_##taps,

/* What(..., 1) What(..., 2) ... */
#define UP_TO_1(what, ...) what(__VA_ARGS__, 1)
#define UP_TO_2(what, ...) what(__VA_ARGS__, 1) what(__VA_ARGS__, 2)
#define UP_TO_3(what, ...) UP_TO_2(what, __VA_ARGS__) what(__VA_ARGS__, 3)
#define UP_TO_4(what, ...) UP_TO_3(what, __VA_ARGS__) what(__VA_ARGS__, 4)
#define UP_TO_5(what, ...) UP_TO_4(what, __VA_ARGS__) what(__VA_ARGS__, 5)
#define UP_TO_6(what, ...) UP_TO_5(what, __VA_ARGS__) what(__VA_ARGS__, 6)
#define UP_TO_9(what, ...)                                                                         \
    UP_TO_6(what, __VA_ARGS__)                                                                     \
    what(__VA_ARGS__, 7) what(__VA_ARGS__, 8) what(__VA_ARGS__, 9)
#define UP_TO_12(what, ...)                                                                        \
    UP_TO_9(what, __VA_ARGS__)                                                                     \
    what(__VA_ARGS__, 10) what(__VA_ARGS__, 11) what(__VA_ARGS__, 12)
