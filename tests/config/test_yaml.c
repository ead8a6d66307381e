/* config/yaml and config/diag: trees with places, hostile input, --set, and scalars that read back
 * as what was written. */
#include "tests/support.h"

#include "base/alloc.h"
#include "config/yaml.h"

/* ---- Helpers ------------------------------------------------------------------------------- */

static lamina__doc *parse_with(const char *text, lamina__diags *diags) {
    lamina__doc *doc = NULL;
    lamina_status status = lamina__doc_parse(text, strlen(text), "c.yaml", diags, &doc);
    CU_ASSERT_EQUAL(status == LAMINA_OK, diags->count == 0);
    CU_ASSERT(status == LAMINA_OK || status == LAMINA_ERROR_CONFIG);
    return doc;
}

static lamina__doc *parse(const char *text) {
    lamina__diags diags = {0};
    lamina__doc *doc = parse_with(text, &diags);
    if (diags.count > 0) {
        printf("\n      %s", diags.text[0]);
    }
    CU_ASSERT_EQUAL(diags.count, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc);
    lamina__diags_free(&diags);
    return doc;
}

/* Expects exactly these messages, each in full. */
static void refuse_bytes(const char *text, size_t length, const char *const *expected) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT_EQUAL(lamina__doc_parse(text, length, "c.yaml", &diags, &doc), LAMINA_ERROR_CONFIG);
    size_t n = 0;
    for (; expected[n] != NULL; n++) {
        TEST_TEXT(n < diags.kept ? diags.text[n] : NULL, expected[n]);
    }
    CU_ASSERT_EQUAL(diags.count, n);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

#define REFUSE(text, ...) refuse_bytes(text, strlen(text), (const char *const[]){__VA_ARGS__, NULL})

static const char *text_at(const lamina__node *node, const char *key) {
    const lamina__node *value = lamina__node_get(node, key);
    return value && value->kind == LAMINA__NODE_SCALAR ? value->text : NULL;
}

/* ---- Trees --------------------------------------------------------------------------------- */

static const char lenet[] = "seed: 1\n"
                            "network:\n"
                            "  - conv: {name: conv1, filters: 20, kernel: 5}\n"
                            "  - relu\n"
                            "  - conv:\n"
                            "      name: conv2\n"
                            "      filters: 50\n"
                            "  - vendor.mish: {beta: 1.5}\n"
                            "  - linear: {name: fc.1, units: 10}\n"
                            "  - relu\n"
                            "  - softmax_loss:\n"
                            "train: {epochs: 10, optimizer: {type: sgd}}\n";

static void test_tree(void) {
    lamina__doc *doc = parse(lenet);
    const lamina__node *root = doc->root, *network = lamina__node_get(root, "network");
    CU_ASSERT_EQUAL(root->kind, LAMINA__NODE_MAP);
    CU_ASSERT_EQUAL(root->count, 3);
    TEST_TEXT(root->origin, "c.yaml");
    TEST_TEXT(text_at(root, "seed"), "1");
    CU_ASSERT_PTR_NULL(lamina__node_get(root, "see"));
    CU_ASSERT_PTR_NULL(lamina__node_key(root, "seeds"));
    CU_ASSERT_PTR_NULL(lamina__node_get(network, "seed"));
    CU_ASSERT_PTR_NULL(lamina__node_get(NULL, "seed"));
    CU_ASSERT_EQUAL(network->kind, LAMINA__NODE_LIST);
    CU_ASSERT_EQUAL(network->count, 7);
    const lamina__node *conv = lamina__node_get(network->items[0], "conv");
    CU_ASSERT_EQUAL(conv->line, 3);
    CU_ASSERT_EQUAL(conv->column, 11);
    CU_ASSERT_EQUAL(lamina__node_key(conv, "filters")->line, 3);
    CU_ASSERT_EQUAL(lamina__node_key(conv, "filters")->column, 25);
    CU_ASSERT_EQUAL(lamina__node_get(conv, "filters")->column, 34);
    TEST_TEXT(network->items[1]->text, "relu");
    CU_ASSERT_EQUAL(network->items[1]->line, 4);
    CU_ASSERT_EQUAL(network->items[1]->column, 5);
    CU_ASSERT_TRUE(lamina__node_is_null(lamina__node_get(network->items[6], "softmax_loss")));
    TEST_TEXT(doc->source, lenet);
    CU_ASSERT_EQUAL(doc->source_length, strlen(lenet));
    lamina__doc_free(doc);
    lamina__doc_free(NULL);
}

