/* Nets with several losses, losses of numbers, and metrics: against computation by hand, however
 * the batch is cut; what a training step leaves out; what is refused. */
#include "net_support.h"

/* ---- A layer that counts its calls ---- */

static int counted_training, counted_evaluation;

static int32_t count_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_shape out = {LAMINA_F32, 1, {setup->in[0]->dim[0]}};
    (void)self;
    return call->host->set_output(call, 0, &out);
}

/* The sample's number in the batch. */
static int32_t count_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    int *counter = io->phase == LAMINA_TRAIN ? &counted_training : &counted_evaluation;
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
    for (int64_t n = 0; n < io->samples; n++) {
        ((float *)io->out[0]->data)[n] = (float)(io->first_sample + n);
    }
    return LAMINA_OK;
}

static const lamina_layer_type test_count_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_count",
    .doc = "a metric that counts its calls",
    .flags = LAMINA_IS_METRIC | LAMINA_NO_BACKWARD | LAMINA_ANY_DTYPE,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = count_setup,
    .forward = count_forward,
};

/* ---- A loss that says what its samples' weights add up to ---- */

static double weight_told;

static int32_t weigh_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    for (int64_t n = 0; n < io->samples; n++) {
        ((float *)io->out[0]->data)[n] = 3;
    }
    *io->weight_sum = weight_told;
    return LAMINA_OK;
}

static int32_t weigh_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < io->samples * io->d_in[0]->shape.dim[1]; i++) {
        ((float *)io->d_in[0]->data)[i] = 0;
    }
    return LAMINA_OK;
}

static const lamina_layer_type test_weigh_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_weigh",
    .doc = "a loss of 3 that weighs what it is told",
    .flags = LAMINA_IS_LOSS | LAMINA_ANY_DTYPE,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = count_setup,
    .forward = weigh_forward,
    .backward = weigh_backward,
};

static const lamina_layer_type *const more_types[] = {&test_count_type, &test_weigh_type, NULL};

/* ---- Nets and batches ---- */

enum { CHANNELS = 3, MOST = 12 };

/* Images of one pixel. numbers: of a target; 0: labels. */
static lamina__net_options options_for(int threads, int shards, int64_t numbers) {
    lamina__net_options options = {.channels = CHANNELS,
                                   .height = 1,
                                   .width = 1,
                                   .batch = MOST,
                                   .partial = {7, 0},
                                   .threads = threads,
                                   .shards = shards,
                                   .training = true,
                                   .kernels = "reference",
                                   .seed = 11};
    if (numbers > 0) {
        options.target = (lamina_shape){LAMINA_F32, 2, {MOST, numbers}};
    }
    return options;
}

static float targets[TEST_MAX_BATCH * 8];

static void fill_batch(test_batch *b, int64_t samples, int32_t classes, bool numbers) {
    test_batch_fill(b, samples, CHANNELS, classes, 5);
    lamina__stream_normal(lamina__stream_make(6, LAMINA__RANDOM_CHECK, 0, 0), 0, targets,
                          sizeof targets / sizeof *targets);
    if (numbers) {
        b->batch.labels = NULL;
        b->batch.numbers = targets;
    }
}

/* The gradient of one step, the weights stay; lamina__free. */
static float *gradient_of(test_net *t, test_batch *b, lamina__result *result) {
    const int64_t floats = lamina__net_weight_floats(t->net);
    float *gradient = lamina__calloc((size_t)floats, sizeof *gradient);
    test_descent descent = {lamina__net_weight_block(t->net), gradient, 0};
    lamina_error error = {0};
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t->net, &b->batch, 0, test_update, &descent, result, &error),
        LAMINA_OK);
    TEST_TEXT(error.message, "");
    return gradient;
}

/* Weight w in logical order, out of the weights or of a block like theirs. */
static void logical(const test_net *t, int32_t w, float *block, float *to) {
    const lamina__net_weight weight = lamina__net_weight_at(t->net, w);
    lamina_tensor view;
    lamina__weight_view(&view, weight.weight, block + weight.offset);
    lamina__tensor_to_logical(&view, to);
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)a[i] - (double)b[i]));
    }
    return largest;
}

/* ---- Two losses by hand ---- */

/* a = Wa x + ca, cross-entropy; b = Wb a + cb, squares of b - x. */
enum { CLASSES = 4 };

static const char *const two_losses =
    "- linear: {name: a, units: 4}\n"
    "- softmax_loss: {name: first, loss_weight: 0.25}\n"
    "- linear: {name: b, units: 3}\n"
    "- mse_loss: {name: second, from: [b, data], loss_weight: 2}\n";

typedef struct by_hand {
    double first, second; /* means */
    double da[CLASSES][CHANNELS], dca[CLASSES], db[CHANNELS][CLASSES], dcb[CHANNELS];
} by_hand;

static void add_sample(const test_net *t, const float *x, int32_t label, double n, by_hand *h) {
    float wa[CLASSES][CHANNELS], ca[CLASSES], wb[CHANNELS][CLASSES], cb[CHANNELS];
    float *block = lamina__net_weight_block(t->net);
    double a[CLASSES], d_a[CLASSES], sum = 0;
    logical(t, 0, block, &wa[0][0]);
    logical(t, 1, block, ca);
    logical(t, 2, block, &wb[0][0]);
    logical(t, 3, block, cb);
    for (int k = 0; k < CLASSES; k++) {
        a[k] = (double)ca[k];
        for (int i = 0; i < CHANNELS; i++) {
            a[k] += (double)wa[k][i] * (double)x[i];
        }
        sum += exp(a[k]);
    }
    h->first += (log(sum) - a[label]) / n;
    for (int k = 0; k < CLASSES; k++) {
        d_a[k] = 0.25 / n * (exp(a[k]) / sum - (k == label));
    }
    for (int i = 0; i < CHANNELS; i++) {
        double r = (double)cb[i] - (double)x[i];
        for (int k = 0; k < CLASSES; k++) {
            r += (double)wb[i][k] * a[k];
        }
        h->second += r * r / CHANNELS / n;
        const double d_b = 2 / n * 2 * r / CHANNELS;
        h->dcb[i] += d_b;
        for (int k = 0; k < CLASSES; k++) {
            h->db[i][k] += d_b * a[k];
            d_a[k] += d_b * (double)wb[i][k];
        }
    }
    for (int k = 0; k < CLASSES; k++) {
        h->dca[k] += d_a[k];
        for (int i = 0; i < CHANNELS; i++) {
            h->da[k][i] += d_a[k] * (double)x[i];
        }
    }
}

