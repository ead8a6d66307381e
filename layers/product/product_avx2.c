/* The block products for AVX2 with FMA: blocks of 6 x 16 sums in 12 of 16
 * registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
enum { WIDTH = 8, ROWS = 6, VECTORS = 2 };

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

#include "layers/product/product_block.h"

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)
ROW_OF_BLOCKS(5)
ROW_OF_BLOCKS(6)

const lamina__product_isa lamina__product_avx2 = {.width = WIDTH,
                                                  .rows = ROWS,
                                                  .vectors = VECTORS,
                                                  .block = {{block_1_1, block_1_2},
                                                            {block_2_1, block_2_2},
                                                            {block_3_1, block_3_2},
                                                            {block_4_1, block_4_2},
                                                            {block_5_1, block_5_2},
                                                            {block_6_1, block_6_2}},
                                                  .dot = {{dot_1_1, dot_1_2},
                                                          {dot_2_1, dot_2_2},
                                                          {dot_3_1, dot_3_2},
                                                          {dot_4_1, dot_4_2},
                                                          {dot_5_1, dot_5_2},
                                                          {dot_6_1, dot_6_2}},
                                                  .sum_rows = sum_rows};

#endif