static void test_scalars_stay_text(void) {
    lamina__doc *doc = parse("{a: 010, b: yes, c: 1e3, d: ~, e: null, f: , g: '', h: \"null\", "
                             "i: 'it''s', j: \"\\u00e9\\t\", k: 2024-01-01, l: Null}");
    static const char *const texts[] = {"010", "yes",  "1e3",  "~",          "null",       "",
                                        "",    "null", "it's", "\xc3\xa9\t", "2024-01-01", "Null"};
    static const bool nulls[] = {0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    CU_ASSERT_EQUAL_FATAL(doc->root->count, 12);
    for (size_t i = 0; i < 12; i++) {
        TEST_TEXT(doc->root->items[i]->text, texts[i]);
        CU_ASSERT_EQUAL(lamina__node_is_null(doc->root->items[i]), nulls[i]);
    }
    lamina__doc_free(doc);
    doc = parse("a: |\n  two\n  lines\nb: >\n  null\n");
    TEST_TEXT(text_at(doc->root, "a"), "two\nlines\n");
    CU_ASSERT_TRUE(lamina__node_get(doc->root, "b")->quoted);
    lamina__doc_free(doc);
}

static void test_empty(void) {
    static const char *const empty[] = {"", "\n\n", "# only a comment\n", "   "};
    for (size_t i = 0; i < 4; i++) {
        lamina__doc *doc = parse(empty[i]);
        CU_ASSERT_PTR_NULL(doc->root);
        lamina__doc_free(doc);
    }
    lamina__doc *doc = parse("---\n...\n");
    CU_ASSERT_TRUE(lamina__node_is_null(doc->root));
    lamina__doc_free(doc);
    doc = parse("a: 1\r\nb: [2,\r\n 3]\r\n");
    TEST_TEXT(text_at(doc->root, "a"), "1");
    CU_ASSERT_EQUAL(lamina__node_get(doc->root, "b")->items[1]->line, 3);
    lamina__doc_free(doc);
    doc = parse("[{}, []]");
    CU_ASSERT_EQUAL(doc->root->items[0]->kind, LAMINA__NODE_MAP);
    CU_ASSERT_EQUAL(doc->root->items[0]->count, 0);
    CU_ASSERT_EQUAL(doc->root->items[1]->count, 0);
    lamina__doc_free(doc);
}

/* A byte order mark, as some editors write it, is no part of the first line. */
static void test_byte_order_mark(void) {
    lamina__doc *doc = parse("\xef\xbb\xbf"
                             "a: 1\nb:\n  c: 2\n");
    CU_ASSERT_EQUAL(doc->root->count, 2);
    TEST_TEXT(text_at(lamina__node_get(doc->root, "b"), "c"), "2");
    CU_ASSERT_EQUAL(lamina__node_key(doc->root, "a")->line, 1);
    CU_ASSERT_EQUAL(lamina__node_key(doc->root, "a")->column, 1);
    CU_ASSERT_EQUAL(lamina__node_key(doc->root, "b")->line, 2);
    CU_ASSERT_EQUAL(doc->source_length, 3 + strlen("a: 1\nb:\n  c: 2\n")); /* as read */
    lamina__doc_free(doc);
    doc = parse("\xef\xbb\xbf");
    CU_ASSERT_PTR_NULL(doc->root);
    lamina__doc_free(doc);
    REFUSE("\xef\xbb\xbf"
           "ab: @x\n",
           "c.yaml:1:5: error: not valid YAML: while scanning for the next token, found character "
           "that cannot start any token (from line 1)");
    REFUSE("\xef\xbb\xbf"
           "a: \xff\n",
           "c.yaml:1:4: error: not valid YAML: invalid leading UTF-8 octet");
    REFUSE("\xef\xbb", "c.yaml:1:1: error: not valid YAML: incomplete UTF-8 octet sequence");
}

static void test_aliases(void) {
    lamina__doc *doc = parse("a: &k {x: [1, 2], y: &v 5}\nb: *k\nc: [*v, *v]\nd: &v 6\ne: *v\n");
    lamina__node *a = lamina__node_get(doc->root, "a"), *b = lamina__node_get(doc->root, "b");
    CU_ASSERT_PTR_NOT_EQUAL(a, b);
    CU_ASSERT_PTR_NOT_EQUAL(lamina__node_get(a, "x"), lamina__node_get(b, "x"));
    TEST_TEXT(lamina__node_get(b, "x")->items[1]->text, "2");
    CU_ASSERT_EQUAL(b->line, 2);
    CU_ASSERT_EQUAL(b->column, 4);
    TEST_TEXT(lamina__node_get(doc->root, "c")->items[1]->text, "5");
    TEST_TEXT(text_at(doc->root, "e"), "6");

    /* --set changes the one place it names. */
    lamina__diags diags = {0};
    CU_ASSERT_EQUAL(lamina__doc_set(doc, "a.y=7", &diags), LAMINA_OK);
    TEST_TEXT(text_at(lamina__node_get(doc->root, "a"), "y"), "7");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "b"), "y"), "5");
    lamina__doc_free(doc);
    REFUSE("a: *x\n", "c.yaml:1:4: error: unknown alias \"*x\"");
    REFUSE("a: &x [1, *x]\n", "c.yaml:1:11: error: alias \"*x\" stands inside its own anchor");
}

