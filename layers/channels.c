/* Sums and maps channel by channel: channels.h. Loops go along wide rows: of sums several at a
 * time, which saves reading them again. What is written is written in one line, row after row: a
 * processor sees then that it need not read the memory first, which saves a third of the time. */
#include "layers/channels.h"

#include <string.h>

enum { FIRST = 8 }; /* pixels whose mean the sums begin with */

/* Bodies of loops, compiled with and without bounds. */
#define BODY __attribute__((always_inline)) static inline

void LAMINA__REAL_NAME(channels_widen)(const lamina__channels *rows, lamina_real *wide) {
    for (int64_t n = rows->channels; n < rows->width; n *= 2) {
        memcpy(wide + n, wide, (size_t)n * sizeof *wide);
    }
}

/* Adds up the sums of a channel. */
LAMINA__VECTOR_CLONES
static void fold(const lamina__channels *rows, lamina_real *sum) {
    for (int64_t n = rows->width / 2; n >= rows->channels; n /= 2) {
        const lamina_real *half = sum + n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            sum[i] += half[i];
        }
    }
}

static void clear(lamina_real *sum, int64_t n) {
    memset(sum, 0, (size_t)n * sizeof *sum);
}

/* ---- Moments ------------------------------------------------------------------------------- */

static void mean_of_first(const lamina__channels *rows, const lamina_real *x, int64_t pixels,
                          lamina_real *mean) {
    const int64_t channels = rows->channels, n = pixels < FIRST ? pixels : FIRST;
    memcpy(mean, x, (size_t)channels * sizeof *mean);
    for (int64_t i = 1; i < n; i++) {
        for (int64_t c = 0; c < channels; c++) {
            mean[c] += x[i * channels + c];
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        mean[c] /= (lamina_real)n;
    }
}

LAMINA__VECTOR_CLONES
static void add_moments(const lamina_real *x, int64_t n, int64_t width,
                        const lamina_real *restrict shift, lamina_real *restrict sum,
                        lamina_real *restrict square) {
    for (; n >= 4; n -= 4, x += 4 * width) {
        const lamina_real *x1 = x + width, *x2 = x1 + width, *x3 = x2 + width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = x[i] - shift[i], b = x1[i] - shift[i], c = x2[i] - shift[i],
                              d = x3[i] - shift[i];
            sum[i] += (a + b) + (c + d);
            square[i] += (a * a + b * b) + (c * c + d * d);
        }
    }
    for (; n > 0; n--, x += width) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = x[i] - shift[i];
            sum[i] += a;
            square[i] += a * a;
        }
    }
}

void LAMINA__REAL_NAME(channels_moments)(const lamina__channels *rows, const lamina_real *x,
                                         int64_t pixels, lamina_real *shift, lamina_real *sum,
                                         lamina_real *square) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    mean_of_first(rows, x, pixels, shift);
    LAMINA__REAL_NAME(channels_widen)(rows, shift);
    clear(sum, rows->width);
    clear(square, rows->width);
    add_moments(x, whole, rows->width, shift, sum, square);
    add_moments(x + whole * rows->width, 1, rest, shift, sum, square);
    fold(rows, sum);
    fold(rows, square);
}

/* ---- Bounds -------------------------------------------------------------------------------- */

/* A NaN stays one. */
BODY lamina_real inside(const int bounded, lamina_real least, lamina_real most, lamina_real y) {
    return !bounded ? y : y < least ? least : y > most ? most : y;
}

/* What comes back through the bounds of the unbounded y, which is not kept. */
BODY lamina_real passed(const int bounded, lamina_real least, lamina_real most, lamina_real y,
                        lamina_real dy) {
    return bounded && (y <= least || y >= most) ? 0 : dy;
}

/* ---- Products ------------------------------------------------------------------------------ */

BODY void add_products(const int bounded, const lamina__channel_map *map, const lamina_real *x,
                       const lamina_real *dy, int64_t n, int64_t width, lamina_real *restrict sum,
                       lamina_real *restrict product) {
    const lamina_real *restrict mean = map->mean;
    const lamina_real *restrict scale = map->scale, *restrict bias = map->bias;
    const lamina_real least = map->bounds.least, most = map->bounds.most;
    for (; n >= 2; n -= 2, x += 2 * width, dy += 2 * width) {
        const lamina_real *x1 = x + width, *dy1 = dy + width;
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = x[i] - mean[i], b = x1[i] - mean[i];
            const lamina_real da = passed(bounded, least, most, a * scale[i] + bias[i], dy[i]);
            const lamina_real db = passed(bounded, least, most, b * scale[i] + bias[i], dy1[i]);
            sum[i] += da + db;
            product[i] += da * a + db * b;
        }
    }
    for (; n > 0; n--, x += width, dy += width) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = x[i] - mean[i];
            const lamina_real da = passed(bounded, least, most, a * scale[i] + bias[i], dy[i]);
            sum[i] += da;
            product[i] += da * a;
        }
    }
}

LAMINA__VECTOR_CLONES
static void add_products_plain(const lamina__channel_map *map, const lamina_real *x,
                               const lamina_real *dy, int64_t n, int64_t width, lamina_real *sum,
                               lamina_real *product) {
    add_products(0, map, x, dy, n, width, sum, product);
}

LAMINA__VECTOR_CLONES
static void add_products_bounded(const lamina__channel_map *map, const lamina_real *x,
                                 const lamina_real *dy, int64_t n, int64_t width, lamina_real *sum,
                                 lamina_real *product) {
    add_products(1, map, x, dy, n, width, sum, product);
}

