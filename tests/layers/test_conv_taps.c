/* A matrix product for each tap: which pixels meet which taps, against a search through all pairs;
 * and the kernel itself with each instruction set against the double twin, also where its filters
 * are too large to be packed at once, and with several threads the same bits. */
#include "layer_checks.h"

#include "layers/conv/conv_taps.h"

static const lamina__axis axes[] = {
    /* in, kernel, stride, dilation, pad_begin, pad_end */
    {.in = 7, .kernel = 3, .stride = 1, .dilation = 1, .pad_begin = 1, .pad_end = 1},
    {.in = 8, .kernel = 3, .stride = 2, .dilation = 1, .pad_begin = 0, .pad_end = 1},
    {.in = 9, .kernel = 2, .stride = 3, .dilation = 1},
    {.in = 12, .kernel = 4, .stride = 2, .dilation = 2, .pad_begin = 3, .pad_end = 2},
    {.in = 13, .kernel = 3, .stride = 4, .dilation = 6, .pad_begin = 5, .pad_end = 5},
    {.in = 13, .kernel = 5, .stride = 3, .dilation = 2, .pad_begin = 4, .pad_end = 0},
    {.in = 2, .kernel = 3, .stride = 1, .dilation = 1, .pad_begin = 1, .pad_end = 1},
    {.in = 1, .kernel = 7, .stride = 2, .dilation = 3, .pad_begin = 9, .pad_end = 9},
    {.in = 3, .kernel = 3, .stride = 1, .dilation = 1, .pad_begin = 4, .pad_end = 5},
    {.in = 5, .kernel = 1, .stride = 2, .dilation = 1, .pad_begin = 2, .pad_end = 1},
};

enum { PIXELS = 32, TAPS = 8 };

/* How often pixel c reads pixel a through a tap, says `runs`; and that each pixel c is in one. */
static void count_pairs(const lamina__tap_run *runs, int64_t n, int64_t pixels, int64_t others,
                        int found[PIXELS][TAPS][PIXELS]) {
    int seen[PIXELS] = {0};
    for (int64_t r = 0; r < n; r++) {
        const lamina__tap_run *run = &runs[r];
        for (int64_t k = 0; k < run->count; k++) {
            const int64_t c = run->first + k * run->step;
            CU_ASSERT_FATAL(c >= 0 && c < pixels);
            seen[c]++;
            for (int64_t t = 0; t < run->taps; t++) {
                const int64_t a = run->from + k * run->from_step + t * run->from_tap_step;
                CU_ASSERT_FATAL(a >= 0 && a < others);
                found[c][run->tap + t * run->tap_step][a]++;
            }
        }
    }
    for (int64_t c = 0; c < pixels; c++) {
        CU_ASSERT_EQUAL(seen[c], 1);
    }
}

static void pairs(void) {
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++) {
        static int forward[PIXELS][TAPS][PIXELS], data[PIXELS][TAPS][PIXELS];
        lamina__tap_run runs[PIXELS];
        lamina__axis axis = axes[i];
        int64_t n_pairs = 0;

        axis.extent = (axis.kernel - 1) * axis.dilation + 1;
        axis.out = (axis.in + axis.pad_begin + axis.pad_end - axis.extent) / axis.stride + 1;
        CU_ASSERT_FATAL(axis.out > 0 && axis.out <= PIXELS);
        memset(forward, 0, sizeof forward);
        memset(data, 0, sizeof data);
        count_pairs(runs, lamina__tap_runs_forward(&axis, runs), axis.out, axis.in, forward);
        count_pairs(runs, lamina__tap_runs_data(&axis, runs), axis.in, axis.out, data);
        for (int64_t u = 0; u < axis.kernel; u++) {
            int64_t begin, end;
            lamina__tap_outputs(&axis, u, &begin, &end);
            for (int64_t o = 0; o < axis.out; o++) {
                const int64_t at = o * axis.stride - axis.pad_begin + u * axis.dilation;
                CU_ASSERT_EQUAL(at >= 0 && at < axis.in, o >= begin && o < end);
                for (int64_t p = 0; p < axis.in; p++) {
                    CU_ASSERT_EQUAL(forward[o][u][p], p == at);
                    CU_ASSERT_EQUAL(data[p][u][o], p == at);
                    n_pairs += p == at;
                }
            }
        }
        CU_ASSERT(n_pairs > 0);
    }
}

