/* hinge_loss: against the double twin, the twin against finite differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3]]"},   {"{}", "[1, 1]"},
        {"{}", "[3, 5, 1, 1]"},    {"{}", "[2, 300]"},
        {"{p: 2}", "[4, 6]"},      {"{p: 2, margin: 0.3}", "[5, 17]"},
        {"{margin: 3}", "[5, 4]"}, {"{margin: -0.5}", "[5, 4]"},
    };
    LAYER_CHECK("hinge_loss", cases);
}

static void check_formula(const char *text, double power, double margin) {
    layer_registries open = layer_open();
    layer_run run;
    double largest = 0;
    if (layer_forward(open, "hinge_loss", text, &run)) {
        const int64_t batch = layer_dim(&run, LAMINA__ROLE_IN, 0);
        const int64_t classes = layer_dim(&run, LAMINA__ROLE_IN, 1);
        for (int64_t n = 0; n < batch; n++) {
            const int64_t label = (int64_t)layer_at(&run, LAMINA__ROLE_IN, 1, n, 0, 0, 0);
            const double own = layer_at(&run, LAMINA__ROLE_IN, 0, n, label, 0, 0);
            double sum = 0;
            for (int64_t k = 0; k < classes; k++) {
                const double z = margin - own + layer_at(&run, LAMINA__ROLE_IN, 0, n, k, 0, 0);
                sum += k != label && z > 0 ? pow(z, power) : 0;
            }
            const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0);
            CU_ASSERT_DOUBLE_EQUAL(got, sum / (double)classes, 1e-5);
            largest = fmax(largest, got);
        }
    }
    CU_ASSERT(largest > 0.1);
    layer_run_free(&run);
    layer_close(open);
}

static void formula_matches(void) {
    check_formula("{input: [8, 5]}", 1, 1);
    check_formula("{input: [8, 5], params: {p: 2}}", 2, 1);
    check_formula("{input: [8, 5], params: {p: 2, margin: 0.25}}", 2, 0.25);
}

static void own(void) {
    layer_check_own("hinge_loss");
}

static void refuses(void) {
    layer_refuses("hinge_loss", "{input: [2, 3, 4]}", "needs one score for each class");
    layer_refuses("hinge_loss", "{input: [2, 3], params: {p: 3}}", "must be between 1 and 2");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
