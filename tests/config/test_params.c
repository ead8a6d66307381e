/* config/params: values of every type, defaults, ranges, messages in full, the check of a table,
 * writing back, and every allocation made to fail in turn. */
#include "tests/support.h"

#include "base/alloc.h"
#include "config/params.h"

#include <float.h>
#include <locale.h>
#include <math.h>

typedef struct conv_config {
    int64_t filters;
    int64_t seed;
    double rate, scale;
    int32_t bias, init;
    const char *path, *note;
    lamina_int_list kernel, padding;
    lamina_real_list steps, mean;
} conv_config;

static const char *const inits[] = {"xavier", "he", "normal", NULL};
static const char *const paddings[] = {"same", "valid", NULL};

#define AT(field) .offset = offsetof(conv_config, field)

static const lamina_param conv_params[] = {
    {"filters", "Number of filters.", "channels", LAMINA_INT, 1, AT(filters), 1, 65535, NULL, NULL,
     0, 0},
    {"seed", "Any whole number.", NULL, LAMINA_INT, 0, AT(seed), 0, 0, "-1", NULL, 0, 0},
    {"rate", "A rate.", NULL, LAMINA_REAL, 0, AT(rate), 0, 1, "0.5", NULL, 0, 0},
    {"scale", "A scale.", NULL, LAMINA_REAL, 0, AT(scale), 0, DBL_MAX, "1", NULL, 0, 0},
    {"bias", "Adds a bias.", NULL, LAMINA_BOOL, 0, AT(bias), 0, 0, "true", NULL, 0, 0},
    {"init", "How weights begin.", NULL, LAMINA_ENUM, 0, AT(init), 0, 0, "he", inits, 0, 0},
    {"path", "A file.", NULL, LAMINA_STRING, 0, AT(path), 0, 0, NULL, NULL, 0, 0},
    {"note", "A note.", NULL, LAMINA_STRING, 0, AT(note), 0, 0, "none", NULL, 0, 0},
    {"kernel", "Size.", "pixels", LAMINA_INT_LIST, 1, AT(kernel), 1, 1e18, NULL, NULL, 2, 0},
    {"padding", "Padding.", "pixels", LAMINA_INT_LIST, 0, AT(padding), 0, 1000, "same", paddings, 2,
     0},
    {"steps", "Epochs.", NULL, LAMINA_REAL_LIST, 0, AT(steps), 0, 0, "[]", NULL, 16, 0},
    {"mean", "Means.", NULL, LAMINA_REAL_LIST, 0, AT(mean), -10, 10, "[0.5, 1e-1 ,.25]", NULL, 3,
     0},
};

static const lamina__table conv_table = {conv_params, sizeof(conv_params) / sizeof(conv_params[0]),
                                         sizeof(conv_params[0])};

/* ---- Helpers ------------------------------------------------------------------------------- */

static const char *const also[] = {"name", "from", NULL};

/* Reads the map and expects these messages, without "c.yaml:" and "error: ". *doc may be NULL. */
static void read_expecting(const char *text, conv_config *config, lamina__doc **kept,
                           const char *const *expected) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(text, strlen(text), "c.yaml", &diags, &doc), LAMINA_OK);
    memset(config, 0x5a, sizeof(*config));
    lamina_status status = lamina__params_read(conv_table, doc->root, config, also,
                                               "layer \"c1\" (conv)", NULL, &diags);
    size_t n = 0;
    for (; expected[n] != NULL; n++) {
        TEST_TEXT(n < diags.kept ? diags.text[n] : NULL, expected[n]);
    }
    CU_ASSERT_EQUAL(diags.count, n);
    CU_ASSERT_EQUAL(status, n ? LAMINA_ERROR_CONFIG : LAMINA_OK);
    for (size_t i = n; i < diags.kept; i++) {
        printf("\n      unexpected: %s", diags.text[i]);
    }
    lamina__diags_free(&diags);
    if (kept != NULL) {
        *kept = doc;
    } else {
        lamina__doc_free(doc);
    }
}

