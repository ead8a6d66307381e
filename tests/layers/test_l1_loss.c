/* l1_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "loss_checks.h"

#include <math.h>

static void shapes(void) {
    loss_check_shapes("l1_loss", "{}");
}

static double size_of(double x, double t, int64_t k) {
    (void)k;
    return fabs(x - t);
}

static void formula_matches(void) {
    loss_check_formula("l1_loss", "{}", size_of);
}

static void own(void) {
    layer_check_own("l1_loss");
}

static void refuses(void) {
    loss_refuses_misfits("l1_loss");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
