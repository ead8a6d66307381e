/* Learning-rate schedules against their formulas. */
#include "support.h"
#include "train/schedule.h"

#include <math.h>

static lamina__doc *doc;
static lamina__diags diags;

/* config: {type: ...}; release() frees it. */
static lamina__schedule_config read_schedule(const char *text) {
    lamina__schedule_config config = {0};
    CU_ASSERT_FATAL(lamina__doc_parse(text, strlen(text), "s.yaml", &diags, &doc) == LAMINA_OK);
    CU_ASSERT(lamina__schedule_read(doc->root, &config, &diags) == LAMINA_OK);
    return config;
}

static void release(lamina__schedule_config *config) {
    lamina__schedule_config_free(config);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    doc = NULL;
}

static void near(double actual, double expected) {
    CU_ASSERT_DOUBLE_EQUAL(actual, expected, 1e-15);
}

static void test_constant(void) {
    lamina__schedule_config config = {0};
    CU_ASSERT(lamina__schedule_read(NULL, &config, &diags) == LAMINA_OK); /* the default */
    near(lamina__schedule_factor(&config, 0, 0), 1);
    near(lamina__schedule_factor(&config, 123456, 78), 1);
    release(&config);
    config = read_schedule("constant");
    near(lamina__schedule_factor(&config, 5, 5), 1);
    release(&config);
}

static void test_step(void) {
    lamina__schedule_config config = read_schedule("{type: step, every: 3, gamma: 0.5}");
    for (int64_t epoch = 0; epoch < 10; epoch++) {
        near(lamina__schedule_factor(&config, 1000 * epoch, epoch), pow(0.5, (double)(epoch / 3)));
    }
    release(&config);
}

static void test_inverse(void) {
    lamina__schedule_config config = read_schedule("{type: inverse, gamma: 0.0001, power: 0.75}");
    near(lamina__schedule_factor(&config, 0, 0), 1);
    near(lamina__schedule_factor(&config, 10000, 3), pow(2.0, -0.75));
    near(lamina__schedule_factor(&config, 9380, 10), 1 / pow(1.938, 0.75));
    release(&config);
}

/* Written out and read again it is the same. */
static void test_writing(void) {
    static const char *const texts[] = {"{type: constant}", "{type: step, every: 2, gamma: 0.25}",
                                        "{type: inverse, gamma: 0.001, power: 0.75}"};
    for (size_t i = 0; i < 3; i++) {
        lamina__text text = {0};
        lamina__schedule_config config = read_schedule(texts[i]);
        lamina__schedule_config_write(&config, &text);
        TEST_TEXT(text.data, texts[i]);
        lamina__text_free(&text);
        release(&config);
    }
}

static void read_wrong(const char *text, const char *message) {
    lamina__schedule_config config = {0};
    CU_ASSERT_FATAL(lamina__doc_parse(text, strlen(text), "s.yaml", &diags, &doc) == LAMINA_OK);
    CU_ASSERT(lamina__schedule_read(doc->root, &config, &diags) == LAMINA_ERROR_CONFIG);
    CU_ASSERT_FATAL(diags.kept > 0);
    TEST_CONTAINS(diags.text[0], message);
    release(&config);
}

static void test_wrong(void) {
    read_wrong("{type: step, gamma: 0.5}", "every");
    read_wrong("{type: step, every: 0}", "s.yaml:1:21: error: schedule (step)");
    read_wrong("{type: inverse, gamma: 1}", "power");
    read_wrong("{type: constant, gamma: 1}", "gamma");
    read_wrong("{type: invers}", "did you mean \"inverse\"?");
    read_wrong("{gamma: 1}", "needs a type");
}

LAMINA_TESTS({"constant", test_constant}, {"step", test_step}, {"inverse", test_inverse},
             {"writes what it read", test_writing}, {"wrong configs", test_wrong})
