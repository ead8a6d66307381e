/* Diagnostics. A message is one line, whatever text of the config it quotes. */
#include "config/diag.h"

#include "base/alloc.h"
#include "config/yaml.h"

#define MAX_MESSAGE 980 /* bytes: fits in a lamina_error, with "(and N more)" behind it */

/* "configs/lenet.yaml:31:12: ", "--set a=b: " */
static void add_place(lamina__text *text, const lamina__node *at) {
    if (at == NULL || at->origin == NULL) {
        return;
    }
    lamina__text_add(text, "%s:", at->origin);
    if (at->line > 0) {
        lamina__text_add(text, "%d:%d:", at->line, at->column);
    }
    lamina__text_add(text, " ");
}

/* Cuts a message that is too long; replaces control characters and what is not UTF-8. */
static void make_line(lamina__text *text) {
    if (text->length > MAX_MESSAGE) {
        size_t end = MAX_MESSAGE - 3;
        while (end > 0 && ((unsigned char)text->data[end] & 0xc0) == 0x80) {
            end--; /* not in the middle of a UTF-8 character */
        }
        text->length = end;
        lamina__text_add(text, "...");
    }
    for (size_t i = 0; i < text->length;) {
        size_t length = lamina__utf8_length(text->data + i);
        if (length == 0 || (unsigned char)text->data[i] < 0x20 || text->data[i] == 0x7f) {
            text->data[i] = '?';
            length = 1;
        }
        i += length;
    }
}

lamina_status lamina__diag(lamina__diags *diags, const lamina__node *at, const char *fmt, ...) {
    diags->count++;
    if (diags->kept == LAMINA__MAX_DIAGS) {
        return LAMINA_ERROR_CONFIG;
    }
    lamina__text text = {0};
    va_list args;
    add_place(&text, at);
    lamina__text_add(&text, "error: ");
    va_start(args, fmt);
    lamina__text_add_va(&text, fmt, args);
    va_end(args);
    make_line(&text);
    if (text.failed) {
        diags->failed = true;
        lamina__text_free(&text);
        return LAMINA_ERROR_CONFIG;
    }
    diags->text[diags->kept++] = text.data; /* freed in lamina__diags_free */
    return LAMINA_ERROR_CONFIG;
}

lamina_status lamina__diags_error(const lamina__diags *diags, lamina_error *error) {
    if (diags->failed) {
        return lamina__fail_memory(error, "reading the config");
    }
    if (diags->count == 0) {
        return LAMINA_OK;
    }
    if (diags->count == 1) {
        return lamina__fail(error, LAMINA_ERROR_CONFIG, "%s", diags->text[0]);
    }
    return lamina__fail(error, LAMINA_ERROR_CONFIG, "%s (and %zu more)", diags->text[0],
                        diags->count - 1);
}

void lamina__diags_free(lamina__diags *diags) {
    for (size_t i = 0; i < diags->kept; i++) {
        lamina__free(diags->text[i]);
    }
    *diags = (lamina__diags){0};
}
