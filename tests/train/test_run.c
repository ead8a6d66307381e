/* Runs: stopped after every single step and resumed they end in the same bits; a step allocates
 * nothing; whatever allocation fails, the error is clean and the files are whole. */
#include "training.h"

#include "base/alloc.h"

#include <math.h>
#include <signal.h>
#include <sys/stat.h>

static const char *const training =
    "  epochs: 2\n  log_every: 1\n"
    "  optimizer: {type: sgd, learning_rate: 0.05, momentum: 0.9, weight_decay: 0.001}\n"
    "  schedule: {type: inverse, gamma: 0.01, power: 0.5}";

typedef struct watcher {
    int64_t stop_at; /* step after which the stop flag is set; 0: never */
    volatile int stop;
    int64_t steps, epochs;
    uint64_t allocations;  /* at the last step */
    int64_t allocating;    /* steps that allocated */
    double accuracy, loss; /* of the last epoch */
} watcher;

static void on_event(void *user, const lamina__event *event) {
    watcher *w = user;
    uint64_t calls = lamina__alloc_count().calls;
    if (event->kind == LAMINA__EVENT_STEP) {
        w->steps++;
        /* The first step of this process and of an epoch comes after other work. */
        w->allocating += w->steps > 1 && event->step_of_epoch > 1 && calls != w->allocations;
        w->allocations = calls;
        w->stop = w->stop_at == event->step ? SIGTERM : w->stop;
    } else if (event->kind == LAMINA__EVENT_EPOCH) {
        w->epochs++;
        w->accuracy = event->test_accuracy;
        w->loss = event->test_loss;
    }
}

/* from: a checkpoint by name, or NULL. */
static lamina_status run_from(const lamina__experiment *experiment, const char *out, bool resume,
                              const char *from, watcher *w, lamina_error *error) {
    lamina__diags diags = {0};
    const lamina__run_options options = {
        .out = out,
        .resume = resume,
        .resume_from = from,
        .threads = 2,
        .on_event = on_event,
        .user = w,
        .stop = &w->stop,
    };
    lamina_status status = lamina__run(experiment, &options, &diags, error);
    lamina__diags_free(&diags);
    return status;
}

static lamina_status run(const lamina__experiment *experiment, const char *out, bool resume,
                         watcher *w, lamina_error *error) {
    return run_from(experiment, out, resume, NULL, w, error);
}

