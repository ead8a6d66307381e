/* The folder of a run. Only files that a run itself names are ever removed, and never a folder with
 * anything else in it. */
#include "train/run_dir.h"

#include "base/alloc.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

bool lamina__same_file(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

static char *joined(const char *folder, const char *name) {
    lamina__text path = {0};
    size_t length = strlen(folder);
    lamina__text_add(&path, "%s%s%s", folder, length > 0 && folder[length - 1] == '/' ? "" : "/",
                     name);
    if (path.failed) {
        lamina__text_free(&path);
    }
    return path.data;
}

lamina_status lamina__run_dir_init(lamina__run_dir *dir, const char *out, lamina_error *error) {
    *dir = (lamina__run_dir){
        .out = lamina__strdup(out),
        .config = joined(out, "config.yaml"),
        .metrics = joined(out, "metrics.jsonl"),
        .checkpoints = joined(out, "checkpoints"),
        .last = joined(out, "checkpoints/last.h5"),
        .best = joined(out, "checkpoints/best.h5"),
        .lock = -1,
    };
    if (!dir->out || !dir->config || !dir->metrics || !dir->checkpoints || !dir->last ||
        !dir->best) {
        lamina__run_dir_free(dir);
        return lamina__fail_memory(error, "the run's file names");
    }
    return LAMINA_OK;
}

void lamina__run_dir_free(lamina__run_dir *dir) {
    if (dir->lock >= 0) {
        close(dir->lock);
    }
    lamina__free(dir->out);
    lamina__free(dir->config);
    lamina__free(dir->metrics);
    lamina__free(dir->checkpoints);
    lamina__free(dir->last);
    lamina__free(dir->best);
    *dir = (lamina__run_dir){.lock = -1};
}

bool lamina__run_dir_holds_run(const lamina__run_dir *dir) {
    struct stat info;
    return lstat(dir->config, &info) == 0 || lstat(dir->metrics, &info) == 0 ||
           lstat(dir->last, &info) == 0 || lstat(dir->best, &info) == 0;
}

bool lamina__run_dir_owns(const lamina__run_dir *dir, const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? lamina__strndup(path, (size_t)(slash - path) + 1) : lamina__strdup(".");
    bool same = folder != NULL && lamina__same_file(dir->checkpoints, folder);
    lamina__free(folder);
    return same;
}

/* mkdir -p */
static lamina_status make_folders(const char *path, lamina_error *error) {
    lamina_status status = LAMINA_OK;
    char *copy = lamina__strdup(path);
    if (copy == NULL) {
        return lamina__fail_memory(error, path);
    }
    for (char *at = copy + 1; status == LAMINA_OK; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char end = *at;
        *at = '\0';
        struct stat info;
        if (mkdir(copy, 0777) != 0 && (errno != EEXIST || stat(copy, &info) != 0 ||
                                       (!S_ISDIR(info.st_mode) && (errno = ENOTDIR)))) {
            status = lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot make the folder: %s", copy,
                                  strerror(errno));
        }
        *at = end;
        if (end == '\0') {
            break;
        }
    }
    lamina__free(copy);
    return status;
}

/* What killed processes left behind: whoever holds the lock knows that nobody writes it now. */
static void remove_temporaries(const lamina__run_dir *dir) {
    DIR *folder = opendir(dir->checkpoints);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (entry->d_name[0] == '.' && length > 5 &&
            strcmp(entry->d_name + length - 4, ".tmp") == 0) {
            unlinkat(dirfd(folder), entry->d_name, 0);
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

lamina_status lamina__run_dir_make(lamina__run_dir *dir, lamina_error *error) {
    lamina_status status = make_folders(dir->checkpoints, error);
    if (status != LAMINA_OK) {
        return status;
    }
    dir->lock = open(dir->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Where a file system knows no locks, there is none. */
    if (dir->lock >= 0 && flock(dir->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return lamina__fail(error, LAMINA_ERROR_USAGE,
                            "%s: another lamina is training there; wait for it, or give another "
                            "folder with --out",
                            dir->out);
    }
    remove_temporaries(dir);
    return LAMINA_OK;
}

/* ---- Epoch checkpoints ----------------------------------------------------------------------- */

char *lamina__run_dir_epoch_path(const lamina__run_dir *dir, int64_t epoch) {
    char name[64];
    snprintf(name, sizeof(name), "epoch-%04" PRId64 ".h5", epoch);
    return joined(dir->checkpoints, name);
}

/* "epoch-0012.h5" -> 12; anything that a run would not have named so -> -1. */
static int64_t epoch_of(const char *name) {
    char again[64];
    if (strncmp(name, "epoch-", 6) != 0 || name[6] < '0' || name[6] > '9') {
        return -1;
    }
    int64_t epoch = strtoll(name + 6, NULL, 10);
    snprintf(again, sizeof(again), "epoch-%04" PRId64 ".h5", epoch);
    return strcmp(name, again) == 0 ? epoch : -1;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int64_t *lamina__run_dir_epochs(const lamina__run_dir *dir, size_t *count) {
    void *epochs = NULL;
    size_t capacity = 0;
    *count = 0;
    DIR *folder = opendir(dir->checkpoints);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        int64_t epoch = epoch_of(entry->d_name);
        if (epoch >= 0 && lamina__grow(&epochs, &capacity, *count + 1, sizeof(int64_t)) == 0) {
            ((int64_t *)epochs)[(*count)++] = epoch;
        }
    }
    if (folder != NULL) {
        closedir(folder);
    }
    if (*count > 0) {
        qsort(epochs, *count, sizeof(int64_t), newest_first);
    }
    return epochs;
}

static void remove_epoch(const lamina__run_dir *dir, int64_t epoch) {
    char *path = lamina__run_dir_epoch_path(dir, epoch);
    if (path != NULL) {
        unlink(path);
    }
    lamina__free(path);
}

void lamina__run_dir_prune(const lamina__run_dir *dir, int64_t epoch, int64_t keep) {
    size_t count;
    int64_t *epochs = lamina__run_dir_epochs(dir, &count), kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (epochs[i] <= epoch && ++kept > keep) {
            remove_epoch(dir, epochs[i]);
        }
    }
    lamina__free(epochs);
}

lamina_status lamina__run_dir_clear(const lamina__run_dir *dir, lamina_error *error) {
    const char *files[] = {dir->config, dir->metrics, dir->last, dir->best};
    size_t count;
    int64_t *epochs = lamina__run_dir_epochs(dir, &count);
    for (size_t i = 0; i < count; i++) {
        remove_epoch(dir, epochs[i]);
    }
    lamina__free(epochs);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (unlink(files[i]) != 0 && errno != ENOENT) {
            return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot remove: %s", files[i],
                                strerror(errno));
        }
    }
    return LAMINA_OK;
}

bool lamina__run_dir_link(const lamina__run_dir *dir, const char *file, const char *name) {
    char *path = joined(dir->checkpoints, ".link.tmp");
    bool linked = path != NULL && (unlink(path) == 0 || errno == ENOENT) && link(file, path) == 0 &&
                  rename(path, name) == 0;
    if (path != NULL) {
        unlink(path); /* rename leaves it where both are names of one file already */
    }
    int folder = linked ? open(dir->checkpoints, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder >= 0) {
        linked = fsync(folder) == 0 || errno == EINVAL;
        close(folder);
    }
    lamina__free(path);
    return linked;
}
