/* Max pooling in AVX2: eight channels at a time. */
#include "layers/max_pool/max_pool_vector.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
enum { WIDTH = 8 };

typedef __m256 vector;
typedef __m256i codes; /* as 32-bit numbers, which is what the vectors' masks are */
typedef __m256 mask;

TARGET static inline vector load(const float *from) {
    return _mm256_loadu_ps(from);
}

TARGET static inline void store(float *to, vector x) {
    _mm256_storeu_ps(to, x);
}

TARGET static inline codes load_codes(const uint8_t *from) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
}

TARGET static inline void store_codes(uint8_t *to, codes x) {
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi16(words, words));
}

TARGET static inline codes same_code(uint8_t code) {
    return _mm256_set1_epi32(code);
}

TARGET static inline vector zero(void) {
    return _mm256_setzero_ps();
}

/* Not (x > best), and x is a number. */
TARGET static inline mask stays(vector best, vector x) {
    return _mm256_and_ps(_mm256_cmp_ps(x, x, _CMP_ORD_Q), _mm256_cmp_ps(x, best, _CMP_NGT_UQ));
}

TARGET static inline vector choose(mask m, vector a, vector b) {
    return _mm256_blendv_ps(b, a, m);
}

TARGET static inline codes choose_codes(mask m, codes a, codes b) {
    return _mm256_blendv_epi8(b, a, _mm256_castps_si256(m));
}

TARGET static inline mask is_code(codes x, codes code) {
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(x, code));
}

TARGET static inline vector only(mask m, vector x) {
    return _mm256_and_ps(m, x);
}

TARGET static inline vector add_only(mask m, vector sum, vector x) {
    return _mm256_add_ps(sum, _mm256_and_ps(m, x));
}

#include "layers/max_pool/max_pool_block.h"

const lamina__pool_isa lamina__pool_avx2 = {
    .width = WIDTH, .largest = largest, .spread = spread, .collect = collect};

#endif
