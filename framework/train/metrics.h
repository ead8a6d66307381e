/* metrics.jsonl: one JSON object on each line, appended as things happen. A line is whole or not
 * there; on resume the lines of what is trained again are taken out, so that the file of a resumed
 * run is that of an uninterrupted one, but for the times.
 *
 *   {"event":"step","epoch":..,"step":..,"train_loss":..,"learning_rate":..,..}
 *   {"event":"epoch","epoch":..,"step":..,"train_loss":..,"test_loss":..,"test_accuracy":..,..}
 *
 * A value that there is not, such as the accuracy of a network without labels or what was not
 * tested, is null. An epoch's line ends with "test_<name>" for each metric of the network. */
#ifndef LAMINA_TRAIN_METRICS_H
#define LAMINA_TRAIN_METRICS_H

#include "checkpoint/checkpoint.h"

typedef struct lamina__metrics_log {
    int fd; /* -1: not open */
    const char *path;
    lamina__text line;
} lamina__metrics_log;

/* Keeps what the checkpoint knows of: "step" lines up to its step, "epoch" lines up to its epoch. A
 * file that is not there is made, with the epochs that the checkpoint remembers. */
lamina_status lamina__metrics_rewind(const char *path, const lamina__progress *,
                                     const lamina__metrics metrics[2], lamina_error *);

lamina_status lamina__metrics_open(lamina__metrics_log *, const char *path, lamina_error *);
void lamina__metrics_close(lamina__metrics_log *);

/* row: of this step's batch. */
lamina_status lamina__metrics_step(lamina__metrics_log *, const lamina__metrics_row *,
                                   lamina_error *);
/* test: NULL without a test split. names: of its metrics, n of them. On the disk when this returns.
 */
lamina_status lamina__metrics_epoch(lamina__metrics_log *, const lamina__metrics_row *train,
                                    const lamina__metrics_row *test, char *const *names, size_t n,
                                    lamina_error *);

#endif
