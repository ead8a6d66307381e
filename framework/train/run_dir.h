/* The folder of a run: its file names, whether it holds a run already, the lock of the process that
 * trains in it, and which epoch checkpoints are kept. */
#ifndef LAMINA_TRAIN_RUN_DIR_H
#define LAMINA_TRAIN_RUN_DIR_H

#include "base/error.h"

#include <stdbool.h>

typedef struct lamina__run_dir {
    char *out, *config, *metrics, *checkpoints, *last, *best;
    int lock; /* -1: not locked */
} lamina__run_dir;

/* Are both there, and one file? */
bool lamina__same_file(const char *a, const char *b);

/* Names only; touches nothing. */
lamina_status lamina__run_dir_init(lamina__run_dir *, const char *out, lamina_error *);
void lamina__run_dir_free(lamina__run_dir *); /* unlocks, too */

bool lamina__run_dir_holds_run(const lamina__run_dir *);
/* Is `path` a file in this run's folder of checkpoints? */
bool lamina__run_dir_owns(const lamina__run_dir *, const char *path);

/* Makes the folders that are missing and locks; an error when another process trains there. */
lamina_status lamina__run_dir_make(lamina__run_dir *, lamina_error *);
/* Removes what a run made, and nothing else. */
lamina_status lamina__run_dir_clear(const lamina__run_dir *, lamina_error *);

/* "out/checkpoints/epoch-0003.h5"; lamina__free. NULL: out of memory. */
char *lamina__run_dir_epoch_path(const lamina__run_dir *, int64_t epoch);
/* The numbers of all epoch checkpoints, newest first; NULL when there are none. lamina__free. */
int64_t *lamina__run_dir_epochs(const lamina__run_dir *, size_t *count);
/* Of the epoch checkpoints up to `epoch` the newest `keep` stay. */
void lamina__run_dir_prune(const lamina__run_dir *, int64_t epoch, int64_t keep);

/* Gives a file a second name, in place of what has that name now, in one step. Returns false where
 * the file system cannot. */
bool lamina__run_dir_link(const lamina__run_dir *, const char *file, const char *name);

#endif
