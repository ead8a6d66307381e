/* The sum of the shards' gradients: each is read once, and cleared for the next step in the same
 * loop, which costs nothing beside reading it; those of the next piece are fetched meanwhile. The
 * order of the sum is a tree over the shards and depends on nothing but their number. */
#include "graph/reduce.h"

#include "base/clones.h"
#include "base/fetch.h"

/* Zero times a number is zero, but for infinities and what is not a number: then it is not a
 * number, and so is the sum. One multiply-add for a vector, beside loads and stores that take
 * longer. */
LAMINA__VECTOR_CLONES
static bool take_one(float *restrict a, int64_t count, float *restrict sum) {
    float zero = 0;
#pragma omp simd reduction(+ : zero)
    for (int64_t i = 0; i < count; i++) {
        sum[i] = a[i];
        zero += a[i] * 0.0F;
        a[i] = 0;
    }
    return zero == 0;
}

LAMINA__VECTOR_CLONES
static bool take_two(float *restrict a, float *restrict b, int64_t count, float *restrict sum) {
    float zero = 0;
#pragma omp simd reduction(+ : zero)
    for (int64_t i = 0; i < count; i++) {
        const float both = a[i] + b[i];
        sum[i] = both;
        zero += both * 0.0F;
        a[i] = 0;
        b[i] = 0;
    }
    return zero == 0;
}

LAMINA__VECTOR_CLONES
static bool add(const float *restrict a, int64_t count, float *restrict sum) {
    float zero = 0;
#pragma omp simd reduction(+ : zero)
    for (int64_t i = 0; i < count; i++) {
        sum[i] += a[i];
        zero += sum[i] * 0.0F;
    }
    return zero == 0;
}

bool lamina__take_gradients(float *gradient, int64_t apart, int32_t shards, int64_t count,
                            float *sum) {
    const size_t bytes = (size_t)count * sizeof *gradient;
    if (shards == 1) {
        lamina__fetch(gradient + count, bytes);
        return take_one(gradient, count, sum);
    }
    if (shards == 2) {
        lamina__fetch(gradient + count, bytes);
        lamina__fetch(gradient + apart + count, bytes);
        return take_two(gradient, gradient + apart, count, sum);
    }
    float rest[LAMINA__PIECE];
    int32_t left =
        2; /* shards on the left of the root: the largest power of two that leaves some */
    while (2 * left < shards) {
        left *= 2;
    }
    (void)lamina__take_gradients(gradient, apart, left, count, sum);
    (void)lamina__take_gradients(gradient + left * apart, apart, shards - left, count, rest);
    return add(rest, count, sum);
}

LAMINA__VECTOR_CLONES
bool lamina__all_finite(const float *values, int64_t count) {
    float zero = 0;
#pragma omp simd reduction(+ : zero)
    for (int64_t i = 0; i < count; i++) {
        zero += values[i] * 0.0F;
    }
    return zero == 0;
}
