/* Winograd's transforms for AVX2 with FMA. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx2.h"

#include "layers/conv/winograd_block.h"

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

const lamina__winograd_isa lamina__winograd_avx2 = {
    .width = WIDTH, .tiling = ALL_TILINGS, .transpose = transpose};

#endif
