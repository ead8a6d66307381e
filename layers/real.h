/* The number type of the plain-C code in layers/.
 *
 * Every layer is written once and compiled twice: with float for the product, and, for the tests,
 * with double (LAMINA_LAYERS_F64). The double build is the truth that kernels and finite
 * differences are compared with. Only the reference code is in it: kernels of other libraries are
 * left out by `#if !LAMINA_LAYERS_F64`. */
#ifndef LAMINA_LAYERS_REAL_H
#define LAMINA_LAYERS_REAL_H

#include "base/clones.h"
#include "lamina/layer.h"

#include <math.h>

#ifndef LAMINA_LAYERS_F64
#define LAMINA_LAYERS_F64 0
#endif

#if LAMINA_LAYERS_F64
typedef double lamina_real;
#define LAMINA__REAL_DTYPE      LAMINA_F64
#define LAMINA__LAYER(name)     lamina__##name##_layer_f64
#define LAMINA__BUILTIN         lamina__builtin_layers_f64
#define LAMINA__REAL_NAME(name) lamina__##name##_f64
#else
typedef float lamina_real;
#define LAMINA__REAL_DTYPE      LAMINA_F32
#define LAMINA__LAYER(name)     lamina__##name##_layer
#define LAMINA__BUILTIN         lamina__builtin_layers
/* Both builds are linked into one test: every non-static name in layers/ goes through this. */
#define LAMINA__REAL_NAME(name) lamina__##name
#endif

static inline lamina_real lamina__log(lamina_real x) {
    return LAMINA_LAYERS_F64 ? (lamina_real)log((double)x) : (lamina_real)logf((float)x);
}

#endif
