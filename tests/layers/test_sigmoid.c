/* sigmoid: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"}, {"{}", "[1, 1]"},        {"{}", "[2, 17, 3, 3]"},
        {"{}", "[6]"},    {"{}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("sigmoid", cases);
}

static double formula0(double x) {
    return 1 / (1 + exp(-x));
}

static void formula_matches(void) {
    layer_check_formula("sigmoid", "{}", formula0);
}

static void own(void) {
    layer_check_own("sigmoid");
}

static void refuses(void) {
    layer_refuses("sigmoid", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
