/* softmax_loss: every kernel against the double twin, and -log softmax(x)[label]. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3]]"}, {"{}", "[4, 2]"},  {"{}", "[[1, 10], [1]]"}, {"{}", "[2, 100]"},
        {"{}", "[3, 5, 1, 1]"},  {"{}", "[2, 1]"},  {"{}", "[2, 15]"},        {"{}", "[2, 16]"},
        {"{}", "[2, 17]"},       {"{}", "[1, 33]"},
    };
    LAYER_CHECK("softmax_loss", cases);
}

static void large_scores(void) {
    layer_registries open = layer_open();
    layer_check_text(open, "softmax_loss", "{input: [3, 5], range: [-60, 60]}");
    layer_check_text(open, "softmax_loss", "{input: [3, 5], range: [500, 504]}");
    layer_close(open);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    double worst = 0;
    if (layer_forward(open, "softmax_loss", "{input: [4, 5]}", &run)) {
        for (int64_t n = 0; n < 4; n++) {
            const int64_t label = (int64_t)layer_at(&run, LAMINA__ROLE_IN, 1, n, 0, 0, 0);
            double sum = 0;
            CU_ASSERT(label >= 0 && label < 5);
            for (int64_t k = 0; k < 5; k++) {
                sum += exp(layer_at(&run, LAMINA__ROLE_IN, 0, n, k, 0, 0));
            }
            double expected = log(sum) - layer_at(&run, LAMINA__ROLE_IN, 0, n, label, 0, 0);
            worst = fmax(worst, fabs(expected - layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0)));
        }
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
    layer_close(open);
}

/* In any lane, in a whole vector or in what is left over, and no other sample's. */
static void nan_makes_nan(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "softmax_loss", "{input: [2, 37]}", &run)) {
        lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        for (int64_t k = 0; k < 37; k++) {
            const double before = lamina__field_get(in, k);
            lamina__field_set(in, k, NAN);
            CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
            wrong += !isnan(layer_at(&run, LAMINA__ROLE_OUT, 0, 0, 0, 0, 0));
            wrong += !isfinite(layer_at(&run, LAMINA__ROLE_OUT, 0, 1, 0, 0, 0));
            lamina__field_set(in, k, before);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("softmax_loss");
}

static void refuses(void) {
    layer_refuses("softmax_loss", "{input: [2, 3, 4]}", "needs one score for each class");
    layer_refuses("softmax_loss", "{input: [2, 3, 4, 4]}", "linear");
}

LAMINA_TESTS({"shapes", shapes}, {"large scores", large_scores},
             {"matches the formula", formula_matches}, {"NaN makes NaN", nan_makes_nan},
             {"its own cases", own}, {"refuses bad shapes", refuses})
