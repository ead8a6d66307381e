/* Control groups: what the groups that this process is in, and all above them, allow it. */
#ifndef LAMINA_BASE_CGROUP_H
#define LAMINA_BASE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What the group with this folder allows, read from its files; INT64_MAX when it sets no limit. */
typedef int64_t lamina__group_limit_fn(const char *folder, bool version2);

/* The least that the groups listed in groups_file ("/proc/self/cgroup") and all groups above them
 * allow, version 1 (the hierarchy of that controller, "cpu") and 2, under mount
 * ("/sys/fs/cgroup"). INT64_MAX when there is no limit. */
int64_t lamina__cgroup_least(const char *groups_file, const char *mount, const char *controller,
                             lamina__group_limit_fn *limit);

/* Opens folder/name to read; NULL when it cannot be. */
FILE *lamina__open_in(const char *folder, const char *name);

#endif
