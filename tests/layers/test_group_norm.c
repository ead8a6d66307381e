/* group_norm: against the double twin and finite differences, and the formula. */
#include "norm_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{groups: 1}", "[3, 7]"},
        {"{groups: 3}", "[2, 9]"},
        {"{groups: 2}", "[1, 8, 1, 1]"},
        {"{groups: 1}", "[2, 17, 1, 1]"},
        {"{groups: 1}", "[2, 1, 3, 3]"},
        {"{groups: 1}", "[1, 17, 3, 3]"},
        {"{groups: 17}", "[2, 17, 3, 2]"},
        {"{groups: 3}", "[5, 6, 5, 4]"},
        {"{groups: 4}", "[2, 16, 9, 7]"},
        {"{groups: 8}", "[2, 64, 8, 8]"},
        {"{groups: 5, affine: false}", "[3, 300, 2, 3]"},
        {"{groups: 2, eps: 0.5}", "[3, 4, 5, 5]"},
        {"{groups: 2, eps: 0}", "[3, 10]"},
    };
    LAYER_CHECK("group_norm", cases);
}

/* Element e of a sample is in group e / (C / groups * pixels). */
static void formula_matches(void) {
    norm_check_formula("group_norm", "{input: [2, 6, 5, 3], params: {groups: 3}}", 3, 1e-5);
    norm_check_formula("group_norm", "{input: [2, 17, 4, 4], params: {groups: 1}}", 1, 1e-5);
    norm_check_formula("group_norm", "{input: [3, 12], params: {groups: 4, eps: 0.1}}", 4, 0.1);
    norm_check_formula("group_norm", "{input: [2, 16, 9, 9], params: {groups: 16}}", 16, 1e-5);
    norm_check_formula("group_norm",
                       "{input: [2, 8, 9, 9], params: {groups: 2}, range: [9998.3, 10001.7]}", 2,
                       1e-5);
}

static void far_from_zero(void) {
    layer_registries open = layer_open();
    layer_check_text(open, "group_norm",
                     "{input: [2, 4, 5, 4], params: {groups: 2}, range: [998, 1002]}");
    layer_close(open);
}

static void own(void) {
    layer_check_own("group_norm");
}

static void refuses(void) {
    layer_refuses("group_norm", "{input: [2, 6, 3, 3]}", "groups");
    layer_refuses("group_norm", "{input: [2, 6, 3, 3], params: {groups: 4}}",
                  "groups 4 must divide the 6 channels");
    layer_refuses("group_norm", "{input: [2, 6, 3, 3], params: {groups: 0}}", "groups");
    layer_refuses("group_norm", "{input: [2, 6], params: {groups: 6}}", "more than one value");
    layer_refuses("group_norm", "{input: [2, 6, 1, 1], params: {groups: 6}}",
                  "more than one value");
    layer_refuses("group_norm", "{input: [2, 6, 3], params: {groups: 3}}", "got 3 dimensions");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches},
             {"far from 0", far_from_zero}, {"its own cases", own},
             {"refuses what it cannot do", refuses})
