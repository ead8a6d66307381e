/* Vectors of floats for any processor, four floats in the compiler's own vectors (SSE, NEON, or
 * plain code): what product_block.h and others of its kind are written in. + - * / work on them,
 * too. */
#ifndef LAMINA_LAYERS_VECTOR_PORTABLE_H
#define LAMINA_LAYERS_VECTOR_PORTABLE_H

#include <stdint.h>
#include <string.h>

#define TARGET
enum { WIDTH = 4 };

typedef float vector __attribute__((vector_size(4 * sizeof(float))));
typedef int mask; /* how many of the first elements */

static inline mask mask_of(int n) {
    return n < WIDTH ? n : WIDTH;
}

static inline vector load(const float *from) {
    vector x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline vector load_part(const float *from, mask m) {
    vector x = {0};
    for (int i = 0; i < m; i++) {
        x[i] = from[i];
    }
    return x;
}

static inline void store(float *to, mask m, vector x) {
    if (m == WIDTH) {
        memcpy(to, &x, sizeof x);
        return;
    }
    for (int i = 0; i < m; i++) {
        to[i] = x[i];
    }
}

/* All of it, which is cheaper. */
static inline void store_whole(float *to, vector x) {
    memcpy(to, &x, sizeof x);
}

static inline vector zero(void) {
    return (vector){0};
}

static inline vector broadcast(const float *from) {
    return (vector){*from, *from, *from, *from};
}

static inline vector multiply_add(vector x, vector y, vector sum) {
    return x * y + sum;
}

static inline vector plus(vector x, vector y) {
    return x + y;
}

static inline float sum_of(vector x) {
    return (x[0] + x[2]) + (x[1] + x[3]);
}

static inline vector splat(float x) {
    return (vector){x, x, x, x};
}

/* max(0, x); a NaN stays a NaN. */
static inline vector positive(vector x) {
    for (int i = 0; i < WIDTH; i++) {
        x[i] = x[i] < 0 ? 0 : x[i];
    }
    return x;
}

/* x where y is between the bounds, at neither, or not a number; elsewhere 0. A bound that is not a
 * number is none. */
static inline vector keep_between(vector x, vector y, vector least, vector most) {
    for (int i = 0; i < WIDTH; i++) {
        x[i] = y[i] <= least[i] || y[i] >= most[i] ? 0 : x[i];
    }
    return x;
}

/* y, or the bound that it is beyond; likewise. */
static inline vector between(vector y, vector least, vector most) {
    for (int i = 0; i < WIDTH; i++) {
        y[i] = y[i] < least[i] ? least[i] : y[i] > most[i] ? most[i] : y[i];
    }
    return y;
}

#endif
