/* Loops for the processor that runs them: LAMINA__VECTOR_CLONES before a function with vector loops
 * has it compiled for several instruction sets, of which the loader takes the best that the
 * processor has. All give the same bits, as nothing is contracted or reordered that the source does
 * not say.
 *
 * Not where there is no such loader, nor with Clang (14 makes the names of what it generates for a
 * static function global), nor under sanitizers, which instrument the choice before they are ready
 * for it. */
#ifndef LAMINA_BASE_CLONES_H
#define LAMINA_BASE_CLONES_H

#include <limits.h> /* defines __GLIBC__ where it is */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&       \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LAMINA__VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define LAMINA__VECTOR_CLONES
#endif

#endif
