/* base/text: the growing string, JSON, numbers that read back, shapes, and "did you mean". */
#include "tests/support.h"

#include "base/alloc.h"
#include "base/text.h"

#include <float.h>
#include <math.h>

static void test_add(void) {
    lamina__text text = {0};
    CU_ASSERT_PTR_NULL(text.data);
    lamina__text_add(&text, "%s", "");
    TEST_TEXT(text.data, "");
    for (int i = 0; i < 1000; i++) {
        lamina__text_add(&text, "%d,", i);
        lamina__text_add_bytes(&text, "ab\0c", 4);
    }
    CU_ASSERT_FALSE(text.failed);
    CU_ASSERT_EQUAL(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 4 * 1000);
    CU_ASSERT_EQUAL(text.data[text.length], '\0');
    CU_ASSERT(memcmp(text.data, "0,ab\0c1,ab\0c", 12) == 0);
    lamina__text_free(&text);
    CU_ASSERT_PTR_NULL(text.data);
    CU_ASSERT_EQUAL(text.length, 0);
}

static void test_out_of_memory(void) {
    lamina__text text = {0};
    lamina__text_add(&text, "kept");
    test_fail_allocation(1);
    lamina__text_add(&text, "%500d", 1);
    CU_ASSERT_EQUAL(test_fail_allocation(0), 1);
    CU_ASSERT_TRUE(text.failed);
    TEST_TEXT(text.data, "kept");
    lamina__text_add(&text, " more");
    TEST_TEXT(text.data, "kept");
    lamina__text_add_bytes(&text, "x", SIZE_MAX - 3);
    TEST_TEXT(text.data, "kept");
    lamina__text_free(&text);
    CU_ASSERT_FALSE(text.failed);
}

static void check_json(const char *value, const char *expected) {
    lamina__text text = {0};
    lamina__text_add_json(&text, value);
    TEST_TEXT(text.data, expected);
    lamina__text_free(&text);
}

