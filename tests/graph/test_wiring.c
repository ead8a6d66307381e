/* Networks that branch and meet again, of the layers that users wire them with: gradients against
 * finite differences, and that memory plans, cuts and threads change nothing. */
#include "net_support.h"

/* Values that two, three and four layers read; a residual, a gate for each channel (squeeze and
 * excitation), outputs that meet as images and as rows; nothing with a corner. */
static const char *const smooth = "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n"
                                  "- tanh: {name: t}\n"
                                  "- conv: {name: b, filters: 4, kernel: 3, padding: 1}\n"
                                  "- conv: {name: c, filters: 4, kernel: 1, from: t}\n"
                                  "- multiply: {name: m, from: [b, c]}\n"
                                  "- add: {name: sum, from: [m, t, t, b]}\n"
                                  "- avg_pool: {name: squeeze, kernel: 6}\n"
                                  "- conv: {name: fc, filters: 4, kernel: 1}\n"
                                  "- sigmoid: {name: gate}\n"
                                  "- multiply: {name: gated, from: [gate, sum]}\n"
                                  "- concat: {name: wide, from: [gated, b, t]}\n"
                                  "- slice: {name: low, from: wide, end: 7}\n"
                                  "- slice: {name: high, from: wide, begin: -6}\n"
                                  "- slice: {name: lines, from: low, axis: 2, begin: 2, end: 4}\n"
                                  "- reshape: {name: turned, shape: [4, 7, 3], from: lines}\n"
                                  "- conv: {name: d, filters: 3, kernel: 3}\n"
                                  "- dropout2d: {name: drop2, p: 0.4}\n"
                                  "- flatten: {name: flat1}\n"
                                  "- log_softmax: {name: logs}\n"
                                  "- flatten: {name: flat2, from: high}\n"
                                  "- dropout: {name: drop, p: 0.3}\n"
                                  "- concat: {name: row, from: [logs, drop]}\n"
                                  "- linear: {name: out, units: 5}\n"
                                  "- softmax_loss: {name: loss}\n";

/* Blocks as in ResNets: sums in place with the first input or not, each with its relu, a relu that
 * must stay apart because the sum has another reader, three inputs, and one value twice. */
static const char *const residual = "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n"
                                    "- relu: {name: r}\n"
                                    "- conv: {name: b, filters: 4, kernel: 3, padding: 1}\n"
                                    "- add: {name: s1, from: [b, r]}\n"
                                    "- relu: {name: r1}\n"
                                    "- conv: {name: c, filters: 4, kernel: 3, padding: 1}\n"
                                    "- add: {name: s2, from: [r1, c]}\n"
                                    "- relu: {name: r2}\n"
                                    "- prelu: {name: p, shared: false}\n"
                                    "- add: {name: s3, from: [p, r2, r1]}\n"
                                    "- relu: {name: r3}\n"
                                    "- dropout2d: {name: d2}\n"
                                    "- conv: {name: e, filters: 3, kernel: 1}\n"
                                    "- add: {name: s4, from: [e, e]}\n"
                                    "- relu: {name: r4}\n"
                                    "- add: {name: s5, from: [r4, s4]}\n"
                                    "- flatten: {name: flat}\n"
                                    "- dropout: {name: d}\n"
                                    "- linear: {name: out, units: 5}\n"
                                    "- softmax_loss: {name: loss}\n";

