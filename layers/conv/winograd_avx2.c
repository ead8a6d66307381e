/* Winograd's transforms and products for AVX2 with FMA. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx2.h"

#include "layers/conv/winograd_block.h"
#include "layers/conv/winograd_multiply.h"

/* Sums take 8 to 12 of 16 registers. */
MULTIPLY_8(1)
MULTIPLY_6(2)

const lamina__winograd_isa lamina__winograd_avx2 = {
    .width = WIDTH, .vectors = 2, .multiply = {multiply_1, multiply_2}, .tiling = ALL_TILINGS};

#endif
