/* conv: every kernel against the double twin, over the shapes that break convolutions. */
#include "layer_checks.h"

#include <math.h>

static void sizes(void) {
    static const layer_case cases[] = {
        {"{filters: 3, kernel: 3}", "[2, 3, 7, 7]"},
        {"{filters: 1, kernel: 3}", "[2, 1, 5, 6]"},
        {"{filters: 17, kernel: 3}", "[2, 17, 5, 5]"},
        {"{filters: 16, kernel: 3, padding: 1}", "[2, 16, 6, 6]"},
        {"{filters: 5, kernel: 5}", "[1, 1, 12, 11]"},
        {"{filters: 4, kernel: 1}", "[3, 5, 3, 2]"},
        {"{filters: 4, kernel: 1}", "[3, 2, 1, 1]"},
        {"{filters: 2, kernel: 3, padding: 1}", "[1, 3, 1, 1]"},
        {"{filters: 3, kernel: [4, 5]}", "[2, 2, 4, 5]"},
        {"{filters: 20, kernel: 5}", "[2, 1, 9, 9]"},
        {"{filters: 7, kernel: 2}", "[9, 3, 4, 3]"},
    };
    LAYER_CHECK("conv", cases);
}

static void windows(void) {
    static const layer_case cases[] = {
        {"{filters: 3, kernel: 3, stride: 2}", "[2, 3, 7, 8]"},
        {"{filters: 3, kernel: 2, stride: 3}", "[2, 2, 8, 7]"}, /* pixels that no window reads */
        {"{filters: 3, kernel: 3, dilation: 2}", "[2, 2, 7, 6]"},
        {"{filters: 3, kernel: [3, 1], dilation: [2, 1], stride: [1, 2]}", "[2, 2, 7, 5]"},
        {"{filters: 2, kernel: [1, 5], padding: [0, 2]}", "[2, 2, 4, 6]"},
        {"{filters: 2, kernel: [5, 2], stride: [2, 1], padding: [2, 1]}", "[2, 3, 6, 5]"},
        {"{filters: 2, kernel: 3, padding: [0, 1, 2, 0]}", "[2, 3, 5, 5]"},
        {"{filters: 3, kernel: 4, padding: same}", "[1, 2, 7, 6]"},
        {"{filters: 3, kernel: 3, stride: 2, padding: same}", "[2, 2, 6, 7]"},
        {"{filters: 2, kernel: 3, padding: 3}", "[2, 2, 3, 3]"}, /* windows that see only zeros */
        {"{filters: 3, kernel: 3, bias: false}", "[2, 3, 5, 5]"},
    };
    LAYER_CHECK("conv", cases);
}

/* Widths that leave part of a vector, of a block of rows or of a panel over, each way. */
static void tails(void) {
    static const layer_case cases[] = {
        {"{filters: 50, kernel: 5}", "[3, 20, 12, 12]"},
        {"{filters: 20, kernel: 5}", "[1, 1, 28, 28]"},
        {"{filters: 33, kernel: 3, padding: same}", "[2, 17, 6, 7]"},
        {"{filters: 49, kernel: [1, 3], padding: [0, 1]}", "[2, 17, 4, 5]"},
        {"{filters: 51, kernel: [3, 1]}", "[1, 33, 6, 4]"},
        {"{filters: 34, kernel: [2, 3], padding: [1, 0, 0, 2], bias: false}", "[1, 20, 4, 5]"},
        {"{filters: 65, kernel: 1}", "[2, 33, 3, 3]"},
        {"{filters: 35, kernel: 1, padding: 1}", "[1, 40, 1, 1]"},
        {"{filters: 37, kernel: 3, padding: 1}", "[2, 5, 1, 1]"},
        {"{filters: 33, kernel: 3, padding: 3}", "[2, 2, 3, 3]"},
        {"{filters: 112, kernel: 2}", "[1, 3, 4, 12]"},
        {"{filters: 9, kernel: 3, padding: 2}", "[5, 11, 1, 1]"},
        {"{filters: 1, kernel: 3, padding: 1}", "[2, 33, 4, 5]"},
    };
    LAYER_CHECK("conv", cases);
}

