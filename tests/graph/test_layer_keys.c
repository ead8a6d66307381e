/* The keys every layer has: shared weights, frozen layers, scales. */
#include "net_support.h"

#include "train/optimizer.h"

/* A step of plain descent; gradient may be NULL. Returns the loss. */
static double step(test_net *t, test_batch *b, float *gradient, float rate) {
    test_descent descent = {lamina__net_weight_block(t->net), gradient, rate};
    lamina__result result = {0};
    lamina_error error = {0};
    test_batch_fill(b, TEST_BATCH, TEST_PIXELS, TEST_CLASSES, 3);
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t->net, &b->batch, 0, test_update, &descent, &result, &error),
        LAMINA_OK);
    TEST_TEXT(error.message, "");
    return result.loss_sum / (double)result.samples;
}

/* ---- share ---- */

static const char *const sharing =
    "- conv: {name: a, filters: 2, kernel: 3, padding: 1}\n"
    "- sigmoid\n"
    "- conv: {name: b, filters: 2, kernel: 3, padding: 1, share: a}\n"
    "- test_center\n"
    "- conv: {name: c, filters: 2, kernel: 3, stride: 2, share: b}\n"
    "- linear: {units: 5}\n"
    "- softmax_loss\n";

static void shared_weights_are_one(void) {
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(sharing, &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_n_weights(t.net), 4); /* those of a and of linear1 */
    TEST_TEXT(lamina__net_weight_at(t.net, 1).layer, "a");
    TEST_TEXT(lamina__net_weight_at(t.net, 2).layer, "linear1");
    test_net_free(&t);
}

