/* Nets: the same network cut and placed in every way gives the same gradients; those are right; a
 * step allocates nothing; what goes wrong is named. */
#include "net_support.h"

/* Branches, fan-out, in-place relu, a layer that couples the batch, random numbers. */
static const char *const branched = "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n"
                                    "- relu: {name: r}\n"
                                    "- conv: {name: b, filters: 4, kernel: 3, padding: 1}\n"
                                    "- test_split: {name: cut, from: b}\n"
                                    "- test_add: {name: halves, from: [cut:1, cut]}\n"
                                    "- conv: {name: wide, filters: 4, kernel: 1}\n"
                                    "- test_pack: {name: pack}\n"
                                    "- test_pack: {name: pack2}\n"
                                    "- test_add: {name: sum, from: [r, pack2]}\n"
                                    "- test_noise: {name: noise}\n"
                                    "- test_add: {name: twice, from: [noise, noise]}\n"
                                    "- max_pool: {name: pool, kernel: 2}\n"
                                    "- test_center: {name: center}\n"
                                    "- test_add: {name: again, from: [center, pool]}\n"
                                    "- relu: {name: r2}\n"
                                    "- linear: {name: fc, units: 5}\n"
                                    "- softmax_loss: {name: loss}\n";

static const char *const plain = "- conv: {name: a, filters: 6, kernel: 3}\n"
                                 "- max_pool: {kernel: 2}\n"
                                 "- conv: {filters: 8, kernel: 2}\n"
                                 "- relu\n"
                                 "- linear: {units: 12}\n"
                                 "- relu\n"
                                 "- linear: {units: 5}\n"
                                 "- softmax_loss\n";

/* Branches and saved tensors, but nothing that couples the batch: its shards may be cut into
 * slices.
 */
static const char *const sliceable = "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n"
                                     "- relu: {name: r}\n"
                                     "- conv: {name: b, filters: 4, kernel: 3, padding: 1}\n"
                                     "- test_split: {name: cut, from: b}\n"
                                     "- test_add: {name: halves, from: [cut:1, cut]}\n"
                                     "- conv: {name: wide, filters: 4, kernel: 1}\n"
                                     "- test_pack: {name: pack}\n"
                                     "- test_add: {name: sum, from: [r, pack]}\n"
                                     "- test_noise: {name: noise}\n"
                                     "- test_add: {name: twice, from: [noise, noise]}\n"
                                     "- max_pool: {name: pool, kernel: 2}\n"
                                     "- linear: {name: fc, units: 5}\n"
                                     "- softmax_loss: {name: loss}\n";

/* The same without kinks, for finite differences. */
static const char *const smooth = "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n"
                                  "- softmax: {name: r}\n"
                                  "- conv: {name: b, filters: 4, kernel: 3, padding: 1}\n"
                                  "- test_split: {name: cut, from: b}\n"
                                  "- test_add: {name: halves, from: [cut:1, cut]}\n"
                                  "- conv: {name: wide, filters: 4, kernel: 1}\n"
                                  "- test_pack: {name: pack}\n"
                                  "- test_add: {name: sum, from: [r, pack]}\n"
                                  "- test_noise: {name: noise}\n"
                                  "- test_add: {name: twice, from: [noise, noise]}\n"
                                  "- avg_pool: {name: pool, kernel: 2}\n"
                                  "- test_center: {name: center}\n"
                                  "- test_add: {name: again, from: [center, pool]}\n"
                                  "- linear: {name: fc, units: 5}\n"
                                  "- softmax_loss: {name: loss}\n";

static char reference_kernel[] = "reference";

/* The gradient of one step on a batch of n, and the loss; weights stay. */
static float *gradient_of(test_net *t, test_batch *b, int64_t n, lamina__result *result) {
    const int64_t floats = lamina__net_weight_floats(t->net);
    float *gradient = lamina__calloc((size_t)floats, sizeof *gradient);
    test_descent descent = {lamina__net_weight_block(t->net), gradient, 0};
    lamina_error error = {0};
    test_batch_fill(b, n, TEST_PIXELS, 5, 3);
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t->net, &b->batch, 0, test_update, &descent, result, &error),
        LAMINA_OK);
    TEST_TEXT(error.message, "");
    return gradient;
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    }
    return largest;
}

