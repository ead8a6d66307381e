/* smooth_l1_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "loss_checks.h"

#include <math.h>

static void shapes(void) {
    loss_check_shapes("smooth_l1_loss", "{}");
    loss_check_shapes("smooth_l1_loss", "{beta: 0.3}");
    loss_check_shapes("smooth_l1_loss", "{beta: 0}");
}

static double smooth(double r, double beta) {
    return fabs(r) < beta ? r * r / (2 * beta) : fabs(r) - beta / 2;
}

static double of_one(double x, double t, int64_t k) {
    (void)k;
    return smooth(x - t, 1);
}

static double of_third(double x, double t, int64_t k) {
    (void)k;
    return smooth(x - t, 0.3);
}

static double of_zero(double x, double t, int64_t k) {
    (void)k;
    return fabs(x - t);
}

static void formula_matches(void) {
    loss_check_formula("smooth_l1_loss", "{}", of_one);
    loss_check_formula("smooth_l1_loss", "{beta: 0.3}", of_third);
    loss_check_formula("smooth_l1_loss", "{beta: 0}", of_zero);
}

static void own(void) {
    layer_check_own("smooth_l1_loss");
}

static void refuses(void) {
    loss_refuses_misfits("smooth_l1_loss");
    layer_refuses("smooth_l1_loss", "{input: [4, 5], target: values, params: {beta: -1}}", "beta");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
