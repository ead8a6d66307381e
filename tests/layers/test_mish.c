/* mish: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"}, {"{}", "[1, 1]"},        {"{}", "[2, 17, 3, 3]"},
        {"{}", "[6]"},    {"{}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("mish", cases);
}

static double formula0(double x) {
    return x * tanh(x > 30 ? x : log1p(exp(x)));
}

static void formula_matches(void) {
    layer_check_formula("mish", "{}", formula0);
}

static void own(void) {
    layer_check_own("mish");
}

static void refuses(void) {
    layer_refuses("mish", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
