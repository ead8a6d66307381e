/* Depthwise convolution in the compiler's own vectors, for any processor. */
#include "layers/conv/depthwise.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

#include <stddef.h>

#include "layers/conv/depthwise_block.h"
#include "layers/conv/depthwise_lines.h"

const lamina__depthwise_isa lamina__depthwise_portable = {.width = WIDTH,
                                                          .gather = gather,
                                                          .lines = {lines_1, lines_2},
                                                          .correlate = correlate,
                                                          .total = total};

#endif
