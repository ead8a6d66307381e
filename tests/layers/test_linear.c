/* linear: every kernel against the double twin, and the definition in logical order: features of an
 * image count in C,H,W order whatever the memory looks like. */
#include "layer_checks.h"

#include <math.h>

static void sizes(void) {
    static const layer_case cases[] = {
        {"{units: 5}", "[3, 7]"},   {"{units: 1}", "[1, 1]"},
        {"{units: 10}", "[1, 33]"}, {"{units: 17}", "[2, 17]"},
        {"{units: 64}", "[7, 48]"}, {"{units: 3, bias: false}", "[5, 9]"},
    };
    LAYER_CHECK("linear", cases);
}

static void images(void) {
    static const layer_case cases[] = {
        {"{units: 4}", "[2, 3, 4, 5]"},
        {"{units: 11}", "[3, 17, 2, 2]"},
        {"{units: 3}", "[2, 1, 5, 3]"},
        {"{units: 6, bias: false}", "[1, 5, 1, 1]"},
    };
    LAYER_CHECK("linear", cases);
}

/* Sizes on both sides of those at which our own kernel changes its way: samples that are computed
 * one by one, by dot products, and in panels; blocks of features and of units. */
static void check_ways(void *arg) {
    static const layer_case cases[] = {
        {"{units: 19}", "[1, 37]"},  {"{units: 9}", "[3, 270]"},  {"{units: 33}", "[4, 50]"},
        {"{units: 7}", "[8, 31]"},   {"{units: 18}", "[9, 261]"}, {"{units: 130}", "[17, 20]"},
        {"{units: 17}", "[50, 33]"},
    };
    (void)arg;
    LAYER_CHECK("linear", cases);
}

static void ways(void) {
    layer_each_isa(check_ways, NULL);
}

/* y = W x + b with x flattened in C,H,W order, as the weight's logical shape (O, C*H*W) promises.
 */
static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "linear", "{input: [2, 3, 4, 5], params: {units: 6}}", &run)) {
        for (int64_t n = 0; n < 2; n++) {
            for (int64_t o = 0; o < 6; o++) {
                const lamina__field *weight = lamina__rig_field(run.rig, LAMINA__ROLE_WEIGHT, 0);
                double sum = layer_at(&run, LAMINA__ROLE_WEIGHT, 1, o, 0, 0, 0);
                for (int64_t i = 0; i < 60; i++) {
                    sum += lamina__field_get(weight, o * 60 + i) *
                           layer_at(&run, LAMINA__ROLE_IN, 0, n, i / 20, i / 5 % 4, i % 5);
                }
                double error = fabs(sum - layer_at(&run, LAMINA__ROLE_OUT, 0, n, o, 0, 0));
                worst = error > worst ? error : worst;
            }
        }
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 1), 6);
    }
    CU_ASSERT(worst < 1e-5);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("linear");
}

static void refuses(void) {
    layer_refuses("linear", "{input: [4, 10, 5], params: {units: 3}}",
                  "needs 2-D or image input, got [4, 10, 5]");
    layer_refuses("linear", "{input: [4, 10], params: {}}", "units");
    layer_refuses("linear", "{input: [4, 10], params: {units: 0}}", "units");
    layer_refuses("linear", "{input: [4, 10], params: {units: 3, unit: 4}}", "did you mean");
}

LAMINA_TESTS({"flat input", sizes}, {"ways to compute, with each instruction set", ways},
             {"images", images}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
