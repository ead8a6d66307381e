/* The transforms of winograd.h, for the instruction set of the file that includes this after
 * layers/vector_<instruction set>.h. Sizes are constants where they are
 * used, so that all loops unroll and a square's row stays in registers. */
#include "layers/unroll.h"

enum { MOST = LAMINA__WINOGRAD_TILE };

/* Keeps loads and stores through `pointer` in the order they are written in, row by row of a
 * square: compilers otherwise bring all loads forward, and all addresses out of the loop over
 * channels, and then lack the registers for the numbers. */
#define IN_ORDER(pointer) __asm__ volatile("" : "+r"(pointer) : : "memory")

/* 2^i and 2^-i, by index i: the powers of the points. */
static const float twos[MOST] = {1, 2, 4, 8, 16, 32, 64, 128};
static const float halves[MOST] = {1, 1.0F / 2, 1.0F / 4, 1.0F / 8, 1.0F / 16, 1.0F / 32};

INLINE vector times(vector x, float factor) {
    return factor == 1 ? x : (vector)(x * splat(factor));
}

/* What G scales each point with: 0, +-1, +-2, +-1/2; infinity has 1. */
INLINE float scale_of(const int tile, const int pair) {
    if (tile == 4) {
        return pair < 0 ? 1.0F : 1.0F / 2;
    }
    if (tile == 6) {
        return pair < 0 ? 1.0F / 4 : pair == 0 ? -1.0F / 6 : 1.0F / 24;
    }
    return pair < 0 ? 1.0F : pair == 0 ? -2.0F / 9 : pair == 1 ? 1.0F / 90 : 32.0F / 45;
}

/* The power i of the points of a pair: +-1, +-2, +-1/2. */
INLINE float power_of(const int pair, const int i) {
    return pair == 0 ? 1.0F : pair == 1 ? twos[i] : halves[i];
}

/* total + factor * x */
INLINE vector add_times(vector total, vector x, float factor) {
    return factor == 1 ? plus(total, x) : multiply_add(x, splat(factor), total);
}

/* y = E(n) x, or G(n) x: n coefficients at all points of the tile. */
INLINE void evaluate(const int tile, const int n, const int scaled, const vector *x, vector *y) {
    y[0] = times(x[0], scaled ? scale_of(tile, -1) : 1);
    UNROLL
    for (int pair = 0; pair < (tile - 2) / 2; pair++) {
        const float scale = scaled ? scale_of(tile, pair) : 1;
        vector even = x[0], odd = times(x[1], power_of(pair, 1));
        UNROLL
        for (int i = 2; i < n; i += 2) {
            even = add_times(even, x[i], power_of(pair, i));
        }
        UNROLL
        for (int i = 3; i < n; i += 2) {
            odd = add_times(odd, x[i], power_of(pair, i));
        }
        y[1 + 2 * pair] = times(even + odd, scale);
        y[2 + 2 * pair] = times(even - odd, scale);
    }
    y[tile - 1] = x[n - 1];
}

/* The transposes of these, E(n)^T y and G(n)^T y. */
INLINE void gather(const int tile, const int n, const int scaled, const vector *y, vector *x) {
    vector sum[3], difference[3];
    UNROLL
    for (int pair = 0; pair < (tile - 2) / 2; pair++) {
        const float scale = scaled ? scale_of(tile, pair) : 1;
        sum[pair] = times(y[1 + 2 * pair] + y[2 + 2 * pair], scale);
        difference[pair] = times(y[1 + 2 * pair] - y[2 + 2 * pair], scale);
    }
    UNROLL
    for (int i = 0; i < n; i++) {
        vector total = i % 2 == 0 ? sum[0] : difference[0];
        UNROLL
        for (int pair = 1; pair < (tile - 2) / 2; pair++) {
            total = add_times(total, i % 2 == 0 ? sum[pair] : difference[pair], power_of(pair, i));
        }
        if (i == 0) {
            total = add_times(total, y[0], scaled ? scale_of(tile, -1) : 1);
        }
        x[i] = i == n - 1 ? plus(total, y[tile - 1]) : total;
    }
}

