/* The sum of the shards' gradients: its order, what it clears, and what is not finite. */
#include "graph/reduce.h"
#include "support.h"

#include <float.h>
#include <math.h>

enum { SHARDS = 9, APART = LAMINA__PIECE + 16 };

static float gradient[SHARDS * APART], before[SHARDS * APART], sum[LAMINA__PIECE + 1];

/* Numbers whose sum depends on the order: of very different sizes. */
static void fill(void) {
    unsigned seed = 1;
    for (int i = 0; i < SHARDS * APART; i++) {
        seed = seed * 1664525U + 1013904223U;
        gradient[i] = ldexpf((float)(seed >> 8) / 8388608.0F - 1.0F, (int)(seed % 23) - 11);
        before[i] = gradient[i];
    }
}

/* Shards s, s + 1, ... added by pairs at distances 1, 2, 4 ..., element i. */
static float tree(int shards, int64_t i) {
    float value[SHARDS];
    for (int s = 0; s < shards; s++) {
        value[s] = before[s * APART + i];
    }
    for (int distance = 1; distance < shards; distance *= 2) {
        for (int s = 0; s + distance < shards; s += 2 * distance) {
            value[s] += value[s + distance];
        }
    }
    return value[0];
}

static void check(int shards, int64_t first, int64_t count) {
    int64_t wrong = 0;
    fill();
    sum[count] = 7;
    lamina__take_gradients(gradient + first, APART, shards, count, sum);
    for (int64_t i = 0; i < count; i++) {
        wrong += sum[i] != tree(shards, first + i);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(sum[count], 7);
    for (int64_t i = 0; i < SHARDS * APART; i++) {
        const int64_t at = i % APART;
        const bool taken = i / APART < shards && at >= first && at < first + count;
        wrong += gradient[i] != (taken ? 0 : before[i]);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void sums_in_a_tree(void) {
    static const int64_t counts[] = {1, 15, 16, 17, 33, 100, LAMINA__PIECE};
    for (int shards = 1; shards <= SHARDS; shards++) {
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
            check(shards, 0, counts[i]);
            check(shards, 3, counts[i]);
        }
    }
}

static void tells_finite(void) {
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    static const float good[] = {0, -0.0F, FLT_MAX, -FLT_MAX, FLT_MIN, FLT_TRUE_MIN};
    float values[70];
    for (int n = 1; n <= 70; n++) {
        for (int i = 0; i < n; i++) {
            values[i] = good[i % 6];
        }
        CU_ASSERT(lamina__all_finite(values, n));
        values[n / 3] = bad[n % 3];
        CU_ASSERT(!lamina__all_finite(values, n));
        values[n / 3] = 1;
        values[n - 1] = bad[n % 3];
        CU_ASSERT(!lamina__all_finite(values, n));
    }
    CU_ASSERT(lamina__all_finite(values, 0));
}

LAMINA_TESTS({"sums in a tree", sums_in_a_tree}, {"finite", tells_finite})
