/* Activations that are made again: less memory, the same bits. */
#include "graph/net_impl.h"
#include "net_support.h"

/* Blocks as in residual networks: convolution, a layer that couples the batch, activation. */
static const char *const blocks = "- conv: {name: a, filters: 8, kernel: 3, padding: 1}\n"
                                  "- test_center: {name: ca}\n"
                                  "- relu: {name: ra}\n"
                                  "- conv: {name: b, filters: 8, kernel: 3, padding: 1}\n"
                                  "- test_center: {name: cb}\n"
                                  "- relu: {name: rb}\n"
                                  "- conv: {name: c, filters: 16, kernel: 1}\n"
                                  "- test_center: {name: cc}\n"
                                  "- sigmoid: {name: sc}\n"
                                  "- conv: {name: d, filters: 8, kernel: 1}\n"
                                  "- test_center: {name: cd}\n"
                                  "- test_add: {name: sum, from: [cd, ra]}\n"
                                  "- relu: {name: rsum}\n"
                                  "- conv: {name: e, filters: 8, kernel: 3, padding: 1}\n"
                                  "- test_center: {name: ce}\n"
                                  "- sigmoid: {name: re}\n"
                                  "- test_noise: {name: noise}\n"
                                  "- conv: {name: f, filters: 4, kernel: 3}\n"
                                  "- test_center: {name: cf}\n"
                                  "- linear: {name: fc, units: 5}\n"
                                  "- softmax_loss\n";

static test_net make_of(const char *layers, int threads, int shards, bool recompute, double share) {
    lamina__net_options options = test_net_options(threads, shards);
    options.recompute = recompute;
    options.recompute_share = share;
    return test_net_make(layers, &options);
}

static test_net make(int threads, int shards, bool recompute, double share) {
    return make_of(blocks, threads, shards, recompute, share);
}

/* Steps of different sizes with an evaluation between them; the losses. */
static void run(test_net *t, double losses[8]) {
    static test_batch b;
    for (int i = 0; i < 8; i++) {
        test_descent descent = {lamina__net_weight_block(t->net), NULL, 0.1f};
        lamina__result result = {0};
        lamina_error error = {0};
        test_batch_fill(&b, i % 3 == 2 ? 7 : TEST_BATCH, TEST_PIXELS, TEST_CLASSES, (uint64_t)i);
        const lamina_status status = i == 4
                                         ? lamina__net_evaluate(t->net, &b.batch, &result, &error)
                                         : lamina__net_train_step(t->net, &b.batch, i, test_update,
                                                                  &descent, &result, &error);
        CU_ASSERT_EQUAL(status, LAMINA_OK);
        TEST_TEXT(error.message, "");
        losses[i] = result.loss_sum;
    }
}

static void compare(int threads, int shards, double share) {
    test_net kept = make(threads, shards, false, 0), again = make(threads, shards, true, share);
    CU_ASSERT_PTR_NOT_NULL_FATAL(kept.net);
    CU_ASSERT_PTR_NOT_NULL_FATAL(again.net);
    double expected[8], losses[8];
    run(&kept, expected);
    test_center_repeats = 0;
    run(&again, losses);
    CU_ASSERT(test_center_repeats > 0);
    CU_ASSERT_EQUAL(memcmp(losses, expected, sizeof losses), 0);
    const size_t bytes = (size_t)lamina__net_weight_floats(kept.net) * sizeof(float);
    CU_ASSERT_EQUAL(
        memcmp(lamina__net_weight_block(again.net), lamina__net_weight_block(kept.net), bytes), 0);
    for (int32_t s = 0; s < lamina__net_n_states(kept.net); s++) {
        const lamina__net_state a = lamina__net_state_at(kept.net, s);
        const lamina__net_state b = lamina__net_state_at(again.net, s);
        CU_ASSERT_EQUAL(memcmp(a.data, b.data, (size_t)a.state->shape.dim[0] * sizeof(float)), 0);
    }
    test_net_free(&kept);
    test_net_free(&again);
}

