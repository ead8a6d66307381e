/* layer_norm: against the double twin and finite differences, and the formula, for which the
 * weights are taken in their logical order, (C, H, W). */
#include "norm_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},
        {"{}", "[1, 300]"},
        {"{eps: 0.5}", "[4, 2]"},
        {"{}", "[2, 3, 5, 4]"},
        {"{}", "[1, 17, 3, 3]"},
        {"{}", "[3, 17, 1, 1]"},
        {"{}", "[2, 1, 4, 3]"},
        {"{}", "[2, 16, 9, 7]"},
        {"{}", "[2, 3, 65]"},
        {"{affine: false}", "[5, 33]"},
        {"{affine: false}", "[2, 3, 4, 4]"},
        {"{over: channels}", "[2, 5, 3, 4]"},
        {"{over: channels}", "[3, 17, 1, 1]"},
        {"{over: channels}", "[2, 70, 9, 7]"},
        {"{over: channels}", "[4, 9]"},
        {"{over: channels, affine: false, eps: 0.1}", "[1, 6, 4, 4]"},
    };
    LAYER_CHECK("layer_norm", cases);
}

static void formula_matches(void) {
    norm_check_formula("layer_norm", "{input: [4, 13]}", 1, 1e-5);
    norm_check_formula("layer_norm", "{input: [2, 6, 5, 3]}", 1, 1e-5);
    norm_check_formula("layer_norm", "{input: [2, 17, 9, 9], params: {affine: false}}", 1, 1e-5);
    norm_check_formula("layer_norm", "{input: [3, 1000], params: {eps: 0.1}}", 1, 0.1);
    norm_check_formula("layer_norm", "{input: [3, 1000], range: [9998.3, 10001.7]}", 1, 1e-5);
    norm_check_formula("layer_norm", "{input: [4, 9], params: {over: channels}}", 1, 1e-5);
}

/* Over channels, pixel by pixel. */
static void formula_over_channels(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "layer_norm", "{input: [2, 19, 3, 2], params: {over: channels}}",
                      &run)) {
        for (int64_t i = 0; i < 2 * 6; i++) {
            const int64_t n = i / 6, y = i / 2 % 3, x = i % 2;
            double mean = 0, variance = 0;
            for (int64_t c = 0; c < 19; c++) {
                mean += layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) / 19;
            }
            for (int64_t c = 0; c < 19; c++) {
                const double d = layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) - mean;
                variance += d * d / 19;
            }
            for (int64_t c = 0; c < 19; c++) {
                const double xhat =
                    (layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) - mean) / sqrt(variance + 1e-5);
                const double want = xhat * layer_at(&run, LAMINA__ROLE_WEIGHT, 0, c, 0, 0, 0) +
                                    layer_at(&run, LAMINA__ROLE_WEIGHT, 1, c, 0, 0, 0);
                worst = fmax(worst, fabs(layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x) - want));
            }
        }
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("layer_norm");
}

static void refuses(void) {
    layer_refuses("layer_norm", "{input: [2, 1]}", "more than one value");
    layer_refuses("layer_norm", "{input: [2, 1, 4, 4], params: {over: channels}}",
                  "more than one value");
    layer_refuses("layer_norm", "{input: [2, 3, 4], params: {over: channels}}", "needs images");
    layer_refuses("layer_norm", "{input: [2, 3], params: {over: pixels}}", "over");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches},
             {"matches the formula over channels", formula_over_channels}, {"its own cases", own},
             {"refuses what it cannot do", refuses})
