/* base/log: who receives what, and one at a time. */
#include "tests/support.h"

#include "base/log.h"
#include "base/threads.h"

typedef struct heard {
    int count; /* not atomic: the log calls one at a time */
    int32_t level;
    char message[4096];
} heard;

static void hear(void *user, int32_t level, const char *message) {
    heard *ear = user;
    ear->count++;
    ear->level = level;
    snprintf(ear->message, sizeof(ear->message), "%s", message);
}

static void test_messages(void) {
    heard ear = {0};
    lamina__log(LAMINA_LOG_ERROR, "nobody %s", "listens");
    lamina_set_log(hear, &ear);
    lamina__log(LAMINA_LOG_WARNING, "epoch %d of %s", 3, "ten");
    CU_ASSERT_EQUAL(ear.count, 1);
    CU_ASSERT_EQUAL(ear.level, LAMINA_LOG_WARNING);
    TEST_TEXT(ear.message, "epoch 3 of ten");
    lamina_set_log(NULL, NULL);
    lamina__log(LAMINA_LOG_INFO, "gone");
    CU_ASSERT_EQUAL(ear.count, 1);
}

static void test_long_message(void) {
    heard ear = {0};
    char text[4000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    lamina_set_log(hear, &ear);
    lamina__log(LAMINA_LOG_INFO, "%s", text);
    lamina_set_log(NULL, NULL);
    CU_ASSERT_EQUAL(ear.count, 1);
    CU_ASSERT(strlen(ear.message) > 1000);
}

static void say(void *arg, int thread, int threads) {
    (void)arg, (void)threads;
    for (int i = 0; i < 500; i++) {
        lamina__log(LAMINA_LOG_DEBUG, "%d %d", thread, i);
    }
}

static void test_threads(void) {
    heard ear = {0};
    lamina_set_log(hear, &ear);
    lamina__parallel(4, say, NULL);
    lamina_set_log(NULL, NULL);
    CU_ASSERT_EQUAL(ear.count, 4 * 500);
}

LAMINA_TESTS({"messages reach the receiver", test_messages},
             {"long messages are cut", test_long_message},
             {"threads speak one at a time", test_threads})
