/* smooth_l1_loss: every kernel against the double twin, the twin against finite
 * differences, and the formula. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7], target: values"},
        {"{}", "[1, 1], target: values"},
        {"{}", "[6], target: values"},
        {"{}", "[2, 1300], target: values"},
        {"{}", "[2, 17, 3, 3], target: values"},
        {"{}", "[[2, 3, 4, 5], [2, 60]], target: values"},
        {"{}", "[[2, 60], [2, 3, 4, 5]], target: values"},
        {"{}", "[[3, 1, 4, 4], [3, 16]], target: values"},
        {"{}", "[2, 3, 4], target: values"},
        {"{beta: 0.3}", "[3, 7], target: values"},
        {"{beta: 0.3}", "[1, 1], target: values"},
        {"{beta: 0.3}", "[6], target: values"},
        {"{beta: 0.3}", "[2, 1300], target: values"},
        {"{beta: 0.3}", "[2, 17, 3, 3], target: values"},
        {"{beta: 0.3}", "[[2, 3, 4, 5], [2, 60]], target: values"},
        {"{beta: 0.3}", "[[2, 60], [2, 3, 4, 5]], target: values"},
        {"{beta: 0.3}", "[[3, 1, 4, 4], [3, 16]], target: values"},
        {"{beta: 0.3}", "[2, 3, 4], target: values"},
        {"{beta: 0}", "[3, 7], target: values"},
        {"{beta: 0}", "[1, 1], target: values"},
        {"{beta: 0}", "[6], target: values"},
        {"{beta: 0}", "[2, 1300], target: values"},
        {"{beta: 0}", "[2, 17, 3, 3], target: values"},
        {"{beta: 0}", "[[2, 3, 4, 5], [2, 60]], target: values"},
        {"{beta: 0}", "[[2, 60], [2, 3, 4, 5]], target: values"},
        {"{beta: 0}", "[[3, 1, 4, 4], [3, 16]], target: values"},
        {"{beta: 0}", "[2, 3, 4], target: values"},
    };
    LAYER_CHECK("smooth_l1_loss", cases);
}

static double smooth(double r, double beta) {
    return fabs(r) < beta ? r * r / (2 * beta) : fabs(r) - beta / 2;
}

static double of_one(double x, double t, int64_t k) {
    (void)k;
    return smooth(x - t, 1);
}

static double of_third(double x, double t, int64_t k) {
    (void)k;
    return smooth(x - t, 0.3);
}

static double of_zero(double x, double t, int64_t k) {
    (void)k;
    return fabs(x - t);
}

/* The mean of the formula over each sample; the target in the prediction's logical order. */
static void check_means(const char *text, double (*formula)(double x, double t, int64_t k)) {
    layer_registries open = layer_open();
    layer_run run;
    if (layer_forward(open, "smooth_l1_loss", text, &run)) {
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

static void formula_matches(void) {
    check_means("{input: [4, 7], target: values}", of_one);
    check_means("{input: [2, 700], target: values, range: [-20, 20]}", of_one);
    check_means("{input: [[2, 3, 2, 4], [2, 24]], target: values}", of_one);
    check_means("{input: [[2, 24], [2, 3, 2, 4]], target: values}", of_one);
    check_means("{input: [4, 7], target: values, params: {beta: 0.3}}", of_third);
    check_means("{input: [2, 700], target: values, range: [-20, 20], params: {beta: 0.3}}",
                of_third);
    check_means("{input: [[2, 3, 2, 4], [2, 24]], target: values, params: {beta: 0.3}}", of_third);
    check_means("{input: [[2, 24], [2, 3, 2, 4]], target: values, params: {beta: 0.3}}", of_third);
    check_means("{input: [4, 7], target: values, params: {beta: 0}}", of_zero);
    check_means("{input: [2, 700], target: values, range: [-20, 20], params: {beta: 0}}", of_zero);
    check_means("{input: [[2, 3, 2, 4], [2, 24]], target: values, params: {beta: 0}}", of_zero);
    check_means("{input: [[2, 24], [2, 3, 2, 4]], target: values, params: {beta: 0}}", of_zero);
}

static void own(void) {
    layer_check_own("smooth_l1_loss");
}

static void refuses(void) {
    layer_refuses("smooth_l1_loss", "{input: [4, 5]}", "compares numbers, but the data has labels");
    layer_refuses("smooth_l1_loss", "{input: [[4, 5], [4, 6]], target: values}",
                  "the prediction is [N, 5], the target [N, 6]");
    layer_refuses("smooth_l1_loss", "{input: [[4, 2, 3, 3], [4, 3, 2, 3]], target: values}",
                  "must have the same shape");
    layer_refuses("smooth_l1_loss", "{input: [4, 5], target: values, params: {beta: -1}}", "beta");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses what does not fit", refuses})
