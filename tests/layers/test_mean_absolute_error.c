/* mean_absolute_error: against its double twin and the formula. */
#include "loss_checks.h"

#include <math.h>

static void shapes(void) {
    loss_check_shapes("mean_absolute_error", "{}");
}

static double size_of(double x, double t, int64_t k) {
    (void)k;
    return fabs(x - t);
}

static void formula_matches(void) {
    loss_check_formula("mean_absolute_error", "{}", size_of);
}

static void own(void) {
    layer_check_own("mean_absolute_error");
}

static void refuses(void) {
    loss_refuses_misfits("mean_absolute_error");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
