/* A run: the training loop, and everything around it.
 *
 * The state of a run between two steps is the net's weights and state, the optimizer's slots and
 * one lamina__progress; a checkpoint is exactly these. So a run can stop after any step, also after
 * the last one of an epoch before it was tested (position == count): testing changes nothing, and a
 * resumed run begins with it.
 *
 * At the end of an epoch the order is: line of metrics, epoch checkpoint, best.h5, last.h5. A run
 * killed in between goes on from the older last.h5, takes the line out again, and comes to the same
 * files. Clocks are read for metrics only. */
#include "train/run.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/seconds.h"
#include "train/metrics.h"
#include "train/resume.h"
#include "train/rule.h"
#include "train/run_dir.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct run {
    const lamina__experiment *experiment;
    const lamina__run_options *options;
    lamina_error *error;
    lamina__run_dir dir;
    lamina__metrics_log log;
    char *resumed_from; /* NULL: from the beginning */
    lamina__prepared prepared;
    lamina__loader *loader;
    lamina__optimizer *optimizer;
    lamina__slot slots[LAMINA__MAX_SLOTS];
    size_t n_slots;
    lamina__checkpoint state; /* what a checkpoint holds beside the net and the slots */
    int64_t saved_step;       /* of last.h5; -1: none written or read yet */
    bool saved_whole;         /* last.h5 is of a finished epoch */
    double began;             /* when the run began, less the seconds trained before */
    double epoch_seconds;     /* training alone, of this epoch and process */
    int64_t epoch_images;     /* likewise */
} run;

static bool stop_wanted(const run *r) {
    return r->options->stop != NULL && *r->options->stop != 0;
}

static int64_t train_count(const run *r) {
    return r->prepared.source[0]->count;
}

static bool steps_done(const run *r) {
    int64_t limit = r->experiment->train.max_steps;
    return limit > 0 && r->state.progress.step >= limit;
}

static double learning_rate(const run *r, int64_t step) {
    return lamina__optimizer_learning_rate(&r->experiment->optimizer) *
           lamina__schedule_factor(&r->experiment->schedule, step, r->state.progress.epoch);
}

/* ---- Events -------------------------------------------------------------------------------- */

static lamina__event make_event(const run *r, lamina__event_kind kind) {
    const lamina__progress *progress = &r->state.progress;
    int64_t batch = r->experiment->train.batch, count = train_count(r);
    const bool classifies = lamina__net_label_loss(r->prepared.net) >= 0;
    return (lamina__event){
        .kind = kind,
        .epoch = progress->epoch + 1,
        .epochs = r->experiment->train.epochs,
        .step = progress->step,
        .steps_of_epoch = (count + batch - 1) / batch,
        .step_of_epoch = (progress->position + batch - 1) / batch,
        .classifies = classifies,
        .train_loss = lamina__mean_loss(progress->loss_sum, progress->seen, progress->n_losses,
                                        progress->losses, progress->loss_weights),
        .train_accuracy = progress->labelled > 0
                              ? (double)progress->correct / (double)progress->labelled
                              : (double)NAN,
        .test_loss = NAN,
        .test_accuracy = NAN,
        .learning_rate = learning_rate(r, progress->step),
        .images_per_second = r->epoch_seconds > 0 ? (double)r->epoch_images / r->epoch_seconds : 0,
        .seconds = lamina__seconds() - r->began,
        .resumed = r->resumed_from != NULL,
        .net = r->prepared.net,
    };
}

static void tell(const run *r, const lamina__event *event) {
    if (r->options->on_event != NULL) {
        r->options->on_event(r->options->user, event);
    }
}

/* ---- Checkpoints --------------------------------------------------------------------------- */

static lamina_status save(run *r, const char *path) {
    lamina__event event = make_event(r, LAMINA__EVENT_CHECKPOINT);
    r->state.progress.seconds = event.seconds;
    lamina_status status =
        lamina__checkpoint_save(path, &r->state, r->prepared.net, r->slots, r->n_slots, r->error);
    if (status == LAMINA_OK) {
        event.path = path;
        tell(r, &event);
    }
    return status;
}

static void note_saved(run *r) {
    r->saved_step = r->state.progress.step;
    r->saved_whole = r->state.progress.position == 0;
}

