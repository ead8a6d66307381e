/* A run: training an experiment in an output folder, with metrics, checkpoints and resume.
 *
 * out/config.yaml (resolved), out/metrics.jsonl, out/checkpoints/{last,best,epoch-0003}.h5. The
 * folder is made only when config and data have been found good. */
#ifndef LAMINA_TRAIN_RUN_H
#define LAMINA_TRAIN_RUN_H

#include "checkpoint/checkpoint.h"
#include "train/experiment.h"

/* What happens, told as it happens; the command line prints it. */
typedef enum lamina__event_kind {
    LAMINA__EVENT_START = 1, /* the plan is built, nothing was trained yet */
    LAMINA__EVENT_STEP,      /* after each step (cheap: only a live line needs it) */
    LAMINA__EVENT_EPOCH,     /* an epoch is finished and tested */
    LAMINA__EVENT_CHECKPOINT /* one was written: path */
} lamina__event_kind;

typedef struct lamina__event {
    lamina__event_kind kind;
    int64_t epoch, epochs;             /* epoch: from 1, the one that runs or has just finished */
    int64_t step;                      /* steps done in all */
    int64_t steps_of_epoch;            /* in a whole epoch */
    int64_t step_of_epoch;             /* done */
    bool classifies;                   /* there is an accuracy: a loss takes labels */
    double train_loss, train_accuracy; /* mean over this epoch so far */
    double test_loss, test_accuracy;   /* EPOCH; NaN without a test split */
    const double *test_metrics;        /* EPOCH: of the net's metrics; NULL without a test split */
    double learning_rate, images_per_second, seconds;
    bool best; /* EPOCH: the best so far */
    bool resumed;
    const char *path; /* CHECKPOINT, START: the checkpoint resumed from or NULL */
    const lamina__net *net;
} lamina__event;

typedef void lamina__event_fn(void *user, const lamina__event *);

typedef struct lamina__run_options {
    const char *out; /* folder */
    bool resume;     /* go on from resume_from, or out/checkpoints/last.h5 when that is NULL */
    const char *resume_from;
    bool overwrite; /* a run that is there already is removed first */
    int threads;    /* 0: default */
    const char *kernels;
    bool measure;      /* the plan of a new run; see lamina__prepare_options */
    const char *cache; /* likewise */
    lamina__event_fn *on_event;
    void *user;
    const volatile int *stop; /* becomes a signal's number when the run shall end after this step */
} lamina__run_options;

/* Trains to the end. LAMINA_OK; LAMINA_ERROR_INTERRUPTED after *stop (a checkpoint of that very
 * step was written); LAMINA_ERROR_NOTHING_TO_DO when the checkpoint is at the end already;
 * LAMINA_ERROR_NUMERIC; config errors in diags. */
lamina_status lamina__run(const lamina__experiment *, const lamina__run_options *, lamina__diags *,
                          lamina_error *);

/* The mean of what a result counted; NaN where it counted nothing. */
double lamina__result_accuracy(const lamina__result *);
double lamina__result_metric(const lamina__result *, int32_t metric);

/* Sums over a whole source, in order. confusion: classes x classes counts, rows by label, or NULL
 * (and where no loss takes labels). stop: as above, or NULL; LAMINA_ERROR_INTERRUPTED between two
 * batches. */
lamina_status lamina__evaluate(lamina__net *, const lamina__source *, const lamina__normalize *,
                               int64_t batch, int64_t classes, int64_t *confusion,
                               const volatile int *stop, lamina__result *, lamina_error *);

#endif
