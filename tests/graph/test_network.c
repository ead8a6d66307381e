/* Reading `network:`: names, inputs, cycles, initialisers; what is written reads back the same. */
#include "net_support.h"

static void default_names_and_inputs(void) {
    test_net t = test_net_make("- conv: {filters: 2, kernel: 3}\n"
                               "- relu\n"
                               "- conv: {name: second, filters: 2, kernel: 1}\n"
                               "- conv:\n"
                               "    filters: 2\n"
                               "    kernel: [1, 1]\n"
                               "- test_add: {from: [second, conv3]}\n"
                               "- relu:\n"
                               "- softmax_loss\n",
                               NULL);
    static const char *const names[] = {"conv1",     "relu1", "second",       "conv3",
                                        "test_add1", "relu2", "softmax_loss1"};
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_EQUAL_FATAL(t.network.count, 7);
    for (size_t i = 0; i < 7; i++) {
        TEST_TEXT(t.network.layers[i].name, names[i]);
    }
    CU_ASSERT_EQUAL(t.network.layers[0].from[0], LAMINA__FROM_DATA);
    CU_ASSERT_EQUAL(t.network.layers[1].from[0], 0);
    CU_ASSERT_EQUAL(t.network.layers[4].n_from, 2);
    CU_ASSERT_EQUAL(t.network.layers[4].from[0], 2);
    CU_ASSERT_EQUAL(t.network.layers[4].from[1], 3);
    CU_ASSERT_EQUAL(t.network.layers[6].n_from, 2);
    CU_ASSERT_EQUAL(t.network.layers[6].from[1], LAMINA__FROM_TARGET);
    test_net_free(&t);
}

