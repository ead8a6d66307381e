/* instance_norm: against the double twin and finite differences, and the formula. */
#include "norm_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[2, 3, 5, 4]"},
        {"{}", "[1, 1, 3, 3]"},
        {"{}", "[2, 17, 3, 2]"},
        {"{}", "[3, 16, 9, 7]"},
        {"{}", "[1, 300, 2, 3]"},
        {"{}", "[2, 5, 1, 4]"},
        {"{affine: true}", "[2, 3, 5, 4]"},
        {"{affine: true}", "[1, 1, 5, 5]"},
        {"{affine: true}", "[6, 17, 4, 4]"},
        {"{affine: true, eps: 0.5}", "[3, 2, 2, 1]"},
    };
    LAYER_CHECK("instance_norm", cases);
}

static void formula_matches(void) {
    norm_check_formula("instance_norm", "{input: [2, 6, 5, 3]}", 6, 1e-5);
    norm_check_formula("instance_norm", "{input: [2, 17, 9, 9], params: {affine: true}}", 17, 1e-5);
    norm_check_formula("instance_norm", "{input: [1, 3, 2, 2], params: {eps: 0.1}}", 3, 0.1);
    norm_check_formula("instance_norm", "{input: [2, 8, 9, 9], range: [9998.3, 10001.7]}", 8, 1e-5);
}

static void own(void) {
    layer_check_own("instance_norm");
}

static void refuses(void) {
    layer_refuses("instance_norm", "{input: [2, 6]}", "needs image input");
    layer_refuses("instance_norm", "{input: [2, 6, 1, 1]}", "more than one pixel");
    layer_refuses("instance_norm", "{input: [2, 6, 3, 3], params: {momentum: 0.1}}", "momentum");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what it cannot do", refuses})
