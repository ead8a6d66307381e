/* For inner loops written once and compiled for several instruction sets, with sizes that are
 * constants where they are used. TARGET is the file's. */
#ifndef LAMINA_LAYERS_UNROLL_H
#define LAMINA_LAYERS_UNROLL_H

#define INLINE static inline __attribute__((always_inline)) TARGET

/* Before the loops over a block's rows and columns: early enough for registers to hold the sums. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#endif
