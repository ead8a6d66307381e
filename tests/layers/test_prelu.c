/* prelu: against the double twin and finite differences, with one weight and one a channel, and the
 * formulas of the output and of the weight's gradient. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},
        {"{}", "[1, 1]"},
        {"{}", "[6]"},
        {"{}", "[2, 17, 3, 3]"},
        {"{}", "[2, 3, 4, 5, 2]"},
        {"{}", "[2, 16, 8, 8]"},
        {"{shared: false}", "[3, 7]"},
        {"{shared: false}", "[1, 1]"},
        {"{shared: false}", "[2, 17, 3, 3]"},
        {"{shared: false}", "[2, 16, 8, 8]"},
        {"{shared: false}", "[2, 1, 4, 5]"},
        {"{shared: false}", "[3, 300]"},
    };
    LAYER_CHECK("prelu", cases);
}

/* Several blocks, parts and threads; all on one side of the corner, of which finite differences
 * would meet too many. */
static void many_numbers(void) {
    layer_registries open = layer_open();
    layer_check_text(open, "prelu", "{input: [3, 20001], range: [-2, -1]}");
    layer_check_text(open, "prelu", "{input: [3, 3001], params: {shared: false}, range: [-2, -1]}");
    layer_check_text(open, "prelu",
                     "{input: [2, 64, 20, 20], params: {shared: false}, range: [-2, -1]}");
    layer_close(open);
}

/* Output, and da_c = the sum of x dy where x <= 0, of (2, 3, 4, 5). */
static void formula_case(layer_registries open, bool shared) {
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    double worst = 0, sum[3] = {0};
    char text[128];
    snprintf(text, sizeof text, "{input: [2, 3, 4, 5], params: {shared: %s}}",
             shared ? "true" : "false");
    if (layer_forward(open, "prelu", text, &run)) {
        CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
        for (int64_t i = 0; i < 2 * 3 * 4 * 5; i++) {
            const int64_t n = i / 60, c = i / 20 % 3, h = i / 5 % 4, w = i % 5;
            const double a = layer_at(&run, LAMINA__ROLE_WEIGHT, 0, shared ? 0 : c, 0, 0, 0);
            const double x = layer_at(&run, LAMINA__ROLE_IN, 0, n, c, h, w);
            const double dy = layer_at(&run, LAMINA__ROLE_D_OUT, 0, n, c, h, w);
            const double y = layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, h, w);
            const double dx = layer_at(&run, LAMINA__ROLE_D_IN, 0, n, c, h, w);
            worst = fmax(worst, fabs(y - (x > 0 ? x : a * x)));
            worst = fmax(worst, fabs(dx - (x > 0 ? dy : a * dy)));
            sum[shared ? 0 : c] += x > 0 ? 0 : x * dy;
        }
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_WEIGHT, 0), shared ? 1 : 3);
        for (int64_t c = 0; c < (shared ? 1 : 3); c++) {
            const double got = layer_at(&run, LAMINA__ROLE_D_WEIGHT, 0, c, 0, 0, 0);
            worst = fmax(worst, fabs(got - sum[c]));
        }
    }
    CU_ASSERT(worst < 1e-5);
    layer_run_free(&run);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    formula_case(open, true);
    formula_case(open, false);
    layer_close(open);
}

/* As torch.nn.PReLU begins. */
static void begins_at_a_quarter(void) {
    layer_registries open = layer_open();
    layer_run run;
    if (layer_forward(open, "prelu", "{input: [2, 3], params: {shared: false}}", &run)) {
        const lamina_weight *weight = &run.rig->instance->weights[0];
        TEST_TEXT(weight->name, "weight");
        CU_ASSERT_EQUAL(weight->init.kind, LAMINA_INIT_CONSTANT);
        CU_ASSERT_EQUAL(weight->init.value, 0.25);
        CU_ASSERT_EQUAL(weight->flags, LAMINA_WEIGHT_NO_DECAY);
    }
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("prelu");
}

static void refuses(void) {
    layer_refuses("prelu", "{input: [2, 3, 4], params: {shared: false}}",
                  "a weight of each channel, got [2, 3, 4]");
    layer_refuses("prelu", "{input: [2, 3], params: {slope: 0.1}}", "slope");
}

LAMINA_TESTS({"shapes", shapes}, {"many numbers", many_numbers},
             {"matches the formula", formula_matches}, {"begins at a quarter", begins_at_a_quarter},
             {"its own cases", own}, {"refuses bad shapes and parameters", refuses})
