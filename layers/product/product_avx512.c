/* The block products for AVX-512: blocks of 8 x 48 sums in 24 of 32 registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

enum { ROWS = 8, VECTORS = 3 };

#include "layers/product/product_block.h"

/* Within 128-bit lanes first: u[4g + k] is column 4L + k of rows 4g .. 4g+3 in lane L. */
TARGET static void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    __m512 t[16], u[16];
    UNROLL
    for (int i = 0; i < 8; i++) {
        const __m512 a = load(from + 2 * i * from_row), b = load(from + (2 * i + 1) * from_row);
        t[2 * i] = _mm512_unpacklo_ps(a, b);
        t[2 * i + 1] = _mm512_unpackhi_ps(a, b);
    }
    UNROLL
    for (int i = 0; i < 8; i++) {
        const int at = i / 2 * 4 + i % 2;
        const __m512d a = _mm512_castps_pd(t[at]), b = _mm512_castps_pd(t[at + 2]);
        u[i * 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        u[i * 2 + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
    UNROLL
    for (int k = 0; k < 4; k++) {
        const __m512 a = _mm512_shuffle_f32x4(u[k], u[4 + k], 0x88);
        const __m512 b = _mm512_shuffle_f32x4(u[8 + k], u[12 + k], 0x88);
        const __m512 c = _mm512_shuffle_f32x4(u[k], u[4 + k], 0xdd);
        const __m512 d = _mm512_shuffle_f32x4(u[8 + k], u[12 + k], 0xdd);
        _mm512_storeu_ps(to + k * to_row, _mm512_shuffle_f32x4(a, b, 0x88));
        _mm512_storeu_ps(to + (4 + k) * to_row, _mm512_shuffle_f32x4(c, d, 0x88));
        _mm512_storeu_ps(to + (8 + k) * to_row, _mm512_shuffle_f32x4(a, b, 0xdd));
        _mm512_storeu_ps(to + (12 + k) * to_row, _mm512_shuffle_f32x4(c, d, 0xdd));
    }
}

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) BLOCK(rows, 3) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)
ROW_OF_BLOCKS(5)
ROW_OF_BLOCKS(6)
ROW_OF_BLOCKS(7)
ROW_OF_BLOCKS(8)

const lamina__product_isa lamina__product_avx512 = {.width = WIDTH,
                                                    .rows = ROWS,
                                                    .vectors = VECTORS,
                                                    .block = {{block_1_1, block_1_2, block_1_3},
                                                              {block_2_1, block_2_2, block_2_3},
                                                              {block_3_1, block_3_2, block_3_3},
                                                              {block_4_1, block_4_2, block_4_3},
                                                              {block_5_1, block_5_2, block_5_3},
                                                              {block_6_1, block_6_2, block_6_3},
                                                              {block_7_1, block_7_2, block_7_3},
                                                              {block_8_1, block_8_2, block_8_3}},
                                                    .dot = {{dot_1_1, dot_1_2},
                                                            {dot_2_1, dot_2_2},
                                                            {dot_3_1, dot_3_2},
                                                            {dot_4_1, dot_4_2},
                                                            {dot_5_1, dot_5_2},
                                                            {dot_6_1, dot_6_2},
                                                            {dot_7_1, dot_7_2},
                                                            {dot_8_1, dot_8_2}},
                                                    .sum_rows = sum_rows,
                                                    .transpose = transpose};

#endif