#define ACCEPT(text, config, doc) read_expecting(text, config, doc, (const char *const[]){NULL})
/* What comes after `c.yaml:1:COLUMN: error: layer "c1" (conv): `. */
#define REFUSE(text, column, message)                                                              \
    do {                                                                                           \
        conv_config refused;                                                                       \
        read_expecting(text, &refused, NULL,                                                       \
                       (const char *const[]){                                                      \
                           "c.yaml:1:" #column ": error: layer \"c1\" (conv): " message, NULL});   \
    } while (0)

/* With the required keys, in front of what is tested: 24 characters, the value is at 26 + key. */
#define WITH(rest) "{filters: 8, kernel: 3, " rest "}"

/* ---- Reading ------------------------------------------------------------------------------- */

static void check_defaults(const conv_config *c) {
    CU_ASSERT_EQUAL(c->seed, -1);
    CU_ASSERT_EQUAL(c->rate, 0.5);
    CU_ASSERT_EQUAL(c->scale, 1.0);
    CU_ASSERT_EQUAL(c->bias, 1);
    CU_ASSERT_EQUAL(c->init, 1);
    CU_ASSERT_PTR_NULL(c->path);
    TEST_TEXT(c->note, "none");
    CU_ASSERT_EQUAL(c->padding.count, 0);
    CU_ASSERT_EQUAL(c->padding.word, 0);
    CU_ASSERT_EQUAL(c->steps.count, 0);
    CU_ASSERT_EQUAL(c->steps.word, -1);
    CU_ASSERT_EQUAL(c->mean.count, 3);
    CU_ASSERT_EQUAL(c->mean.word, -1);
    CU_ASSERT_EQUAL(c->mean.value[0], 0.5);
    CU_ASSERT_EQUAL(c->mean.value[1], 0.1);
    CU_ASSERT_EQUAL(c->mean.value[2], 0.25);
    CU_ASSERT_EQUAL(c->mean.value[3], 0.0);
}

static void test_defaults(void) {
    conv_config config;
    memset(&config, 0x5a, sizeof(config));
    lamina__params_default(conv_table, &config);
    check_defaults(&config);
    CU_ASSERT_EQUAL(config.filters, 0);
    CU_ASSERT_EQUAL(config.kernel.count, 0);
    ACCEPT("{filters: 8, kernel: 3}", &config, NULL);
    check_defaults(&config);
    ACCEPT(WITH("seed: null, rate: ~, bias: null, init: ~, path: null, note: ~, padding: null, "
                "mean: ~, name: x, from: [a]"),
           &config, NULL);
    check_defaults(&config);
}

static void test_values(void) {
    conv_config c;
    lamina__doc *doc;
    ACCEPT(
        "{filters: 65535, kernel: [5, 3], seed: -9223372036854775808, rate: 1e-1, scale: 1.5E+3, "
        "bias: No, init: normal, path: a b, note: '', padding: valid, steps: [1, 2.5, -3e2], "
        "mean: 0.25}",
        &c, &doc);
    CU_ASSERT_EQUAL(c.filters, 65535);
    CU_ASSERT_EQUAL(c.kernel.count, 2);
    CU_ASSERT_EQUAL(c.kernel.word, -1);
    CU_ASSERT_EQUAL(c.kernel.value[0], 5);
    CU_ASSERT_EQUAL(c.kernel.value[1], 3);
    CU_ASSERT_EQUAL(c.kernel.value[2], 0);
    CU_ASSERT_EQUAL(c.seed, INT64_MIN);
    CU_ASSERT_EQUAL(c.rate, 0.1);
    CU_ASSERT_EQUAL(c.scale, 1500);
    CU_ASSERT_EQUAL(c.bias, 0);
    CU_ASSERT_EQUAL(c.init, 2);
    TEST_TEXT(c.path, "a b");
    TEST_TEXT(c.note, "");
    CU_ASSERT_EQUAL(c.padding.word, 1);
    CU_ASSERT_EQUAL(c.padding.count, 0);
    CU_ASSERT_EQUAL(c.steps.count, 3);
    CU_ASSERT_EQUAL(c.steps.value[2], -300);
    CU_ASSERT_EQUAL(c.mean.count, 1);
    for (int i = 0; i < LAMINA_MAX_LIST; i++) {
        CU_ASSERT_EQUAL(c.mean.value[i], 0.25); /* one value stands for all */
    }
    lamina__doc_free(doc);

    ACCEPT("{filters: +1, kernel: [7], seed: 9223372036854775807, rate: .5, scale: 5., bias: 'on', "
           "padding: 0, steps: [], note: \"null\"}",
           &c, &doc);
    CU_ASSERT_EQUAL(c.filters, 1);
    CU_ASSERT_EQUAL(c.kernel.count, 1);
    CU_ASSERT_EQUAL(c.kernel.value[1], 7);
    CU_ASSERT_EQUAL(c.seed, INT64_MAX);
    CU_ASSERT_EQUAL(c.scale, 5);
    CU_ASSERT_EQUAL(c.bias, 1);
    CU_ASSERT_EQUAL(c.padding.count, 1);
    CU_ASSERT_EQUAL(c.padding.value[1], 0);
    CU_ASSERT_EQUAL(c.steps.count, 0);
    TEST_TEXT(c.note, "null");
    lamina__doc_free(doc);

    ACCEPT(WITH("steps: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16], seed: 010"), &c, NULL);
    CU_ASSERT_EQUAL(c.steps.count, 16);
    CU_ASSERT_EQUAL(c.steps.value[15], 16);
    CU_ASSERT_EQUAL(c.seed, 10);
}

static void test_bools(void) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "False", "TRUE"};
    for (int i = 0; i < 8; i++) {
        conv_config config;
        char text[100];
        snprintf(text, sizeof(text), WITH("bias: %s"), words[i]);
        ACCEPT(text, &config, NULL);
        CU_ASSERT_EQUAL(config.bias, i % 2);
    }
}

