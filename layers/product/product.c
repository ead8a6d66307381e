/* The block products of the instruction set in use. */
#include "layers/product/product.h"
#include "layers/isa.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

const lamina__product_isa *lamina__product_to_use(void) {
#if LAMINA__ISA_X86
    const lamina__isa isa = lamina__isa_to_use();
    if (isa == LAMINA__ISA_AVX512) {
        return &lamina__product_avx512;
    }
    if (isa == LAMINA__ISA_AVX2) {
        return &lamina__product_avx2;
    }
#endif
    return &lamina__product_portable;
}

#endif