static void errors_say_where(void) {
    static const struct {
        const char *layers, *message;
    } cases[] = {
        {"conv: {filters: 2}\n", "net.yaml:1:1: error: network is a list of layers"},
        {"[]\n", "network is a list of layers"},
        {"- convv: {filters: 2, kernel: 3}\n",
         "net.yaml:1:3: error: unknown layer type \"convv\"; did you mean \"conv\"?"},
        {"- acme.fancy\n", "unknown layer type \"acme.fancy\"; name its plugin under plugins:"},
        {"- {conv: {filters: 2, kernel: 3}, relu: {}}\n", "a layer is one entry"},
        {"- conv: 5\n", "net.yaml:1:9: error: layer conv: parameters are written {key: value}"},
        {"- conv: {name: data, filters: 2, kernel: 3}\n", "the name \"data\" is taken"},
        {"- relu: {name: layers}\n", "checkpoints use that name themselves"},
        {"- relu: {name: [a, b]}\n", "net.yaml:1:16: error: a layer's name is one word"},
        {"- relu: {name: {a: b}}\n", "net.yaml:1:16: error: a layer's name is one word"},
        {"- relu: {name: null}\n", "net.yaml:1:16: error: a layer's name is one word"},
        {"- conv: {name: c, filters: 2, kernel: 3, strides: 2}\n",
         "net.yaml:1:42: error: layer \"c\" (conv): unknown key \"strides\"; did you mean "
         "\"stride\"?"},
        {"- relu: {name: a}\n- relu: {name: a}\n",
         "net.yaml:2:16: error: the name \"a\" is already that of the layer at net.yaml:1:3"},
        {"- relu: {name: first}\n- relu: {from: frist}\n",
         "net.yaml:2:16: error: layer \"relu2\" (relu): from: there is no layer \"frist\"; did you "
         "mean \"first\"?"},
        {"- relu: {name: a, from: b}\n- relu: {name: b}\n",
         "net.yaml:1:3: error: layer \"a\" (relu): the network has a cycle: a -> b -> a"},
        {"- relu: {name: a, from: a}\n", "the network has a cycle: a -> a"},
        {"- relu: {name: a, from: b}\n- relu: {name: b, from: data}\n",
         "layer \"a\" (relu): its input \"b\" comes later"},
        {"- relu: {from: [data, data]}\n", "takes 1 input, got 2"},
        {"- test_split: {name: s}\n- relu: {from: s:2}\n",
         "from: \"s\" has 2 outputs, counted from 0"},
        {"- test_add\n", "takes 2 inputs, got 1"},
        {"- linear: {units: 3, init: hee}\n", "unknown initialiser \"hee\"; did you mean \"he\"?"},
        {"- linear: {units: 3, init: {weight: {type: he, value: 3}}}\n",
         "initialiser he: unknown key \"value\"; there are fan, slope, type"},
        {"- linear: {units: 3, kernels: mkl}\n",
         "has no kernel \"mkl\"; it has auto, product, onednn"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        test_net t = test_net_make(cases[i].layers, NULL);
        CU_ASSERT_EQUAL(t.status, LAMINA_ERROR_CONFIG);
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
    }
}

static const char *name_error(const char *name, char error[1024]) {
    char layers[1024];
    snprintf(layers, sizeof layers, "- relu: {name: \"%s\"}\n", name);
    test_net t = test_net_make(layers, NULL);
    snprintf(error, 1024, "%s", test_net_error(&t));
    test_net_free(&t);
    return error;
}

/* A name is a segment of the path of --set, or several with dots between, and of a checkpoint. */
static void names(void) {
    static const char *const good[] = {
        "a",  "_",    "Conv_1-b",    "block.1.conv",   "sample.mish1",     "a.0",
        "a-", "_0.5", "f\xc3\xa4lt", "\xe5\xb1\x82_1", "\xf0\x9d\x90\xb0", "null"};
    static const char *const bad[] = {
        "",          "0",        "3",        "1.5",    "1a",        "-a",       ".a",
        ".",         "a.",       "a..b",     "a=b",    "a b",       "a/b",      "a:1",
        "a,b",       "a\\tb",    "a\\x1bb",  "a\\x7f", "a\\u0085b", "a\\u00a0", "\\u200b",
        "a\\u202eb", "a\\u3000", "a\\ufeff", "a\\\"",  "[a]",       "a*",       "a\\n"};
    char error[1024], part[256];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        TEST_TEXT(name_error(good[i], error), "");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        TEST_CONTAINS(name_error(bad[i], error), "net.yaml:1:16: error: a layer cannot be called ");
        TEST_CONTAINS(error, "a name is letters, digits, \"_\", \"-\" and \".\"");
    }
    /* Bytes are counted, and called so. */
    for (int i = 0; i < 50; i++) {
        memcpy(part + 2 * i, "\xc3\xa4", 2);
    }
    part[100] = '\0';
    TEST_TEXT(name_error(part, error), "");
    strcpy(part + 100, "b");
    TEST_CONTAINS(name_error(part, error),
                  "a layer's name has at most 100 bytes, this one has 101");
}

static void all_errors_are_reported(void) {
    test_net t = test_net_make("- conv: {filters: 0, kernel: 3}\n"
                               "- relux\n"
                               "- linear: {unit: 5}\n",
                               NULL);
    CU_ASSERT_EQUAL(t.diags.count, 4); /* range, type, unknown key, missing key */
    test_net_free(&t);
}

static void written_reads_back(void) {
    test_net t = test_net_make(
        "- conv: {name: a.b, filters: 2, kernel: [3, 1], padding: same, bias: false}\n"
        "- linear: {units: 4, kernels: reference,\n"
        "           init: {weight: {type: normal, value: 0.125}, bias: he}}\n"
        "- test_split: {name: cut, from: a.b}\n"
        "- test_add: {from: [cut:1, cut]}\n"
        "- softmax_loss\n",
        NULL);
    TEST_TEXT(test_net_error(&t), "");
    lamina__text written = test_net_written(&t);
    TEST_CONTAINS(written.data, "padding: same");
    TEST_CONTAINS(written.data, "from: [\"cut:1\", cut]");
    TEST_CONTAINS(written.data, "init: {weight: {type: normal, mean: 0, std: 0.125}, "
                                "bias: {type: he, fan: in, slope: 0}}");
    lamina__text_free(&written);
    test_net_free(&t);
}

LAMINA_TESTS({"default names and inputs", default_names_and_inputs},
             {"errors say where", errors_say_where}, {"names", names},
             {"all errors are reported", all_errors_are_reported},
             {"what is written reads back", written_reads_back})
