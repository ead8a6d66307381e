/* Sums and maps channel by channel: channels.h. The loops along wide rows are in channels_block.h,
 * for each instruction set; in double, for the tests, they are here, in plain C. */
#include "layers/channels.h"

#if !LAMINA_LAYERS_F64
#include "layers/isa.h"
#endif

#include <string.h>

enum { FIRST = 8 }; /* pixels whose mean the sums begin with */

/* ---- In double ----------------------------------------------------------------------------- */

#if LAMINA_LAYERS_F64

static void moments(const double *x, int64_t rows, int64_t width, const double *shift, double *sum,
                    double *square) {
    for (int64_t i = 0; i < rows * width; i++) {
        const double a = x[i] - shift[i % width];
        sum[i % width] += a;
        square[i % width] += a * a;
    }
}

static double unbounded(const lamina__channel_map *map, double x, int64_t column) {
    return (x - map->mean[column]) * map->scale[column] + map->bias[column];
}

/* What comes back through the bounds, of y that is not kept. */
static double passed(const lamina__channel_map *map, double x, int64_t column, double dy) {
    const double y = map->bounds.bounded ? unbounded(map, x, column) : NAN;
    return y <= map->bounds.least || y >= map->bounds.most ? 0 : dy;
}

static void products(const lamina__channel_map *map, const double *x, const double *dy,
                     int64_t rows, int64_t width, double *sum, double *product) {
    for (int64_t i = 0; i < rows * width; i++) {
        const double d = passed(map, x[i], i % width, dy[i]);
        sum[i % width] += d;
        product[i % width] += d * (x[i] - map->mean[i % width]);
    }
}

/* A NaN stays one. */
static void forward(const lamina__channel_map *map, const double *x, double *y, int64_t rows,
                    int64_t width) {
    const lamina__channel_bounds *bounds = &map->bounds;
    for (int64_t i = 0; i < rows * width; i++) {
        const double z = unbounded(map, x[i], i % width);
        const double least = z < bounds->least ? bounds->least : z;
        y[i] = !bounds->bounded ? z : z > bounds->most ? bounds->most : least;
    }
}

static void backward(const lamina__channel_map *map, const double *x, const double *dy, double *dx,
                     int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows * width; i++) {
        const int64_t c = i % width;
        dx[i] = passed(map, x[i], c, dy[i]) * map->scale[c];
        if (map->slope != NULL) {
            dx[i] += (x[i] - map->mean[c]) * map->slope[c] + map->offset[c];
        }
    }
}

static const lamina__channels_isa plain = {
    .moments = moments, .products = products, .forward = forward, .backward = backward};

#endif

const lamina__channels_isa *LAMINA__REAL_NAME(channels_to_use)(void) {
#if LAMINA_LAYERS_F64
    return &plain;
#else
    return LAMINA__SET_TO_USE(lamina__channels);
#endif
}

/* ---- Wide rows ----------------------------------------------------------------------------- */

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

LAMINA__VECTOR_CLONES
static void mean_of_first(const lamina__channels *rows, const lamina_real *restrict x,
                          int64_t pixels, lamina_real *restrict mean) {
    const int64_t channels = rows->channels, n = pixels < FIRST ? pixels : FIRST;
    memcpy(mean, x, (size_t)channels * sizeof *mean);
    for (int64_t i = 1; i < n; i++) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            mean[c] += x[i * channels + c];
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        mean[c] /= (lamina_real)n;
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
    rows->isa->moments(x, whole, rows->width, shift, sum, square);
    rows->isa->moments(x + whole * rows->width, rest > 0, rest, shift, sum, square);
    fold(rows, sum);
    fold(rows, square);
}

void LAMINA__REAL_NAME(channels_products)(const lamina__channels *rows,
                                          const lamina__channel_map *map, const lamina_real *x,
                                          const lamina_real *dy, int64_t pixels, lamina_real *sum,
                                          lamina_real *product) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    clear(sum, rows->width);
    clear(product, rows->width);
    rows->isa->products(map, x, dy, whole, rows->width, sum, product);
    rows->isa->products(map, x + at, dy + at, rest > 0, rest, sum, product);
    fold(rows, sum);
    fold(rows, product);
}

void LAMINA__REAL_NAME(channels_forward)(const lamina__channels *rows,
                                         const lamina__channel_map *map, const lamina_real *x,
                                         lamina_real *y, int64_t pixels) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    rows->isa->forward(map, x, y, whole, rows->width);
    rows->isa->forward(map, x + at, y + at, rest > 0, rest);
}

void LAMINA__REAL_NAME(channels_backward)(const lamina__channels *rows,
                                          const lamina__channel_map *map, const lamina_real *x,
                                          const lamina_real *dy, lamina_real *dx, int64_t pixels) {
    const int64_t whole = pixels / rows->pixels, rest = pixels % rows->pixels * rows->channels;
    const int64_t at = whole * rows->width;
    rows->isa->backward(map, x, dy, dx, whole, rows->width);
    rows->isa->backward(map, x + at, dy + at, dx + at, rest > 0, rest);
}