static void test_numbers_refused(void) {
    REFUSE(WITH("seed: 1e3"), 31, "\"seed\": expected a whole number, got \"1e3\"");
    REFUSE(WITH("seed: 1.0"), 31, "\"seed\": expected a whole number, got \"1.0\"");
    REFUSE(WITH("seed: 5x"), 31, "\"seed\": expected a whole number, got \"5x\"");
    REFUSE(WITH("seed: 0x10"), 31, "\"seed\": expected a whole number, got \"0x10\"");
    REFUSE(WITH("seed: '5 '"), 31, "\"seed\": expected a whole number, got \"5 \"");
    REFUSE(WITH("seed: '-'"), 31, "\"seed\": expected a whole number, got \"-\"");
    REFUSE(WITH("seed: +-1"), 31, "\"seed\": expected a whole number, got \"+-1\"");
    REFUSE(WITH("seed: ''"), 31, "\"seed\": expected a whole number, got \"\"");
    REFUSE(WITH("seed: 1_000"), 31, "\"seed\": expected a whole number, got \"1_000\"");
    REFUSE(WITH("seed: "), 31, "\"seed\": expected a whole number, got nothing");
    REFUSE(WITH("seed: [1]"), 31, "\"seed\": expected a whole number, got a list");
    REFUSE(WITH("seed: {a: 1}"), 31, "\"seed\": expected a whole number, got a map");
    REFUSE(WITH("seed: 9223372036854775808"), 31,
           "\"seed\": \"9223372036854775808\" does not fit in 64 bits");
    REFUSE(WITH("seed: -9223372036854775809"), 31,
           "\"seed\": \"-9223372036854775809\" does not fit in 64 bits");
    REFUSE(WITH("rate: abc"), 31, "\"rate\": expected a number, got \"abc\"");
    REFUSE(WITH("rate: nan"), 31, "\"rate\": expected a number, got \"nan\"");
    REFUSE(WITH("rate: -inf"), 31, "\"rate\": expected a number, got \"-inf\"");
    REFUSE(WITH("rate: .inf"), 31, "\"rate\": expected a number, got \".inf\"");
    REFUSE(WITH("rate: 0x1p3"), 31, "\"rate\": expected a number, got \"0x1p3\"");
    REFUSE(WITH("rate: 1e"), 31, "\"rate\": expected a number, got \"1e\"");
    REFUSE(WITH("rate: ."), 31, "\"rate\": expected a number, got \".\"");
    REFUSE(WITH("rate: 0.5.1"), 31, "\"rate\": expected a number, got \"0.5.1\"");
    REFUSE(WITH("rate: '0,5'"), 31, "\"rate\": expected a number, got \"0,5\"");
    REFUSE(WITH("scale: 1e999"), 32, "\"scale\": \"1e999\" is too large");
}

static void test_ranges(void) {
    conv_config c;
    REFUSE("{filters: 0, kernel: 3}", 11, "\"filters\": must be between 1 and 65535, got 0");
    REFUSE("{filters: 65536, kernel: 3}", 11,
           "\"filters\": must be between 1 and 65535, got 65536");
    REFUSE("{filters: 99999999999999999999, kernel: 3}", 11,
           "\"filters\": must be between 1 and 65535, got 99999999999999999999");
    REFUSE("{filters: 8, kernel: 0}", 22, "\"kernel\": must be >= 1, got 0");
    REFUSE("{filters: 8, kernel: -99999999999999999999}", 22,
           "\"kernel\": must be >= 1, got -99999999999999999999");
    REFUSE("{filters: 8, kernel: [3, 0]}", 26, "\"kernel\": must be >= 1, got 0");
    REFUSE(WITH("rate: 1.0001"), 31, "\"rate\": must be between 0 and 1, got 1.0001");
    REFUSE(WITH("rate: -1e-9"), 31, "\"rate\": must be between 0 and 1, got -1e-09");
    REFUSE(WITH("scale: -1"), 32, "\"scale\": must be >= 0, got -1");
    REFUSE(WITH("mean: [1, 10.5, 2]"), 35, "\"mean\": must be between -10 and 10, got 10.5");
    ACCEPT(WITH("rate: 0, mean: [-10, 10]"), &c, NULL);
    ACCEPT(WITH("rate: 1"), &c, NULL);
}

static void test_words_refused(void) {
    REFUSE(WITH("bias: maybe"), 31, "\"bias\": expected true or false, got \"maybe\"");
    REFUSE(WITH("bias: 1"), 31, "\"bias\": expected true or false, got \"1\"");
    REFUSE(WITH("bias: "), 31, "\"bias\": expected true or false, got nothing");
    REFUSE(WITH("init: xavir"), 31,
           "\"init\": expected one of xavier, he, normal, got \"xavir\"; "
           "did you mean \"xavier\"?");
    REFUSE(WITH("init: kaiming"), 31,
           "\"init\": expected one of xavier, he, normal, got \"kaiming\"");
    REFUSE(WITH("init: 0"), 31, "\"init\": expected one of xavier, he, normal, got \"0\"");
    REFUSE(WITH("init: [he]"), 31, "\"init\": expected a word, got a list");
    REFUSE(WITH("path: "), 31, "\"path\": expected a word, got nothing");
    REFUSE(WITH("path: {a: b}"), 31, "\"path\": expected a word, got a map");
    REFUSE(WITH("path: [a]"), 31, "\"path\": expected a word, got a list");
    REFUSE(WITH("padding: smae"), 34,
           "\"padding\": expected whole numbers or one of same, valid, "
           "got \"smae\"; did you mean \"same\"?");
    REFUSE(WITH("padding: 1.5"), 34, "\"padding\": expected a whole number, got \"1.5\"");
    REFUSE(WITH("padding: [same, 1]"), 35, "\"padding\": expected a whole number, got \"same\"");
}

