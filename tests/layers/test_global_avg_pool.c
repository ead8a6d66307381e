/* global_avg_pool: against the double twin and finite differences, and the definition. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[2, 3, 5, 7]"},   {"{}", "[3, 1, 4, 4]"},   {"{}", "[2, 17, 7, 7]"},
        {"{}", "[1, 16, 1, 1]"},  {"{}", "[2, 33, 1, 9]"},  {"{}", "[1, 255, 3, 2]"},
        {"{}", "[2, 256, 2, 2]"}, {"{}", "[1, 257, 2, 3]"}, {"{}", "[2, 600, 3, 1]"},
        {"{}", "[1, 2, 37, 41]"}, {"{}", "[1, 1, 30, 43]"}, {"{}", "[2, 64, 13, 11]"},
    };
    LAYER_CHECK("global_avg_pool", cases);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    static const char *const texts[] = {"{input: [2, 3, 40, 35]}", "{input: [2, 130, 40, 35]}"};
    for (int k = 0; k < 2; k++) {
        layer_run run;
        double worst = 0;
        if (layer_forward(open, "global_avg_pool", texts[k], &run)) {
            CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), 1);
            CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), 1);
            const int64_t channels = layer_dim(&run, LAMINA__ROLE_OUT, 1);
            for (int64_t nc = 0; nc < 2 * channels; nc++) {
                double sum = 0;
                for (int64_t p = 0; p < 40 * 35; p++) {
                    sum += layer_at(&run, LAMINA__ROLE_IN, 0, nc / channels, nc % channels, p / 35,
                                    p % 35);
                }
                worst = fmax(worst,
                             fabs(sum / (40 * 35) - layer_at(&run, LAMINA__ROLE_OUT, 0,
                                                             nc / channels, nc % channels, 0, 0)));
            }
        }
        CU_ASSERT(worst < 3e-7);
        layer_run_free(&run);
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("global_avg_pool");
}

static void refuses(void) {
    layer_refuses("global_avg_pool", "{input: [2, 3]}", "image");
    layer_refuses("global_avg_pool", "{input: [2, 3, 4, 4], params: {kernel: 2}}", "kernel");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
