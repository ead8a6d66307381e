/* The allocator. In front of each block lies a 64-byte header that keeps its size, so that live
 * bytes can be counted with any allocator, and the block itself stays 64-byte aligned:
 *
 *     | size .. 64 bytes | the caller's bytes ...
 *
 * The header also keeps the function that frees the block: a block made before
 * lamina_set_allocator() changed goes back to where it came from. */
#include "base/alloc.h"

#include "lamina/lamina.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 64
#define HUGE_PAGE ((size_t)2 << 20)

typedef struct block_header {
    size_t bytes; /* the caller's */
    void (*free)(void *user, void *memory);
    void *user;
} block_header;

_Static_assert(sizeof(block_header) <= ALIGNMENT, "the header fits in front of the block");

/* Large blocks begin at a huge page, and Linux is asked for such pages: kernels that walk down the
 * rows of a large matrix touch a page with every row. A wish; if it is not granted nothing is lost.
 */
static void *libc_alloc(void *user, size_t bytes) {
    (void)user;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded < bytes) {
        return NULL;
    }
    void *memory = NULL; /* aligned_alloc wants whole huge pages, and sanitizers insist on it */
    if (posix_memalign(&memory, rounded < HUGE_PAGE ? ALIGNMENT : HUGE_PAGE, rounded) != 0) {
        return NULL;
    }
#if defined(MADV_HUGEPAGE)
    if (rounded >= HUGE_PAGE) {
        (void)madvise(memory, rounded / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    }
#endif
    return memory;
}

static void libc_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

static const lamina_allocator libc_allocator = {sizeof(libc_allocator), libc_alloc, libc_free,
                                                NULL};
static lamina_allocator current = {sizeof(current), libc_alloc, libc_free, NULL};

static _Atomic uint64_t calls, live, live_bytes, peak_bytes;

void lamina_set_allocator(const lamina_allocator *allocator) {
    current = libc_allocator;
    if (allocator != NULL) { /* a caller built with a later header may know more fields */
        size_t known = allocator->struct_size;
        memcpy(&current, allocator, known < sizeof(current) ? known : sizeof(current));
    }
}

static void count_new(size_t bytes) {
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    uint64_t now = atomic_fetch_add_explicit(&live_bytes, bytes, memory_order_relaxed) + bytes;
    uint64_t peak = atomic_load_explicit(&peak_bytes, memory_order_relaxed);
    while (now > peak && !atomic_compare_exchange_weak_explicit(
                             &peak_bytes, &peak, now, memory_order_relaxed, memory_order_relaxed)) {
    }
}

void *lamina__alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX - 2 * ALIGNMENT) {
        return NULL;
    }
    char *memory = current.alloc(current.user, bytes + ALIGNMENT);
    if (memory == NULL) {
        return NULL;
    }
    *(block_header *)(void *)memory = (block_header){bytes, current.free, current.user};
    count_new(bytes);
    return memory + ALIGNMENT;
}

void *lamina__calloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        return NULL;
    }
    void *memory = lamina__alloc(bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

char *lamina__strndup(const char *text, size_t length) {
    length = strnlen(text, length);
    char *copy = lamina__alloc(length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *lamina__strdup(const char *text) {
    return lamina__strndup(text, strlen(text));
}

void lamina__free(void *memory) {
    if (memory == NULL) {
        return;
    }
    char *start = (char *)memory - ALIGNMENT;
    block_header header = *(block_header *)(void *)start;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&live_bytes, header.bytes, memory_order_relaxed);
    header.free(header.user, start);
}

int lamina__grow(void **items, size_t *capacity, size_t needed, size_t size) {
    if (needed <= *capacity) {
        return 0;
    }
    size_t wanted = *capacity > SIZE_MAX / 2 ? needed : *capacity * 2;
    wanted = wanted < needed ? needed : wanted;
    wanted = wanted < 8 ? 8 : wanted;
    void *grown = lamina__calloc(wanted, size);
    if (grown == NULL) {
        return -1;
    }
    if (*capacity > 0) {
        memcpy(grown, *items, *capacity * size);
    }
    lamina__free(*items);
    *items = grown;
    *capacity = wanted;
    return 0;
}

lamina__alloc_counts lamina__alloc_count(void) {
    return (lamina__alloc_counts){
        .calls = atomic_load(&calls),
        .live = atomic_load(&live),
        .live_bytes = atomic_load(&live_bytes),
        .peak_bytes = atomic_load(&peak_bytes),
    };
}
