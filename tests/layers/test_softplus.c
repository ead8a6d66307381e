/* softplus: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},        {"{}", "[1, 1]"},
        {"{}", "[2, 17, 3, 3]"}, {"{}", "[6]"},
        {"{}", "[2, 16, 8, 8]"}, {"{beta: 2}", "[3, 7]"},
        {"{beta: 2}", "[1, 1]"}, {"{beta: 2}", "[2, 17, 3, 3]"},
        {"{beta: 2}", "[6]"},    {"{beta: 2}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("softplus", cases);
}

static double formula0(double x) {
    return x > 40 ? x : log1p(exp(x));
}

static double formula1(double x) {
    return x > 20 ? x : log1p(exp(2 * x)) / 2;
}

static void formula_matches(void) {
    layer_check_formula("softplus", "{}", formula0);
    layer_check_formula("softplus", "{beta: 2}", formula1);
}

static void own(void) {
    layer_check_own("softplus");
}

static void refuses(void) {
    layer_refuses("softplus", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
