/* max_pool: every kernel against the double twin, and the definition. */
#include "layer_checks.h"

#include <math.h>

static void windows(void) {
    static const layer_case cases[] = {
        {"{kernel: 2}", "[2, 3, 6, 6]"},
        {"{kernel: 2, stride: 2}", "[2, 1, 7, 5]"},
        {"{kernel: 3, stride: 2}", "[2, 17, 7, 7]"}, /* windows overlap: gradients add up */
        {"{kernel: 3, stride: 1, padding: 1}", "[2, 2, 4, 5]"},
        {"{kernel: [3, 2], stride: [1, 2], padding: [1, 0]}", "[2, 3, 5, 6]"},
        {"{kernel: 2, stride: 3}", "[2, 2, 8, 7]"}, /* pixels that no window reads */
        {"{kernel: 1}", "[2, 3, 1, 1]"},
        {"{kernel: 5}", "[1, 4, 5, 5]"},
        {"{kernel: 3, stride: 2, dilation: 2}", "[2, 2, 7, 9]"},
        {"{kernel: 3, stride: 2, padding: same}", "[2, 2, 5, 8]"},
        {"{kernel: 3, padding: [1, 0, 0, 1]}", "[1, 2, 5, 5]"},
        {"{kernel: 2, ceil_mode: true}", "[2, 3, 5, 7]"},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", "[2, 16, 6, 6]"},
    };
    LAYER_CHECK("max_pool", cases);
}

/* kernel 3, stride 2, padding 1 with ceil_mode: 6 -> ceil((6 + 2 - 3) / 2) + 1 = 4 windows. */
static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "max_pool",
                      "{input: [2, 3, 6, 6], params: {kernel: 3, stride: 2, padding: 1, "
                      "ceil_mode: true}}",
                      &run)) {
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), 4);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), 4);
        for (int64_t i = 0; i < 2 * 3 * 4 * 4; i++) {
            const int64_t n = i / 48, c = i / 16 % 3, oy = i / 4 % 4, ox = i % 4;
            double max = -INFINITY;
            for (int64_t w = 0; w < 9; w++) {
                const int64_t y = oy * 2 - 1 + w / 3, x = ox * 2 - 1 + w % 3;
                if (y >= 0 && y < 6 && x >= 0 && x < 6) {
                    max = fmax(max, layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x));
                }
            }
            wrong += max != layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, oy, ox);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("max_pool");
}

static void refuses(void) {
    layer_refuses("max_pool", "{input: [2, 3], params: {kernel: 2}}", "image");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {kernel: 5}}", "kernel 5");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {kernel: 2, padding: 2}}",
                  "more than half the kernel");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {}}", "kernel");
}

LAMINA_TESTS({"windows", windows}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