void LAMINA__REAL_NAME(channels_products)(const lamina__channels *rows,
                                          const lamina__channel_map *map, const lamina_real *x,
                                          const lamina_real *dy, int64_t pixels, lamina_real *sum,
                                          lamina_real *product) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    clear(sum, rows->width);
    clear(product, rows->width);
    if (map->bounds.bounded) {
        add_products_bounded(map, x, dy, whole, rows->width, sum, product);
        add_products_bounded(map, x + at, dy + at, 1, rest, sum, product);
    } else {
        add_products_plain(map, x, dy, whole, rows->width, sum, product);
        add_products_plain(map, x + at, dy + at, 1, rest, sum, product);
    }
    fold(rows, sum);
    fold(rows, product);
}

/* ---- Maps ---------------------------------------------------------------------------------- */

BODY void map_rows(const int bounded, const lamina__channel_map *map, const lamina_real *restrict x,
                   lamina_real *restrict y, int64_t n, int64_t width) {
    const lamina_real *restrict mean = map->mean;
    const lamina_real *restrict scale = map->scale, *restrict bias = map->bias;
    const lamina_real least = map->bounds.least, most = map->bounds.most;
    for (; n > 0; n--, x += width, y += width) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real z = (x[i] - mean[i]) * scale[i] + bias[i];
            y[i] = inside(bounded, least, most, z);
        }
    }
}

LAMINA__VECTOR_CLONES
static void map_rows_plain(const lamina__channel_map *map, const lamina_real *x, lamina_real *y,
                           int64_t n, int64_t width) {
    map_rows(0, map, x, y, n, width);
}

LAMINA__VECTOR_CLONES
static void map_rows_bounded(const lamina__channel_map *map, const lamina_real *x, lamina_real *y,
                             int64_t n, int64_t width) {
    map_rows(1, map, x, y, n, width);
}

void LAMINA__REAL_NAME(channels_forward)(const lamina__channels *rows,
                                         const lamina__channel_map *map, const lamina_real *x,
                                         lamina_real *y, int64_t pixels) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    if (map->bounds.bounded) {
        map_rows_bounded(map, x, y, whole, rows->width);
        map_rows_bounded(map, x + at, y + at, 1, rest);
    } else {
        map_rows_plain(map, x, y, whole, rows->width);
        map_rows_plain(map, x + at, y + at, 1, rest);
    }
}

BODY void back_rows(const int bounded, const lamina__channel_map *map,
                    const lamina_real *restrict x, const lamina_real *restrict dy,
                    lamina_real *restrict dx, int64_t n, int64_t width) {
    const lamina_real *restrict mean = map->mean;
    const lamina_real *restrict scale = map->scale, *restrict bias = map->bias;
    const lamina_real least = map->bounds.least, most = map->bounds.most;
    const lamina_real *restrict slope = map->slope, *restrict offset = map->offset;
    for (; n > 0; n--, x += width, dy += width, dx += width) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = x[i] - mean[i];
            const lamina_real da = passed(bounded, least, most, a * scale[i] + bias[i], dy[i]);
            dx[i] = da * scale[i] + (a * slope[i] + offset[i]);
        }
    }
}

LAMINA__VECTOR_CLONES
static void back_rows_plain(const lamina__channel_map *map, const lamina_real *x,
                            const lamina_real *dy, lamina_real *dx, int64_t n, int64_t width) {
    back_rows(0, map, x, dy, dx, n, width);
}

LAMINA__VECTOR_CLONES
static void back_rows_bounded(const lamina__channel_map *map, const lamina_real *x,
                              const lamina_real *dy, lamina_real *dx, int64_t n, int64_t width) {
    back_rows(1, map, x, dy, dx, n, width);
}

/* Where mean and deviation are constants: x takes part through the bounds alone. */
BODY void scale_rows(const int bounded, const lamina__channel_map *map,
                     const lamina_real *restrict x, const lamina_real *restrict dy,
                     lamina_real *restrict dx, int64_t n, int64_t width) {
    const lamina_real *restrict mean = map->mean;
    const lamina_real *restrict scale = map->scale, *restrict bias = map->bias;
    const lamina_real least = map->bounds.least, most = map->bounds.most;
    for (; n > 0; n--, x += width, dy += width, dx += width) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++) {
            const lamina_real a = bounded ? x[i] - mean[i] : 0;
            dx[i] = passed(bounded, least, most, a * scale[i] + bias[i], dy[i]) * scale[i];
        }
    }
}

LAMINA__VECTOR_CLONES
static void scale_rows_plain(const lamina__channel_map *map, const lamina_real *x,
                             const lamina_real *dy, lamina_real *dx, int64_t n, int64_t width) {
    scale_rows(0, map, x, dy, dx, n, width);
}

LAMINA__VECTOR_CLONES
static void scale_rows_bounded(const lamina__channel_map *map, const lamina_real *x,
                               const lamina_real *dy, lamina_real *dx, int64_t n, int64_t width) {
    scale_rows(1, map, x, dy, dx, n, width);
}

static void back(const lamina__channel_map *map, const lamina_real *x, const lamina_real *dy,
                 lamina_real *dx, int64_t n, int64_t width) {
    if (map->slope != NULL) {
        (map->bounds.bounded ? back_rows_bounded : back_rows_plain)(map, x, dy, dx, n, width);
    } else {
        (map->bounds.bounded ? scale_rows_bounded : scale_rows_plain)(map, x, dy, dx, n, width);
    }
}

void LAMINA__REAL_NAME(channels_backward)(const lamina__channels *rows,
                                          const lamina__channel_map *map, const lamina_real *x,
                                          const lamina_real *dy, lamina_real *dx, int64_t pixels) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    back(map, x, dy, dx, whole, rows->width);
    back(map, x + at, dy + at, dx + at, 1, rest);
}