/* y = B^T d, written out: points and zeros of the matrices are what saves work. */
INLINE void patch_4(const vector *d, vector *y) {
    y[0] = d[0] - d[2];
    y[1] = d[1] + d[2];
    y[2] = d[2] - d[1];
    y[3] = d[3] - d[1];
}

INLINE void patch_6(const vector *d, vector *y) {
    const vector four = splat(4), minus_five = splat(-5), minus_four = splat(-4), two = splat(2);
    const vector a = multiply_add(d[2], minus_four, d[4]); /* d4 - 4 d2 */
    const vector b = multiply_add(d[1], minus_four, d[3]); /* d3 - 4 d1 */
    const vector c = d[4] - d[2], e = (d[3] - d[1]) * two;
    y[0] = multiply_add(d[0], four, multiply_add(d[2], minus_five, d[4]));
    y[1] = a + b;
    y[2] = a - b;
    y[3] = c + e;
    y[4] = c - e;
    y[5] = multiply_add(d[1], four, multiply_add(d[3], minus_five, d[5]));
}

INLINE void patch_8(const vector *d, vector *y) {
    const vector k = splat(5.25F), m17 = splat(-4.25F), m5 = splat(-5), m2_5 = splat(-2.5F);
    const vector m1_25 = splat(-1.25F), half = splat(0.5F), quarter = splat(0.25F);
    const vector two = splat(2), four = splat(4);
    y[0] = multiply_add(d[4] - d[2], k, d[0] - d[6]);
    const vector a = multiply_add(d[4], m17, d[2] + d[6]);
    const vector b = multiply_add(d[3], m17, d[1] + d[5]);
    y[1] = a + b;
    y[2] = a - b;
    const vector c = multiply_add(d[2], quarter, multiply_add(d[4], m1_25, d[6]));
    const vector e = multiply_add(d[1], half, multiply_add(d[3], m2_5, d[5] * two));
    y[3] = c + e;
    y[4] = c - e;
    const vector f = multiply_add(d[2], four, multiply_add(d[4], m5, d[6]));
    const vector g = multiply_add(d[1], two, multiply_add(d[3], m2_5, d[5] * half));
    y[5] = f + g;
    y[6] = f - g;
    y[7] = multiply_add(d[3] - d[5], k, d[7] - d[1]);
}

INLINE void patch(const int tile, const vector *d, vector *y) {
    if (tile == 4) {
        patch_4(d, y);
    } else if (tile == 6) {
        patch_6(d, y);
    } else {
        patch_8(d, y);
    }
}

/* d = B y, the transposes. */
INLINE void unpatch_4(const vector *y, vector *d) {
    d[0] = y[0];
    d[1] = y[1] - y[2] - y[3];
    d[2] = y[1] + y[2] - y[0];
    d[3] = y[3];
}

INLINE void unpatch_6(const vector *y, vector *d) {
    const vector four = splat(4), minus_five = splat(-5), minus_four = splat(-4), two = splat(2);
    const vector a = y[1] + y[2], b = y[1] - y[2], c = y[3] + y[4], e = (y[3] - y[4]) * two;
    d[0] = y[0] * four;
    d[1] = multiply_add(b, minus_four, multiply_add(y[5], four, -e));
    d[2] = multiply_add(y[0], minus_five, multiply_add(a, minus_four, -c));
    d[3] = multiply_add(y[5], minus_five, b + e);
    d[4] = y[0] + a + c;
    d[5] = y[5];
}

