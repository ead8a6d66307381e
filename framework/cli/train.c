/* lamina train */
#include "cli/view.h"

#include "base/alloc.h"
#include "cli/cli.h"
#include "graph/plan_cache.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Signals ------------------------------------------------------------------------------- */

static volatile int stop; /* the signal that asked to stop */

static bool live_line; /* stderr and the live line may share a terminal */

/* The first asks the run to stop after this step; the second does not wait. */
static void on_signal(int number) {
    static const char text[] =
        "\nlamina: finishing the step and writing a checkpoint; again to exit at once\n";
    int kept = errno;
    if (stop != 0) {
        _exit(128 + number);
    }
    stop = number;
    const char *line = live_line ? text : text + 1;
    ssize_t written = write(STDERR_FILENO, line, sizeof(text) - 1 - (size_t)(line - text));
    (void)written; /* nobody can be told */
    errno = kept;
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- The command --------------------------------------------------------------------------- */

typedef struct train_options {
    lamina__common common;
    const char *out;
    lamina__maybe resume;
    bool overwrite;
    int64_t epochs;
} train_options;

/* "runs/lenet" of "configs/lenet.yaml"; lamina__free. */
static char *default_out(const char *config) {
    lamina__text out = {0};
    const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config;
    const char *dot = strrchr(name, '.');
    bool yaml =
        dot != NULL && dot != name && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
    lamina__text_add(&out, "runs/");
    lamina__text_add_bytes(&out, name, yaml ? (size_t)(dot - name) : strlen(name));
    if (out.failed) {
        lamina__text_free(&out);
    }
    return out.data;
}

static void print_end(const lamina__view *view, lamina_status status, const char *out) {
    if (status != LAMINA_OK || view->quiet) {
        return;
    }
    if (view->best_epoch > 0 && isnan(view->best_accuracy)) {
        lamina__say(stdout, "done: best loss %.6g in epoch %lld (%s/checkpoints/best.h5)",
                    view->best_loss, (long long)view->best_epoch, out);
    } else if (view->best_epoch > 0) {
        lamina__say(stdout, "done: best accuracy %.2f%% in epoch %lld (%s/checkpoints/best.h5)",
                    100 * view->best_accuracy, (long long)view->best_epoch, out);
    } else {
        lamina__say(stdout, "done after step %lld (%s/checkpoints/last.h5)", (long long)view->steps,
                    out);
    }
}

static int train(const lamina__experiment *experiment, const train_options *options,
                 const char *out) {
    lamina__view view;
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina__view_init(&view, experiment->path, out, options->common.quiet);
    char *cache = lamina__plan_cache_folder();
    const lamina__run_options run = {
        .out = out,
        .resume = options->resume.given,
        .resume_from = options->resume.text,
        .overwrite = options->overwrite,
        .threads = (int)options->common.threads,
        .kernels = options->common.kernels,
        .measure = true,
        .cache = cache,
        .on_event = lamina__view_event,
        .user = &view,
        .stop = &stop,
    };
    live_line = view.terminal;
    catch_signals();
    lamina_status status = lamina__run(experiment, &run, &diags, &error);
    lamina__view_end(&view);
    print_end(&view, status, out);
    int result = lamina__report(experiment->path, &diags, status, &error);
    lamina__diags_free(&diags);
    lamina__free(cache);
    return status == LAMINA_ERROR_INTERRUPTED ? 128 + stop : result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    train_options options = {0};
    const lamina__option table[] = {
        {"--out", "DIR", LAMINA__OPTION_TEXT, &options.out,
         "folder of the run; default: runs/<name of the config>"},
        {"--resume", "CHECKPOINT", LAMINA__OPTION_MAYBE, &options.resume,
         "go on from a checkpoint; default: the run's last.h5"},
        {"--overwrite", NULL, LAMINA__OPTION_FLAG, &options.overwrite,
         "replace the run that the folder holds"},
        LAMINA__OPTION_SET(options.common),
        LAMINA__OPTION_PLUGIN(options.common),
        LAMINA__OPTION_THREADS(options.common),
        {"--epochs", "N", LAMINA__OPTION_COUNT, &options.epochs, "short for --set train.epochs=N"},
        LAMINA__OPTION_KERNELS(options.common),
        {"--quiet", NULL, LAMINA__OPTION_FLAG, &options.common.quiet, "say nothing but errors"},
    };
    lamina__words arguments = {0};
    lamina__experiment *experiment = NULL;
    char *out = NULL, epochs[64];
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result >= 0) {
        goto done;
    }
    lamina__log_to_stderr(options.common.quiet);
    if (options.epochs > 0) {
        snprintf(epochs, sizeof(epochs), "train.epochs=%lld", (long long)options.epochs);
        void *items = options.common.set.items;
        size_t *capacity = &options.common.set.capacity;
        if (lamina__grow(&items, capacity, options.common.set.count + 1, sizeof(char *)) != 0) {
            result = LAMINA__EXIT_FAILED;
            goto done;
        }
        options.common.set.items = items;
        options.common.set.items[options.common.set.count++] = epochs;
    }
    result = lamina__read_config(arguments.items[0], &options.common, &experiment);
    if (result >= 0) {
        goto done;
    }
    out = options.out ? lamina__strdup(options.out) : default_out(arguments.items[0]);
    result = out ? train(experiment, &options, out) : LAMINA__EXIT_FAILED;

done:
    lamina__experiment_free(experiment);
    lamina__common_free(&options.common);
    lamina__free(arguments.items);
    lamina__free(out);
    return result;
}

const lamina__command lamina__train_command = {
    .name = "train",
    .arguments = "CONFIG",
    .summary = "train a network; checkpoints and metrics go to the run's folder",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
