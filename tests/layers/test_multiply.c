/* multiply: against the double twin and finite differences, with inputs that are read again along
 * some axes in every order, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void one_shape(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3, 7]]"},
        {"{}", "[[1, 1], [1, 1], [1, 1]]"},
        {"{}", "[[4], [4]]"},
        {"{}", "[[2, 17, 3, 3], [2, 17, 3, 3]]"},
        {"{}", "[[2, 3, 4, 5, 2], [2, 3, 4, 5, 2]]"},
        {"{}", "[[2, 9000], [2, 9000], [2, 9000]]"},
        {"{}", "[[2, 4], [2, 4], [2, 4], [2, 4], [2, 4], [2, 4]]"},
    };
    LAYER_CHECK("multiply", cases);
}

static void read_again(void) {
    static const layer_case cases[] = {
        {"{}", "[[2, 5, 4, 3], [2, 5, 1, 1]]"},
        {"{}", "[[2, 5, 1, 1], [2, 5, 4, 3]]"},
        {"{}", "[[2, 17, 6, 5], [2, 1, 6, 5]]"},
        {"{}", "[[2, 1, 6, 5], [2, 17, 6, 5]]"},
        {"{}", "[[2, 33, 3, 4], [2, 1, 1, 1]]"},
        {"{}", "[[2, 3, 4, 5], [2, 3, 4, 1]]"},
        {"{}", "[[2, 3, 1, 5], [2, 3, 4, 5]]"},
        {"{}", "[[2, 3, 4, 1], [2, 3, 1, 5]]"}, /* neither is of the output's size */
        {"{}", "[[2, 3, 4, 5], [2, 3, 1, 1], [2, 1, 4, 5]]"},
        {"{}", "[[2, 1, 1, 5], [2, 7, 1, 1], [2, 1, 4, 1]]"},
        {"{}", "[[2, 64, 20, 20], [2, 64, 1, 1]]"},
        {"{}", "[[2, 3, 1, 1], [2, 3, 1, 1]]"},
    };
    LAYER_CHECK("multiply", cases);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "multiply", "{input: [[2, 3, 1, 1], [2, 3, 4, 5], [2, 1, 4, 1]]}",
                      &run)) {
        for (int64_t i = 0; i < 2 * 3 * 4 * 5; i++) {
            const int64_t n = i / 60, c = i / 20 % 3, y = i / 5 % 4, x = i % 5;
            const double product = layer_at(&run, LAMINA__ROLE_IN, 0, n, c, 0, 0) *
                                   layer_at(&run, LAMINA__ROLE_IN, 1, n, c, y, x) *
                                   layer_at(&run, LAMINA__ROLE_IN, 2, n, 0, y, 0);
            worst = fmax(worst, fabs(product - layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x)));
        }
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 1), 3);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), 4);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), 5);
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

/* A zero among the factors: the gradients of the others are still products, no quotients. */
static void zeros_do_no_harm(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "multiply", "{input: [[1, 3], [1, 3], [1, 3]]}", &run)) {
        lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), 2, 0);
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
        const double dy = layer_at(&run, LAMINA__ROLE_D_OUT, 0, 0, 2, 0, 0);
        const double a = layer_at(&run, LAMINA__ROLE_IN, 0, 0, 2, 0, 0);
        const double c = layer_at(&run, LAMINA__ROLE_IN, 2, 0, 2, 0, 0);
        CU_ASSERT_DOUBLE_EQUAL(layer_at(&run, LAMINA__ROLE_D_IN, 1, 0, 2, 0, 0), dy * a * c, 1e-6);
        CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_D_IN, 0, 0, 2, 0, 0), 0);
    }
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("multiply");
}

static void refuses(void) {
    layer_refuses("multiply", "{input: [[2, 3, 4, 4], [2, 2, 1, 1]]}",
                  "input 2 is [2, 2, 1, 1] and does not fit [2, 3, 4, 4]");
    layer_refuses("multiply", "{input: [[2, 3], [2, 1]]}", "input 2 is [2, 1]");
    layer_refuses("multiply", "{input: [[2, 3, 4, 4], [2, 3]]}", "input 2 is [2, 3]");
    layer_refuses("multiply", "{input: [[2, 3, 4, 1], [2, 3, 1, 5], [2, 3, 4, 4]]}",
                  "input 3 is [2, 3, 4, 4] and does not fit [2, 3, 4, 5]");
}

LAMINA_TESTS({"inputs of one shape", one_shape}, {"inputs that are read again", read_again},
             {"matches the formula", formula_matches}, {"zeros do no harm", zeros_do_no_harm},
             {"its own cases", own}, {"refuses bad shapes", refuses})
