/* The layer checker: passes what is right, and names what is wrong with each of the broken plugins.
 */
#include "base/alloc.h"
#include "check/check.h"
#include "layers/builtin.h"
#include "support.h"

static lamina__registry *registry_with(const char *path) {
    static const lamina_layer_type *const none[] = {NULL};
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    if (lamina__registry_create(none, &registry, &error) != LAMINA_OK ||
        lamina__registry_load(registry, path, &error) != LAMINA_OK) {
        test_stop(error.message);
    }
    return registry;
}

static char *broken(const char *name) {
    return test_path(TEST_PLUGIN_DIR "/broken", name);
}

/* All cases of all types of a plugin. */
static void run_checks(const char *path, const lamina__check_options *options,
                       lamina__check_report *report) {
    lamina__registry *registry = registry_with(path);
    lamina_error error = {0};
    for (size_t t = 0; t < lamina__registry_count(registry); t++) {
        const lamina__type_entry *entry = lamina__registry_at(registry, t);
        CU_ASSERT(entry->type->cases != NULL && entry->type->cases[0] != NULL);
        for (const char *const *text = entry->type->cases; *text != NULL; text++) {
            lamina_status status = lamina__check_case(entry, *text, options, report, &error);
            CU_ASSERT_EQUAL(status, LAMINA_OK);
            if (status != LAMINA_OK) {
                printf("\n      %s %s: %s", entry->type->name, *text, error.message);
            }
        }
    }
    lamina__registry_free(registry);
}

/* The check must fail, its detail say `part`; and no check may fail that is not in `also` (a list
 * like "shards, partial", or NULL). */
static void fails(const char *name, const char *check, const char *part, const char *also) {
    lamina__check_report report = {0};
    const lamina__check_line *found = NULL;
    run_checks(broken(name), NULL, &report);
    for (size_t i = 0; i < report.count; i++) {
        const lamina__check_line *line = &report.lines[i];
        if (line->outcome != LAMINA__CHECK_FAILED) {
            continue;
        }
        if (strcmp(line->check, check) == 0) {
            found = found ? found : line;
        } else if (also == NULL || strstr(also, line->check) == NULL) {
            printf("\n      %s also fails %s: %s", name, line->check, line->detail);
            CU_FAIL("another check failed");
        }
    }
    if (found == NULL) {
        printf("\n      %s passes %s", name, check);
    }
    CU_ASSERT_PTR_NOT_NULL(found);
    if (found != NULL) {
        TEST_CONTAINS(found->detail, part);
    }
    lamina__check_report_free(&report);
}

static void right_plugins_pass(void) {
    static const char *const plugins[] = {"mish.so", "coord_conv.so", "test/corners.so"};
    for (size_t p = 0; p < 3; p++) {
        lamina__check_report report = {0};
        run_checks(test_path(TEST_PLUGIN_DIR, plugins[p]), NULL, &report);
        for (size_t i = 0; i < report.count; i++) {
            if (report.lines[i].outcome == LAMINA__CHECK_FAILED) {
                printf("\n      %s %s: %s", plugins[p], report.lines[i].check,
                       report.lines[i].detail);
            }
        }
        CU_ASSERT_EQUAL(report.failed, 0);
        CU_ASSERT(report.passed >= 20);
        lamina__check_report_free(&report);
    }
}

static void wrong_gradients(void) {
    fails("wrong_backward.so", "gradient", "d_in[0] at [0, 5]", NULL);
    fails("wrong_weight_gradient.so", "gradient", "d_weight \"scale\" at [6]", NULL);
}

static void forgotten_accumulation(void) {
    fails("not_accumulating.so", "adds", "must add to what d_weight holds", "shards");
    fails("adds_to_d_in.so", "writes", "backward() does not write d_in[0]", NULL);
}

static void writing(void) {
    fails("writes_outside.so", "writes", "forward() wrote outside out[0]: behind its 84 bytes",
          NULL);
    fails("leaves_unwritten.so", "writes", "forward() does not write out[0] at [2, 6]", NULL);
    fails("changes_input.so", "writes", "forward() changed in[0], which it may only read", NULL);
    fails("whole_batch.so", "shards", "another shard's sample", "partial");
}

static void hidden_state(void) {
    /* Two threads may happen not to meet on a busy machine; the variables give it away. */
    fails("thread_dependent.so", "variables", "writes to variables of the plugin", "shards");
    fails("shard_dependent.so", "shards", "one by one: out[0]", "partial");
    fails("hidden_state.so", "shards", "one by one: d_in[0]", "partial");
    fails("counts_calls.so", "deterministic", "the same call again: out[0] at [0, 0]",
          "unwanted, eval, shards, partial, gradient, threads, variables");
    fails("couples_samples.so", "shards", "one by one: out[0]", "partial");
}

/* What no look at the plugin's variables can find: memory of the layer's own, shared by the shards.
 */
static void race(void) {
    const lamina__check_options options = {.shard_seconds = 0.1};
    lamina__check_report report = {0};
    size_t caught = 0;
    run_checks(broken("shared_buffer.so"), &options, &report);
    for (size_t i = 0; i < report.count; i++) {
        const lamina__check_line *line = &report.lines[i];
        if (line->outcome == LAMINA__CHECK_FAILED) {
            TEST_TEXT(line->check, "shards");
            TEST_CONTAINS(line->detail, "forward() of shards that run at once gives other bits");
            caught++;
        }
    }
    CU_ASSERT(caught > 0);
    lamina__check_report_free(&report);
}

static void flags(void) {
    fails("undeclared_input.so", "flags", "without LAMINA_NEEDS_INPUT", NULL);
    fails("not_in_place.so", "in place", "in place: out[0] at [0, 2]", NULL);
    fails("ignores_null.so", "unwanted", "d_weight \"scale\"", NULL);
    fails("fails_in_eval.so", "eval", "has nowhere to save to", NULL);
}