/* Through all three layers that use it: the gradient is the slope of the loss. */
static void shared_gradient_is_the_slope(void) {
    for (int threads = 1; threads <= 2; threads++) {
        static test_batch b;
        const lamina__net_options options = test_net_options(threads, threads);
        test_net t = test_net_make(sharing, &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        const int64_t floats = lamina__net_weight_floats(t.net);
        float *gradient = lamina__calloc((size_t)floats, sizeof *gradient);
        float *weights = lamina__net_weight_block(t.net);
        step(&t, &b, gradient, 0);
        double largest = 0;
        for (int32_t w = 0; w < lamina__net_n_weights(t.net); w++) {
            const lamina__net_weight weight = lamina__net_weight_at(t.net, w);
            for (int64_t i = weight.offset; i < weight.offset + weight.elements; i += 3) {
                const float kept = weights[i], apart = 1e-2f;
                weights[i] = kept + apart;
                const double above = step(&t, &b, NULL, 0);
                weights[i] = kept - apart;
                const double slope = (above - step(&t, &b, NULL, 0)) / (2.0 * apart);
                weights[i] = kept;
                CU_ASSERT_DOUBLE_EQUAL(slope, gradient[i], 2e-4 + 2e-3 * fabs(slope));
                largest = fmax(largest, w == 0 ? fabs(slope) : 0);
            }
        }
        CU_ASSERT(largest > 0.01);
        lamina__free(gradient);
        test_net_free(&t);
    }
}

/* A plan may call one of them on the whole batch; then all of them are, and nothing changes. */
static void shared_layers_are_called_alike(void) {
    static char a[] = "a", b_name[] = "b", c[] = "c", reference[] = "reference";
    lamina__recorded_kernel layers[] = {
        {a, {reference, reference, reference}, false},
        {b_name, {reference, reference, reference}, true},
        {c, {reference, reference, reference}, false},
    };
    const lamina__plan_record plan = {.shards = 2, .kernels = layers, .count = 3};
    static test_batch b;
    lamina__net_options options = test_net_options(2, 2);
    test_net apart = test_net_make(sharing, &options);
    options.recorded = &plan;
    test_net whole = test_net_make(sharing, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(apart.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(whole.net);
    CU_ASSERT(!lamina__net_is_whole(apart.net, 0));
    CU_ASSERT(lamina__net_is_whole(whole.net, 0));
    CU_ASSERT(lamina__net_is_whole(whole.net, 2));
    CU_ASSERT(lamina__net_is_whole(whole.net, 4));
    const int64_t floats = lamina__net_weight_floats(apart.net);
    float *one = lamina__calloc((size_t)floats, sizeof *one);
    float *other = lamina__calloc((size_t)floats, sizeof *other);
    step(&apart, &b, one, 0);
    step(&whole, &b, other, 0);
    for (int64_t i = 0; i < floats; i++) {
        CU_ASSERT_DOUBLE_EQUAL(one[i], other[i], 1e-5);
    }
    lamina__free(one);
    lamina__free(other);
    test_net_free(&apart);
    test_net_free(&whole);
}

/* One works in place on what a layer that couples the batch makes, so it is called with that; the
 * other must be, too, as they have one gradient. */
static void shared_with_a_coupled_layer(void) {
    static lamina_layer_type in_place;
    static const lamina_layer_type *const types[] = {&in_place, NULL};
    static const char *const layers = "- conv: {name: a, filters: 2, kernel: 3}\n"
                                      "- test_scale: {name: s}\n"
                                      "- sigmoid\n"
                                      "- test_center: {name: c}\n"
                                      "- test_scale: {name: t, share: s}\n"
                                      "- linear: {units: 5}\n"
                                      "- softmax_loss\n";
    static test_batch b;
    in_place = test_pack_type;
    in_place.name = "test_scale";
    in_place.flags = LAMINA_IN_PLACE;
    test_more_types = types;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(layers, &options);
    test_more_types = NULL;
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT(lamina__net_is_whole(t.net, 4));
    CU_ASSERT(lamina__net_is_whole(t.net, 1));
    step(&t, &b, NULL, 0);
    test_net_free(&t);
}

static void wrong_sharing_is_named(void) {
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"- linear: {name: first, units: 3}\n- linear: {units: 3, share: frist}\n",
         "net.yaml:2:29: error: layer \"linear2\" (linear): share: there is no layer \"frist\"; "
         "did "
         "you mean \"first\"?"},
        {"- linear: {name: x, units: 3, share: y}\n- linear: {name: y, units: 3}\n",
         "share: \"y\" is not above it"},
        {"- linear: {name: x, units: 3, share: x}\n", "share: \"x\" is not above it"},
        {"- conv: {name: x, filters: 3, kernel: 1}\n- linear: {units: 3, share: x}\n",
         "share: \"x\" is of another type (conv)"},
        {"- linear: {units: 3, share: data}\n", "share: there is no layer \"data\""},
        {"- conv: {name: x, filters: 2, kernel: 1}\n"
         "- conv: {filters: 2, kernel: 1, share: x, init: he}\n",
         "shares the weights of \"x\"; give init there"},
        {"- conv: {name: x, filters: 2, kernel: 1}\n"
         "- conv: {filters: 2, kernel: 1, share: x, frozen: true}\n",
         "shares the weights of \"x\"; give frozen there"},
        {"- relu: {frozen: maybe}\n", "frozen"},
        {"- relu: {name: r, frozen: true}\n",
         "layer \"r\" (relu): has no weights, so frozen means nothing here"},
        {"- relu: {name: r}\n- relu: {share: r}\n", "so share means nothing here"},
        {"- max_pool: {kernel: 2, learning_rate_scale: 2}\n",
         "so learning_rate_scale means nothing here"},
        {"- relu: {learning_rate_scale: -1}\n", "learning_rate_scale"},
        {"- relu: {frosen: true}\n", "did you mean \"frozen\"?"},
        {"- conv: {name: x, filters: 2, kernel: 3}\n"
         "- conv: {name: y, filters: 3, kernel: 3, share: x}\n",
         "layer \"y\" (conv): cannot share with \"x\": the weight \"weight\" is not the same"},
        {"- linear: {name: x, units: 72}\n- linear: {name: y, units: 72, share: x}\n",
         "put a flatten before that one"},
        {"- conv: {name: x, filters: 2, kernel: 1}\n"
         "- conv: {name: y, filters: 2, kernel: 1, bias: false, share: x}\n",
         "cannot share with \"x\": the weight \"bias\" is not the same"},
    };
    lamina__net_options options = test_net_options(1, 1);
    options.training = false;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_net t = test_net_make(cases[i].layers, &options);
        CU_ASSERT(t.status != LAMINA_OK);
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
    }
}

