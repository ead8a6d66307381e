/* What every test file shares: main(), temporary folders, files, and allocations that fail.
 *
 * A test file defines functions `static void name(void)` full of CUnit's CU_ASSERT_..., and ends
 * with
 *     LAMINA_TESTS({"adds numbers", test_adds}, {"refuses text", test_refuses})
 * Its suite is named after the file. `test_x "adds numbers"` runs only the tests named. */
#ifndef LAMINA_TESTS_SUPPORT_H
#define LAMINA_TESTS_SUPPORT_H

#include "lamina/lamina.h"

#include <CUnit/Basic.h>

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* ---- main() -------------------------------------------------------------------------------- */

typedef struct test_case {
    const char *name;
    void (*run)(void);
} test_case;

static inline bool test_wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc <= 1;
}

static inline int test_main(const char *file, const test_case *cases, size_t n, int argc,
                            char **argv) {
    const char *slash = strrchr(file, '/');
    unsigned registered = 0;
    int result = EXIT_FAILURE;

    setvbuf(stdout, NULL, _IOLBF, 0); /* so that a crash leaves the name of its test behind */
    if (CU_initialize_registry() != CUE_SUCCESS) {
        return EXIT_FAILURE;
    }
    CU_pSuite suite = CU_add_suite(slash ? slash + 1 : file, NULL, NULL);
    for (size_t i = 0; i < n; i++) {
        if (!test_wanted(cases[i].name, argc, argv)) {
            continue;
        }
        if (suite == NULL || CU_add_test(suite, cases[i].name, cases[i].run) == NULL) {
            fprintf(stderr, "%s: cannot register \"%s\"\n", file, cases[i].name);
            goto done;
        }
        registered++;
    }
    CU_basic_set_mode(CU_BRM_VERBOSE);
    if (CU_basic_run_tests() == CUE_SUCCESS && registered > 0 &&
        CU_get_number_of_tests_run() == registered && CU_get_number_of_failures() == 0) {
        result = EXIT_SUCCESS;
    }
done:
    CU_cleanup_registry();
    return result;
}

#define LAMINA_TESTS(...)                                                                          \
    int main(int argc, char **argv) {                                                              \
        static const test_case cases[] = {__VA_ARGS__};                                            \
        return test_main(__FILE__, cases, sizeof(cases) / sizeof(cases[0]), argc, argv);           \
    }

/* ---- Assertions that say what they saw ----------------------------------------------------- */

#define TEST_TEXT(actual, expected) test_text((actual), (expected), __FILE__, __LINE__)
#define TEST_CONTAINS(actual, part) test_contains((actual), (part), __FILE__, __LINE__)

static inline void test_text(const char *actual, const char *expected, const char *file, int line) {
    bool same = actual != NULL && strcmp(actual, expected) == 0;
    if (!same) {
        printf("\n      got      \"%s\"\n      expected \"%s\"", actual ? actual : "(null)",
               expected);
    }
    CU_assertImplementation(same, (unsigned)line, "the texts are equal", file, "", CU_FALSE);
}

static inline void test_contains(const char *actual, const char *part, const char *file, int line) {
    bool found = actual != NULL && strstr(actual, part) != NULL;
    if (!found) {
        printf("\n      got      \"%s\"\n      without  \"%s\"", actual ? actual : "(null)", part);
    }
    CU_assertImplementation(found, (unsigned)line, "the text contains the part", file, "",
                            CU_FALSE);
}

/* ---- Temporary folders and files ----------------------------------------------------------- */

/* Everything handed out below is kept here until exit: folders are removed with what is in them,
 * and strings freed. */
typedef struct test_kept {
    struct test_kept *next;
    pid_t owner; /* a forked child that exits leaves its parent's folders alone */
    bool folder;
    char text[];
} test_kept;

static test_kept *test_kept_list;

