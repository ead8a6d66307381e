/* Sums and maps channel by channel in plain C. */
#include "layers/channels.h"
#include "layers/isa.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

#include "layers/channels_block.h"

const lamina__channels_isa lamina__channels_portable = {
    .moments = moments, .products = products, .forward = forward, .backward = backward};

#endif
