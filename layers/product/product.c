/* The block products of the instruction set in use. */
#include "layers/product/product.h"
#include "layers/isa.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

const lamina__product_isa *lamina__product_to_use(void) {
    return LAMINA__SET_TO_USE(lamina__product);
}

#endif
