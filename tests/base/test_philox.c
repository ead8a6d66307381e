/* base/philox: the published vectors, independence of how a range is cut, and statistics. */
#include "tests/support.h"

#include "base/philox_wide.h"

#include <math.h>

/* Random123's known answers for philox4x32-10 (kat_vectors). */
static void test_known_answers(void) {
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        uint32_t out[4];
        lamina__philox4x32(vectors[i].counter, vectors[i].key, out);
        CU_ASSERT(memcmp(out, vectors[i].expected, sizeof(out)) == 0);
    }
}

/* What number i is must never change: checkpoints of yesterday resume with the code of tomorrow. */
static void test_streams_stay(void) {
    lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_SHUFFLE, 2, 3);
    static const uint32_t golden[4] = {0xb7f77dab, 0xd7490cd4, 0x485f6a02, 0x6174f8ab};
    uint32_t words[6], expected[4];
    uint32_t counter[4] = {0, 0, (uint32_t)stream.high, (uint32_t)(stream.high >> 32)};
    lamina__stream_u32(lamina__stream_make(1, 2, 3, 4), 0, words, 4);
    CU_ASSERT(memcmp(words, golden, sizeof(golden)) == 0);
    lamina__stream_u32(stream, 0, words, 6);
    lamina__philox4x32(counter, stream.key, expected);
    CU_ASSERT(memcmp(words, expected, sizeof(expected)) == 0);
    counter[0] = 1;
    lamina__philox4x32(counter, stream.key, expected);
    CU_ASSERT(memcmp(words + 4, expected, 2 * sizeof(uint32_t)) == 0);
    counter[0] = 0xffffffff, counter[1] = 7; /* blocks beyond 32 bits */
    lamina__philox4x32(counter, stream.key, expected);
    lamina__stream_u32(stream, (0x7ffffffffull) * 4 + 1, words, 3);
    CU_ASSERT(memcmp(words, expected + 1, 3 * sizeof(uint32_t)) == 0);
}

#define N 1000

/* The same numbers whatever first and n are. */
static void test_cuts(void) {
    lamina__stream stream = lamina__stream_make(7, LAMINA__RANDOM_LAYER, 4, 100);
    static float uniform[N], normal[N], piece[N];
    static uint32_t words[N], word_piece[N];
    lamina__stream_uniform(stream, 0, uniform, N);
    lamina__stream_normal(stream, 0, normal, N);
    lamina__stream_u32(stream, 0, words, N);
    for (size_t first = 0; first < 40; first++) {
        for (size_t n = 0; n < 300; n += n < 40 ? 1 : 13) { /* short and wide ways alike */
            lamina__stream_uniform(stream, first, piece, n);
            CU_ASSERT(memcmp(piece, uniform + first, n * sizeof(float)) == 0);
            lamina__stream_normal(stream, first, piece, n);
            CU_ASSERT(memcmp(piece, normal + first, n * sizeof(float)) == 0);
            lamina__stream_u32(stream, first, word_piece, n);
            CU_ASSERT(memcmp(word_piece, words + first, n * sizeof(uint32_t)) == 0);
        }
    }
}

/* Every way to have many blocks gives those of the cipher, around a carry into the upper word. */
static void check_wide(lamina__philox_wide *wide) {
    const lamina__stream stream = lamina__stream_make(11, LAMINA__RANDOM_LAYER, 1, 2);
    static const uint64_t starts[] = {0, 5, 0xfffffff0, 0x1234567890, UINT64_MAX - 40};
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        uint32_t got[LAMINA__PHILOX_NUMBERS], expected[4];
        int different = 0;
        wide(&stream, starts[s], got);
        for (uint64_t i = 0; i < LAMINA__PHILOX_BLOCKS; i++) {
            const uint64_t number = starts[s] + i;
            const uint32_t counter[4] = {(uint32_t)number, (uint32_t)(number >> 32),
                                         (uint32_t)stream.high, (uint32_t)(stream.high >> 32)};
            lamina__philox4x32(counter, stream.key, expected);
            different += memcmp(got + 4 * i, expected, sizeof(expected)) != 0;
        }
        CU_ASSERT_EQUAL(different, 0);
    }
}

static void test_wide(void) {
    check_wide(lamina__philox_portable);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        check_wide(lamina__philox_avx2);
    }
    if (__builtin_cpu_supports("avx512f")) {
        check_wide(lamina__philox_avx512);
    }
#endif
}

static void test_streams_differ(void) {
    lamina__stream streams[6] = {
        lamina__stream_make(1, 1, 0, 0), lamina__stream_make(2, 1, 0, 0),
        lamina__stream_make(1, 2, 0, 0), lamina__stream_make(1, 1, 1, 0),
        lamina__stream_make(1, 1, 0, 1), lamina__stream_make(1ull << 32, 1, 0, 0),
    };
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < i; j++) {
            uint32_t a[64], b[64];
            int same = 0;
            lamina__stream_u32(streams[i], 0, a, 64);
            lamina__stream_u32(streams[j], 0, b, 64);
            for (size_t w = 0; w < 64; w++) {
                same += a[w] == b[w];
            }
            CU_ASSERT_EQUAL(same, 0);
        }
    }
}