/* ---- Refused ------------------------------------------------------------------------------- */

static void test_refused(void) {
    REFUSE("a: 1\nb: 2\na: 3\n", "c.yaml:3:1: error: duplicate key \"a\"; it is on line 1 already");
    REFUSE("{a: 1, 'a': 2, b: {c: 1, c: 2}}",
           "c.yaml:1:26: error: duplicate key \"c\"; it is on line 1 already",
           "c.yaml:1:8: error: duplicate key \"a\"; it is on line 1 already");
    REFUSE("base: &b {x: 1}\nuse:\n  <<: *b\n",
           "c.yaml:3:3: error: merge keys (<<) are not supported; write the keys out");
    REFUSE("[1, 2]: a\n", "c.yaml:1:1: error: a key must be a word, not a list");
    REFUSE("? {a: 1}\n: b\n", "c.yaml:1:3: error: a key must be a word, not a map");
    REFUSE("?\n: b\n", "c.yaml:1:2: error: a key is missing before \":\"");
    REFUSE("a: !!int 5\nb: !x {c: 1}\n", "c.yaml:1:4: error: tags (!name) are not supported",
           "c.yaml:2:4: error: tags (!name) are not supported");
    REFUSE("a: \"x\\0y\"\n", "c.yaml:1:4: error: a NUL character is not allowed in a value");
    REFUSE("a: 1\n---\nb: 2\n", "c.yaml:2:1: error: a second document (---); only one is allowed");
}

static void test_not_yaml(void) {
    REFUSE("a: [1, 2\n", "c.yaml:2:1: error: not valid YAML: while parsing a flow sequence, did "
                         "not find expected ',' or ']' (from line 1)");
    REFUSE("a: \"open\n",
           "c.yaml:2:1: error: not valid YAML: while scanning a quoted scalar, found unexpected "
           "end of stream (from line 1)");
    REFUSE("a: 1\n b: 2\n", "c.yaml:2:3: error: not valid YAML: mapping values are not allowed in "
                            "this context");
    REFUSE("a:\n\tb: 1\n", "c.yaml:2:1: error: not valid YAML: while scanning for the next token, "
                           "found character that cannot start any token (from line 2)");
    REFUSE("a: @x\n", "c.yaml:1:4: error: not valid YAML: while scanning for the next token, found "
                      "character that cannot start any token (from line 1)");
    REFUSE("ab: 1\nb: \xff\n", "c.yaml:2:4: error: not valid YAML: invalid leading UTF-8 octet");
    REFUSE("b: \x01\n", "c.yaml:1:4: error: not valid YAML: control characters are not allowed");
    refuse_bytes("a: 1\nb: \0\n", 10,
                 (const char *const[]){
                     "c.yaml:2:4: error: a NUL byte: this is not a text file in UTF-8", NULL});
    refuse_bytes("a\0:\0 \0", 6,
                 (const char *const[]){
                     "c.yaml:1:2: error: a NUL byte: this is not a text file in UTF-8", NULL});
}

/* Every prefix of a document, and every one with a byte changed, gives a tree or errors, and leaves
 * no memory behind. */