static inline void test_stop(const char *what) {
    fprintf(stderr, "test support: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static inline int test_remove_entry(const char *path, const struct stat *info, int type,
                                    struct FTW *where) {
    (void)info, (void)type, (void)where;
    return remove(path);
}

static inline void test_release(void) {
    while (test_kept_list != NULL) {
        test_kept *kept = test_kept_list;
        test_kept_list = kept->next;
        if (kept->folder && kept->owner == getpid()) {
            nftw(kept->text, test_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        }
        free(kept);
    }
}

static inline char *test_keep_bytes(bool folder, const void *bytes, size_t size) {
    test_kept *kept = malloc(sizeof(*kept) + size + 1);
    if (kept == NULL) {
        test_stop("malloc");
    }
    if (test_kept_list == NULL && atexit(test_release) != 0) {
        test_stop("atexit");
    }
    *kept = (test_kept){.next = test_kept_list, .owner = getpid(), .folder = folder};
    memcpy(kept->text, bytes, size);
    kept->text[size] = '\0';
    test_kept_list = kept;
    return kept->text;
}

static inline char *test_keep(bool folder, const char *text) {
    return test_keep_bytes(folder, text, strlen(text));
}

/* A fresh empty folder under $TMPDIR or /tmp, removed with everything in it at exit. */
static inline char *test_tmpdir(void) {
    const char *base = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/lamina-test-XXXXXX", base && base[0] ? base : "/tmp");
    if (mkdtemp(path) == NULL) {
        test_stop(path);
    }
    return test_keep(true, path);
}

/* "folder/name", valid until exit. */
static inline char *test_path(const char *folder, const char *name) {
    char path[8192];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return test_keep(false, path);
}

/* Writes folder/name and returns its path, valid until exit. */
static inline char *test_write_bytes(const char *folder, const char *name, const void *bytes,
                                     size_t size) {
    char *path = test_path(folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        test_stop(path);
    }
    return path;
}

static inline char *test_write(const char *folder, const char *name, const char *text) {
    return test_write_bytes(folder, name, text, strlen(text));
}

/* Writes folder/below/name, making the folders on the way ("a/b"). */
static inline void test_write_below(const char *folder, const char *below, const char *name,
                                    const char *text) {
    char *path = test_path(folder, below);
    for (char *slash = path + strlen(folder); slash != NULL;) {
        slash = strchr(slash + 1, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        mkdir(path, 0700);
        if (slash != NULL) {
            *slash = '/';
        }
    }
    test_write(path, name, text);
}

/* The whole file, NUL-terminated, valid until exit; NULL when there is none. size may be NULL. */
static inline char *test_read(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    char *text = NULL, piece[4096];
    size_t length = 0, got;
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0) {
        char *grown = realloc(text, length + got);
        if (grown == NULL) {
            test_stop(path);
        }
        text = grown;
        memcpy(text + length, piece, got);
        length += got;
    }
    fclose(file);
    char *kept = test_keep_bytes(false, text ? text : "", length);
    free(text);
    if (size != NULL) {
        *size = length;
    }
    return kept;
}

/* ---- Allocations that fail ----------------------------------------------------------------- */

/* For sweeps: for k = 1, 2, ... until nothing failed any more, do the work with
 * test_fail_allocation(k) before it and test_fail_allocation(0) after it, and expect a clean
 * LAMINA_ERROR_MEMORY and no block left alive. Counts across threads. */
typedef struct test_failing {
    _Atomic long left; /* until the one that fails; 0: none will */
    _Atomic long failed;
} test_failing;

static test_failing test_failing_state;

static inline void *test_failing_alloc(void *user, size_t bytes) {
    test_failing *state = user;
    if (atomic_load(&state->left) > 0 && atomic_fetch_sub(&state->left, 1) == 1) {
        atomic_fetch_add(&state->failed, 1);
        return NULL;
    }
    return bytes > SIZE_MAX - 63 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static inline void test_failing_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

/* Makes the k-th allocation from now on fail (k = 0: none). Returns how many failed since the
 * previous call. Blocks may outlive the call: they come from the same heap as without it. */
static inline long test_fail_allocation(long k) {
    static const lamina_allocator failing = {sizeof(failing), test_failing_alloc, test_failing_free,
                                             &test_failing_state};
    long failed = atomic_exchange(&test_failing_state.failed, 0);
    atomic_store(&test_failing_state.left, k);
    lamina_set_allocator(k > 0 ? &failing : NULL);
    return failed;
}

#endif
