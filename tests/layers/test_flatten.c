/* flatten: against the double twin, and number (c*H + h)*W + w is channel c at h, w. In place with
 * shapes that differ: tests/graph/test_wiring.c. */
#include "layer_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},         {"{}", "[1, 1]"},          {"{}", "[4]"},
        {"{}", "[2, 17, 3, 3]"},  {"{}", "[2, 1, 3, 5]"},    {"{}", "[2, 6, 1, 1]"},
        {"{}", "[2, 3, 1, 5]"},   {"{}", "[2, 3, 4, 5, 2]"}, {"{}", "[2, 16, 16, 16]"},
        {"{}", "[2, 33, 17, 1]"}, {"{}", "[2, 2, 3]"},       {"{}", "[2, 40, 30, 20]"},
    };
    LAYER_CHECK("flatten", cases);
}

static void order_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "flatten", "{input: [2, 18, 5, 7]}", &run)) {
        CU_ASSERT_EQUAL(lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0)->view.shape.ndim, 2);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 1), 18 * 5 * 7);
        for (int64_t i = 0; i < 2 * 18 * 5 * 7; i++) {
            const int64_t n = i / 630, c = i / 35 % 18, y = i / 7 % 5, x = i % 7;
            wrong += layer_at(&run, LAMINA__ROLE_OUT, 0, n, (c * 5 + y) * 7 + x, 0, 0) !=
                     layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("flatten");
}

static void refuses(void) {
    layer_refuses("flatten", "{input: [2, 3], params: {axis: 2}}", "axis");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the logical order", order_matches},
             {"its own cases", own}, {"refuses unknown parameters", refuses})
