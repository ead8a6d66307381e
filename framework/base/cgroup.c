/* The way from a process's control groups up to the root of each hierarchy. What a limit is, and
 * which file holds it, the caller knows. */
#include "base/cgroup.h"

#include <limits.h>
#include <string.h>

FILE *lamina__open_in(const char *folder, const char *name) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof(path) ? fopen(path, "re") : NULL;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The smallest limit on the way from root/group up to root: each ancestor's counts. */
static int64_t path_least(const char *root, const char *group, bool version2,
                          lamina__group_limit_fn *limit) {
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof(folder), "%s%s", root, group);
    if (length < 0 || (size_t)length >= sizeof(folder)) {
        return INT64_MAX;
    }
    int64_t least = INT64_MAX;
    size_t root_length = strlen(root);
    for (;;) {
        least = smaller(least, limit(folder, version2));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root_length) {
            return least;
        }
        *slash = '\0';
    }
}

/* Does a comma-separated list of controllers name this one? */
static bool names(const char *controllers, const char *controller) {
    for (const char *s = controllers; *s != '\0';) {
        size_t length = strcspn(s, ",");
        if (length == strlen(controller) && strncmp(s, controller, length) == 0) {
            return true;
        }
        s += length + (s[length] == ',');
    }
    return false;
}

/* One hierarchy, mounted under mount/name. */
static int64_t hierarchy_least(const char *mount, const char *name, const char *group,
                               bool version2, lamina__group_limit_fn *limit) {
    char root[PATH_MAX];
    int length = snprintf(root, sizeof(root), "%s%s%s", mount, name[0] ? "/" : "", name);
    bool fits = length > 0 && (size_t)length < sizeof(root);
    return fits ? path_least(root, group, version2, limit) : INT64_MAX;
}

/* Lines are "hierarchy:controllers:path"; version 2 is "0::path", alone or beside version 1. In a
 * container the path may be one of the machine outside, which is not mounted here: then only the
 * root of the mount is found, which is the container's own group. */
int64_t lamina__cgroup_least(const char *groups_file, const char *mount, const char *controller,
                             lamina__group_limit_fn *limit) {
    FILE *file = fopen(groups_file, "re");
    char line[PATH_MAX + 128];
    int64_t least = INT64_MAX;
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
            least = smaller(least, hierarchy_least(mount, "", group, true, limit));
            least = smaller(least, hierarchy_least(mount, "unified", group, true, limit));
        } else if (names(controllers, controller)) {
            least = smaller(least, hierarchy_least(mount, controller, group, false, limit));
            least = smaller(least, hierarchy_least(mount, controllers, group, false, limit));
        }
    }
    fclose(file);
    return least;
}