static lamina_status save_last(run *r) {
    lamina_status status = save(r, r->dir.last);
    if (status == LAMINA_OK) {
        note_saved(r);
    }
    return status;
}

/* Gives `name` the file that was just saved as `made`, or saves it anew where there is none or the
 * file system has no links. */
static lamina_status save_as(run *r, const char *made, const char *name) {
    return made != NULL && lamina__run_dir_link(&r->dir, made, name) ? LAMINA_OK : save(r, name);
}

/* At the end of an epoch (progress stands at the beginning of the next). best.h5 comes before
 * last.h5: last.h5 says how good the best is. */
static lamina_status save_epoch(run *r, bool best) {
    const lamina__checkpoint_config *config = &r->experiment->checkpoint;
    int64_t epoch = r->state.progress.epoch;
    bool end = epoch >= r->experiment->train.epochs || steps_done(r);
    bool by_epoch = config->every_epochs > 0 && epoch % config->every_epochs == 0;
    bool by_step = config->every_steps > 0 && r->state.progress.step % config->every_steps == 0;
    bool due = end || by_epoch || by_step;
    const char *made = NULL;
    char *named = NULL;
    lamina_status status = LAMINA_OK;
    if (by_epoch && config->keep > 0) {
        named = lamina__run_dir_epoch_path(&r->dir, epoch);
        status = named ? save(r, named) : lamina__fail_memory(r->error, "a checkpoint's name");
        made = named;
    }
    if (status == LAMINA_OK && best) {
        status = save_as(r, made, r->dir.best);
        made = r->dir.best;
    }
    if (status == LAMINA_OK && due) {
        status = save_as(r, made, r->dir.last);
    }
    if (status == LAMINA_OK && due) {
        note_saved(r);
    }
    if (status == LAMINA_OK && by_epoch) {
        lamina__run_dir_prune(&r->dir, epoch, config->keep);
    }
    lamina__free(named);
    return status;
}

/* ---- The loop ------------------------------------------------------------------------------ */

/* Adds to the message, which names step, layer and tensor, what is left. */
static lamina_status numeric_failure(run *r) {
    lamina_error *error = r->error, told = *r->error;
    char left[512] = "no checkpoint had been written yet";
    if (r->saved_step >= 0) {
        snprintf(left, sizeof(left), "%s of step %" PRId64 " is intact", r->dir.last,
                 r->saved_step);
    } else if (r->resumed_from != NULL) {
        snprintf(left, sizeof(left), "%s is intact", r->resumed_from);
    }
    lamina__fail(error, LAMINA_ERROR_NUMERIC, "epoch %" PRId64 ", %s; %s",
                 r->state.progress.epoch + 1, told.message, left);
    memcpy(error->layer, told.layer, sizeof(error->layer));
    return LAMINA_ERROR_NUMERIC;
}

static lamina_status log_step(run *r, const lamina__result *result, double rate) {
    const lamina__progress *progress = &r->state.progress;
    int64_t every = r->experiment->train.log_every;
    if (every == 0 || progress->step % every != 0) {
        return LAMINA_OK;
    }
    const lamina__metrics_row row = {
        .epoch = progress->epoch + 1,
        .step = progress->step,
        .loss = lamina__result_loss(r->prepared.net, result),
        .accuracy = lamina__result_accuracy(result),
        .learning_rate = rate,
        .seconds = lamina__seconds() - r->began,
        .images_per_second = r->epoch_seconds > 0 ? (double)r->epoch_images / r->epoch_seconds : 0,
    };
    return lamina__metrics_step(&r->log, &row, r->error);
}

static lamina_status train_step(run *r, const lamina__batch *batch) {
    lamina__progress *progress = &r->state.progress;
    lamina__result result = {0};
    double rate = learning_rate(r, progress->step);
    lamina__optimizer_begin(r->optimizer, progress->step, rate);
    lamina_status status =
        lamina__net_train_step(r->prepared.net, batch, progress->step, lamina__optimizer_update,
                               r->optimizer, &result, r->error);
    if (status != LAMINA_OK) {
        return status == LAMINA_ERROR_NUMERIC ? numeric_failure(r) : status;
    }
    progress->step++;
    progress->position += batch->samples;
    progress->loss_sum += result.loss_sum;
    for (int32_t i = 0; i < progress->n_losses; i++) {
        progress->losses[i] += lamina__net_loss_at(r->prepared.net, i).weight * result.losses[i];
        progress->loss_weights[i] += result.weights[i];
    }
    progress->correct += result.correct;
    progress->labelled += result.labelled;
    progress->seen += result.samples;
    r->epoch_images += batch->samples;
    return log_step(r, &result, rate);
}

