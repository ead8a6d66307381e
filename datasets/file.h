/* A data file, read from front to back: plain, or compressed with gzip, told apart by its first two
 * bytes and not by its name. Readers see the uncompressed bytes either way.
 *
 * Files are read into memory rather than mapped: a mapped file that another program cuts short
 * kills the process (SIGBUS) at some later sample, and what was checked at open might no longer be
 * what is trained on. The data sets this is for fit memory with ease. */
#ifndef LAMINA_DATASETS_FILE_H
#define LAMINA_DATASETS_FILE_H

#include "base/error.h"

typedef struct lamina__file lamina__file;

/* Opens `path`, or `path` with ".gz" appended when there is only that. Whatever is no regular file
 * is refused. */
lamina_status lamina__file_open(const char *path, lamina__file **, lamina_error *);
void lamina__file_close(lamina__file *); /* NULL is fine */

/* The path that was opened, valid until close. */
const char *lamina__file_path(const lamina__file *);
uint64_t lamina__file_bytes(const lamina__file *); /* on disk */

/* Reads the next n bytes; *got < n only at the end of the file. A stream that is damaged, cut
 * short or followed by something else than gzip is LAMINA_ERROR_DATA. */
lamina_status lamina__file_read(lamina__file *, void *dst, size_t n, size_t *got, lamina_error *);

/* Can the file hold `bytes` uncompressed bytes? Exact for a plain file; a compressed one holds at
 * most 1032 times its size, the limit of deflate. Ask before allocating what a header promises. */
int lamina__file_can_hold(const lamina__file *, uint64_t bytes);

/* What to do about a damaged or missing file, to end a message with: "fetch it again with
 * datasets/fetch.sh mnist" for a path that names a data set the script knows. */
const char *lamina__file_advice(const char *path);

#endif
