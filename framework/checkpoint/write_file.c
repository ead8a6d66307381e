/* Puts a file in place in one step, so that its name always shows a whole file: the old one or the
 * new one, whatever happens in between.
 *
 *     write .<name>.<pid>.tmp in the same folder, fsync     the data is on the disk
 *     read it back and compare                              and it is the right data
 *     rename it to <name>, fsync the folder                 and so is its name
 *
 * A process that is killed leaves its temporary behind. While a temporary is being written its
 * writer holds a lock on it (flock), which ends with the process: so the next save of the same name
 * knows which temporaries are left from the dead, and removes them. */
#include "checkpoint/checkpoint.h"

#include "base/alloc.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COMPARE_BYTES (1u << 20)

typedef struct target {
    const char *given; /* the path as the caller wrote it, for messages */
    char path[PATH_MAX], folder[PATH_MAX], name[NAME_MAX + 1];
    char temporary[PATH_MAX + 2 * NAME_MAX];
    const lamina__piece *pieces;
    size_t n_pieces;
    uint64_t length; /* of all pieces */
    bool replaces;   /* there is an old file */
    bool made;       /* there is a temporary that is ours */
    int fd;
} target;

static lamina_status failed(const target *t, const char *what, int reason, lamina_error *error) {
    char space[160] = "";
    struct statvfs disk;
    if (reason == ENOSPC && statvfs(t->folder, &disk) == 0) {
        snprintf(space, sizeof(space), " (%llu bytes needed, %llu free)",
                 (unsigned long long)t->length,
                 (unsigned long long)disk.f_bavail * (unsigned long long)disk.f_frsize);
    } else if (reason == ENOSPC || reason == EFBIG || reason == EDQUOT) {
        snprintf(space, sizeof(space), " (%llu bytes needed)", (unsigned long long)t->length);
    }
    return lamina__fail(error, LAMINA_ERROR_IO, "%s: %s: %s%s; %s", t->given, what,
                        strerror(reason), space,
                        t->replaces ? "the old file is intact" : "nothing was written");
}

/* ---- Where it goes ------------------------------------------------------------------------- */

/* Follows a symbolic link, so that the link stays and what it names is replaced; refuses to replace
 * a folder or a device. */
