/* nll_loss: against the double twin, the twin against finite differences, and the formula with its
 * weights and its ignored label, whatever part of the batch a call sees. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3]]"},
        {"{}", "[1, 1]"},
        {"{}", "[3, 5, 1, 1]"},
        {"{}", "[2, 300]"},
        {"{class_weights: [1, 2, 0.5]}", "[8, 3]"},
        {"{ignore_label: 1}", "[9, 3]"},
        {"{class_weights: [1, 2, 0.5], ignore_label: 0}", "[9, 3]"},
        {"{ignore_label: 77}", "[4, 3]"},
    };
    LAYER_CHECK("nll_loss", cases);
}

static void formula_matches(void) {
    static const double weight[] = {1, 2, 0.5, 4};
    layer_registries open = layer_open();
    layer_run run;
    const char *text = "{input: [12, 4], params: {class_weights: [1, 2, 0.5, 4], ignore_label: 2}}";
    if (layer_forward(open, "nll_loss", text, &run)) {
        double sum = 0;
        int ignored = 0;
        for (int64_t n = 0; n < 12; n++) {
            const int64_t label = (int64_t)layer_at(&run, LAMINA__ROLE_IN, 1, n, 0, 0, 0);
            sum += label == 2 ? 0 : weight[label];
            ignored += label == 2;
        }
        CU_ASSERT(ignored > 0 && ignored < 12);
        for (int64_t n = 0; n < 12; n++) {
            const int64_t label = (int64_t)layer_at(&run, LAMINA__ROLE_IN, 1, n, 0, 0, 0);
            const double x = layer_at(&run, LAMINA__ROLE_IN, 0, n, label, 0, 0);
            const double expected = label == 2 ? 0 : -x * weight[label] * 12 / sum;
            CU_ASSERT_DOUBLE_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), expected, 1e-6);
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("nll_loss");
}

static void refuses(void) {
    layer_refuses("nll_loss", "{input: [2, 3, 4]}", "needs one score for each class");
    layer_refuses("nll_loss", "{input: [2, 3], params: {class_weights: [1, 2]}}",
                  "class_weights has 2 numbers for 3 classes");
    layer_refuses("nll_loss", "{input: [2, 3], params: {class_weights: [1, -2, 3]}}",
                  "must be >= 0, got -2");
    layer_refuses("nll_loss", "{input: [2, 3], target: values}", "one label for each of the 2");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