/* From where the progress stands to the end of the epoch, to max_steps or to a stop. */
static lamina_status train_epoch(run *r) {
    const lamina__batch *batch;
    int64_t every = r->experiment->checkpoint.every_steps;
    r->epoch_seconds = 0;
    r->epoch_images = 0;
    lamina__loader_start(r->loader, r->state.progress.epoch, r->state.progress.position);
    double begin = lamina__seconds();
    while (r->state.progress.position < train_count(r) && !steps_done(r)) {
        if ((batch = lamina__loader_next(r->loader)) == NULL) {
            return lamina__fail(r->error, LAMINA_ERROR_INTERNAL,
                                "the data ended at sample %" PRId64 " of %" PRId64,
                                r->state.progress.position, train_count(r));
        }
        lamina_status status = train_step(r, batch);
        double end = lamina__seconds();
        r->epoch_seconds += end - begin;
        begin = end;
        if (status != LAMINA_OK) {
            return status;
        }
        lamina__event event = make_event(r, LAMINA__EVENT_STEP);
        tell(r, &event);
        if (stop_wanted(r)) {
            return LAMINA_ERROR_INTERRUPTED;
        }
        /* That of an epoch's last step waits until the epoch has been tested. */
        if (every > 0 && r->state.progress.step % every == 0 &&
            r->state.progress.position < train_count(r)) {
            status = save_last(r);
            if (status != LAMINA_OK) {
                return status;
            }
            begin = lamina__seconds();
        }
    }
    return LAMINA_OK;
}

static lamina_status add_row(lamina__metrics *metrics, const lamina__metrics_row *row,
                             lamina_error *error) {
    void *rows = metrics->rows;
    if (lamina__grow(&rows, &metrics->capacity, metrics->count + 1, sizeof(*row)) != 0) {
        return lamina__fail_memory(error, "metrics");
    }
    metrics->rows = rows;
    metrics->rows[metrics->count++] = *row;
    return LAMINA_OK;
}

/* Whether this epoch is the best so far: by the test split, without one by the training split; by
 * accuracy, without one by loss. */
static bool is_best(run *r, const lamina__event *event) {
    lamina__progress *progress = &r->state.progress;
    const bool tested = r->prepared.source[1] != NULL;
    const double accuracy = tested ? event->test_accuracy : event->train_accuracy;
    const double loss = tested ? event->test_loss : event->train_loss;
    const bool best = event->classifies ? accuracy > progress->best_accuracy
                                        : !isnan(loss) && !(loss >= progress->best_loss);
    if (best && event->classifies) {
        progress->best_accuracy = accuracy;
    } else if (best) {
        progress->best_loss = loss;
    }
    progress->best_epoch = best ? progress->epoch + 1 : progress->best_epoch;
    return best;
}

/* One row for each split there is, in memory for the checkpoints. */
static lamina_status add_rows(run *r, const lamina__event *event, lamina__metrics_row rows[2]) {
    lamina_status status = LAMINA_OK;
    for (int split = 0; split < 2 && status == LAMINA_OK; split++) {
        rows[split] = (lamina__metrics_row){
            .epoch = event->epoch,
            .step = event->step,
            .loss = split == 0 ? event->train_loss : event->test_loss,
            .accuracy = split == 0 ? event->train_accuracy : event->test_accuracy,
            .learning_rate = event->learning_rate,
            .seconds = event->seconds,
            .images_per_second = split == 0 ? event->images_per_second : 0,
        };
        for (size_t m = 0;
             split == 1 && event->test_metrics != NULL && m < r->state.metrics[1].n_names; m++) {
            rows[split].metrics[m] = event->test_metrics[m];
        }
        if (r->prepared.source[split] != NULL) {
            status = add_row(&r->state.metrics[split], &rows[split], r->error);
        }
    }
    return status;
}

