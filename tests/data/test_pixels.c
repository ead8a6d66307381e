/* Normalisation: every value of a pixel in every channel, computed in double and rounded once,
 * whatever the length and place of the run. */
#include "data/pixels.h"
#include "support.h"

#include <math.h>
#include <string.h>

enum { MOST = 2000 };

static void check(const lamina__normalize *values, int64_t channels) {
    static uint8_t from[MOST + 8];
    static float to[MOST + 8];
    lamina__pixels *pixels = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL_FATAL(lamina__pixels_make(values, channels, &pixels, &error), LAMINA_OK);
    for (int64_t i = 0; i < MOST + 8; i++) {
        from[i] = (uint8_t)(i * 151 + i / 256);
    }
    for (int64_t n = 0; n <= MOST; n = n < 300 ? n + channels : n + 97 * channels) {
        const int64_t first = n % 7; /* unaligned */
        int64_t wrong = 0;
        memset(to, 0xff, sizeof to);
        lamina__pixels_normalize(pixels, from + first, n, to + first);
        for (int64_t i = 0; i < MOST + 8; i++) {
            const bool inside = i >= first && i < first + n;
            const int64_t c = inside ? (i - first) % channels : 0;
            const double mean = values ? values->mean.value[values->mean.count == 1 ? 0 : c] : 0;
            const double std = values ? values->std.value[values->std.count == 1 ? 0 : c] : 1;
            wrong += inside ? to[i] != (float)((from[i] / 255.0 - mean) / std) : !isnan(to[i]);
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
    lamina__pixels_free(pixels);
}

static void test_all_values(void) {
    const lamina__normalize mnist = {.mean = {.count = 1, .word = -1, .value = {0.1307}},
                                     .std = {.count = 1, .word = -1, .value = {0.3081}}};
    const lamina__normalize each = {.mean = {.count = 3, .word = -1, .value = {0.5, 0.25, 0.1}},
                                    .std = {.count = 3, .word = -1, .value = {0.3, 2, 1e-7}}};
    for (int64_t channels = 1; channels <= 4; channels++) {
        check(NULL, channels);
        check(&mnist, channels);
    }
    check(&each, 3);
}

/* Many means and deviations: some have a line that gives the same, some need the table. */
static void test_lines_and_tables(void) {
    for (int k = 0; k < 60; k++) {
        lamina__normalize values = {.mean = {.count = 1, .word = -1, .value = {k / 59.0}},
                                    .std = {.count = 1, .word = -1, .value = {0.01 + 0.37 * k}}};
        check(&values, 1 + k % 3);
    }
}

LAMINA_TESTS({"every value in every channel", test_all_values},
             {"lines and tables", test_lines_and_tables})
