/* Text: a growing string, JSON and number output that reads back as what was written, shapes for
 * messages, and the "did you mean" search. */
#include "base/text.h"

#include "base/alloc.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- A growing string ---------------------------------------------------------------------- */

/* Room for `more` bytes and the NUL; false when there is none. */
static bool reserve(lamina__text *text, size_t more) {
    void *data = text->data;
    if (text->failed || more > SIZE_MAX / 4 || text->length > SIZE_MAX / 4 ||
        lamina__grow(&data, &text->capacity, text->length + more + 1, 1) != 0) {
        text->failed = true;
        return false;
    }
    text->data = data;
    return true;
}

void lamina__text_add_bytes(lamina__text *text, const char *bytes, size_t length) {
    if (!reserve(text, length)) {
        return;
    }
    if (length > 0) {
        memcpy(text->data + text->length, bytes, length);
    }
    text->length += length;
    text->data[text->length] = '\0';
}

void lamina__text_add_va(lamina__text *text, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, fmt, args);
        text->length += (size_t)length;
    }
}

void lamina__text_add(lamina__text *text, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    lamina__text_add_va(text, fmt, args);
    va_end(args);
}

void lamina__text_free(lamina__text *text) {
    lamina__free(text->data);
    *text = (lamina__text){0};
}

/* ---- JSON and numbers ---------------------------------------------------------------------- */

/* No overlong forms, no surrogates, up to U+10FFFF: the second byte's range depends on the first.
 */
size_t lamina__utf8_length(const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    unsigned low = 0x80, high = 0xbf; /* of the second byte */
    size_t length;
    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        length = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        length = 3;
        low = s[0] == 0xe0 ? 0xa0 : low;
        high = s[0] == 0xed ? 0x9f : high;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        length = 4;
        low = s[0] == 0xf0 ? 0x90 : low;
        high = s[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

uint32_t lamina__utf8_code(const char *s, size_t length) {
    uint32_t code = (unsigned char)s[0] & (length == 1 ? 0x7fu : 0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        code = code << 6 | ((unsigned char)s[i] & 0x3fu);
    }
    return code;
}

void lamina__text_add_json(lamina__text *text, const char *value) {
    lamina__text_add_bytes(text, "\"", 1);
    for (const char *s = value; *s != '\0';) {
        size_t length = lamina__utf8_length(s);
        if (length == 0) {
            lamina__text_add_bytes(text, "\xef\xbf\xbd", 3);
            length = 1;
        } else if (*s == '"' || *s == '\\') {
            lamina__text_add(text, "\\%c", *s);
        } else if (*s == '\n') {
            lamina__text_add_bytes(text, "\\n", 2);
        } else if (*s == '\t') {
            lamina__text_add_bytes(text, "\\t", 2);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            lamina__text_add(text, "\\u%04x", (unsigned)*s);
        } else {
            lamina__text_add_bytes(text, s, length);
        }
        s += length;
    }
    lamina__text_add_bytes(text, "\"", 1);
}

void lamina__text_add_double(lamina__text *text, double value, bool json) {
    if (!isfinite(value)) {
        const char *word = json ? "null" : isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
        lamina__text_add_bytes(text, word, strlen(word));
        return;
    }
    char digits[40];
    if (value == trunc(value) && fabs(value) < 1e15) {
        snprintf(digits, sizeof(digits), "%.0f", value); /* 10, not 1e+01 */
    } else {
        int precision = 1;
        do { /* written and read in one locale */
            snprintf(digits, sizeof(digits), "%.*g", precision, value);
        } while (strtod(digits, NULL) != value && ++precision <= 17);
    }
    for (char *s = digits; *s != '\0'; s++) {
        if (*s == ',') { /* the program set a locale with a decimal comma */
            *s = '.';
        }
    }
    lamina__text_add_bytes(text, digits, strlen(digits));
}

/* ---- Shapes -------------------------------------------------------------------------------- */

char *lamina__shape_text(const lamina_shape *shape, char *dst, size_t size) {
    size_t used = 0;
    if (size == 0) {
        return dst;
    }
    dst[0] = '\0';
    for (int32_t i = 0; i <= shape->ndim && i <= LAMINA_MAX_DIMS; i++) {
        int n = i == shape->ndim || i == LAMINA_MAX_DIMS
                    ? snprintf(dst + used, size - used, i == 0 ? "[]" : "]")
                    : snprintf(dst + used, size - used, "%s%lld", i == 0 ? "[" : ", ",
                               (long long)shape->dim[i]);
        if (n < 0 || (size_t)n >= size - used) {
            break; /* cut, and NUL-terminated by snprintf */
        }
        used += (size_t)n;
    }
    return dst;
}

int64_t lamina__shape_count(const lamina_shape *shape) {
    int64_t count = 1;
    for (int32_t i = 0; i < shape->ndim; i++) {
        if (__builtin_mul_overflow(count, shape->dim[i], &count)) {
            return INT64_MAX;
        }
    }
    return count;
}

bool lamina__shape_equal(const lamina_shape *a, const lamina_shape *b) {
    return a->dtype == b->dtype && a->ndim == b->ndim &&
           memcmp(a->dim, b->dim, (size_t)a->ndim * sizeof(a->dim[0])) == 0;
}

/* ---- Did you mean -------------------------------------------------------------------------- */

#define MAX_WORD 48 /* longer words are not compared */

static int lower(char c) {
    return tolower((unsigned char)c);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) that make b of a; both at most MAX_WORD long. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t rows[3][MAX_WORD + 1]; /* the last three rows of the table: i-2, i-1, i modulo 3 */
    for (size_t j = 0; j <= nb; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = smaller(smaller(above[j] + 1, row[j - 1] + 1), above[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1])) {
                row[j] = smaller(row[j], above2[j - 2] + 1);
            }
        }
    }
    return rows[na % 3][nb];
}

const char *lamina__nearest(const char *word, const char *const *words, size_t n) {
    const char *best = NULL;
    size_t length = strlen(word), best_distance = 0;
    if (length == 0 || length > MAX_WORD) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t candidate = strlen(words[i]);
        if (candidate == 0 || candidate > MAX_WORD) {
            continue;
        }
        size_t distance = edit_distance(word, length, words[i], candidate);
        /* One edit in three letters, and always fewer than the letters there are. */
        size_t longer = length > candidate ? length : candidate;
        size_t allowed = longer < 6 ? 1 : longer / 3;
        bool near = distance <= allowed && distance < smaller(length, candidate);
        if (near && (best == NULL || distance < best_distance)) {
            best = words[i];
            best_distance = distance;
        }
    }
    return best;
}
