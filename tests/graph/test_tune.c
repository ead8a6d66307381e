/* The plan by measurement: the faster kernel wins, one that fails is out, what is forced stays, and
 * nothing but speed changes. */
#include "net_support.h"

#include "base/log.h"
#include "base/seconds.h"
#include "graph/tune.h"

/* ---- Layers with kernels of known speed: y = x ---- */

static atomic_bool last_resort_ran;

static int32_t copy_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

static int32_t copy_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                        const lamina_io *io) {
    const bool forward = pass == LAMINA_PASS_FORWARD;
    const lamina_tensor *from = forward ? io->in[0] : io->d_out[0],
                        *to = forward ? io->out[0] : io->d_in[0];
    (void)self, (void)kernel, (void)call;
    memcpy(to->data, from->data, (size_t)tensor_count(from) * sizeof(float));
    return LAMINA_OK;
}

static void spin(void) {
    const double begin = lamina__seconds();
    while (lamina__seconds() < begin + 2e-4) {
    }
}

static int32_t slow_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                        const lamina_io *io) {
    spin();
    return copy_run(self, kernel, call, pass, io);
}

/* Fast forward, slow backward. */
static int32_t half_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                        const lamina_io *io) {
    return (pass == LAMINA_PASS_FORWARD ? copy_run : slow_run)(self, kernel, call, pass, io);
}

static int32_t last_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                        const lamina_io *io) {
    last_resort_ran = true;
    return copy_run(self, kernel, call, pass, io);
}

static int32_t failing_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                           const lamina_io *io) {
    (void)self, (void)kernel, (void)pass, (void)io;
    return call->host->fail(call, LAMINA_ERROR_UNSUPPORTED, "cannot run");
}

static int32_t failing_create(const void *self, lamina_call *call, const lamina_setup *setup,
                              uint32_t passes, void **kernel) {
    (void)self, (void)setup, (void)passes, (void)kernel;
    return call->host->fail(call, LAMINA_ERROR_UNSUPPORTED, "cannot be made");
}

static int32_t slow_prepare(const void *self, void *kernel, lamina_call *call,
                            const lamina_io *io) {
    (void)self, (void)kernel, (void)call, (void)io;
    spin();
    return LAMINA_OK;
}

enum { BOTH = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA };

static const lamina_kernel slow = {.struct_size = sizeof slow,
                                   .name = "slow",
                                   .doc = "slow",
                                   .passes = BOTH,
                                   .run = slow_run},
                           half = {.struct_size = sizeof half,
                                   .name = "half",
                                   .doc = "slow backward",
                                   .passes = BOTH,
                                   .run = half_run},
                           fast = {.struct_size = sizeof fast,
                                   .name = "fast",
                                   .doc = "fast",
                                   .passes = BOTH,
                                   .run = copy_run},
                           packs = {.struct_size = sizeof packs,
                                    .name = "packs",
                                    .doc = "slow to prepare",
                                    .passes = BOTH,
                                    .prepare = slow_prepare,
                                    .run = copy_run},
                           joint = {.struct_size = sizeof joint,
                                    .name = "joint",
                                    .doc = "fast, all or none",
                                    .passes = BOTH,
                                    .flags = LAMINA_KERNEL_TOGETHER,
                                    .run = copy_run},
                           half_joint = {.struct_size = sizeof half_joint,
                                         .name = "half_joint",
                                         .doc = "slow backward, all or none",
                                         .passes = BOTH,
                                         .flags = LAMINA_KERNEL_TOGETHER,
                                         .run = half_run},
                           last = {.struct_size = sizeof last,
                                   .name = "last",
                                   .doc = "plain",
                                   .passes = BOTH,
                                   .flags = LAMINA_KERNEL_LAST_RESORT,
                                   .run = last_run},
                           unmade = {.struct_size = sizeof unmade,
                                     .name = "unmade",
                                     .doc = "cannot be made",
                                     .passes = BOTH,
                                     .create = failing_create,
                                     .run = copy_run},
                           unrun = {.struct_size = sizeof unrun,
                                    .name = "unrun",
                                    .doc = "cannot run",
                                    .passes = BOTH,
                                    .run = failing_run};

static const lamina_kernel *const speed_kernels[] = {&slow, &half, &fast, &last, NULL};
static const lamina_kernel *const bad_kernels[] = {&slow, &unmade, &unrun, &fast, NULL};
static const lamina_kernel *const joint_kernels[] = {&half, &joint, NULL};
static const lamina_kernel *const half_joint_kernels[] = {&half_joint, &slow, &fast, NULL};
static const lamina_kernel *const pack_kernels[] = {&packs, &fast, NULL};
static const lamina_kernel *const plain_kernels[] = {&last, NULL};