static lamina_status find_place(target *t, lamina_error *error) {
    struct stat info;
    char copy[PATH_MAX];
    if (strlen(t->given) >= sizeof(t->path)) {
        return failed(t, "cannot write", ENAMETOOLONG, error);
    }
    snprintf(t->path, sizeof(t->path), "%s", t->given);
    if (lstat(t->given, &info) == 0 && S_ISLNK(info.st_mode) &&
        (realpath(t->given, t->path) == NULL || stat(t->path, &info) != 0)) {
        return failed(t, "cannot follow the link", errno, error);
    }
    t->replaces = stat(t->path, &info) == 0;
    if (t->replaces && !S_ISREG(info.st_mode)) {
        t->replaces = false;
        return lamina__fail(error, LAMINA_ERROR_IO, "%s: is %s; give the name of a file", t->given,
                            S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    }
    memcpy(copy, t->path, sizeof(copy));
    snprintf(t->folder, sizeof(t->folder), "%s", dirname(copy));
    memcpy(copy, t->path, sizeof(copy));
    const char *name = basename(copy);
    if (strlen(name) + sizeof(".2147483647.tmp.") > sizeof(t->name)) {
        return failed(t, "cannot write", ENAMETOOLONG, error);
    }
    snprintf(t->name, sizeof(t->name), "%s", name);
    snprintf(t->temporary, sizeof(t->temporary), "%s/.%s.%ld.tmp", t->folder, t->name,
             (long)getpid());
    return LAMINA_OK;
}

/* ".<name>.<digits>.tmp" */
static bool is_temporary_of(const char *entry, const char *name) {
    size_t length = strlen(name);
    if (entry[0] != '.' || strncmp(entry + 1, name, length) != 0 || entry[length + 1] != '.') {
        return false;
    }
    const char *digits = entry + length + 2;
    size_t n = strspn(digits, "0123456789");
    return n > 0 && strcmp(digits + n, ".tmp") == 0;
}

/* Removes what killed processes left. Only tidying: what cannot be removed stays. */
static void remove_stale(const target *t) {
    DIR *folder = opendir(t->folder);
    const struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (!is_temporary_of(entry->d_name, t->name)) {
            continue;
        }
        int fd = openat(dirfd(folder), entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlinkat(dirfd(folder), entry->d_name, 0);
        }
        close(fd);
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

/* ---- The steps ----------------------------------------------------------------------------- */

static lamina_status make_temporary(target *t, lamina_error *error) {
    t->fd = open(t->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (t->fd < 0) {
        return failed(t, "cannot write in its folder", errno, error);
    }
    t->made = true;
    flock(t->fd, LOCK_EX | LOCK_NB); /* where locks do not work, nothing is tidied up later */
    return LAMINA_OK;
}

static lamina_status write_all(target *t, lamina_error *error) {
    for (size_t i = 0; i < t->n_pieces; i++) {
        const char *bytes = t->pieces[i].bytes;
        size_t left = t->pieces[i].length;
        while (left > 0) {
            ssize_t n = write(t->fd, bytes, left);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n <= 0) {
                return failed(t, "cannot write", n < 0 ? errno : EIO, error);
            }
            bytes += n;
            left -= (size_t)n;
        }
    }
    return fsync(t->fd) == 0 ? LAMINA_OK : failed(t, "cannot write to the disk", errno, error);
}

/* Bytes at `offset` of the file against a part of one piece. */
static lamina_status compare_part(const target *t, uint64_t offset, const char *expected,
                                  size_t length, char *buffer, lamina_error *error) {
    size_t got = 0;
    while (got < length) {
        ssize_t n = pread(t->fd, buffer + got, length - got, (off_t)(offset + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return failed(t, "cannot be read back", errno, error);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    if (got < length || memcmp(buffer, expected, length) != 0) {
        return failed(t, "the disk gave back other data than was written", EIO, error);
    }
    return LAMINA_OK;
}

static lamina_status read_back(const target *t, lamina_error *error) {
    struct stat info;
    if (fstat(t->fd, &info) != 0 || (uint64_t)info.st_size != t->length) {
        return failed(t, "the file has not the length that was written", EIO, error);
    }
    char *buffer = lamina__alloc(COMPARE_BYTES);
    if (buffer == NULL) {
        return lamina__fail_memory(error, "reading back a file");
    }
    /* Out of the page cache, so that the data comes from the disk; only a hint. */
    posix_fadvise(t->fd, 0, 0, POSIX_FADV_DONTNEED);
    lamina_status status = LAMINA_OK;
    uint64_t offset = 0;
    for (size_t i = 0; i < t->n_pieces && status == LAMINA_OK; i++) {
        const char *bytes = t->pieces[i].bytes;
        size_t left = t->pieces[i].length;
        while (left > 0 && status == LAMINA_OK) {
            size_t part = left < COMPARE_BYTES ? left : COMPARE_BYTES;
            status = compare_part(t, offset, bytes, part, buffer, error);
            bytes += part;
            offset += part;
            left -= part;
        }
    }
    lamina__free(buffer);
    return status;
}

static lamina_status put_in_place(target *t, lamina_error *error) {
    int fd = t->fd;
    t->fd = -1;
    if (close(fd) != 0 && errno != EINTR) { /* the data is on the disk already */
        return failed(t, "cannot close", errno, error);
    }
    if (rename(t->temporary, t->path) != 0) {
        return failed(t, "cannot rename its temporary file", errno, error);
    }
    t->made = false;
    int folder = open(t->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot fsync a folder (EINVAL) or let us search but not read it. */
    bool synced = folder < 0 ? errno == EACCES : fsync(folder) == 0 || errno == EINVAL;
    int reason = errno;
    if (folder >= 0) {
        close(folder);
    }
    return synced ? LAMINA_OK
                  : lamina__fail(error, LAMINA_ERROR_IO,
                                 "%s: is written, but its folder cannot be brought to the disk: %s",
                                 t->given, strerror(reason));
}

lamina_status lamina__write_pieces(const char *path, const lamina__piece *pieces, size_t n_pieces,
                                   lamina_error *error) {
    target *t = lamina__calloc(1, sizeof(*t));
    if (t == NULL) {
        return lamina__fail_memory(error, "writing a file");
    }
    t->given = path;
    t->pieces = pieces;
    t->n_pieces = n_pieces;
    t->fd = -1;
    for (size_t i = 0; i < n_pieces; i++) {
        t->length += pieces[i].length;
    }

    lamina_status status = find_place(t, error);
    if (status != LAMINA_OK) {
        goto done;
    }
    remove_stale(t);
    if ((status = make_temporary(t, error)) != LAMINA_OK ||
        (status = write_all(t, error)) != LAMINA_OK ||
        (status = read_back(t, error)) != LAMINA_OK) {
        goto done;
    }
    status = put_in_place(t, error);
done:
    if (t->fd >= 0) {
        close(t->fd);
    }
    if (t->made) {
        unlink(t->temporary);
    }
    lamina__free(t);
    return status;
}

lamina_status lamina__write_file(const char *path, const void *bytes, size_t length,
                                 lamina_error *error) {
    const lamina__piece piece = {bytes, length};
    return lamina__write_pieces(path, &piece, 1, error);
}
