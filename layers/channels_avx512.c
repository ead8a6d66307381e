/* Sums and maps channel by channel in AVX-512. */
#include "layers/channels.h"
#include "layers/isa.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

#include "layers/channels_block.h"

const lamina__channels_isa lamina__channels_avx512 = {
    .moments = moments, .products = products, .forward = forward, .backward = backward};

#endif