/* The event of an epoch that was trained to its end and tested with this result. metrics: room for
 * those of the test split. */
static lamina__event epoch_event(const run *r, const lamina__result *result,
                                 double metrics[LAMINA__MAX_METRICS]) {
    lamina__event event = make_event(r, LAMINA__EVENT_EPOCH);
    event.learning_rate = learning_rate(r, r->state.progress.step - 1); /* of its last step */
    if (r->prepared.source[1] != NULL) {
        event.test_loss = lamina__result_loss(r->prepared.net, result);
        event.test_accuracy = lamina__result_accuracy(result);
        for (int32_t m = 0; m < LAMINA__MAX_METRICS; m++) {
            metrics[m] = lamina__result_metric(result, m);
        }
        event.test_metrics = metrics;
    }
    return event;
}

static lamina_status test(run *r, lamina__result *result) {
    const lamina__experiment *experiment = r->experiment;
    if (r->prepared.source[1] == NULL) {
        return LAMINA_OK;
    }
    lamina_status status =
        lamina__evaluate(r->prepared.net, r->prepared.source[1], &experiment->normalize,
                         experiment->train.batch, 0, NULL, r->options->stop, result, r->error);
    if (status == LAMINA_OK && !isfinite(result->loss_sum)) {
        lamina__fail(r->error, LAMINA_ERROR_NUMERIC,
                     "step %" PRId64 ": the loss of the test split is not finite; a smaller "
                     "learning rate may help",
                     r->state.progress.step);
        status = numeric_failure(r);
    }
    return status;
}

/* Tests, records, and turns to the next epoch. */
static lamina_status finish_epoch(run *r) {
    lamina__progress *progress = &r->state.progress;
    bool tested = r->prepared.source[1] != NULL;
    lamina__metrics_row rows[2];
    lamina__result result = {0};
    double metrics[LAMINA__MAX_METRICS];
    lamina_status status = test(r, &result);
    if (status != LAMINA_OK) {
        return status;
    }
    lamina__event event = epoch_event(r, &result, metrics);
    status = add_rows(r, &event, rows);
    if (status != LAMINA_OK) {
        return status;
    }
    event.best = is_best(r, &event);
    progress->epoch++;
    progress->position = progress->correct = progress->labelled = progress->seen = 0;
    progress->loss_sum = 0;
    memset(progress->losses, 0, sizeof(progress->losses));
    memset(progress->loss_weights, 0, sizeof(progress->loss_weights));
    status =
        lamina__metrics_epoch(&r->log, &rows[0], tested ? &rows[1] : NULL,
                              r->state.metrics[1].names, r->state.metrics[1].n_names, r->error);
    if (status != LAMINA_OK) {
        return status;
    }
    tell(r, &event);
    return save_epoch(r, event.best);
}

/* Whether last.h5 is of exactly this point. */
static bool is_saved(const run *r) {
    const lamina__progress *progress = &r->state.progress;
    return r->saved_step == progress->step && r->saved_whole == (progress->position == 0);
}

static lamina_status interrupted(run *r) {
    lamina_status status = is_saved(r) ? LAMINA_OK : save_last(r);
    if (status != LAMINA_OK) {
        return status;
    }
    return lamina__fail(r->error, LAMINA_ERROR_INTERRUPTED,
                        "stopped after step %" PRId64 "; go on with --resume",
                        r->state.progress.step);
}

static lamina_status train(run *r) {
    const lamina__progress *progress = &r->state.progress;
    lamina_status status = LAMINA_OK;
    while (status == LAMINA_OK && progress->epoch < r->experiment->train.epochs &&
           !(steps_done(r) && progress->position < train_count(r))) {
        status = stop_wanted(r) ? LAMINA_ERROR_INTERRUPTED : train_epoch(r);
        if (status == LAMINA_OK && progress->position == train_count(r)) {
            status = finish_epoch(r);
        }
    }
    if (status == LAMINA_ERROR_INTERRUPTED) {
        return interrupted(r);
    }
    /* max_steps in the middle of an epoch; every other end has been saved. */
    if (status == LAMINA_OK && !is_saved(r)) {
        status = save_last(r);
    }
    return status;
}

/* ---- Beginning ----------------------------------------------------------------------------- */

/* Which checkpoint to go on from, if any, and whether the folder allows what is asked. Touches
 * nothing. */
