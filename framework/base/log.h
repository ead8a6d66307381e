/* The log: messages for whoever called lamina_set_log. */
#ifndef LAMINA_BASE_LOG_H
#define LAMINA_BASE_LOG_H

#include "lamina/lamina.h"

#include <stdarg.h>

void lamina__log(int32_t level, const char *fmt, ...) LAMINA_PRINTF(2, 3);
void lamina__log_va(int32_t level, const char *fmt, va_list) LAMINA_PRINTF(2, 0);

#endif