/* With 2^18 numbers, the bounds are more than 5 standard deviations wide. */
static void test_statistics(void) {
    enum { COUNT = 1 << 18 };
    lamina__stream stream = lamina__stream_make(3, LAMINA__RANDOM_CHECK, 0, 0);
    float *values = malloc(COUNT * sizeof(float));
    CU_ASSERT_PTR_NOT_NULL_FATAL(values);
    double sum = 0, squares = 0, lagged = 0;
    float least = 1, greatest = 0;
    lamina__stream_uniform(stream, 0, values, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double centred = values[i] - 0.5;
        sum += centred;
        squares += centred * centred;
        lagged += i ? centred * (values[i - 1] - 0.5) : 0;
        least = values[i] < least ? values[i] : least;
        greatest = values[i] > greatest ? values[i] : greatest;
    }
    CU_ASSERT(fabs(sum / COUNT) < 0.003);
    CU_ASSERT(fabs(squares / COUNT - 1.0 / 12) < 0.001);
    CU_ASSERT(fabs(lagged / COUNT) < 0.001);
    CU_ASSERT(least >= 0.0f && least < 1e-4f);
    CU_ASSERT(greatest < 1.0f && greatest > 1 - 1e-4f);

    double cubes = 0, fourths = 0, pairs = 0;
    int beyond2 = 0;
    sum = squares = 0;
    lamina__stream_normal(stream, 0, values, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        double x = values[i], square = x * x;
        sum += x;
        squares += square;
        cubes += square * x;
        fourths += square * square;
        pairs += i % 2 ? x * values[i - 1] : 0;
        beyond2 += fabs(x) > 2;
        CU_ASSERT(isfinite(x));
    }
    CU_ASSERT(fabs(sum / COUNT) < 0.01);
    CU_ASSERT(fabs(squares / COUNT - 1) < 0.015);
    CU_ASSERT(fabs(cubes / COUNT) < 0.04);
    CU_ASSERT(fabs(fourths / COUNT - 3) < 0.1);
    CU_ASSERT(fabs(pairs / COUNT) < 0.01);
    CU_ASSERT(fabs((double)beyond2 / COUNT - 0.0455) < 0.003);
    free(values);
}

static void test_below(void) {
    lamina__stream stream = lamina__stream_make(5, LAMINA__RANDOM_SYNTHETIC, 0, 0);
    int counts[7] = {0};
    for (uint64_t i = 0; i < 70000; i++) {
        uint64_t value = lamina__stream_below(stream, i, 7);
        CU_ASSERT_FATAL(value < 7);
        counts[value]++;
        CU_ASSERT_EQUAL(lamina__stream_below(stream, i, 1), 0);
    }
    for (int i = 0; i < 7; i++) {
        CU_ASSERT(abs(counts[i] - 10000) < 500);
    }
    /* The largest n: the number itself, of 64 bits; and the product's upper half is exact. */
    uint32_t words[4];
    lamina__stream_u32(stream, 4, words, 4);
    uint64_t number = (uint64_t)words[3] << 32 | words[2];
    __extension__ typedef unsigned __int128 wide;
    for (int shift = 0; shift < 64; shift++) {
        uint64_t n = UINT64_MAX >> shift;
        CU_ASSERT_EQUAL(lamina__stream_below(stream, 3, n), (uint64_t)((wide)number * n >> 64));
    }
}

static bool is_permutation(const int64_t *order, int64_t n) {
    char *seen = calloc((size_t)n + 1, 1);
    bool good = seen != NULL;
    for (int64_t i = 0; good && i < n; i++) {
        good = order[i] >= 0 && order[i] < n && !seen[order[i]];
        if (good) {
            seen[order[i]] = 1;
        }
    }
    free(seen);
    return good;
}

static void test_permutation(void) {
    enum { SAMPLES = 2000 };
    static int64_t first[SAMPLES], again[SAMPLES], second[SAMPLES];
    for (int64_t n = 0; n < 20; n++) {
        lamina__stream_permutation(lamina__stream_make(1, 2, 3, 4), first, n);
        CU_ASSERT(is_permutation(first, n));
    }
    lamina__stream_permutation(lamina__stream_make(1, LAMINA__RANDOM_SHUFFLE, 0, 0), first,
                               SAMPLES);
    lamina__stream_permutation(lamina__stream_make(1, LAMINA__RANDOM_SHUFFLE, 0, 0), again,
                               SAMPLES);
    lamina__stream_permutation(lamina__stream_make(1, LAMINA__RANDOM_SHUFFLE, 1, 0), second,
                               SAMPLES);
    CU_ASSERT(is_permutation(first, SAMPLES));
    CU_ASSERT(is_permutation(second, SAMPLES));
    CU_ASSERT(memcmp(first, again, sizeof(first)) == 0);
    int fixed = 0, same = 0;
    for (int64_t i = 0; i < SAMPLES; i++) {
        fixed += first[i] == i;
        same += first[i] == second[i];
    }
    CU_ASSERT(fixed < 10); /* one is expected of chance */
    CU_ASSERT(same < 10);
}

/* All 6 orders of three come equally often. */
static void test_permutation_is_fair(void) {
    int counts[27] = {0};
    for (uint64_t epoch = 0; epoch < 6000; epoch++) {
        int64_t order[3];
        lamina__stream_permutation(lamina__stream_make(9, LAMINA__RANDOM_SHUFFLE, epoch, 0), order,
                                   3);
        counts[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        orders += counts[i] > 0;
        CU_ASSERT(counts[i] == 0 || abs(counts[i] - 1000) < 150);
    }
    CU_ASSERT_EQUAL(orders, 6);
}

LAMINA_TESTS({"known answers", test_known_answers}, {"streams stay as they are", test_streams_stay},
             {"any cut gives the same numbers", test_cuts}, {"many at once", test_wide},
             {"streams differ", test_streams_differ}, {"mean, variance, tails", test_statistics},
             {"whole numbers below n", test_below}, {"permutations", test_permutation},
             {"permutations are fair", test_permutation_is_fair})