/* `whole`: names of layers that are called on the whole batch, NULL-terminated. */
static void compare_cuts(const char *layers, const char *const *whole) {
    /* threads, shards, slices, keep_all */
    static const int cuts[][4] = {{1, 2, 1, 0}, {2, 2, 1, 0}, {2, 3, 1, 0}, {2, 5, 1, 0},
                                  {2, 1, 1, 0}, {2, 2, 1, 1}, {1, 1, 1, 1}, {1, 1, 3, 0},
                                  {2, 2, 2, 0}, {2, 2, 4, 1}, {2, 3, 3, 0}, {1, 1, 10, 0}};
    static const int64_t sizes[] = {10, 7, 3, 10};
    static test_batch b;
    const lamina__net_options one = test_net_options(1, 1);
    test_net base = test_net_make(layers, &one);
    TEST_TEXT(test_net_error(&base), "");
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0] && base.net != NULL; c++) {
        lamina__net_options options = test_net_options(cuts[c][0], cuts[c][1]);
        options.slices = cuts[c][2];
        options.keep_all = cuts[c][3];
        lamina__recorded_kernel kernels[8] = {{0}};
        lamina__plan_record record = {.shards = cuts[c][1],
                                      .slices = cuts[c][2],
                                      .by_shard = cuts[c][1] == 1 && c % 2 == 0,
                                      .kernels = kernels};
        for (; whole[record.count] != NULL; record.count++) {
            kernels[record.count] = (lamina__recorded_kernel){
                .layer = (char *)(uintptr_t)whole[record.count],
                .kernel = {reference_kernel, reference_kernel, reference_kernel},
                .whole = true};
        }
        options.recorded = record.count > 0 ? &record : NULL;
        test_net t = test_net_make(layers, &options);
        TEST_TEXT(test_net_error(&t), "");
        for (size_t s = 0; s < 4 && t.net != NULL; s++) {
            lamina__result expected, got;
            const int64_t floats = lamina__net_weight_floats(base.net);
            float *e = gradient_of(&base, &b, sizes[s], &expected);
            float *g = gradient_of(&t, &b, sizes[s], &got);
            CU_ASSERT(largest_difference(e, g, floats) < 1e-5);
            CU_ASSERT_DOUBLE_EQUAL(expected.loss_sum, got.loss_sum, 1e-4);
            CU_ASSERT_EQUAL(expected.correct, got.correct);
            CU_ASSERT_EQUAL(got.samples, sizes[s]);
            lamina__free(e);
            lamina__free(g);
        }
        test_net_free(&t);
    }
    test_net_free(&base);
}

static const char *const none[] = {NULL};

static void cuts_agree_plain(void) {
    compare_cuts(plain, none);
}

static void cuts_agree_branched(void) {
    compare_cuts(branched, none);
}

static void cuts_agree_sliced(void) {
    compare_cuts(sliceable, none);
}

/* First, last, inner and neighbouring layers, with weights and without, in place, of which several
 * read one value. */
static void cuts_agree_with_whole_layers(void) {
    static const char *const layers[][5] = {{"linear1", NULL},
                                            {"linear1", "relu2", NULL},
                                            {"a", NULL},
                                            {"conv1", "relu1", "a", NULL},
                                            {"linear2", "softmax_loss1", NULL}};
    static const char *const branches[][5] = {
        {"fc", NULL}, {"b", "cut", NULL}, {"sum", "noise", "loss", NULL}, {"r", "pack", NULL}};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        compare_cuts(plain, layers[i]);
    }
    for (size_t i = 0; i < sizeof branches / sizeof branches[0]; i++) {
        compare_cuts(sliceable, branches[i]);
        compare_cuts(branched, branches[i]);
    }
}

