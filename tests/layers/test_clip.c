/* clip: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{min: -1, max: 0.5}", "[3, 7]"},
        {"{min: -1, max: 0.5}", "[1, 1]"},
        {"{min: -1, max: 0.5}", "[2, 17, 3, 3]"},
        {"{min: -1, max: 0.5}", "[6]"},
        {"{min: -1, max: 0.5}", "[2, 16, 8, 8]"},
        {"{min: 0, max: 6}", "[3, 7]"},
        {"{min: 0, max: 6}", "[1, 1]"},
        {"{min: 0, max: 6}", "[2, 17, 3, 3]"},
        {"{min: 0, max: 6}", "[6]"},
        {"{min: 0, max: 6}", "[2, 16, 8, 8]"},
    };
    LAYER_CHECK("clip", cases);
}

static double formula0(double x) {
    return x < -1 ? -1 : x > 0.5 ? 0.5 : x;
}

static double formula1(double x) {
    return x < 0 ? 0 : x > 6 ? 6 : x;
}

static void formula_matches(void) {
    layer_check_formula("clip", "{min: -1, max: 0.5}", formula0);
    layer_check_formula("clip", "{min: 0, max: 6}", formula1);
}

static void own(void) {
    layer_check_own("clip");
}

static void refuses(void) {
    layer_refuses("clip", "{input: [2, 3], params: {speed: 2}}", "speed");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
