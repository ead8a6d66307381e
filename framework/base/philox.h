/* Random numbers without state: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", SC'11), a block cipher of a counter. A number is a function of
 * (seed, purpose, a, b, index), so nothing needs saving and no result depends on which thread drew
 * first. */
#ifndef LAMINA_BASE_PHILOX_H
#define LAMINA_BASE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

enum lamina__purpose {
    LAMINA__RANDOM_INIT = 1,    /* a: layer index, b: weight index */
    LAMINA__RANDOM_SHUFFLE = 2, /* a: epoch */
    LAMINA__RANDOM_LAYER = 3,   /* a: layer index, b: step */
    LAMINA__RANDOM_AUGMENT = 4, /* a: epoch, b: sample */
    LAMINA__RANDOM_SYNTHETIC = 5,
    LAMINA__RANDOM_CHECK = 6
};

typedef struct lamina__stream {
    uint32_t key[2];
    uint64_t high; /* upper half of the 128-bit counter; the lower half counts blocks of four */
} lamina__stream;

/* The ten-round bijection itself: four words out of a 128-bit counter and a 64-bit key. */
void lamina__philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Streams with different (seed, purpose, a, b) share no numbers for practical purposes: key and
 * counter's upper half are a mix of the four. */
lamina__stream lamina__stream_make(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b);

/* Numbers first .. first+n-1 of the stream. */
void lamina__stream_u32(lamina__stream, uint64_t first, uint32_t *dst, size_t n);
void lamina__stream_uniform(lamina__stream, uint64_t first, float *dst,
                            size_t n); /* [0, 1), 24 bits */
void lamina__stream_normal(lamina__stream, uint64_t first, float *dst, size_t n); /* Box-Muller */

/* A uniform whole number in [0, n), n >= 1, number `index` of the stream; without modulo bias
 * beyond 2^-32 (Lemire's multiply-shift on 64 bits). */
uint64_t lamina__stream_below(lamina__stream, uint64_t index, uint64_t n);

/* A permutation of 0..n-1 (Fisher and Yates) into order[]. */
void lamina__stream_permutation(lamina__stream, int64_t *order, int64_t n);

#endif
