/* base/error: names of statuses, and messages that are always whole lines of valid text. */
#include "tests/support.h"

#include "base/error.h"
#include "base/text.h"

static void test_statuses(void) {
#define CHECK_STATUS(name, value, meaning)                                                         \
    TEST_TEXT(lamina_status_name(value), #name);                                                   \
    TEST_TEXT(lamina_status_meaning(value), meaning);
    LAMINA_STATUS_LIST(CHECK_STATUS)
#undef CHECK_STATUS
    TEST_TEXT(lamina_status_name(1), "unknown status");
    TEST_TEXT(lamina_status_name(-1000), "unknown status");
    TEST_TEXT(lamina_status_meaning(INT32_MIN), "unknown status");
    TEST_TEXT(lamina_version(), LAMINA_VERSION);
}

static void test_fail(void) {
    lamina_error error = {.layer = "conv1"};
    CU_ASSERT_EQUAL(lamina__fail(&error, LAMINA_ERROR_SHAPE, "kernel %d, input %s", 7, "5x5"),
                    LAMINA_ERROR_SHAPE);
    CU_ASSERT_EQUAL(error.code, LAMINA_ERROR_SHAPE);
    TEST_TEXT(error.message, "kernel 7, input 5x5");
    TEST_TEXT(error.layer, "");
    CU_ASSERT_EQUAL(lamina__fail(NULL, LAMINA_ERROR_IO, "%s", "nobody listens"), LAMINA_ERROR_IO);
    CU_ASSERT_EQUAL(lamina__fail_memory(&error, "the arena, 12 MB"), LAMINA_ERROR_MEMORY);
    TEST_TEXT(error.message, "out of memory (the arena, 12 MB)");
}

static bool is_utf8(const char *text) {
    while (*text != '\0') {
        size_t length = lamina__utf8_length(text);
        if (length == 0) {
            return false;
        }
        text += length;
    }
    return true;
}

/* Messages that end, at every offset, in a character of 1 to 4 bytes are cut between two. */
static void test_cut(void) {
    static const char *const characters[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char long_text[3000];
    for (size_t c = 0; c < 4; c++) {
        for (size_t offset = 0; offset < 4; offset++) {
            size_t length = strlen(characters[c]), used = offset;
            memset(long_text, 'a', offset);
            for (; used + length < sizeof(long_text); used += length) {
                memcpy(long_text + used, characters[c], length);
            }
            long_text[used] = '\0';
            lamina_error error;
            lamina__fail(&error, LAMINA_ERROR_DATA, "%s", long_text);
            CU_ASSERT(strlen(error.message) >= sizeof(error.message) - 4);
            CU_ASSERT(is_utf8(error.message));
            CU_ASSERT(strncmp(error.message, long_text, strlen(error.message)) == 0);

            lamina__error_prefix(&error, "file %d", 1);
            CU_ASSERT(strncmp(error.message, "file 1: a", 8) == 0);
            CU_ASSERT(strlen(error.message) >= sizeof(error.message) - 4);
            CU_ASSERT(is_utf8(error.message));
        }
    }
}

static void test_prefix(void) {
    lamina_error error = {0};
    lamina__fail(&error, LAMINA_ERROR_IO, "no such file");
    lamina__error_prefix(&error, "%s.%d", "train", 3);
    TEST_TEXT(error.message, "train.3: no such file");
    CU_ASSERT_EQUAL(error.code, LAMINA_ERROR_IO);
    lamina__error_prefix(NULL, "nobody");
}

LAMINA_TESTS({"statuses have names and meanings", test_statuses},
             {"fail fills the caller's error", test_fail},
             {"long messages are cut between characters", test_cut},
             {"a prefix goes in front", test_prefix})
