/* The inner loops of conv_planes.c for AVX2 with FMA: up to 12 sums in 16 registers. */
#include "layers/conv/planes.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx2.h"

enum { LANES = 3 };

/* After unpacking within 128-bit lanes, lane l of pixels[k] is pixel 4l + k with its 4 filters. */
TARGET static inline void put_pixels(const vector x[4], int n, float *to, int64_t step) {
    const vector a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpacklo_ps(x[2], x[3]);
    const vector c = _mm256_unpackhi_ps(x[0], x[1]), d = _mm256_unpackhi_ps(x[2], x[3]);
    const vector pixels[4] = {
        _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))),
        _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b))),
        _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(c), _mm256_castps_pd(d))),
        _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(c), _mm256_castps_pd(d)))};

#define PUT(lane)                                                                                  \
    _Pragma("GCC unroll 4") for (int k = 0; k < 4; k++) {                                          \
        if (4 * (lane) + k < n) {                                                                  \
            _mm_storeu_ps(to + (4 * (lane) + k) * step, _mm256_extractf128_ps(pixels[k], lane));   \
        }                                                                                          \
    }
    PUT(0) PUT(1)
#undef PUT
}

#include "layers/conv/planes_x86.h"

#include "layers/conv/planes_block.h"

UP_TO_12(FORWARD, 1)
UP_TO_6(FORWARD, 2)
UP_TO_12(FORWARD_RUNS, 3)
UP_TO_12(FORWARD_RUNS, 5)
UP_TO_12(FORWARD_RUNS, 7)
LANES_OF(1)
LANES_OF(2)
LANES_OF(3)
LANES_OF(4)
UP_TO_4(WEIGHTS, 3, 1)
UP_TO_2(WEIGHTS, 5, 1)
UP_TO_1(WEIGHTS, 5, 2)
UP_TO_1(WEIGHTS, 7, 1)
UP_TO_3(SINGLES, 1)
UP_TO_3(SINGLES, 2)
UP_TO_3(SINGLES, 3)
UP_TO_3(SINGLES, 4)

const lamina__planes_isa lamina__planes_avx2 = {
    .width = WIDTH,
    .lanes = LANES,
    .pixels = {12, 6},
    .runs = {{4, 0}, {2, 1}, {1, 0}},
    .taps = 3,
    .forward = {{UP_TO_12(FORWARD_NAME, 1)}, {UP_TO_6(FORWARD_NAME, 2)}},
    .forward_runs = {{UP_TO_12(FORWARD_RUNS_NAME, 3)},
                     {UP_TO_12(FORWARD_RUNS_NAME, 5)},
                     {UP_TO_12(FORWARD_RUNS_NAME, 7)}},
    .forward_lanes = {forward_lanes_1, forward_lanes_2, forward_lanes_3, forward_lanes_4},
    .weights = {{{UP_TO_4(WEIGHTS_NAME, 3, 1)}},
                {{UP_TO_2(WEIGHTS_NAME, 5, 1)}, {UP_TO_1(WEIGHTS_NAME, 5, 2)}},
                {{UP_TO_1(WEIGHTS_NAME, 7, 1)}}},
    .weights_single = {{UP_TO_3(SINGLES_NAME, 1)},
                       {UP_TO_3(SINGLES_NAME, 2)},
                       {UP_TO_3(SINGLES_NAME, 3)},
                       {UP_TO_3(SINGLES_NAME, 4)}},
    .split = split};

#endif
