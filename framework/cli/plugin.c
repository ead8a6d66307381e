/* lamina plugin check: does an operator keep the contract of lamina/layer.h?
 *
 * The plugin is loaded and run in a child process: one that crashes, hangs or exits is named with
 * the check it did so in, instead of taking the command with it. */
#include "base/alloc.h"
#include "check/check.h"
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SECONDS 120 /* a single check that takes longer hangs */

/* In memory that parent and child share. */
typedef struct where {
    char type[128], check[64], kernel[64];
    int done; /* the child came to its end */
} where;

typedef struct plugin_options {
    const char *type, *text;
    int64_t seed;
} plugin_options;

typedef struct counts {
    size_t types, cases, passed, failed, skipped;
} counts;

/* ---- In the child -------------------------------------------------------------------------- */

static void on_begin(void *arg, const char *check, const char *kernel) {
    where *place = arg;
    snprintf(place->check, sizeof(place->check), "%s", check);
    snprintf(place->kernel, sizeof(place->kernel), "%s", kernel ? kernel : "");
    alarm(CHECK_SECONDS);
}

static void print_lines(const lamina__check_report *report) {
    static const char *const words[] = {"", "ok", "FAIL", "skip"};
    for (size_t i = 0; i < report->count; i++) {
        const lamina__check_line *line = &report->lines[i];
        printf("  %-4s  %-14s %s", words[line->outcome], line->check, line->kernel);
        if (line->outcome == LAMINA__CHECK_PASSED && line->worst > 0) {
            printf(": %.2g of the tolerance", line->worst);
        }
        printf("%s%s\n", line->detail[0] ? ": " : "", line->detail);
    }
}

static void check_case(const lamina__type_entry *entry, const char *text,
                       const plugin_options *options, where *place, counts *sum) {
    const lamina__check_options check = {
        .seed = (uint64_t)options->seed, .begin = on_begin, .arg = place};
    lamina__check_report report = {0};
    lamina_error error = {0};
    sum->cases++;
    lamina__say(stdout, "%s %s", entry->type->name, text);
    fflush(stdout);
    lamina_status status = lamina__check_case(entry, text, &check, &report, &error);
    alarm(0);
    print_lines(&report);
    if (status != LAMINA_OK) {
        lamina__say(stdout, "  FAIL  case           %s", error.message);
        sum->failed++;
    }
    sum->passed += report.passed;
    sum->failed += report.failed;
    sum->skipped += report.skipped;
    lamina__check_report_free(&report);
}

static void check_type(const lamina__type_entry *entry, const plugin_options *options, where *place,
                       counts *sum) {
    const char *const *cases = entry->type->cases;
    snprintf(place->type, sizeof(place->type), "%s", entry->type->name);
    sum->types++;
    if (options->text != NULL) {
        check_case(entry, options->text, options, place, sum);
        return;
    }
    for (size_t i = 0; cases != NULL && cases[i] != NULL; i++) {
        check_case(entry, cases[i], options, place, sum);
    }
    if (cases == NULL || cases[0] == NULL) {
        printf("%s\n  FAIL  cases          it has none, so nothing can be checked; list some in "
               "`cases`, or give one with --case \"{input: [2, 3, 5, 4]}\"\n",
               entry->type->name);
        sum->failed++;
    }
}

static int check_types(const lamina__registry *registry, const char *file,
                       const plugin_options *options, where *place) {
    counts sum = {0};
    for (size_t i = 0; i < lamina__registry_count(registry); i++) {
        const lamina__type_entry *entry = lamina__registry_at(registry, i);
        if (entry->plugin_path != NULL &&
            (options->type == NULL || strcmp(options->type, entry->type->name) == 0)) {
            check_type(entry, options, place, &sum);
        }
    }
    if (sum.types == 0 && options->type != NULL) {
        return lamina__usage("plugin: %s has no layer type \"%s\"", file, options->type);
    }
    bool passed = sum.failed == 0 && sum.passed > 0;
    lamina__say(stdout, "%s: %s: %zu type%s, %zu case%s, %zu passed, %zu failed, %zu skipped", file,
                passed ? "PASSED" : "FAILED", sum.types, sum.types == 1 ? "" : "s", sum.cases,
                sum.cases == 1 ? "" : "s", sum.passed, sum.failed, sum.skipped);
    return passed ? LAMINA__EXIT_DONE : LAMINA__EXIT_FAILED;
}