/* What a layer is called on is told, and it has one gradient whatever the shards are. */
static void whole_layers_have_one_gradient(void) {
    lamina__recorded_kernel kernel = {.layer = (char *)(uintptr_t) "linear1", .whole = true};
    const lamina__plan_record record = {.shards = 5, .kernels = &kernel, .count = 1};
    size_t gradients[2];
    for (int k = 0; k < 2; k++) {
        lamina__net_options options = test_net_options(2, 5);
        options.recorded = k == 0 ? NULL : &record;
        test_net t = test_net_make(plain, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (int32_t i = 0; i < lamina__net_n_layers(t.net); i++) {
            const bool named = strcmp(lamina__net_layer(t.net, i)->name, "linear1") == 0;
            CU_ASSERT_EQUAL(lamina__net_is_whole(t.net, i), named && k == 1);
        }
        gradients[k] = lamina__net_memory(t.net).gradients;
        test_net_free(&t);
    }
    const size_t weights = (12 * 8 + 12 + 4) * sizeof(float); /* bias: from a 64-byte boundary */
    CU_ASSERT_EQUAL(gradients[0] - gradients[1], 4 * weights);
}

/* Never more than there are samples, and none where all layers have the whole batch. */
static void slices_where_they_can_be(void) {
    static const struct {
        const char *const *layers;
        int threads, shards, slices, expected;
    } cases[] = {{&plain, 2, 2, 3, 3},    {&plain, 1, 1, 4, 4},     {&plain, 2, 1, 4, 1},
                 {&plain, 2, 3, 100, 3},  {&sliceable, 2, 2, 2, 2}, {&branched, 2, 2, 3, 3},
                 {&branched, 1, 1, 4, 4}, {&plain, 2, 2, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lamina__net_options options = test_net_options(cases[i].threads, cases[i].shards);
        options.slices = cases[i].slices;
        test_net t = test_net_make(*cases[i].layers, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_EQUAL(lamina__net_slices(t.net), cases[i].expected);
        test_net_free(&t);
    }
}

/* Slices use the same memory one after the other. */
static void slices_need_less_memory(void) {
    size_t activations[2];
    for (int k = 0; k < 2; k++) {
        lamina__net_options options = test_net_options(1, 1);
        options.batch = 1000; /* more than the scratch of a call */
        options.slices = k == 0 ? 1 : 5;
        test_net t = test_net_make(plain, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        activations[k] = lamina__net_memory(t.net).activations;
        test_net_free(&t);
    }
    CU_ASSERT(2 * activations[1] < activations[0]);
}

/* A recorded plan decides over what is asked for, and gives the same bits. */
static void recorded_slices_are_kept(void) {
    static test_batch b;
    const lamina__plan_record record = {.shards = 2, .slices = 3};
    float *gradient[2];
    int64_t floats = 0;
    for (int k = 0; k < 2; k++) {
        lamina__result result;
        lamina__net_options options = test_net_options(2, 2);
        options.slices = k == 0 ? 3 : 1;
        options.recorded = k == 0 ? NULL : &record;
        test_net t = test_net_make(plain, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_EQUAL(lamina__net_slices(t.net), 3);
        floats = lamina__net_weight_floats(t.net);
        gradient[k] = gradient_of(&t, &b, 10, &result);
        test_net_free(&t);
    }
    CU_ASSERT_EQUAL(memcmp(gradient[0], gradient[1], (size_t)floats * sizeof(float)), 0);
    lamina__free(gradient[0]);
    lamina__free(gradient[1]);
}

/* The whole net against finite differences of its loss, weight by weight. */
static void gradient_is_the_slope(void) {
    static test_batch b;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(smooth, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    test_batch_fill(&b, 10, TEST_PIXELS, 5, 3);
    test_net_slope(&t, &b, 5);
    test_net_free(&t);
}

/* Sharing memory and working in place changes no bit: ten steps against a net that keeps all. */
static void compare_memory_plans(const char *layers, int slices, const char *kernels) {
    static test_batch b;
    lamina__net_options options = test_net_options(2, 2);
    options.kernels = kernels;
    options.slices = slices;
    test_net small = test_net_make(layers, &options);
    options.keep_all = true;
    test_net large = test_net_make(layers, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(small.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(large.net);
    CU_ASSERT(lamina__net_memory(small.net).activations <
              lamina__net_memory(large.net).activations);
    for (int64_t step = 0; step < 10; step++) {
        test_batch_fill(&b, step % 3 == 2 ? 7 : 10, TEST_PIXELS, 5, (uint64_t)step);
        test_net *nets[2] = {&small, &large};
        for (int k = 0; k < 2; k++) {
            lamina__result result;
            test_descent descent = {lamina__net_weight_block(nets[k]->net), NULL, 0.1f};
            CU_ASSERT_EQUAL(lamina__net_train_step(nets[k]->net, &b.batch, step, test_update,
                                                   &descent, &result, NULL),
                            LAMINA_OK);
        }
    }
    CU_ASSERT_EQUAL(memcmp(lamina__net_weight_block(small.net), lamina__net_weight_block(large.net),
                           (size_t)lamina__net_weight_floats(small.net) * sizeof(float)),
                    0);
    if (lamina__net_n_states(small.net) > 0)
        CU_ASSERT_EQUAL(memcmp(lamina__net_state_at(small.net, 0).data,
                               lamina__net_state_at(large.net, 0).data, 4 * sizeof(float)),
                        0);
    test_net_free(&small);
    test_net_free(&large);
}

/* A convolution that computes the relu after it, too, changes no bit either, and is not asked to
 * where that could be seen. */
static void fused_relu(void) {
    static const char *const layers = "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                      "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                      "- relu\n"
                                      "- conv: {filters: 10, kernel: 3, padding: 1}\n"
                                      "- relu: {name: twice}\n"
                                      "- conv: {filters: 10, kernel: 3, padding: 1}\n"
                                      "- test_add: {from: [conv4, twice]}\n"
                                      "- linear: {units: 5}\n"
                                      "- softmax_loss\n";
    static const char *const depthwise = "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                         "- conv: {filters: 9, kernel: 3, padding: 1, groups: 9}\n"
                                         "- relu\n"
                                         "- conv: {filters: 18, kernel: 3, groups: 9, stride: 2}\n"
                                         "- relu\n"
                                         "- linear: {units: 5}\n"
                                         "- softmax_loss\n";
    /* batch_norm, on the whole batch, does relu's backward pass as well. */
    static const char *const normed = "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                      "- batch_norm: {name: bn}\n"
                                      "- relu: {name: r}\n"
                                      "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                      "- batch_norm\n"
                                      "- test_add: {from: [batch_norm2, r]}\n"
                                      "- relu\n"
                                      "- batch_norm\n"
                                      "- relu\n"
                                      "- linear: {units: 12}\n"
                                      "- batch_norm\n"
                                      "- relu\n"
                                      "- linear: {units: 5}\n"
                                      "- softmax_loss\n";
    /* And clip's, each with bounds of its own. */
    static const char *const clipped = "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                       "- batch_norm: {name: bn}\n"
                                       "- clip: {name: c, min: 0, max: 1}\n"
                                       "- conv: {filters: 9, kernel: 3, padding: 1}\n"
                                       "- batch_norm\n"
                                       "- clip: {min: -0.5, max: 0.25}\n"
                                       "- linear: {units: 12}\n"
                                       "- batch_norm\n"
                                       "- clip: {min: -1, max: 1}\n"
                                       "- linear: {units: 5}\n"
                                       "- softmax_loss\n";
    compare_memory_plans(layers, 1, "winograd");
    compare_memory_plans(layers, 3, "winograd");
    compare_memory_plans("- conv: {filters: 21, kernel: 3, padding: 1}\n"
                         "- relu\n"
                         "- linear: {units: 5}\n"
                         "- softmax_loss\n",
                         2, "planes");
    compare_memory_plans(layers, 3, "taps");
    compare_memory_plans(depthwise, 1, "depthwise");
    compare_memory_plans(normed, 1, "blocks");
    compare_memory_plans(normed, 2, "blocks");
    compare_memory_plans(clipped, 1, "blocks");
    compare_memory_plans(clipped, 2, "blocks");
    static const char *const transposed = "- conv: {filters: 9, kernel: 3, stride: 2}\n"
                                          "- conv_transpose: {filters: 8, kernel: 2, stride: 2}\n"
                                          "- relu\n"
                                          "- conv_transpose: {filters: 9, kernel: 3}\n"
                                          "- relu\n"
                                          "- linear: {units: 5}\n"
                                          "- softmax_loss\n";
    compare_memory_plans(transposed, 1, "taps");
    compare_memory_plans(transposed, 1, "patches");
    compare_memory_plans(transposed, 2, "winograd");

    static const int32_t expected[] = {0, 1, 0, 1, 0, 0, 0, 0, 0};
    for (int keep_all = 0; keep_all < 2; keep_all++) {
        lamina__net_options options = test_net_options(2, 2);
        options.kernels = "winograd";
        options.keep_all = keep_all;
        test_net t = test_net_make(layers, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (int32_t i = 0; i < lamina__net_n_layers(t.net); i++) {
            CU_ASSERT_EQUAL(lamina__net_layer(t.net, i)->fuses, keep_all ? 0 : expected[i]);
        }
        test_net_free(&t);
    }
    static const int32_t normed_expected[] = {0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0};
    static const int32_t clipped_expected[] = {0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0};
    for (int k = 0; k < 4; k++) {
        const int keep_all = k % 2;
        const int32_t *both = k < 2 ? normed_expected : clipped_expected;
        lamina__net_options options = test_net_options(2, 2);
        options.kernels = NULL;
        options.keep_all = keep_all;
        test_net t = test_net_make(k < 2 ? normed : clipped, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (int32_t i = 0; i < lamina__net_n_layers(t.net); i++) {
            const lamina__instance *layer = lamina__net_layer(t.net, i);
            CU_ASSERT_EQUAL(layer->fuses, keep_all ? 0 : both[i]);
            CU_ASSERT_EQUAL(layer->fuses_backward, layer->fuses);
        }
        test_net_free(&t);
    }
}

static void memory_plan_changes_nothing(void) {
    compare_memory_plans(branched, 1, NULL);
    compare_memory_plans(sliceable, 3, NULL);
}

/* The result depends on shards and slices, not on the threads that take them. */
static void compare_threads(const char *layers, int shards, int slices) {
    static test_batch b;
    float *gradient[3];
    int64_t floats = 0;
    for (int k = 0; k < 3; k++) {
        lamina__result result;
        lamina__net_options options = test_net_options(k + 1, shards);
        options.slices = slices;
        test_net t = test_net_make(layers, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        floats = lamina__net_weight_floats(t.net);
        gradient[k] = gradient_of(&t, &b, 10, &result);
        test_net_free(&t);
    }
    for (int k = 1; k < 3; k++)
        CU_ASSERT_EQUAL(memcmp(gradient[0], gradient[k], (size_t)floats * sizeof(float)), 0);
    for (int k = 0; k < 3; k++) {
        lamina__free(gradient[k]);
    }
}

static void threads_change_nothing(void) {
    compare_threads(branched, 4, 1);
    compare_threads(sliceable, 4, 2);
    compare_threads(plain, 3, 3);
}

static void learns(void) {
    static test_batch b;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(plain, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    test_batch_fill(&b, 10, TEST_PIXELS, 5, 1);
    lamina__result first, result;
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.2f};
    lamina__net_evaluate(t.net, &b.batch, &first, NULL);
    for (int64_t step = 0; step < 100; step++) {
        lamina__net_train_step(t.net, &b.batch, step, test_update, &descent, &result, NULL);
    }
    lamina__net_evaluate(t.net, &b.batch, &result, NULL);
    CU_ASSERT(result.loss_sum < 0.1 * first.loss_sum);
    CU_ASSERT_EQUAL(result.correct, 10);
    for (int i = 0; i < 10; i++)
        CU_ASSERT_EQUAL(lamina__net_predictions(t.net)[i], b.labels[i]);
    test_net_free(&t);
}

/* Images of one pixel are scores: the first of the largest is predicted, nothing with a NaN. */
static void predictions_are_the_largest(void) {
    static const float scores[8][5] = {
        {5, 1, 2, 3, 4},      {1, 2, 3, 4, 5},      {1, 7, 7, 2, 7},   {0, 0, 0, 0, 0},
        {-0.0f, 0, 0, 0, -1}, {-9, -8, -7, -8, -9}, {1, NAN, 2, 3, 4}, {1, 2, 3, 4, NAN},
    };
    static const int32_t expected[8] = {0, 4, 1, 0, 0, 2, -1, -1};
    static test_batch b;
    lamina__net_options options = test_net_options(2, 2);
    options.channels = 5;
    options.height = options.width = 1;
    options.training = false;
    test_net t = test_net_make("- softmax_loss\n", &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    test_batch_fill(&b, 8, 5, 5, 1);
    memcpy(b.images, scores, sizeof scores);
    lamina__result result;
    CU_ASSERT(lamina__net_evaluate(t.net, &b.batch, &result, NULL) == LAMINA_ERROR_NUMERIC);
    for (int i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(lamina__net_predictions(t.net)[i], expected[i]);
    }
    test_net_free(&t);
}

static void a_step_allocates_nothing(void) {
    static test_batch b;
    lamina__net_options options = test_net_options(2, 2);
    options.kernels = NULL;
    test_net t = test_net_make(branched, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.01f};
    const uint64_t before = lamina__alloc_count().calls;
    for (int64_t step = 0; step < 20; step++) {
        test_batch_fill(&b, step % 4 == 3 ? 3 : 10, TEST_PIXELS, 5, (uint64_t)step);
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t.net, &b.batch, step, test_update, &descent, &result, NULL),
            LAMINA_OK);
        lamina__net_evaluate(t.net, &b.batch, &result, NULL);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, before);
    test_net_free(&t);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

static void check_numeric_failure(int slices) {
    static test_batch b;
    lamina__net_options options = test_net_options(2, 2);
    options.slices = slices;
    test_net t = test_net_make(plain, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    lamina_error error = {0};
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.1f};
    test_batch_fill(&b, 10, TEST_PIXELS, 5, 1);

    b.images[4 * TEST_PIXELS + 1] = INFINITY;
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 36, test_update, &descent, &result, &error),
        LAMINA_ERROR_NUMERIC);
    TEST_CONTAINS(error.message, "step 37: layer \"a\" (conv): its output is not finite");
    TEST_CONTAINS(error.message, "sample 4");
    TEST_TEXT(error.layer, "a");

    /* The failed step left the weights and the gradients as they were. */
    test_batch_fill(&b, 10, TEST_PIXELS, 5, 1);
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 36, test_update, &descent, &result, NULL),
        LAMINA_OK);

    /* A step that makes a weight infinite does not pass either. */
    descent.rate = INFINITY;
    error = (lamina_error){0};
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 37, test_update, &descent, &result, &error),
        LAMINA_ERROR_NUMERIC);
    TEST_CONTAINS(error.message, "step 38: layer \"linear2\": the updated weight \"bias\"");
    memset(lamina__net_weight_block(t.net), 0,
           (size_t)lamina__net_weight_floats(t.net) * sizeof(float));

    lamina__net_weight_at(t.net, 2).data[1] = NAN;
    lamina__net_weights_changed(t.net);
    error = (lamina_error){0};
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, &error), LAMINA_ERROR_NUMERIC);
    TEST_CONTAINS(error.message, "layer \"conv2\": weight \"weight\" is not finite");
    test_net_free(&t);
}

static void numeric_failure_is_named(void) {
    check_numeric_failure(1);
    check_numeric_failure(3);
}

static void failed_repacking_is_tried_again(void) {
    static test_batch b;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(branched, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result, expected;
    lamina_error error = {0};
    test_batch_fill(&b, 10, TEST_PIXELS, 5, 1);
    lamina__net_evaluate(t.net, &b.batch, &expected, NULL);
    lamina__net_weights_changed(t.net);
    test_pack_fails = true;
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, &error),
                        LAMINA_ERROR_UNSUPPORTED);
    }
    TEST_CONTAINS(error.message, "layer \"pack\" (test_pack): told to fail");
    test_pack_fails = false;
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(result.loss_sum, expected.loss_sum);
    test_net_free(&t);
}

static void failing_allocations_are_clean(void) {
    const lamina__net_options options = test_net_options(2, 2);
    test_net_allocations(test_net_make, branched, &options, false);
}

static void wrong_shapes_are_named(void) {
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"- conv: {filters: 4, kernel: 9}\n- linear: {units: 5}\n- softmax_loss\n",
         "net.yaml:1:3: error: layer \"conv1\" (conv): kernel 9"},
        {"- linear: {units: 5}\n- conv: {filters: 4, kernel: 1}\n- softmax_loss\n",
         "net.yaml:2:3: error: layer \"conv1\" (conv): "},
        {"- linear: {units: 5}\n", "training needs a loss"},
        {"- linear: {name: x, units: 5}\n- linear: {units: 5, from: data}\n- softmax_loss\n",
         "net.yaml:1:3: error: layer \"x\" (linear): nothing uses its output"},
        {"- linear: {units: 4}\n- softmax_loss\n", "the data has 5 classes, the network 4 outputs"},
        {"- relu: {from: target}\n- linear: {units: 5}\n- softmax_loss\n",
         "input 1 must be float32 values, not labels"},
        {"- linear: {name: x, units: 5}\n- nll_loss: {from: [x, x]}\n",
         "input 2 must be the target's labels"},
        {"- test_wrong: {does: weight_size}\n- linear: {units: 5}\n- softmax_loss\n",
         "struct_size is 0; set it to sizeof(lamina_weight)"},
        {"- test_wrong: {does: state}\n- linear: {units: 5}\n- softmax_loss\n",
         "only a type with LAMINA_COUPLES_BATCH has state"},
        {"- test_wrong: {does: weight_type}\n- linear: {units: 5}\n- softmax_loss\n",
         "weights, state and outputs must be float32"},
        {"- linear: {units: 5, init: {wait: he}}\n- softmax_loss\n",
         "net.yaml:1:29: error: layer \"linear1\" (linear): has no weight \"wait\""},
    };
    const lamina__net_options options = test_net_options(1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_net t = test_net_make(cases[i].layers, &options);
        CU_ASSERT_PTR_NULL(t.net);
        CU_ASSERT_NOT_EQUAL(t.status, LAMINA_OK);
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
    }
}

