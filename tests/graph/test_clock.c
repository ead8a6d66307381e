/* The clock: what a step took is somewhere, once; and where nothing ran there is nothing. */
#include "graph/clock.h"
#include "net_support.h"

#include <time.h>

enum { BATCH = 32, SIDE = 12 };

/* A branch, a layer on the whole batch, packed weights. */
static const char *const mixed = "- conv: {name: a, filters: 8, kernel: 3, padding: 1}\n"
                                 "- test_pack: {name: pack}\n"
                                 "- test_add: {name: sum, from: [a, pack]}\n"
                                 "- test_center: {name: center}\n"
                                 "- linear: {name: fc, units: 5}\n"
                                 "- softmax_loss: {name: loss}\n";
enum { CONV, PACK, SUM, CENTER, FC, LOSS, LAYERS };

static test_batch batch;

static test_net make(const char *layers, int threads, int shards) {
    const lamina__net_options options = {.channels = 2,
                                         .height = SIDE,
                                         .width = SIDE,
                                         .batch = BATCH,
                                         .classes = 5,
                                         .threads = threads,
                                         .shards = shards,
                                         .training = true,
                                         .kernels = "reference",
                                         .seed = 7};
    test_net t = test_net_make(layers, &options);
    TEST_TEXT(test_net_error(&t), "");
    test_batch_fill(&batch, BATCH, 2 * SIDE * SIDE, 5, 3);
    return t;
}

static void train(const test_net *t, int steps) {
    test_descent descent = {lamina__net_weight_block(t->net), NULL, 0.01f};
    lamina__result result;
    for (int i = 0; i < steps; i++) {
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t->net, &batch.batch, i, test_update, &descent, &result, NULL),
            LAMINA_OK);
    }
}

/* All parts are there, none is negative, and they are the whole. */
static void check_sum(const test_net *t, int64_t steps) {
    const lamina__net_times times = lamina__net_times_now(t->net);
    double passes = 0;
    CU_ASSERT_EQUAL(times.steps, steps);
    CU_ASSERT(times.seconds > 0 && times.passes > 0 && times.prepare > 0);
    CU_ASSERT(times.waiting > 0);
    CU_ASSERT(times.other > 0);
    CU_ASSERT_DOUBLE_EQUAL(times.seconds,
                           times.passes + times.input + times.prepare + times.update +
                               times.waiting + times.other,
                           1e-9 * times.seconds);
    for (int32_t i = 0; i < lamina__net_n_layers(t->net); i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const double mean = lamina__net_pass_mean(t->net, i, pass);
            CU_ASSERT(mean >= 0);
            passes += mean;
        }
    }
    CU_ASSERT_DOUBLE_EQUAL(passes, times.passes, 1e-9 * times.seconds);
}

static void parts_are_the_whole(void) {
    static const int cuts[][2] = {{1, 1}, {1, 3}, {2, 1}, {2, 2}, {3, 2}};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        test_net t = make(mixed, cuts[i][0], cuts[i][1]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
        train(&t, 3);
        check_sum(&t, 3);
        CU_ASSERT(lamina__net_times_now(t.net).update > 0);
        test_net_free(&t);
    }
}

static void passes_are_told_apart(void) {
    test_net t = make(mixed, 2, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
    train(&t, 2);
    for (int32_t i = 0; i < LAYERS; i++) {
        CU_ASSERT(lamina__net_pass_mean(t.net, i, 0) > 0);
    }
    CU_ASSERT(lamina__net_pass_mean(t.net, PACK, 1) > 0);
    CU_ASSERT(lamina__net_pass_mean(t.net, FC, 2) > 0);
    CU_ASSERT(lamina__net_pass_mean(t.net, CONV, 2) > 0);
    /* The images want no gradient: no such pass. */
    CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, CONV, 1), 0);
    /* Without kernels the one backward() is backward_data. */
    CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, CENTER, 2), 0);
    CU_ASSERT(lamina__net_pass_mean(t.net, CENTER, 1) > 0);
    /* On the whole batch all threads are there; by shard each has its own time. */
    CU_ASSERT_EQUAL(lamina__net_pass_seconds(t.net, CENTER, 0, 0),
                    lamina__net_pass_seconds(t.net, CENTER, 0, 1));
    CU_ASSERT_NOT_EQUAL(lamina__net_pass_seconds(t.net, CONV, 0, 0),
                        lamina__net_pass_seconds(t.net, CONV, 0, 1));
    test_net_free(&t);
}

static void evaluation_goes_forward(void) {
    test_net t = make(mixed, 2, 2);
    lamina__result result;
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &batch.batch, &result, NULL), LAMINA_OK);
    check_sum(&t, 1);
    CU_ASSERT_EQUAL(lamina__net_times_now(t.net).update, 0);
    for (int32_t i = 0; i < LAYERS; i++) {
        CU_ASSERT(lamina__net_pass_mean(t.net, i, 0) > 0);
        CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, i, 1), 0);
        CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, i, 2), 0);
    }
    test_net_free(&t);
}

/* ---- A layer that takes its time ---- */

#define SLOW_FORWARD  0.002 /* seconds */
#define SLOW_BACKWARD 0.003

static void sleep_for(double seconds) {
    const struct timespec time = {.tv_nsec = (long)(seconds * 1e9)};
    nanosleep(&time, NULL);
}

static int32_t slow_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

static int32_t slow_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    sleep_for(SLOW_FORWARD);
    memcpy(io->out[0]->data, io->in[0]->data, (size_t)tensor_count(io->in[0]) * sizeof(float));
    return LAMINA_OK;
}

