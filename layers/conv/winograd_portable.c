/* Winograd's transforms for any processor. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

#include "layers/conv/winograd_block.h"

static void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    for (int i = 0; i < WIDTH; i++) {
        for (int j = 0; j < WIDTH; j++) {
            to[j * to_row + i] = from[i * from_row + j];
        }
    }
}

const lamina__winograd_isa lamina__winograd_portable = {
    .width = WIDTH, .tiling = ALL_TILINGS, .transpose = transpose};

#endif
