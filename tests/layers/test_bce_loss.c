/* bce_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "loss_checks.h"

#include <math.h>

#define FRACTIONS "target: values, target_range: [0.1, 0.9]"

static void shapes(void) {
    loss_check_shapes_of("bce_loss", "{}", FRACTIONS);
    loss_check_shapes_of("bce_loss", "{pos_weight: 3}", FRACTIONS);
    static const layer_case cases[] = {
        {"{logits: false}", "[3, 7], target: values, range: [0.05, 0.95]"},
        {"{logits: false}", "[[2, 3, 4, 5], [2, 60]], target: values, range: [0.05, 0.95]"},
        {"{pos_weight: [1, 2, 0.5]}", "[2, 3, 4, 5], target: values, target_range: [0.1, 0.9]"},
        {"{pos_weight: [1, 2, 0.5]}",
         "[[4, 3], [4, 3]], target: values, range: [-20, 20], target_range: [0.1, 0.9]"},
    };
    LAYER_CHECK("bce_loss", cases);
}

/* Far out the loss is the logit itself, or 0, and neither overflows. */
static void large_logits(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "bce_loss", "{input: [4, 1], target: values, target_range: [0, 1]}",
                      &run)) {
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

/* A sure 0, or 1, on the right side: what is left of loss and slope is tiny, and has all its
 * digits.
 */
static void sure_logits(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    for (int weighted = 0; weighted < 2; weighted++) {
        const double p = weighted ? 3 : 1;
        const char *text = weighted ? "{input: [6, 1], target: values, target_range: [0, 1], "
                                      "params: {pos_weight: 3}}"
                                    : "{input: [6, 1], target: values, target_range: [0, 1]}";
        if (layer_forward(open, "bce_loss", text, &run)) {
            static const double x[] = {-12, -16, -20, 12, 16, 20};
            lamina__field *d_out = lamina__rig_field(run.rig, LAMINA__ROLE_D_OUT, 0);
            for (int n = 0; n < 6; n++) {
                lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), n, x[n]);
                lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), n, x[n] > 0);
                lamina__field_set(d_out, n, 1);
            }
            CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
            CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
            for (int n = 0; n < 6; n++) {
                const double e = exp(-fabs(x[n])), part = x[n] > 0 ? p : 1;
                const double loss = part * log1p(e);
                const double slope = (x[n] > 0 ? -part : part) * e / (1 + e);
                CU_ASSERT_DOUBLE_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0) / loss, 1,
                                       1e-6);
                CU_ASSERT_DOUBLE_EQUAL(layer_at(&run, LAMINA__ROLE_D_IN, 0, n, 0, 0, 0) / slope, 1,
                                       1e-6);
            }
        }
        layer_run_free(&run);
    }
    layer_close(open);
}

/* Numbers that are no probabilities are told as such, and where they are. */
static void outside(void) {
    static const struct {
        const char *params;
        double x, t;
        const char *message; /* NULL: fine */
    } cases[] = {
        {"{}", 3, -0.25, "the target must be from 0 to 1, and sample 2 of the batch has -0.25"},
        {"{}", 3, 255, "the target must be from 0 to 1, and sample 2 of the batch has 255"},
        {"{}", 3, 1, NULL},
        {"{logits: false}", 1.5, 0.5,
         "with logits: false the prediction must be from 0 to 1, and sample 2 of the batch has "
         "1.5; put a sigmoid before it or leave logits: true"},
        {"{logits: false}", 0.5, 2, "the target must be from 0 to 1"},
        {"{logits: false}", 1, 0, NULL},
    };
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lamina__fault fault = {0};
        layer_run run;
        char text[200];
        snprintf(text, sizeof text, "{input: [4, 37], target: values, range: [0, 1], params: %s}",
                 cases[i].params);
        if (layer_forward(open, "bce_loss", text, &run)) {
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), 2 * 37 + 36,
                              cases[i].x);
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), 2 * 37 + 35,
                              cases[i].t);
            CU_ASSERT_EQUAL(lamina__rig_forward(run.rig, &call, &fault), cases[i].message == NULL);
            if (cases[i].message != NULL) {
                TEST_CONTAINS(fault.text, cases[i].message);
            }
        }
        layer_run_free(&run);
    }
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
    loss_check_formula_of("bce_loss", "{}", FRACTIONS, of_logits);
    loss_check_means("bce_loss",
                     "{input: [[2, 3, 2, 4], [2, 24]], " FRACTIONS
                     ", params: {pos_weight: [2, 0.5, 3]}}",
                     of_weighted);
    loss_check_means("bce_loss",
                     "{input: [5, 3], " FRACTIONS ", params: {pos_weight: [2, 0.5, 3]}}",
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
             {"large logits", large_logits}, {"sure logits", sure_logits},
             {"outside of 0 to 1", outside}, {"certain probabilities", certain_probabilities},
             {"refuses what does not fit", refuses})