static void test_truncated_and_damaged(void) {
    char text[sizeof(lenet)];
    uint64_t live = lamina__alloc_count().live;
    for (size_t length = 0; length < sizeof(lenet); length++) {
        for (int damage = 0; damage < 4; damage++) {
            lamina__diags diags = {0};
            lamina__doc *doc = NULL;
            size_t n = damage ? sizeof(lenet) - 1 : length;
            memcpy(text, lenet, n);
            if (damage && n > 0) {
                text[length % n] = "\0[:\xc3"[damage];
            }
            lamina_status status = lamina__doc_parse(text, n, "c.yaml", &diags, &doc);
            CU_ASSERT_EQUAL(status == LAMINA_OK, diags.count == 0);
            CU_ASSERT(status != LAMINA_OK || doc != NULL);
            lamina__doc_free(doc);
            lamina__diags_free(&diags);
        }
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static char *repeat(const char *piece, size_t times, const char *end) {
    size_t length = strlen(piece);
    char *text = malloc(length * times + strlen(end) + 1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * length, piece, length);
    }
    strcpy(text + length * times, end);
    return text;
}

static void test_depth(void) {
    char *open = repeat("[", 64, ""), *all = repeat("]", 64, ""), *deep = repeat("[", 100000, "");
    char text[200];
    snprintf(text, sizeof(text), "%s%s", open, all);
    lamina__doc_free(parse(text));
    snprintf(text, sizeof(text), "[%s%s]", open, all);
    REFUSE(text, "c.yaml:1:65: error: nested deeper than 64 levels");
    REFUSE(deep, "c.yaml:1:65: error: nested deeper than 64 levels");
    free(open), free(all), free(deep);
    deep = repeat("- ", 5000, "");
    REFUSE(deep, "c.yaml:1:129: error: nested deeper than 64 levels");
    free(deep);
    /* Through aliases: 40 levels, and 40 more inside. */
    open = repeat("[", 40, ""), all = repeat("]", 40, "");
    snprintf(text, sizeof(text), "[&a %s%s, %s*a%s]", open, all, open, all);
    REFUSE(text, "c.yaml:1:127: error: nested deeper than 64 levels");
    free(open), free(all);
}

static void test_alias_bomb(void) {
    REFUSE("a: &a [x,x,x,x,x,x,x,x,x,x]\n"
           "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
           "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
           "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
           "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
           "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
           "c.yaml:5:29: error: more than 100000 values, aliases counted as often as used");
    CU_ASSERT(lamina__alloc_count().peak_bytes < ((uint64_t)64 << 20));
}

static void test_many_nodes(void) {
    char *list = repeat("- x\n", 99999, "");
    lamina__doc_free(parse(list));
    free(list);
    list = repeat("- x\n", 100000, "");
    REFUSE(list,
           "c.yaml:100000:3: error: more than 100000 values, aliases counted as often as used");
    free(list);
    /* A map as large as it may be, all keys the same. */
    char *map = repeat("k: v\n", 49999, "");
    lamina__diags diags = {0};
    lamina__doc *doc = parse_with(map, &diags);
    CU_ASSERT_EQUAL(diags.count, 49998);
    CU_ASSERT_EQUAL(diags.kept, LAMINA__MAX_DIAGS);
    TEST_TEXT(diags.text[0], "c.yaml:2:1: error: duplicate key \"k\"; it is on line 1 already");
    lamina_error error;
    CU_ASSERT_EQUAL(lamina__diags_error(&diags, &error), LAMINA_ERROR_CONFIG);
    TEST_TEXT(error.message, "c.yaml:2:1: error: duplicate key \"k\"; it is on line 1 already (and "
                             "49997 more)");
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    free(map);
}

static void test_large_scalar(void) {
    char *text = repeat("x", 1 << 20, "");
    lamina__doc *doc = parse(text);
    CU_ASSERT_EQUAL(strlen(doc->root->text), 1 << 20);
    lamina__doc_free(doc);
    char *key = repeat("k", 500, ": 1\n");
    char twice[1100];
    snprintf(twice, sizeof(twice), "%s%s", key, key);
    lamina__diags diags = {0};
    doc = parse_with(twice, &diags);
    CU_ASSERT_EQUAL(diags.count, 1);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    free(text), free(key);
}

/* ---- Files --------------------------------------------------------------------------------- */

static void refuse_file(const char *path, const char *message) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    char expected[8192];
    snprintf(expected, sizeof(expected), "%s: error: %s", path, message);
    CU_ASSERT_EQUAL(lamina__doc_load(path, &diags, &doc), LAMINA_ERROR_CONFIG);
    CU_ASSERT_PTR_NULL(doc);
    CU_ASSERT_EQUAL(diags.count, 1);
    TEST_TEXT(diags.text[0], expected);
    lamina__diags_free(&diags);
}

