/* Vectors of which some are partial, at the end of a row: for inner loops written once, after
 * layers/vector_<instruction set>.h. `partial` is a constant where these are used; m says which
 * elements are meant if it is 1, and is not looked at if it is 0. */
#ifndef LAMINA_LAYERS_VECTOR_SOME_H
#define LAMINA_LAYERS_VECTOR_SOME_H

#include "layers/unroll.h"

INLINE vector load_some(const int partial, const float *from, mask m) {
    return partial ? load_part(from, m) : load(from);
}

INLINE void store_some(const int partial, float *to, mask m, vector x) {
    if (partial) {
        store(to, m, x);
    } else {
        store_whole(to, x);
    }
}

#endif
