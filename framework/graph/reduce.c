/* The sum of the shards' gradients: each is read once, and cleared for the next step in the same
 * loop, which costs nothing beside reading it; those of the next piece are fetched meanwhile. The
 * order of the sum is a tree over the shards and depends on nothing but their number. */
#include "graph/reduce.h"

#include "base/clones.h"
#include "base/fetch.h"

#include <string.h>

LAMINA__VECTOR_CLONES
static void take_one(float *restrict a, int64_t count, float *restrict sum) {
    for (int64_t i = 0; i < count; i++) {
        sum[i] = a[i];
        a[i] = 0;
    }
}

LAMINA__VECTOR_CLONES
static void take_two(float *restrict a, float *restrict b, int64_t count, float *restrict sum) {
    for (int64_t i = 0; i < count; i++) {
        sum[i] = a[i] + b[i];
        a[i] = 0;
        b[i] = 0;
    }
}

LAMINA__VECTOR_CLONES
static void add(const float *restrict a, int64_t count, float *restrict sum) {
    for (int64_t i = 0; i < count; i++) {
        sum[i] += a[i];
    }
}

void lamina__take_gradients(float *gradient, int64_t apart, int32_t shards, int64_t count,
                            float *sum) {
    const size_t bytes = (size_t)count * sizeof *gradient;
    if (shards == 1) {
        lamina__fetch(gradient + count, bytes);
        take_one(gradient, count, sum);
        return;
    }
    if (shards == 2) {
        lamina__fetch(gradient + count, bytes);
        lamina__fetch(gradient + apart + count, bytes);
        take_two(gradient, gradient + apart, count, sum);
        return;
    }
    float rest[LAMINA__PIECE];
    int32_t left =
        2; /* shards on the left of the root: the largest power of two that leaves some */
    while (2 * left < shards) {
        left *= 2;
    }
    lamina__take_gradients(gradient, apart, left, count, sum);
    lamina__take_gradients(gradient + left * apart, apart, shards - left, count, rest);
    add(rest, count, sum);
}

/* All exponent bits set: infinity or not a number. An integer test, so that it vectorises. */
LAMINA__VECTOR_CLONES
bool lamina__all_finite(const float *values, int64_t count) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
    }
    return bad == 0;
}
