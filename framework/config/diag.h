/* Diagnostics: what is wrong with a config, all of it, each with its place. */
#ifndef LAMINA_CONFIG_DIAG_H
#define LAMINA_CONFIG_DIAG_H

#include "base/error.h"
#include "base/text.h"

#define LAMINA__MAX_DIAGS 20

struct lamina__node;

/* Starts zeroed. The first LAMINA__MAX_DIAGS are kept as "file:line:col: error: message" (no
 * newline), the rest counted. */
typedef struct lamina__diags {
    char *text[LAMINA__MAX_DIAGS];
    size_t kept, count;
    bool failed; /* memory ran out */
} lamina__diags;

/* at: the node the error is about, NULL when there is none. Returns LAMINA_ERROR_CONFIG. */
lamina_status lamina__diag(lamina__diags *, const struct lamina__node *at, const char *fmt, ...)
    LAMINA_PRINTF(3, 4);
/* Fills error with the first diagnostic (and "and N more"). */
lamina_status lamina__diags_error(const lamina__diags *, lamina_error *error);
void lamina__diags_free(lamina__diags *);

#endif