static void the_same_bits(void) {
    for (int threads = 1; threads <= 2; threads++) {
        compare(threads, threads, 0);
        compare(threads, threads, 0.1);
        compare(threads, threads, 1);
    }
    compare(2, 1, 1);
    compare(2, 4, 1);
}

/* A layer that keeps something for a backward pass that it does not have, as nothing before it is
 * trained: the memory for that is another's by then. */
static void saved_without_backward(void) {
    static const char *const kinds[] = {
        "max_pool: {name: p, from: data, kernel: 3, stride: 1, padding: 1}",
        "dropout: {name: p, from: data}",
        "group_norm: {name: p, from: data, groups: 1, frozen: true}"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        lamina__text layers = {0};
        lamina__text_add(&layers,
                         "- conv: {name: c0, filters: 32, kernel: 3, padding: 1}\n"
                         "- %s\n"
                         "- batch_norm: {name: bn1}\n"
                         "- conv: {name: cx, filters: 8, kernel: 3, padding: 1}\n"
                         "- conv: {name: c3, from: c0, filters: 8, kernel: 3, padding: 1}\n"
                         "- add: {name: ad, from: [c3, cx]}\n"
                         "- relu\n"
                         "- conv: {name: c4, filters: 8, kernel: 3, padding: 1}\n"
                         "- global_avg_pool\n"
                         "- linear: {units: 5}\n"
                         "- softmax_loss\n",
                         kinds[i]);
        double expected[8], losses[8];
        for (int share = -1; share <= 1; share++) {
            test_net t = make_of(layers.data, 2, 2, share >= 0, share);
            CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
            run(&t, share < 0 ? expected : losses);
            test_net_free(&t);
            CU_ASSERT(share < 0 || memcmp(losses, expected, sizeof losses) == 0);
        }
        lamina__text_free(&layers);
    }
}

/* Of a deep network of blocks that widen and narrow. */
static size_t activations(bool recompute, double share) {
    lamina__text layers = {0};
    for (int i = 0; i < 8; i++) {
        lamina__text_add(&layers, "- conv: {filters: 16, kernel: 1}\n- test_center\n- relu\n"
                                  "- conv: {filters: 4, kernel: 1}\n- test_center\n- relu\n");
    }
    lamina__text_add(&layers, "- linear: {units: 5}\n- softmax_loss\n");
    test_net t = make_of(layers.data, 1, 2, recompute, share);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const size_t bytes = t.net->common_bytes;
    test_net_free(&t);
    lamina__text_free(&layers);
    return bytes;
}

static void needs_less_memory(void) {
    const size_t kept = activations(false, 0), norms = activations(true, 0),
                 all = activations(true, 1);
    CU_ASSERT((double)norms < 0.65 * (double)kept);
    CU_ASSERT((double)all < 0.65 * (double)norms);
}

/* Multiply-adds are spent where they are allowed, and no more of them. */
static void share_is_kept(void) {
    static const double shares[] = {0, 0.02, 0.1, 1};
    int before = 0;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        test_net t = make(1, 1, true, shares[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        double all = 0, again = 0;
        int convolutions = 0;
        for (int32_t l = 0; l < t.net->n_layers; l++) {
            all += 3 * t.net->layers[l].instance->multiply_adds;
        }
        for (int32_t n = 0; n < t.net->n_again; n++) {
            const lamina__instance *layer = t.net->layers[t.net->again[n].layer].instance;
            again += layer->multiply_adds;
            convolutions += strcmp(layer->type->name, "conv") == 0;
        }
        CU_ASSERT(again <= shares[i] * all);
        CU_ASSERT(convolutions >= before);
        before = convolutions;
        test_net_free(&t);
    }
    CU_ASSERT(before > 1);
}

LAMINA_TESTS({"the same bits", the_same_bits},
             {"saved without a backward pass", saved_without_backward},
             {"needs less memory", needs_less_memory},
             {"multiply-adds are spent as allowed", share_is_kept})
