/* Errors: names of the statuses, and filling the caller's lamina_error. Nothing here allocates, so
 * that "out of memory" can be told too. */
#include "base/error.h"

#include <stdio.h>
#include <string.h>

typedef struct status_entry {
    int32_t code;
    const char *name, *meaning;
} status_entry;

static const status_entry statuses[] = {
#define STATUS_ENTRY(name, value, meaning) {value, #name, meaning},
    LAMINA_STATUS_LIST(STATUS_ENTRY)
#undef STATUS_ENTRY
};

static const status_entry *find_status(int32_t code) {
    static const status_entry unknown = {0, "unknown status", "unknown status"};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (statuses[i].code == code) {
            return &statuses[i];
        }
    }
    return &unknown;
}

const char *lamina_status_name(int32_t code) {
    return find_status(code)->name;
}

const char *lamina_status_meaning(int32_t code) {
    return find_status(code)->meaning;
}

const char *lamina_version(void) {
    return LAMINA_VERSION;
}

/* Never ends in half a UTF-8 character, where vsnprintf may have cut one. */
static void trim_partial_character(char *text) {
    size_t end = strlen(text), start = end;
    while (start > 0 && end - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80) {
        start--;
    }
    if (start == 0) {
        return;
    }
    unsigned char lead = (unsigned char)text[start - 1];
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (length > end - start + 1) {
        text[start - 1] = '\0';
    }
}

lamina_status lamina__fail_va(lamina_error *error, lamina_status code, const char *fmt,
                              va_list args) {
    if (error == NULL) {
        return code;
    }
    error->code = code;
    error->layer[0] = '\0';
    int length = vsnprintf(error->message, sizeof(error->message), fmt, args);
    if (length < 0) {
        snprintf(error->message, sizeof(error->message), "%s", lamina_status_meaning(code));
    } else if ((size_t)length >= sizeof(error->message)) {
        trim_partial_character(error->message);
    }
    return code;
}

lamina_status lamina__fail(lamina_error *error, lamina_status code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    lamina__fail_va(error, code, fmt, args);
    va_end(args);
    return code;
}

lamina_status lamina__fail_memory(lamina_error *error, const char *what) {
    return lamina__fail(error, LAMINA_ERROR_MEMORY, "out of memory (%s)", what);
}

void lamina__error_prefix(lamina_error *error, const char *fmt, ...) {
    if (error == NULL) {
        return;
    }
    char prefix[sizeof(error->message)], joined[2 * sizeof(error->message)];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(prefix, sizeof(prefix), fmt, args);
    va_end(args);
    if (length < 0) {
        return;
    }
    length = snprintf(joined, sizeof(joined), "%s: %s", prefix, error->message);
    if (length < 0) {
        return;
    }
    size_t kept =
        (size_t)length < sizeof(error->message) ? (size_t)length : sizeof(error->message) - 1;
    memcpy(error->message, joined, kept);
    error->message[kept] = '\0';
    if (kept < (size_t)length) {
        trim_partial_character(error->message);
    }
}
