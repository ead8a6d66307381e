/* The loops of channels.h, for the instruction set of the file that includes this, after
 * layers/vector_<instruction set>.h.
 *
 * Sums go down the rows, a few vectors of columns at a time, so that they stay in registers; some
 * rows after the other, which stay in the first-level cache meanwhile. */
#include "layers/vector_some.h"

/* Vectors of columns whose sums are in registers, and floats of rows that are gone through for all
 * columns before the next. */
enum { COLUMNS = 64 / WIDTH < 8 ? 64 / WIDTH : 8, ROW_FLOATS = 4096 };

/* At least one. */
static int64_t rows_at_a_time(int64_t width) {
    return ROW_FLOATS / width + 1;
}

/* ---- Moments ------------------------------------------------------------------------------- */

INLINE void moments_down(const int vectors, const int partial, mask m, const float *x, int64_t n,
                         int64_t width, const float *shift, float *sum, float *square) {
    vector s[COLUMNS], q[COLUMNS], from[COLUMNS];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        s[v] = load_some(partial, sum + v * WIDTH, m);
        q[v] = load_some(partial, square + v * WIDTH, m);
        from[v] = load_some(partial, shift + v * WIDTH, m);
    }
    for (; n >= 2; n -= 2, x += 2 * width) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const vector a = load_some(partial, x + v * WIDTH, m) - from[v];
            const vector b = load_some(partial, x + width + v * WIDTH, m) - from[v];
            s[v] = plus(s[v], plus(a, b));
            q[v] = plus(q[v], multiply_add(a, a, b * b));
        }
    }
    if (n > 0) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const vector a = load_some(partial, x + v * WIDTH, m) - from[v];
            s[v] = plus(s[v], a);
            q[v] = multiply_add(a, a, q[v]);
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        store_some(partial, sum + v * WIDTH, m, s[v]);
        store_some(partial, square + v * WIDTH, m, q[v]);
    }
}

TARGET static void moments(const float *x, int64_t rows, int64_t width, const float *shift,
                           float *sum, float *square) {
    const mask all = mask_of(WIDTH);
    for (int64_t n = 0; rows > 0; rows -= n, x += n * width) {
        int64_t i = 0;
        n = rows_at_a_time(width) < rows ? rows_at_a_time(width) : rows;
        for (; i + COLUMNS * WIDTH <= width; i += COLUMNS * WIDTH) {
            moments_down(COLUMNS, 0, all, x + i, n, width, shift + i, sum + i, square + i);
        }
        for (; i + WIDTH <= width; i += WIDTH) {
            moments_down(1, 0, all, x + i, n, width, shift + i, sum + i, square + i);
        }
        if (i < width) {
            moments_down(1, 1, mask_of((int)(width - i)), x + i, n, width, shift + i, sum + i,
                         square + i);
        }
    }
}

/* ---- Products ------------------------------------------------------------------------------ */

/* Maps are passed by value: no vector that is stored can lie in them then. Of a vector of columns:
 * what is done to x, and where that is at its bounds. */
typedef struct map_vectors {
    vector mean, scale, bias, least, most;
} map_vectors;

INLINE map_vectors map_at(const int bounded, const int partial, mask m,
                          const lamina__channel_map map, int64_t i) {
    map_vectors c = {.mean = load_some(partial, map.mean + i, m)};
    if (bounded) {
        c.scale = load_some(partial, map.scale + i, m);
        c.bias = load_some(partial, map.bias + i, m);
        c.least = splat(map.bounds.least);
        c.most = splat(map.bounds.most);
    }
    return c;
}

/* What comes back through the bounds of the unbounded y, which is not kept. */
INLINE vector passed(const int bounded, const map_vectors *c, vector from_mean, vector dy) {
    return bounded ? keep_between(dy, multiply_add(from_mean, c->scale, c->bias), c->least, c->most)
                   : dy;
}

INLINE void products_down(const int bounded, const int vectors, const int partial, mask m,
                          const lamina__channel_map map, int64_t at, const float *x,
                          const float *dy, int64_t n, int64_t width, float *sum, float *product) {
    vector s[COLUMNS], p[COLUMNS];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        s[v] = load_some(partial, sum + v * WIDTH, m);
        p[v] = load_some(partial, product + v * WIDTH, m);
    }
    for (; n >= 2; n -= 2, x += 2 * width, dy += 2 * width) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const map_vectors c = map_at(bounded, partial, m, map, at + v * WIDTH);
            const vector a = load_some(partial, x + v * WIDTH, m) - c.mean;
            const vector b = load_some(partial, x + width + v * WIDTH, m) - c.mean;
            const vector da = passed(bounded, &c, a, load_some(partial, dy + v * WIDTH, m));
            const vector db = passed(bounded, &c, b, load_some(partial, dy + width + v * WIDTH, m));
            s[v] = plus(s[v], plus(da, db));
            p[v] = plus(p[v], multiply_add(da, a, db * b));
        }
    }
    if (n > 0) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const map_vectors c = map_at(bounded, partial, m, map, at + v * WIDTH);
            const vector a = load_some(partial, x + v * WIDTH, m) - c.mean;
            const vector da = passed(bounded, &c, a, load_some(partial, dy + v * WIDTH, m));
            s[v] = plus(s[v], da);
            p[v] = multiply_add(da, a, p[v]);
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        store_some(partial, sum + v * WIDTH, m, s[v]);
        store_some(partial, product + v * WIDTH, m, p[v]);
    }
}

