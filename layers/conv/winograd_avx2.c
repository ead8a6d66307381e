/* Winograd's transforms for AVX2 with FMA. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx2.h"

#include "layers/conv/winograd_block.h"

const lamina__winograd_isa lamina__winograd_avx2 = {.width = WIDTH, .tiling = ALL_TILINGS};

#endif