static void test_files(void) {
    char *folder = test_tmpdir();
    char *path = test_write(folder, "a.yaml", "seed: 1\nseed: 2\n");
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    CU_ASSERT_EQUAL(lamina__doc_load(path, &diags, &doc), LAMINA_ERROR_CONFIG);
    TEST_CONTAINS(diags.text[0], "/a.yaml:2:1: error: duplicate key \"seed\"");
    CU_ASSERT_PTR_NOT_NULL_FATAL(doc); /* the rest can be read */
    TEST_TEXT(doc->root->origin, path);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);

    CU_ASSERT_EQUAL(lamina__doc_load(test_write(folder, "empty", ""), &diags, &doc), LAMINA_OK);
    CU_ASSERT_PTR_NULL(doc->root);
    lamina__doc_free(doc);

    refuse_file(folder, "cannot be read: Is a directory");
    refuse_file(test_path(folder, "none.yaml"), "cannot be opened: No such file or directory");
    refuse_file("", "cannot be opened: No such file or directory");
    refuse_file("/dev/zero", "larger than 16 MB: not a config");
}

/* ---- --set --------------------------------------------------------------------------------- */

static void set(lamina__doc *doc, const char *assignment) {
    lamina__diags diags = {0};
    CU_ASSERT_EQUAL(lamina__doc_set(doc, assignment, &diags), LAMINA_OK);
    if (diags.count > 0) {
        printf("\n      %s", diags.text[0]);
    }
    CU_ASSERT_EQUAL(diags.count, 0);
    lamina__diags_free(&diags);
}

static void refuse_set(const char *assignment, const char *message) {
    lamina__diags diags = {0};
    lamina__doc *doc = parse(lenet);
    char expected[1000];
    snprintf(expected, sizeof(expected), "--set %s: error: %s", assignment, message);
    CU_ASSERT_EQUAL(lamina__doc_set(doc, assignment, &diags), LAMINA_ERROR_CONFIG);
    CU_ASSERT_EQUAL(diags.count, 1);
    TEST_TEXT(diags.text[0], expected);
    lamina__diags_free(&diags);
    lamina__doc_free(doc);
}

static void test_set(void) {
    lamina__doc *doc = parse(lenet);
    set(doc, "train.epochs=3");
    set(doc, "train.optimizer.momentum=0.9");
    set(doc, "checkpoint.keep.last=[1, {a: b}]");
    set(doc, "out=\"a=b\"");
    const lamina__node *root = doc->root, *train = lamina__node_get(root, "train");
    TEST_TEXT(text_at(train, "epochs"), "3");
    TEST_TEXT(lamina__node_get(train, "epochs")->origin, "--set train.epochs=3");
    CU_ASSERT_EQUAL(lamina__node_get(train, "epochs")->line, 0);
    TEST_TEXT(text_at(lamina__node_get(train, "optimizer"), "type"), "sgd");
    TEST_TEXT(text_at(lamina__node_get(train, "optimizer"), "momentum"), "0.9");
    const lamina__node *keep = lamina__node_get(lamina__node_get(root, "checkpoint"), "keep");
    TEST_TEXT(text_at(lamina__node_get(keep, "last")->items[1], "a"), "b");
    TEST_TEXT(text_at(root, "out"), "a=b");
    CU_ASSERT_EQUAL(root->count, 5);
    lamina__diags diags = {0};
    lamina__diag(&diags, lamina__node_get(train, "epochs"), "too few");
    TEST_TEXT(diags.text[0], "--set train.epochs=3: error: too few");
    lamina__diags_free(&diags);
    lamina__doc_free(doc);

    doc = parse("");
    set(doc, "a.b=1");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "a"), "b"), "1");
    lamina__doc_free(doc);
    doc = parse("a: null\nb:\nvendor.x: {y: 1}\n");
    set(doc, "a.b=1");
    set(doc, "b.c=2");
    set(doc, "vendor.x.y=3");
    set(doc, "vendor.z=4");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "a"), "b"), "1");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "b"), "c"), "2");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "vendor.x"), "y"), "3");
    TEST_TEXT(text_at(lamina__node_get(doc->root, "vendor"), "z"), "4");
    lamina__doc_free(doc);
}