static int32_t slow_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    sleep_for(SLOW_BACKWARD);
    memcpy(io->d_in[0]->data, io->d_out[0]->data,
           (size_t)tensor_count(io->d_in[0]) * sizeof(float));
    return LAMINA_OK;
}

static const lamina_layer_type slow_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_slow",
    .doc = "sleeps, and copies",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = slow_setup,
    .forward = slow_forward,
    .backward = slow_backward,
};

/* What a pass certainly takes is in its counter, of each thread. */
static void slow_passes_are_seen(void) {
    enum { STEPS = 3 };
    static const lamina_layer_type *const types[] = {&slow_type, NULL};
    test_more_types = types;
    test_net t = make("- conv: {filters: 2, kernel: 1}\n"
                      "- test_slow\n"
                      "- linear: {units: 5}\n"
                      "- softmax_loss\n",
                      2, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
    train(&t, STEPS);
    for (int32_t thread = 0; thread < 2; thread++) {
        CU_ASSERT(lamina__net_pass_seconds(t.net, 1, 0, thread) >= STEPS * SLOW_FORWARD);
        CU_ASSERT(lamina__net_pass_seconds(t.net, 1, 1, thread) >= STEPS * SLOW_BACKWARD);
    }
    CU_ASSERT(lamina__net_times_now(t.net).seconds >= STEPS * (SLOW_FORWARD + SLOW_BACKWARD));
    check_sum(&t, STEPS);
    test_net_free(&t);
}

/* With one shard the second thread has the update alone, and does not count as waiting. */
static void threads_without_a_shard_do_not_wait(void) {
    static const lamina_layer_type *const types[] = {&slow_type, NULL};
    test_more_types = types;
    const lamina__net_options options = {.channels = 2,
                                         .height = SIDE,
                                         .width = SIDE,
                                         .batch = BATCH,
                                         .classes = 5,
                                         .threads = 2,
                                         .shards = 1,
                                         .by_shard = true,
                                         .kernels = "reference",
                                         .seed = 7};
    test_net t = test_net_make("- test_slow\n- linear: {units: 5}\n- softmax_loss\n", &options);
    lamina__result result;
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &batch.batch, &result, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_pass_seconds(t.net, 0, 0, 1), 0);
    CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, 0, 0), lamina__net_pass_seconds(t.net, 0, 0, 0));
    CU_ASSERT(lamina__net_times_now(t.net).waiting < SLOW_FORWARD / 2);
    check_sum(&t, 1);
    test_net_free(&t);
}

static void starts_clears_stops(void) {
    test_net t = make(mixed, 2, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__net_clear_clock(t.net);
    lamina__net_stop_clock(t.net);
    train(&t, 1);
    CU_ASSERT_EQUAL(lamina__net_times_now(t.net).steps, 0);
    CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, CONV, 0), 0);
    CU_ASSERT_EQUAL(lamina__net_pass_seconds(t.net, CONV, 0, 1), 0);

    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK);
    train(&t, 1);
    CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, NULL), LAMINA_OK); /* runs on */
    train(&t, 1);
    CU_ASSERT_EQUAL(lamina__net_times_now(t.net).steps, 2);
    lamina__net_clear_clock(t.net);
    const lamina__net_times none = lamina__net_times_now(t.net);
    CU_ASSERT_EQUAL(none.steps, 0);
    CU_ASSERT_EQUAL(none.seconds, 0);
    CU_ASSERT_EQUAL(none.waiting, 0);
    CU_ASSERT_EQUAL(lamina__net_pass_mean(t.net, CONV, 0), 0);
    train(&t, 1);
    check_sum(&t, 1);
    lamina__net_stop_clock(t.net);
    CU_ASSERT_EQUAL(lamina__net_times_now(t.net).steps, 0);
    test_net_free(&t);
}

/* The clock counts, and computes nothing: the same bits with it and without. */
static void changes_nothing(void) {
    test_net with = make(mixed, 2, 2), without = make(mixed, 2, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(with.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(without.net);
    CU_ASSERT_EQUAL(lamina__net_start_clock(with.net, NULL), LAMINA_OK);
    const uint64_t before = lamina__alloc_count().calls;
    train(&with, 3);
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, before);
    train(&without, 3);
    CU_ASSERT_EQUAL(memcmp(lamina__net_weight_block(with.net),
                           lamina__net_weight_block(without.net),
                           (size_t)lamina__net_weight_floats(with.net) * sizeof(float)),
                    0);
    test_net_free(&with);
    test_net_free(&without);
}

static void failing_allocations_are_clean(void) {
    test_net t = make(mixed, 2, 2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina_error error = {0};
    for (long k = 1; k <= 2; k++) {
        test_fail_allocation(k);
        CU_ASSERT_EQUAL(lamina__net_start_clock(t.net, &error), LAMINA_ERROR_MEMORY);
        CU_ASSERT_EQUAL(test_fail_allocation(0), 1);
        TEST_CONTAINS(error.message, "the clock");
        train(&t, 1);
        CU_ASSERT_EQUAL(lamina__net_times_now(t.net).steps, 0);
    }
    test_net_free(&t);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

LAMINA_TESTS({"the parts are the whole", parts_are_the_whole},
             {"passes are told apart", passes_are_told_apart},
             {"an evaluation only goes forward", evaluation_goes_forward},
             {"slow passes are seen", slow_passes_are_seen},
             {"threads without a shard do not wait", threads_without_a_shard_do_not_wait},
             {"starts, clears, stops", starts_clears_stops}, {"changes nothing", changes_nothing},
             {"failing allocations are clean", failing_allocations_are_clean})
