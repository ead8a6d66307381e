/* elu: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},           {"{}", "[1, 1]"},
        {"{}", "[2, 17, 3, 3]"},    {"{}", "[6]"},
        {"{}", "[2, 16, 8, 8]"},    {"{alpha: 0.5}", "[3, 7]"},
        {"{alpha: 0.5}", "[1, 1]"}, {"{alpha: 0.5}", "[2, 17, 3, 3]"},
        {"{alpha: 0.5}", "[6]"},    {"{alpha: 0.5}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("elu", cases);
}

static double formula0(double x) {
    return x > 0 ? x : expm1(x);
}

static double formula1(double x) {
    return x > 0 ? x : 0.5 * expm1(x);
}

static void formula_matches(void) {
    layer_check_formula("elu", "{}", formula0);
    layer_check_formula("elu", "{alpha: 0.5}", formula1);
}

static void own(void) {
    layer_check_own("elu");
}

static void refuses(void) {
    layer_refuses("elu", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
