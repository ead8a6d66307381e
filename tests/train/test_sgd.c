/* sgd against torch.optim.SGD's definition, computed in double: momentum, Nesterov's, weight decay,
 * and which weights it takes. */
#include "training.h"

#include "base/alloc.h"
#include "base/philox.h"
#include "train/optimizer.h"

#include <math.h>

#define STEPS 5

typedef struct sgd_rule {
    double learning_rate, momentum, weight_decay;
    bool nesterov, decay_bias;
} sgd_rule;

/* w and v (n of them) one step further. */
static void reference_step(const sgd_rule *rule, bool is_bias, const float *gradient, double *w,
                           double *v, int64_t n) {
    double decay = is_bias && !rule->decay_bias ? 0 : rule->weight_decay;
    for (int64_t i = 0; i < n; i++) {
        double g = gradient[i] + decay * w[i];
        v[i] = rule->momentum * v[i] + g;
        w[i] -= rule->learning_rate * (rule->nesterov ? g + rule->momentum * v[i] : v[i]);
    }
}

/* One weight in uneven pieces, as threads would. */
static void update_in_pieces(lamina__optimizer *optimizer, int32_t weight, int64_t begin,
                             int64_t end, const float *gradient) {
    for (int64_t piece = 1; begin < end; piece = piece * 2 + 1) {
        int64_t stop = begin + piece < end ? begin + piece : end;
        lamina__optimizer_update(optimizer, weight, begin, stop, gradient);
        gradient += stop - begin;
        begin = stop;
    }
}

static void compare_weight(lamina__net *net, lamina__optimizer *optimizer, int32_t index,
                           const sgd_rule *rule) {
    lamina__net_weight weight = lamina__net_weight_at(net, index);
    int64_t n = weight.elements;
    double *w = calloc((size_t)n, sizeof(double)), *v = calloc((size_t)n, sizeof(double));
    float *gradient = calloc((size_t)n, sizeof(float));
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        w[i] = weight.data[i];
    }
    for (int64_t step = 0; step < STEPS; step++) {
        lamina__stream random =
            lamina__stream_make(1, LAMINA__RANDOM_CHECK, (uint64_t)step, (uint64_t)index);
        lamina__stream_normal(random, 0, gradient, (size_t)n);
        double rate = rule->learning_rate / (double)(step + 1); /* as a schedule would */
        sgd_rule now = *rule;
        now.learning_rate = rate;
        lamina__optimizer_begin(optimizer, step, rate);
        update_in_pieces(optimizer, index, weight.offset, weight.offset + n, gradient);
        reference_step(&now, strcmp(weight.weight->name, "bias") == 0, gradient, w, v, n);
    }
    for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(w[i] - weight.data[i]) / (1 + fabs(w[i])));
    }
    CU_ASSERT(worst < 1e-6);
    if (lamina__optimizer_n_slots(optimizer) > 0) {
        const float *slot = lamina__optimizer_slot_data(optimizer, 0) + weight.offset;
        for (int64_t i = 0; i < n; i++) {
            worst = fmax(worst, fabs(v[i] - slot[i]) / (1 + fabs(v[i])));
        }
        CU_ASSERT(worst < 1e-6);
    }
    free(w);
    free(v);
    free(gradient);
}

static void check_rule(const sgd_rule *rule) {
    char train[256];
    snprintf(train, sizeof(train),
             "  epochs: 1\n"
             "  optimizer: {type: sgd, learning_rate: %g, momentum: %g, weight_decay: %g, "
             "nesterov: %s, decay_bias: %s}",
             rule->learning_rate, rule->momentum, rule->weight_decay,
             rule->nesterov ? "true" : "false", rule->decay_bias ? "true" : "false");
    lamina__experiment *experiment = training_experiment(train, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__prepare_options options = {.threads = 1, .training = true};
    lamina__prepared prepared;
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina__optimizer *optimizer = NULL;
    CU_ASSERT_FATAL(lamina__experiment_prepare(experiment, &options, &prepared, &diags, &error) ==
                    LAMINA_OK);
    CU_ASSERT_FATAL(lamina__optimizer_create(&experiment->optimizer, prepared.net, &optimizer,
                                             &error) == LAMINA_OK);
    TEST_TEXT(lamina__optimizer_name(optimizer), "sgd");
    CU_ASSERT_EQUAL(lamina__optimizer_n_slots(optimizer), rule->momentum != 0 ? 1 : 0);
    CU_ASSERT_EQUAL_FATAL(lamina__net_n_weights(prepared.net), 4);
    for (int32_t i = 0; i < 4; i++) {
        compare_weight(prepared.net, optimizer, i, rule);
    }
    lamina__optimizer_free(optimizer);
    lamina__prepared_free(&prepared);
    lamina__experiment_free(experiment);
    lamina__diags_free(&diags);
}

static void test_plain(void) {
    check_rule(&(sgd_rule){.learning_rate = 0.1});
}

static void test_momentum(void) {
    check_rule(&(sgd_rule){.learning_rate = 0.1, .momentum = 0.9});
}

static void test_nesterov(void) {
    check_rule(&(sgd_rule){.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
}

static void test_decay(void) {
    check_rule(&(sgd_rule){.learning_rate = 0.1, .weight_decay = 0.5});
    check_rule(&(sgd_rule){.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.5});
    check_rule(
        &(sgd_rule){.learning_rate = 0.1, .momentum = 0.8, .weight_decay = 0.5, .nesterov = true});
}

static void test_decay_bias(void) {
    check_rule(&(sgd_rule){
        .learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.5, .decay_bias = true});
}

/* What the config may not say. */
static void read_wrong(const char *text, const char *message) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    lamina__optimizer_config config = {0};
    CU_ASSERT_FATAL(lamina__doc_parse(text, strlen(text), "o.yaml", &diags, &doc) == LAMINA_OK);
    CU_ASSERT(lamina__optimizer_read(doc->root, &config, &diags) == LAMINA_ERROR_CONFIG);
    CU_ASSERT_FATAL(diags.kept > 0);
    TEST_CONTAINS(diags.text[0], message);
    lamina__optimizer_config_free(&config);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
}

static void test_wrong(void) {
    read_wrong("{type: sgd}", "learning_rate");
    read_wrong("{type: sgd, learning_rate: 0}", "o.yaml:1:28: error: optimizer (sgd): "
                                                "\"learning_rate\": must be above 0, got 0");
    read_wrong("{type: sgd, learning_rate: -1}", "o.yaml:1:28: error: ");
    read_wrong("{type: sgd, learning_rate: 1, momentum: 1.5}", "momentum");
    read_wrong("{type: sgd, learning_rate: 1, nesterov: true}", "nesterov needs a momentum");
    read_wrong("{type: sgd, learnin_rate: 1}", "did you mean \"learning_rate\"?");
    read_wrong("{type: adma, learning_rate: 1}", "unknown type \"adma\"; there is sgd");
    read_wrong("{learning_rate: 1}", "needs a type");
    read_wrong("[1, 2]", "must be {type: sgd, ...}");
}

LAMINA_TESTS({"plain", test_plain}, {"momentum", test_momentum}, {"nesterov", test_nesterov},
             {"weight decay", test_decay}, {"weight decay of biases", test_decay_bias},
             {"wrong configs", test_wrong})
