/* How much memory is left. The kernel promises more than there is and kills the process that uses
 * it; so whoever needs a lot of it asks here first. */
#include "base/memory.h"

#include "base/cgroup.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The number behind key in lines "key 4096"; key "": the first of the file. -1: there is none, as
 * in "max". Closes the file, which may be NULL. */
static int64_t read_number(FILE *file, const char *key) {
    char line[256];
    int64_t number = -1;
    size_t length = strlen(key);
    if (file == NULL) {
        return number;
    }
    while (number < 0 && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, length) == 0) {
            char *end;
            long long read = strtoll(line + length, &end, 10);
            number = end != line + length ? read : -1;
        }
    }
    fclose(file);
    return number;
}

static int64_t at_least_zero(int64_t number) {
    return number > 0 ? number : 0;
}

/* ---- The machine --------------------------------------------------------------------------- */

int64_t lamina__machine_memory(const char *meminfo) {
    int64_t available = read_number(fopen(meminfo, "re"), "MemAvailable:"); /* kB */
    int64_t swap = read_number(fopen(meminfo, "re"), "SwapFree:");
    if (available < 0 || available > INT64_MAX / 4096) {
        return INT64_MAX;
    }
    return (available + (swap < INT64_MAX / 4096 ? at_least_zero(swap) : 0)) * 1024;
}

/* ---- Groups -------------------------------------------------------------------------------- */

/* A group's use counts the files it has read, which the kernel drops when memory is short. Version
 * 1 writes a huge number where there is no limit, version 2 "max". */
static int64_t folder_memory(const char *folder, bool version2) {
    const char *limit_file = version2 ? "memory.max" : "memory.limit_in_bytes";
    const char *use_file = version2 ? "memory.current" : "memory.usage_in_bytes";
    int64_t limit = read_number(lamina__open_in(folder, limit_file), "");
    int64_t use = read_number(lamina__open_in(folder, use_file), "");
    if (limit < 0 || limit >= INT64_MAX / 2 || use < 0) {
        return INT64_MAX;
    }
    int64_t active = read_number(lamina__open_in(folder, "memory.stat"),
                                 version2 ? "active_file " : "total_active_file ");
    int64_t inactive = read_number(lamina__open_in(folder, "memory.stat"),
                                   version2 ? "inactive_file " : "total_inactive_file ");
    int64_t cached = smaller(at_least_zero(active), use);
    cached += smaller(at_least_zero(inactive), use - cached);
    return at_least_zero(limit - (use - cached));
}

int64_t lamina__cgroup_memory(const char *groups_file, const char *mount) {
    return lamina__cgroup_least(groups_file, mount, "memory", folder_memory);
}

/* ---- The process --------------------------------------------------------------------------- */

static int64_t address_space(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur > INT64_MAX) {
        return INT64_MAX;
    }
    int64_t pages = read_number(fopen("/proc/self/statm", "re"), "");
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t use = pages > 0 && page > 0 ? pages * page : 0;
    return at_least_zero((int64_t)limit.rlim_cur - use);
}

int64_t lamina__memory_available(void) {
    int64_t machine = lamina__machine_memory("/proc/meminfo");
    int64_t groups = lamina__cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");
    return smaller(address_space(), smaller(machine, groups));
}