static void same_numbers(const test_net *t, int32_t w, float *gradient, const double *expected,
                         int n) {
    float got[CLASSES * CHANNELS];
    logical(t, w, gradient, got);
    for (int i = 0; i < n; i++) {
        CU_ASSERT_DOUBLE_EQUAL(got[i], expected[i], 1e-6);
    }
}

static void two_losses_by_hand(void) {
    static const int cuts[][3] = {{1, 1, 1}, {2, 2, 1}, {2, 3, 2},
                                  {1, 2, 3}, {2, 1, 1}, {2, 12, 1}};
    static test_batch b;
    for (size_t c = 0; c < 2 * sizeof cuts / sizeof cuts[0]; c++) {
        const int64_t samples = c % 2 == 0 ? MOST : 7;
        lamina__net_options options = options_for(cuts[c / 2][0], cuts[c / 2][1], 0);
        options.slices = cuts[c / 2][2];
        test_net t = test_net_make(two_losses, &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        fill_batch(&b, samples, CLASSES, false);
        by_hand h = {0};
        for (int64_t n = 0; n < samples; n++) {
            add_sample(&t, b.images + n * CHANNELS, b.labels[n], (double)samples, &h);
        }
        lamina__result result;
        float *gradient = gradient_of(&t, &b, &result);
        same_numbers(&t, 0, gradient, &h.da[0][0], CLASSES * CHANNELS);
        same_numbers(&t, 1, gradient, h.dca, CLASSES);
        same_numbers(&t, 2, gradient, &h.db[0][0], CLASSES * CHANNELS);
        same_numbers(&t, 3, gradient, h.dcb, CHANNELS);
        const double n = (double)samples;
        CU_ASSERT_EQUAL(result.samples, samples);
        CU_ASSERT_EQUAL(result.labelled, samples);
        CU_ASSERT_DOUBLE_EQUAL(result.losses[0] / n, h.first, 1e-6);
        CU_ASSERT_DOUBLE_EQUAL(result.losses[1] / n, h.second, 1e-6);
        CU_ASSERT_EQUAL(result.loss_sum, 0.25 * result.losses[0] + 2 * result.losses[1]);
        CU_ASSERT_EQUAL(lamina__net_n_losses(t.net), 2);
        CU_ASSERT_EQUAL(lamina__net_loss_at(t.net, 1).layer, 3);
        CU_ASSERT_EQUAL(lamina__net_loss_at(t.net, 1).weight, 2);
        CU_ASSERT_EQUAL(lamina__net_label_loss(t.net), 1);
        CU_ASSERT_EQUAL(lamina__net_classes(t.net), CLASSES);
        lamina__free(gradient);
        test_net_free(&t);
    }
}

/* A loss that is only watched: reported, without a gradient. */
static void weight_of_nothing(void) {
    static test_batch b;
    const lamina__net_options options = options_for(2, 2, 0);
    test_net t = test_net_make("- linear: {name: a, units: 4}\n"
                               "- softmax_loss: {name: first}\n"
                               "- linear: {name: b, units: 3, from: data}\n"
                               "- l1_loss: {name: second, from: [b, data], loss_weight: 0}\n",
                               &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    fill_batch(&b, MOST, CLASSES, false);
    float *gradient = gradient_of(&t, &b, &result);
    CU_ASSERT(result.losses[1] > 1);
    CU_ASSERT_EQUAL(result.loss_sum, result.losses[0]);
    for (int32_t w = 0; w < 4; w++) {
        const lamina__net_weight weight = lamina__net_weight_at(t.net, w);
        double size = 0;
        for (int64_t i = weight.offset; i < weight.offset + weight.elements; i++) {
            size += fabs((double)gradient[i]);
        }
        CU_ASSERT(w < 2 ? size > 0.01 : size == 0);
    }
    lamina__free(gradient);
    test_net_free(&t);
}

/* ---- Every cut ---- */

/* Losses and metrics in the middle and at the end, a layer that couples the batch, fan-out. */
static const char *const tangled =
    "- linear: {name: a, units: 5}\n"
    "- nll_loss: {name: early, from: [a], loss_weight: 0.3, ignore_label: 2}\n"
    "- accuracy: {name: rank2, top: 2}\n"
    "- tanh: {name: t}\n"
    "- test_center: {name: center}\n"
    "- mean_absolute_error: {name: near, from: [center, t]}\n"
    "- linear: {name: b, units: 5}\n"
    "- mse_loss: {name: pair, from: [b, t], loss_weight: 0.5}\n"
    "- test_add: {name: sum, from: [b, a]}\n"
    "- softmax_loss: {name: last, class_weights: [1, 2, 3, 0.5, 1], label_smoothing: 0.1}\n"
    "- sigmoid: {name: s, from: sum}\n"
    "- mean_absolute_error: {name: far, from: [s, b]}\n"
    "- accuracy: {name: rank1, from: [sum]}\n";

static void every_cut_agrees(void) {
    static const int cuts[][4] = {{1, 2, 1, 0}, {2, 2, 1, 0}, {2, 3, 1, 0}, {2, 5, 1, 1},
                                  {2, 1, 1, 0}, {1, 1, 3, 0}, {2, 2, 2, 0}, {2, 2, 3, 1}};
    static const char *const whole[] = {"", "b", "last", "a", "rank1"};
    static test_batch b;
    const lamina__net_options one = options_for(1, 1, 0);
    test_net base = test_net_make(tangled, &one);
    TEST_TEXT(test_net_error(&base), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(base.net);
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0] * 5; c++) {
        const int *cut = cuts[c / 5];
        lamina__net_options options = options_for(cut[0], cut[1], 0);
        options.slices = cut[2];
        options.keep_all = cut[3];
        lamina__recorded_kernel kernel = {.layer = (char *)(uintptr_t)whole[c % 5], .whole = true};
        const lamina__plan_record record = {
            .shards = cut[1], .slices = cut[2], .kernels = &kernel, .count = 1};
        options.recorded = c % 5 > 0 ? &record : NULL;
        test_net t = test_net_make(tangled, &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (int64_t samples = MOST; samples >= 7; samples -= 5) {
            lamina__result expected, got;
            fill_batch(&b, samples, 5, false);
            float *e = gradient_of(&base, &b, &expected), *g = gradient_of(&t, &b, &got);
            CU_ASSERT(largest_difference(e, g, lamina__net_weight_floats(base.net)) < 1e-5);
            for (int i = 0; i < 3; i++) {
                CU_ASSERT_DOUBLE_EQUAL(expected.losses[i], got.losses[i], 1e-4);
            }
            CU_ASSERT_EQUAL(lamina__net_evaluate(base.net, &b.batch, &expected, NULL), LAMINA_OK);
            CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &got, NULL), LAMINA_OK);
            for (int i = 0; i < 4; i++) {
                CU_ASSERT_EQUAL(got.measured[i], samples);
                CU_ASSERT_DOUBLE_EQUAL(expected.metrics[i], got.metrics[i], 1e-4);
            }
            lamina__free(e);
            lamina__free(g);
        }
        test_net_free(&t);
    }
    test_net_free(&base);
}

