/* avg_pool: every kernel against the double twin, and the definition with both ways to count. */
#include "layer_checks.h"

#include <math.h>

static void windows(void) {
    static const layer_case cases[] = {
        {"{kernel: 2}", "[2, 3, 6, 6]"},
        {"{kernel: 2, stride: 2}", "[2, 1, 7, 5]"},
        {"{kernel: 3, stride: 2}", "[2, 17, 7, 7]"},
        {"{kernel: 3, stride: 1, padding: 1}", "[2, 2, 4, 5]"},
        {"{kernel: 3, stride: 1, padding: 1, count_include_pad: false}", "[2, 2, 4, 5]"},
        {"{kernel: [3, 2], stride: [1, 2], padding: [1, 0]}", "[2, 3, 5, 6]"},
        {"{kernel: 2, stride: 3}", "[2, 2, 8, 7]"},
        {"{kernel: 1}", "[2, 3, 1, 1]"},
        {"{kernel: 4}", "[1, 5, 4, 4]"},
        {"{kernel: 3, stride: 2, padding: same}", "[2, 2, 5, 8]"},
        {"{kernel: 3, padding: [1, 0, 0, 1], count_include_pad: false}", "[1, 2, 5, 5]"},
        {"{kernel: 2, ceil_mode: true}", "[2, 3, 5, 7]"},
        {"{kernel: 2, ceil_mode: true, count_include_pad: false}", "[2, 3, 5, 7]"},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", "[2, 16, 6, 6]"},
        {"{kernel: 3, stride: 2, ceil_mode: true}", "[2, 17, 2, 5]"}, /* larger than the image */
        {"{kernel: 4, stride: 3, ceil_mode: true, count_include_pad: false}", "[1, 3, 2, 3]"},
    };
    LAYER_CHECK("avg_pool", cases);
}

/* kernel 3, stride 2, padding 1: 5 -> 3. Padding counts as zeros, or does not count. */
static void formula_case(layer_registries open, const char *text, bool count_include_pad) {
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "avg_pool", text, &run)) {
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), 3);
        for (int64_t i = 0; i < 2 * 3 * 3 * 3; i++) {
            const int64_t n = i / 27, c = i / 9 % 3, oy = i / 3 % 3, ox = i % 3;
            double sum = 0;
            int inside = 0;
            for (int64_t w = 0; w < 9; w++) {
                const int64_t y = oy * 2 - 1 + w / 3, x = ox * 2 - 1 + w % 3;
                if (y >= 0 && y < 5 && x >= 0 && x < 5) {
                    sum += layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x);
                    inside++;
                }
            }
            double error = fabs(sum / (count_include_pad ? 9 : inside) -
                                layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, oy, ox));
            worst = fmax(worst, error);
        }
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    formula_case(open,
                 "{input: [2, 3, 5, 5], params: {kernel: 3, stride: 2, padding: 1, "
                 "count_include_pad: true}}",
                 true);
    formula_case(open,
                 "{input: [2, 3, 5, 5], params: {kernel: 3, stride: 2, padding: 1, "
                 "count_include_pad: false}}",
                 false);
    layer_close(open);
}

static void own(void) {
    layer_check_own("avg_pool");
}

static void refuses(void) {
    layer_refuses("avg_pool", "{input: [2, 3], params: {kernel: 2}}", "image");
    layer_refuses("avg_pool", "{input: [2, 3, 4, 4], params: {kernel: 5}}", "kernel 5");
    layer_refuses("avg_pool",
                  "{input: [2, 3, 4, 4], params: {kernel: 2, count_include_pad: maybe}}",
                  "count_include_pad");
}

LAMINA_TESTS({"windows", windows}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
