/* lrn: against the double twin and finite differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{size: 5}", "[2, 7, 3, 4]"},
        {"{size: 5, alpha: 1}", "[2, 7, 3, 4]"},
        {"{size: 1, alpha: 1}", "[3, 5]"},
        {"{size: 2, alpha: 1}", "[2, 17, 3, 3]"},
        {"{size: 3, alpha: 2, beta: 0.5, k: 2}", "[1, 1, 3, 3]"},
        {"{size: 4, alpha: 3, beta: 1, k: 0.5}", "[2, 3, 1, 1]"},
        {"{size: 30, alpha: 5}", "[2, 16, 4, 4]"},
        {"{size: 65536, alpha: 65536}", "[2, 3]"},
        {"{size: 5, alpha: 1, beta: 0}", "[2, 64, 3, 2]"},
        {"{size: 7, alpha: 4, beta: 2.5}", "[1, 33]"},
    };
    LAYER_CHECK("lrn", cases);
}

static void check_formula(const char *text, int64_t size, double alpha, double beta, double k) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "lrn", text, &run)) {
        const int64_t channels = layer_dim(&run, LAMINA__ROLE_IN, 1);
        for (int64_t i = 0; i < 2 * 6 * channels; i++) {
            const int64_t n = i / channels / 6, c = i % channels, y = i / channels / 2 % 3,
                          x = i / channels % 2;
            double s = 0;
            for (int64_t j = c - size / 2; j <= c + (size - 1) / 2; j++) {
                if (j >= 0 && j < channels) {
                    const double v = layer_at(&run, LAMINA__ROLE_IN, 0, n, j, y, x);
                    s += v * v;
                }
            }
            const double want = layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x) *
                                pow(k + alpha / (double)size * s, -beta);
            worst = fmax(worst, fabs(layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y, x) - want));
        }
    }
    if (!(worst < 1e-6)) {
        printf("\n      lrn %s: worst %g", text, worst);
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

static void formula_matches(void) {
    check_formula("{input: [2, 9, 3, 2], params: {size: 5}}", 5, 1e-4, 0.75, 1);
    check_formula("{input: [2, 9, 3, 2], params: {size: 4, alpha: 3}}", 4, 3, 0.75, 1);
    check_formula("{input: [2, 3, 3, 2], params: {size: 9, alpha: 3, beta: 1.5, k: 2}}", 9, 3, 1.5,
                  2);
}

static void own(void) {
    layer_check_own("lrn");
}

static void refuses(void) {
    layer_refuses("lrn", "{input: [2, 6, 3, 3]}", "size");
    layer_refuses("lrn", "{input: [2, 6, 3, 3], params: {size: 0}}", "size");
    layer_refuses("lrn", "{input: [2, 6, 3], params: {size: 3}}", "got 3 dimensions");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what it cannot do", refuses})
