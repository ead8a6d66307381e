/* The lamina command: one file for each subcommand, listed in main.c; this is what they share.
 * What they were asked for goes to stdout, everything else to stderr. */
#ifndef LAMINA_CLI_CLI_H
#define LAMINA_CLI_CLI_H

#include "train/run.h"

#include <stdio.h>

/* Exit statuses. A signal's is 128 + its number. */
enum {
    LAMINA__EXIT_DONE = 0,
    LAMINA__EXIT_FAILED = 1,
    LAMINA__EXIT_USAGE = 2,
    LAMINA__EXIT_NOTHING_TO_DO = 3,
    LAMINA__EXIT_NUMERIC = 4
};

typedef struct lamina__command lamina__command;
struct lamina__command {
    const char *name;                 /* "train" */
    const char *arguments;            /* "CONFIG" */
    const char *summary;              /* one line */
    int min_arguments, max_arguments; /* -1: any number */
    int (*run)(const lamina__command *, int argc, char **argv);
};

/* ---- Options: a table for each subcommand ---- */

typedef enum lamina__option_kind {
    LAMINA__OPTION_FLAG = 1,     /* to: bool */
    LAMINA__OPTION_TEXT,         /* to: const char * */
    LAMINA__OPTION_COUNT,        /* to: int64_t, 1 to a billion */
    LAMINA__OPTION_THREAD_COUNT, /* to: int64_t, 1 to 1024 */
    LAMINA__OPTION_LIST,         /* to: lamina__words; may be given again */
    LAMINA__OPTION_MAYBE         /* to: lamina__maybe; the value may be left out */
} lamina__option_kind;

typedef struct lamina__words {
    const char **items; /* of argv; lamina__free */
    size_t count, capacity;
} lamina__words;

typedef struct lamina__maybe {
    bool given;
    const char *text; /* NULL: left out */
} lamina__maybe;

typedef struct lamina__option {
    const char *name;  /* "--out", or "-o" */
    const char *value; /* "DIR"; NULL for a flag */
    lamina__option_kind kind;
    void *to;
    const char *doc;
} lamina__option;

/* `--name VALUE` and `--name=VALUE`; `--` ends the options. -1: go on; else the exit status (help
 * was printed, or what is wrong). */
int lamina__options_parse(const lamina__command *, const lamina__option *, size_t n, int argc,
                          char **argv, lamina__words *arguments);

/* ---- Reporting ---- */

/* One line, and its newline. Paths, and names in files that others made, may hold anything: control
 * characters, which a terminal would obey, and what is not UTF-8 are shown as "\x1b". */
void lamina__say(FILE *to, const char *fmt, ...) LAMINA_PRINTF(2, 3);
/* The same of a text that has lines of its own. */
void lamina__say_text(FILE *to, const char *text);
int lamina__exit_status(lamina_status);
/* Prints the diagnostics, each on its line, or else the error, and a summary line; returns the exit
 * status. `subject`: the config's path, or NULL. */
int lamina__report(const char *subject, const lamina__diags *, lamina_status, const lamina_error *);
/* "lamina: ..." on stderr; returns LAMINA__EXIT_USAGE. */
int lamina__usage(const char *fmt, ...) LAMINA_PRINTF(1, 2);
/* Warnings of the library go to stderr from now on; with quiet nothing does. */
void lamina__log_to_stderr(bool quiet);

/* ---- Configs ---- */

/* What most subcommands can be told. */
typedef struct lamina__common {
    lamina__words set, plugins;
    const char *kernels;
    int64_t threads;
    bool quiet;
} lamina__common;
void lamina__common_free(lamina__common *);

#define LAMINA__OPTION_SET(common)                                                                 \
    {                                                                                              \
        "--set", "KEY=VALUE", LAMINA__OPTION_LIST, &(common).set,                                  \
            "override a value of the config, such as train.epochs=3; may be given again"           \
    }
#define LAMINA__OPTION_PLUGIN(common)                                                              \
    {                                                                                              \
        "--plugin", "FILE", LAMINA__OPTION_LIST, &(common).plugins,                                \
            "load this plugin too; may be given again"                                             \
    }
#define LAMINA__OPTION_KERNELS(common)                                                             \
    {                                                                                              \
        "--kernels", "NAME", LAMINA__OPTION_TEXT, &(common).kernels,                               \
            "kernels to compute with: auto, reference, onednn, ..."                                \
    }
#define LAMINA__OPTION_THREADS(common)                                                             \
    {                                                                                              \
        "--threads", "N", LAMINA__OPTION_THREAD_COUNT, &(common).threads,                          \
            "worker threads; default: the processors this process may use"                         \
    }

/* Reads the config of `path`. -1: go on; else the exit status, and what is wrong was told. */
int lamina__read_config(const char *path, const lamina__common *, lamina__experiment **);

/* Opens a checkpoint and reads the config in it, with what --set changes. Plugins are those of
 * --plugin alone: never one that merely a checkpoint names. -1: go on. */
int lamina__read_checkpoint(const char *path, const lamina__common *, lamina__checkpoint_file **,
                            lamina__checkpoint *, lamina__experiment **);

/* From now on a crash names the plugins that the experiment has loaded. */
void lamina__name_plugins_in_crash(const lamina__experiment *);

/* ---- The manual, on stdout ---- */

/* A type's section, or the page of all. An error when a type's own cases cannot be set up. */
lamina_status lamina__manual_type(const lamina__type_entry *, lamina_error *);
lamina_status lamina__manual_layers(const lamina__registry *, lamina_error *);
/* The page of a config's other sections. */
void lamina__manual_config(void);

/* ---- Numbers ---- */

/* "1,234,567" into dst (at least 32 bytes); returns dst. */
char *lamina__grouped(int64_t number, char *dst);
/* "12.3 MB" into dst (at least 32 bytes); returns dst. */
char *lamina__bytes_text(size_t bytes, char *dst);

#endif