static const char *layer_value(const lamina__doc *doc, size_t i, const char *key) {
    const lamina__node *entry = lamina__node_get(doc->root, "network")->items[i];
    return entry->kind == LAMINA__NODE_MAP ? text_at(entry->items[0], key) : NULL;
}

static void test_set_layers(void) {
    lamina__doc *doc = parse(lenet);
    set(doc, "network.conv1.filters=30");
    TEST_TEXT(layer_value(doc, 0, "filters"), "30");
    set(doc, "network.conv2.stride=2");
    TEST_TEXT(layer_value(doc, 2, "stride"), "2");
    set(doc, "network.relu2.slope=0.1"); /* by type and number; a bare word gets parameters */
    CU_ASSERT_EQUAL(lamina__node_get(doc->root, "network")->items[1]->kind, LAMINA__NODE_SCALAR);
    TEST_TEXT(layer_value(doc, 5, "slope"), "0.1");
    TEST_TEXT(lamina__node_get(doc->root, "network")->items[5]->keys[0]->text, "relu");
    set(doc, "network.vendor.mish1.beta=2"); /* a type with a dot */
    TEST_TEXT(layer_value(doc, 3, "beta"), "2");
    set(doc, "network.fc.1.units=11"); /* a name with a dot */
    TEST_TEXT(layer_value(doc, 4, "units"), "11");
    set(doc, "network.linear1.units=12"); /* numbered though it has a name of its own */
    TEST_TEXT(layer_value(doc, 4, "units"), "12");
    set(doc, "network.softmax_loss1.scale=3");
    TEST_TEXT(layer_value(doc, 6, "scale"), "3");
    set(doc, "network.2.conv.filters=51");
    TEST_TEXT(layer_value(doc, 2, "filters"), "51");
    set(doc, "network.1=tanh");
    TEST_TEXT(lamina__node_get(doc->root, "network")->items[1]->text, "tanh");
    set(doc, "network.conv1={filters: 1}");
    TEST_TEXT(layer_value(doc, 0, "filters"), "1");
    CU_ASSERT_PTR_NULL(layer_value(doc, 0, "kernel"));
    lamina__doc_free(doc);

    /* An explicit name goes before a number, the longest name first. */
    doc = parse("network: [{conv: {name: conv2}}, {conv: {}}, {conv: {name: conv2.a}}]");
    set(doc, "network.conv2.x=1");
    set(doc, "network.conv2.a.x=2");
    TEST_TEXT(layer_value(doc, 0, "x"), "1");
    TEST_TEXT(layer_value(doc, 2, "x"), "2");
    CU_ASSERT_PTR_NULL(layer_value(doc, 1, "x"));
    lamina__doc_free(doc);
}