static void test_lists_refused(void) {
    REFUSE("{filters: 8, kernel: [1, 2, 3]}", 22, "\"kernel\": expected at most 2 values, got 3");
    REFUSE("{filters: 8, kernel: []}", 22,
           "\"kernel\": expected at least one value, got an empty list");
    REFUSE("{filters: 8, kernel: [1, [2]]}", 26, "\"kernel\": expected whole numbers, got a list");
    REFUSE("{filters: 8, kernel: [1, ~]}", 26, "\"kernel\": expected a whole number, got \"~\"");
    REFUSE("{filters: 8, kernel: {h: 1}}", 22, "\"kernel\": expected whole numbers, got a map");
    REFUSE("{filters: 8, kernel: }", 22, "\"kernel\": expected whole numbers, got nothing");
    REFUSE("{filters: 8, kernel: ~}", 22, "\"kernel\": expected whole numbers, got \"~\"");
    REFUSE(WITH("steps: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"), 32,
           "\"steps\": expected at most 16 values, got 17");
}

static void test_keys(void) {
    conv_config c;
    REFUSE(WITH("paddings: 1"), 25, "unknown key \"paddings\"; did you mean \"padding\"?");
    REFUSE(WITH("nmae: x"), 25, "unknown key \"nmae\"; did you mean \"name\"?");
    REFUSE(
        WITH("momentum: x"), 25,
        "unknown key \"momentum\"; there are filters, seed, rate, scale, bias, init, path, note, "
        "kernel, padding, steps, mean, name, from");
    REFUSE(
        WITH("\"\": x"), 25,
        "unknown key \"\"; there are filters, seed, rate, scale, bias, init, path, note, kernel, "
        "padding, steps, mean, name, from");
    REFUSE("{filters: 3}", 1, "the key \"kernel\" is missing; it has no default");
    REFUSE("[1]", 1, "expected keys with values, {key: value}, got a list");
    REFUSE("text", 1, "expected keys with values, {key: value}, got \"text\"");
    REFUSE("''", 1, "expected keys with values, {key: value}, got \"\"");
    /* All of it is reported, each with its place. */
    read_expecting(
        "filters: 0\nkernels: 3\nbias: 2\nrate: [1]\n", &c, NULL,
        (const char *const[]){
            "c.yaml:1:10: error: layer \"c1\" (conv): \"filters\": must be between 1 and "
            "65535, got 0",
            "c.yaml:2:1: error: layer \"c1\" (conv): unknown key \"kernels\"; did you "
            "mean \"kernel\"?",
            "c.yaml:3:7: error: layer \"c1\" (conv): \"bias\": expected true or false, "
            "got \"2\"",
            "c.yaml:4:7: error: layer \"c1\" (conv): \"rate\": expected a number, got a "
            "list",
            "c.yaml:1:1: error: layer \"c1\" (conv): the key \"kernel\" is missing; it "
            "has no default",
            NULL});
    char text[400], key[300];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    snprintf(text, sizeof(text), WITH("seed: %s"), key);
    REFUSE(text, 31,
           "\"seed\": expected a whole number, got "
           "\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...\"");
}

/* Without a map there are defaults alone, and a missing key is told where `at` points. */
static void test_no_map(void) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    conv_config config;
    const char *text = "- conv:\n- relu\n";
    lamina__doc_parse(text, strlen(text), "c.yaml", &diags, &doc);
    const lamina__node *conv = doc->root->items[0];
    CU_ASSERT_EQUAL(lamina__params_read(conv_table, conv->items[0], &config, NULL, "conv",
                                        conv->keys[0], &diags),
                    LAMINA_ERROR_CONFIG);
    CU_ASSERT_EQUAL(diags.count, 2);
    TEST_TEXT(diags.text[0], "c.yaml:1:3: error: conv: the key \"filters\" is missing; it has no "
                             "default");
    check_defaults(&config);
    CU_ASSERT_EQUAL(
        lamina__params_read(conv_table, NULL, &config, NULL, "conv", doc->root->items[1], &diags),
        LAMINA_ERROR_CONFIG);
    TEST_TEXT(diags.text[2], "c.yaml:2:3: error: conv: the key \"filters\" is missing; it has no "
                             "default");
    lamina__params_read(conv_table, NULL, &config, NULL, "conv", NULL, &diags);
    TEST_TEXT(diags.text[5], "error: conv: the key \"kernel\" is missing; it has no default");

    lamina__table none = {NULL, 0, sizeof(lamina_param)};
    size_t count = diags.count;
    CU_ASSERT_EQUAL(lamina__params_read(none, NULL, NULL, NULL, "relu", NULL, &diags), LAMINA_OK);
    CU_ASSERT_EQUAL(diags.count, count);
    CU_ASSERT_EQUAL(lamina__params_read(none, conv, NULL, NULL, "relu", NULL, &diags),
                    LAMINA_ERROR_CONFIG);
    TEST_TEXT(diags.text[count],
              "c.yaml:1:3: error: relu: unknown key \"conv\"; it has no parameters");
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
}