static void groups(void) {
    static const layer_case cases[] = {
        {"{filters: 6, kernel: 3, groups: 2, padding: 1}", "[2, 4, 5, 5]"},
        {"{filters: 6, kernel: 3, groups: 3, bias: false}", "[2, 3, 5, 4]"},
        {"{filters: 5, kernel: 3, groups: 5, padding: 1}", "[2, 5, 6, 5]"},   /* depthwise */
        {"{filters: 17, kernel: 3, groups: 17, stride: 2}", "[2, 17, 7, 7]"}, /* depthwise */
        {"{filters: 8, kernel: 1, groups: 4}", "[3, 4, 3, 3]"},
    };
    LAYER_CHECK("conv", cases);
}

typedef struct formula_case {
    const char *text;
    int64_t groups, stride[2], padding[2], dilation[2];
} formula_case;

/* The definition, in logical order: sum over the window, zeros outside the image. */
static double formula(const layer_run *run, const formula_case *c, const int64_t at[4]) {
    const int64_t in_each = layer_dim(run, LAMINA__ROLE_WEIGHT, 1);
    const int64_t filters = layer_dim(run, LAMINA__ROLE_WEIGHT, 0);
    const int64_t group = at[1] / (filters / c->groups);
    double sum = layer_at(run, LAMINA__ROLE_WEIGHT, 1, at[1], 0, 0, 0);
    for (int64_t i = 0; i < in_each; i++) {
        for (int64_t u = 0; u < layer_dim(run, LAMINA__ROLE_WEIGHT, 2); u++) {
            for (int64_t v = 0; v < layer_dim(run, LAMINA__ROLE_WEIGHT, 3); v++) {
                const int64_t y = at[2] * c->stride[0] + u * c->dilation[0] - c->padding[0];
                const int64_t x = at[3] * c->stride[1] + v * c->dilation[1] - c->padding[1];
                if (y >= 0 && y < layer_dim(run, LAMINA__ROLE_IN, 2) && x >= 0 &&
                    x < layer_dim(run, LAMINA__ROLE_IN, 3)) {
                    sum += layer_at(run, LAMINA__ROLE_WEIGHT, 0, at[1], i, u, v) *
                           layer_at(run, LAMINA__ROLE_IN, 0, at[0], group * in_each + i, y, x);
                }
            }
        }
    }
    return sum;
}

static void formula_matches(void) {
    static const formula_case cases[] = {
        {"{input: [2, 3, 6, 5], params: {filters: 4, kernel: 3}}", 1, {1, 1}, {0, 0}, {1, 1}},
        {"{input: [2, 4, 7, 8], params: {filters: 6, kernel: [3, 2], stride: [2, 1], "
         "padding: [1, 0], groups: 2, dilation: [1, 2]}}",
         2,
         {2, 1},
         {1, 0},
         {1, 2}},
        /* same: 6 -> 3 by stride 2 with kernel 3 needs one zero, at the bottom; 7 -> 4 needs two */
        {"{input: [1, 2, 6, 7], params: {filters: 3, kernel: 3, stride: 2, padding: same}}",
         1,
         {2, 2},
         {0, 1},
         {1, 1}},
    };
    layer_registries open = layer_open();
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        layer_run run;
        double worst = 0;
        if (layer_forward(open, "conv", cases[k].text, &run)) {
            int64_t n[4], at[4];
            for (int i = 0; i < 4; i++) {
                n[i] = layer_dim(&run, LAMINA__ROLE_OUT, i);
            }
            for (at[0] = 0; at[0] < n[0]; at[0]++) {
                for (at[1] = 0; at[1] < n[1]; at[1]++) {
                    for (at[2] = 0; at[2] < n[2]; at[2]++) {
                        for (at[3] = 0; at[3] < n[3]; at[3]++) {
                            double got =
                                layer_at(&run, LAMINA__ROLE_OUT, 0, at[0], at[1], at[2], at[3]);
                            double error = fabs(got - formula(&run, &cases[k], at));
                            worst = error > worst ? error : worst;
                        }
                    }
                }
            }
        }
        CU_ASSERT(worst < 1e-5);
        layer_run_free(&run);
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("conv");
}

static void refuses(void) {
    layer_refuses("conv", "{input: [2, 3], params: {filters: 2, kernel: 3}}", "image");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 7}}", "7");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, groups: 2}}",
                  "groups 2 must divide");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2}}", "kernel");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 0, kernel: 3}}", "filters");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, strides: 2}}",
                  "did you mean \"stride\"");
}

LAMINA_TESTS({"sizes", sizes}, {"strides, dilation, padding", windows},
             {"tails of vectors and blocks", tails}, {"groups", groups},
             {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
