/* Winograd's transforms for any processor. */
#include "layers/conv/winograd.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

#include "layers/conv/winograd_block.h"

const lamina__winograd_isa lamina__winograd_portable = {.width = WIDTH, .tiling = ALL_TILINGS};

#endif