/* The whole net against finite differences of its loss. */
static void gradient_is_the_slope(void) {
    static test_batch b;
    const lamina__net_options options = options_for(2, 3, 0);
    test_net t = test_net_make(tangled, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    fill_batch(&b, MOST, 5, false);
    float *gradient = gradient_of(&t, &b, &result), *weights = lamina__net_weight_block(t.net);
    test_descent still = {weights, NULL, 0};
    double largest = 0;
    for (int32_t w = 0; w < lamina__net_n_weights(t.net); w++) {
        const lamina__net_weight weight = lamina__net_weight_at(t.net, w);
        for (int64_t i = weight.offset; i < weight.offset + weight.elements; i++) {
            const float kept = weights[i], step = 1e-2F;
            double loss[2];
            for (int side = 0; side < 2; side++) {
                weights[i] = side == 0 ? kept - step : kept + step;
                lamina__net_train_step(t.net, &b.batch, 0, test_update, &still, &result, NULL);
                loss[side] = lamina__result_loss(t.net, &result);
            }
            weights[i] = kept;
            const double slope = (loss[1] - loss[0]) / (2.0 * (double)step);
            CU_ASSERT_DOUBLE_EQUAL(slope, (double)gradient[i], 2e-4 + 2e-3 * fabs(slope));
            largest = fmax(largest, fabs(slope));
        }
    }
    CU_ASSERT(largest > 0.05);
    lamina__free(gradient);
    test_net_free(&t);
}

/* ---- Labels that do not count ---- */

/* Shards of one sample each, some with nothing but ignored labels, give what one shard gives, and
 * the mean is that over the weights of the labels that count. */
static void ignored_across_shards(void) {
    static const int32_t labels[MOST] = {255, 255, 255, 0, 1, 255, 2, 255, 255, 255, 1, 255};
    static const double weight[] = {1, 3, 0.5};
    static const int cuts[][2] = {{1, 1}, {2, 2}, {2, 4}, {1, 12}, {2, 12}, {2, 1}};
    static test_batch b;
    float *first = NULL;
    for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
        const lamina__net_options options = options_for(cuts[c][0], cuts[c][1], 0);
        lamina__net_options evaluating = options; /* it has nothing to learn */
        evaluating.training = false;
        test_net t = test_net_make("- softmax_loss: {class_weights: [1, 3, 0.5], "
                                   "ignore_label: 255}\n",
                                   &evaluating);
        TEST_TEXT(test_net_error(&t), "");
        test_net trained =
            test_net_make("- linear: {units: 3}\n"
                          "- softmax_loss: {class_weights: [1, 3, 0.5], ignore_label: 255}\n"
                          "- accuracy: {ignore_label: 255}\n",
                          &options);
        TEST_TEXT(test_net_error(&trained), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        CU_ASSERT_PTR_NOT_NULL_FATAL(trained.net);
        fill_batch(&b, MOST, 3, false);
        memcpy(b.labels, labels, sizeof labels);
        lamina__result result;
        CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
        double total = 0, divisor = 0;
        int64_t correct = 0;
        for (int64_t n = 0; n < MOST; n++) {
            const float *x = b.images + n * CHANNELS;
            if (labels[n] == 255) {
                continue;
            }
            const double sum = exp((double)x[0]) + exp((double)x[1]) + exp((double)x[2]);
            total += weight[labels[n]] * (log(sum) - (double)x[labels[n]]);
            divisor += weight[labels[n]];
            const int best = x[1] > x[0] ? x[2] > x[1] ? 2 : 1 : x[2] > x[0] ? 2 : 0;
            correct += best == labels[n];
        }
        CU_ASSERT_EQUAL(result.weights[0], divisor);
        CU_ASSERT_DOUBLE_EQUAL(lamina__result_loss(t.net, &result), total / divisor, 1e-6);
        CU_ASSERT_EQUAL(result.labelled, 4);
        CU_ASSERT_EQUAL(result.samples, MOST);
        CU_ASSERT_EQUAL(result.correct, correct);

        float *gradient = gradient_of(&trained, &b, &result);
        first = first == NULL ? gradient : first;
        CU_ASSERT(largest_difference(first, gradient, lamina__net_weight_floats(trained.net)) <
                  1e-6);
        CU_ASSERT_EQUAL(lamina__net_evaluate(trained.net, &b.batch, &result, NULL), LAMINA_OK);
        CU_ASSERT_EQUAL(result.measured[0], 4);
        CU_ASSERT_EQUAL(result.metrics[0], (double)result.correct);
        if (gradient != first) {
            lamina__free(gradient);
        }
        test_net_free(&t);
        test_net_free(&trained);
    }
    lamina__free(first);
}

/* A batch of which nothing counts changes nothing. */
static void nothing_counts(void) {
    static test_batch b;
    const lamina__net_options options = options_for(2, 2, 0);
    test_net t = test_net_make("- linear: {units: 3}\n- nll_loss: {ignore_label: 9}\n", &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    fill_batch(&b, MOST, 3, false);
    for (int n = 0; n < MOST; n++) {
        b.labels[n] = 9;
    }
    lamina__result result;
    float *gradient = gradient_of(&t, &b, &result);
    CU_ASSERT(result.loss_sum == 0 && result.labelled == 0 && result.samples == MOST);
    CU_ASSERT(result.weights[0] == 0 && isnan(lamina__result_loss(t.net, &result)));
    CU_ASSERT(isnan(lamina__result_loss_of(&result, 0)));
    for (int64_t i = 0; i < lamina__net_weight_floats(t.net); i++) {
        CU_ASSERT(gradient[i] == 0);
    }
    lamina__free(gradient);
    test_net_free(&t);
}

/* The mean over several batches is that over their samples, wherever they were cut, each loss with
 * the weights of its own labels. */
static void batches_make_no_difference(void) {
    static const int64_t batches[][4] = {{12}, {7, 5}, {1, 4, 4, 3}, {6, 6}};
    static const int32_t labels[MOST] = {9, 9, 2, 0, 1, 9, 2, 9, 3, 9, 1, 9};
    static test_batch b;
    lamina__net_options options = options_for(2, 2, 0);
    test_net t = test_net_make(
        "- linear: {name: a, units: 4}\n"
        "- softmax_loss: {class_weights: [1, 3, 0.5, 2], ignore_label: 9, loss_weight: 2}\n"
        "- log_softmax: {name: s, from: a}\n"
        "- nll_loss: {ignore_label: 9}\n"
        "- linear: {name: c, units: 3, from: a}\n"
        "- mse_loss: {from: [c, data], loss_weight: 0.25}\n",
        &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    double expected[4] = {0};
    for (size_t c = 0; c < sizeof batches / sizeof batches[0]; c++) {
        lamina__result sum = {0};
        int64_t begin = 0;
        fill_batch(&b, MOST, CLASSES, false);
        memcpy(b.labels, labels, sizeof labels);
        for (int k = 0; k < 4 && batches[c][k] > 0; k++) {
            lamina__result part;
            lamina__batch batch = b.batch;
            batch.images = b.images + begin * CHANNELS;
            batch.labels = b.labels + begin;
            batch.samples = batches[c][k];
            begin += batch.samples;
            CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &batch, &part, NULL), LAMINA_OK);
            lamina__result_add(&sum, &part);
        }
        CU_ASSERT_EQUAL(begin, MOST);
        CU_ASSERT(sum.weights[0] == 1 + 2 * 3 + 2 * 0.5 + 2 && sum.weights[1] == 6);
        CU_ASSERT_EQUAL(sum.weights[2], MOST);
        double total = 0;
        for (int32_t i = 0; i < 3; i++) {
            const double mean = lamina__result_loss_of(&sum, i);
            expected[i] = c == 0 ? mean : expected[i];
            CU_ASSERT_DOUBLE_EQUAL(mean, expected[i], 1e-6);
            total += lamina__net_loss_at(t.net, i).weight * mean;
        }
        CU_ASSERT_DOUBLE_EQUAL(lamina__result_loss(t.net, &sum), total, 1e-12);
    }
    test_net_free(&t);
}

/* Whatever loss says so; what cannot be a weight is the layer's fault. */
static void any_loss_weighs(void) {
    static const double wrong[] = {-1, (double)INFINITY, (double)NAN};
    static test_batch b;
    const lamina__net_options options = options_for(2, 3, 0);
    test_net t = test_net_make("- linear: {units: 2}\n- test_weigh: {name: w}\n", &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    fill_batch(&b, MOST, 1, false);
    lamina__result result;
    weight_told = 2.5;
    lamina__free(gradient_of(&t, &b, &result));
    CU_ASSERT(result.weights[0] == 2.5 && result.losses[0] == 3 * 2.5);
    CU_ASSERT_EQUAL(lamina__result_loss(t.net, &result), 3);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        lamina_error error = {0};
        test_descent descent = {lamina__net_weight_block(t.net), NULL, 0};
        weight_told = wrong[i];
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t.net, &b.batch, 0, test_update, &descent, &result, &error),
            LAMINA_ERROR_PLUGIN);
        TEST_CONTAINS(error.message, "step 1: layer \"w\" (test_weigh): the weights of its samples "
                                     "add up to ");
    }
    test_net_free(&t);
}