static void test_set_refused(void) {
    refuse_set("train.epochs=",
               "no value after \"=\"; write null for none, \"\" for an empty text");
    refuse_set("train.epochs=#",
               "no value after \"=\"; write null for none, \"\" for an empty text");
    refuse_set("train.epochs", "no \"=\"; write it like train.epochs=3");
    refuse_set("", "no \"=\"; write it like train.epochs=3");
    const char *missing = "a name is missing in the path; write it like train.epochs=3";
    refuse_set("=3", missing);
    refuse_set("train..epochs=3", missing);
    refuse_set(".train=3", missing);
    refuse_set("train.=3", missing);
    lamina__diags diags = {0};
    lamina__doc *doc = parse(lenet);
    CU_ASSERT_EQUAL(lamina__doc_set(doc, "a\xff.b=1", &diags), LAMINA_ERROR_CONFIG);
    TEST_TEXT(diags.text[0], "--set a?.b=1: error: the path is not UTF-8");
    lamina__diags_free(&diags);
    lamina__doc_free(doc);
    refuse_set("seed.x=3", "\"1\" is a value: it has no \"x\"");
    refuse_set("train.epochs.x.y=3", "\"10\" is a value: it has no \"x\"");
    refuse_set("train.epochs=[1", "not valid YAML: did not find expected ',' or ']'");
    refuse_set("train.epochs={a: 1, a: 2}", "duplicate key \"a\"");
    refuse_set("network.conv3.filters=1", "there is no entry \"conv3\"; did you mean \"conv1\"?");
    refuse_set("network.dropout1.rate=1", "there is no entry \"dropout1\"; the list has 7 entries, "
                                          "numbered from 0, and layers go by their name");
    refuse_set("network.7=1", "there is no entry \"7\"; the list has 7 entries, numbered from 0, "
                              "and layers go by their name");
    refuse_set("network.99999999999999999999999=1",
               "there is no entry \"99999999999999999999999\"; the list has 7 entries, numbered "
               "from 0, and layers go by their name");
    refuse_set("network.relu0.x=1", "there is no entry \"relu0\"; the list has 7 entries, numbered "
                                    "from 0, and layers go by their name");
    refuse_set("network.01=1", "there is no entry \"01\"; the list has 7 entries, numbered from 0, "
                               "and layers go by their name");
    refuse_set("network.1.x=1", "\"relu\" is a value: it has no \"x\"");
    char *deep = repeat("a.", 64, "a=1");
    refuse_set(deep, "nested deeper than 64 levels");
    free(deep);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void check_round_trip(const char *value, bool plain) {
    lamina__text text = {0};
    lamina__text_add(&text, "{a: ");
    lamina__yaml_add_scalar(&text, value);
    CU_ASSERT_EQUAL(strchr(text.data, '"') == NULL, plain);
    lamina__text_add(&text, ", ");
    lamina__yaml_add_scalar(&text, value);
    lamina__text_add(&text, ": [");
    lamina__yaml_add_scalar(&text, value);
    lamina__text_add(&text, "]}");
    lamina__doc *doc = parse(text.data);
    TEST_TEXT(text_at(doc->root, "a"), value);
    TEST_TEXT(doc->root->keys[1]->text, value);
    TEST_TEXT(doc->root->items[1]->items[0]->text, value);
    CU_ASSERT_FALSE(lamina__node_is_null(doc->root->items[0]));
    lamina__doc_free(doc);
    text.length = 0; /* and in a block, as a value and as an entry */
    lamina__text_add(&text, "a: ");
    lamina__yaml_add_scalar(&text, value);
    lamina__text_add(&text, "\nb:\n- ");
    lamina__yaml_add_scalar(&text, value);
    lamina__text_add(&text, "\n");
    doc = parse(text.data);
    TEST_TEXT(text_at(doc->root, "a"), value);
    TEST_TEXT(lamina__node_get(doc->root, "b")->items[0]->text, value);
    lamina__doc_free(doc);
    lamina__text_free(&text);
}

static void test_scalars_round_trip(void) {
    static const char *const plain[] = {
        "conv1", "0.5",  "-3",          "1e-05", "+1", "data/mnist/train.gz",
        "../x",  "true", "vendor.mish", "010"};
    static const char *const quoted[] = {"",
                                         "~",
                                         "null",
                                         "-",
                                         "--",
                                         "---",
                                         "-a",
                                         "...",
                                         "a b",
                                         " a",
                                         "a ",
                                         "a: b",
                                         "a:",
                                         "#x",
                                         "a#b",
                                         "[1, 2]",
                                         "{a}",
                                         "*a",
                                         "&a",
                                         "!x",
                                         "%x",
                                         "@x",
                                         "`x`",
                                         "|",
                                         ">",
                                         "?",
                                         "? a",
                                         "'",
                                         "''",
                                         "\"",
                                         "\\",
                                         "\\n",
                                         "a\nb",
                                         "\n",
                                         "\t",
                                         "a\tb",
                                         "\r\n",
                                         "\x01\x1f\x7f",
                                         "<<",
                                         "=",
                                         ",",
                                         "a,b",
                                         "\xc3\xa9",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xe2\x80\xa8",
                                         "\xef\xbb\xbfz",
                                         "\xef\xbf\xbe",
                                         "\xf0\x9f\x98\x80",
                                         "C:\\data\\x y",
                                         "it's \"quoted\""};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        check_round_trip(plain[i], true);
    }
    for (size_t i = 0; i < sizeof(quoted) / sizeof(quoted[0]); i++) {
        check_round_trip(quoted[i], false);
    }
    for (int c = 1; c < 128; c++) {
        char text[4] = {(char)c, 'x', (char)c, '\0'};
        lamina__text out = {0};
        lamina__yaml_add_scalar(&out, text);
        lamina__doc *doc = parse(out.data);
        TEST_TEXT(doc->root->text, text);
        lamina__doc_free(doc);
        lamina__text_free(&out);
    }
    lamina__text out = {0};
    lamina__yaml_add_scalar(&out, "a\xff"); /* what YAML cannot say at all */
    TEST_TEXT(out.data, "\"a\\ufffd\"");
    lamina__text_free(&out);
}

