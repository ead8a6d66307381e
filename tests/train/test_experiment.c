/* Experiments: every section read, every mistake told at once, the resolved config a config itself,
 * and no memory lost at whatever allocation fails. */
#include "training.h"

#include "base/alloc.h"

static const char *const sgd = "  epochs: 2\n"
                               "  optimizer: {type: sgd, learning_rate: 0.01, momentum: 0.9}";

static void test_values(void) {
    lamina__experiment *experiment = training_experiment(
        "  epochs: 7\n  log_every: 3\n  max_steps: 11\n"
        "  optimizer: {type: sgd, learning_rate: 0.25}\n  schedule: {type: step, every: 2}",
        "checkpoint: {every_epochs: 2, every_steps: 5, keep: 1}");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    CU_ASSERT_EQUAL(experiment->seed, 5);
    CU_ASSERT_EQUAL(experiment->train.epochs, 7);
    CU_ASSERT_EQUAL(experiment->train.batch, 12);
    CU_ASSERT_EQUAL(experiment->train.log_every, 3);
    CU_ASSERT_EQUAL(experiment->train.max_steps, 11);
    CU_ASSERT_EQUAL(experiment->checkpoint.every_epochs, 2);
    CU_ASSERT_EQUAL(experiment->checkpoint.every_steps, 5);
    CU_ASSERT_EQUAL(experiment->checkpoint.keep, 1);
    CU_ASSERT_EQUAL(experiment->network.count, 5);
    CU_ASSERT_DOUBLE_EQUAL(lamina__optimizer_learning_rate(&experiment->optimizer), 0.25, 0);
    CU_ASSERT_DOUBLE_EQUAL(lamina__schedule_factor(&experiment->schedule, 0, 3), 0.1, 1e-15);
    TEST_CONTAINS(experiment->resolved, "schedule: {type: step, every: 2, gamma: 0.1}");
    TEST_CONTAINS(experiment->resolved, "max_steps: 11");
    lamina__experiment_free(experiment);
}

static void test_resolved(void) {
    lamina__experiment *first = training_experiment(sgd, ""), *second = NULL;
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    lamina__diags diags = {0};
    const lamina__experiment_options options = {.text = first->resolved};
    CU_ASSERT_FATAL(lamina__experiment_read("r.yaml", &options, &second, &diags) == LAMINA_OK);
    TEST_TEXT(second->resolved, first->resolved);
    TEST_CONTAINS(first->resolved, "decay_bias: false");
    TEST_CONTAINS(first->resolved, "checkpoint: {every_epochs: 1, every_steps: 0, keep: 3}");
    lamina__experiment_free(first);
    lamina__experiment_free(second);
    lamina__diags_free(&diags);
}

static void test_set(void) {
    static const char *const set[] = {"train.epochs=9", "seed=77", "network.conv1.filters=6",
                                      "checkpoint.keep=0"};
    char text[4096];
    lamina__diags diags = {0};
    lamina__experiment *experiment = NULL;
    snprintf(text, sizeof(text), TRAINING_CONFIG, sgd, "");
    const lamina__experiment_options options = {.text = text, .set = set, .n_set = 4};
    CU_ASSERT_FATAL(lamina__experiment_read("s.yaml", &options, &experiment, &diags) == LAMINA_OK);
    CU_ASSERT_EQUAL(experiment->train.epochs, 9);
    CU_ASSERT_EQUAL(experiment->seed, 77);
    CU_ASSERT_EQUAL(experiment->checkpoint.keep, 0);
    TEST_CONTAINS(experiment->resolved, "filters: 6");
    TEST_TEXT(experiment->source, text); /* as given */
    lamina__experiment_free(experiment);
    lamina__diags_free(&diags);
}