/* Which labels a net can have. */
static void labels_are_looked_at(void) {
    const lamina__net_options options = options_for(1, 1, 0);
    test_net t = test_net_make("- linear: {name: a, units: 6}\n"
                               "- softmax_loss: {ignore_label: 7}\n"
                               "- linear: {name: b, units: 4, from: a}\n"
                               "- hinge_loss: {name: few}\n",
                               &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    int64_t outputs = 0;
    CU_ASSERT_EQUAL(lamina__net_refuses_label(t.net, 3, &outputs), -1);
    CU_ASSERT_EQUAL(lamina__net_refuses_label(t.net, 4, &outputs), 3);
    CU_ASSERT_EQUAL(outputs, 4);
    CU_ASSERT_EQUAL(lamina__net_refuses_label(t.net, 6, &outputs), 1);
    CU_ASSERT_EQUAL(lamina__net_refuses_label(t.net, 7, &outputs), 3); /* the other takes it */
    CU_ASSERT_FALSE(lamina__net_counts_label(t.net, 7));
    CU_ASSERT(lamina__net_counts_label(t.net, 3));
    test_net_free(&t);
}

/* ---- Targets that are numbers ---- */

static void regression_by_hand(void) {
    static const int cuts[][2] = {{1, 1}, {2, 2}, {2, 5}, {2, 1}};
    static test_batch b;
    for (size_t c = 0; c < 2 * sizeof cuts / sizeof cuts[0]; c++) {
        const int64_t samples = c % 2 == 0 ? MOST : 7;
        const lamina__net_options options = options_for(cuts[c / 2][0], cuts[c / 2][1], 2);
        test_net t = test_net_make("- linear: {name: a, units: 2}\n"
                                   "- mse_loss: {name: loss}\n"
                                   "- mean_absolute_error: {name: mae}\n",
                                   &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        fill_batch(&b, samples, 1, true);
        float w[2][CHANNELS], bias[2];
        logical(&t, 0, lamina__net_weight_block(t.net), &w[0][0]);
        logical(&t, 1, lamina__net_weight_block(t.net), bias);
        double loss = 0, error = 0, dw[2][CHANNELS] = {{0}}, db[2] = {0};
        for (int64_t n = 0; n < samples; n++) {
            for (int k = 0; k < 2; k++) {
                const float *x = b.images + n * CHANNELS;
                double r = (double)bias[k] - (double)targets[2 * n + k];
                for (int i = 0; i < CHANNELS; i++) {
                    r += (double)w[k][i] * (double)x[i];
                }
                loss += r * r / 2;
                error += fabs(r) / 2;
                db[k] += r / (double)samples;
                for (int i = 0; i < CHANNELS; i++) {
                    dw[k][i] += r * (double)x[i] / (double)samples;
                }
            }
        }
        lamina__result result;
        float *gradient = gradient_of(&t, &b, &result);
        same_numbers(&t, 0, gradient, &dw[0][0], 2 * CHANNELS);
        same_numbers(&t, 1, gradient, db, 2);
        CU_ASSERT_DOUBLE_EQUAL(result.loss_sum, loss, 1e-4);
        CU_ASSERT(result.labelled == 0 && result.correct == 0);
        CU_ASSERT_EQUAL(lamina__net_label_loss(t.net), -1);
        CU_ASSERT_EQUAL(lamina__net_classes(t.net), 0);
        CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
        CU_ASSERT_DOUBLE_EQUAL(result.metrics[0], error, 1e-4);
        CU_ASSERT_EQUAL(result.measured[0], samples);
        lamina__free(gradient);
        test_net_free(&t);
    }
}

/* An image as a target, channels-last in memory, beside a flat prediction: C,H,W is the order. */
static void image_targets(void) {
    static test_batch b;
    lamina__net_options options = options_for(2, 2, 0);
    options.height = 2;
    options.batch = 2;
    options.partial[0] = 0;
    options.target = (lamina_shape){LAMINA_F32, 4, {2, CHANNELS, 2, 1}};
    test_net t = test_net_make("- linear: {units: 6, init: {weight: constant, bias: constant}}\n"
                               "- mse_loss\n"
                               "- mse_loss: {from: [data, target]}\n",
                               &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    test_batch_fill(&b, 2, 6, 1, 5);
    b.batch.labels = NULL;
    b.batch.numbers = b.images; /* the images themselves */
    lamina__result result;
    float *gradient = gradient_of(&t, &b, &result), bias[6];
    logical(&t, 1, gradient, bias);
    for (int i = 0; i < 6; i++) {
        const int c = i / 2, y = i % 2; /* of the bias; pixels are (y, c) in memory */
        const double sum = (double)b.images[y * 3 + c] + (double)b.images[6 + y * 3 + c];
        CU_ASSERT_DOUBLE_EQUAL(bias[i], -sum / 6, 1e-6);
    }
    CU_ASSERT_EQUAL(result.losses[1], 0);
    lamina__free(gradient);
    test_net_free(&t);
}

/* ---- What only an evaluation runs ---- */

static void metrics_only_in_evaluation(void) {
    static test_batch b;
    for (int shards = 1; shards <= 4; shards += 3) {
        const lamina__net_options options = options_for(2, shards, 0);
        test_net t = test_net_make("- linear: {name: a, units: 4}\n"
                                   "- test_count: {name: early}\n"
                                   "- softmax_loss\n"
                                   "- sigmoid: {name: s, from: a}\n"
                                   "- test_count: {name: late, from: [s, data]}\n",
                                   &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        static const bool skipped[] = {false, true, false, true, true};
        for (int32_t i = 0; i < 5; i++) {
            CU_ASSERT_EQUAL(lamina__net_eval_only(t.net, i), skipped[i]);
        }
        lamina__result result;
        fill_batch(&b, MOST, CLASSES, false);
        counted_training = counted_evaluation = 0;
        lamina__free(gradient_of(&t, &b, &result));
        CU_ASSERT(counted_training == 0 && counted_evaluation == 0);
        CU_ASSERT_EQUAL(result.measured[0], 0);
        CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
        CU_ASSERT(counted_training == 0 && counted_evaluation == 2 * shards);
        for (int m = 0; m < 2; m++) {
            CU_ASSERT_EQUAL(result.metrics[m], MOST * (MOST - 1) / 2);
            CU_ASSERT_EQUAL(result.measured[m], MOST);
        }
        test_net_free(&t);
    }
}

static lamina__memory memory_of(const char *layers, int shards) {
    lamina__net_options options = options_for(2, shards, 0);
    options.channels = 1;
    options.height = options.width = 20;
    options.batch = 64;
    test_net t = test_net_make(layers, &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const lamina__memory memory = lamina__net_memory(t.net);
    test_net_free(&t);
    return memory;
}

static void same_memory(lamina__memory a, lamina__memory b, size_t more) {
    CU_ASSERT_EQUAL(a.weights, b.weights);
    CU_ASSERT_EQUAL(a.gradients, b.gradients);
    CU_ASSERT_EQUAL(a.packed, b.packed);
    CU_ASSERT_EQUAL(a.activations, b.activations + more);
}

/* Metrics lie where a step keeps what it needs for backward. By shard there is no such thing in the
 * common part, and a metric's values, one for each sample, have memory of their own. */
static void metrics_cost_no_memory(void) {
#define NET                                                                                        \
    "- conv: {filters: 6, kernel: 3}\n"                                                            \
    "- relu\n"                                                                                     \
    "- max_pool: {kernel: 2}\n"                                                                    \
    "- linear: {name: fc, units: 40}\n"                                                            \
    "- relu\n"                                                                                     \
    "- linear: {name: out, units: 10}\n"
    for (int shards = 1; shards <= 2; shards++) {
        const size_t values = shards == 1 ? 0 : 64 * sizeof(float);
        const lamina__memory without = memory_of(NET "- softmax_loss\n", shards);
        same_memory(memory_of(NET "- softmax_loss\n"
                                  "- accuracy: {top: 1}\n"
                                  "- accuracy: {top: 5}\n"
                                  "- softmax: {name: s, from: out}\n"
                                  "- accuracy: {top: 3, from: [s]}\n",
                              shards),
                    without, 3 * values);
        same_memory(memory_of(NET "- accuracy: {top: 5}\n- softmax_loss\n", shards), without,
                    values);
    }
}

/* A step with metrics gives the same bits as one without, and so does one after an evaluation. */
static void metrics_change_nothing(void) {
    static test_batch b;
    float *gradient[3], *weights = NULL; /* the first net's */
    int64_t floats = 0;
    for (int k = 0; k < 3; k++) {
        const lamina__net_options options = options_for(2, 3, 0);
        test_net t = test_net_make(k == 0 ? "- linear: {name: a, units: 9}\n"
                                            "- relu\n"
                                            "- linear: {name: b, units: 4}\n"
                                            "- softmax_loss\n"
                                          : "- linear: {name: a, units: 9}\n"
                                            "- relu: {name: r}\n"
                                            "- mean_absolute_error: {from: [r, a]}\n"
                                            "- linear: {name: b, units: 4}\n"
                                            "- accuracy\n"
                                            "- softmax_loss\n"
                                            "- accuracy: {top: 2}\n",
                                   &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        lamina__result result;
        floats = lamina__net_weight_floats(t.net);
        if (k == 0) {
            weights = lamina__calloc((size_t)floats, sizeof *weights);
            memcpy(weights, lamina__net_weight_block(t.net), (size_t)floats * sizeof *weights);
        }
        memcpy(lamina__net_weight_block(t.net), weights, (size_t)floats * sizeof *weights);
        lamina__net_weights_changed(t.net);
        fill_batch(&b, MOST, CLASSES, false);
        if (k == 2) {
            CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
        }
        gradient[k] = gradient_of(&t, &b, &result);
        if (k == 1) { /* relu lowers what is negative, and the metric sees both */
            CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
            CU_ASSERT(result.metrics[0] > 0);
            CU_ASSERT_EQUAL(result.metrics[1], (double)result.correct);
        }
        test_net_free(&t);
    }
    for (int k = 1; k < 3; k++) {
        CU_ASSERT_EQUAL(memcmp(gradient[0], gradient[k], (size_t)floats * sizeof(float)), 0);
    }
    for (int k = 0; k < 3; k++) {
        lamina__free(gradient[k]);
    }
    lamina__free(weights);
}

/* ---- Failures ---- */

static void a_step_allocates_nothing(void) {
    static test_batch b;
    const lamina__net_options options = options_for(2, 3, 0);
    test_net t = test_net_make(tangled, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.01F};
    const uint64_t before = lamina__alloc_count().calls;
    for (int64_t step = 0; step < 6; step++) {
        fill_batch(&b, step % 2 == 0 ? MOST : 7, 5, false);
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t.net, &b.batch, step, test_update, &descent, &result, NULL),
            LAMINA_OK);
        CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &result, NULL), LAMINA_OK);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, before);
    test_net_free(&t);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

static void failing_allocations_are_clean(void) {
    const lamina__net_options options = options_for(2, 2, 0);
    test_net_allocations(test_net_make, tangled, &options, false);
}

static void numeric_failure_names_the_loss(void) {
    static test_batch b;
    const lamina__net_options options = options_for(2, 2, 3);
    test_net t = test_net_make("- linear: {name: a, units: 3}\n"
                               "- l1_loss: {name: fine}\n"
                               "- mse_loss: {name: wrong, from: [data, target], loss_weight: 0}\n",
                               &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__result result;
    lamina_error error = {0};
    test_descent descent = {lamina__net_weight_block(t.net), NULL, 0.1F};
    fill_batch(&b, MOST, 1, true);
    for (int i = 0; i < MOST * CHANNELS; i++) {
        b.images[i] = 0.5F;
    }
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 3, test_update, &descent, &result, &error),
        LAMINA_OK);
    targets[4 * 3 + 1] = 1e25F; /* its square is too large */
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t.net, &b.batch, 3, test_update, &descent, &result, &error),
        LAMINA_ERROR_NUMERIC);
    TEST_CONTAINS(error.message,
                  "step 4: layer \"wrong\" (mse_loss): its output is not finite (inf for sample 4");
    TEST_TEXT(error.layer, "wrong");
    test_net_free(&t);
}

