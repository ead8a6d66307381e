/* softmax_loss: every kernel against the double twin, -log softmax(x)[label], and its options
 * written down independently: weights, ignored labels, smoothing, probabilities. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3]]"},
        {"{}", "[4, 2]"},
        {"{}", "[[1, 10], [1]]"},
        {"{}", "[2, 100]"},
        {"{}", "[3, 5, 1, 1]"},
        {"{}", "[2, 1]"},
        {"{}", "[2, 15]"},
        {"{}", "[2, 16]"},
        {"{}", "[2, 17]"},
        {"{}", "[1, 33]"},
        {"{class_weights: [1, 2, 0.5]}", "[8, 3]"},
        {"{ignore_label: 1}", "[9, 3]"},
        {"{ignore_label: 1}", "[9, 3, 1, 1]"},
        {"{label_smoothing: 0.1}", "[3, 17]"},
        {"{label_smoothing: 1}", "[3, 5]"},
        {"{label_smoothing: 0.2, class_weights: [1, 2, 0.5], ignore_label: 0}", "[9, 3]"},
        {"{}", "[4, 5], target: values"},
        {"{}", "[[4, 5, 1, 1], [4, 5]], target: values"},
        {"{label_smoothing: 0.3, class_weights: [1, 0, 3]}", "[4, 3], target: values"},
        {"{}", "[2, 1000], target: values, range: [0.1, 2]"},
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

/* log softmax(x[n])[k] of a run. */
static double log_softmax(const layer_run *run, int64_t n, int64_t k, int64_t classes) {
    double sum = 0;
    for (int64_t j = 0; j < classes; j++) {
        sum += exp(layer_at(run, LAMINA__ROLE_IN, 0, n, j, 0, 0));
    }
    return layer_at(run, LAMINA__ROLE_IN, 0, n, k, 0, 0) - log(sum);
}

/* As the documentation of torch.nn.CrossEntropyLoss writes it: the mean of the losses is the
 * weighted mean over the labels that count, mixed with the mean over all classes. */
static void options_match(void) {
    enum { N = 14, K = 4, IGNORED = 2 };
    static const double weight[K] = {1, 2, 0.5, 4};
    const double smoothing = 0.15;
    layer_registries open = layer_open();
    layer_run run;
    if (layer_forward(open, "softmax_loss",
                      "{input: [14, 4], params: {class_weights: [1, 2, 0.5, 4], ignore_label: 2, "
                      "label_smoothing: 0.15}}",
                      &run)) {
        double divisor = 0, total = 0, mean = 0;
        int ignored = 0;
        for (int64_t n = 0; n < N; n++) {
            const int64_t label = (int64_t)layer_at(&run, LAMINA__ROLE_IN, 1, n, 0, 0, 0);
            mean += layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0) / N;
            if (label == IGNORED) {
                CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), 0);
                ignored++;
                continue;
            }
            divisor += weight[label];
            total += -(1 - smoothing) * weight[label] * log_softmax(&run, n, label, K);
            for (int64_t k = 0; k < K; k++) {
                total += -smoothing / K * weight[k] * log_softmax(&run, n, k, K);
            }
        }
        CU_ASSERT(ignored > 0);
        CU_ASSERT_DOUBLE_EQUAL(mean, total / divisor, 1e-5);
    }
    layer_run_free(&run);
    layer_close(open);
}

static void probabilities_match(void) {
    enum { N = 5, K = 3 };
    static const double weight[K] = {1, 2, 0.5};
    const double smoothing = 0.3;
    layer_registries open = layer_open();
    layer_run run;
    if (layer_forward(open, "softmax_loss",
                      "{input: [5, 3], target: values, params: {class_weights: [1, 2, 0.5], "
                      "label_smoothing: 0.3}}",
                      &run)) {
        for (int64_t n = 0; n < N; n++) {
            double loss = 0;
            for (int64_t k = 0; k < K; k++) {
                const double p = layer_at(&run, LAMINA__ROLE_IN, 1, n, k, 0, 0);
                loss -=
                    weight[k] * ((1 - smoothing) * p + smoothing / K) * log_softmax(&run, n, k, K);
            }
            CU_ASSERT_DOUBLE_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), loss, 1e-5);
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

/* PyTorch divides by 0 then; a batch of which nothing counts must not end a run. */
static void all_ignored(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "softmax_loss", "{input: [3, 4], params: {ignore_label: 255}}", &run)) {
        for (int64_t n = 0; n < 3; n++) {
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), n, 255);
        }
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
        for (int64_t n = 0; n < 3; n++) {
            CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0), 0);
            for (int64_t k = 0; k < 4; k++) {
                CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_D_IN, 0, n, k, 0, 0), 0);
            }
        }
    }
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("softmax_loss");
}

static void refuses(void) {
    layer_refuses("softmax_loss", "{input: [2, 3, 4]}", "needs one score for each class");
    layer_refuses("softmax_loss", "{input: [2, 3, 4, 4]}", "linear");
    layer_refuses("softmax_loss", "{input: [2, 3], params: {class_weights: [1, 2]}}",
                  "class_weights has 2 numbers for 3 classes");
    layer_refuses("softmax_loss", "{input: [2, 3], params: {label_smoothing: 1.5}}",
                  "label_smoothing");
    layer_refuses("softmax_loss", "{input: [[2, 3], [2, 4]], target: values}",
                  "a probability for each of the 3 classes");
    layer_refuses("softmax_loss", "{input: [2, 3], target: values, params: {ignore_label: 1}}",
                  "ignore_label is for labels");
}

LAMINA_TESTS({"shapes", shapes}, {"large scores", large_scores},
             {"matches the formula", formula_matches}, {"NaN makes NaN", nan_makes_nan},
             {"options match", options_match}, {"probabilities match", probabilities_match},
             {"all samples ignored", all_ignored}, {"its own cases", own},
             {"refuses bad shapes", refuses})
