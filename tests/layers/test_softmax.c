/* softmax: every kernel against the double twin, in place too; sums of 1, no overflow. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},       {"{}", "[1, 1]"},        {"{}", "[4, 2]"},       {"{}", "[2, 100]"},
        {"{}", "[2, 5, 1, 1]"}, {"{}", "[2, 17, 3, 2]"}, {"{}", "[2, 1, 2, 2]"}, {"{}", "[1, 33]"},
    };
    LAYER_CHECK("softmax", cases);
}

/* Far beyond exp's range. */
static void large_scores(void) {
    layer_registries open = layer_open();
    layer_check_text(open, "softmax", "{input: [3, 5], range: [-300, 300]}");
    layer_check_text(open, "softmax", "{input: [2, 4, 2, 2], range: [1000, 1004]}");
    layer_close(open);
}

/* Over the channels, at each pixel. */
static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "softmax", "{input: [2, 5, 3, 2]}", &run)) {
        for (int64_t i = 0; i < 2 * 3 * 2; i++) {
            const int64_t n = i / 6, y = i / 2 % 3, x = i % 2;
            double sum = 0, sum_out = 0;
            for (int64_t c = 0; c < 5; c++) {
                sum += exp(layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x));
                sum_out += layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x);
            }
            worst = fmax(worst, fabs(sum_out - 1));
            for (int64_t c = 0; c < 5; c++) {
                double expected = exp(layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x)) / sum;
                double got = layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x);
                worst = fmax(worst, fabs(got - expected));
            }
        }
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("softmax");
}

static void refuses(void) {
    layer_refuses("softmax", "{input: [2, 3, 4]}", "needs flat (N, F) or image");
}

LAMINA_TESTS({"shapes", shapes}, {"large scores", large_scores},
             {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes", refuses})