static void test_single_values(void) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    const char *text = "[12, -5, 0.25, x, [1], ~]";
    int64_t whole = 99;
    double real = 99;
    lamina__doc_parse(text, strlen(text), "c.yaml", &diags, &doc);
    lamina__node **items = doc->root->items;
    CU_ASSERT_EQUAL(lamina__read_int(items[0], 0, INT64_MAX, "seed", &whole, &diags), LAMINA_OK);
    CU_ASSERT_EQUAL(whole, 12);
    CU_ASSERT_EQUAL(lamina__read_real(items[2], "rate", &real, &diags), LAMINA_OK);
    CU_ASSERT_EQUAL(real, 0.25);
    lamina__read_int(items[1], 0, INT64_MAX, "seed", &whole, &diags);
    lamina__read_int(items[0], INT64_MIN, 3, "seed", &whole, &diags);
    lamina__read_int(items[2], 0, 3, "seed", &whole, &diags);
    lamina__read_int(items[4], 0, 3, "seed", &whole, &diags);
    lamina__read_real(items[3], "rate", &real, &diags);
    lamina__read_real(items[5], "rate", &real, &diags);
    CU_ASSERT_EQUAL(whole, 12);
    CU_ASSERT_EQUAL(real, 0.25);
    static const char *const expected[] = {
        "c.yaml:1:6: error: seed: must be >= 0, got -5",
        "c.yaml:1:2: error: seed: must be <= 3, got 12",
        "c.yaml:1:10: error: seed: expected a whole number, got \"0.25\"",
        "c.yaml:1:19: error: seed: expected a whole number, got a list",
        "c.yaml:1:16: error: rate: expected a number, got \"x\"",
        "c.yaml:1:24: error: rate: expected a number, got \"~\"",
    };
    CU_ASSERT_EQUAL_FATAL(diags.count, 6);
    for (size_t i = 0; i < 6; i++) {
        TEST_TEXT(diags.text[i], expected[i]);
    }
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
}

/* A program that embeds Lamina may have set a locale with a decimal comma. */
static void test_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", NULL};
    size_t i = 0;
    while (names[i] != NULL && setlocale(LC_NUMERIC, names[i]) == NULL) {
        i++;
    }
    conv_config config;
    ACCEPT(WITH("rate: 0.25"), &config, NULL);
    CU_ASSERT_EQUAL(config.rate, 0.25);
    lamina__text text = {0};
    lamina__text_add_double(&text, 0.25, false);
    TEST_TEXT(text.data, "0.25");
    lamina__text_free(&text);
    setlocale(LC_NUMERIC, "C");
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void test_writing(void) {
    conv_config config, again;
    lamina__doc *doc;
    lamina__text text = {0}, second = {0};
    ACCEPT(
        "{filters: 20, kernel: [5, 3], seed: 7, rate: 0.1, scale: 1e-30, bias: off, init: xavier, "
        "path: 'a: b', padding: [2], steps: [0.1, 1e9], mean: [-1]}",
        &config, &doc);
    lamina__text_add(&text, "{");
    lamina__params_write(conv_table, &config, &text);
    lamina__text_add(&text, "}");
    TEST_TEXT(text.data,
              "{filters: 20, seed: 7, rate: 0.1, scale: 1e-30, bias: false, init: xavier, "
              "path: \"a: b\", note: none, kernel: [5, 3], padding: 2, steps: [0.1, 1000000000], "
              "mean: -1}");
    lamina__doc_free(doc);
    ACCEPT(text.data, &again, &doc);
    lamina__text_add(&second, "{");
    lamina__params_write(conv_table, &again, &second);
    lamina__text_add(&second, "}");
    TEST_TEXT(second.data, text.data);
    lamina__doc_free(doc);
    lamina__text_free(&text);
    lamina__text_free(&second);

    ACCEPT("{filters: 8, kernel: 3}", &config, NULL); /* no path: not written */
    lamina__params_write(conv_table, &config, &text);
    TEST_TEXT(text.data, "filters: 8, seed: -1, rate: 0.5, scale: 1, bias: true, init: he, note: "
                         "none, kernel: 3, padding: same, steps: [], mean: [0.5, 0.1, 0.25]");
    lamina__text_free(&text);
    lamina__param_value_text(lamina__table_at(conv_table, 6), &config, &text);
    TEST_TEXT(text.data, "null");
    lamina__text_free(&text);
}

static void test_type_texts(void) {
    static const char *const expected[] = {"int 1 to 65535",
                                           "int",
                                           "real 0 to 1",
                                           "real >= 0",
                                           "true or false",
                                           "one of xavier, he, normal",
                                           "text",
                                           "text",
                                           "list of up to 2 int >= 1",
                                           "list of up to 2 int 0 to 1000, or one of same, valid",
                                           "list of up to 16 real",
                                           "list of up to 3 real -10 to 10"};
    for (size_t i = 0; i < conv_table.count; i++) {
        lamina__text text = {0};
        lamina__param_type_text(lamina__table_at(conv_table, i), &text);
        TEST_TEXT(text.data, expected[i]);
        lamina__text_free(&text);
    }
}

