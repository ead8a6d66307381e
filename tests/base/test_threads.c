/* base/threads: how many threads run, what mode they run in, and that barriers and joins order
 * memory. Built with -fsanitize=thread, the last tests also prove that no false race is seen. */
#include "tests/support.h"

#include "base/threads.h"

#include <float.h>
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>

#define MAX_THREADS 8

typedef struct visit {
    _Atomic int calls[MAX_THREADS];
    int threads[MAX_THREADS];
    int inner_threads[MAX_THREADS];
    float denormal[MAX_THREADS];
} visit;

static volatile float smallest_normal = FLT_MIN; /* so that nothing is computed beforehand */

static float make_denormal(void) {
    return smallest_normal * 0.5f;
}

static void note_visit(void *arg, int thread, int threads) {
    visit *seen = arg;
    atomic_fetch_add(&seen->calls[thread], 1);
    seen->threads[thread] = threads;
    seen->inner_threads[thread] = omp_get_max_threads();
    seen->denormal[thread] = make_denormal();
}

static void check_region(int threads) {
    visit seen = {0};
    int before = omp_get_max_threads();
    lamina__parallel(threads, note_visit, &seen);
    for (int i = 0; i < MAX_THREADS; i++) {
        CU_ASSERT_EQUAL(seen.calls[i], i < threads);
        if (i < threads) {
            CU_ASSERT_EQUAL(seen.threads[i], threads);
            CU_ASSERT_EQUAL(seen.inner_threads[i], 1);
#if defined(__SSE__) || defined(__aarch64__)
            CU_ASSERT_EQUAL(seen.denormal[i], 0.0f);
#endif
        }
    }
    CU_ASSERT_EQUAL(omp_get_max_threads(), before);
    CU_ASSERT(make_denormal() > 0.0f);
}

static void test_regions(void) {
    for (int threads = 1; threads <= MAX_THREADS; threads++) {
        check_region(threads);
    }
    check_region(1);
}

static void test_no_threads_is_one(void) {
    visit seen = {0};
    lamina__parallel(0, note_visit, &seen);
    CU_ASSERT_EQUAL(seen.calls[0], 1);
    CU_ASSERT_EQUAL(seen.threads[0], 1);
}

static void test_caller_settings_return(void) {
    omp_set_num_threads(3);
    check_region(4);
    check_region(1);
    CU_ASSERT_EQUAL(omp_get_max_threads(), 3);
    unsigned mode = lamina__flush_denormals();
#if defined(__SSE__) || defined(__aarch64__)
    CU_ASSERT_EQUAL(make_denormal(), 0.0f);
#endif
    visit seen = {0};
    lamina__parallel(2, note_visit, &seen);
#if defined(__SSE__) || defined(__aarch64__)
    CU_ASSERT_EQUAL(make_denormal(), 0.0f);
#endif
    lamina__restore_denormals(mode);
    CU_ASSERT(make_denormal() > 0.0f);
}

/* Plain, unsynchronised memory that the barriers alone make safe: in each round every thread
 * writes its own slot, then reads all. */
#define ROUNDS 200

typedef struct exchange {
    int slot[2][MAX_THREADS];
    int wrong[MAX_THREADS];
} exchange;

static void exchange_slots(void *arg, int thread, int threads) {
    exchange *shared = arg;
    for (int round = 1; round <= ROUNDS; round++) {
        int *slots = shared->slot[round % 2];
        slots[thread] = round;
        lamina__barrier();
        for (int i = 0; i < threads; i++) {
            shared->wrong[thread] += slots[i] != round;
        }
    }
}

static void test_barriers(void) {
    for (int threads = 1; threads <= 4; threads++) {
        exchange shared = {0};
        lamina__parallel(threads, exchange_slots, &shared);
        for (int i = 0; i < threads; i++) {
            CU_ASSERT_EQUAL(shared.wrong[i], 0);
        }
    }
}

static void add_one(void *arg, int thread, int threads) {
    long *counts = arg;
    (void)threads;
    counts[thread]++;
}

