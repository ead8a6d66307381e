/* Parameter tables: from a YAML map to a C struct and back. One table drives parsing, defaults,
 * range checks, help text, the reference manual and the resolved config. */
#ifndef LAMINA_CONFIG_PARAMS_H
#define LAMINA_CONFIG_PARAMS_H

#include "config/yaml.h"

typedef struct lamina__table {
    const lamina_param *params;
    size_t count, stride; /* stride: sizeof(lamina_param) as the table's owner knew it */
} lamina__table;

#define LAMINA__TABLE(array)                                                                       \
    ((lamina__table){(array), sizeof(array) / sizeof((array)[0]), sizeof((array)[0])})

const lamina_param *lamina__table_at(lamina__table, size_t i);

/* Is the table itself sound (names, types, offsets within size, defaults that parse, ranges)? For
 * plugins. error says which param is wrong. */
lamina_status lamina__table_check(lamina__table, size_t struct_size, lamina_error *error);

/* Fills `values` with the defaults. Strings point into the table; LAMINA_REALS are empty. */
void lamina__params_default(lamina__table, void *values);

/* Defaults, then the map's values over them. `map` may be NULL, null or an empty scalar: defaults
 * only. `also`: NULL-terminated further keys that somebody else reads, or NULL. `subject` begins
 * each message: `layer "conv2" (conv)`, `data.train (idx)`. `at`: where to point when a required
 * key is missing and there is no map. Unknown keys get a "did you mean". Strings and
 * LAMINA_REALS point into the document. LAMINA_ERROR_CONFIG when anything was reported. */
lamina_status lamina__params_read(lamina__table, const lamina__node *map, void *values,
                                  const char *const *also, const char *subject,
                                  const lamina__node *at, lamina__diags *);

/* The same, but further keys are nobody's business here. */
lamina_status lamina__params_read_known(lamina__table, const lamina__node *map, void *values,
                                        const char *subject, lamina__diags *);

/* One value of any type from a scalar node; the pieces params_read is made of. */
lamina_status lamina__read_int(const lamina__node *, int64_t min, int64_t max, const char *subject,
                               int64_t *value, lamina__diags *);
lamina_status lamina__read_real(const lamina__node *, const char *subject, double *value,
                                lamina__diags *);
/* "int >= 1", "one of xavier, he", "list of up to 2 int": for help and messages. */
void lamina__param_type_text(const lamina_param *, lamina__text *);
/* One value as it is written in a config. */
void lamina__param_value_text(const lamina_param *, const void *values, lamina__text *);
/* "{filters: 20, kernel: [5, 5], ...}": every key with its value, NULL strings left out. Without
 * the braces, so that the caller can put keys of its own in front. */
void lamina__params_write(lamina__table, const void *values, lamina__text *);

#endif
