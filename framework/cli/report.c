/* Telling what went wrong, and reading configs with every mistake told. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Lines --------------------------------------------------------------------------------- */

/* C0, delete, C1 (U+0080 to U+009F, two bytes of UTF-8), or no UTF-8 at all. */
static bool is_control(const char *character, size_t length) {
    const unsigned char *c = (const unsigned char *)character;
    return length == 0 || c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
}

/* In large pieces: stderr has no buffer of its own. */
static void put_clean(FILE *to, const char *text, bool lines) {
    char buffer[1024];
    size_t used = 0;
    for (const char *c = text; *c != '\0';) {
        size_t length = lamina__utf8_length(c), bytes = length > 0 ? length : 1;
        bool plain = (lines && *c == '\n') || !is_control(c, length);
        for (size_t i = 0; i < bytes; i++) {
            if (used + sizeof("\\x1b") > sizeof(buffer)) {
                fwrite(buffer, 1, used, to);
                used = 0;
            }
            int n = snprintf(buffer + used, sizeof(buffer) - used, plain ? "%c" : "\\x%02x",
                             (unsigned char)c[i]);
            used += n > 0 ? (size_t)n : 0;
        }
        c += bytes;
    }
    fwrite(buffer, 1, used, to);
}

void lamina__say_text(FILE *to, const char *text) {
    put_clean(to, text, true);
}

static void say_va(FILE *to, const char *before, const char *fmt, va_list args) LAMINA_PRINTF(3, 0);

static void say_va(FILE *to, const char *before, const char *fmt, va_list args) {
    lamina__text line = {0};
    lamina__text_add(&line, "%s", before);
    lamina__text_add_va(&line, fmt, args);
    put_clean(to, line.data ? line.data : "lamina: out of memory", false);
    fputc('\n', to);
    lamina__text_free(&line);
}

void lamina__say(FILE *to, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_va(to, "", fmt, args);
    va_end(args);
}

/* ---- What went wrong ----------------------------------------------------------------------- */

int lamina__exit_status(lamina_status status) {
    switch (status) {
    case LAMINA_OK:
        return LAMINA__EXIT_DONE;
    case LAMINA_ERROR_CONFIG:
    case LAMINA_ERROR_SHAPE:
    case LAMINA_ERROR_USAGE:
        return LAMINA__EXIT_USAGE;
    case LAMINA_ERROR_NOTHING_TO_DO:
        return LAMINA__EXIT_NOTHING_TO_DO;
    case LAMINA_ERROR_NUMERIC:
        return LAMINA__EXIT_NUMERIC;
    default:
        return LAMINA__EXIT_FAILED;
    }
}

int lamina__usage(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_va(stderr, "lamina: ", fmt, args);
    va_end(args);
    return LAMINA__EXIT_USAGE;
}

int lamina__report(const char *subject, const lamina__diags *diags, lamina_status status,
                   const lamina_error *error) {
    if (status == LAMINA_OK) {
        return LAMINA__EXIT_DONE;
    }
    fflush(stdout);
    if (diags->count > 0) {
        for (size_t i = 0; i < diags->kept; i++) {
            lamina__say(stderr, "%s", diags->text[i]);
        }
        if (diags->count > diags->kept) {
            fprintf(stderr, "lamina: ... and %zu more\n", diags->count - diags->kept);
        }
        lamina__say(stderr, "lamina: %zu error%s in %s; nothing was written", diags->count,
                    diags->count == 1 ? "" : "s", subject ? subject : "the config");
    } else if (error != NULL && error->message[0] != '\0') {
        lamina__say(stderr, "lamina: %s", error->message);
    } else {
        fprintf(stderr, "lamina: %s\n", lamina_status_meaning(status));
    }
    return lamina__exit_status(status);
}

static void print_log(void *user, int32_t level, const char *message) {
    (void)user;
    if (level >= LAMINA_LOG_WARNING) {
        lamina__say(stderr, "lamina: %s: %s", level == LAMINA_LOG_ERROR ? "error" : "warning",
                    message);
    } else if (level >= LAMINA_LOG_INFO || getenv("LAMINA_DEBUG") != NULL) {
        lamina__say(stderr, "lamina: %s", message);
    }
}

void lamina__log_to_stderr(bool quiet) {
    lamina_set_log(quiet ? NULL : print_log, NULL);
}

/* ---- Configs ------------------------------------------------------------------------------- */

int lamina__read_config(const char *path, const lamina__common *common,
                        lamina__experiment **experiment) {
    const lamina__experiment_options options = {
        .set = common->set.items,
        .n_set = common->set.count,
        .plugins = common->plugins.items,
        .n_plugins = common->plugins.count,
    };
    lamina__diags diags = {0};
    lamina_status status = lamina__experiment_read(path, &options, experiment, &diags);
    int result = status == LAMINA_OK ? -1 : lamina__report(path, &diags, status, NULL);
    if (status == LAMINA_OK) {
        lamina__name_plugins_in_crash(*experiment);
    }
    lamina__diags_free(&diags);
    return result;
}

/* Whether the checkpoint's config names plugins: then an unknown layer type may be in one. */
static bool names_plugins(const char *config) {
    return strncmp(config, "plugins:", 8) == 0 || strstr(config, "\nplugins:") != NULL;
}

int lamina__read_checkpoint(const char *path, const lamina__common *common,
                            lamina__checkpoint_file **file, lamina__checkpoint *checkpoint,
                            lamina__experiment **experiment) {
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina_status status = lamina__checkpoint_open(path, file, checkpoint, &error);
    if (status == LAMINA_OK && checkpoint->config_resolved == NULL) {
        status = lamina__fail(&error, LAMINA_ERROR_CHECKPOINT,
                              "%s: has no config; it cannot be run by itself", path);
    }
    if (status == LAMINA_OK) {
        const lamina__experiment_options options = {
            .set = common->set.items,
            .n_set = common->set.count,
            .plugins = common->plugins.items,
            .n_plugins = common->plugins.count,
            .text = checkpoint->config_resolved,
            .ignore_plugins = true,
        };
        status = lamina__experiment_read(path, &options, experiment, &diags);
    }
    int result = status == LAMINA_OK ? -1 : lamina__report(path, &diags, status, &error);
    if (status == LAMINA_OK) {
        lamina__name_plugins_in_crash(*experiment);
    }
    if (diags.count > 0 && names_plugins(checkpoint->config_resolved)) {
        fprintf(stderr, "lamina: the checkpoint was made with plugins; name those that you trust "
                        "with --plugin FILE\n");
    }
    lamina__diags_free(&diags);
    return result;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

char *lamina__grouped(int64_t number, char *dst) {
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)number), out = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0 && digits[i - 1] != '-') {
            dst[out++] = ',';
        }
        dst[out++] = digits[i];
    }
    dst[out] = '\0';
    return dst;
}

char *lamina__bytes_text(size_t bytes, char *dst) {
    if (bytes < 10000) {
        snprintf(dst, 32, "%zu bytes", bytes);
    } else if (bytes < 10000000) {
        snprintf(dst, 32, "%.1f kB", (double)bytes / 1e3);
    } else {
        snprintf(dst, 32, "%.1f MB", (double)bytes / 1e6);
    }
    return dst;
}
