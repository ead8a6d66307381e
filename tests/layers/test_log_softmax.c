/* log_softmax: against the double twin, in place too, and the formula where softmax is 0. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},       {"{}", "[1, 1]"},        {"{}", "[4, 2]"},       {"{}", "[2, 100]"},
        {"{}", "[2, 5, 1, 1]"}, {"{}", "[2, 17, 3, 2]"}, {"{}", "[2, 1, 2, 2]"}, {"{}", "[1, 33]"},
        {"{}", "[2, 16]"},      {"{}", "[2, 1000]"},
    };
    LAYER_CHECK("log_softmax", cases);
}

static void large_scores(void) {
    layer_registries open = layer_open();
    layer_check_text(open, "log_softmax", "{input: [3, 5], range: [-300, 300]}");
    layer_check_text(open, "log_softmax", "{input: [2, 4, 2, 2], range: [1000, 1004]}");
    layer_close(open);
}

/* Over the channels, at each pixel. */
static void formula_case(layer_registries open, const char *text) {
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "log_softmax", text, &run)) {
        for (int64_t i = 0; i < 2 * 3 * 2; i++) {
            const int64_t n = i / 6, y = i / 2 % 3, x = i % 2;
            double max = -INFINITY, sum = 0, sum_out = 0;
            for (int64_t c = 0; c < 5; c++) {
                max = fmax(max, layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x));
            }
            for (int64_t c = 0; c < 5; c++) {
                sum += exp(layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) - max);
                sum_out += exp(layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x));
            }
            worst = fmax(worst, fabs(sum_out - 1));
            for (int64_t c = 0; c < 5; c++) {
                const double want = layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) - max - log(sum);
                const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x);
                worst = fmax(worst, fabs(got - want) / fmax(1, fabs(want)));
            }
        }
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    formula_case(open, "{input: [2, 5, 3, 2]}");
    formula_case(open, "{input: [2, 5, 3, 2], range: [-400, 400]}");
    layer_close(open);
}

static void own(void) {
    layer_check_own("log_softmax");
}

static void refuses(void) {
    layer_refuses("log_softmax", "{input: [2, 3, 4]}", "needs flat (N, F) or image");
}

LAMINA_TESTS({"shapes", shapes}, {"large scores", large_scores},
             {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes", refuses})