INLINE void unpatch_8(const vector *y, vector *d) {
    const vector k = splat(5.25F), mk = splat(-5.25F), m17 = splat(-4.25F), m5 = splat(-5);
    const vector m2_5 = splat(-2.5F), m1_25 = splat(-1.25F), half = splat(0.5F);
    const vector quarter = splat(0.25F), two = splat(2), four = splat(4);
    const vector s1 = y[1] + y[2], d1 = y[1] - y[2], s2 = y[3] + y[4], d2 = y[3] - y[4];
    const vector s3 = y[5] + y[6], d3 = y[5] - y[6];
    d[0] = y[0];
    d[1] = multiply_add(d2, half, multiply_add(d3, two, d1 - y[7]));
    d[2] = multiply_add(y[0], mk, multiply_add(s2, quarter, multiply_add(s3, four, s1)));
    d[3] = multiply_add(d1, m17, multiply_add(d2 + d3, m2_5, y[7] * k));
    d[4] = multiply_add(y[0], k, multiply_add(s1, m17, multiply_add(s2, m1_25, s3 * m5)));
    d[5] = multiply_add(d2, two, multiply_add(d3, half, multiply_add(y[7], mk, d1)));
    d[6] = s1 + s2 + s3 - y[0];
    d[7] = y[7];
}

INLINE void unpatch(const int tile, const vector *y, vector *d) {
    if (tile == 4) {
        unpatch_4(y, d);
    } else if (tile == 6) {
        unpatch_6(y, d);
    } else {
        unpatch_8(y, d);
    }
}

INLINE int is_whole(const lamina__winograd_square *s, const int n) {
    return s->y_begin == 0 && s->x_begin == 0 && s->y_end == n && s->x_end == n;
}

/* Column x of a square of n x n pixels. */
INLINE void read_column(const int n, const int whole, const float *from,
                        const lamina__winograd_square *s, const int x, const mask m, vector *d) {
    const int there = whole || (x >= s->x_begin && x < s->x_end);
    const float *column = from + x * s->column;
    IN_ORDER(column);
    UNROLL
    for (int y = 0; y < n; y++) {
        d[y] = there && (whole || (y >= s->y_begin && y < s->y_end))
                   ? load_part(column + y * s->row, m)
                   : zero();
    }
}

INLINE void store_points(const int tile, const vector *row, float *to, int64_t step) {
    IN_ORDER(to);
    UNROLL
    for (int j = 0; j < tile; j++) {
        store(to + j * step, mask_of(WIDTH), row[j]);
    }
}

/* One vector of channels of B^T d B (n = tile) or of E d E^T (n = out). */
INLINE void transform_square(const int tile, const int n, const int whole, const float *from,
                             const lamina__winograd_square *s, const mask m, float *to,
                             int64_t step) {
    vector half[MOST][MOST]; /* [point][column] */
    UNROLL
    for (int x = 0; x < n; x++) {
        vector d[MOST], y[MOST];
        read_column(n, whole, from, s, x, m, d);
        if (n == tile) {
            patch(tile, d, y);
        } else {
            evaluate(tile, n, 0, d, y);
        }
        UNROLL
        for (int i = 0; i < tile; i++) {
            half[i][x] = y[i];
        }
    }
    UNROLL
    for (int i = 0; i < tile; i++) {
        vector y[MOST];
        if (n == tile) {
            patch(tile, half[i], y);
        } else {
            evaluate(tile, n, 0, half[i], y);
        }
        store_points(tile, y, to + i * tile * step, step);
    }
}

INLINE void transform(const int tile, const int n, const float *from,
                      const lamina__winograd_square *square, int64_t channels, float *to,
                      int64_t step) {
    const lamina__winograd_square s = *square;
    const int whole = is_whole(&s, n);
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const mask m = mask_of(channels - c < WIDTH ? (int)(channels - c) : WIDTH);
        if (whole) {
            transform_square(tile, n, 1, from + c, &s, m, to + c, step);
        } else {
            transform_square(tile, n, 0, from + c, &s, m, to + c, step);
        }
    }
}

/* Along columns of E^T M E, or of G^T M G: half[k][j] is coefficient k of column j of the points.
 */