static void test_long_scalar_round_trips(void) {
    char *text = repeat("a b: \n", 1000, "");
    lamina__text out = {0};
    lamina__text_add(&out, "a: {b: ");
    lamina__yaml_add_scalar(&out, text);
    lamina__text_add(&out, "}");
    lamina__doc *doc = parse(out.data);
    TEST_TEXT(text_at(lamina__node_get(doc->root, "a"), "b"), text);
    lamina__doc_free(doc);
    lamina__text_free(&out);
    free(text);
}

/* ---- Diagnostics --------------------------------------------------------------------------- */

static void test_diags(void) {
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina__node at = {.origin = "configs/lenet.yaml", .line = 31, .column = 12};
    CU_ASSERT_EQUAL(lamina__diags_error(&diags, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__diag(&diags, &at, "layer \"%s\": %d", "conv2", 3), LAMINA_ERROR_CONFIG);
    TEST_TEXT(diags.text[0], "configs/lenet.yaml:31:12: error: layer \"conv2\": 3");
    lamina__diags_error(&diags, &error);
    TEST_TEXT(error.message, "configs/lenet.yaml:31:12: error: layer \"conv2\": 3");
    lamina__diag(&diags, NULL, "two\nlines\x1b[31m");
    TEST_TEXT(diags.text[1], "error: two?lines?[31m");
    char *long_text = repeat("\xc3\xa9", 2000, "");
    lamina__diag(&diags, &at, "%s", long_text);
    CU_ASSERT(strlen(diags.text[2]) < sizeof(error.message));
    TEST_CONTAINS(diags.text[2], "\xc3\xa9...");
    free(long_text);
    for (int i = 0; i < 100; i++) {
        lamina__diag(&diags, NULL, "%d", i);
    }
    CU_ASSERT_EQUAL(diags.kept, LAMINA__MAX_DIAGS);
    CU_ASSERT_EQUAL(diags.count, 103);
    TEST_TEXT(diags.text[19], "error: 16");
    CU_ASSERT_EQUAL(lamina__diags_error(&diags, &error), LAMINA_ERROR_CONFIG);
    TEST_CONTAINS(error.message, "conv2\": 3 (and 102 more)");
    lamina__diags_free(&diags);
    CU_ASSERT_EQUAL(diags.count, 0);

    test_fail_allocation(1);
    CU_ASSERT_EQUAL(lamina__diag(&diags, NULL, "x"), LAMINA_ERROR_CONFIG);
    test_fail_allocation(0);
    CU_ASSERT_TRUE(diags.failed);
    CU_ASSERT_EQUAL(lamina__diags_error(&diags, &error), LAMINA_ERROR_MEMORY);
    lamina__diags_free(&diags);
}

LAMINA_TESTS({"a tree with places", test_tree}, {"scalars stay text", test_scalars_stay_text},
             {"empty documents, CR LF", test_empty}, {"byte order mark", test_byte_order_mark},
             {"aliases are copies", test_aliases}, {"refused constructs", test_refused},
             {"not YAML", test_not_yaml}, {"truncated and damaged", test_truncated_and_damaged},
             {"depth", test_depth}, {"alias bomb", test_alias_bomb},
             {"many nodes", test_many_nodes}, {"large scalars", test_large_scalar},
             {"files", test_files}, {"set", test_set}, {"set in layers", test_set_layers},
             {"set refused", test_set_refused}, {"scalars round trip", test_scalars_round_trip},
             {"a long scalar round trips", test_long_scalar_round_trips},
             {"diagnostics", test_diags})