static void initialisers_are_followed(void) {
    static const char *const layers =
        "- linear: {name: x, units: 200, init: xavier}\n"
        "- linear: {name: h, units: 200, init: {weight: he, bias: {type: constant, value: 0.5}}}\n"
        "- linear: {name: n, units: 200, init: {weight: {type: normal, value: 0.3}}}\n"
        "- linear: {name: c, units: 5, init: {weight: {type: constant, value: 0.25}}}\n"
        "- softmax_loss\n";
    const lamina__net_options options = test_net_options(1, 1);
    test_net t = test_net_make(layers, &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const double expected[] = {sqrt(2.0 / (72 + 200)), sqrt(2.0 / 200), 0.3};
    for (int32_t k = 0; k < 3; k++) {
        const lamina__net_weight weight = lamina__net_weight_at(t.net, 2 * k);
        double sum = 0, square = 0;
        for (int64_t i = 0; i < weight.elements; i++) {
            sum += weight.data[i];
            square += (double)weight.data[i] * weight.data[i];
        }
        const double n = (double)weight.elements;
        CU_ASSERT_DOUBLE_EQUAL(sum / n, 0, 0.05 * expected[k]);
        CU_ASSERT_DOUBLE_EQUAL(sqrt(square / n), expected[k], 0.05 * expected[k]);
    }
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 3).data[7], 0.5f);
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 6).data[7], 0.25f);
    test_net_free(&t);
}

LAMINA_TESTS({"every cut gives the same gradient", cuts_agree_plain},
             {"every cut of a branched net, too", cuts_agree_branched},
             {"every cut with slices, too", cuts_agree_sliced},
             {"every cut with layers on the whole batch, too", cuts_agree_with_whole_layers},
             {"layers on the whole batch have one gradient", whole_layers_have_one_gradient},
             {"a relu in its convolution", fused_relu},
             {"slices where they can be", slices_where_they_can_be},
             {"slices need less memory", slices_need_less_memory},
             {"recorded slices are kept", recorded_slices_are_kept},
             {"the gradient is the slope of the loss", gradient_is_the_slope},
             {"the memory plan changes nothing", memory_plan_changes_nothing},
             {"the number of threads changes nothing", threads_change_nothing}, {"learns", learns},
             {"predictions are the largest", predictions_are_the_largest},
             {"a step allocates nothing", a_step_allocates_nothing},
             {"numeric failure is named", numeric_failure_is_named},
             {"failed repacking is tried again", failed_repacking_is_tried_again},
             {"failing allocations are clean", failing_allocations_are_clean},
             {"wrong shapes are named", wrong_shapes_are_named},
             {"initialisers are followed", initialisers_are_followed})