/* A one-element fault must be seen wherever the element is and whatever the seed. */
static void any_seed(void) {
    for (uint64_t seed = 1; seed <= 8; seed++) {
        const lamina__check_options options = {.seed = seed, .shard_seconds = 1e-4};
        lamina__check_report report = {0};
        run_checks(broken("wrong_backward.so"), &options, &report);
        CU_ASSERT_EQUAL(report.failed, 2); /* once in each of its two cases */
        lamina__check_report_free(&report);
        run_checks(test_path(TEST_PLUGIN_DIR, "mish.so"), &options, &report);
        CU_ASSERT_EQUAL(report.failed, 0);
        lamina__check_report_free(&report);
    }
}

/* Right layers checked in float alone, as plugins are, pass. */
static void no_false_alarms(void) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    if (lamina__registry_create(lamina__builtin_layers, &registry, &error) != LAMINA_OK) {
        test_stop(error.message);
    }
    for (size_t t = 0; t < lamina__registry_count(registry); t++) {
        const lamina__type_entry *entry = lamina__registry_at(registry, t);
        for (const char *const *text = entry->type->cases; *text != NULL; text++) {
            const lamina__check_options options = {
                .seed = 3, .max_probes = 40, .shard_seconds = 1e-4};
            lamina__check_report report = {0};
            lamina_status status = lamina__check_case(entry, *text, &options, &report, &error);
            CU_ASSERT_EQUAL(status, LAMINA_OK);
            CU_ASSERT_EQUAL(report.failed, 0);
            for (size_t i = 0; i < report.count; i++) {
                const lamina__check_line *line = &report.lines[i];
                if (line->outcome == LAMINA__CHECK_FAILED) {
                    printf("\n      %s %s, kernel %s, %s: %s", entry->type->name, *text,
                           line->kernel, line->check, line->detail);
                }
            }
            lamina__check_report_free(&report);
        }
    }
    lamina__registry_free(registry);
}

static void refuses(const lamina__type_entry *entry, const char *text, const char *part) {
    lamina__check_report report = {0};
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__check_case(entry, text, NULL, &report, &error), LAMINA_ERROR_CONFIG);
    CU_ASSERT_EQUAL(report.count, 0);
    TEST_CONTAINS(error.message, part);
    lamina__check_report_free(&report);
}

static void bad_cases(void) {
    lamina__registry *registry = registry_with(test_path(TEST_PLUGIN_DIR, "mish.so"));
    const lamina__type_entry *mish = lamina__registry_at(registry, 0);
    refuses(mish, "", "a case is a mapping with an input");
    refuses(mish, "[1, 2]", "a case is a mapping with an input");
    refuses(mish, "{params: {}}", "a case is a mapping with an input");
    refuses(mish, "{input: 3}", "a shape is a list");
    refuses(mish, "{input: []}", "a shape is a list");
    refuses(mish, "{input: [2, 0]}", "input");
    refuses(mish, "{input: [2, x]}", "input");
    refuses(mish, "{input: [2, 3, 4, 5, 6, 7, 8, 9, 10]}", "a shape is a list of 1 to 8");
    refuses(mish, "{input: [99999999, 99999999]}", "input");
    refuses(mish, "{input: [4096, 4096, 4096]}", "more than");
    refuses(mish, "{input: [[2, 3], [2, 3]]}", "takes 1 to 1 inputs, the case gives 2");
    refuses(mish, "{input: [2, 3], inputs: 1}", "unknown key \"inputs\"");
    refuses(mish, "{input: [2, 3], params: {beta: 1}}", "beta");
    refuses(mish, "{input: [2, 3], range: [2, 1]}", "the smallest value must be below");
    refuses(mish, "{input: [2, 3], range: 1}", "range: is [smallest, largest]");
    refuses(mish, "{input: [2, 3], target_range: [0, 1]}",
            "target_range: goes with target: values");
    refuses(mish, "{input: [2, 3], phase: test}", "phase: is train or eval");
    refuses(mish, "{input: [2, 3}", "case:1:");
    lamina__registry_free(registry);
}

/* Every allocation fails in turn: a clean error, nothing left behind. */
static void out_of_memory(void) {
    lamina__registry *registry = registry_with(test_path(TEST_PLUGIN_DIR, "mish.so"));
    const lamina__type_entry *mish = lamina__registry_at(registry, 0);
    const lamina__check_options options = {.shard_seconds = 1e-6};
    const uint64_t live = lamina__alloc_count().live;
    bool done = false;
    long k = 0;
    while (!done && k++ < 5000) {
        lamina__check_report report = {0};
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status =
            lamina__check_case(mish, "{input: [2, 3]}", &options, &report, &error);
        done = test_fail_allocation(0) == 0;
        if (done) {
            CU_ASSERT_EQUAL(status, LAMINA_OK);
            CU_ASSERT_EQUAL(report.failed, 0);
        } else if (status != LAMINA_ERROR_MEMORY) {
            printf("\n      allocation %ld: %s", k, error.message);
            CU_ASSERT_EQUAL(status, LAMINA_ERROR_MEMORY);
        }
        lamina__check_report_free(&report);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT(done && k > 50);
    lamina__registry_free(registry);
}

LAMINA_TESTS({"right plugins pass", right_plugins_pass}, {"wrong gradients", wrong_gradients},
             {"forgotten accumulation", forgotten_accumulation}, {"writing", writing},
             {"hidden state", hidden_state}, {"race", race}, {"flags", flags},
             {"any seed", any_seed}, {"no false alarms", no_false_alarms}, {"bad cases", bad_cases},
             {"out of memory", out_of_memory})
