/* The registry: every layer type there is, built-in and from plugins, by name. */
#ifndef LAMINA_REGISTRY_REGISTRY_H
#define LAMINA_REGISTRY_REGISTRY_H

#include "config/params.h"

#include <stdbool.h>

typedef struct lamina__type_entry {
    const lamina_layer_type *type;
    const char *plugin_path; /* of the file it came from; NULL: built-in */
    const char *plugin_name, *plugin_version;
} lamina__type_entry;

typedef struct lamina__registry lamina__registry;

/* `builtin`: NULL-terminated; the table in layers/builtin.h. Each type is checked. */
lamina_status lamina__registry_create(const lamina_layer_type *const *builtin,
                                      lamina__registry **registry, lamina_error *error);
void lamina__registry_free(lamina__registry *); /* plugins stay loaded: they are never closed */

/* Loads a plugin and adds its types; loading the same file again does nothing. Refused, saying
 * why: no shared library, no entry symbol, another ABI major, a newer ABI minor than this host's
 * (naming both), a type that is not sound, a name without a dot, a name already taken (naming both
 * files). */
lamina_status lamina__registry_load(lamina__registry *, const char *path, lamina_error *error);

/* NULL when there is none. */
const lamina__type_entry *lamina__registry_find(const lamina__registry *, const char *name);
size_t lamina__registry_count(const lamina__registry *);
const lamina__type_entry *lamina__registry_at(const lamina__registry *, size_t i);
/* "did you mean": the nearest name, or NULL. */
const char *lamina__registry_nearest(const lamina__registry *, const char *name);

lamina__table lamina__type_table(const lamina_layer_type *); /* its parameter table */

/* A loss or a metric: input 1 is a target, and nobody reads its output. */
static inline bool lamina__has_target(const lamina_layer_type *type) {
    return (type->flags & (LAMINA_IS_LOSS | LAMINA_IS_METRIC)) != 0;
}

#endif