static lamina_status choose(run *r) {
    const lamina__run_options *options = r->options;
    bool there = lamina__run_dir_holds_run(&r->dir);
    const char *from = options->resume_from ? options->resume_from : r->dir.last;
    if (!options->resume) {
        return !there || options->overwrite
                   ? LAMINA_OK
                   : lamina__fail(r->error, LAMINA_ERROR_USAGE,
                                  "%s: holds a run already; go on with --resume, replace it with "
                                  "--overwrite, or give another folder with --out",
                                  r->dir.out);
    }
    if (options->resume_from != NULL && access(from, F_OK) != 0) {
        return lamina__fail(r->error, LAMINA_ERROR_IO, "%s: cannot be opened: %s", from,
                            strerror(errno));
    }
    bool owned = lamina__run_dir_owns(&r->dir, from);
    if (options->overwrite && (owned || options->resume_from == NULL)) {
        return lamina__fail(r->error, LAMINA_ERROR_USAGE,
                            "--overwrite would remove %s, which --resume needs; give one of them",
                            from);
    }
    if (options->resume_from == NULL && !there) {
        return lamina__fail(r->error, LAMINA_ERROR_USAGE,
                            "%s: there is no run to resume; leave --resume out to start one",
                            r->dir.out);
    }
    if (there && !owned && !options->overwrite && options->resume_from != NULL) {
        return lamina__fail(
            r->error, LAMINA_ERROR_USAGE,
            "%s: holds another run than that of %s; give another folder with --out, "
            "or replace it with --overwrite",
            r->dir.out, from);
    }
    if (options->resume_from == NULL && access(from, F_OK) != 0) {
        lamina__log(LAMINA_LOG_WARNING, "%s has no checkpoint yet: starting from the beginning",
                    r->dir.out);
        return LAMINA_OK;
    }
    r->resumed_from = lamina__strdup(from);
    return r->resumed_from ? LAMINA_OK : lamina__fail_memory(r->error, from);
}

/* What choose() has found out is held against the other options. Touches nothing. */
static lamina_status check_start(const run *r) {
    const lamina__run_options *options = r->options;
    const lamina__experiment *experiment = r->experiment;
    bool anew = r->resumed_from == NULL;
    if (!anew && options->kernels != NULL) {
        return lamina__fail(r->error, LAMINA_ERROR_USAGE,
                            "--kernels: an exact resume computes with the kernels that %s names; "
                            "leave --kernels out, or start a new run to change them",
                            r->resumed_from);
    }
    if (lamina__same_file(experiment->path, r->dir.config) &&
        (options->overwrite || (anew && strcmp(experiment->source, experiment->resolved) != 0))) {
        return lamina__fail(r->error, LAMINA_ERROR_USAGE,
                            "%s: this run would write its resolved config over it; copy it "
                            "elsewhere first, or give another folder with --out",
                            experiment->path);
    }
    return LAMINA_OK;
}

static lamina_status make_training(run *r) {
    const lamina__experiment *experiment = r->experiment;
    const lamina__loader_options loader = {
        .batch = experiment->train.batch,
        .seed = (uint64_t)experiment->seed,
        .shuffle = 1,
        .normalize = &experiment->normalize,
    };
    lamina_status status =
        lamina__optimizer_create(&experiment->optimizer, r->prepared.net, &r->optimizer, r->error);
    if (status != LAMINA_OK) {
        return status;
    }
    r->n_slots = lamina__optimizer_n_slots(r->optimizer);
    for (size_t i = 0; i < r->n_slots; i++) {
        r->slots[i] = (lamina__slot){lamina__optimizer_slot_name(r->optimizer, i),
                                     lamina__optimizer_slot_data(r->optimizer, i)};
    }
    return lamina__loader_open(r->prepared.source[0], &loader, &r->loader, r->error);
}