/* The initialiser of a type with these kernels. */
#define COPY_TYPE(type_name, set_up, list)                                                         \
    {                                                                                              \
        .struct_size = sizeof(lamina_layer_type), .name = type_name, .doc = "copies",              \
        .state_version = 1, .min_in = 1, .max_in = 1, .n_out = 1,                                  \
        .param_stride = sizeof(lamina_param), .setup = set_up, .kernels = list                     \
    }

static const lamina_layer_type speed_type = COPY_TYPE("test_speed", copy_setup, speed_kernels),
                               bad_type = COPY_TYPE("test_bad", copy_setup, bad_kernels),
                               joint_type = COPY_TYPE("test_joint", copy_setup, joint_kernels),
                               half_joint_type =
                                   COPY_TYPE("test_half_joint", copy_setup, half_joint_kernels),
                               packs_type = COPY_TYPE("test_packs", copy_setup, pack_kernels),
                               plain_type = COPY_TYPE("test_plain", copy_setup, plain_kernels);

/* ---- Layers with weights, faster on the whole batch, or slower ---- */

enum { WEIGHTS = 20000 };

static int32_t weight_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_weight weight = {.struct_size = sizeof weight,
                                  .name = "weight",
                                  .shape = {.dtype = LAMINA_F32, .ndim = 1, .dim = {WEIGHTS}}};
    int32_t status = call->host->set_multiply_adds(call, WEIGHTS);
    if (status >= 0) {
        status = call->host->add_weight(call, &weight);
    }
    return status < 0 ? status : copy_setup(self, call, setup);
}

static int32_t heavy_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                         const lamina_io *io) {
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return LAMINA_OK;
    }
    return (io->samples < io->batch ? slow_run : copy_run)(self, kernel, call, pass, io);
}

static int32_t light_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                         const lamina_io *io) {
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return LAMINA_OK;
    }
    return (io->samples < io->batch ? copy_run : slow_run)(self, kernel, call, pass, io);
}

static const lamina_kernel heavy = {.struct_size = sizeof heavy,
                                    .name = "heavy",
                                    .doc = "slow by shard",
                                    .passes = BOTH | LAMINA_PASS_BACKWARD_WEIGHTS,
                                    .run = heavy_run},
                           light = {.struct_size = sizeof light,
                                    .name = "light",
                                    .doc = "slow on the whole batch",
                                    .passes = BOTH | LAMINA_PASS_BACKWARD_WEIGHTS,
                                    .run = light_run};
static const lamina_kernel *const heavy_kernels[] = {&heavy, NULL};
static const lamina_kernel *const light_kernels[] = {&light, NULL};

static const lamina_layer_type heavy_type = COPY_TYPE("test_heavy", weight_setup, heavy_kernels),
                               light_type = COPY_TYPE("test_light", weight_setup, light_kernels);

static const lamina_layer_type *const types[] = {&speed_type,      &bad_type,   &joint_type,
                                                 &half_joint_type, &packs_type, &plain_type,
                                                 &heavy_type,      &light_type, NULL};

/* ---- Nets ---- */

enum { PIXELS = 2 * 6 * 6 };

static lamina__net_options options_for(int threads) {
    return (lamina__net_options){.channels = 2,
                                 .height = 6,
                                 .width = 6,
                                 .batch = 8,
                                 .classes = 5,
                                 .threads = threads,
                                 .training = true,
                                 .measure = true,
                                 .seed = 7};
}

static const char *const network = "- linear: {units: 12}\n"
                                   "- test_speed: {name: speed}\n"
                                   "- test_bad: {name: bad}\n"
                                   "- test_joint: {name: joint}\n"
                                   "- test_half_joint: {name: half}\n"
                                   "- test_packs: {name: packs}\n"
                                   "- test_plain: {name: plain}\n"
                                   "- test_speed: {name: forced, kernels: half}\n"
                                   "- linear: {units: 5}\n"
                                   "- softmax_loss\n";

static int measured; /* how often the log said so */
static int peaceful; /* trials with no layer on the whole batch that nothing disturbed */

static void count_lines(void *user, int32_t level, const char *message) {
    (void)user, (void)level;
    measured += strncmp(message, "measuring", 9) == 0;
    peaceful += strstr(message, " 0 layers on the whole batch: ") != NULL &&
                strstr(message, "disturbed") == NULL;
}

static test_net make(const char *layers, const lamina__net_options *options) {
    test_more_types = types;
    lamina_set_log(count_lines, NULL);
    test_net t = test_net_make(layers, options);
    lamina_set_log(NULL, NULL);
    return t;
}

