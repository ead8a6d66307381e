/* checkpoint: a process that saves in a loop is killed at any moment; its file is always whole, and
 * what it left behind goes away with the next save. */
#include "saved_support.h"

#include <time.h>

enum { KILLS = 40 };

/* Saves one state after the other until it is killed. */
static void save_for_ever(saved_net *n, const char *path) {
    lamina__checkpoint c = saved_checkpoint();
    for (;;) {
        saved_net_fill(n, (float)c.progress.step);
        if (lamina__checkpoint_save(path, &c, n->net, n->slots, 2, NULL) != LAMINA_OK) {
            _exit(1);
        }
        c.progress.step++;
    }
}

static void kill_one(saved_net *n, const char *path, long microseconds) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        save_for_ever(n, path);
    }
    CU_ASSERT_FATAL(child > 0);
    const struct timespec pause = {0, microseconds * 1000};
    nanosleep(&pause, NULL);
    CU_ASSERT_EQUAL(kill(child, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* and not an error of its own */
}

/* The state in the file is the one that belongs to its step: not a mixture of two. */
static void check_whole(saved_net *n, saved_net *expected, const char *path) {
    lamina__checkpoint_file *file;
    lamina__checkpoint c;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__checkpoint_verify(path, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &file, &c, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__checkpoint_load(file, n->net, n->slots, 2, &error), LAMINA_OK);
    saved_net_fill(expected, (float)c.progress.step);
    CU_ASSERT(saved_net_equal(n, expected));
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&c);
}

static void test_killed_while_saving(void) {
    const char *folder = test_tmpdir();
    const char *path = test_path(folder, "last.h5");
    saved_net *n = saved_net_make(saved_layers, keeper_type(3, true));
    saved_net *expected = saved_net_make(saved_layers, keeper_type(3, true));
    lamina__checkpoint c = saved_checkpoint();
    int most = 0;
    saved_net_fill(n, (float)c.progress.step);
    CU_ASSERT_EQUAL(lamina__checkpoint_save(path, &c, n->net, n->slots, 2, NULL), LAMINA_OK);
    for (long i = 0; i < KILLS; i++) {
        kill_one(n, path, 500 + i * 7919 % 12000);
        check_whole(n, expected, path);
        int entries = entries_in(folder);
        most = entries > most ? entries : most;
        CU_ASSERT(entries <= 2); /* the file, and at most what the last one left */
    }
    printf("(%s) ", most > 1 ? "some left a temporary" : "none left a temporary");
    CU_ASSERT_EQUAL(lamina__checkpoint_save(path, &c, n->net, n->slots, 2, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(entries_in(folder), 1);
    saved_net_free(n);
    saved_net_free(expected);
}

LAMINA_TESTS({"killed while saving", test_killed_while_saving})
