/* The number type of the plain-C code in layers/.
 *
 * Every layer is written once and compiled twice: with float for the product, and, for the tests,
 * with double (LAMINA_LAYERS_F64). The double build is the truth that kernels and finite
 * differences are compared with. Only the reference code is in it: kernels of other libraries are
 * left out by `#if !LAMINA_LAYERS_F64`. */
#ifndef LAMINA_LAYERS_REAL_H
#define LAMINA_LAYERS_REAL_H

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

static inline lamina_real lamina__exp(lamina_real x) {
    return LAMINA_LAYERS_F64 ? (lamina_real)exp((double)x) : (lamina_real)expf((float)x);
}

static inline lamina_real lamina__log(lamina_real x) {
    return LAMINA_LAYERS_F64 ? (lamina_real)log((double)x) : (lamina_real)logf((float)x);
}

/* Before a function with vector loops: compiled for several instruction sets, of which the loader
 * takes the best that the processor has. Not where there is no such loader, nor under sanitizers,
 * which instrument the choice before they are ready for it. */
#define LAMINA__VECTOR_CLONES
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#undef LAMINA__VECTOR_CLONES
#define LAMINA__VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef LAMINA__VECTOR_CLONES
#define LAMINA__VECTOR_CLONES
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef LAMINA__VECTOR_CLONES
#define LAMINA__VECTOR_CLONES
#endif
#endif

#endif
