/* checkpoint/write_file: a name shows a whole file, the old or the new one, whatever fails. */
#include "saved_support.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>

static void check_contents(const char *path, const char *expected) {
    TEST_TEXT(test_read(path, NULL), expected);
}

static void test_puts_and_replaces(void) {
    const char *folder = test_tmpdir();
    const char *path = test_path(folder, "file.bin");
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__write_file(path, "one", 3, &error), LAMINA_OK);
    check_contents(path, "one");
    CU_ASSERT_EQUAL(lamina__write_file(path, "", 0, &error), LAMINA_OK);
    check_contents(path, "");
    const lamina__piece pieces[] = {{"two ", 4}, {"", 0}, {"pieces", 6}};
    CU_ASSERT_EQUAL(lamina__write_pieces(path, pieces, 3, &error), LAMINA_OK);
    check_contents(path, "two pieces");
    CU_ASSERT_EQUAL(entries_in(folder), 1);
    TEST_TEXT(error.message, "");
}

static void test_large(void) {
    const char *folder = test_tmpdir();
    const char *path = test_path(folder, "large.bin");
    size_t length = 5 * 1024 * 1024 + 7, got = 0;
    char *bytes = malloc(length);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (char)(i * 2654435761u >> 13);
    }
    CU_ASSERT_EQUAL(lamina__write_file(path, bytes, length, NULL), LAMINA_OK);
    const char *read = test_read(path, &got);
    CU_ASSERT_EQUAL(got, length);
    CU_ASSERT(got == length && memcmp(read, bytes, length) == 0);
    free(bytes);
}

static void test_relative_path(void) {
    const char *folder = test_tmpdir();
    char before[4096];
    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(before, sizeof(before)));
    CU_ASSERT_EQUAL_FATAL(chdir(folder), 0);
    CU_ASSERT_EQUAL(lamina__write_file("plain", "here", 4, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(chdir(before), 0);
    check_contents(test_path(folder, "plain"), "here");
}

static void test_follows_a_link(void) {
    const char *folder = test_tmpdir();
    const char *path = test_write(folder, "real", "old"), *link = test_path(folder, "link");
    struct stat info;
    CU_ASSERT_EQUAL_FATAL(symlink("real", link), 0);
    CU_ASSERT_EQUAL(lamina__write_file(link, "new", 3, NULL), LAMINA_OK);
    check_contents(path, "new");
    CU_ASSERT(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
}

static void test_refuses_what_is_no_file(void) {
    const char *folder = test_tmpdir();
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__write_file(folder, "x", 1, &error), LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "is a folder");
    const char *fifo = test_path(folder, "fifo");
    CU_ASSERT_EQUAL_FATAL(mkfifo(fifo, 0600), 0);
    CU_ASSERT_EQUAL(lamina__write_file(fifo, "x", 1, &error), LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "no regular file");
    CU_ASSERT_EQUAL(lamina__write_file(test_path(folder, "none/file"), "x", 1, &error),
                    LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "No such file or directory; nothing was written");
    char name[300];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    CU_ASSERT_EQUAL(lamina__write_file(test_path(folder, name), "x", 1, &error), LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "too long");
    CU_ASSERT_EQUAL(entries_in(folder), 1);
}

/* ---- Failing disks ------------------------------------------------------------------------- */

/* As nobody: the superuser may write everywhere. */
static int unwritable_work(const char *path) {
    lamina_error error = {0};
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
        return 10;
    }
    if (lamina__write_file(path, "new", 3, &error) != LAMINA_ERROR_IO) {
        return 11;
    }
    return strstr(error.message, "Permission denied; the old file is intact") != NULL ? 0 : 12;
}

static void test_unwritable_folder(void) {
    const char *folder = test_tmpdir();
    const char *path = test_write(folder, "file", "old");
    CU_ASSERT_EQUAL_FATAL(chmod(folder, 0555), 0);
    CU_ASSERT_EQUAL(in_child(unwritable_work, path), 0);
    CU_ASSERT_EQUAL(chmod(folder, 0755), 0);
    check_contents(path, "old");
    CU_ASSERT_EQUAL(entries_in(folder), 1);
}

