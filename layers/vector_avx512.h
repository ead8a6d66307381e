/* Vectors of floats for AVX-512: what product_block.h and others of its kind are written in. For
 * files compiled for this instruction set. + - * / work on them, too. */
#ifndef LAMINA_LAYERS_VECTOR_AVX512_H
#define LAMINA_LAYERS_VECTOR_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
enum { WIDTH = 16 };

typedef __m512 vector;
typedef __mmask16 mask;

TARGET static inline mask mask_of(int n) {
    return _mm512_cmplt_epi32_mask(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_set1_epi32(n));
}

TARGET static inline vector load(const float *from) {
    return _mm512_loadu_ps(from);
}

TARGET static inline vector load_part(const float *from, mask m) {
    return _mm512_maskz_loadu_ps(m, from);
}

TARGET static inline void store(float *to, mask m, vector x) {
    _mm512_mask_storeu_ps(to, m, x);
}

/* All of it, which is cheaper. */
TARGET static inline void store_whole(float *to, vector x) {
    _mm512_storeu_ps(to, x);
}

TARGET static inline vector zero(void) {
    return _mm512_setzero_ps();
}

TARGET static inline vector broadcast(const float *from) {
    return _mm512_set1_ps(*from);
}

TARGET static inline vector multiply_add(vector x, vector y, vector sum) {
    return _mm512_fmadd_ps(x, y, sum);
}

TARGET static inline vector plus(vector x, vector y) {
    return _mm512_add_ps(x, y);
}

TARGET static inline float sum_of(vector x) {
    return _mm512_reduce_add_ps(x);
}

TARGET static inline vector splat(float x) {
    return _mm512_set1_ps(x);
}

/* max(0, x); a NaN stays a NaN. */
TARGET static inline vector positive(vector x) {
    return _mm512_max_ps(_mm512_setzero_ps(), x);
}

/* x where y is between the bounds, at neither, or not a number; elsewhere 0. A bound that is not a
 * number is none. */
TARGET static inline vector keep_between(vector x, vector y, vector least, vector most) {
    return _mm512_maskz_mov_ps(
        _mm512_cmp_ps_mask(y, least, _CMP_NLE_UQ) & _mm512_cmp_ps_mask(y, most, _CMP_NGE_UQ), x);
}

/* y, or the bound that it is beyond; likewise. */
TARGET static inline vector between(vector y, vector least, vector most) {
    return _mm512_min_ps(most, _mm512_max_ps(least, y));
}

#endif