static const char *const everything_wrong = "sed: 1\n"
                                            "data:\n"
                                            "  trian: {type: synthetic}\n"
                                            "network:\n"
                                            "  - linear: {name: fc1, unit: 3}\n"
                                            "  - nothing\n"
                                            "train:\n"
                                            "  epochs: no\n"
                                            "  batch: 0\n"
                                            "  optimizer: {type: sgd}\n"
                                            "  schedule: {type: sometimes}\n"
                                            "checkpoint: {every: 1}\n";

static void test_all_at_once(void) {
    static const char *const expected[] = {
        "w.yaml:1:1: error: the config: unknown key \"sed\"; did you mean \"seed\"?",
        "did you mean \"train\"?",
        "data: needs \"train\"",
        "did you mean \"units\"?",
        "unknown layer type \"nothing\"",
        "w.yaml:8:11: error: train: \"epochs\"",
        "w.yaml:9:10: error: train: \"batch\"",
        "optimizer (sgd): ",
        "train.schedule: unknown type \"sometimes\"",
        "w.yaml:12:14: error: checkpoint: unknown key \"every\"",
    };
    lamina__diags diags = {0};
    lamina__experiment *experiment = NULL;
    const lamina__experiment_options options = {.text = everything_wrong};
    CU_ASSERT(lamina__experiment_read("w.yaml", &options, &experiment, &diags) ==
              LAMINA_ERROR_CONFIG);
    CU_ASSERT_PTR_NULL(experiment);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        bool found = false;
        for (size_t k = 0; k < diags.kept; k++) {
            found = found || strstr(diags.text[k], expected[i]) != NULL;
        }
        CU_ASSERT(found);
        if (!found) {
            printf("\n      not told: %s", expected[i]);
        }
    }
    lamina__diags_free(&diags);
}

static void wrong(const char *text, const char *message) {
    lamina__diags diags = {0};
    lamina__experiment *experiment = NULL;
    const lamina__experiment_options options = {.text = text};
    CU_ASSERT(lamina__experiment_read("w.yaml", &options, &experiment, &diags) ==
              LAMINA_ERROR_CONFIG);
    CU_ASSERT_PTR_NULL(experiment);
    CU_ASSERT_FATAL(diags.kept > 0);
    TEST_CONTAINS(diags.text[0], message);
    lamina__diags_free(&diags);
}

static void test_not_a_config(void) {
    wrong("", "the config is empty");
    wrong("[1, 2]", "a config is a map");
    wrong("just text", "a config is a map");
    wrong("seed: 1\ndata: 5\n", "data");
    wrong("data: {train: {type: synthetic}}\n", "the config needs \"network\"");
    wrong("seed: -1\n", "seed");
    wrong("plugins: 5\n", "plugins: must be a list");
    wrong("plugins: [[a]]\n", "plugins: must be a file's path");
}

/* The k-th allocation fails, for every k: a clean error and nothing left. */
static void sweep(const char *text, lamina_status expected) {
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__diags diags = {0};
        lamina__experiment *experiment = NULL;
        const lamina__experiment_options options = {.text = text};
        test_fail_allocation(k);
        lamina_status status = lamina__experiment_read("f.yaml", &options, &experiment, &diags);
        long failed = test_fail_allocation(0);
        CU_ASSERT(status == expected || (failed > 0 && status != LAMINA_OK));
        CU_ASSERT((experiment != NULL) == (status == LAMINA_OK));
        lamina__experiment_free(experiment);
        lamina__diags_free(&diags);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        if (failed == 0) {
            CU_ASSERT_EQUAL(status, expected);
            break;
        }
    }
}

static void test_no_memory(void) {
    char text[4096];
    snprintf(text, sizeof(text), TRAINING_CONFIG, sgd, "");
    sweep(text, LAMINA_OK);
    sweep(everything_wrong, LAMINA_ERROR_CONFIG);
}

LAMINA_TESTS({"values", test_values}, {"resolved config", test_resolved}, {"--set", test_set},
             {"all mistakes at once", test_all_at_once}, {"not a config", test_not_a_config},
             {"allocations that fail", test_no_memory})
