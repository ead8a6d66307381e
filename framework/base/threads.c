/* Worker threads, our own and OpenMP's. This file alone opens parallel regions, so that the
 * floating point mode, the nesting of libraries that use OpenMP themselves, and what the thread
 * sanitizer must be told are settled in one place.
 *
 * libgomp is not instrumented: the thread sanitizer does not see that its fork, barriers and join
 * order memory. Under that sanitizer they are announced by hand; otherwise nothing of it is
 * compiled. */
#include "base/threads.h"

#include "base/cgroup.h"
#include "base/team.h"

#include <limits.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

/* ---- How many processors ------------------------------------------------------------------- */

/* The kernel refuses a mask narrower than the machine, so there is room for 65536 processors. */
enum { MOST_PROCESSORS = 65536, N_SETS = MOST_PROCESSORS / CPU_SETSIZE };

/* Where the process may run, from before its threads were pinned. */
static struct {
    bool pinned;
    cpu_set_t sets[N_SETS];
} process;

static int count_processors(const cpu_set_t sets[N_SETS]) {
    int count = 0;
    for (int i = 0; i < N_SETS; i++) {
        count += CPU_COUNT(&sets[i]);
    }
    return count;
}

/* The calling thread's affinity mask, 0 when it cannot be had. When OpenMP binds threads to places,
 * it has narrowed this thread's own mask, and knows itself how many there were. */
static int affinity_processors(void) {
    cpu_set_t sets[N_SETS];
    if (process.pinned) {
        return count_processors(process.sets);
    }
    if (omp_get_proc_bind() != omp_proc_bind_false) {
        return omp_get_num_procs();
    }
    return sched_getaffinity(0, sizeof(sets), sets) == 0 ? count_processors(sets) : 0;
}

/* One line of a small file; false when it cannot be read. */
static bool read_line(const char *folder, const char *name, char *line, size_t size) {
    FILE *file = lamina__open_in(folder, name);
    if (file == NULL) {
        return false;
    }
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

/* Processors by one folder's quota, rounded up. Version 2 writes "max 100000" or "150000 100000" in
 * cpu.max, version 1 has a file each, -1 for no limit. */
static int64_t folder_quota(const char *folder, bool version2) {
    long long quota = -1, period = -1;
    char line[128];
    if (version2) {
        if (!read_line(folder, "cpu.max", line, sizeof(line)) ||
            sscanf(line, "%lld %lld", &quota, &period) != 2) {
            return INT64_MAX;
        }
    } else {
        if (read_line(folder, "cpu.cfs_quota_us", line, sizeof(line))) {
            quota = atoll(line);
        }
        if (read_line(folder, "cpu.cfs_period_us", line, sizeof(line))) {
            period = atoll(line);
        }
    }
    return quota <= 0 || period <= 0 ? INT64_MAX : quota / period + (quota % period != 0);
}

int lamina__cgroup_processors(const char *groups_file, const char *mount) {
    int64_t least = lamina__cgroup_least(groups_file, mount, "cpu", folder_quota);
    return least > INT_MAX ? INT_MAX : (int)least;
}

int lamina__processors(void) {
    int affinity = affinity_processors();
    int quota = lamina__cgroup_processors("/proc/self/cgroup", "/sys/fs/cgroup");
    int processors = affinity < 1 ? omp_get_num_procs() : affinity;
    processors = quota < processors ? quota : processors;
    return processors < 1 ? 1 : processors;
}

int lamina__default_threads(void) {
    const char *text = getenv("OMP_NUM_THREADS");
    if (text != NULL) {
        char *end;
        long threads = strtol(text, &end, 10);
        /* "4,2" gives the number for each level of nesting; ours is the first. */
        if (end != text && (*end == '\0' || *end == ',') && threads > 0 && threads <= 4096) {
            return (int)threads;
        }
    }
    return lamina__processors();
}

/* ---- Floating point mode ------------------------------------------------------------------- */

#if defined(__SSE__)

#define FLUSH_TO_ZERO      0x8000u /* MXCSR bit 15: results */
#define DENORMALS_ARE_ZERO 0x0040u /* MXCSR bit 6: operands */

unsigned lamina__flush_denormals(void) {
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
    return mode;
}

void lamina__restore_denormals(unsigned mode) {
    _mm_setcsr(mode);
}

#elif defined(__aarch64__)

#define FLUSH_TO_ZERO (1u << 24) /* FPCR.FZ: results and operands */

unsigned lamina__flush_denormals(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | FLUSH_TO_ZERO));
    return (unsigned)mode;
}

void lamina__restore_denormals(unsigned mode) {
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode));
}

#else

unsigned lamina__flush_denormals(void) {
    return 0;
}

void lamina__restore_denormals(unsigned mode) {
    (void)mode;
}

#endif

/* ---- The thread sanitizer ------------------------------------------------------------------ */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#endif