/* Of the data; what another layer gives may be anything. */
static void targets_that_are_no_probabilities(void) {
    static test_batch b;
    static const struct {
        float value; /* of sample 5, class 1; the others are 1/4 and 1/4 */
        const char *message;
    } cases[] = {
        {0.5F, NULL},
        {-0.125F, "probabilities of the 3 classes, and that of sample 5 of the batch is -0.125 for "
                  "class 1; for other numbers take mse_loss or bce_loss"},
        {2, "probabilities of the 3 classes, and those of sample 5 of the batch add up to 2.5, not "
            "to 1"},
    };
    for (int shards = 1; shards <= 4; shards += 3) {
        const lamina__net_options options = options_for(2, shards, 3);
        test_net t = test_net_make("- linear: {name: a, units: 3}\n"
                                   "- softmax_loss: {name: loss}\n"
                                   "- linear: {name: c, units: 3, from: a}\n"
                                   "- softmax_loss: {from: [c, data]}\n",
                                   &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            lamina__result result;
            lamina_error error = {0};
            test_descent descent = {lamina__net_weight_block(t.net), NULL, 0};
            fill_batch(&b, MOST, 1, true);
            for (int k = 0; k < 3 * MOST; k++) {
                targets[k] = k % 3 == 1 ? 0.5F : 0.25F;
            }
            targets[5 * 3 + 1] = cases[i].value;
            CU_ASSERT_EQUAL(
                lamina__net_train_step(t.net, &b.batch, 0, test_update, &descent, &result, &error),
                cases[i].message == NULL ? LAMINA_OK : LAMINA_ERROR_DATA);
            if (cases[i].message != NULL) {
                TEST_CONTAINS(error.message, cases[i].message);
            }
        }
        test_net_free(&t);
    }
}

