/* Winograd's transforms and products for AVX-512. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

#include "layers/conv/winograd_block.h"
#include "layers/conv/winograd_multiply.h"

/* Sums take 8 to 24 of 32 registers. */
MULTIPLY_8(1)
MULTIPLY_8(2)
MULTIPLY_8(3)
MULTIPLY_6(4)

const lamina__winograd_isa lamina__winograd_avx512 = {
    .width = WIDTH,
    .vectors = 4,
    .multiply = {multiply_1, multiply_2, multiply_3, multiply_4},
    .tiling = ALL_TILINGS};

#endif
