/* lamina checkpoint show|verify|diff */
#include "cli/cli.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

static int failed(lamina_status status, const lamina_error *error) {
    static const lamina__diags none = {0};
    return lamina__report(NULL, &none, status, error);
}

static int show(const lamina__words *files) {
    int result = LAMINA__EXIT_DONE;
    for (size_t i = 0; i < files->count; i++) {
        lamina__text text = {0};
        lamina_error error = {0};
        lamina_status status = lamina__checkpoint_show(files->items[i], &text, &error);
        if (status != LAMINA_OK) {
            result = failed(status, &error);
        } else if (text.data != NULL) {
            lamina__say_text(stdout, text.data);
        }
        lamina__text_free(&text);
    }
    return result;
}

static int verify(const lamina__words *files) {
    int result = LAMINA__EXIT_DONE;
    for (size_t i = 0; i < files->count; i++) {
        lamina_error error = {0};
        lamina_status status = lamina__checkpoint_verify(files->items[i], &error);
        if (status != LAMINA_OK) {
            failed(status, &error);
            result = LAMINA__EXIT_FAILED;
        } else {
            lamina__say(stdout, "%s: whole", files->items[i]);
        }
    }
    return result;
}

static int diff(const lamina__words *files) {
    lamina__text text = {0};
    lamina_error error = {0};
    size_t differences = 0;
    if (files->count != 2) {
        return lamina__usage("checkpoint: diff needs two files");
    }
    lamina_status status =
        lamina__checkpoint_diff(files->items[0], files->items[1], &text, &differences, &error);
    int result = failed(status, &error);
    /* Differences; notes on plan and versions. */
    lamina__say_text(stdout, text.data ? text.data : "");
    if (status == LAMINA_OK && differences > 0) {
        result = LAMINA__EXIT_FAILED;
    } else if (status == LAMINA_OK) {
        printf("identical: weights, state, optimizer, progress, metrics\n");
    }
    lamina__text_free(&text);
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, NULL, 0, argc, argv, &arguments);
    if (result >= 0) {
        goto done;
    }
    const lamina__words files = {arguments.items + 1, arguments.count - 1, 0};
    const char *what = arguments.items[0];
    if (strcmp(what, "show") == 0) {
        result = show(&files);
    } else if (strcmp(what, "verify") == 0) {
        result = verify(&files);
    } else if (strcmp(what, "diff") == 0) {
        result = diff(&files);
    } else {
        result = lamina__usage("checkpoint: unknown \"%s\"; it is one of show, verify, diff", what);
    }

done:
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__checkpoint_command = {
    .name = "checkpoint",
    .arguments = "show|verify|diff FILE...",
    .summary = "look into checkpoints, check that they are whole, compare two",
    .min_arguments = 2,
    .max_arguments = -1,
    .run = run,
};