#if defined(THREAD_SANITIZER)
/* The compiler hands a region's variables over in a struct of its own, written after the release
 * and read before the acquire: the function with the region is not looked at. */
#define WITH_REGION __attribute__((no_sanitize("thread")))
extern void __tsan_acquire(void *address);
extern void __tsan_release(void *address);

static void tell_release(void *address) {
    __tsan_release(address);
}

static void tell_acquire(void *address) {
    __tsan_acquire(address);
}
#else
#define WITH_REGION
static void tell_release(void *address) {
    (void)address;
}

static void tell_acquire(void *address) {
    (void)address;
}
#endif

/* ---- Regions ------------------------------------------------------------------------------- */

typedef struct region {
    lamina__thread_fn *fn;
    void *arg;
} region;

static char fork_point, barrier_point, join_point; /* addresses for the sanitizer alone */

static void run_thread(const region *work, int thread, int threads) {
    unsigned mode = lamina__flush_denormals();
    int inner_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    work->fn(work->arg, thread, threads);
    omp_set_num_threads(inner_threads);
    lamina__restore_denormals(mode);
}

/* Has the user told OpenMP where its threads run? Ours would not know. */
static bool user_decides(void) {
    static const char *const names[] = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY",
                                        "KMP_AFFINITY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (getenv(names[i]) != NULL) {
            return true;
        }
    }
    return omp_get_proc_bind() != omp_proc_bind_false;
}

/* Are all regions to be OpenMP's: because it was told where its threads run, or to let them spin
 * for ever, on processors that the team's threads would need? OpenMP looked at these when the
 * process began; we do when the first region does. */
static bool openmp_only(void) {
    static atomic_int only = -1;
    if (atomic_load_explicit(&only, memory_order_relaxed) < 0) {
        const char *policy = getenv("OMP_WAIT_POLICY");
        atomic_store_explicit(
            &only, user_decides() || (policy != NULL && strcasecmp(policy, "active") == 0),
            memory_order_relaxed);
    }
    return atomic_load_explicit(&only, memory_order_relaxed) != 0;
}

/* On a new thread of the team's, once. */
static void begin_thread(void) {
    lamina__unpin_thread(); /* it has its maker's processor */
    (void)lamina__flush_denormals();
    omp_set_num_threads(1);
}

void lamina__parallel(int threads, lamina__thread_fn *fn, void *arg) {
    const region work = {fn, arg};
    if (threads <= 1 || lamina__team_inside() || omp_in_parallel()) {
        run_thread(&work, 0, 1);
        return;
    }
    if (openmp_only()) {
        lamina__parallel_openmp(threads, fn, arg);
        return;
    }
    const unsigned mode = lamina__flush_denormals();
    const int inner_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const bool done = lamina__team_run(threads, fn, arg, begin_thread);
    omp_set_num_threads(inner_threads);
    lamina__restore_denormals(mode);
    if (!done) {
        lamina__parallel_openmp(threads, fn, arg);
    }
}

WITH_REGION void lamina__parallel_openmp(int threads, lamina__thread_fn *fn, void *arg) {
    const region work = {fn, arg};
    if (threads <= 1 || lamina__team_inside()) {
        run_thread(&work, 0, 1);
        return;
    }
    tell_release(&fork_point);
#pragma omp parallel num_threads(threads)
    {
        tell_acquire(&fork_point);
        run_thread(&work, omp_get_thread_num(), omp_get_num_threads());
        tell_release(&join_point);
    }
    tell_acquire(&join_point);
}

/* ---- Where threads run ---------------------------------------------------------------------- */

/* To processor number `thread` of those the process may use. */
static void pin_thread(void *arg, int thread, int threads) {
    cpu_set_t own[N_SETS];
    int before = 0;
    (void)arg, (void)threads;
    memset(own, 0, sizeof(own));
    for (size_t i = 0; i < MOST_PROCESSORS; i++) {
        if (CPU_ISSET_S(i, sizeof(process.sets), process.sets) && before++ == thread) {
            CPU_SET_S(i, sizeof(own), own);
            (void)sched_setaffinity(0, sizeof(own), own); /* it runs without, too */
        }
    }
}

void lamina__pin_threads(int threads) {
    if (process.pinned || threads < 2 || user_decides() || lamina__processors() != threads ||
        sched_getaffinity(0, sizeof(process.sets), process.sets) != 0 ||
        count_processors(process.sets) != threads) {
        return;
    }
    process.pinned = true;
    lamina__parallel(threads, pin_thread, NULL);
    lamina__parallel_openmp(threads, pin_thread, NULL);
}

void lamina__unpin_thread(void) {
    if (process.pinned) {
        (void)sched_setaffinity(0, sizeof(process.sets), process.sets);
    }
}

void lamina__barrier(void) {
    if (lamina__team_inside()) {
        lamina__team_barrier();
        return;
    }
    tell_release(&barrier_point);
#pragma omp barrier
    tell_acquire(&barrier_point);
}