/* The newest whole checkpoint of this run, for when last.h5 is not; lamina__free. NULL: none. */
static char *newest_whole(const run *r) {
    size_t count;
    int64_t *epochs = lamina__run_dir_epochs(&r->dir, &count);
    char *found = NULL;
    lamina_error ignored;
    for (size_t i = 0; i < count && found == NULL; i++) {
        char *path = lamina__run_dir_epoch_path(&r->dir, epochs[i]);
        if (path != NULL && lamina__checkpoint_verify(path, &ignored) == LAMINA_OK) {
            found = path;
        } else {
            lamina__free(path);
        }
    }
    lamina__free(epochs);
    return found == NULL && lamina__checkpoint_verify(r->dir.best, &ignored) == LAMINA_OK
               ? lamina__strdup(r->dir.best)
               : found;
}

/* Opens what to go on from. When that is damaged, the error names another one. */
static lamina_status open_resumed(run *r, lamina__checkpoint_file **file,
                                  lamina__checkpoint *stored) {
    lamina_status status = lamina__checkpoint_open(r->resumed_from, file, stored, r->error);
    if (status == LAMINA_OK || status == LAMINA_ERROR_MEMORY ||
        !lamina__run_dir_owns(&r->dir, r->resumed_from)) {
        return status;
    }
    char *whole = newest_whole(r);
    lamina_error told = *r->error;
    if (whole != NULL) {
        lamina__fail(r->error, status, "%s; --resume %s goes on from an older one", told.message,
                     whole);
    }
    lamina__free(whole);
    return status;
}

/* The rows that a checkpoint has become the run's, their metrics in the order of the net's. */
static void take_metrics(run *r, lamina__checkpoint *stored) {
    const lamina__net *net = r->prepared.net;
    for (int split = 0; split < 2; split++) {
        lamina__metrics *from = &stored->metrics[split], *to = &r->state.metrics[split];
        to->rows = from->rows;
        to->count = from->count;
        to->capacity = from->capacity;
        from->rows = NULL;
        for (size_t row = 0; row < to->count; row++) {
            double *metrics = to->rows[row].metrics, ordered[LAMINA__MAX_METRICS] = {0};
            for (int32_t m = 0; split == 1 && m < lamina__net_n_metrics(net); m++) {
                ordered[m] = (double)NAN;
                for (size_t k = 0; k < from->n_names; k++) {
                    const lamina__instance *layer =
                        lamina__net_layer(net, lamina__net_metric_at(net, m));
                    ordered[m] = strcmp(from->names[k], layer->name) == 0 ? metrics[k] : ordered[m];
                }
            }
            memcpy(metrics, ordered, sizeof(ordered));
        }
    }
}

/* Without a label that counts there is no accuracy, and so no best epoch. */
static void warn_of_no_labels(const run *r) {
    const lamina__net *net = r->prepared.net;
    const int split = r->prepared.source[1] != NULL ? 1 : 0; /* by which the best is chosen */
    const lamina__source *source = r->prepared.source[split];
    if (lamina__net_label_loss(net) < 0) {
        return;
    }
    for (int64_t i = 0; i < source->count; i++) {
        if (lamina__net_counts_label(net, source->labels[i])) {
            return;
        }
    }
    lamina__log(LAMINA_LOG_WARNING,
                "%s: every label of the %s split is one that layer \"%s\" ignores: there is no "
                "accuracy, so no epoch is the best and best.h5 is not written",
                source->description, split == 1 ? "test" : "train",
                lamina__net_layer(net, lamina__net_label_loss(net))->name);
}

/* Opens the data, builds the net, and puts the checkpoint into it. */
static lamina_status build(run *r, lamina__diags *diags) {
    lamina__checkpoint_file *file = NULL;
    lamina__checkpoint stored = {0};
    lamina_status status = LAMINA_OK;
    const char *path = r->resumed_from;
    r->state.progress = (lamina__progress){
        .seed = (uint64_t)r->experiment->seed, .best_accuracy = -1, .best_loss = (double)NAN};
    if (path != NULL) {
        status = open_resumed(r, &file, &stored);
        if (status == LAMINA_OK) {
            status = lamina__resume_check_config(r->experiment, path, &stored, r->error);
        }
    }
    if (status != LAMINA_OK) {
        goto done;
    }
    const lamina__prepare_options options = {
        .threads =
            path ? lamina__resume_threads(r->options->threads, path, &stored) : r->options->threads,
        .kernels = r->options->kernels,
        .measure = r->options->measure,
        .cache = r->options->cache,
        .stop = r->options->stop,
        .recorded = path ? &stored.plan : NULL,
        .training = true,
    };
    status = lamina__experiment_prepare(r->experiment, &options, &r->prepared, diags, r->error);
    if (status == LAMINA_OK && path != NULL) {
        status = lamina__resume_check_data(&r->prepared, path, &stored, r->error);
    }
    if (status == LAMINA_OK) {
        r->state.progress.n_losses = lamina__net_n_losses(r->prepared.net);
        status = make_training(r);
    }
    if (status == LAMINA_OK && path != NULL) {
        status = lamina__checkpoint_load(file, r->prepared.net, r->slots, r->n_slots, r->error);
    }
    if (status == LAMINA_OK && path != NULL) {
        r->state.progress = stored.progress;
        r->state.progress.n_losses = lamina__net_n_losses(r->prepared.net);
        take_metrics(r, &stored);
        if (r->options->resume_from == NULL) { /* it is last.h5 itself */
            note_saved(r);
        }
    }

done:
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&stored);
    return status;
}