INLINE void products_of_rows(const int bounded, const lamina__channel_map map, const float *x,
                             const float *dy, int64_t rows, int64_t width, float *sum,
                             float *product) {
    const mask all = mask_of(WIDTH);
    for (int64_t n = 0; rows > 0; rows -= n, x += n * width, dy += n * width) {
        int64_t i = 0;
        n = rows_at_a_time(width) < rows ? rows_at_a_time(width) : rows;
        for (; i + COLUMNS * WIDTH <= width; i += COLUMNS * WIDTH) {
            products_down(bounded, COLUMNS, 0, all, map, i, x + i, dy + i, n, width, sum + i,
                          product + i);
        }
        for (; i + WIDTH <= width; i += WIDTH) {
            products_down(bounded, 1, 0, all, map, i, x + i, dy + i, n, width, sum + i,
                          product + i);
        }
        if (i < width) {
            products_down(bounded, 1, 1, mask_of((int)(width - i)), map, i, x + i, dy + i, n, width,
                          sum + i, product + i);
        }
    }
}

TARGET static void products(const lamina__channel_map *map, const float *x, const float *dy,
                            int64_t rows, int64_t width, float *sum, float *product) {
    if (map->bounds.bounded) {
        products_of_rows(1, *map, x, dy, rows, width, sum, product);
    } else {
        products_of_rows(0, *map, x, dy, rows, width, sum, product);
    }
}

/* ---- Maps ---------------------------------------------------------------------------------- */

INLINE void map_vector(const int bounded, const int partial, mask m, const lamina__channel_map map,
                       int64_t i, const float *x, float *y) {
    const map_vectors c = map_at(1, partial, m, map, i);
    const vector a = load_some(partial, x + i, m) - c.mean;
    const vector z = multiply_add(a, c.scale, c.bias);
    store_some(partial, y + i, m, bounded ? between(z, c.least, c.most) : z);
}

INLINE void map_rows(const int bounded, const lamina__channel_map map, const float *x, float *y,
                     int64_t rows, int64_t width) {
    const int64_t whole = width / WIDTH * WIDTH;
    for (; rows > 0; rows--, x += width, y += width) {
        for (int64_t i = 0; i < whole; i += WIDTH) {
            map_vector(bounded, 0, mask_of(WIDTH), map, i, x, y);
        }
        if (whole < width) {
            map_vector(bounded, 1, mask_of((int)(width - whole)), map, whole, x, y);
        }
    }
}

TARGET static void forward(const lamina__channel_map *map, const float *x, float *y, int64_t rows,
                           int64_t width) {
    if (map->bounds.bounded) {
        map_rows(1, *map, x, y, rows, width);
    } else {
        map_rows(0, *map, x, y, rows, width);
    }
}

/* slopes: dx follows x, too, as mean and deviation are the batch's; where they are constants x
 * takes part through the bounds alone. */
INLINE void back_vector(const int bounded, const int slopes, const int partial, mask m,
                        const lamina__channel_map map, int64_t i, const float *x, const float *dy,
                        float *dx) {
    const map_vectors c = map_at(1, partial, m, map, i);
    vector a = zero();
    if (bounded || slopes) {
        a = load_some(partial, x + i, m) - c.mean;
    }
    const vector d = passed(bounded, &c, a, load_some(partial, dy + i, m));
    if (slopes) {
        const vector slope = load_some(partial, map.slope + i, m);
        const vector offset = load_some(partial, map.offset + i, m);
        store_some(partial, dx + i, m, multiply_add(d, c.scale, multiply_add(a, slope, offset)));
    } else {
        store_some(partial, dx + i, m, d * c.scale);
    }
}

INLINE void back_rows(const int bounded, const int slopes, const lamina__channel_map map,
                      const float *x, const float *dy, float *dx, int64_t rows, int64_t width) {
    const int64_t whole = width / WIDTH * WIDTH;
    for (; rows > 0; rows--, x += width, dy += width, dx += width) {
        for (int64_t i = 0; i < whole; i += WIDTH) {
            back_vector(bounded, slopes, 0, mask_of(WIDTH), map, i, x, dy, dx);
        }
        if (whole < width) {
            back_vector(bounded, slopes, 1, mask_of((int)(width - whole)), map, whole, x, dy, dx);
        }
    }
}

TARGET static void backward(const lamina__channel_map *map, const float *x, const float *dy,
                            float *dx, int64_t rows, int64_t width) {
    const int slopes = map->slope != NULL;
    if (map->bounds.bounded && slopes) {
        back_rows(1, 1, *map, x, dy, dx, rows, width);
    } else if (map->bounds.bounded) {
        back_rows(1, 0, *map, x, dy, dx, rows, width);
    } else if (slopes) {
        back_rows(0, 1, *map, x, dy, dx, rows, width);
    } else {
        back_rows(0, 0, *map, x, dy, dx, rows, width);
    }
}
