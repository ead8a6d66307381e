/* batch_norm in a net: the batch it sees is the whole one, however the net is cut and whatever
 * number of threads goes through it, in the last partial batch of an epoch, too. */
#include "net_support.h"

enum { CHANNELS = 2, SIDE = 6, PIXELS = CHANNELS * SIDE * SIDE, BATCH = 10 };

static const char *const layers = "- conv: {filters: 7, kernel: 3, padding: 1}\n"
                                  "- batch_norm: {name: a}\n"
                                  "- relu: {name: r}\n"
                                  "- conv: {filters: 7, kernel: 3, padding: 1}\n"
                                  "- batch_norm: {name: b, momentum: 0.3}\n"
                                  "- test_add: {from: [b, r]}\n"
                                  "- max_pool: {kernel: 2}\n"
                                  "- linear: {units: 6}\n"
                                  "- batch_norm: {name: c, eps: 0.001}\n"
                                  "- linear: {units: 5}\n"
                                  "- softmax_loss\n";

static lamina__net_options options_for(int threads, int shards, int slices) {
    return (lamina__net_options){.channels = CHANNELS,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .batch = BATCH,
                                 .partial = {7, 3},
                                 .classes = 5,
                                 .threads = threads,
                                 .shards = shards,
                                 .slices = slices,
                                 .training = true,
                                 .seed = 7};
}

static double difference(const float *a, const float *b, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        largest = isnan(d) || d > largest ? d : largest;
    }
    return largest;
}

/* Four steps, one of them on 7 samples and one on 3, then the loss of the running statistics. */
static double train(const test_net *t) {
    static const int64_t sizes[] = {10, 7, 3, 10};
    static test_batch b;
    lamina__result result = {0};
    lamina_error error = {0};
    test_descent descent = {lamina__net_weight_block(t->net), NULL, 0.1f};
    for (int64_t step = 0; step < 4; step++) {
        test_batch_fill(&b, sizes[step], PIXELS, 5, (uint64_t)step);
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t->net, &b.batch, step, test_update, &descent, &result, &error),
            LAMINA_OK);
        TEST_TEXT(error.message, "");
    }
    CU_ASSERT_EQUAL(lamina__net_evaluate(t->net, &b.batch, &result, &error), LAMINA_OK);
    return result.loss_sum;
}

/* Largest difference of weights and running statistics. */
static double compare(const test_net *a, const test_net *b) {
    double largest = difference(lamina__net_weight_block(a->net), lamina__net_weight_block(b->net),
                                lamina__net_weight_floats(a->net));
    CU_ASSERT_EQUAL(lamina__net_n_states(a->net), 6);
    for (int32_t s = 0; s < 6; s++) {
        const lamina__net_state x = lamina__net_state_at(a->net, s);
        const double d = difference(x.data, lamina__net_state_at(b->net, s).data,
                                    lamina__shape_count(&x.state->shape));
        largest = isnan(d) || d > largest ? d : largest;
    }
    return largest;
}

static void cuts_agree(void) {
    /* threads, shards, slices */
    static const int cuts[][3] = {{1, 2, 1}, {2, 2, 1}, {2, 1, 1}, {2, 3, 1},
                                  {3, 5, 1}, {1, 1, 3}, {2, 2, 2}};
    const lamina__net_options one = options_for(1, 1, 1);
    test_net base = test_net_make(layers, &one);
    TEST_TEXT(test_net_error(&base), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(base.net);
    const double loss = train(&base);
    for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
        const lamina__net_options options = options_for(cuts[c][0], cuts[c][1], cuts[c][2]);
        test_net t = test_net_make(layers, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_DOUBLE_EQUAL(train(&t), loss, 1e-4);
        CU_ASSERT(compare(&base, &t) < 2e-5);
        test_net_free(&t);
    }
    test_net_free(&base);
}

/* To the bit: 1 and 2 threads, and 3, take the same shards. */
static void threads_change_nothing(void) {
    test_net nets[3];
    double loss[3];
    for (int k = 0; k < 3; k++) {
        const lamina__net_options options = options_for(k + 1, 3, 1);
        nets[k] = test_net_make(layers, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(nets[k].net);
        loss[k] = train(&nets[k]);
    }
    for (int k = 1; k < 3; k++) {
        CU_ASSERT_EQUAL(loss[0], loss[k]);
        CU_ASSERT_EQUAL(compare(&nets[0], &nets[k]), 0);
    }
    for (int k = 0; k < 3; k++) {
        test_net_free(&nets[k]);
    }
}

/* What the first step leaves in the running statistics of a layer that gets the images themselves,
 * against their own mean and variance, which a batch of 7 has other ones of. */
static void running_statistics(void) {
    static test_batch b;
    static const int64_t sizes[] = {10, 7};
    for (int i = 0; i < 2; i++) {
        const lamina__net_options options = options_for(2, 2, 1);
        test_net t =
            test_net_make("- batch_norm\n- linear: {units: 5}\n- softmax_loss\n", &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        lamina__result result;
        test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.1f};
        test_batch_fill(&b, sizes[i], PIXELS, 5, 3);
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t.net, &b.batch, 0, test_update, &descent, &result, NULL),
            LAMINA_OK);
        const int64_t values = sizes[i] * SIDE * SIDE;
        for (int64_t c = 0; c < CHANNELS; c++) {
            double mean = 0, square = 0;
            for (int64_t k = 0; k < values; k++) {
                mean += (double)b.images[k * CHANNELS + c] / (double)values;
            }
            for (int64_t k = 0; k < values; k++) {
                const double d = (double)b.images[k * CHANNELS + c] - mean;
                square += d * d;
            }
            CU_ASSERT_DOUBLE_EQUAL(lamina__net_state_at(t.net, 0).data[c], 0.1 * mean, 1e-7);
            CU_ASSERT_DOUBLE_EQUAL(lamina__net_state_at(t.net, 1).data[c],
                                   0.9 + 0.1 * square / (double)(values - 1), 1e-6);
        }
        test_net_free(&t);
    }
}

static void one_value_is_refused(void) {
    static test_batch b;
    lamina__net_options options = options_for(1, 1, 1);
    options.partial[1] = 1;
    test_net t = test_net_make(
        "- linear: {units: 4}\n- batch_norm: {name: bn}\n- linear: {units: 5}\n- softmax_loss\n",
        &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    lamina_error error = {0};
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.1f};
    test_batch_fill(&b, 1, PIXELS, 5, 3);
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 0, test_update, &descent, &result, &error),
        LAMINA_ERROR_SHAPE);
    TEST_CONTAINS(error.message, "layer \"bn\" (batch_norm): needs more than one value");
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, &error), LAMINA_OK);
    test_net_free(&t);
}

LAMINA_TESTS({"cuts agree", cuts_agree}, {"threads change nothing", threads_change_nothing},
             {"running statistics", running_statistics},
             {"one value is refused", one_value_is_refused})
