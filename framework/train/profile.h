/* A profile: the training of an experiment, or its evaluation, run for a while in memory to see
 * where the time of a step goes. The same net, loader and optimizer as in a run; no folder, no
 * file. */
#ifndef LAMINA_TRAIN_PROFILE_H
#define LAMINA_TRAIN_PROFILE_H

#include "graph/clock.h"
#include "train/experiment.h"

typedef struct lamina__profile_options {
    int threads; /* 0: default */
    const char *kernels;
    bool measure; /* see lamina__prepare_options, and cache */
    const char *cache;
    int64_t steps;  /* to measure without the clock, and again with it; 0: for about a second */
    bool inference; /* evaluate, instead of train: on the test split if there is one */
} lamina__profile_options;

/* All steps have a full batch: the rest of an epoch that is none is left out. A step is to wait for
 * its batch, and to train on it or evaluate it. */
typedef struct lamina__profile {
    lamina__prepared prepared; /* the net's clock has counted the steps with the clock */
    int64_t batch;             /* samples */
    int64_t steps;             /* with the clock, and without */
    /* Without the clock, the medians of: */
    double step_seconds;
    double net_seconds; /* the step without the wait for its batch */
    /* With the clock, the means: */
    double total;           /* of a step, and all that follows adds up to it */
    lamina__net_times part; /* of the net; other: also what the loop did between steps */
    double data_wait;
    double peak; /* float32 operations a second that the threads can do; measured */
} lamina__profile;

lamina_status lamina__profile_run(const lamina__experiment *, const lamina__profile_options *,
                                  lamina__profile *, lamina__diags *, lamina_error *);
void lamina__profile_free(lamina__profile *);

/* Seconds of a step in a pass of a layer, the mean over the threads. */
double lamina__profile_pass(const lamina__profile *, int32_t layer, int pass);

#endif
