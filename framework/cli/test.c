/* lamina test: loss, accuracy and metrics of a checkpoint on the test split, and which classes it
 * confuses. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "graph/plan_cache.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define MATRIX_CLASSES  32 /* with more the matrix is no longer readable: a list then */
#define TABLE_CLASSES   256
#define LIST_LENGTH     20
#define COUNTED_CLASSES 2048 /* beyond, not even counted: memory grows with the square */

/* counts: (classes, classes), rows by label. */
static void print_matrix(const int64_t *counts, int64_t classes) {
    printf("\nconfusion matrix (rows: label, columns: predicted)\n      ");
    for (int64_t k = 0; k < classes; k++) {
        printf(" %6" PRId64, k);
    }
    printf("\n");
    for (int64_t i = 0; i < classes; i++) {
        printf("%6" PRId64, i);
        for (int64_t k = 0; k < classes; k++) {
            printf(" %6" PRId64, counts[i * classes + k]);
        }
        printf("\n");
    }
}

/* A part of a whole in percent, "-" when the whole is nothing. */
static const char *percent(int64_t part, int64_t whole, char dst[32]) {
    snprintf(dst, 32, "-");
    if (whole > 0) {
        snprintf(dst, 32, "%.2f%%", 100 * (double)part / (double)whole);
    }
    return dst;
}

/* For each class: how many samples have its label and how many of these are found (recall); of the
 * samples said to be of it how many are (precision). samples: by label, also those for which
 * nothing was predicted. */
static void print_classes(const int64_t *counts, const int64_t *samples, int64_t classes) {
    char precision[32], recall[32];
    printf("\n%6s %9s %9s %10s %9s\n", "class", "samples", "correct", "precision", "recall");
    for (int64_t k = 0; k < classes; k++) {
        int64_t predicted = 0;
        for (int64_t i = 0; i < classes; i++) {
            predicted += counts[i * classes + k];
        }
        const int64_t correct = counts[k * classes + k];
        printf("%6" PRId64 " %9" PRId64 " %9" PRId64 " %10s %9s\n", k, samples[k], correct,
               percent(correct, predicted, precision), percent(correct, samples[k], recall));
    }
}

/* The most frequent mistakes; takes them out of counts one by one. */
static void print_list(int64_t *counts, int64_t classes) {
    printf("\nmost frequent mistakes (label, predicted, how often)\n");
    for (int line = 0; line < LIST_LENGTH; line++) {
        int64_t worst = -1;
        for (int64_t i = 0; i < classes * classes; i++) {
            if (i / classes != i % classes && counts[i] > 0 &&
                (worst < 0 || counts[i] > counts[worst])) {
                worst = i;
            }
        }
        if (worst < 0) {
            break;
        }
        printf("%6" PRId64 " %6" PRId64 " %6" PRId64 "\n", worst / classes, worst % classes,
               counts[worst]);
        counts[worst] = 0;
    }
}

/* "-" for the mean of nothing. */
static const char *number(double value, char dst[32]) {
    snprintf(dst, 32, "-");
    if (!isnan(value)) {
        snprintf(dst, 32, "%.6g", value);
    }
    return dst;
}

/* The line of results. */
static void print_result(const lamina__source *test, const lamina__net *net,
                         const lamina__result *result) {
    char accuracy[96] = "", part[32], loss[32];
    if (lamina__net_label_loss(net) >= 0) {
        snprintf(accuracy, sizeof(accuracy), "accuracy %s (%" PRId64 " wrong), ",
                 percent(result->correct, result->labelled, part),
                 result->labelled - result->correct);
    }
    lamina__say(stdout, "%s: %" PRId64 " samples, %sloss %s", test->description, result->samples,
                accuracy, number(lamina__result_loss(net, result), loss));
}

/* Several losses, each by itself, and the metrics. */
static void print_parts(const lamina__net *net, const lamina__result *result) {
    char mean[32];
    for (int32_t i = 0; lamina__net_n_losses(net) > 1 && i < lamina__net_n_losses(net); i++) {
        const lamina__net_loss loss = lamina__net_loss_at(net, i);
        const lamina__instance *layer = lamina__net_layer(net, loss.layer);
        lamina__say(stdout, "%s (%s, weight %g): %s", layer->name, layer->type->name, loss.weight,
                    number(lamina__result_loss_of(result, i), mean));
    }
    for (int32_t i = 0; i < lamina__net_n_metrics(net); i++) {
        const lamina__instance *layer = lamina__net_layer(net, lamina__net_metric_at(net, i));
        lamina__say(stdout, "%s (%s): %s", layer->name, layer->type->name,
                    number(lamina__result_metric(result, i), mean));
    }
}

