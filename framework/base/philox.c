/* Philox4x32-10 and what is drawn from it. A stream is a key and the upper half of the cipher's
 * 128-bit counter; the lower half is the block's number, and a block holds four 32-bit numbers:
 *
 *     number i = word i % 4 of philox(counter = (i / 4, high), key)
 *
 * so any range of numbers can be had on its own, in any order, by any thread. */
#include "base/clones.h"
#include "base/philox_wide.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

void lamina__philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < LAMINA__PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)LAMINA__PHILOX_MULTIPLIER0 * c0,
                 p1 = (uint64_t)LAMINA__PHILOX_MULTIPLIER1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += LAMINA__PHILOX_KEY_STEP0;
        k1 += LAMINA__PHILOX_KEY_STEP1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The cipher itself mixes. (seed, purpose) make a key; under it (a, b), as the counter, become the
 * stream's key and upper half: for one seed and purpose all streams differ, as the cipher is a
 * bijection. */
lamina__stream lamina__stream_make(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b) {
    const uint32_t seed_words[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t purpose_words[4] = {purpose, 0, 0, 0};
    const uint32_t place[4] = {(uint32_t)a, (uint32_t)(a >> 32), (uint32_t)b, (uint32_t)(b >> 32)};
    uint32_t key[4], mixed[4];
    lamina__philox4x32(purpose_words, seed_words, key);
    lamina__philox4x32(place, key, mixed);
    return (lamina__stream){{mixed[0], mixed[1]}, (uint64_t)mixed[3] << 32 | mixed[2]};
}

static void block(const lamina__stream *stream, uint64_t number, uint32_t out[4]) {
    const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32), (uint32_t)stream->high,
                                 (uint32_t)(stream->high >> 32)};
    lamina__philox4x32(counter, stream->key, out);
}

/* ---- Many at once -------------------------------------------------------------------------- */

#define WIDE LAMINA__PHILOX_NUMBERS

/* Loops over all blocks, which a compiler makes vectors of where it can. The counters' words, 32
 * bits each, are kept in 64 so that products need no shuffling. */
void lamina__philox_portable(const lamina__stream *stream, uint64_t number, uint32_t out[WIDE]) {
    enum { BLOCKS = LAMINA__PHILOX_BLOCKS };
    uint64_t c0[BLOCKS], c1[BLOCKS], c2[BLOCKS], c3[BLOCKS];
    uint32_t k0 = stream->key[0], k1 = stream->key[1];
    for (uint64_t i = 0; i < BLOCKS; i++) {
        c0[i] = (uint32_t)(number + i);
        c1[i] = (number + i) >> 32;
        c2[i] = (uint32_t)stream->high;
        c3[i] = stream->high >> 32;
    }
    for (int round = 0; round < LAMINA__PHILOX_ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            const uint64_t p0 = (uint64_t)(uint32_t)c0[i] * LAMINA__PHILOX_MULTIPLIER0;
            const uint64_t p1 = (uint64_t)(uint32_t)c2[i] * LAMINA__PHILOX_MULTIPLIER1;
            c0[i] = (p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
        k0 += LAMINA__PHILOX_KEY_STEP0;
        k1 += LAMINA__PHILOX_KEY_STEP1;
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        out[4 * i] = (uint32_t)c0[i];
        out[4 * i + 1] = (uint32_t)c1[i];
        out[4 * i + 2] = (uint32_t)c2[i];
        out[4 * i + 3] = (uint32_t)c3[i];
    }
}

static void wide_blocks(const lamina__stream *stream, uint64_t number, uint32_t out[WIDE]) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        lamina__philox_avx512(stream, number, out);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        lamina__philox_avx2(stream, number, out);
        return;
    }
#endif
    lamina__philox_portable(stream, number, out);
}

/* Numbers from `first` on, at most n of them, as many as can be had in one go: *count of them, from
 * the returned place in `room`. */
static const uint32_t *some_words(const lamina__stream *stream, uint64_t first, size_t n,
                                  uint32_t room[WIDE], size_t *count) {
    const size_t skip = first % 4;
    const bool wide = n >= 16; /* else that would take longer than block by block */
    const size_t most = (wide ? WIDE : 4) - skip;
    (wide ? wide_blocks : block)(stream, first / 4, room);
    *count = n < most ? n : most;
    return room + skip;
}

void lamina__stream_u32(lamina__stream stream, uint64_t first, uint32_t *dst, size_t n) {
    uint32_t room[WIDE];
    for (size_t i = 0, count; i < n; i += count) {
        const uint32_t *words = some_words(&stream, first + i, n - i, room, &count);
        memcpy(dst + i, words, count * sizeof(uint32_t));
    }
}

LAMINA__VECTOR_CLONES
static void to_uniform(const uint32_t *words, float *dst, size_t n) {
    for (size_t i = 0; i < n; i++) {
        dst[i] = (float)(words[i] >> 8) * 0x1p-24f;
    }
}

void lamina__stream_uniform(lamina__stream stream, uint64_t first, float *dst, size_t n) {
    uint32_t room[WIDE];
    for (size_t i = 0, count; i < n; i += count) {
        const uint32_t *words = some_words(&stream, first + i, n - i, room, &count);
        to_uniform(words, dst + i, count);
    }
}

/* ---- Normal numbers, whole numbers, permutations ------------------------------------------- */

/* Box and Muller (1958): two uniform numbers u, v make two normal ones,
 *     sqrt(-2 ln u) cos(2 pi v),  sqrt(-2 ln u) sin(2 pi v),  u in (0, 1]
 * Numbers 2j and 2j+1 of the stream are one such pair. */
static void normal_block(const lamina__stream *stream, uint64_t number, float out[4]) {
    const double two_pi = 6.283185307179586476925;
    uint32_t words[4];
    block(stream, number, words);
    for (int pair = 0; pair < 4; pair += 2) {
        double u = (words[pair] + 1.0) * 0x1p-32, angle = two_pi * 0x1p-32 * words[pair + 1];
        double radius = sqrt(-2.0 * log(u));
        out[pair] = (float)(radius * cos(angle));
        out[pair + 1] = (float)(radius * sin(angle));
    }
}

void lamina__stream_normal(lamina__stream stream, uint64_t first, float *dst, size_t n) {
    float values[4];
    size_t i = 0;
    while (i < n) {
        uint64_t number = first + i;
        normal_block(&stream, number / 4, values);
        for (size_t w = number % 4; w < 4 && i < n; w++) {
            dst[i++] = values[w];
        }
    }
}

/* The upper 64 bits of a * b. */
static uint64_t multiply_high(uint64_t a, uint64_t b) {
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t middle2 = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (middle2 >> 32);
}

uint64_t lamina__stream_below(lamina__stream stream, uint64_t index, uint64_t n) {
    uint32_t words[4];
    block(&stream, index / 2, words);
    const uint32_t *pair = words + index % 2 * 2;
    return multiply_high((uint64_t)pair[1] << 32 | pair[0], n);
}

void lamina__stream_permutation(lamina__stream stream, int64_t *order, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        order[i] = i;
    }
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)lamina__stream_below(stream, (uint64_t)i, (uint64_t)i + 1);
        int64_t swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
}
