/* Vectors of floats for AVX2 with FMA: what product_block.h and others of its kind are written in.
 * For files compiled for this instruction set. + - * / work on them, too. */
#ifndef LAMINA_LAYERS_VECTOR_AVX2_H
#define LAMINA_LAYERS_VECTOR_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx2,fma")))
enum { WIDTH = 8 };

typedef __m256 vector;
typedef __m256i mask;

TARGET static inline mask mask_of(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

TARGET static inline vector load(const float *from) {
    return _mm256_loadu_ps(from);
}

TARGET static inline vector load_part(const float *from, mask m) {
    return _mm256_maskload_ps(from, m);
}

TARGET static inline void store(float *to, mask m, vector x) {
    _mm256_maskstore_ps(to, m, x);
}

/* All of it, which is cheaper. */
TARGET static inline void store_whole(float *to, vector x) {
    _mm256_storeu_ps(to, x);
}

TARGET static inline vector zero(void) {
    return _mm256_setzero_ps();
}

TARGET static inline vector broadcast(const float *from) {
    return _mm256_broadcast_ss(from);
}

TARGET static inline vector multiply_add(vector x, vector y, vector sum) {
    return _mm256_fmadd_ps(x, y, sum);
}

TARGET static inline vector plus(vector x, vector y) {
    return _mm256_add_ps(x, y);
}

TARGET static inline float sum_of(vector x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

TARGET static inline vector splat(float x) {
    return _mm256_set1_ps(x);
}

/* max(0, x); a NaN stays a NaN. */
TARGET static inline vector positive(vector x) {
    return _mm256_max_ps(_mm256_setzero_ps(), x);
}

/* x where y is between the bounds, at neither, or not a number; elsewhere 0. A bound that is not a
 * number is none. */
TARGET static inline vector keep_between(vector x, vector y, vector least, vector most) {
    return _mm256_and_ps(x, _mm256_and_ps(_mm256_cmp_ps(y, least, _CMP_NLE_UQ),
                                          _mm256_cmp_ps(y, most, _CMP_NGE_UQ)));
}

/* y, or the bound that it is beyond; likewise. */
TARGET static inline vector between(vector y, vector least, vector most) {
    return _mm256_min_ps(most, _mm256_max_ps(least, y));
}

#endif