/* A range that begins above 0. */
static void test_above_zero(void) {
    typedef struct rates {
        double rate, share;
    } rates;
    static const lamina_param params[] = {
        {"rate", "A rate.", NULL, LAMINA_REAL, 0, offsetof(rates, rate), DBL_MIN, FLT_MAX, "1",
         NULL, 0, 0},
        {"share", "A share.", NULL, LAMINA_REAL, 0, offsetof(rates, share), DBL_MIN, 1, "1", NULL,
         0, 0},
    };
    static const char *const types[] = {"real > 0", "real > 0, <= 1"};
    const char *text = "{rate: 0, share: -1}", *fine = "{rate: 1e-30, share: 1}";
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    rates values;
    CU_ASSERT_EQUAL(lamina__table_check(LAMINA__TABLE(params), sizeof(rates), NULL), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(text, strlen(text), "c.yaml", &diags, &doc), LAMINA_OK);
    lamina__params_read(LAMINA__TABLE(params), doc->root, &values, NULL, "it", NULL, &diags);
    CU_ASSERT_EQUAL_FATAL(diags.kept, 2);
    TEST_CONTAINS(diags.text[0], "\"rate\": must be above 0, got 0");
    TEST_CONTAINS(diags.text[1], "\"share\": must be above 0, got -1");
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(fine, strlen(fine), "c.yaml", &diags, &doc), LAMINA_OK);
    CU_ASSERT_EQUAL(
        lamina__params_read(LAMINA__TABLE(params), doc->root, &values, NULL, "it", NULL, &diags),
        LAMINA_OK);
    lamina__doc_free(doc);
    for (size_t i = 0; i < 2; i++) {
        lamina__text written = {0};
        lamina__param_type_text(&params[i], &written);
        TEST_TEXT(written.data, types[i]);
        lamina__text_free(&written);
    }
}

/* ---- Is a table sound? --------------------------------------------------------------------- */

static void check_param(lamina_param param, const char *message) {
    lamina_error error = {0};
    lamina__table table = {&param, 1, sizeof(param)};
    lamina_status status = lamina__table_check(table, sizeof(conv_config), &error);
    if (message == NULL) {
        CU_ASSERT_EQUAL(status, LAMINA_OK);
    } else {
        CU_ASSERT_EQUAL(status, LAMINA_ERROR_PLUGIN);
        TEST_TEXT(error.message, message);
    }
}

#define PARAM(...) ((lamina_param){.name = "p", .doc = "d", __VA_ARGS__})

