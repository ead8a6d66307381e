/* For the tests of losses and metrics that compare pairs of numbers: what all of them take and
 * refuse, and their mean over a sample against a formula. */
#ifndef LAMINA_TESTS_LOSS_CHECKS_H
#define LAMINA_TESTS_LOSS_CHECKS_H

#include "layer_checks.h"

/* Every kernel against the double twin, and the twin against finite differences, with inputs that
 * fit in each of the ways there are. target: as a case has it. */
static inline void loss_check_shapes_of(const char *type, const char *params, const char *target) {
    static const char *const inputs[] = {"[3, 7]",
                                         "[1, 1]",
                                         "[6]",
                                         "[2, 1300]",
                                         "[2, 17, 3, 3]",
                                         "[[2, 3, 4, 5], [2, 60]]",
                                         "[[2, 60], [2, 3, 4, 5]]",
                                         "[[3, 1, 4, 4], [3, 16]]",
                                         "[2, 3, 4]"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s, %s", inputs[i], target);
        const layer_case cases[] = {{params, text}};
        LAYER_CHECK(type, cases);
    }
}

static inline void loss_check_shapes(const char *type, const char *params) {
    loss_check_shapes_of(type, params, "target: values");
}

/* l of prediction x and target t; k: the place in the sample, in logical order. */
typedef double loss_formula(double x, double t, int64_t k);

/* A case's losses are the formula's mean over each sample; the target in the prediction's logical
 * order. */
static inline void loss_check_means(const char *type, const char *text, loss_formula *formula) {
    layer_registries open = layer_open();
    layer_run run;
    if (layer_forward(open, type, text, &run)) {
        const lamina__field *x = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *t = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1);
        const int64_t batch = x->view.shape.dim[0], size = x->count / batch;
        for (int64_t n = 0; n < batch; n++) {
            double sum = 0;
            for (int64_t i = n * size; i < (n + 1) * size; i++) {
                sum += formula(lamina__field_get(x, i), lamina__field_get(t, i), i % size);
            }
            const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0);
            CU_ASSERT_DOUBLE_EQUAL(got, sum / (double)size, 1e-5 + 1e-5 * fabs(got));
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

static inline void loss_check_formula_of(const char *type, const char *params, const char *target,
                                         loss_formula *formula) {
    static const char *const inputs[] = {"[4, 7]", "[2, 700], range: [-20, 20]",
                                         "[[2, 3, 2, 4], [2, 24]]", "[[2, 24], [2, 3, 2, 4]]"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        char text[256];
        snprintf(text, sizeof text, "{input: %s, %s, params: %s}", inputs[i], target, params);
        loss_check_means(type, text, formula);
    }
}

static inline void loss_check_formula(const char *type, const char *params, loss_formula *formula) {
    loss_check_formula_of(type, params, "target: values", formula);
}

static inline void loss_refuses_misfits(const char *type) {
    layer_refuses(type, "{input: [4, 5]}", "compares numbers, but the data has labels");
    layer_refuses(type, "{input: [[4, 5], [4, 6]], target: values}",
                  "the prediction is [N, 5], the target [N, 6]");
    layer_refuses(type, "{input: [[4, 2, 3, 3], [4, 3, 2, 3]], target: values}",
                  "must have the same shape");
}

#endif