/* The order of a walk's sum, and where it has been. */
static void walks(void) {
    static const lamina__product_walk loops[] = {
        {.n = {4, 3, 2}, .a_step = {1, 4, 12}, .b_step = {2, 8, 24}},
        {.n = {4, 3, 2}, .a_step = {1, 4, 100}, .b_step = {2, 8, 24}},
        {.n = {4, 3, 2}, .a_step = {1, 7, 21}, .b_step = {2, 9, 27}},
        {.n = {4, 1, 2}, .a_step = {1, 50, 4}, .b_step = {2, 60, 8}},
        {.n = {1, 3, 2}, .a_step = {9, -2, 5}, .b_step = {9, 4, 7}},
        {.n = {1, 1, 1}, .a_step = {1, 2, 3}, .b_step = {4, 5, 6}},
        {.n = {1, 1, 5}, .a_step = {1, 2, 3}, .b_step = {4, 5, 6}},
        {.n = {4, 0, 2}, .a_step = {1, 4, 12}, .b_step = {2, 8, 24}},
        {.n = {4, 2, 0}, .a_step = {1, 4, 12}, .b_step = {2, 8, 24}},
    };
    static const int64_t lengths[] = {24, 12, 4, 8, 3, 1, 5, 0, 0};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        const lamina__product_walk *l = &loops[i], w = lamina__tap_walk(l);
        int64_t n = 0;
        CU_ASSERT_EQUAL(w.n[0], lengths[i]);
        CU_ASSERT(w.n[2] > 0);
        CU_ASSERT_EQUAL(w.n[0] * w.n[1] * w.n[2], l->n[0] * l->n[1] * l->n[2]);
        for (int64_t z = 0; z < l->n[2]; z++) {
            for (int64_t y = 0; y < l->n[1]; y++) {
                for (int64_t x = 0; x < l->n[0]; x++, n++) {
                    const int64_t at[3] = {n % w.n[0], n / w.n[0] % w.n[1], n / w.n[0] / w.n[1]};
                    CU_ASSERT_EQUAL(x * l->a_step[0] + y * l->a_step[1] + z * l->a_step[2],
                                    at[0] * w.a_step[0] + at[1] * w.a_step[1] +
                                        at[2] * w.a_step[2]);
                    CU_ASSERT_EQUAL(x * l->b_step[0] + y * l->b_step[1] + z * l->b_step[2],
                                    at[0] * w.b_step[0] + at[1] * w.b_step[1] +
                                        at[2] * w.b_step[2]);
                }
            }
        }
    }
}

/* Tails of vectors, blocks and panels; more rows than a part; filters that are packed panel by
 * panel and tap by tap; images larger than a chunk of backward weights. */
static const layer_case shapes_to_check[] = {
    {"{filters: 49, kernel: 1}", "[3, 17, 5, 5]"},
    {"{filters: 8, kernel: 1, stride: 2, padding: 1}", "[2, 9, 5, 4]"},
    {"{filters: 24, kernel: 3, padding: 1, stride: 2}", "[2, 20, 9, 8]"},
    {"{filters: 12, kernel: [2, 3], stride: [3, 2], dilation: [2, 3], padding: [3, 4]}",
     "[2, 10, 9, 11]"},
    {"{filters: 32, kernel: 3, padding: 2, dilation: 2, groups: 2}", "[2, 48, 5, 6]"},
    {"{filters: 30, kernel: 3, padding: 1, groups: 3, bias: false}", "[3, 51, 4, 4]"},
    {"{filters: 16, kernel: 3, padding: 3}", "[2, 8, 1, 2]"},
    {"{filters: 16, kernel: 3, padding: 1}", "[2, 16, 24, 23]"},
    {"{filters: 8, kernel: 1}", "[1, 8, 100, 90]"},
    {"{filters: 72, kernel: 3, padding: 1}", "[2, 208, 2, 2]"},
    {"{filters: 132, kernel: 3, padding: 1, stride: 2}", "[2, 144, 3, 3]"},
    {"{filters: 520, kernel: 3, padding: 1}", "[1, 32, 2, 1]"},
    {"{filters: 32, kernel: 3, padding: 1}", "[1, 520, 2, 1]"},
};

static const char *const own[] = {"taps", NULL};

static void check_shapes(void *arg) {
    (void)arg;
    layer_check_some("conv", own, shapes_to_check,
                     sizeof shapes_to_check / sizeof *shapes_to_check);
}

static void shapes(void) {
    layer_each_isa(check_shapes, NULL);
}

LAMINA_TESTS({"pairs of pixels and taps", pairs}, {"walks", walks},
             {"shapes, with each instruction set", shapes})