static void test_table_check(void) {
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__table_check(conv_table, sizeof(conv_config), &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__table_check((lamina__table){NULL, 0, 0}, 0, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__table_check((lamina__table){NULL, 1, sizeof(lamina_param)}, 8, &error),
                    LAMINA_ERROR_PLUGIN);
    CU_ASSERT_EQUAL(lamina__table_check((lamina__table){conv_params, 2, 8}, 8, &error),
                    LAMINA_ERROR_PLUGIN);
    CU_ASSERT_EQUAL(lamina__table_check(conv_table, 100, &error), LAMINA_ERROR_PLUGIN);

    check_param(PARAM(.type = LAMINA_INT, .def = "1"), NULL);
    check_param((lamina_param){.name = NULL, .doc = "d", .type = LAMINA_INT, .def = "1"},
                "parameter 0: a name is 1 to 63 of a-z, 0-9 and _, a letter first");
    check_param((lamina_param){.name = "a-b", .doc = "d", .type = LAMINA_INT, .def = "1"},
                "parameter 0: a name is 1 to 63 of a-z, 0-9 and _, a letter first");
    check_param((lamina_param){.name = "p", .type = LAMINA_INT, .def = "1"},
                "parameter \"p\": doc is missing");
    check_param(PARAM(.type = 0, .def = "1"), "parameter \"p\": unknown type 0");
    check_param(PARAM(.type = 9, .def = "1"), "parameter \"p\": unknown type 9");
    check_param(PARAM(.type = LAMINA_INT, .def = "1", .reserved = 1),
                "parameter \"p\": reserved must be 0");
    check_param(PARAM(.type = LAMINA_INT, .def = "1", .offset = 4),
                "parameter \"p\": its field's offset 4 is not aligned");
    check_param(PARAM(.type = LAMINA_INT, .def = "x"),
                "parameter \"p\": its default \"x\": expected a whole number, got \"x\"");
    check_param(PARAM(.type = LAMINA_INT, .def = "0", .min = 1, .max = 9),
                "parameter \"p\": its default \"0\": must be between 1 and 9, got 0");
    check_param(PARAM(.type = LAMINA_INT), "parameter \"p\": a default is missing");
    check_param(PARAM(.type = LAMINA_INT, .required = 1), NULL);
    check_param(PARAM(.type = LAMINA_INT, .required = 1, .def = "1"),
                "parameter \"p\": a required key has no default");
    check_param(PARAM(.type = LAMINA_INT, .required = 2, .def = "1"),
                "parameter \"p\": required must be 0 or 1");
    check_param(PARAM(.type = LAMINA_INT, .def = "1", .min = 2, .max = 1),
                "parameter \"p\": min is not below max");
    check_param(PARAM(.type = LAMINA_REAL, .def = "1", .max = (double)NAN),
                "parameter \"p\": min is not below max");
    check_param(PARAM(.type = LAMINA_BOOL, .def = "true", .max = 1),
                "parameter \"p\": a range is for numbers");
    check_param(PARAM(.type = LAMINA_INT, .def = "1", .choices = inits),
                "parameter \"p\": choices are for enums and lists");
    check_param(PARAM(.type = LAMINA_ENUM, .def = "he"), "parameter \"p\": an enum needs choices");
    check_param(PARAM(.type = LAMINA_ENUM, .def = "hee", .choices = inits),
                "parameter \"p\": its default \"hee\": expected one of xavier, he, normal, got "
                "\"hee\"; did you mean \"he\"?");
    check_param(PARAM(.type = LAMINA_STRING), NULL);
    check_param(PARAM(.type = LAMINA_INT_LIST, .def = "[1, 2]", .max_count = 2), NULL);
    check_param(PARAM(.type = LAMINA_INT_LIST, .def = "[1, 2, 3]", .max_count = 2),
                "parameter \"p\": its default \"[1, 2, 3]\": expected at most 2 values, got 3");
    check_param(PARAM(.type = LAMINA_INT_LIST, .def = "[1, 2", .max_count = 2),
                "parameter \"p\": its default \"[1, 2\": is not a list of numbers");
    check_param(PARAM(.type = LAMINA_INT_LIST, .def = "[1,]", .max_count = 2),
                "parameter \"p\": its default \"[1,]\": is not a list of numbers");
    check_param(PARAM(.type = LAMINA_INT_LIST, .def = "1"),
                "parameter \"p\": max_count must be between 1 and 16, got 0");
    check_param(PARAM(.type = LAMINA_REAL_LIST, .def = "1", .max_count = 17),
                "parameter \"p\": max_count must be between 1 and 16, got 17");

    lamina_param two[] = {PARAM(.type = LAMINA_INT, .def = "1"),
                          PARAM(.type = LAMINA_INT, .def = "1", .offset = 8)};
    lamina__table table = LAMINA__TABLE(two);
    CU_ASSERT_EQUAL(lamina__table_check(table, 16, &error), LAMINA_ERROR_PLUGIN);
    TEST_TEXT(error.message, "parameter \"p\": the name is there twice");
    two[1].name = "q";
    CU_ASSERT_EQUAL(lamina__table_check(table, 16, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__table_check(table, 15, &error), LAMINA_ERROR_PLUGIN);
    TEST_TEXT(error.message, "parameter \"q\": its field (offset 8, 8 bytes) is outside the config "
                             "struct of 15 bytes");
    two[1].offset = SIZE_MAX - 7;
    CU_ASSERT_EQUAL(lamina__table_check(table, 16, &error), LAMINA_ERROR_PLUGIN);
    two[1].type = LAMINA_BOOL, two[1].def = "true", two[1].offset = 4;
    CU_ASSERT_EQUAL(lamina__table_check(table, 16, &error), LAMINA_ERROR_PLUGIN);
    TEST_TEXT(error.message, "parameter \"q\": its field overlaps that of \"p\"");
}

/* A plugin built with a later header has longer params: only the stride says so. */
/* ---- Lists of any length ------------------------------------------------------------------- */

typedef struct long_config {
    int64_t before;
    lamina_reals weights;
    int64_t after;
} long_config;

static const lamina_param long_params[] = {{.name = "weights",
                                            .doc = "Weights.",
                                            .type = LAMINA_REALS,
                                            .offset = offsetof(long_config, weights),
                                            .max = 10,
                                            .def = "[]",
                                            .max_count = 100}};

/* The first diagnostic, or "". *kept owns the numbers. */
static const char *read_long(const char *text, long_config *config, lamina__doc **kept) {
    static char said[256];
    lamina__diags diags = {0};
    *config = (long_config){.before = 17, .after = 19};
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(text, strlen(text), "c.yaml", &diags, kept), LAMINA_OK);
    lamina__params_read(LAMINA__TABLE(long_params), (*kept)->root, config, NULL, "it", NULL,
                        &diags);
    snprintf(said, sizeof said, "%s", diags.kept > 0 ? diags.text[0] : "");
    lamina__diags_free(&diags);
    CU_ASSERT(config->before == 17 && config->after == 19);
    return said;
}

static void test_long_lists(void) {
    long_config config;
    lamina__doc *doc = NULL;
    lamina__text text = {0}, many = {0};
    TEST_TEXT(read_long("{}", &config, &doc), "");
    CU_ASSERT(config.weights.count == 0 && config.weights.value == NULL);
    lamina__params_write(LAMINA__TABLE(long_params), &config, &text);
    TEST_TEXT(text.data, "weights: []");
    lamina__doc_free(doc);

    TEST_TEXT(read_long("weights: 2.5", &config, &doc), "");
    CU_ASSERT_EQUAL_FATAL(config.weights.count, 1);
    CU_ASSERT_EQUAL(config.weights.value[0], 2.5);
    lamina__doc_free(doc);

    lamina__text_add(&many, "weights: [");
    for (int i = 0; i < 100; i++) {
        lamina__text_add(&many, "%s%d.5", i > 0 ? ", " : "", i % 10);
    }
    lamina__text_add(&many, "]");
    TEST_TEXT(read_long(many.data, &config, &doc), "");
    CU_ASSERT_EQUAL_FATAL(config.weights.count, 100);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(config.weights.value[i], i % 10 + 0.5);
    }
    /* What is written reads back. */
    text.length = 0;
    lamina__params_write(LAMINA__TABLE(long_params), &config, &text);
    TEST_TEXT(text.data, many.data);
    lamina__doc_free(doc);

    TEST_CONTAINS(read_long("weights: [1, x]", &config, &doc),
                  "c.yaml:1:14: error: it: \"weights\": expected a number, got \"x\"");
    lamina__doc_free(doc);
    TEST_CONTAINS(read_long("weights: [1, [2]]", &config, &doc), "expected numbers, got a list");
    lamina__doc_free(doc);
    TEST_CONTAINS(read_long("weights: {a: 1}", &config, &doc), "expected numbers, got a map");
    lamina__doc_free(doc);
    TEST_CONTAINS(read_long("weights: [1, -2]", &config, &doc), "must be between 0 and 10, got -2");
    lamina__doc_free(doc);
    many.length--;
    lamina__text_add(&many, ", 1]");
    TEST_CONTAINS(read_long(many.data, &config, &doc), "expected at most 100 values, got 101");
    lamina__doc_free(doc);
    text.length = 0;
    lamina__param_type_text(&long_params[0], &text);
    TEST_TEXT(text.data, "list of real 0 to 10");
    lamina__text_free(&text);
    lamina__text_free(&many);
    check_param(PARAM(.type = LAMINA_REALS, .def = "[1]", .max_count = 3),
                "parameter \"p\": its default must be \"[]\", got \"[1]\"");
    check_param(PARAM(.type = LAMINA_REALS, .def = "[]"),
                "parameter \"p\": max_count must be at least 1, got 0");
}