INLINE void gather_columns(const int tile, const int n, const int scaled, const float *from,
                           int64_t step, vector half[MOST][MOST]) {
    UNROLL
    for (int j = 0; j < tile; j++) {
        vector y[MOST], x[MOST];
        const float *column = from + j * step;
        IN_ORDER(column);
        UNROLL
        for (int i = 0; i < tile; i++) {
            y[i] = load(column + i * tile * step);
        }
        gather(tile, n, scaled, y, x);
        UNROLL
        for (int k = 0; k < n; k++) {
            half[k][j] = x[k];
        }
    }
}

/* One vector of channels of E^T M E + bias. */
INLINE void output_square(const int tile, const int out, const int whole, const float *from,
                          int64_t step, const vector bias, const int relu, const mask m, float *to,
                          const lamina__winograd_square *s) {
    vector half[MOST][MOST];
    gather_columns(tile, out, 0, from, step, half);
    UNROLL
    for (int i = 0; i < out; i++) {
        if (whole || (i >= s->y_begin && i < s->y_end)) {
            vector y[MOST];
            float *row = to + i * s->row;
            IN_ORDER(row);
            gather(tile, out, 0, half[i], y);
            UNROLL
            for (int j = 0; j < out; j++) {
                const vector sum = y[j] + bias;
                if (whole || (j >= s->x_begin && j < s->x_end)) {
                    store(row + j * s->column, m, relu ? positive(sum) : sum);
                }
            }
        }
    }
}

INLINE void write_output(const int tile, const int out, const float *from, int64_t step,
                         const float *bias, const int relu, int64_t channels, float *to,
                         const lamina__winograd_square *square) {
    const lamina__winograd_square s = *square;
    const int whole = is_whole(&s, out);
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const mask m = mask_of(channels - c < WIDTH ? (int)(channels - c) : WIDTH);
        const vector b = bias != NULL ? load_part(bias + c, m) : zero();
        if (whole) {
            output_square(tile, out, 1, from + c, step, b, relu, m, to + c, &s);
        } else {
            output_square(tile, out, 0, from + c, step, b, relu, m, to + c, &s);
        }
    }
}

INLINE void add_patch(const int tile, const int whole, const float *from, int64_t step,
                      const mask m, float *to, const lamina__winograd_square *s) {
    vector half[MOST][MOST]; /* [row][column of points] */
    UNROLL
    for (int j = 0; j < tile; j++) {
        vector y[MOST], d[MOST];
        const float *column = from + j * step;
        IN_ORDER(column);
        UNROLL
        for (int i = 0; i < tile; i++) {
            y[i] = load(column + i * tile * step);
        }
        unpatch(tile, y, d);
        UNROLL
        for (int i = 0; i < tile; i++) {
            half[i][j] = d[i];
        }
    }
    UNROLL
    for (int i = 0; i < tile; i++) {
        if (whole || (i >= s->y_begin && i < s->y_end)) {
            vector d[MOST];
            float *row = to + i * s->row;
            IN_ORDER(row);
            unpatch(tile, half[i], d);
            UNROLL
            for (int j = 0; j < tile; j++) {
                if (whole || (j >= s->x_begin && j < s->x_end)) {
                    float *at = row + j * s->column;
                    store(at, m, plus(load_part(at, m), d[j]));
                }
            }
        }
    }
}

INLINE void add_patches(const int tile, const float *from, int64_t step, int64_t channels,
                        float *to, const lamina__winograd_square *square) {
    const lamina__winograd_square s = *square;
    const int whole = is_whole(&s, tile);
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const mask m = mask_of(channels - c < WIDTH ? (int)(channels - c) : WIDTH);
        if (whole) {
            add_patch(tile, 1, from + c, step, m, to + c, &s);
        } else {
            add_patch(tile, 0, from + c, step, m, to + c, &s);
        }
    }
}