static void has_kernels(const test_net *t, const char *layer, const char *forward,
                        const char *backward) {
    for (int32_t i = 0; i < lamina__net_n_layers(t->net); i++) {
        const lamina__instance *instance = lamina__net_layer(t->net, i);
        if (strcmp(instance->name, layer) == 0) {
            TEST_TEXT(lamina__instance_kernel(instance, 0), forward);
            TEST_TEXT(lamina__instance_kernel(instance, 1), backward);
            return;
        }
    }
    CU_FAIL("no such layer");
}

static void the_fastest_wins(void) {
    for (int threads = 1; threads <= 2; threads++) {
        const lamina__net_options options = options_for(threads);
        last_resort_ran = false;
        measured = 0;
        test_net t = make(network, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_EQUAL(measured, 1);
        TEST_TEXT(test_net_error(&t), "");
        has_kernels(&t, "bad", "fast", "fast");
        has_kernels(&t, "joint", "joint", "joint");
        has_kernels(&t, "half", "fast", "fast");
        has_kernels(&t, "packs", "fast", "fast");
        has_kernels(&t, "plain", "last", "last");
        has_kernels(&t, "forced", "half", "half");
        TEST_TEXT(lamina__instance_kernel(lamina__net_layer(t.net, 1), 1), "fast");
        test_net_free(&t);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

/* A last resort is not even tried where something else applies. */
static void last_resorts_are_not_timed(void) {
    const lamina__net_options options = options_for(1);
    last_resort_ran = false;
    test_net t = make("- linear: {units: 5}\n- test_speed\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT(!last_resort_ran);
    test_net_free(&t);
}

static void without_measuring_the_first_applies(void) {
    lamina__net_options options = options_for(1);
    options.measure = false;
    measured = 0;
    test_net t = make("- linear: {units: 5}\n- test_speed: {name: s}\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(measured, 0);
    has_kernels(&t, "s", "slow", "slow");
    test_net_free(&t);
}

static void kernels_that_are_forced_stay(void) {
    lamina__net_options options = options_for(2);
    options.kernels = "slow";
    measured = 0;
    test_net t = make("- linear: {units: 5}\n- test_speed: {name: s}\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    has_kernels(&t, "s", "slow", "slow");
    CU_ASSERT_EQUAL(measured, 0);
    test_net_free(&t);
}

/* A recorded plan is followed; nothing is measured. */
static void a_recorded_plan_wins(void) {
    lamina__recorded_kernel kernels = {
        .layer = (char *)(uintptr_t) "s",
        .kernel = {(char *)(uintptr_t) "half", (char *)(uintptr_t) "slow"}};
    const lamina__plan_record record = {.shards = 2, .slices = 2, .kernels = &kernels, .count = 1};
    lamina__net_options options = options_for(2);
    options.recorded = &record;
    measured = 0;
    test_net t = make("- linear: {units: 5}\n- test_speed: {name: s}\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(measured, 0);
    CU_ASSERT_EQUAL(lamina__net_slices(t.net), 2);
    has_kernels(&t, "s", "half", "slow");
    test_net_free(&t);
}

/* Trial nets leave nothing behind: weights and state are those of a net that was not measured. */
static void weights_are_untouched(void) {
    static const char *const layers = "- conv: {filters: 4, kernel: 3}\n"
                                      "- test_center\n"
                                      "- linear: {units: 5}\n"
                                      "- softmax_loss\n";
    lamina__net_options options = options_for(2);
    test_net a = make(layers, &options);
    options.measure = false;
    test_net b = make(layers, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(a.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(b.net);
    CU_ASSERT_EQUAL(memcmp(lamina__net_weight_block(a.net), lamina__net_weight_block(b.net),
                           (size_t)lamina__net_weight_floats(a.net) * sizeof(float)),
                    0);
    CU_ASSERT_EQUAL(lamina__net_state_at(a.net, 0).data[0], 0);
    test_net_free(&a);
    test_net_free(&b);
}

static void forward_only(void) {
    static test_batch b;
    lamina__net_options options = options_for(2);
    lamina__result result;
    options.training = false;
    options.batch = 1;
    test_net t = make("- linear: {units: 5}\n- test_speed: {name: s}\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_shards(t.net), 1);
    CU_ASSERT_STRING_NOT_EQUAL(lamina__instance_kernel(lamina__net_layer(t.net, 1), 0), "slow");
    test_batch_fill(&b, 1, PIXELS, 5, 1);
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
    test_net_free(&t);
}

/* Where no step can be taken, the order of preference decides, and the failure comes later. */
static void what_cannot_be_measured(void) {
    const lamina__net_options options = options_for(2);
    measured = 0;
    test_net t =
        make("- linear: {name: x, units: 5, init: {weight: {type: constant, value: 1e38}}}\n"
             "- test_speed: {name: s}\n- linear: {units: 5}\n- softmax_loss\n",
             &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    has_kernels(&t, "s", "slow", "slow");
    test_net_free(&t);
    t = make("- linear: {units: 4}\n- softmax_loss\n", &options);
    CU_ASSERT_PTR_NULL(t.net);
    CU_ASSERT_EQUAL(t.diags.count, 1);
    TEST_CONTAINS(test_net_error(&t), "the data has 5 classes, the network 4 outputs");
    test_net_free(&t);
}

/* Is the second layer called on the whole batch, of nets that two threads share? A machine that is
 * busy with other things may be faster on one. */
static bool is_whole_after_measuring(const char *layers, bool otherwise) {
    const lamina__net_options options = options_for(2);
    test_net t = make(layers, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const bool whole = lamina__net_is_whole(t.net, 1);
    const bool shared = lamina__net_shards(t.net) > 1;
    test_net_free(&t);
    return shared ? whole : otherwise;
}

/* A layer with many weights is called as it is fastest: at first on the whole batch, and by shard
 * when a step in peace was faster so. */
static void layers_with_many_weights(void) {
    CU_ASSERT(is_whole_after_measuring(
        "- linear: {units: 12}\n- test_heavy\n- linear: {units: 5}\n- softmax_loss\n", true));
    bool whole = true;
    peaceful = 0;
    for (int i = 0; i < 5 && whole; i++) {
        whole = is_whole_after_measuring(
            "- linear: {units: 12}\n- test_light\n- linear: {units: 5}\n- softmax_loss\n", false);
    }
    CU_ASSERT(!whole || peaceful == 0);
}

/* ---- With a cache ---- */

/* Layers that compute the same have the same kernels, whatever disturbed one of them. */
static void equal_layers_are_alike(void) {
    static const char *const equal = "- conv: {filters: 4, kernel: 3, padding: same}\n"
                                     "- conv: {name: a, filters: 4, kernel: 3, padding: same}\n"
                                     "- conv: {name: b, filters: 4, kernel: 3, padding: same}\n"
                                     "- conv: {name: c, filters: 4, kernel: 3, padding: same}\n"
                                     "- linear: {units: 5}\n"
                                     "- softmax_loss\n";
    for (int i = 0; i < 4; i++) {
        const lamina__net_options options = options_for(1 + i % 2);
        test_net t = make(equal, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const char *kernel = lamina__instance_kernel(lamina__net_layer(t.net, 1), pass);
            TEST_TEXT(lamina__instance_kernel(lamina__net_layer(t.net, 2), pass), kernel);
            TEST_TEXT(lamina__instance_kernel(lamina__net_layer(t.net, 3), pass), kernel);
        }
        test_net_free(&t);
    }
}

static void measured_once(void) {
    const char *folder = test_path(test_tmpdir(), "deep/er");
    lamina__net_options options = options_for(2);
    options.cache = folder;
    int32_t slices = 0;
    for (int k = 0; k < 3; k++) {
        measured = 0;
        options.measure = k < 2; /* the third only looks */
        test_net t = make(network, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_EQUAL(measured, k == 0);
        has_kernels(&t, "bad", "fast", "fast");
        has_kernels(&t, "forced", "half", "half");
        if (k > 0)
            CU_ASSERT_EQUAL(lamina__net_slices(t.net), slices);
        slices = lamina__net_slices(t.net);
        test_net_free(&t);
    }
    measured = 0;
    options.measure = true;
    options.batch = 6; /* another net */
    test_net t = make(network, &options);
    CU_ASSERT_EQUAL(measured, 1);
    test_net_free(&t);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

/* When memory runs out there is a net, with or without measuring, or an error; and no leak. */
static void failing_allocations_are_clean(void) {
    static const char *const layers = "- linear: {units: 5}\n- softmax_loss\n";
    const char *folder = test_tmpdir();
    lamina__net_options options = options_for(1);
    options.cache = folder;
    options.batch = 2;
    test_net_allocations(make, layers, &options, true);
}

LAMINA_TESTS({"the fastest wins", the_fastest_wins},
             {"last resorts are not timed", last_resorts_are_not_timed},
             {"without measuring the first applies", without_measuring_the_first_applies},
             {"kernels that are forced stay", kernels_that_are_forced_stay},
             {"a recorded plan wins", a_recorded_plan_wins},
             {"weights are untouched", weights_are_untouched}, {"forward only", forward_only},
             {"what cannot be measured", what_cannot_be_measured},
             {"layers with many weights are called as they are fastest", layers_with_many_weights},
             {"equal layers are alike", equal_layers_are_alike}, {"measured once", measured_once},
             {"failing allocations are clean", failing_allocations_are_clean})
