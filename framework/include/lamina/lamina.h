/* lamina/lamina.h: what a program that embeds Lamina, or a test of it, needs to know: the error
 * struct, the allocator, the log and the version. layer.h is the interface for operators.
 *
 * The library never prints, exits or aborts. Every function that can fail returns a lamina_status
 * and fills the caller's lamina_error. */
#ifndef LAMINA_H
#define LAMINA_H

#include "lamina/layer.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LAMINA_VERSION "0.1.0"

/* Filled by a function that returned something other than LAMINA_OK; caller-owned, never freed. */
typedef struct lamina_error {
    int32_t code;       /* a lamina_status */
    char message[1024]; /* complete: says where, what and what to do; no newline at the end */
    char layer[128];    /* the layer's name, or "" */
} lamina_error;

/* "LAMINA_ERROR_SHAPE" and "shapes do not fit"; for a number that is no status, "unknown status".
 */
LAMINA_EXPORT const char *lamina_status_name(int32_t code);
LAMINA_EXPORT const char *lamina_status_meaning(int32_t code);

LAMINA_EXPORT const char *lamina_version(void);

/* Where all memory of Lamina comes from (oneDNN, HDF5 and libyaml have their own). */
typedef struct lamina_allocator {
    size_t struct_size;
    /* 64-byte aligned, uninitialised; NULL when there is none. Called from any thread. */
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *memory);
    void *user;
} lamina_allocator;

/* NULL: the C library's. Call it before anything else of Lamina, from one thread. */
LAMINA_EXPORT void lamina_set_allocator(const lamina_allocator *);

typedef void lamina_log_fn(void *user, int32_t level, const char *message);

/* Receives what the library has to say (LAMINA_LOG_...); NULL: nobody does. Any thread may call it,
 * one at a time. */
LAMINA_EXPORT void lamina_set_log(lamina_log_fn *, void *user);

#ifdef __cplusplus
}
#endif
#endif
