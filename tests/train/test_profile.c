/* Profiles: as many steps as asked for, really trained or evaluated, and parts that add up. */
#include "training.h"

#include "base/alloc.h"
#include "train/profile.h"

#include <math.h>

static const char *const training = "  epochs: 1\n  optimizer: {type: sgd, learning_rate: 0.05}";

static lamina_status profile(const lamina__experiment *experiment,
                             const lamina__profile_options *options, lamina__profile *result,
                             lamina_error *error) {
    lamina__diags diags = {0};
    const lamina_status status = lamina__profile_run(experiment, options, result, &diags, error);
    lamina__diags_free(&diags);
    return status;
}

static lamina__profile profile_well(const lamina__experiment *experiment,
                                    const lamina__profile_options *options) {
    lamina__profile result;
    lamina_error error = {0};
    CU_ASSERT_EQUAL_FATAL(profile(experiment, options, &result, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    return result;
}

static void check_numbers(const lamina__profile *p) {
    const lamina__net_times *part = &p->part;
    double passes = 0;
    for (int32_t i = 0; i < lamina__net_n_layers(p->prepared.net); i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            passes += lamina__profile_pass(p, i, pass);
        }
    }
    CU_ASSERT(passes > 0 && p->data_wait > 0 && part->waiting > 0 && part->other > 0);
    CU_ASSERT_DOUBLE_EQUAL(passes, part->passes, 1e-6 * p->total);
    CU_ASSERT_DOUBLE_EQUAL(part->passes + part->input + part->prepare + part->update +
                               part->waiting + part->other + p->data_wait,
                           p->total, 1e-6 * p->total);
    CU_ASSERT(p->step_seconds >= p->net_seconds && p->net_seconds > 0);
    CU_ASSERT(isfinite(p->peak) && p->peak > 0);
}

/* The weights as they are before any training. */
static bool as_at_first(const lamina__experiment *experiment, lamina__net *net) {
    const lamina__prepare_options options = {.threads = 1, .training = true};
    lamina__prepared fresh;
    lamina__diags diags = {0};
    lamina_error error = {0};
    CU_ASSERT_EQUAL_FATAL(lamina__experiment_prepare(experiment, &options, &fresh, &diags, &error),
                          LAMINA_OK);
    const size_t bytes = (size_t)lamina__net_weight_floats(net) * sizeof(float);
    const bool same =
        memcmp(lamina__net_weight_block(net), lamina__net_weight_block(fresh.net), bytes) == 0;
    lamina__prepared_free(&fresh);
    lamina__diags_free(&diags);
    return same;
}

static void trains(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    for (int threads = 1; threads <= 2; threads++) {
        const lamina__profile_options options = {.threads = threads, .steps = 7};
        lamina__profile p = profile_well(experiment, &options);
        CU_ASSERT_EQUAL(p.batch, 12);
        CU_ASSERT_EQUAL(p.steps, 7);
        CU_ASSERT_EQUAL(p.part.steps, 7);
        CU_ASSERT(p.part.update > 0);
        CU_ASSERT(lamina__profile_pass(&p, 0, 2) > 0);
        check_numbers(&p);
        CU_ASSERT(!as_at_first(experiment, p.prepared.net));
        lamina__profile_free(&p);
    }
    lamina__experiment_free(experiment);
}

static void evaluates(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__profile_options options = {.threads = 2, .steps = 8, .inference = true};
    lamina__profile p = profile_well(experiment, &options);
    CU_ASSERT_EQUAL(p.batch, 10); /* the test split has no more */
    CU_ASSERT_PTR_NULL(p.prepared.source[0]);
    CU_ASSERT_EQUAL(p.part.steps, 8);
    CU_ASSERT_EQUAL(p.part.update, 0);
    CU_ASSERT_EQUAL(lamina__profile_pass(&p, 0, 2), 0);
    check_numbers(&p);
    CU_ASSERT(as_at_first(experiment, p.prepared.net));
    lamina__profile_free(&p);
    lamina__experiment_free(experiment);
}

/* Without --steps: for about a second, so many more. */
static void goes_by_time(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__profile_options options = {.threads = 1};
    lamina__profile p = profile_well(experiment, &options);
    CU_ASSERT(p.steps >= 10);
    CU_ASSERT((double)p.steps * p.total > 0.1);
    check_numbers(&p);
    lamina__profile_free(&p);
    lamina__experiment_free(experiment);
}

static void divergence_is_named(void) {
    lamina__experiment *experiment =
        training_experiment("  epochs: 1\n  optimizer: {type: sgd, learning_rate: 1.0e+30}", "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__profile_options options = {.threads = 2, .steps = 5};
    lamina__profile p;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(profile(experiment, &options, &p, &error), LAMINA_ERROR_NUMERIC);
    TEST_CONTAINS(error.message, "not finite");
    lamina__profile_free(&p);
    lamina__experiment_free(experiment);
}

static void failing_allocations_are_clean(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__profile_options options = {.threads = 2, .steps = 2};
    const uint64_t live = lamina__alloc_count().live;
    long failed = 1;
    for (long k = 1; failed > 0 && k < 2000; k += 1 + k / 16) {
        lamina__profile p;
        lamina_error error = {0};
        test_fail_allocation(k);
        const lamina_status status = profile(experiment, &options, &p, &error);
        failed = test_fail_allocation(0);
        CU_ASSERT(failed > 0 || status == LAMINA_OK);
        CU_ASSERT(status == LAMINA_OK || status == LAMINA_ERROR_MEMORY ||
                  error.message[0] != '\0'); /* a layer's own may have another status */
        CU_ASSERT(k > 1 || status == LAMINA_ERROR_MEMORY);
        lamina__profile_free(&p);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT_EQUAL(failed, 0);
    lamina__experiment_free(experiment);
}

LAMINA_TESTS({"trains", trains}, {"evaluates", evaluates}, {"goes by time", goes_by_time},
             {"divergence is named", divergence_is_named},
             {"failing allocations are clean", failing_allocations_are_clean})