/* No file may grow beyond 64 KiB: the write fails in the middle. */
static int limited_work(const char *path) {
    static char bytes[200000];
    const struct rlimit limit = {65536, 65536};
    lamina_error error = {0};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return 10;
    }
    if (lamina__write_file(path, bytes, sizeof(bytes), &error) != LAMINA_ERROR_IO) {
        return 11;
    }
    return strstr(error.message, "(200000 bytes needed); the old file is intact") ? 0 : 12;
}

static void test_file_too_large(void) {
    const char *folder = test_tmpdir();
    const char *path = test_write(folder, "file", "old");
    CU_ASSERT_EQUAL(in_child(limited_work, path), 0);
    check_contents(path, "old");
    CU_ASSERT_EQUAL(entries_in(folder), 1);
}

/* A file system of 128 KiB, where one may be mounted; seen by this child alone, so that it goes
 * away with it. */
static int full_work(const char *folder) {
    static char bytes[200000];
    lamina_error error = {0};
    char path[4200];
    snprintf(path, sizeof(path), "%s/file", folder);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", folder, "tmpfs", 0, "size=128k") != 0) {
        printf("(no file system may be mounted here: not tested) ");
        fflush(stdout);
        return 0;
    }
    int result = 0;
    if (lamina__write_file(path, "old", 3, &error) != LAMINA_OK) {
        result = 10;
    } else if (lamina__write_file(path, bytes, sizeof(bytes), &error) != LAMINA_ERROR_IO) {
        result = 11;
    } else if (strstr(error.message, "No space left on device (200000 bytes needed, ") == NULL ||
               strstr(error.message, " free); the old file is intact") == NULL) {
        result = 12;
    } else if (strcmp(test_read(path, NULL), "old") != 0 || entries_in(folder) != 1) {
        result = 13;
    }
    return umount(folder) == 0 ? result : 14;
}

static void test_full_disk(void) {
    CU_ASSERT_EQUAL(in_child(full_work, test_tmpdir()), 0);
}

/* ---- What killed processes leave ----------------------------------------------------------- */

static void test_removes_stale(void) {
    const char *folder = test_tmpdir();
    const char *path = test_path(folder, "last.h5");
    test_write(folder, ".last.h5.1.tmp", "left by a process that is dead (or another one's now)");
    test_write(folder, ".last.h5.999999.tmp", "left too");
    test_write(folder, "somebody's", "file");
    test_write(folder, ".last.h5.12x.tmp", "no temporary of ours");
    test_write(folder, ".last.h5..tmp", "nor this");
    test_write(folder, ".best.h5.1.tmp", "of another file");
    const char *live = test_write(folder, ".last.h5.77.tmp", "being written now");
    int fd = open(live, O_RDWR);
    CU_ASSERT_FATAL(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CU_ASSERT_EQUAL(lamina__write_file(path, "new", 3, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(entries_in(folder), 6);
    CU_ASSERT_EQUAL(access(live, F_OK), 0);
    close(fd);
    CU_ASSERT_EQUAL(lamina__write_file(path, "new", 3, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(entries_in(folder), 5);
    CU_ASSERT_NOT_EQUAL(access(live, F_OK), 0);
}

static void test_allocation_failures(void) {
    const char *folder = test_tmpdir();
    const char *path = test_write(folder, "file", "old");
    lamina_status status = LAMINA_ERROR_MEMORY;
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1; status != LAMINA_OK && k < 100; k++) {
        lamina_error error = {0};
        test_fail_allocation(k);
        status = lamina__write_file(path, "new", 3, &error);
        test_fail_allocation(0);
        CU_ASSERT(status == LAMINA_OK || status == LAMINA_ERROR_MEMORY);
        check_contents(path, status == LAMINA_OK ? "new" : "old");
        CU_ASSERT_EQUAL(entries_in(folder), 1);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT_EQUAL(status, LAMINA_OK);
}

LAMINA_TESTS({"puts and replaces", test_puts_and_replaces}, {"large file", test_large},
             {"relative path", test_relative_path}, {"follows a link", test_follows_a_link},
             {"refuses what is no file", test_refuses_what_is_no_file},
             {"unwritable folder", test_unwritable_folder}, {"file too large", test_file_too_large},
             {"full disk", test_full_disk}, {"removes stale temporaries", test_removes_stale},
             {"allocation failures", test_allocation_failures})
