/* Winograd's transforms for AVX-512. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

#include "layers/conv/winograd_block.h"

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

const lamina__winograd_isa lamina__winograd_avx512 = {
    .width = WIDTH, .tiling = ALL_TILINGS, .transpose = transpose};

#endif