/* What every checkpoint of this run says of it; the pointers stay the experiment's and sources'. */
static void describe(run *r) {
    r->state.config_source = r->experiment->source;
    r->state.config_resolved = r->experiment->resolved;
    r->state.config_origin = r->experiment->path;
    r->state.optimizer = (char *)lamina__optimizer_config_name(&r->experiment->optimizer);
    r->state.threads = lamina__net_threads(r->prepared.net);
    const lamina__net *net = r->prepared.net;
    lamina__metrics *tested = &r->state.metrics[1];
    tested->n_names = r->prepared.source[1] != NULL ? (size_t)lamina__net_n_metrics(net) : 0;
    for (size_t m = 0; m < tested->n_names; m++) {
        tested->names[m] = lamina__net_layer(net, lamina__net_metric_at(net, (int32_t)m))->name;
    }
    for (int split = 0; split < 2; split++) {
        const lamina__source *source = r->prepared.source[split];
        if (source != NULL) {
            r->state.data[split] =
                (lamina__data_id){source->description, source->count, source->fingerprint};
        }
    }
}

/* From here on files are written. */
static lamina_status open_folder(run *r) {
    const char *resolved = r->experiment->resolved;
    lamina_status status = lamina__run_dir_make(&r->dir, r->error);
    if (status == LAMINA_OK && r->options->overwrite) {
        status = lamina__run_dir_clear(&r->dir, r->error);
    }
    if (status == LAMINA_OK) {
        status = lamina__write_file(r->dir.config, resolved, strlen(resolved), r->error);
    }
    if (status == LAMINA_OK) {
        status =
            lamina__metrics_rewind(r->dir.metrics, &r->state.progress, r->state.metrics, r->error);
    }
    if (status == LAMINA_OK) {
        status = lamina__metrics_open(&r->log, r->dir.metrics, r->error);
    }
    return status;
}

static void close_run(run *r) {
    lamina__loader_close(r->loader);
    lamina__optimizer_free(r->optimizer);
    lamina__prepared_free(&r->prepared);
    lamina__metrics_close(&r->log);
    lamina__run_dir_free(&r->dir);
    lamina__free(r->state.metrics[0].rows);
    lamina__free(r->state.metrics[1].rows);
    lamina__free(r->resumed_from);
}

lamina_status lamina__run(const lamina__experiment *experiment, const lamina__run_options *options,
                          lamina__diags *diags, lamina_error *error) {
    run r = {
        .experiment = experiment,
        .options = options,
        .error = error,
        .log = {.fd = -1},
        .saved_step = -1,
    };
    lamina_status status = lamina__run_dir_init(&r.dir, options->out, error);
    if (status == LAMINA_OK) {
        status = choose(&r);
    }
    if (status == LAMINA_OK) {
        status = check_start(&r);
    }
    if (status == LAMINA_OK) {
        status = build(&r, diags);
    }
    if (status == LAMINA_OK) {
        describe(&r);
        status = open_folder(&r);
    }
    if (status == LAMINA_OK) {
        r.began = lamina__seconds() - r.state.progress.seconds;
        lamina__event event = make_event(&r, LAMINA__EVENT_START);
        event.path = r.resumed_from;
        tell(&r, &event);
        warn_of_no_labels(&r);
        status = train(&r);
    }
    close_run(&r);
    return status;
}
