/* Inside philox.c: many blocks of a stream side by side, in the vectors that the processor has. All
 * ways give the same numbers. */
#ifndef LAMINA_BASE_PHILOX_WIDE_H
#define LAMINA_BASE_PHILOX_WIDE_H

#include "base/philox.h"

#define LAMINA__PHILOX_BLOCKS  32
#define LAMINA__PHILOX_NUMBERS (4 * LAMINA__PHILOX_BLOCKS)

/* As in lamina__philox4x32. */
#define LAMINA__PHILOX_ROUNDS      10
#define LAMINA__PHILOX_MULTIPLIER0 0xD2511F53u
#define LAMINA__PHILOX_MULTIPLIER1 0xCD9E8D57u
#define LAMINA__PHILOX_KEY_STEP0   0x9E3779B9u /* golden ratio */
#define LAMINA__PHILOX_KEY_STEP1   0xBB67AE85u /* sqrt(3) - 1 */

/* Blocks number .. number + LAMINA__PHILOX_BLOCKS - 1. */
typedef void lamina__philox_wide(const lamina__stream *, uint64_t number,
                                 uint32_t out[LAMINA__PHILOX_NUMBERS]);

lamina__philox_wide lamina__philox_portable;
#if defined(__x86_64__)
lamina__philox_wide lamina__philox_avx512, lamina__philox_avx2;
#endif

#endif