static void print_counts(const lamina__net *net, const lamina__source *test, int64_t *counts,
                         int64_t *samples, int64_t classes) {
    for (int64_t i = 0; i < test->count; i++) {
        if (lamina__net_counts_label(net, test->labels[i])) {
            samples[test->labels[i]]++;
        }
    }
    if (classes <= TABLE_CLASSES) {
        print_classes(counts, samples, classes);
    }
    if (classes <= MATRIX_CLASSES) {
        print_matrix(counts, classes);
    } else {
        print_list(counts, classes);
    }
}

static lamina_status evaluate(const lamina__experiment *experiment,
                              const lamina__prepared *prepared, bool quiet, lamina_error *error) {
    const lamina__source *test = prepared->source[1];
    int64_t classes = lamina__net_classes(prepared->net), *counts = NULL;
    lamina__result result;
    if (!quiet && classes > 0 && classes <= COUNTED_CLASSES) { /* and a row for the samples */
        counts = lamina__calloc((size_t)classes * ((size_t)classes + 1), sizeof(*counts));
        if (counts == NULL) {
            return lamina__fail_memory(error, "the confusion matrix");
        }
    }
    lamina_status status =
        lamina__evaluate(prepared->net, test, &experiment->normalize, experiment->train.batch,
                         classes, counts, NULL, &result, error);
    if (status == LAMINA_OK) {
        print_result(test, prepared->net, &result);
    }
    if (status == LAMINA_OK && !quiet) {
        print_parts(prepared->net, &result);
    }
    if (status == LAMINA_OK && counts != NULL) {
        print_counts(prepared->net, test, counts, counts + classes * classes, classes);
    }
    lamina__free(counts);
    return status;
}

/* With the kernels it was trained with, so that the numbers are those of the training; on another
 * machine, where they may not run, with its own. */
static lamina_status prepare(const lamina__experiment *experiment, const lamina__common *common,
                             const lamina__checkpoint *checkpoint, lamina__prepared *prepared,
                             lamina__diags *diags, lamina_error *error) {
    char *cache = lamina__plan_cache_folder();
    lamina__prepare_options options = {
        .threads = (int)common->threads,
        .kernels = common->kernels,
        .recorded = common->kernels ? NULL : &checkpoint->plan,
        .measure = true,
        .cache = cache,
        .test_only = true,
    };
    lamina_status status = lamina__experiment_prepare(experiment, &options, prepared, diags, error);
    if (status != LAMINA_OK && options.recorded != NULL && diags->count > 0) {
        lamina__diags_free(diags);
        options.recorded = NULL;
        status = lamina__experiment_prepare(experiment, &options, prepared, diags, error);
    }
    lamina__free(cache);
    return status;
}

static int test(const char *path, const lamina__common *common) {
    lamina__checkpoint_file *file = NULL;
    lamina__checkpoint checkpoint = {0};
    lamina__experiment *experiment = NULL;
    lamina__prepared prepared = {0};
    lamina__diags diags = {0};
    lamina_error error = {0};
    int result = lamina__read_checkpoint(path, common, &file, &checkpoint, &experiment);
    if (result >= 0) {
        goto done;
    }
    lamina_status status = prepare(experiment, common, &checkpoint, &prepared, &diags, &error);
    if (status == LAMINA_OK) {
        status = lamina__checkpoint_load(file, prepared.net, NULL, 0, &error);
    }
    if (status == LAMINA_OK) {
        if (!common->quiet) {
            lamina__say(stdout, "%s: epoch %" PRId64 ", step %" PRId64, path,
                        checkpoint.progress.epoch, checkpoint.progress.step);
        }
        status = evaluate(experiment, &prepared, common->quiet, &error);
    }
    result = lamina__report(path, &diags, status, &error);

done:
    lamina__prepared_free(&prepared);
    lamina__experiment_free(experiment);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    lamina__diags_free(&diags);
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__common common = {0};
    const lamina__option table[] = {
        LAMINA__OPTION_SET(common),
        LAMINA__OPTION_PLUGIN(common),
        LAMINA__OPTION_THREADS(common),
        LAMINA__OPTION_KERNELS(common),
        {"--quiet", NULL, LAMINA__OPTION_FLAG, &common.quiet, "the one line of results only"},
    };
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result < 0) {
        lamina__log_to_stderr(common.quiet);
        result = test(arguments.items[0], &common);
    }
    lamina__common_free(&common);
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__test_command = {
    .name = "test",
    .arguments = "CHECKPOINT",
    .summary = "loss, accuracy and metrics of a checkpoint on the test split, confusion matrix",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
