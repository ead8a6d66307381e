/* mse_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "loss_checks.h"

static void shapes(void) {
    loss_check_shapes("mse_loss", "{}");
}

static double square(double x, double t, int64_t k) {
    (void)k;
    return (x - t) * (x - t);
}

static void formula_matches(void) {
    loss_check_formula("mse_loss", "{}", square);
}

static void own(void) {
    layer_check_own("mse_loss");
}

static void refuses(void) {
    loss_refuses_misfits("mse_loss");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
