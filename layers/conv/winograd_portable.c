/* Winograd's transforms and products for any processor. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

#include "layers/conv/winograd_block.h"
#include "layers/conv/winograd_multiply.h"

/* Sums take 4 to 8 of 16 registers. */
MULTIPLY_4(1)
MULTIPLY_4(2)

const lamina__winograd_isa lamina__winograd_portable = {
    .width = WIDTH, .vectors = 2, .multiply = {multiply_1, multiply_2}, .tiling = ALL_TILINGS};

#endif