static void what_is_refused(void) {
    static const struct {
        int64_t numbers; /* of the data's target; 0: labels */
        const char *layers, *message;
    } cases[] = {
        {0, "- linear: {units: 3}\n- mse_loss\n",
         "net.yaml:2:3: error: layer \"mse_loss1\" (mse_loss): compares numbers, but the data has "
         "labels as targets; give it targets, or name what to compare with: from: [x, data]"},
        {0, "- linear: {units: 3}\n- softmax_loss\n- mean_absolute_error\n",
         "(mean_absolute_error): compares numbers, but the data has labels"},
        {2, "- linear: {units: 3}\n- nll_loss\n",
         "layer \"nll_loss1\" (nll_loss): needs labels, but the data has numbers as targets; take "
         "a "
         "loss for numbers, such as mse_loss"},
        {2, "- linear: {units: 2}\n- mse_loss\n- accuracy: {name: rank}\n",
         "layer \"rank\" (accuracy): needs labels, but the data has numbers"},
        {2, "- linear: {units: 3}\n- softmax_loss\n", "a probability for each of the 3 classes"},
        {2, "- linear: {units: 3}\n- mse_loss\n",
         "the prediction is [N, 3], the target [N, 2]; they must have the same shape"},
        {0, "- linear: {units: 4}\n- mse_loss: {from: [linear1, data]}\n",
         "the prediction is [N, 4], the target [N, 3, 1, 1]"},
        {0, "- linear: {units: 4}\n- softmax_loss: {name: l}\n- relu: {from: l}\n- softmax_loss\n",
         "layer \"relu1\" (relu): reads \"l\", a loss: its output is for the report alone"},
        {0, "- linear: {units: 4}\n- accuracy: {name: m}\n- softmax_loss\n- relu: {from: m}\n",
         "layer \"relu1\" (relu): reads \"m\", a metric"},
        {0, "- linear: {units: 4}\n- accuracy\n",
         "training needs a loss: end the network with a loss, such as softmax_loss, or mse_loss "
         "for numbers"},
        {0,
         "- linear: {name: a, units: 4}\n- accuracy: {name: m}\n"
         "- linear: {units: 4, from: m}\n- softmax_loss\n",
         "layer \"linear2\" (linear): reads \"m\", a metric: its output is for the report alone "
         "and "
         "no layer can read it; name another layer in from"},
        {0, "- linear: {units: 4}\n- softmax_loss: {loss_weight: 0}\n",
         "net.yaml:2:3: error: the loss has the loss_weight 0, so nothing would be learned"},
        {0,
         "- linear: {name: a, units: 4}\n- softmax_loss: {loss_weight: 0}\n"
         "- hinge_loss: {from: a, loss_weight: 0}\n",
         "net.yaml:2:3: error: all losses have the loss_weight 0"},
        {0, "- linear: {units: 4}\n- mse_loss: {from: [data, data]}\n",
         "layer \"linear1\" (linear): nothing uses its output"},
        {0, "- mse_loss: {from: [data, data]}\n",
         "net.yaml:1:3: error: layer \"mse_loss1\" (mse_loss): compares a value with itself, so "
         "nothing would be learned; name the prediction and a target in its from"},
        {0, "- linear: {name: a, units: 4}\n- mse_loss: {from: [a, a]}\n",
         "net.yaml:2:3: error: layer \"mse_loss1\" (mse_loss): compares a value with itself"},
        {0, "- relu\n- softmax_loss\n",
         "net.yaml:2:3: error: layer \"softmax_loss1\" (softmax_loss): no layer before a loss has "
         "weights that are trained, so nothing would be learned; put a layer with weights, such as "
         "linear, before it"},
        {0, "- linear: {units: 4, frozen: true}\n- softmax_loss\n",
         "so nothing would be learned; take frozen from a layer"},
        {0,
         "- linear: {name: a, units: 4, frozen: true}\n- softmax_loss\n"
         "- linear: {units: 4}\n- hinge_loss: {loss_weight: 0}\n",
         "so nothing would be learned; take frozen from a layer"},
        {0, "- linear: {units: 4}\n- softmax_loss: {class_weights: 1}\n",
         "class_weights has 1 number for 4 classes"},
        {0, "- linear: {units: 2}\n- nll_loss: {class_weights: [0, 0]}\n",
         "class_weights are all 0, so nothing would be learned"},
        {0,
         "- linear: {name: a, units: 4}\n- softmax_loss\n"
         "- linear: {name: extra, units: 4, from: a}\n- accuracy\n",
         "layer \"extra\" (linear): only metrics read its output, so its weights would not be "
         "trained; let a loss read it, freeze it, or remove it"},
        {0,
         "- linear: {name: a, units: 4}\n- softmax_loss\n- linear: {name: b, units: 4, from: a}\n",
         "layer \"b\" (linear): nothing uses its output"},
        {0, "- linear: {units: 4, loss_weight: 2}\n- softmax_loss\n",
         "net.yaml:1:35: error: layer \"linear1\" (linear): only a loss has a loss_weight"},
        {0, "- linear: {units: 4}\n- softmax_loss: {loss_weight: -1}\n",
         "layer \"softmax_loss1\" (softmax_loss): \"loss_weight\": must be >= 0, got -1"},
        {0, "- linear: {units: 4}\n- softmax_loss: {loss_weight: much}\n", "expected a number"},
        {0, "- linear: {units: 4}\n- softmax_loss\n- accuracy: {name: loss}\n",
         "a metric cannot be called \"loss\": metrics.jsonl has a test_loss already"},
        {0, "- linear: {units: 4}\n- softmax_loss\n- accuracy: {name: accuracy}\n",
         "a metric cannot be called \"accuracy\""},
        {0, "- linear: {units: 4}\n- softmax_loss: {class_weights: [1, 2]}\n",
         "class_weights has 2 numbers for 4 classes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const lamina__net_options options = options_for(1, 1, cases[i].numbers);
        test_net t = test_net_make(cases[i].layers, &options);
        CU_ASSERT_PTR_NULL(t.net);
        CU_ASSERT_NOT_EQUAL(t.status, LAMINA_OK);
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
    }
}

/* Nothing to learn is no reason not to evaluate, nor are statistics that only run along. */
static void nothing_to_learn(void) {
    static const char *const layers[] = {
        "- mse_loss: {from: [data, data]}\n",
        "- linear: {units: 4, frozen: true}\n- softmax_loss\n",
        "- batch_norm: {affine: false}\n- linear: {units: 4, frozen: true}\n- softmax_loss\n"};
    for (int i = 0; i < 3; i++) {
        lamina__net_options options = options_for(1, 1, 0);
        options.training = i == 2;
        test_net t = test_net_make(layers[i], &options);
        TEST_TEXT(test_net_error(&t), "");
        CU_ASSERT_PTR_NOT_NULL(t.net);
        test_net_free(&t);
    }
}

static void too_many(void) {
    const lamina__net_options options = options_for(1, 1, 0);
    for (int kind = 0; kind < 2; kind++) {
        lamina__text layers = {0};
        lamina__text_add(&layers, "- linear: {units: 4}\n- softmax_loss\n");
        for (int i = 0; i < 17; i++) {
            lamina__text_add(&layers, kind == 0 ? "- softmax_loss\n" : "- accuracy\n");
        }
        test_net t = test_net_make(layers.data, &options);
        CU_ASSERT_PTR_NULL(t.net);
        TEST_CONTAINS(test_net_error(&t), kind == 0 ? "a network has at most 16 losses"
                                                    : "a network has at most 16 metrics");
        test_net_free(&t);
        lamina__text_free(&layers);
    }
}

/* With the types of this file. */
#define WITH_TYPES(name)                                                                           \
    static void name##_here(void) {                                                                \
        test_more_types = more_types;                                                              \
        name();                                                                                    \
        test_more_types = NULL;                                                                    \
    }