static int check_plugin(const char *file, const plugin_options *options, where *place) {
    lamina__registry *registry = NULL;
    lamina_error error = {0};
    int result = LAMINA__EXIT_FAILED;
    /* No built-in types: all there is afterwards is the plugin's. */
    static const lamina_layer_type *const nothing[] = {NULL};
    char *path = realpath(file, NULL);
    snprintf(place->check, sizeof(place->check), "loading");
    alarm(CHECK_SECONDS);
    if (path == NULL) {
        lamina__say(stderr, "lamina: %s: %s", file, strerror(errno));
        goto done;
    }
    lamina_status status = lamina__registry_create(nothing, &registry, &error);
    if (status == LAMINA_OK) {
        status = lamina__registry_load(registry, path, &error);
    }
    alarm(0);
    if (status != LAMINA_OK) {
        lamina__say(stderr, "lamina: %s", error.message);
        goto done;
    }
    result = check_types(registry, file, options, place);

done:
    lamina__registry_free(registry);
    free(path);
    return result;
}

/* ---- In the parent ------------------------------------------------------------------------- */

static int tell_end(const char *file, const where *place, int status) {
    const char *kernel_word = place->kernel[0] ? ", kernel " : "";
    if (WIFEXITED(status) && place->done) {
        return WEXITSTATUS(status);
    }
    printf("  FAIL  %-14s ", place->check);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        printf("takes more than %d seconds", CHECK_SECONDS);
    } else if (WIFSIGNALED(status)) {
        printf("crashed: %s", strsignal(WTERMSIG(status)));
    } else {
        printf("ended the process with exit(%d)", WEXITSTATUS(status));
    }
    printf("%s%s%s%s\n", place->type[0] ? " in " : "", place->type, kernel_word, place->kernel);
    lamina__say(stdout, "%s: FAILED", file);
    return LAMINA__EXIT_FAILED;
}

static int check_in_child(const char *file, const plugin_options *options) {
    where *place =
        mmap(NULL, sizeof(*place), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0, result = LAMINA__EXIT_FAILED;
    if (place == MAP_FAILED) {
        fprintf(stderr, "lamina: %s\n", strerror(errno));
        return LAMINA__EXIT_FAILED;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        setvbuf(stdout, NULL, _IOLBF, 0); /* what it said before a crash is not lost */
        int answer = check_plugin(file, options, place);
        bool written = fflush(stdout) == 0 && ferror(stdout) == 0;
        place->done = 1;
        _exit(written ? answer : LAMINA__EXIT_FAILED);
    }
    if (child < 0) {
        fprintf(stderr, "lamina: %s\n", strerror(errno));
    } else {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        result = tell_end(file, place, status);
    }
    munmap(place, sizeof(*place));
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    plugin_options options = {.seed = 1};
    const lamina__option table[] = {
        {"--case", "TEXT", LAMINA__OPTION_TEXT, &options.text,
         "check this case, such as \"{input: [2, 3, 5, 4]}\", instead of the plugin's own"},
        {"--type", "NAME", LAMINA__OPTION_TEXT, &options.type, "check this layer type only"},
        {"--seed", "N", LAMINA__OPTION_COUNT, &options.seed, "of the random inputs"},
    };
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result < 0 && strcmp(arguments.items[0], "check") != 0) {
        result = lamina__usage("plugin: unknown \"%s\"; it is \"check\"", arguments.items[0]);
    }
    if (result < 0) {
        result = check_in_child(arguments.items[1], &options);
    }
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__plugin_command = {
    .name = "plugin",
    .arguments = "check FILE.so",
    .summary = "check that a plugin's operators keep the contract",
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run,
};