static void test_stride(void) {
    struct {
        lamina_param param;
        char more[64];
    } wide[2] = {{.param = PARAM(.type = LAMINA_INT, .def = "3")},
                 {.param = {.name = "q", .doc = "d", .type = LAMINA_INT, .def = "4", .offset = 8}}};
    lamina__table table = {&wide[0].param, 2, sizeof(wide[0])};
    int64_t values[2] = {0};
    CU_ASSERT_EQUAL(lamina__table_check(table, sizeof(values), NULL), LAMINA_OK);
    lamina__params_default(table, values);
    CU_ASSERT_EQUAL(values[0], 3);
    CU_ASSERT_EQUAL(values[1], 4);
    CU_ASSERT_PTR_EQUAL(lamina__table_at(table, 1), &wide[1].param);
}

/* ---- Every allocation made to fail --------------------------------------------------------- */

static lamina_status work_through(const char *path, lamina_error *error) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    lamina__text text = {0};
    conv_config config;
    lamina_status status = lamina__doc_load(path, &diags, &doc);
    if (status == LAMINA_OK) {
        status = lamina__doc_set(doc, "network.conv2.filters=30", &diags);
    }
    if (status == LAMINA_OK) {
        status = lamina__doc_set(doc, "network.relu1.a.b=[1, 2]", &diags);
    }
    if (status == LAMINA_OK) {
        lamina__doc_set(doc, "network.nothing.a=1", &diags);
        const lamina__node *network = lamina__node_get(doc->root, "network");
        for (size_t i = 0; i < network->count; i++) {
            const lamina__node *entry = network->items[i];
            lamina__params_read(conv_table, lamina__node_get(entry, "conv"), &config, also, "conv",
                                entry, &diags);
            lamina__params_write(conv_table, &config, &text);
        }
    }
    status = lamina__diags_error(&diags, error);
    if (text.failed) {
        status = lamina__fail_memory(error, "the text");
    }
    lamina__text_free(&text);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    return status;
}

static void test_allocation_failures(void) {
    lamina__text source = {0};
    lamina_error error;
    lamina__text_add(&source, "network:\n");
    for (int i = 0; i < 40; i++) {
        lamina__text_add(&source,
                         "  - conv: &c%d {name: conv%d, filters: 20, kernel: [5, 3], path: 'x%d'}\n"
                         "  - conv: {filters: 0, kernle: 3}\n"
                         "  - relu\n"
                         "  - conv: *c%d\n",
                         i, i + 1, i, i);
    }
    char *path = test_write_bytes(test_tmpdir(), "c.yaml", source.data, source.length);
    lamina__text_free(&source);
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT_EQUAL(work_through(path, &error), LAMINA_ERROR_CONFIG);
    long k = 1, failed = 1;
    for (; failed > 0 && k < 10000; k++) {
        test_fail_allocation(k);
        lamina_status status = work_through(path, &error);
        failed = test_fail_allocation(0);
        CU_ASSERT_EQUAL(status, failed ? LAMINA_ERROR_MEMORY : LAMINA_ERROR_CONFIG);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        if (failed && status == LAMINA_ERROR_MEMORY) {
            TEST_CONTAINS(error.message, "out of memory");
        }
        error.message[0] = '\0';
    }
    CU_ASSERT(k > 50);
    CU_ASSERT(k < 10000);
}

LAMINA_TESTS({"defaults", test_defaults}, {"values", test_values}, {"bools", test_bools},
             {"numbers refused", test_numbers_refused}, {"ranges", test_ranges},
             {"words refused", test_words_refused}, {"lists refused", test_lists_refused},
             {"unknown and missing keys", test_keys}, {"no map", test_no_map},
             {"single values", test_single_values}, {"locale", test_locale},
             {"writing", test_writing}, {"type texts", test_type_texts},
             {"above zero", test_above_zero}, {"table check", test_table_check},
             {"lists of any length", test_long_lists}, {"stride", test_stride},
             {"every allocation fails in turn", test_allocation_failures})