static void test_json(void) {
    check_json("", "\"\"");
    check_json("conv1", "\"conv1\"");
    check_json("a\"b\\c/d", "\"a\\\"b\\\\c/d\"");
    check_json("\n\t\r\x01\x1f\x7f", "\"\\n\\t\\u000d\\u0001\\u001f\\u007f\"");
    check_json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    check_json("a\xff"
               "b",
               "\"a\xef\xbf\xbd"
               "b\"");                                                      /* no UTF-8 byte */
    check_json("\xc3", "\"\xef\xbf\xbd\"");                                 /* cut */
    check_json("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* cut */
    check_json("\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"");                 /* overlong */
    check_json("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""); /* surrogate */
    check_json("\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void check_double(double value, bool json, const char *expected) {
    lamina__text text = {0};
    lamina__text_add_double(&text, value, json);
    TEST_TEXT(text.data, expected);
    lamina__text_free(&text);
}

static void test_doubles(void) {
    check_double(0, false, "0");
    check_double(-0.0, false, "-0");
    check_double(0.1, false, "0.1");
    check_double(1.0 / 3, true, "0.3333333333333333");
    check_double(0.1 + 0.2, true, "0.30000000000000004");
    check_double(1e-300, false, "1e-300");
    check_double(123456789012, false, "123456789012");
    check_double(10, true, "10");
    check_double(-1000, true, "-1000");
    check_double(1e20, true, "1e+20");
    check_double(0.001, true, "0.001");
    check_double(NAN, false, "nan");
    check_double(INFINITY, false, "inf");
    check_double(-INFINITY, false, "-inf");
    check_double(NAN, true, "null");
    check_double(-INFINITY, true, "null");
    static const double hard[] = {
        DBL_MIN, DBL_MAX, 5e-324, 0x1.fffffffffffffp-3, 9007199254740993.0, 3.14159265358979323846,
        1e23};
    for (size_t i = 0; i < sizeof(hard) / sizeof(hard[0]); i++) {
        lamina__text text = {0};
        lamina__text_add_double(&text, hard[i], true);
        CU_ASSERT_EQUAL(strtod(text.data, NULL), hard[i]);
        lamina__text_free(&text);
    }
}

static void test_shapes(void) {
    lamina_shape image = {LAMINA_F32, 4, {64, 3, 28, 28}}, flat = {LAMINA_F32, 2, {64, 10}};
    lamina_shape none = {LAMINA_F32, 0, {0}}, labels = {LAMINA_I32, 2, {64, 10}};
    lamina_shape full = {LAMINA_F32, 8, {1, 2, 3, 4, 5, 6, 7, 8}};
    lamina_shape huge = {LAMINA_F32, 3, {INT64_MAX / 2, 2, 2}};
    char text[64], small[8];
    CU_ASSERT_PTR_EQUAL(lamina__shape_text(&image, text, sizeof(text)), text);
    TEST_TEXT(text, "[64, 3, 28, 28]");
    TEST_TEXT(lamina__shape_text(&none, text, sizeof(text)), "[]");
    TEST_TEXT(lamina__shape_text(&full, text, sizeof(text)), "[1, 2, 3, 4, 5, 6, 7, 8]");
    TEST_TEXT(lamina__shape_text(&image, small, sizeof(small)), "[64, 3,");
    CU_ASSERT_EQUAL(lamina__shape_count(&image), 64 * 3 * 28 * 28);
    CU_ASSERT_EQUAL(lamina__shape_count(&none), 1);
    CU_ASSERT_EQUAL(lamina__shape_count(&huge), INT64_MAX);
    CU_ASSERT_TRUE(lamina__shape_equal(&flat, &flat));
    CU_ASSERT_FALSE(lamina__shape_equal(&flat, &labels));
    CU_ASSERT_FALSE(lamina__shape_equal(&flat, &image));
    labels.dtype = LAMINA_F32;
    CU_ASSERT_TRUE(lamina__shape_equal(&flat, &labels));
    labels.dim[1] = 11;
    CU_ASSERT_FALSE(lamina__shape_equal(&flat, &labels));
}

static void test_nearest(void) {
    static const char *const keys[] = {"filters",  "kernel", "stride", "padding",
                                       "dilation", "bias",   "name",   ""};
    size_t n = sizeof(keys) / sizeof(keys[0]);
    TEST_TEXT(lamina__nearest("strides", keys, n), "stride");
    TEST_TEXT(lamina__nearest("KERNEL", keys, n), "kernel");
    TEST_TEXT(lamina__nearest("kernle", keys, n), "kernel");
    TEST_TEXT(lamina__nearest("fliters", keys, n), "filters");
    TEST_TEXT(lamina__nearest("pading", keys, n), "padding");
    TEST_TEXT(lamina__nearest("naem", keys, n), "name");
    CU_ASSERT_PTR_NULL(lamina__nearest("momentum", keys, n));
    CU_ASSERT_PTR_NULL(lamina__nearest("x", keys, n));
    CU_ASSERT_PTR_NULL(lamina__nearest("", keys, n));
    CU_ASSERT_PTR_NULL(lamina__nearest("stride", keys, 0));
    CU_ASSERT_PTR_NULL(lamina__nearest("size", (const char *const[]){"type"}, 1));
    char word[5000];
    memset(word, 'k', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    CU_ASSERT_PTR_NULL(lamina__nearest(word, keys, n));
}

static void test_code_points(void) {
    static const struct {
        const char *text;
        uint32_t code;
    } cases[] = {{"a", 'a'},
                 {"\x7f", 0x7f},
                 {"\xc2\x80", 0x80},
                 {"\xdf\xbf", 0x7ff},
                 {"\xe0\xa0\x80", 0x800},
                 {"\xef\xbf\xbf", 0xffff},
                 {"\xf0\x90\x80\x80", 0x10000},
                 {"\xf4\x8f\xbf\xbf", 0x10ffff}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = lamina__utf8_length(cases[i].text);
        CU_ASSERT_EQUAL(length, strlen(cases[i].text));
        CU_ASSERT_EQUAL(lamina__utf8_code(cases[i].text, length), cases[i].code);
    }
}

LAMINA_TESTS({"a text grows", test_add},
             {"a text without memory keeps what it has", test_out_of_memory},
             {"code points", test_code_points}, {"JSON strings", test_json},
             {"numbers read back", test_doubles}, {"shapes", test_shapes},
             {"did you mean", test_nearest})