/* What was written before a region is seen inside, and what was written inside after it; other
 * threads take turns on the same memory from region to region. */
static void test_fork_and_join(void) {
    long counts[MAX_THREADS] = {0}, total = 0;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < MAX_THREADS; i++) {
            counts[i] += 1;
        }
        lamina__parallel(1 + round % 4, add_one, counts);
    }
    for (int i = 0; i < MAX_THREADS; i++) {
        total += counts[i];
    }
    CU_ASSERT_EQUAL(total, 300 * MAX_THREADS + 75 * (1 + 2 + 3 + 4));
}

static void test_processors(void) {
    cpu_set_t all, one;
    CU_ASSERT_FATAL(sched_getaffinity(0, sizeof(all), &all) == 0);
    int processors = lamina__processors();
    CU_ASSERT(processors >= 1);
    CU_ASSERT(processors <= CPU_COUNT(&all));

    size_t first = 0;
    while (!CPU_ISSET(first, &all)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CU_ASSERT_FATAL(sched_setaffinity(0, sizeof(one), &one) == 0);
    CU_ASSERT_EQUAL(lamina__processors(), 1);
    CU_ASSERT_FATAL(sched_setaffinity(0, sizeof(all), &all) == 0);
    CU_ASSERT_EQUAL(lamina__processors(), processors);
}

static int quota(const char *mount, const char *groups) {
    return lamina__cgroup_processors(test_write(mount, "groups", groups), mount);
}

static void test_cgroup2(void) {
    char *mount = test_tmpdir();
    test_write_below(mount, "a/b/c", "cpu.max", "max 100000\n");
    test_write_below(mount, "a/b", "cpu.max", "250000 100000\n");
    test_write_below(mount, "a", "cpu.max", "400000 100000\n");
    test_write_below(mount, "d", "cpu.max", "1000 100000\n");
    test_write_below(mount, "e", "cpu.max", "nonsense\n");
    test_write_below(mount, "f", "cpu.max", "300000 100000\n");
    CU_ASSERT_EQUAL(quota(mount, "0::/a/b/c\n"), 3); /* a parent's, rounded up */
    CU_ASSERT_EQUAL(quota(mount, "0::/a\n"), 4);
    CU_ASSERT_EQUAL(quota(mount, "0::/d\n"), 1);
    CU_ASSERT_EQUAL(quota(mount, "0::/e\n"), INT_MAX);
    CU_ASSERT_EQUAL(quota(mount, "0::/f\n"), 3);
    CU_ASSERT_EQUAL(quota(mount, "0::/none/here\n"), INT_MAX);
    CU_ASSERT_EQUAL(quota(mount, "0::/\n"), INT_MAX);
    CU_ASSERT_EQUAL(quota(mount, ""), INT_MAX);
    CU_ASSERT_EQUAL(quota(mount, "no colons\n1:\n"), INT_MAX);
    CU_ASSERT_EQUAL(lamina__cgroup_processors(test_path(mount, "none"), mount), INT_MAX);
    /* A container: the path is the machine's, the mount is the container's own group. */
    test_write(mount, "cpu.max", "150000 100000\n");
    CU_ASSERT_EQUAL(quota(mount, "0::/docker/1234\n"), 2);
    CU_ASSERT_EQUAL(quota(mount, "0::/\n"), 2);
    CU_ASSERT_EQUAL(quota(mount, "0::/d\n"), 1);
}

static void test_cgroup1(void) {
    char *mount = test_tmpdir();
    test_write_below(mount, "cpu/a/b", "cpu.cfs_quota_us", "-1\n");
    test_write_below(mount, "cpu/a/b", "cpu.cfs_period_us", "100000\n");
    test_write_below(mount, "cpu/a", "cpu.cfs_quota_us", "50000\n");
    test_write_below(mount, "cpu/a", "cpu.cfs_period_us", "25000\n");
    test_write_below(mount, "cpuacct,cpu/c", "cpu.cfs_quota_us", "100001\n");
    test_write_below(mount, "cpuacct,cpu/c", "cpu.cfs_period_us", "100000\n");
    test_write_below(mount, "memory/a", "cpu.cfs_quota_us", "1\n");
    CU_ASSERT_EQUAL(quota(mount, "3:cpu:/a/b\n2:memory:/a\n0::/\n"), 2);
    CU_ASSERT_EQUAL(quota(mount, "3:cpuset:/a/b\n2:memory:/a\n"), INT_MAX);
    CU_ASSERT_EQUAL(quota(mount, "4:cpuacct,cpu:/c\n"), 2);
    CU_ASSERT_EQUAL(quota(mount, "4:cpu:/x\n"), INT_MAX);
}

static void check_default(const char *value, int expected) {
    setenv("OMP_NUM_THREADS", value, 1);
    CU_ASSERT_EQUAL(lamina__default_threads(), expected);
}

static void test_default_threads(void) {
    const char *before = getenv("OMP_NUM_THREADS");
    char *kept = before ? test_keep(false, before) : NULL;
    int processors = lamina__processors();
    unsetenv("OMP_NUM_THREADS");
    CU_ASSERT_EQUAL(lamina__default_threads(), processors);
    check_default("3", 3);
    check_default("5,2", 5);
    check_default(" 7", 7);
    check_default("0", processors);
    check_default("-2", processors);
    check_default("four", processors);
    check_default("3x", processors);
    check_default("", processors);
    check_default("99999999999999999999", processors);
    if (kept != NULL) {
        setenv("OMP_NUM_THREADS", kept, 1);
    } else {
        unsetenv("OMP_NUM_THREADS");
    }
}

/* Which processor the thread may use, -1: more than one. */
static int only_processor(void) {
    cpu_set_t set;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(set), &set), 0);
    for (size_t i = 0; CPU_COUNT(&set) == 1 && i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) {
            return (int)i;
        }
    }
    return -1;
}