WITH_TYPES(any_loss_weighs)
WITH_TYPES(metrics_only_in_evaluation)

LAMINA_TESTS({"two losses by hand", two_losses_by_hand},
             {"a loss of weight 0 is only watched", weight_of_nothing},
             {"every cut gives the same", every_cut_agrees},
             {"the gradient is the slope of the loss", gradient_is_the_slope},
             {"ignored labels across shards", ignored_across_shards},
             {"batches make no difference", batches_make_no_difference},
             {"any loss weighs", any_loss_weighs_here},
             {"a batch of which nothing counts", nothing_counts},
             {"labels are looked at", labels_are_looked_at},
             {"regression by hand", regression_by_hand}, {"images as targets", image_targets},
             {"metrics run in evaluation alone", metrics_only_in_evaluation_here},
             {"metrics cost no memory", metrics_cost_no_memory},
             {"metrics change nothing", metrics_change_nothing},
             {"a step allocates nothing", a_step_allocates_nothing},
             {"failing allocations are clean", failing_allocations_are_clean},
             {"numeric failure names the loss", numeric_failure_names_the_loss},
             {"targets that are no probabilities", targets_that_are_no_probabilities},
             {"what is refused", what_is_refused}, {"nothing to learn", nothing_to_learn},
             {"too many", too_many})
