/* Memory: how much of it this process can still have. */
#ifndef LAMINA_BASE_MEMORY_H
#define LAMINA_BASE_MEMORY_H

#include <stdint.h>

/* Bytes that this process can use beside what it has now: the least of what the machine has left,
 * what the process's cgroups leave it, and its limit on address space. INT64_MAX when nothing is
 * known. An estimate: other processes take and give, too. */
int64_t lamina__memory_available(void);

/* Its parts. What the machine has left, by meminfo ("/proc/meminfo"): memory, what caches would
 * give back, and free swap space. */
int64_t lamina__machine_memory(const char *meminfo);
/* What the groups leave: see lamina__cgroup_least. Their caches are given back, too. */
int64_t lamina__cgroup_memory(const char *groups_file, const char *mount);

#endif