/* metrics.jsonl without the times. */
static char *untimed(const char *out) {
    char *text = test_read(test_path(out, "metrics.jsonl"), NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(text);
    for (char *at = text; (at = strstr(at, "\"images_per_second\"")) != NULL; at++) {
        char *end = strstr(at, "\"seconds\""); /* these two follow each other; the widths differ */
        CU_ASSERT_PTR_NOT_NULL_FATAL(end);
        end += strcspn(end, ",}");
        memmove(at, end, strlen(end) + 1);
    }
    return text;
}

static void compare_runs(const char *a, const char *b) {
    static const char *const files[] = {"checkpoints/last.h5", "checkpoints/best.h5"};
    for (size_t i = 0; i < 2; i++) {
        lamina__text text = {0};
        lamina_error error = {0};
        size_t differences = 99;
        CU_ASSERT(lamina__checkpoint_diff(test_path(a, files[i]), test_path(b, files[i]), &text,
                                          &differences, &error) == LAMINA_OK);
        CU_ASSERT_EQUAL(differences, 0);
        if (differences != 0) {
            printf("\n      %s: %s", files[i], text.data ? text.data : error.message);
        }
        lamina__text_free(&text);
    }
    TEST_TEXT(untimed(b), untimed(a));
}

static void stop_anywhere(lamina__experiment *experiment) {
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    lamina_error error = {0};
    watcher w = {0};
    char *whole = test_path(test_tmpdir(), "whole");
    CU_ASSERT_FATAL(run(experiment, whole, false, &w, &error) == LAMINA_OK);
    CU_ASSERT_EQUAL(w.steps, 8);
    CU_ASSERT_EQUAL(w.epochs, 2);
    for (int64_t step = 1; step <= 8; step++) {
        char *cut = test_path(test_tmpdir(), "cut");
        w = (watcher){.stop_at = step};
        CU_ASSERT(run(experiment, cut, false, &w, &error) == LAMINA_ERROR_INTERRUPTED);
        CU_ASSERT_EQUAL(w.steps, step);
        TEST_CONTAINS(error.message, "go on with --resume");
        w = (watcher){0};
        CU_ASSERT(run(experiment, cut, true, &w, &error) == LAMINA_OK);
        CU_ASSERT_EQUAL(w.steps, 8 - step);
        CU_ASSERT_EQUAL(w.epochs, step <= 4 ? 2 : 1);
        compare_runs(whole, cut);
        w = (watcher){0};
        CU_ASSERT(run(experiment, cut, true, &w, &error) == LAMINA_ERROR_NOTHING_TO_DO);
        CU_ASSERT_EQUAL(w.steps, 0);
    }
    lamina__experiment_free(experiment);
}

static void test_stop_anywhere(void) {
    stop_anywhere(training_experiment(training, ""));
}

/* Numbers as targets, several losses, metrics; with a test split and without. */
static void test_stop_regression_anywhere(void) {
    stop_anywhere(training_regression(REGRESSION_TEST, training));
    stop_anywhere(training_regression("", training));
}

/* With labels some of which do not count. */
static void test_stop_anywhere_ignoring(void) {
    char text[4096];
    snprintf(text, sizeof(text), TRAINING_CONFIG, training, "");
    char *loss = strstr(text, "  - softmax_loss\n");
    CU_ASSERT_PTR_NOT_NULL_FATAL(loss);
    char rest[2048];
    snprintf(rest, sizeof(rest), "%s", loss + strlen("  - softmax_loss\n"));
    snprintf(loss, sizeof(text) - (size_t)(loss - text),
             "  - softmax_loss: {ignore_label: 1, class_weights: [1, 2, 3], label_smoothing: 0.1}\n"
             "  - accuracy: {name: top2, top: 2, ignore_label: 1}\n%s",
             rest);
    stop_anywhere(training_read(text));
}

/* The number behind "key": in the n-th line with "event":"epoch"; *found false: it is null. */
static double in_epoch(const char *metrics, int n, const char *key, bool *found) {
    const char *line = metrics;
    char name[64];
    snprintf(name, sizeof(name), "\"%s\":", key);
    while ((line = strstr(line, "\"event\":\"epoch\"")) != NULL && n-- > 0) {
        line++;
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(line);
    const char *at = strstr(line, name), *end = strchr(line, '\n');
    CU_ASSERT_FATAL(at != NULL && at < end);
    *found = strncmp(at + strlen(name), "null", 4) != 0;
    return *found ? strtod(at + strlen(name), NULL) : 0;
}

static lamina__progress progress_of(const char *path, lamina__metrics *tested) {
    lamina__checkpoint_file *file = NULL;
    lamina__checkpoint checkpoint = {0};
    lamina_error error = {0};
    CU_ASSERT_FATAL(lamina__checkpoint_open(path, &file, &checkpoint, &error) == LAMINA_OK);
    const lamina__progress progress = checkpoint.progress;
    if (tested != NULL) {
        *tested = checkpoint.metrics[1];
        checkpoint.metrics[1] = (lamina__metrics){0};
    }
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    return progress;
}

/* No accuracy anywhere; the best epoch is that of the lowest loss. */
static void test_regression(void) {
    static const char *const wild = "  epochs: 6\n  log_every: 1\n"
                                    "  optimizer: {type: sgd, learning_rate: 0.3, momentum: 0.9}\n";
    for (int split = 0; split < 2; split++) { /* without a test split, with one */
        lamina__experiment *experiment =
            training_regression(split == 1 ? REGRESSION_TEST : "", wild);
        CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
        lamina_error error = {0};
        watcher w = {0};
        char *out = test_path(test_tmpdir(), "out");
        CU_ASSERT_FATAL(run(experiment, out, false, &w, &error) == LAMINA_OK);
        const char *metrics = test_read(test_path(out, "metrics.jsonl"), NULL);
        CU_ASSERT_PTR_NOT_NULL_FATAL(metrics);
        double lowest = INFINITY;
        int best = 0;
        bool found = false, rose = false;
        for (int epoch = 0; epoch < 6; epoch++) {
            const double loss =
                in_epoch(metrics, epoch, split == 1 ? "test_loss" : "train_loss", &found);
            CU_ASSERT(found);
            in_epoch(metrics, epoch, "test_accuracy", &found);
            CU_ASSERT_FALSE(found);
            rose = rose || loss > lowest;
            best = loss < lowest ? epoch + 1 : best;
            lowest = fmin(lowest, loss);
        }
        CU_ASSERT(rose); /* else the last is the best anyhow */
        lamina__metrics tested = {0};
        lamina__progress progress = progress_of(test_path(out, "checkpoints/last.h5"), &tested);
        CU_ASSERT_EQUAL(progress.best_epoch, best);
        CU_ASSERT_DOUBLE_EQUAL(progress.best_loss, lowest, 1e-12);
        CU_ASSERT_EQUAL(progress.best_accuracy, -1);
        CU_ASSERT_EQUAL(progress_of(test_path(out, "checkpoints/best.h5"), NULL).epoch, best);
        CU_ASSERT_EQUAL(tested.n_names, split == 1 ? 2 : 0);
        for (size_t row = 0; split == 1 && row < tested.count; row++) {
            CU_ASSERT(isnan(tested.rows[row].accuracy));
            TEST_TEXT(tested.names[1], "mae");
            CU_ASSERT_EQUAL(tested.rows[row].metrics[1],
                            in_epoch(metrics, (int)row, "test_mae", &found));
            CU_ASSERT_EQUAL(in_epoch(metrics, (int)row, "test_away", &found), 0);
            CU_ASSERT(found);
        }
        CU_ASSERT(split == 1 || strstr(metrics, "test_mae") == NULL);
        lamina__free(tested.rows);
        for (size_t m = 0; m < tested.n_names; m++) {
            lamina__free(tested.names[m]);
        }
        lamina__experiment_free(experiment);
    }
}

/* Resumed into another folder, the lines of earlier epochs are made again, metrics and all. */
static void test_metrics_come_along(void) {
    lamina__experiment *experiment = training_regression(REGRESSION_TEST, training);
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    lamina_error error = {0};
    watcher w = {0};
    char *whole = test_path(test_tmpdir(), "whole"), *other = test_path(test_tmpdir(), "other");
    CU_ASSERT_FATAL(run(experiment, whole, false, &w, &error) == LAMINA_OK);
    w = (watcher){0};
    const char *first = test_path(whole, "checkpoints/epoch-0001.h5");
    CU_ASSERT(run_from(experiment, other, true, first, &w, &error) == LAMINA_OK);
    const char *metrics[2] = {untimed(whole), untimed(other)};
    for (int epoch = 0; epoch < 2; epoch++) {
        static const char *const keys[] = {"train_loss", "test_loss", "test_mae", "test_away"};
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
            bool found[2];
            CU_ASSERT_EQUAL(in_epoch(metrics[0], epoch, keys[k], &found[0]),
                            in_epoch(metrics[1], epoch, keys[k], &found[1]));
            CU_ASSERT(found[0] && found[1]);
        }
    }
    lamina__experiment_free(experiment);
}

/* Resumed into another folder and stopped before the first step: that folder has a last.h5, too. */
static void test_stop_at_once(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    lamina_error error = {0};
    watcher w = {0};
    char *whole = test_path(test_tmpdir(), "whole"), *other = test_path(test_tmpdir(), "other");
    CU_ASSERT_FATAL(run(experiment, whole, false, &w, &error) == LAMINA_OK);
    const char *first = test_path(whole, "checkpoints/epoch-0001.h5");
    w = (watcher){.stop = SIGTERM};
    CU_ASSERT(run_from(experiment, other, true, first, &w, &error) == LAMINA_ERROR_INTERRUPTED);
    CU_ASSERT_EQUAL(w.steps, 0);
    w = (watcher){0};
    CU_ASSERT(run(experiment, other, true, &w, &error) == LAMINA_OK);
    CU_ASSERT_EQUAL(w.steps, 4);
    lamina__text text = {0};
    size_t differences = 99;
    CU_ASSERT(lamina__checkpoint_diff(test_path(whole, "checkpoints/last.h5"),
                                      test_path(other, "checkpoints/last.h5"), &text, &differences,
                                      &error) == LAMINA_OK);
    CU_ASSERT_EQUAL(differences, 0);
    lamina__text_free(&text);
    lamina__experiment_free(experiment);
}

static void test_step_allocates_nothing(void) {
    for (int kind = 0; kind < 2; kind++) {
        lamina__experiment *experiment = kind == 0 ? training_experiment(training, "")
                                                   : training_regression(REGRESSION_TEST, training);
        CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
        lamina_error error = {0};
        watcher w = {0};
        CU_ASSERT(run(experiment, test_path(test_tmpdir(), "out"), false, &w, &error) == LAMINA_OK);
        CU_ASSERT_EQUAL(w.allocating, 0);
        lamina__experiment_free(experiment);
    }
}

/* The metrics of a run are what evaluating its checkpoint gives. */
static void test_evaluate(void) {
    lamina__experiment *experiment = training_experiment(training, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    const lamina__prepare_options options = {.threads = 2, .test_only = true};
    lamina__prepared prepared = {0};
    lamina__diags diags = {0};
    lamina_error error = {0};
    watcher w = {0};
    char *out = test_path(test_tmpdir(), "out");
    CU_ASSERT_FATAL(run(experiment, out, false, &w, &error) == LAMINA_OK);
    CU_ASSERT_FATAL(lamina__experiment_prepare(experiment, &options, &prepared, &diags, &error) ==
                    LAMINA_OK);
    CU_ASSERT_PTR_NULL(prepared.source[0]);
    lamina__checkpoint_file *file = NULL;
    lamina__checkpoint checkpoint = {0};
    CU_ASSERT_FATAL(lamina__checkpoint_open(test_path(out, "checkpoints/last.h5"), &file,
                                            &checkpoint, &error) == LAMINA_OK);
    CU_ASSERT(lamina__checkpoint_load(file, prepared.net, NULL, 0, &error) == LAMINA_OK);
    int64_t confusion[9] = {0}, sum = 0;
    lamina__result result;
    CU_ASSERT(lamina__evaluate(prepared.net, prepared.source[1], &experiment->normalize, 12, 3,
                               confusion, NULL, &result, &error) == LAMINA_OK);
    for (int i = 0; i < 9; i++) {
        sum += confusion[i];
    }
    CU_ASSERT_EQUAL(sum, 10);
    CU_ASSERT_EQUAL(confusion[0] + confusion[4] + confusion[8], result.correct);
    CU_ASSERT_DOUBLE_EQUAL((double)result.correct / 10, w.accuracy, 0);
    CU_ASSERT_DOUBLE_EQUAL(result.loss_sum / 10, w.loss, 1e-6);
    volatile int stop = SIGINT;
    CU_ASSERT(lamina__evaluate(prepared.net, prepared.source[1], &experiment->normalize, 12, 3,
                               NULL, &stop, &result, &error) == LAMINA_ERROR_INTERRUPTED);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    lamina__prepared_free(&prepared);
    lamina__experiment_free(experiment);
    lamina__diags_free(&diags);
}

/* For every k, or for some of them when there are many. */
static void test_no_memory(void) {
    lamina__experiment *experiment =
        training_experiment("  epochs: 1\n  log_every: 1\n"
                            "  optimizer: {type: sgd, learning_rate: 0.05, momentum: 0.9}",
                            "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(experiment);
    uint64_t live = lamina__alloc_count().live;
    long failed = 1;
    for (long k = 1; failed > 0; k += 1 + k / 16) {
        lamina_error error = {0};
        watcher w = {0};
        char *out = test_path(test_tmpdir(), "out");
        test_fail_allocation(k);
        lamina_status status = run(experiment, out, false, &w, &error);
        failed = test_fail_allocation(0);
        CU_ASSERT((failed > 0) == (status != LAMINA_OK) || status == LAMINA_OK);
        CU_ASSERT(status == LAMINA_OK || error.message[0] != '\0');
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        struct stat info;
        char *last = test_path(out, "checkpoints/last.h5");
        if (stat(last, &info) == 0) {
            CU_ASSERT(lamina__checkpoint_verify(last, &error) == LAMINA_OK);
        }
        if (k == 1) {
            CU_ASSERT(status == LAMINA_ERROR_MEMORY);
        }
    }
    lamina__experiment_free(experiment);
}

LAMINA_TESTS({"stopped after each step", test_stop_anywhere},
             {"stopped after each step, regression", test_stop_regression_anywhere},
             {"stopped after each step, labels ignored", test_stop_anywhere_ignoring},
             {"regression", test_regression}, {"metrics come along", test_metrics_come_along},
             {"stopped at once", test_stop_at_once},
             {"a step allocates nothing", test_step_allocates_nothing},
             {"evaluation", test_evaluate}, {"allocations that fail", test_no_memory})
