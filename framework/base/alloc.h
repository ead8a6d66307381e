/* The allocator: every block Lamina owns comes from here, 64-byte aligned and counted, so that a
 * test can say "this step allocated nothing" and make any allocation fail. */
#ifndef LAMINA_BASE_ALLOC_H
#define LAMINA_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* All return NULL when there is no memory, or when count * size overflows. */
void *lamina__alloc(size_t bytes);               /* uninitialised */
void *lamina__calloc(size_t count, size_t size); /* zeroed */
char *lamina__strdup(const char *text);
char *lamina__strndup(const char *text, size_t length);
void lamina__free(void *memory); /* NULL is fine */

/* Grows a vector: makes *items hold at least `needed` items of `size` bytes, doubling *capacity;
 * new items are zeroed. 0, or -1 when out of memory (then nothing changed). */
int lamina__grow(void **items, size_t *capacity, size_t needed, size_t size);

typedef struct lamina__alloc_counts {
    uint64_t calls;      /* allocations made since the start */
    uint64_t live;       /* blocks not yet freed */
    uint64_t live_bytes; /* their bytes */
    uint64_t peak_bytes;
} lamina__alloc_counts;

lamina__alloc_counts lamina__alloc_count(void);

#endif