INLINE void read_filter(const int tile, const int n, const float *from, int64_t pixel,
                        int64_t channels, float *to, int64_t step) {
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const mask m = mask_of(channels - c < WIDTH ? (int)(channels - c) : WIDTH);
        vector half[MOST][MOST];
        UNROLL
        for (int v = 0; v < n; v++) {
            vector w[MOST], y[MOST];
            UNROLL
            for (int u = 0; u < n; u++) {
                w[u] = load_part(from + (u * n + v) * pixel + c, m);
            }
            evaluate(tile, n, 1, w, y);
            UNROLL
            for (int i = 0; i < tile; i++) {
                half[i][v] = y[i];
            }
        }
        UNROLL
        for (int i = 0; i < tile; i++) {
            vector y[MOST];
            evaluate(tile, n, 1, half[i], y);
            store_points(tile, y, to + c + i * tile * step, step);
        }
    }
}

INLINE void add_filter(const int tile, const int n, const float *from, int64_t step,
                       int64_t channels, float *to, int64_t pixel) {
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const mask m = mask_of(channels - c < WIDTH ? (int)(channels - c) : WIDTH);
        vector half[MOST][MOST];
        gather_columns(tile, n, 1, from + c, step, half);
        UNROLL
        for (int u = 0; u < n; u++) {
            vector w[MOST];
            float *row = to + u * n * pixel + c;
            IN_ORDER(row);
            gather(tile, n, 1, half[u], w);
            UNROLL
            for (int v = 0; v < n; v++) {
                store(row + v * pixel, m, load_part(row + v * pixel, m) + w[v]);
            }
        }
    }
}

/* The sizes are constants inside each of these. */
#define TILING(tile, out, filter)                                                                  \
    TARGET static void input_##tile##_##filter(const float *from,                                  \
                                               const lamina__winograd_square *s, int64_t channels, \
                                               float *to, int64_t step) {                          \
        transform(tile, tile, from, s, channels, to, step);                                        \
    }                                                                                              \
    TARGET static void d_output_##tile##_##filter(const float *from,                               \
                                                  const lamina__winograd_square *s,                \
                                                  int64_t channels, float *to, int64_t step) {     \
        transform(tile, out, from, s, channels, to, step);                                         \
    }                                                                                              \
    TARGET static void output_##tile##_##filter(const float *from, int64_t step,                   \
                                                const float *bias, int relu, int64_t channels,     \
                                                float *to, const lamina__winograd_square *s) {     \
        if (relu) {                                                                                \
            write_output(tile, out, from, step, bias, 1, channels, to, s);                         \
        } else {                                                                                   \
            write_output(tile, out, from, step, bias, 0, channels, to, s);                         \
        }                                                                                          \
    }                                                                                              \
    TARGET static void d_input_##tile##_##filter(const float *from, int64_t step,                  \
                                                 int64_t channels, float *to,                      \
                                                 const lamina__winograd_square *s) {               \
        add_patches(tile, from, step, channels, to, s);                                            \
    }                                                                                              \
    TARGET static void weights_##tile##_##filter(const float *from, int64_t pixel,                 \
                                                 int64_t channels, float *to, int64_t step) {      \
        read_filter(tile, filter, from, pixel, channels, to, step);                                \
    }                                                                                              \
    TARGET static void d_weights_##tile##_##filter(const float *from, int64_t step,                \
                                                   int64_t channels, float *to, int64_t pixel) {   \
        add_filter(tile, filter, from, step, channels, to, pixel);                                 \
    }

#define TILING_ENTRY(tile_, out_, f)                                                               \
    {                                                                                              \
        .tile = (tile_), .out = (out_), .filter = (f), .input = input_##tile_##_##f,               \
        .d_input = d_input_##tile_##_##f, .output = output_##tile_##_##f,                          \
        .d_output = d_output_##tile_##_##f, .weights = weights_##tile_##_##f,                      \
        .d_weights = d_weights_##tile_##_##f                                                       \
    }

TILING(4, 2, 3)
TILING(6, 4, 3)
TILING(6, 2, 5)
TILING(8, 4, 5)

#define ALL_TILINGS                                                                                \
    { TILING_ENTRY(4, 2, 3), TILING_ENTRY(6, 4, 3), TILING_ENTRY(6, 2, 5), TILING_ENTRY(8, 4, 5) }