static test_net make(const char *layers, const lamina__net_options *options) {
    test_net t = test_net_make(layers, options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    return t;
}

/* Steps of descent on batches of two sizes; returns the last loss. */
static double train(test_net *t, int64_t steps) {
    static test_batch b;
    lamina__result result = {0};
    test_descent descent = {lamina__net_weight_block(t->net), NULL, 0.05f};
    for (int64_t step = 0; step < steps; step++) {
        test_batch_fill(&b, step % 3 == 2 ? 7 : TEST_BATCH, TEST_PIXELS, TEST_CLASSES,
                        (uint64_t)step);
        CU_ASSERT_EQUAL(
            lamina__net_train_step(t->net, &b.batch, step, test_update, &descent, &result, NULL),
            LAMINA_OK);
    }
    return result.loss_sum / (double)result.samples;
}

/* The largest difference of two nets' weights, which are the same in number. */
static double apart(const test_net *a, const test_net *b) {
    const int64_t floats = lamina__net_weight_floats(a->net);
    const float *one = lamina__net_weight_block(a->net), *other = lamina__net_weight_block(b->net);
    double largest = 0;
    CU_ASSERT_EQUAL_FATAL(lamina__net_weight_floats(b->net), floats);
    for (int64_t i = 0; i < floats; i++) {
        largest = fmax(largest, fabs((double)one[i] - (double)other[i]));
    }
    return largest;
}

static void gradient_is_the_slope(void) {
    static test_batch b;
    test_batch_fill(&b, TEST_BATCH, TEST_PIXELS, TEST_CLASSES, 3);
    for (int threads = 1; threads <= 2; threads++) {
        const lamina__net_options options = test_net_options(threads, threads);
        test_net t = make(smooth, &options);
        test_net_slope(&t, &b, 5);
        test_net_free(&t);
    }
    /* One shard: every layer on the whole batch, kernels share the threads. */
    const lamina__net_options whole = test_net_options(2, 1);
    test_net t = make(smooth, &whole);
    test_net_slope(&t, &b, 11);
    test_net_free(&t);
}

/* Sharing memory, working in place and fusing change no bit. */
static void memory_plan_changes_nothing(void) {
    static const char *const *const nets[] = {&smooth, &residual};
    for (int k = 0; k < 2; k++) {
        for (int slices = 1; slices <= 3; slices += 2) {
            lamina__net_options options = test_net_options(2, 2);
            options.slices = slices;
            test_net small = make(*nets[k], &options);
            options.keep_all = true;
            test_net large = make(*nets[k], &options);
            CU_ASSERT(lamina__net_memory(small.net).activations <
                      lamina__net_memory(large.net).activations);
            train(&small, 10);
            train(&large, 10);
            CU_ASSERT_EQUAL(apart(&small, &large), 0);
            test_net_free(&small);
            test_net_free(&large);
        }
    }
}

static void cuts_and_threads_change_nothing(void) {
    static const char *const *const nets[] = {&smooth, &residual};
    static const int cuts[][3] = {{2, 1, 1}, {1, 2, 1}, {2, 2, 1},
                                  {3, 4, 1}, {2, 2, 3}, {1, 10, 1}};
    for (int k = 0; k < 2; k++) {
        const lamina__net_options one = test_net_options(1, 1);
        test_net base = make(*nets[k], &one);
        train(&base, 6);
        for (size_t c = 0; c < sizeof cuts / sizeof cuts[0]; c++) {
            lamina__net_options options = test_net_options(cuts[c][0], cuts[c][1]);
            options.slices = cuts[c][2];
            test_net t = make(*nets[k], &options);
            train(&t, 6);
            CU_ASSERT(apart(&base, &t) < 2e-6);
            test_net_free(&t);
        }
        test_net_free(&base);
    }
    for (int k = 0; k < 2; k++) { /* to the bit, where the cut is the same */
        const lamina__net_options one = test_net_options(1, 4), two = test_net_options(2, 4);
        test_net a = make(*nets[k], &one), b = make(*nets[k], &two);
        train(&a, 6);
        train(&b, 6);
        CU_ASSERT_EQUAL(apart(&a, &b), 0);
        test_net_free(&a);
        test_net_free(&b);
    }
}

static const char *fuses_in(const test_net *t, char names[256]) {
    size_t used = 0;
    names[0] = '\0';
    for (int32_t i = 0; i < lamina__net_n_layers(t->net); i++) {
        if (lamina__net_layer(t->net, i)->fuses) {
            used += (size_t)snprintf(names + used, 256 - used, "%s ",
                                     lamina__net_layer(t->net, i)->name);
        }
    }
    return names;
}

/* A sum does the relu behind it where nobody else sees the sum. */
static void sums_do_their_relu(void) {
    char names[256];
    lamina__net_options options = test_net_options(2, 2);
    test_net t = make(residual, &options);
    TEST_TEXT(fuses_in(&t, names), "s1 s2 s3 ");
    test_net_free(&t);
    options.keep_all = true;
    t = make(residual, &options);
    TEST_TEXT(fuses_in(&t, names), "");
    test_net_free(&t);
}

/* The same weights for both, though they may be stored in another order. What is drawn depends on a
 * layer's number in the network, which differs here. */
static void copy_weights(const test_net *from, test_net *to) {
    static float logical[4096];
    CU_ASSERT_EQUAL_FATAL(lamina__net_n_weights(from->net), lamina__net_n_weights(to->net));
    for (int32_t w = 0; w < lamina__net_n_weights(from->net); w++) {
        const lamina__net_weight a = lamina__net_weight_at(from->net, w);
        const lamina__net_weight b = lamina__net_weight_at(to->net, w);
        lamina_tensor view;
        CU_ASSERT_FATAL(a.elements == b.elements && a.elements <= 4096);
        lamina__weight_view(&view, a.weight, a.data);
        lamina__tensor_to_logical(&view, logical);
        lamina__weight_view(&view, b.weight, b.data);
        lamina__tensor_from_logical(&view, logical);
    }
    lamina__net_weights_changed(to->net);
}

/* The same function in two ways: the weights stay the same, to the bit or to rounding. */
static void same_in_two_ways(void) {
#define HEAD "- conv: {name: a, filters: 4, kernel: 3, padding: 1}\n- tanh: {name: t}\n"
#define TAIL "- linear: {name: out, units: 5}\n- softmax_loss\n"
    static const struct {
        const char *one, *other;
        double tolerance;
    } cases[] = {
        /* A linear layer flattens in the same order as flatten; its sums run in another. */
        {HEAD TAIL, HEAD "- flatten\n" TAIL, 1e-6},
        {HEAD "- flatten\n" TAIL, HEAD "- reshape: {shape: [-1]}\n" TAIL, 0},
        {HEAD TAIL, HEAD "- reshape: {shape: [4, 4, 9]}\n" TAIL, 0},
        {HEAD TAIL, HEAD "- reshape: {shape: [-1]}\n- reshape: {shape: [4, 6, 6]}\n" TAIL, 0},
        {HEAD TAIL, HEAD "- reshape: {shape: [6, 3, 8]}\n- reshape: {shape: [4, 6, 6]}\n" TAIL, 0},
        {HEAD TAIL,
         HEAD "- slice: {name: u, from: t, end: 1}\n- slice: {name: v, from: t, begin: 1}\n"
              "- concat: {from: [u, v]}\n" TAIL,
         0},
        {HEAD TAIL,
         HEAD "- slice: {name: u, from: t, axis: 2, end: -1}\n"
              "- slice: {name: v, from: t, axis: 2, begin: -1}\n"
              "- concat: {from: [u, v], axis: 2}\n" TAIL,
         0},
        {HEAD TAIL,
         HEAD "- slice: {name: u, from: t, axis: 3, end: 2}\n"
              "- slice: {name: v, from: t, axis: 3, begin: 2}\n"
              "- concat: {from: [u, v], axis: 3}\n" TAIL,
         0},
        {HEAD TAIL, HEAD "- dropout: {p: 0}\n" TAIL, 0},
        {HEAD TAIL, HEAD "- dropout2d: {p: 0}\n" TAIL, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const lamina__net_options options = test_net_options(2, 2);
        test_net one = make(cases[k].one, &options), other = make(cases[k].other, &options);
        copy_weights(&one, &other);
        const double loss = train(&one, 6), other_loss = train(&other, 6);
        CU_ASSERT_DOUBLE_EQUAL(loss, other_loss, cases[k].tolerance);
        const lamina__net_weight a = lamina__net_weight_at(one.net, 0);
        const lamina__net_weight b = lamina__net_weight_at(other.net, 0);
        for (int64_t i = 0; i < a.elements; i++) {
            CU_ASSERT_DOUBLE_EQUAL(a.data[i], b.data[i], cases[k].tolerance);
        }
        test_net_free(&one);
        test_net_free(&other);
    }
#undef HEAD
#undef TAIL
}

/* Masks change from step to step and repeat with the step; evaluation has none. */
static void dropout_follows_the_step(void) {
    static const char *const with = "- dropout: {name: d, p: 0.5}\n- linear: {units: 5}\n"
                                    "- softmax_loss\n";
    static const char *const without = "- relu: {name: d}\n- linear: {units: 5}\n- softmax_loss\n";
    static test_batch b;
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = make(with, &options), plain = make(without, &options);
    test_batch_fill(&b, TEST_BATCH, TEST_PIXELS, TEST_CLASSES, 3);
    for (int64_t i = 0; i < TEST_BATCH * TEST_PIXELS; i++) {
        b.images[i] = fabsf(b.images[i]); /* relu changes nothing */
    }
    const double loss = test_net_step(&t, &b, 4, NULL);
    CU_ASSERT_EQUAL(test_net_step(&t, &b, 4, NULL), loss);
    CU_ASSERT_NOT_EQUAL(test_net_step(&t, &b, 5, NULL), loss);
    lamina__result one, other;
    CU_ASSERT_EQUAL(lamina__net_evaluate(t.net, &b.batch, &one, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_evaluate(plain.net, &b.batch, &other, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(one.loss_sum, other.loss_sum);
    test_net_free(&t);
    test_net_free(&plain);
}

static void a_step_allocates_nothing(void) {
    const lamina__net_options options = test_net_options(2, 2);
    test_net t = make(residual, &options);
    const uint64_t before = lamina__alloc_count().calls;
    train(&t, 5);
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, before);
    test_net_free(&t);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
}

static void wrong_wiring_is_named(void) {
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"- conv: {name: a, filters: 4, kernel: 3}\n- add: {from: [a, data]}\n"
         "- linear: {units: 5}\n- softmax_loss\n",
         "net.yaml:2:3: error: layer \"add1\" (add): adds inputs of one shape, but input 2 is [10, "
         "2, 6, 6] and input 1 is [10, 4, 4, 4]"},
        {"- relu: {name: a}\n- add\n- linear: {units: 5}\n- softmax_loss\n",
         "layer \"add1\" (add): takes 2 to 16 inputs, got 1; name them with from"},
        {"- conv: {name: a, filters: 4, kernel: 1}\n- conv: {name: b, filters: 4, kernel: 3, from: "
         "data}\n- concat: {from: [a, b]}\n- linear: {units: 5}\n- softmax_loss\n",
         "they may differ along axis 1 alone"},
        {"- relu: {name: a}\n- slice: {name: low, end: 1}\n- slice: {from: a, begin: 1}\n"
         "- linear: {units: 5}\n- softmax_loss\n",
         "layer \"low\" (slice): nothing uses its output"},
    };
    const lamina__net_options options = test_net_options(1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_net t = test_net_make(cases[i].layers, &options);
        CU_ASSERT_PTR_NULL(t.net);
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
    }
}

LAMINA_TESTS({"the gradient is the slope of the loss", gradient_is_the_slope},
             {"the memory plan changes nothing", memory_plan_changes_nothing},
             {"cuts and threads change nothing", cuts_and_threads_change_nothing},
             {"sums do their relu", sums_do_their_relu}, {"the same in two ways", same_in_two_ways},
             {"dropout follows the step", dropout_follows_the_step},
             {"a step allocates nothing", a_step_allocates_nothing},
             {"wrong wiring is named", wrong_wiring_is_named})
