/* metrics.jsonl. Lines are made in one buffer that is kept, so that a logged step allocates
 * nothing, and written with O_APPEND in one call. */
#include "train/metrics.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST_LINE 512

/* ---- Lines --------------------------------------------------------------------------------- */

static void add_number(lamina__text *line, const char *key, double value) {
    lamina__text_add(line, ",\"%s\":", key);
    lamina__text_add_double(line, value, true);
}

static void add_times(lamina__text *line, const lamina__metrics_row *row) {
    add_number(line, "learning_rate", row->learning_rate);
    add_number(line, "images_per_second", round(row->images_per_second * 10) / 10);
    add_number(line, "seconds", round(row->seconds * 1000) / 1000);
}

static void end_line(lamina__text *line) {
    lamina__text_add_bytes(line, "}\n", 2);
}

static void add_step_line(lamina__text *line, const lamina__metrics_row *row) {
    lamina__text_add(line, "{\"event\":\"step\",\"epoch\":%" PRId64 ",\"step\":%" PRId64,
                     row->epoch, row->step);
    add_number(line, "train_loss", row->loss);
    add_times(line, row);
    end_line(line);
}

/* Without a test split its metrics are left out. */
static void add_epoch_line(lamina__text *line, const lamina__metrics_row *train,
                           const lamina__metrics_row *test, char *const *names, size_t n) {
    lamina__text_add(line, "{\"event\":\"epoch\",\"epoch\":%" PRId64 ",\"step\":%" PRId64,
                     train->epoch, train->step);
    add_number(line, "train_loss", train->loss);
    add_number(line, "test_loss", test ? test->loss : NAN);
    add_number(line, "test_accuracy", test ? test->accuracy : NAN);
    add_times(line, train);
    for (size_t m = 0; test != NULL && m < n; m++) {
        lamina__text_add(line, ",\"test_%s\":", names[m]); /* a layer's name needs no escapes */
        lamina__text_add_double(line, test->metrics[m], true);
    }
    end_line(line);
}

/* ---- Writing ------------------------------------------------------------------------------- */

lamina_status lamina__metrics_open(lamina__metrics_log *log, const char *path,
                                   lamina_error *error) {
    log->path = path;
    log->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (log->fd < 0) {
        return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    }
    lamina__text_add(&log->line, "%*s", LONGEST_LINE, ""); /* now, not in a step */
    return log->line.failed ? lamina__fail_memory(error, path) : LAMINA_OK;
}

void lamina__metrics_close(lamina__metrics_log *log) {
    if (log->fd >= 0) {
        close(log->fd);
    }
    lamina__text_free(&log->line);
    log->fd = -1;
}

/* All of the line, or nothing of it. */
static lamina_status write_line(lamina__metrics_log *log, lamina_error *error) {
    struct stat before;
    size_t done = 0;
    if (log->line.failed) {
        return lamina__fail_memory(error, "a line of metrics");
    }
    if (fstat(log->fd, &before) != 0) {
        return lamina__fail(error, LAMINA_ERROR_IO, "%s: %s", log->path, strerror(errno));
    }
    while (done < log->line.length) {
        ssize_t n = write(log->fd, log->line.data + done, log->line.length - done);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int reason = n < 0 ? errno : EIO;
            const char *left = ftruncate(log->fd, before.st_size) == 0 ? "" : ", half a line of it";
            return lamina__fail(error, LAMINA_ERROR_IO,
                                "%s: cannot write%s: %s; make room, then go on with --resume",
                                log->path, left, strerror(reason));
        }
        done += (size_t)n;
    }
    return LAMINA_OK;
}

lamina_status lamina__metrics_step(lamina__metrics_log *log, const lamina__metrics_row *row,
                                   lamina_error *error) {
    log->line.length = 0;
    add_step_line(&log->line, row);
    return write_line(log, error);
}

lamina_status lamina__metrics_epoch(lamina__metrics_log *log, const lamina__metrics_row *train,
                                    const lamina__metrics_row *test, char *const *names, size_t n,
                                    lamina_error *error) {
    log->line.length = 0;
    add_epoch_line(&log->line, train, test, names, n);
    lamina_status status = write_line(log, error);
    if (status == LAMINA_OK && fdatasync(log->fd) != 0 && errno != EINVAL && errno != EROFS) {
        status = lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot write to the disk: %s", log->path,
                              strerror(errno));
    }
    return status;
}

/* ---- Going back to a checkpoint ---------------------------------------------------------------
 */

/* The number behind `"key":`, or -1. */
static int64_t number_in(const char *line, size_t length, const char *key) {
    const char *at = memmem(line, length, key, strlen(key));
    return at == NULL ? -1 : strtoll(at + strlen(key), NULL, 10);
}

static bool stays(const char *line, size_t length, const lamina__progress *progress) {
    int64_t epoch = number_in(line, length, "\"epoch\":");
    int64_t step = number_in(line, length, "\"step\":");
    if (epoch < 0 || step < 0) {
        return false;
    }
    bool whole_epoch = memmem(line, length, "\"event\":\"epoch\"", 15) != NULL;
    return step <= progress->step && (!whole_epoch || epoch <= progress->epoch);
}

/* The whole file; `text` stays empty when there is none. */
static lamina_status read_file(const char *path, lamina__text *text, lamina_error *error) {
    char piece[8192];
    ssize_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? LAMINA_OK
                               : lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot open: %s", path,
                                              strerror(errno));
    }
    while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR)) {
        lamina__text_add_bytes(text, piece, n > 0 ? (size_t)n : 0);
    }
    int reason = errno;
    close(fd);
    if (text->failed) {
        return lamina__fail_memory(error, path);
    }
    return n < 0
               ? lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot read: %s", path, strerror(reason))
               : LAMINA_OK;
}

lamina_status lamina__metrics_rewind(const char *path, const lamina__progress *progress,
                                     const lamina__metrics metrics[2], lamina_error *error) {
    lamina__text old = {0}, kept = {0};
    lamina_status status = read_file(path, &old, error);
    if (status != LAMINA_OK) {
        goto done;
    }
    for (size_t begin = 0; begin < old.length;) {
        const char *line = old.data + begin, *end = memchr(line, '\n', old.length - begin);
        if (end == NULL) {
            break; /* half a line: its writer was killed */
        }
        size_t length = (size_t)(end - line) + 1;
        if (stays(line, length, progress)) {
            lamina__text_add_bytes(&kept, line, length);
        }
        begin += length;
    }
    for (size_t i = 0; old.data == NULL && i < metrics[0].count; i++) {
        add_epoch_line(&kept, &metrics[0].rows[i],
                       i < metrics[1].count ? &metrics[1].rows[i] : NULL, metrics[1].names,
                       metrics[1].n_names);
    }
    if (kept.failed) {
        status = lamina__fail_memory(error, path);
    } else if (old.data == NULL || kept.length != old.length) {
        status = lamina__write_file(path, kept.data ? kept.data : "", kept.length, error);
    }

done:
    lamina__text_free(&old);
    lamina__text_free(&kept);
    return status;
}
