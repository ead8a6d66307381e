/* Worker threads by OpenMP. This file alone opens parallel regions, so that the floating point
 * mode, the nesting of libraries that use OpenMP themselves, and what the thread sanitizer must be
 * told are settled in one place.
 *
 * libgomp is not instrumented: the thread sanitizer does not see that its fork, barriers and join
 * order memory. Under that sanitizer they are announced by hand; otherwise nothing of it is
 * compiled. */
#include "base/threads.h"

#include <limits.h>
#include <omp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

/* ---- How many processors ------------------------------------------------------------------- */

/* The calling thread's affinity mask, 0 when it cannot be had. The kernel refuses a mask narrower
 * than the machine, so there is room for 65536 processors. When OpenMP binds threads to places, it
 * has narrowed this thread's own mask, and knows itself how many there were. */
static int affinity_processors(void) {
    cpu_set_t sets[65536 / CPU_SETSIZE];
    if (omp_get_proc_bind() != omp_proc_bind_false) {
        return omp_get_num_procs();
    }
    if (sched_getaffinity(0, sizeof(sets), sets) != 0) {
        return 0;
    }
    int count = 0;
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        count += CPU_COUNT(&sets[i]);
    }
    return count;
}

/* One line of a small file; false when it cannot be read. */
static bool read_line(const char *folder, const char *name, char *line, size_t size) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        return false;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return read;
}

/* Processors by one folder's quota, rounded up; INT_MAX when it sets none. Version 2 writes
 * "max 100000" or "150000 100000" in cpu.max, version 1 has a file each, -1 for no limit. */
static int folder_quota(const char *folder, bool version2) {
    long long quota = -1, period = -1;
    char line[128];
    if (version2) {
        if (!read_line(folder, "cpu.max", line, sizeof(line)) ||
            sscanf(line, "%lld %lld", &quota, &period) != 2) {
            return INT_MAX;
        }
    } else {
        if (read_line(folder, "cpu.cfs_quota_us", line, sizeof(line))) {
            quota = atoll(line);
        }
        if (read_line(folder, "cpu.cfs_period_us", line, sizeof(line))) {
            period = atoll(line);
        }
    }
    if (quota <= 0 || period <= 0) {
        return INT_MAX;
    }
    long long processors = quota / period + (quota % period != 0);
    return processors > INT_MAX ? INT_MAX : (int)processors;
}

static int smaller(int a, int b) {
    return a < b ? a : b;
}

/* The smallest quota on the way from root/group up to root: each ancestor's counts. */
static int path_quota(const char *root, const char *group, bool version2) {
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof(folder), "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof(folder)) {
        return INT_MAX;
    }
    int least = INT_MAX;
    size_t root_length = strlen(root);
    for (;;) {
        int quota = folder_quota(folder, version2);
        least = smaller(least, quota);
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root_length) {
            return least;
        }
        *slash = '\0';
    }
}

/* Does a comma-separated list of controllers name "cpu"? */
static bool names_cpu(const char *controllers) {
    for (const char *s = controllers; *s != '\0';) {
        size_t length = strcspn(s, ",");
        if (length == 3 && strncmp(s, "cpu", 3) == 0) {
            return true;
        }
        s += length + (s[length] == ',');
    }
    return false;
}

/* One hierarchy, mounted under mount/name. */
static int hierarchy_quota(const char *mount, const char *name, const char *group, bool version2) {
    char root[PATH_MAX];
    int length = snprintf(root, sizeof(root), "%s%s%s", mount, name[0] ? "/" : "", name);
    bool fits = length > 0 && (size_t)length < sizeof(root);
    return fits ? path_quota(root, group, version2) : INT_MAX;
}

/* Lines are "hierarchy:controllers:path"; version 2 is "0::path", alone or beside version 1. In a
 * container the path may be one of the machine outside, which is not mounted here: then only the
 * root of the mount is found, which is the container's own group. */
int lamina__cgroup_processors(const char *groups_file, const char *mount) {
    FILE *file = fopen(groups_file, "re");
    char line[PATH_MAX + 128];
    int least = INT_MAX;
    if (file == NULL) {
        return least;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) {
            continue;
        }
        *controllers++ = '\0';
        *group++ = '\0';
        if (controllers[0] == '\0') {
            least = smaller(least, hierarchy_quota(mount, "", group, true));
            least = smaller(least, hierarchy_quota(mount, "unified", group, true));
        } else if (names_cpu(controllers)) {
            least = smaller(least, hierarchy_quota(mount, "cpu", group, false));
            least = smaller(least, hierarchy_quota(mount, controllers, group, false));
        }
    }
    fclose(file);
    return least;
}

int lamina__processors(void) {
    int affinity = affinity_processors();
    int quota = lamina__cgroup_processors("/proc/self/cgroup", "/sys/fs/cgroup");
    int processors = smaller(quota, affinity < 1 ? omp_get_num_procs() : affinity);
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

WITH_REGION void lamina__parallel(int threads, lamina__thread_fn *fn, void *arg) {
    const region work = {fn, arg};
    if (threads <= 1) {
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

void lamina__barrier(void) {
    tell_release(&barrier_point);
#pragma omp barrier
    tell_acquire(&barrier_point);
}