static void note_processor(void *arg, int thread, int threads) {
    int *seen = arg;
    (void)threads;
    seen[thread] = only_processor();
}

static void *unpinned(void *arg) {
    lamina__unpin_thread();
    *(int *)arg = only_processor();
    return NULL;
}

/* Comes last: the process keeps it. */
static void test_pinning(void) {
    int seen[2] = {-1, -1}, loader = 0;
    cpu_set_t all, two;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&two);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&two) < 2; i++) {
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &two);
        }
    }
    if (CPU_COUNT(&two) < 2) {
        return; /* one processor: nothing to pin to */
    }
    CU_ASSERT_EQUAL_FATAL(sched_setaffinity(0, sizeof(two), &two), 0);
    lamina__pin_threads(3); /* more than processors: threads stay free */
    CU_ASSERT_EQUAL(only_processor(), -1);
    setenv("OMP_PROC_BIND", "false", 1);
    lamina__pin_threads(2); /* the user has spoken */
    CU_ASSERT_EQUAL(only_processor(), -1);
    unsetenv("OMP_PROC_BIND");
    if (lamina__processors() != 2) {
        return; /* a quota */
    }
    lamina__pin_threads(2);
    lamina__parallel(2, note_processor, seen);
    CU_ASSERT(seen[0] >= 0 && seen[1] >= 0 && seen[0] != seen[1]);
    CU_ASSERT_EQUAL(lamina__processors(), 2);
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, unpinned, &loader), 0);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(loader, -1);
}

LAMINA_TESTS({"each thread runs once, flushing denormals", test_regions},
             {"no threads means one", test_no_threads_is_one},
             {"the caller's settings come back", test_caller_settings_return},
             {"barriers order memory", test_barriers},
             {"fork and join order memory", test_fork_and_join},
             {"processors follow the affinity mask", test_processors},
             {"CPU quota, cgroups version 2", test_cgroup2},
             {"CPU quota, cgroups version 1", test_cgroup1},
             {"OMP_NUM_THREADS is heeded", test_default_threads},
             {"threads are pinned where that helps", test_pinning})
