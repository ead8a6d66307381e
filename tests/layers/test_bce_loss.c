/* bce_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "loss_checks.h"

#include <math.h>

static void shapes(void) {
    loss_check_shapes("bce_loss", "{}");
    loss_check_shapes("bce_loss", "{pos_weight: 3}");
    static const layer_case cases[] = {
        {"{logits: false}", "[3, 7], target: values, range: [0.05, 0.95]"},
        {"{logits: false}", "[[2, 3, 4, 5], [2, 60]], target: values, range: [0.05, 0.95]"},
        {"{pos_weight: [1, 2, 0.5]}", "[2, 3, 4, 5], target: values"},
        {"{pos_weight: [1, 2, 0.5]}", "[[4, 3], [4, 3]], target: values, range: [-20, 20]"},
    };
    LAYER_CHECK("bce_loss", cases);
}

/* Far out the loss is the logit itself, or 0, and neither overflows. */
static void large_logits(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "bce_loss", "{input: [4, 1], target: values}", &run)) {
        static const double x[] = {1000, 1000, -1000, -1000}, t[] = {0, 1, 0, 1};
        static const double expected[] = {1000, 0, 0, 1000}, slope[] = {1, 0, 0, -1};
        lamina__field *d_out = lamina__rig_field(run.rig, LAMINA__ROLE_D_OUT, 0);
        for (int n = 0; n < 4; n++) {
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), n, x[n]);
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), n, t[n]);
            lamina__field_set(d_out, n, 1);
        }
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
        for (int n = 0; n < 4; n++) {
            CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), expected[n]);
            CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_D_IN, 0, n, 0, 0, 0), slope[n]);
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

/* Probabilities of 0 and 1 cost no more than 100, as PyTorch has it. */
static void certain_probabilities(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "bce_loss",
                      "{input: [4, 1], target: values, range: [0, 1], params: {logits: false}}",
                      &run)) {
        static const double x[] = {0, 1, 0, 1}, t[] = {0, 1, 1, 0}, expected[] = {0, 0, 100, 100};
        for (int n = 0; n < 4; n++) {
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), n, x[n]);
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), n, t[n]);
        }
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        for (int n = 0; n < 4; n++) {
            CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), expected[n]);
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

/* As it is defined, with the logarithms of a sigmoid. */
static double weighted(double x, double t, double p) {
    return p * t * log1p(exp(-x)) + (1 - t) * log1p(exp(x));
}

static double of_logits(double x, double t, int64_t k) {
    (void)k;
    return weighted(x, t, 1);
}

static double of_weighted(double x, double t, int64_t k) {
    static const double p[] = {2, 0.5, 3};
    return weighted(x, t, p[k / 8]); /* channels of 2 x 4 pixels */
}

static double of_features(double x, double t, int64_t k) {
    static const double p[] = {2, 0.5, 3};
    return weighted(x, t, p[k]);
}

static double of_probabilities(double x, double t, int64_t k) {
    (void)k;
    return -t * log(x) - (1 - t) * log(1 - x);
}

static void formula_matches(void) {
    loss_check_formula("bce_loss", "{}", of_logits);
    loss_check_means(
        "bce_loss",
        "{input: [[2, 3, 2, 4], [2, 24]], target: values, params: {pos_weight: [2, 0.5, 3]}}",
        of_weighted);
    loss_check_means("bce_loss",
                     "{input: [5, 3], target: values, params: {pos_weight: [2, 0.5, 3]}}",
                     of_features);
    loss_check_means(
        "bce_loss",
        "{input: [4, 50], target: values, range: [0.01, 0.99], params: {logits: false}}",
        of_probabilities);
}

static void own(void) {
    layer_check_own("bce_loss");
}

static void refuses(void) {
    loss_refuses_misfits("bce_loss");
    layer_refuses("bce_loss", "{input: [4, 5], target: values, params: {pos_weight: [1, 2]}}",
                  "pos_weight has 2 numbers; give one, or one for each feature");
    layer_refuses("bce_loss",
                  "{input: [4, 5], target: values, params: {pos_weight: 2, logits: false}}",
                  "pos_weight goes with logits only");
    layer_refuses("bce_loss", "{input: [4, 5], target: values, params: {pos_weight: -1}}",
                  "pos_weight");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"large logits", large_logits}, {"certain probabilities", certain_probabilities},
             {"refuses what does not fit", refuses})
