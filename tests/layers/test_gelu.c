/* gelu: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},
        {"{}", "[1, 1]"},
        {"{}", "[2, 17, 3, 3]"},
        {"{}", "[6]"},
        {"{}", "[2, 16, 8, 8]"},
        {"{approximate: tanh}", "[3, 7]"},
        {"{approximate: tanh}", "[1, 1]"},
        {"{approximate: tanh}", "[2, 17, 3, 3]"},
        {"{approximate: tanh}", "[6]"},
        {"{approximate: tanh}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("gelu", cases);
}

static double formula0(double x) {
    return x * 0.5 * (1 + erf(x * sqrt(0.5)));
}

static double formula1(double x) {
    return x * 0.5 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void formula_matches(void) {
    layer_check_formula("gelu", "{}", formula0);
    layer_check_formula("gelu", "{approximate: tanh}", formula1);
}

static void own(void) {
    layer_check_own("gelu");
}

static void refuses(void) {
    layer_refuses("gelu", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
