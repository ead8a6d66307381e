/* base/memory: what the machine, the cgroups and the process's own limit leave. */
#include "tests/support.h"

#include "base/memory.h"

#include <sys/resource.h>
#include <sys/wait.h>

#define GB INT64_C(1000000000)

static void test_machine(void) {
    const char *folder = test_tmpdir();
    CU_ASSERT_EQUAL(lamina__machine_memory(test_write(folder, "a",
                                                      "MemTotal:       24684096 kB\n"
                                                      "MemFree:        23058696 kB\n"
                                                      "MemAvailable:   1000 kB\n"
                                                      "SwapTotal:      500 kB\n"
                                                      "SwapFree:       24 kB\n")),
                    1024 * 1024);
    CU_ASSERT_EQUAL(lamina__machine_memory(test_write(folder, "b", "MemAvailable: 3 kB\n")), 3072);
    CU_ASSERT_EQUAL(lamina__machine_memory(test_write(folder, "c", "MemAvailable: 0 kB\n")), 0);
    /* Kernels before 3.14, nonsense, nothing. */
    static const char *const unknown[] = {"MemTotal: 5 kB\nSwapFree: 7 kB\n", "",
                                          "MemAvailable: many kB\n", "MemAvailable: -4 kB\n",
                                          "MemAvailable: 99999999999999999999 kB\n"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        CU_ASSERT_EQUAL(lamina__machine_memory(test_write(folder, "d", unknown[i])), INT64_MAX);
    }
    CU_ASSERT_EQUAL(lamina__machine_memory(test_path(folder, "none")), INT64_MAX);
}

static int64_t group_memory(const char *mount, const char *groups) {
    return lamina__cgroup_memory(test_write(mount, "groups", groups), mount);
}

static void test_cgroup2(void) {
    const char *mount = test_tmpdir();
    test_write_below(mount, "a/b", "memory.max", "max\n");
    test_write_below(mount, "a/b", "memory.current", "4000\n");
    test_write_below(mount, "a", "memory.max", "10000\n");
    test_write_below(mount, "a", "memory.current", "7000\n");
    test_write_below(mount, "over", "memory.max", "100\n");
    test_write_below(mount, "over", "memory.current", "300\n");
    test_write_below(mount, "bare", "memory.max", "100\n");
    CU_ASSERT_EQUAL(group_memory(mount, "0::/a/b\n"), 3000); /* a parent's */
    CU_ASSERT_EQUAL(group_memory(mount, "0::/over\n"), 0);
    CU_ASSERT_EQUAL(group_memory(mount, "0::/bare\n"), INT64_MAX);
    CU_ASSERT_EQUAL(group_memory(mount, "0::/\n"), INT64_MAX);
    /* Files that were read can be forgotten again. */
    test_write_below(mount, "a", "memory.stat",
                     "anon 4000\nfile 2500\ninactive_anon 77\nactive_file 500\ninactive_file 1900\n"
                     "workingset_activate_file 9000\n");
    CU_ASSERT_EQUAL(group_memory(mount, "0::/a/b\n"), 5400);
    test_write_below(mount, "a", "memory.stat", "active_file 99999\ninactive_file 99999\n");
    CU_ASSERT_EQUAL(group_memory(mount, "0::/a\n"), 10000); /* never more than the limit */
}

static void test_cgroup1(void) {
    const char *mount = test_tmpdir();
    test_write_below(mount, "memory/a", "memory.limit_in_bytes", "9223372036854771712\n");
    test_write_below(mount, "memory/a", "memory.usage_in_bytes", "1454690304\n");
    test_write_below(mount, "memory/a/b", "memory.limit_in_bytes", "5000\n");
    test_write_below(mount, "memory/a/b", "memory.usage_in_bytes", "4000\n");
    test_write_below(mount, "memory/a/b", "memory.stat",
                     "inactive_file 9\ntotal_inactive_file 700\ntotal_active_file 50\n");
    test_write_below(mount, "cpu/a/b", "memory.limit_in_bytes", "1\n");
    test_write_below(mount, "cpu/a/b", "memory.usage_in_bytes", "1\n");
    CU_ASSERT_EQUAL(group_memory(mount, "4:memory:/a\n3:cpu:/a/b\n0::/\n"), INT64_MAX);
    CU_ASSERT_EQUAL(group_memory(mount, "4:memory:/a/b\n3:cpu:/a/b\n0::/\n"), 1750);
}

/* Bytes of address space that this process has. */
static int64_t address_space(void) {
    const char *statm = test_read("/proc/self/statm", NULL);
    return statm != NULL ? atoll(statm) * sysconf(_SC_PAGESIZE) : 0;
}

/* The real thing: something is left, and no more than a limit on the address space leaves. */
static void test_available(void) {
    CU_ASSERT(lamina__memory_available() > 0);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {(rlim_t)(address_space() + GB / 10), RLIM_INFINITY};
        bool good = setrlimit(RLIMIT_AS, &limit) == 0 && lamina__memory_available() <= GB / 10;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

LAMINA_TESTS({"what the machine has left", test_machine},
             {"what groups leave, version 2", test_cgroup2},
             {"what groups leave, version 1", test_cgroup1},
             {"what this process can have", test_available})
