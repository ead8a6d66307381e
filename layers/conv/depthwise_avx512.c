/* Depthwise convolution in AVX-512. */
#include "layers/conv/depthwise.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

#include <stddef.h>

#include "layers/conv/depthwise_block.h"
#include "layers/conv/depthwise_lines.h"

const lamina__depthwise_isa lamina__depthwise_avx512 = {.width = WIDTH,
                                                        .gather = gather,
                                                        .lines = {lines_1, lines_2},
                                                        .correlate = correlate,
                                                        .total = total};

#endif
