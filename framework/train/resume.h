/* Is a checkpoint one that this experiment can go on from, exactly? */
#ifndef LAMINA_TRAIN_RESUME_H
#define LAMINA_TRAIN_RESUME_H

#include "checkpoint/checkpoint.h"
#include "train/experiment.h"

/* Everything that needs no data and no net: kind, seed, batch, optimizer, network, and whether
 * anything is left to do (LAMINA_ERROR_NOTHING_TO_DO). `path`: for messages. What differs but may
 * (epochs, learning rate) is logged. */
lamina_status lamina__resume_check_config(const lamina__experiment *, const char *path,
                                          const lamina__checkpoint *, lamina_error *);

/* The data: number of samples and fingerprint of each split. */
lamina_status lamina__resume_check_data(const lamina__prepared *, const char *path,
                                        const lamina__checkpoint *, lamina_error *);

/* The threads to resume with: `asked` if it is not 0. Otherwise, with one shard, as many as before,
 * because kernels that share one call among threads may add in another order; with several shards
 * the threads change nothing, and 0 (the default) is returned. Logs what can keep the result from
 * being the same to the bit: other threads for one shard, another processor or oneDNN. */
int lamina__resume_threads(int asked, const char *path, const lamina__checkpoint *);

#endif
