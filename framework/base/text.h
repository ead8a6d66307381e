/* Text: a growing string, and small helpers on words. */
#ifndef LAMINA_BASE_TEXT_H
#define LAMINA_BASE_TEXT_H

#include "lamina/lamina.h"

#include <stdarg.h>
#include <stdbool.h>

/* A growing string; starts zeroed: `lamina__text text = {0};`. When memory runs out it keeps what
 * it has and sets failed, so a caller checks once at the end. */
typedef struct lamina__text {
    char *data; /* NUL-terminated once anything was added, else NULL */
    size_t length, capacity;
    bool failed;
} lamina__text;

void lamina__text_add(lamina__text *, const char *fmt, ...) LAMINA_PRINTF(2, 3);
void lamina__text_add_va(lamina__text *, const char *fmt, va_list) LAMINA_PRINTF(2, 0);
void lamina__text_add_bytes(lamina__text *, const char *bytes, size_t length);
/* Bytes of the well-formed UTF-8 character that text begins with, or 0 (RFC 3629). */
size_t lamina__utf8_length(const char *text);
/* The code point of such a character. */
uint32_t lamina__utf8_code(const char *text, size_t length);
/* As a JSON string, quoted and escaped. Bytes that are not UTF-8 become U+FFFD. */
void lamina__text_add_json(lamina__text *, const char *value);
/* The shortest decimal that reads back as the same double; JSON has no nan or inf: they become null
 * with json set, else "nan", "inf", "-inf". */
void lamina__text_add_double(lamina__text *, double value, bool json);
void lamina__text_free(lamina__text *);

/* "[64, 3, 28, 28]" into dst; returns dst. */
char *lamina__shape_text(const lamina_shape *shape, char *dst, size_t size);
int64_t lamina__shape_count(const lamina_shape *shape); /* product; INT64_MAX on overflow */
bool lamina__shape_equal(const lamina_shape *a, const lamina_shape *b);

/* The candidate (`words`, n of them) nearest to word by edit distance (insert, delete, replace,
 * swap neighbours; case ignored), if it is near enough to be meant; else NULL. */
const char *lamina__nearest(const char *word, const char *const *words, size_t n);

#endif
