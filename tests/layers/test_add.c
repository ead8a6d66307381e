/* add: the kernel against the double twin, in place too, and the sum itself; the relu it does is in
 * tests/graph/test_wiring.c. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3, 7]]"},
        {"{}", "[[1, 1], [1, 1], [1, 1]]"},
        {"{}", "[[2, 17, 3, 3], [2, 17, 3, 3]]"},
        {"{}", "[[4], [4]]"},
        {"{}", "[[2, 3, 4, 5, 2], [2, 3, 4, 5, 2]]"},
        {"{}", "[[2, 9000], [2, 9000], [2, 9000]]"}, /* several blocks, several threads */
        {"{}", "[[2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2], "
               "[2, 2], [2, 2], [2, 2], [2, 2], [2, 2], [2, 2]]"},
    };
    LAYER_CHECK("add", cases);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "add", "{input: [[2, 3, 4, 5], [2, 3, 4, 5], [2, 3, 4, 5]]}", &run)) {
        for (int64_t i = 0; i < 2 * 3 * 4 * 5; i++) {
            const int64_t n = i / 60, c = i / 20 % 3, y = i / 5 % 4, x = i % 5;
            double sum = 0;
            for (int32_t k = 0; k < 3; k++) {
                sum += layer_at(&run, LAMINA__ROLE_IN, k, n, c, y, x);
            }
            worst = fmax(worst, fabs(sum - layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x)));
        }
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), 5);
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("add");
}

static void refuses(void) {
    layer_refuses("add", "{input: [[2, 3], [2, 4]]}",
                  "input 2 is [2, 4] and input 1 is [2, 3]; a 1x1 conv");
    layer_refuses("add", "{input: [[2, 3, 1, 1], [2, 3, 1, 1], [2, 3]]}", "input 3 is [2, 3]");
    layer_refuses("add", "{input: [2, 3]}", "takes 2 to 16 inputs");
    layer_refuses("add", "{input: [[2, 3], [2, 3]], params: {scale: 2}}", "scale");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
