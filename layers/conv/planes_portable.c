/* The inner loops of conv_planes.c for any processor, in the compiler's own vectors of four floats:
 * up to 12 sums in 16 registers. */
#include "layers/conv/planes.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

enum { LANES = 2 };

static inline void put_pixels(const vector x[4], int n, float *to, int64_t step) {
    for (int p = 0; p < n; p++) {
        for (int f = 0; f < 4; f++) {
            to[p * step + f] = x[f][p];
        }
    }
}

static inline void take_pixels(const float *from, int64_t step, float *to, int64_t to_step) {
    for (int p = 0; p < 4; p++) {
        for (int f = 0; f < 4; f++) {
            to[f * to_step + p] = from[p * step + f];
        }
    }
}

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

const lamina__planes_isa lamina__planes_portable = {
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
