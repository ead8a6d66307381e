/* leaky_relu: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},           {"{}", "[1, 1]"},
        {"{}", "[2, 17, 3, 3]"},    {"{}", "[6]"},
        {"{}", "[2, 16, 8, 8]"},    {"{slope: 0.2}", "[3, 7]"},
        {"{slope: 0.2}", "[1, 1]"}, {"{slope: 0.2}", "[2, 17, 3, 3]"},
        {"{slope: 0.2}", "[6]"},    {"{slope: 0.2}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("leaky_relu", cases);
}

static double formula0(double x) {
    return x > 0 ? x : 0.01 * x;
}

static double formula1(double x) {
    return x > 0 ? x : 0.2 * x;
}

static void formula_matches(void) {
    layer_check_formula("leaky_relu", "{}", formula0);
    layer_check_formula("leaky_relu", "{slope: 0.2}", formula1);
}

static void own(void) {
    layer_check_own("leaky_relu");
}

static void refuses(void) {
    layer_refuses("leaky_relu", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
