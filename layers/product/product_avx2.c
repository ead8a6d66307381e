/* The block products for AVX2 with FMA: blocks of 6 x 16 sums in 12 of 16
 * registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx2.h"

enum { ROWS = 6, VECTORS = 2, NARROW = VECTORS, HAS_HALVES = 0 };

TARGET static inline vector multiply_add_half(vector x, vector y, vector sum) {
    return multiply_add(x, y, sum);
}

#include "layers/product/product_block.h"

/* Within 128-bit lanes first: u[4g + k] is column 4L + k of rows 4g .. 4g+3 in lane L. */
TARGET static void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    __m256 t[8], u[8];
    UNROLL
    for (int i = 0; i < 4; i++) {
        const __m256 a = load(from + 2 * i * from_row), b = load(from + (2 * i + 1) * from_row);
        t[2 * i] = _mm256_unpacklo_ps(a, b);
        t[2 * i + 1] = _mm256_unpackhi_ps(a, b);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        const int at = i / 2 * 4 + i % 2;
        const __m256d a = _mm256_castps_pd(t[at]), b = _mm256_castps_pd(t[at + 2]);
        u[i * 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
        u[i * 2 + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    }
    UNROLL
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_ps(to + k * to_row, _mm256_permute2f128_ps(u[k], u[4 + k], 0x20));
        _mm256_storeu_ps(to + (4 + k) * to_row, _mm256_permute2f128_ps(u[k], u[4 + k], 0x31));
    }
}

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)
ROW_OF_BLOCKS(5)
ROW_OF_BLOCKS(6)

#define TABLE_OF(kind)                                                                             \
    {                                                                                              \
        {kind##_1_1, kind##_1_2}, {kind##_2_1, kind##_2_2}, {kind##_3_1, kind##_3_2},              \
            {kind##_4_1, kind##_4_2}, {kind##_5_1, kind##_5_2}, {                                  \
            kind##_6_1, kind##_6_2                                                                 \
        }                                                                                          \
    }

const lamina__product_isa lamina__product_avx2 = {.width = WIDTH,
                                                  .rows = ROWS,
                                                  .vectors = VECTORS,
                                                  .wide = VECTORS,
                                                  .most_rows = {ROWS, ROWS},
                                                  .block = TABLE_OF(block),
                                                  .even = TABLE_OF(even),
                                                  .dot = {{dot_1_1, dot_1_2},
                                                          {dot_2_1, dot_2_2},
                                                          {dot_3_1, dot_3_2},
                                                          {dot_4_1, dot_4_2},
                                                          {dot_5_1, dot_5_2},
                                                          {dot_6_1, dot_6_2}},
                                                  .sum_rows = sum_rows,
                                                  .transpose = transpose};

#endif
