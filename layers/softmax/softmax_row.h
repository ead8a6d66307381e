/* exp(x - max(x)) of a row of scores and its sum, in vectors: what softmax and softmax_loss have in
 * common. Maximum and sum are kept by lanes, so their order is that of this file whatever vectors
 * the compiler makes of it. */
#ifndef LAMINA_LAYERS_SOFTMAX_ROW_H
#define LAMINA_LAYERS_SOFTMAX_ROW_H

#include "layers/vector_math.h"

enum { LAMINA__LANES = 16 };

typedef struct lamina__softmax_sum {
    lamina_real max, sum;
} lamina__softmax_sum;

/* The last scores of a row, filled up with what adds nothing. */
static inline void lamina__fill_lanes(const lamina_real *x, int64_t n, lamina_real *lanes) {
    for (int64_t l = 0; l < LAMINA__LANES; l++) {
        lanes[l] = l < n ? x[l] : -(lamina_real)INFINITY;
    }
}

static inline void lamina__max_lanes(const lamina_real *x, lamina_real *max) {
    for (int l = 0; l < LAMINA__LANES; l++) {
        max[l] = x[l] > max[l] ? x[l] : max[l];
    }
}

static inline void lamina__exp_lanes(const lamina_real *x, lamina_real max, lamina_real *e,
                                     lamina_real *sum) {
    for (int l = 0; l < LAMINA__LANES; l++) {
        e[l] = lamina__vector_exp(x[l] - max);
        sum[l] += e[l];
    }
}

/* e: n numbers, may be x; NULL: the sum alone is wanted. A NaN in x makes the sum NaN. */
static inline lamina__softmax_sum lamina__softmax_row(const lamina_real *x, int64_t n,
                                                      lamina_real *e) {
    const int64_t whole = n / LAMINA__LANES * LAMINA__LANES;
    lamina_real last[LAMINA__LANES], max[LAMINA__LANES], sum[LAMINA__LANES] = {0};
    lamina_real lanes[LAMINA__LANES];

    lamina__fill_lanes(x + whole, n - whole, last);
    memcpy(max, last, sizeof max);
    for (int64_t k = 0; k < whole; k += LAMINA__LANES) {
        lamina__max_lanes(x + k, max);
    }
    for (int half = LAMINA__LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            max[l] = max[l + half] > max[l] ? max[l + half] : max[l];
        }
    }
    for (int64_t k = 0; k < whole; k += LAMINA__LANES) {
        lamina__exp_lanes(x + k, max[0], lanes, sum);
        if (e != NULL) {
            memcpy(e + k, lanes, sizeof lanes);
        }
    }
    lamina__exp_lanes(last, max[0], lanes, sum);
    if (e != NULL) {
        memcpy(e + whole, lanes, (size_t)(n - whole) * sizeof *e);
    }
    for (int half = LAMINA__LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            sum[l] += sum[l + half];
        }
    }
    return (lamina__softmax_sum){max[0], sum[0]};
}

#endif
