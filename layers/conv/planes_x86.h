/* What AVX-512 and AVX2 have in common for planes_block.h. TARGET is the file's. */
#ifndef LAMINA_LAYERS_CONV_PLANES_X86_H
#define LAMINA_LAYERS_CONV_PLANES_X86_H

#include <immintrin.h>
#include <stdint.h>

/* to[f * to_step + p] = from[p * step + f] for 4 filters f and 4 pixels p. */
TARGET static inline void take_pixels(const float *from, int64_t step, float *to, int64_t to_step) {
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + step);
    __m128 c = _mm_loadu_ps(from + 2 * step), d = _mm_loadu_ps(from + 3 * step);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a);
    _mm_storeu_ps(to + to_step, b);
    _mm_storeu_ps(to + 2 * to_step, c);
    _mm_storeu_ps(to + 3 * to_step, d);
}

#endif
