/* Data files, plain or gzip. Decompression is zlib's inflate, driven by hand instead of through
 * gzread(), because that takes garbage after the stream for its end and asks malloc for memory. */
#include "datasets/file.h"

#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK_BYTES      65536
#define DEFLATE_LIMIT    1032 /* uncompressed bytes for one compressed byte, at the very best */
#define GZIP_WINDOW      (15 + 16) /* zlib: the largest window, gzip header and trailer */
#define MAX_READ         (1 << 30) /* bytes for one read(): Linux stops at 2 GB */
#define GZIP_MAGIC(a, b) ((a) == 0x1f && (b) == 0x8b)

struct lamina__file {
    char *path;
    int fd;
    uint64_t bytes; /* on disk */
    int gzip;
    int inflating;              /* inside a gzip member */
    z_stream z;                 /* z.state is NULL until inflateInit2 */
    uint8_t chunk[CHUNK_BYTES]; /* compressed input */
};

const char *lamina__file_advice(const char *path) {
    if (strstr(path, "fashion") != NULL) {
        return "fetch it again with datasets/fetch.sh fashion-mnist";
    }
    if (strstr(path, "mnist") != NULL) {
        return "fetch it again with datasets/fetch.sh mnist";
    }
    if (strstr(path, "cifar10") != NULL) {
        return "fetch it again with datasets/fetch.sh cifar10";
    }
    return "get the file again from where it came from";
}

static void *zlib_alloc(void *user, unsigned items, unsigned size) {
    (void)user;
    return lamina__calloc(items, size);
}

static void zlib_free(void *user, void *memory) {
    (void)user;
    lamina__free(memory);
}

/* ---- Opening ------------------------------------------------------------------------------- */

/* Never waits (as for the other end of a pipe); -1 with errno. */
static int open_path(const char *path) {
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* Fills file->path and file->fd. */
static lamina_status open_either(const char *path, lamina__file *file, lamina_error *error) {
    size_t length = strlen(path);
    file->path = lamina__alloc(length + sizeof(".gz"));
    if (file->path == NULL) {
        return lamina__fail_memory(error, "the path of a data file");
    }
    memcpy(file->path, path, length + 1);
    file->fd = open_path(file->path);
    if (file->fd < 0 && errno == ENOENT) {
        memcpy(file->path + length, ".gz", sizeof(".gz"));
        file->fd = open_path(file->path);
        if (file->fd < 0 && errno == ENOENT) {
            return lamina__fail(error, LAMINA_ERROR_IO,
                                "%s: there is no such file, with .gz or without; %s", path,
                                lamina__file_advice(path));
        }
    }
    if (file->fd < 0) {
        return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot open: %s", file->path,
                            strerror(errno));
    }
    return LAMINA_OK;
}

static lamina_status check_kind(lamina__file *file, lamina_error *error) {
    struct stat info;
    if (fstat(file->fd, &info) != 0) {
        return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot read: %s", file->path,
                            strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return lamina__fail(error, LAMINA_ERROR_IO,
                            "%s: is a folder; name the file in it that holds the data", file->path);
    }
    if (!S_ISREG(info.st_mode)) {
        return lamina__fail(error, LAMINA_ERROR_IO,
                            "%s: is no regular file; copy the data into one", file->path);
    }
    file->bytes = (uint64_t)info.st_size;
    return LAMINA_OK;
}

/* *got < n only at the end of the file. */
static lamina_status read_raw(lamina__file *file, void *dst, size_t n, size_t *got,
                              lamina_error *error) {
    *got = 0;
    while (*got < n) {
        size_t want = n - *got < MAX_READ ? n - *got : MAX_READ;
        ssize_t count = read(file->fd, (char *)dst + *got, want);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot read: %s", file->path,
                                strerror(errno));
        }
        if (count == 0) {
            break;
        }
        *got += (size_t)count;
    }
    return LAMINA_OK;
}

/* The first bytes stay in chunk, as input for either kind. */
static lamina_status detect_gzip(lamina__file *file, lamina_error *error) {
    size_t got;
    lamina_status status = read_raw(file, file->chunk, 2, &got, error);
    if (status != LAMINA_OK) {
        return status;
    }
    file->z.next_in = file->chunk;
    file->z.avail_in = (unsigned)got;
    file->gzip = got == 2 && GZIP_MAGIC(file->chunk[0], file->chunk[1]);
    if (!file->gzip) {
        return LAMINA_OK;
    }
    file->z.zalloc = zlib_alloc;
    file->z.zfree = zlib_free;
    if (inflateInit2(&file->z, GZIP_WINDOW) != Z_OK) {
        return lamina__fail_memory(error, "decompression of a data file");
    }
    file->inflating = 1;
    return LAMINA_OK;
}

