/* Asking for memory that will be written soon, while other work goes on. For loops over several
 * arrays by short pieces: the processor's own fetching ahead starts again at each of them. */
#ifndef LAMINA_BASE_FETCH_H
#define LAMINA_BASE_FETCH_H

#include <stddef.h>
#include <stdint.h>

/* It does no harm if some of it lies past the end of an array. */
static inline void lamina__fetch(const void *begin, size_t bytes) {
#if defined(__GNUC__)
    const uintptr_t from = (uintptr_t)begin;
    for (size_t at = 0; at < bytes; at += 64) {
        __builtin_prefetch((const void *)(from + at), 1);
    }
#else
    (void)begin;
    (void)bytes;
#endif
}

#endif
