/* The block products for AVX-512: blocks of 8 x 48 sums in 24 of 32 registers, or of fewer rows and
 * more columns. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

enum { ROWS = 8, VECTORS = 6, NARROW = 3, HAS_HALVES = 1 };

/* A processor that computes a vector in two halves takes half as long for one. */
TARGET static inline vector multiply_add_half(vector x, vector y, vector sum) {
    return _mm512_castps256_ps512(_mm256_fmadd_ps(
        _mm512_castps512_ps256(x), _mm512_castps512_ps256(y), _mm512_castps512_ps256(sum)));
}

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

#define WIDE_BLOCKS(rows) BLOCK(rows, 4) BLOCK(rows, 5) BLOCK(rows, 6)
WIDE_BLOCKS(1)
WIDE_BLOCKS(2)
WIDE_BLOCKS(3)
WIDE_BLOCKS(4)
BLOCK(5, 4)
BLOCK(5, 5)
BLOCK(6, 4)

#define NARROW_OF(kind, rows) kind##_##rows##_1, kind##_##rows##_2, kind##_##rows##_3
#define WIDE_OF(kind, rows)   kind##_##rows##_4, kind##_##rows##_5, kind##_##rows##_6
#define TABLE_OF(kind)                                                                             \
    {                                                                                              \
        {NARROW_OF(kind, 1), WIDE_OF(kind, 1)}, {NARROW_OF(kind, 2), WIDE_OF(kind, 2)},            \
            {NARROW_OF(kind, 3), WIDE_OF(kind, 3)}, {NARROW_OF(kind, 4), WIDE_OF(kind, 4)},        \
            {NARROW_OF(kind, 5), kind##_5_4, kind##_5_5}, {NARROW_OF(kind, 6), kind##_6_4},        \
            {NARROW_OF(kind, 7)}, {NARROW_OF(kind, 8)},                                            \
    }

const lamina__product_isa lamina__product_avx512 = {.width = WIDTH,
                                                    .rows = ROWS,
                                                    .vectors = NARROW,
                                                    .wide = VECTORS,
                                                    .most_rows = {8, 8, 8, 6, 5, 4},
                                                    .block = TABLE_OF(block),
                                                    .even = TABLE_OF(even),
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
