/* Errors: filling a lamina_error in one line. */
#ifndef LAMINA_BASE_ERROR_H
#define LAMINA_BASE_ERROR_H

#include "lamina/lamina.h"

#include <stdarg.h>

/* Fills *error (may be NULL) and returns code: `return lamina__fail(error, LAMINA_ERROR_IO, ...)`.
 * A message that does not fit is cut. */
lamina_status lamina__fail(lamina_error *error, lamina_status code, const char *fmt, ...)
    LAMINA_PRINTF(3, 4);
lamina_status lamina__fail_va(lamina_error *error, lamina_status code, const char *fmt, va_list)
    LAMINA_PRINTF(3, 0);

/* The common one: "out of memory (LeNet's arena, 12.3 MB)". */
lamina_status lamina__fail_memory(lamina_error *error, const char *what);

/* Puts "prefix: " in front of error->message. */
void lamina__error_prefix(lamina_error *error, const char *fmt, ...) LAMINA_PRINTF(2, 3);

#endif