static void written_reads_back(void) {
    test_net t = test_net_make("- conv: {name: a, filters: 2, kernel: 1, frozen: true}\n"
                               "- conv: {filters: 2, kernel: 1, share: a}\n"
                               "- linear: {units: 3, learning_rate_scale: 0.5,\n"
                               "           weight_decay_scale: 0}\n",
                               NULL);
    TEST_TEXT(test_net_error(&t), "");
    lamina__text written = test_net_written(&t);
    TEST_CONTAINS(written.data, ", frozen: true");
    TEST_CONTAINS(written.data, ", share: a");
    TEST_CONTAINS(written.data, ", learning_rate_scale: 0.5, weight_decay_scale: 0");
    lamina__text_free(&written);
    test_net_free(&t);
}

/* ---- frozen ---- */

/* A frozen layer stays, its running state too; the one before it learns through it. */
static void frozen_stays(void) {
    static const char *const layers = "- conv: {name: a, filters: 2, kernel: 3}\n"
                                      "- test_center: {name: still, frozen: true}\n"
                                      "- test_center: {name: moving}\n"
                                      "- test_pack: {name: frozen_pack, frozen: true}\n"
                                      "- linear: {name: fc, units: 5, frozen: true}\n"
                                      "- softmax_loss\n";
    static test_batch b;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = test_net_make(layers, &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const int64_t floats = lamina__net_weight_floats(t.net);
    const float *weights = lamina__net_weight_block(t.net);
    float *before = lamina__calloc((size_t)floats, sizeof *before);
    memcpy(before, weights, (size_t)floats * sizeof *before);
    double first = 0, last = 0;
    for (int i = 0; i < 20; i++) {
        last = step(&t, &b, NULL, 0.5f);
        first = i == 0 ? last : first;
    }
    CU_ASSERT(last < 0.9 * first);
    for (int32_t w = 0; w < lamina__net_n_weights(t.net); w++) {
        const lamina__net_weight weight = lamina__net_weight_at(t.net, w);
        const bool same = memcmp(before + weight.offset, weight.data,
                                 (size_t)weight.elements * sizeof(float)) == 0;
        CU_ASSERT_EQUAL(same, strcmp(weight.layer, "a") != 0);
    }
    for (int32_t s = 0; s < lamina__net_n_states(t.net); s++) {
        const lamina__net_state state = lamina__net_state_at(t.net, s);
        CU_ASSERT_EQUAL(state.data[0] == 0, strcmp(state.layer, "still") == 0);
    }
    lamina__free(before);
    test_net_free(&t);
}

/* It has no gradient in memory. */
static void frozen_needs_less_memory(void) {
    const lamina__net_options options = test_net_options(2, 2);
    test_net learning = test_net_make("- linear: {units: 50}\n- linear: {units: 5}\n"
                                      "- softmax_loss\n",
                                      &options);
    test_net frozen = test_net_make("- linear: {units: 50, frozen: true}\n- linear: {units: 5}\n"
                                    "- softmax_loss\n",
                                    &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(learning.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(frozen.net);
    CU_ASSERT(lamina__net_memory(frozen.net).gradients + 2 * 50 * TEST_PIXELS * sizeof(float) <=
              lamina__net_memory(learning.net).gradients);
    test_net_free(&learning);
    test_net_free(&frozen);
}

/* Weights that were loaded are packed anew, also those of a frozen layer. */
static void frozen_weights_can_be_loaded(void) {
    static test_batch b;
    const lamina__net_options options = test_net_options(1, 1);
    test_net t = test_net_make("- test_pack: {name: p, frozen: true}\n- linear: {units: 5}\n"
                               "- softmax_loss\n",
                               &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const double before = step(&t, &b, NULL, 0);
    const lamina__net_weight weight = lamina__net_weight_at(t.net, 0);
    weight.data[0] += 1;
    CU_ASSERT_EQUAL(step(&t, &b, NULL, 0), before);
    lamina__net_weights_changed(t.net);
    CU_ASSERT_NOT_EQUAL(step(&t, &b, NULL, 0), before);
    test_net_free(&t);
}

/* ---- Scales ---- */

/* One step of sgd; the two layers have the same gradient, as they see the same and are added. */
static void scales_are_applied(void) {
    static const char *const layers =
        "- linear: {name: plain, units: 5, from: data, init: {weight: {type: constant, value: "
        "0.1}}}\n"
        "- linear: {name: scaled, units: 5, from: data, learning_rate_scale: 0.5,\n"
        "           weight_decay_scale: 3, init: {weight: {type: constant, value: 0.1}}}\n"
        "- test_add: {from: [plain, scaled]}\n"
        "- softmax_loss\n";
    static test_batch b;
    const lamina__net_options options = test_net_options(1, 1);
    test_net t = test_net_make(layers, &options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    lamina__doc *doc = NULL;
    lamina__diags diags = {0};
    lamina_error error = {0};
    static const char rule[] = "{type: sgd, learning_rate: 0.25, weight_decay: 0.1}";
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(rule, strlen(rule), "sgd.yaml", &diags, &doc),
                          LAMINA_OK);
    lamina__optimizer_config config = {0};
    lamina__optimizer *optimizer = NULL;
    CU_ASSERT_EQUAL(lamina__optimizer_read(doc->root, &config, &diags), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__optimizer_create(&config, t.net, &optimizer, &error), LAMINA_OK);
    const int64_t floats = lamina__net_weight_floats(t.net);
    float *gradient = lamina__calloc((size_t)floats, sizeof *gradient);
    step(&t, &b, gradient, 0);
    lamina__result result;
    lamina__optimizer_begin(optimizer, 0, 0.25);
    CU_ASSERT_EQUAL(lamina__net_train_step(t.net, &b.batch, 0, lamina__optimizer_update, optimizer,
                                           &result, &error),
                    LAMINA_OK);
    for (int32_t w = 0; w < 4; w++) {
        const lamina__net_weight weight = lamina__net_weight_at(t.net, w);
        const bool scaled = strcmp(weight.layer, "scaled") == 0;
        const bool bias = strcmp(weight.weight->name, "bias") == 0;
        const double start = bias ? 0 : 0.1, rate = scaled ? 0.125 : 0.25,
                     decay = bias     ? 0
                             : scaled ? 0.3
                                      : 0.1;
        for (int64_t i = 0; i < weight.elements; i++) {
            const double g = gradient[weight.offset + i];
            CU_ASSERT_DOUBLE_EQUAL(weight.data[i], start - rate * (g + decay * start), 1e-6);
        }
    }
    lamina__free(gradient);
    lamina__optimizer_free(optimizer);
    lamina__optimizer_config_free(&config);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    test_net_free(&t);
}

LAMINA_TESTS({"shared weights are one", shared_weights_are_one},
             {"shared weights: the gradient is the slope", shared_gradient_is_the_slope},
             {"layers that share are called alike", shared_layers_are_called_alike},
             {"shared with a layer that couples the batch", shared_with_a_coupled_layer},
             {"wrong sharing is named", wrong_sharing_is_named},
             {"written keys read back", written_reads_back}, {"frozen layers stay", frozen_stays},
             {"frozen layers need less memory", frozen_needs_less_memory},
             {"frozen weights can be loaded", frozen_weights_can_be_loaded},
             {"scales are applied", scales_are_applied})