lamina_status lamina__file_open(const char *path, lamina__file **result, lamina_error *error) {
    lamina_status status;
    *result = NULL;
    lamina__file *file = lamina__alloc(sizeof(*file));
    if (file == NULL) {
        return lamina__fail_memory(error, "a data file's buffer");
    }
    memset(file, 0, offsetof(lamina__file, chunk));
    file->fd = -1;

    if ((status = open_either(path, file, error)) != LAMINA_OK ||
        (status = check_kind(file, error)) != LAMINA_OK ||
        (status = detect_gzip(file, error)) != LAMINA_OK) {
        lamina__file_close(file);
        return status;
    }
    *result = file;
    return LAMINA_OK;
}

void lamina__file_close(lamina__file *file) {
    if (file == NULL) {
        return;
    }
    if (file->z.state != NULL) {
        inflateEnd(&file->z);
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    lamina__free(file->path);
    lamina__free(file);
}

const char *lamina__file_path(const lamina__file *file) {
    return file->path;
}

uint64_t lamina__file_bytes(const lamina__file *file) {
    return file->bytes;
}

int lamina__file_can_hold(const lamina__file *file, uint64_t bytes) {
    return file->gzip ? bytes / DEFLATE_LIMIT <= file->bytes : bytes <= file->bytes;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static lamina_status read_plain(lamina__file *file, uint8_t *dst, size_t n, size_t *got,
                                lamina_error *error) {
    size_t first = file->z.avail_in < n ? file->z.avail_in : n;
    memcpy(dst, file->z.next_in, first);
    file->z.next_in += first;
    file->z.avail_in -= (unsigned)first;
    lamina_status status = read_raw(file, dst + first, n - first, got, error);
    *got += first;
    return status;
}

/* Makes at least `wanted` (1 or 2) bytes of input available unless the file ends before. */
static lamina_status fill_input(lamina__file *file, unsigned wanted, lamina_error *error) {
    if (file->z.avail_in >= wanted) {
        return LAMINA_OK;
    }
    size_t kept = file->z.avail_in, got;
    memmove(file->chunk, file->z.next_in, kept);
    lamina_status status = read_raw(file, file->chunk + kept, CHUNK_BYTES - kept, &got, error);
    file->z.next_in = file->chunk;
    file->z.avail_in = (unsigned)(kept + got);
    return status;
}

/* At the end of a gzip member: the file ends here, or another member follows, as pigz and bgzip
 * write them. */
static lamina_status next_member(lamina__file *file, lamina_error *error) {
    lamina_status status = fill_input(file, 2, error);
    if (status != LAMINA_OK) {
        return status;
    }
    file->inflating = 0;
    if (file->z.avail_in == 0) {
        return LAMINA_OK;
    }
    const uint8_t *in = file->z.next_in;
    if (file->z.avail_in < 2 || !GZIP_MAGIC(in[0], in[1]) || inflateReset(&file->z) != Z_OK) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: something that is not gzip follows the compressed data; %s",
                            file->path, lamina__file_advice(file->path));
    }
    file->inflating = 1;
    return LAMINA_OK;
}

static lamina_status inflate_error(const lamina__file *file, int code, lamina_error *error) {
    if (code == Z_MEM_ERROR) {
        return lamina__fail_memory(error, "decompression of a data file");
    }
    return lamina__fail(error, LAMINA_ERROR_DATA, "%s: the compressed data is damaged (%s); %s",
                        file->path, file->z.msg ? file->z.msg : "no gzip stream",
                        lamina__file_advice(file->path));
}

static lamina_status read_gzip(lamina__file *file, uint8_t *dst, size_t n, size_t *got,
                               lamina_error *error) {
    lamina_status status;
    *got = 0;
    while (*got < n && file->inflating) {
        if ((status = fill_input(file, 1, error)) != LAMINA_OK) {
            return status;
        }
        size_t room = n - *got < INT_MAX ? n - *got : INT_MAX;
        unsigned had = file->z.avail_in;
        file->z.next_out = dst + *got;
        file->z.avail_out = (unsigned)room;
        int code = inflate(&file->z, Z_NO_FLUSH);
        *got += room - file->z.avail_out;
        if (code == Z_STREAM_END) {
            if ((status = next_member(file, error)) != LAMINA_OK) {
                return status;
            }
        } else if (had == 0 && file->z.avail_out == room) {
            return lamina__fail(error, LAMINA_ERROR_DATA,
                                "%s: the compressed data is cut short; %s", file->path,
                                lamina__file_advice(file->path));
        } else if (code != Z_OK) {
            return inflate_error(file, code, error);
        }
    }
    return LAMINA_OK;
}

lamina_status lamina__file_read(lamina__file *file, void *dst, size_t n, size_t *got,
                                lamina_error *error) {
    return file->gzip ? read_gzip(file, dst, n, got, error) : read_plain(file, dst, n, got, error);
}
