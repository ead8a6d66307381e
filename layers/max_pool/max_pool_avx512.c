/* Max pooling in AVX-512: sixteen channels at a time. */
#include "layers/max_pool/max_pool_vector.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
enum { WIDTH = 16 };

typedef __m512 vector;
typedef __m128i codes;
typedef __mmask16 mask;

TARGET static inline vector load(const float *from) {
    return _mm512_loadu_ps(from);
}

TARGET static inline void store(float *to, vector x) {
    _mm512_storeu_ps(to, x);
}

TARGET static inline codes load_codes(const uint8_t *from) {
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}

TARGET static inline void store_codes(uint8_t *to, codes x) {
    _mm_storeu_si128((__m128i *)(void *)to, x);
}

TARGET static inline codes same_code(uint8_t code) {
    return _mm_set1_epi8((char)code);
}

TARGET static inline vector zero(void) {
    return _mm512_setzero_ps();
}

/* Not (x > best), and x is a number. */
TARGET static inline mask stays(vector best, vector x) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(x, x, _CMP_ORD_Q), x, best, _CMP_NGT_UQ);
}

TARGET static inline vector choose(mask m, vector a, vector b) {
    return _mm512_mask_mov_ps(b, m, a);
}

TARGET static inline codes choose_codes(mask m, codes a, codes b) {
    return _mm_mask_mov_epi8(b, m, a);
}

TARGET static inline mask is_code(codes x, codes code) {
    return _mm_cmpeq_epi8_mask(x, code);
}

TARGET static inline vector only(mask m, vector x) {
    return _mm512_maskz_mov_ps(m, x);
}

TARGET static inline vector add_only(mask m, vector sum, vector x) {
    return _mm512_mask_add_ps(sum, m, sum, x);
}

#include "layers/max_pool/max_pool_block.h"

const lamina__pool_isa lamina__pool_avx512 = {
    .width = WIDTH, .largest = largest, .spread = spread, .collect = collect};

#endif
