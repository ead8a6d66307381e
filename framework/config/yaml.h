/* YAML to a tree of nodes, each knowing where it came from. Scalars stay text: what they mean is
 * decided by the parameter table that reads them, never by YAML's guesses. libyaml does the
 * parsing.
 *
 * Refused with file:line:column: duplicate keys, several documents, keys that are not scalars,
 * nesting deeper than 64, more than 100,000 nodes (aliases count as often as they are used), files
 * over 16 MB, NUL bytes. */
#ifndef LAMINA_CONFIG_YAML_H
#define LAMINA_CONFIG_YAML_H

#include "config/diag.h"

typedef enum lamina__node_kind {
    LAMINA__NODE_SCALAR = 1,
    LAMINA__NODE_LIST,
    LAMINA__NODE_MAP
} lamina__node_kind;

typedef struct lamina__node lamina__node;
struct lamina__node {
    lamina__node_kind kind;
    const char *origin;   /* the file's path as given, or "--set train.epochs=3" */
    int line, column;     /* from 1; 0 when the origin has no lines (--set) */
    const char *text;     /* scalar; "" for an empty one */
    bool quoted;          /* scalar in quotes: never null */
    size_t count;         /* list: items; map: pairs */
    lamina__node **items; /* list items, or map values */
    lamina__node **keys;  /* map: scalar nodes */
    /* Room for whoever reads a list of numbers, or one number as such a list: as long as the
     * document lives. */
    double *numbers; /* list: count of them */
    double number;   /* scalar */
};

/* A parsed document; owns its nodes and the source text. */
typedef struct lamina__doc {
    lamina__node *root; /* NULL for an empty file */
    char *source;       /* as read */
    size_t source_length;
    struct lamina__doc_block *blocks; /* memory of the nodes */
} lamina__doc;

/* Errors go to diags and the result is LAMINA_ERROR_CONFIG; a file that cannot be read is
 * LAMINA_ERROR_CONFIG too (a config that is not there is a usage error), also told through diags.
 * *doc is set, too, when there were errors that the rest can be read in spite of (a duplicate key):
 * a caller may go on and find more. Free it either way; it is NULL when nothing can be read. */
lamina_status lamina__doc_load(const char *path, lamina__diags *, lamina__doc **doc);
lamina_status lamina__doc_parse(const char *text, size_t length, const char *origin,
                                lamina__diags *, lamina__doc **doc);
void lamina__doc_free(lamina__doc *);

/* "train.epochs=3": replaces or adds the value at that path; the value is parsed as YAML. A list
 * entry is named by its number from 0, or, in a list of layers, by the layer's `name`. Maps on the
 * way are made when missing; anything else is an error. */
lamina_status lamina__doc_set(lamina__doc *, const char *assignment, lamina__diags *);

/* The value of key in a map, or NULL (also when node is NULL or no map). */
lamina__node *lamina__node_get(const lamina__node *node, const char *key);
/* The key's own node, for error positions. */
lamina__node *lamina__node_key(const lamina__node *node, const char *key);
/* Empty, `~` or `null`, unquoted. */
bool lamina__node_is_null(const lamina__node *node);

/* Text as a YAML scalar that reads back as the same text: quoted only where it must be. */
void lamina__yaml_add_scalar(lamina__text *, const char *text);

#endif
