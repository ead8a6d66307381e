/* Options and help, from the tables. */
#include "cli/cli.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OPTIONS 32

/* ---- Help ---------------------------------------------------------------------------------- */

static void print_help(const lamina__command *command, const lamina__option *options, size_t n) {
    printf("usage: lamina %s%s%s%s\n\n%s\n", command->name, command->arguments[0] ? " " : "",
           command->arguments, n > 0 ? " [options]" : "", command->summary);
    printf("\noptions:\n");
    for (size_t i = 0; i < n; i++) {
        const lamina__option *option = &options[i];
        const char *value = option->value ? option->value : "";
        char left[64];
        bool maybe = option->kind == LAMINA__OPTION_MAYBE;
        snprintf(left, sizeof(left), "%s%s%s%s", option->name,
                 maybe      ? " ["
                 : value[0] ? " "
                            : "",
                 value, maybe ? "]" : "");
        printf("  %-24s %s\n", left, option->doc);
    }
    printf("  %-24s %s\n", "--help", "print this");
}

/* ---- Parsing ------------------------------------------------------------------------------- */

static bool add_word(lamina__words *words, const char *word) {
    void *items = words->items;
    if (lamina__grow(&items, &words->capacity, words->count + 1, sizeof(char *)) != 0) {
        return false;
    }
    words->items = items;
    words->items[words->count++] = word;
    return true;
}

/* A whole number from 1 to most, all of the text. */
static bool read_count(const char *text, int64_t most, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < 1 ||
        number > most) {
        return false;
    }
    *value = number;
    return true;
}

static int store(const lamina__command *command, const lamina__option *option, const char *value) {
    int64_t most = option->kind == LAMINA__OPTION_THREAD_COUNT ? 1024 : 1000000000;
    switch (option->kind) {
    case LAMINA__OPTION_FLAG:
        *(bool *)option->to = true;
        return -1;
    case LAMINA__OPTION_TEXT:
        *(const char **)option->to = value;
        return -1;
    case LAMINA__OPTION_COUNT:
    case LAMINA__OPTION_THREAD_COUNT:
        if (!read_count(value, most, option->to)) {
            return lamina__usage("%s: %s needs a whole number from 1 to %lld, got \"%s\"",
                                 command->name, option->name, (long long)most, value);
        }
        return -1;
    case LAMINA__OPTION_LIST:
        if (!add_word(option->to, value)) {
            fprintf(stderr, "lamina: out of memory\n");
            return LAMINA__EXIT_FAILED;
        }
        return -1;
    case LAMINA__OPTION_MAYBE:
        *(lamina__maybe *)option->to = (lamina__maybe){true, value};
        return -1;
    }
    return LAMINA__EXIT_FAILED;
}

static int unknown_option(const lamina__command *command, const lamina__option *options, size_t n,
                          const char *name) {
    const char *names[MAX_OPTIONS + 1];
    size_t count = 0;
    for (; count < n && count < MAX_OPTIONS; count++) {
        names[count] = options[count].name;
    }
    names[count++] = "--help";
    const char *near = lamina__nearest(name, names, count);
    if (near != NULL) {
        return lamina__usage("%s: unknown option %s; did you mean %s?", command->name, name, near);
    }
    return lamina__usage("%s: unknown option %s; see \"lamina %s --help\"", command->name, name,
                         command->name);
}

/* One option at argv[*i], with its value. */
static int parse_option(const lamina__command *command, const lamina__option *options, size_t n,
                        int argc, char **argv, int *i) {
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const lamina__option *found = NULL;
    for (size_t k = 0; k < n && found == NULL; k++) {
        if (strlen(options[k].name) == length && memcmp(options[k].name, word, length) == 0) {
            found = &options[k];
        }
    }
    if (found == NULL) {
        char name[128];
        snprintf(name, sizeof(name), "%.*s", length < 127 ? (int)length : 127, word);
        return unknown_option(command, options, n, name);
    }
    const char *value = equals ? equals + 1 : NULL;
    bool next = *i + 1 < argc && value == NULL;
    if (found->kind == LAMINA__OPTION_FLAG && value != NULL) {
        return lamina__usage("%s: %s takes no value", command->name, found->name);
    }
    if (found->kind == LAMINA__OPTION_MAYBE && next && argv[*i + 1][0] != '-') {
        value = argv[++*i];
    } else if (found->kind != LAMINA__OPTION_FLAG && found->kind != LAMINA__OPTION_MAYBE) {
        if (value == NULL && !next) {
            return lamina__usage("%s: %s needs a value: %s %s", command->name, found->name,
                                 found->name, found->value);
        }
        value = value ? value : argv[++*i];
    }
    if (value != NULL && value[0] == '\0') { /* a script's variable that is not set */
        return lamina__usage("%s: %s was given an empty value; it takes %s", command->name,
                             found->name, found->value);
    }
    return store(command, found, value);
}

static int check_count(const lamina__command *command, const lamina__option *options, size_t n,
                       const lamina__words *arguments) {
    size_t least = (size_t)command->min_arguments, most = (size_t)command->max_arguments;
    if (arguments->count < least) {
        for (size_t i = 0; i < n; i++) {
            const lamina__maybe *maybe = options[i].to;
            if (options[i].kind == LAMINA__OPTION_MAYBE && maybe->text != NULL) {
                return lamina__usage("%s: needs %s (%s took \"%s\" as its %s; put %s first)",
                                     command->name, command->arguments, options[i].name,
                                     maybe->text, options[i].value, command->arguments);
            }
        }
        return lamina__usage("%s: needs %s; see \"lamina %s --help\"", command->name,
                             command->arguments, command->name);
    }
    if (command->max_arguments >= 0 && arguments->count > most) {
        return lamina__usage("%s: does not know what to do with \"%s\"; see \"lamina %s --help\"",
                             command->name, arguments->items[most], command->name);
    }
    return -1;
}

int lamina__options_parse(const lamina__command *command, const lamina__option *options, size_t n,
                          int argc, char **argv, lamina__words *arguments) {
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(command, options, n);
            return LAMINA__EXIT_DONE;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            int result = parse_option(command, options, n, argc, argv, &i);
            if (result >= 0) {
                return result;
            }
        } else if (argv[i][0] == '\0') {
            return lamina__usage("%s: an argument is empty; it takes %s", command->name,
                                 command->arguments[0] ? command->arguments : "none");
        } else if (!add_word(arguments, argv[i])) {
            fprintf(stderr, "lamina: out of memory\n");
            return LAMINA__EXIT_FAILED;
        }
    }
    return check_count(command, options, n, arguments);
}

void lamina__common_free(lamina__common *common) {
    lamina__free(common->set.items);
    lamina__free(common->plugins.items);
    *common = (lamina__common){0};
}
