/* Philox in AVX-512 and AVX2. The counters' words, 32 bits each, are the lower halves of lanes of
 * 64: one instruction multiplies those and gives all 64 bits, which a compiler does not find by
 * itself. The upper halves hold what is left of products and are cut off at the end. */
#include "base/philox_wide.h"

#if defined(__x86_64__)

#include <immintrin.h>

/* ---- AVX-512: 8 blocks in a vector, all 4 vectors at once ---- */

enum { VECTORS = LAMINA__PHILOX_BLOCKS / 8 };

/* Words a, b, c, d of 8 blocks to 32 numbers, block after block. */
__attribute__((target("avx512f"))) static inline void store8(__m512i a, __m512i b, __m512i c,
                                                             __m512i d, uint32_t *out) {
    const __m512i low = _mm512_set1_epi64(0xffffffff);
    const __m512i ab = _mm512_or_si512(_mm512_and_si512(a, low), _mm512_slli_epi64(b, 32));
    const __m512i cd = _mm512_or_si512(_mm512_and_si512(c, low), _mm512_slli_epi64(d, 32));
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i last = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    _mm512_storeu_si512(out, _mm512_permutex2var_epi64(ab, first, cd));
    _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(ab, last, cd));
}

__attribute__((target("avx512f"))) void
lamina__philox_avx512(const lamina__stream *stream, uint64_t number,
                      uint32_t out[LAMINA__PHILOX_NUMBERS]) {
    const __m512i multiplier0 = _mm512_set1_epi64(LAMINA__PHILOX_MULTIPLIER0);
    const __m512i multiplier1 = _mm512_set1_epi64(LAMINA__PHILOX_MULTIPLIER1);
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    __m512i c0[VECTORS], c1[VECTORS], c2[VECTORS], c3[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
        c0[v] = _mm512_add_epi64(_mm512_set1_epi64((long long)(number + 8 * (uint64_t)v)),
                                 _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
        c1[v] = _mm512_srli_epi64(c0[v], 32);
        c2[v] = _mm512_set1_epi64((long long)stream->high);
        c3[v] = _mm512_srli_epi64(c2[v], 32);
    }
    for (int round = 0; round < LAMINA__PHILOX_ROUNDS; round++) {
        const __m512i key0 = _mm512_set1_epi64(k0), key1 = _mm512_set1_epi64(k1);
        for (int v = 0; v < VECTORS; v++) {
            const __m512i p0 = _mm512_mul_epu32(c0[v], multiplier0);
            const __m512i p1 = _mm512_mul_epu32(c2[v], multiplier1);
            c0[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1[v], key0, 0x96);
            c1[v] = p1; /* 0x96: the exclusive or of three */
            c2[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3[v], key1, 0x96);
            c3[v] = p0;
        }
        k0 += LAMINA__PHILOX_KEY_STEP0;
        k1 += LAMINA__PHILOX_KEY_STEP1;
    }
    for (int v = 0; v < VECTORS; v++) {
        store8(c0[v], c1[v], c2[v], c3[v], out + 32 * v);
    }
}

/* ---- AVX2: 4 blocks in a vector, 2 vectors at once, which is what the registers hold ---- */

__attribute__((target("avx2"))) static inline void store4(__m256i a, __m256i b, __m256i c,
                                                          __m256i d, uint32_t *out) {
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    const __m256i ab = _mm256_or_si256(_mm256_and_si256(a, low), _mm256_slli_epi64(b, 32));
    const __m256i cd = _mm256_or_si256(_mm256_and_si256(c, low), _mm256_slli_epi64(d, 32));
    const __m256i even = _mm256_unpacklo_epi64(ab, cd); /* blocks 0 and 2 */
    const __m256i odd = _mm256_unpackhi_epi64(ab, cd);
    _mm256_storeu_si256((__m256i *)(void *)out, _mm256_permute2x128_si256(even, odd, 0x20));
    _mm256_storeu_si256((__m256i *)(void *)(out + 8), _mm256_permute2x128_si256(even, odd, 0x31));
}

__attribute__((target("avx2"))) static void eight_blocks(const lamina__stream *stream,
                                                         uint64_t number, uint32_t out[32]) {
    const __m256i multiplier0 = _mm256_set1_epi64x(LAMINA__PHILOX_MULTIPLIER0);
    const __m256i multiplier1 = _mm256_set1_epi64x(LAMINA__PHILOX_MULTIPLIER1);
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    __m256i c0[2], c1[2], c2[2], c3[2];
    for (int v = 0; v < 2; v++) {
        c0[v] = _mm256_add_epi64(_mm256_set1_epi64x((long long)(number + 4 * (uint64_t)v)),
                                 _mm256_setr_epi64x(0, 1, 2, 3));
        c1[v] = _mm256_srli_epi64(c0[v], 32);
        c2[v] = _mm256_set1_epi64x((long long)stream->high);
        c3[v] = _mm256_srli_epi64(c2[v], 32);
    }
    for (int round = 0; round < LAMINA__PHILOX_ROUNDS; round++) {
        const __m256i key0 = _mm256_set1_epi64x(k0), key1 = _mm256_set1_epi64x(k1);
        for (int v = 0; v < 2; v++) {
            const __m256i p0 = _mm256_mul_epu32(c0[v], multiplier0);
            const __m256i p1 = _mm256_mul_epu32(c2[v], multiplier1);
            c0[v] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1[v]), key0);
            c1[v] = p1;
            c2[v] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3[v]), key1);
            c3[v] = p0;
        }
        k0 += LAMINA__PHILOX_KEY_STEP0;
        k1 += LAMINA__PHILOX_KEY_STEP1;
    }
    for (int v = 0; v < 2; v++) {
        store4(c0[v], c1[v], c2[v], c3[v], out + 16 * v);
    }
}

void lamina__philox_avx2(const lamina__stream *stream, uint64_t number,
                         uint32_t out[LAMINA__PHILOX_NUMBERS]) {
    for (int i = 0; i < LAMINA__PHILOX_BLOCKS; i += 8) {
        eight_blocks(stream, number + (uint64_t)i, out + 4 * i);
    }
}

#endif
