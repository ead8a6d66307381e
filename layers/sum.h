/* The sum of a row of numbers, in vectors. It is kept by lanes, so its order is that of this file
 * whatever vectors the compiler makes of it. */
#ifndef LAMINA_LAYERS_SUM_H
#define LAMINA_LAYERS_SUM_H

#include "layers/real.h"

static inline lamina_real lamina__sum(const lamina_real *x, int64_t n) {
    enum { SUMS = 16 };
    lamina_real sum[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS) {
        for (int l = 0; l < SUMS; l++) {
            sum[l] += x[i + l];
        }
    }
    for (; i < n; i++) {
        sum[i % SUMS] += x[i];
    }
    for (int half = SUMS / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            sum[l] += sum[l + half];
        }
    }
    return sum[0];
}

#endif
