/* YAML to nodes. libyaml turns text into events; the builder turns events into a tree, keeping its
 * own stack, so that no input can exhaust the C stack. Nodes live in blocks that the document owns
 * and are never freed one by one.
 *
 * An alias becomes a copy of what it names, so every node has one parent, and --set changes the one
 * place it names. Copies count against the node budget: an alias bomb is refused, not expanded. */
#include "config/yaml.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define MAX_DEPTH  64
#define MAX_NODES  100000
#define MAX_SOURCE ((size_t)16 << 20)
#define MAX_ORIGIN 200 /* bytes of an assignment in messages */
#define BLOCK_SIZE ((size_t)16 << 10)

/* ---- The document's memory ----------------------------------------------------------------- */

struct lamina__doc_block {
    struct lamina__doc_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

/* Memory that lives as long as the document; NULL when there is none. */
static void *take(lamina__doc *doc, size_t bytes) {
    struct lamina__doc_block *block = doc->blocks;
    bytes = (bytes + 15) / 16 * 16;
    if (block == NULL || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_SIZE ? bytes : BLOCK_SIZE;
        block = lamina__alloc(sizeof(*block) + size);
        if (block == NULL) {
            return NULL;
        }
        *block = (struct lamina__doc_block){.next = doc->blocks, .size = size};
        doc->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += bytes;
    return memory;
}

static const char *take_text(lamina__doc *doc, const char *text, size_t length) {
    char *copy = take(doc, length + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

static lamina__node *make_node(lamina__doc *doc, lamina__node_kind kind,
                               const lamina__node *place) {
    lamina__node *node = take(doc, sizeof(*node));
    if (node != NULL) {
        *node = (lamina__node){.kind = kind,
                               .origin = place->origin,
                               .line = place->line,
                               .column = place->column,
                               .text = ""};
    }
    return node;
}

static lamina__node *make_scalar(lamina__doc *doc, const char *text, size_t length,
                                 const lamina__node *place) {
    lamina__node *node = make_node(doc, LAMINA__NODE_SCALAR, place);
    const char *copy = node ? take_text(doc, text, length) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    node->text = copy;
    return node;
}

/* Gives a list or map room for count items, for the caller to fill. */
static bool take_items(lamina__doc *doc, lamina__node *node, size_t count) {
    lamina__node **items = take(doc, count * sizeof(lamina__node *));
    lamina__node **keys = NULL;
    if (node->kind == LAMINA__NODE_LIST) {
        node->numbers = take(doc, count * sizeof(double));
        if (node->numbers == NULL) {
            return false;
        }
    }
    if (node->kind == LAMINA__NODE_MAP) {
        keys = take(doc, count * sizeof(lamina__node *));
        if (keys == NULL) {
            return false;
        }
    }
    if (items == NULL) {
        return false;
    }
    node->items = items;
    node->keys = keys;
    node->count = count;
    return true;
}

/* ---- The builder --------------------------------------------------------------------------- */

typedef struct anchor {
    const char *name;
    const lamina__node *node;
    bool open; /* its list or map has not ended yet */
} anchor;

/* A list or map that has begun: its children lie in `pending` from first_child on. */
typedef struct frame {
    lamina__node *node;
    size_t first_child;
    size_t anchor; /* its anchor's index + 1; 0: none */
} frame;

typedef struct builder {
    lamina__doc *doc;
    lamina__diags *diags;
    const char *origin;
    bool has_lines; /* a file, not --set */
    frame stack[MAX_DEPTH];
    size_t depth;
    lamina__node *
        *pending; /* finished nodes whose parent has not ended; keys and values alternate */
    size_t n_pending, pending_capacity;
    anchor *anchors;
    size_t n_anchors, anchor_capacity;
    size_t n_nodes, n_documents;
    lamina__node *root;
    bool stop; /* nothing that follows can be read */
} builder;

static void out_of_memory(builder *b) {
    b->diags->failed = true;
    b->stop = true;
}

static lamina__node place_of(const builder *b, yaml_mark_t mark) {
    lamina__node place = {.kind = LAMINA__NODE_SCALAR, .origin = b->origin, .text = ""};
    if (b->has_lines) {
        place.line = (int)mark.line + 1;
        place.column = (int)mark.column + 1;
    }
    return place;
}

static void refuse(builder *b, yaml_mark_t mark, const char *problem) {
    lamina__node place = place_of(b, mark);
    lamina__diag(b->diags, &place, "%s", problem);
}

static void refuse_and_stop(builder *b, yaml_mark_t mark, const char *problem) {
    refuse(b, mark, problem);
    b->stop = true;
}

/* Counts a node against the budget; false when it is spent. */
static bool count_node(builder *b, yaml_mark_t mark) {
    if (++b->n_nodes > MAX_NODES) {
        refuse_and_stop(b, mark, "more than 100000 values, aliases counted as often as used");
        return false;
    }
    return true;
}

/* A node is finished: it is the root, or waits for its parent to end. */
static void finish_node(builder *b, lamina__node *node) {
    void *pending = b->pending;
    if (b->depth == 0) {
        b->root = node;
        return;
    }
    if (lamina__grow(&pending, &b->pending_capacity, b->n_pending + 1, sizeof(node)) != 0) {
        out_of_memory(b);
        return;
    }
    b->pending = pending;
    b->pending[b->n_pending++] = node;
}

/* Remembers what &name stands for; returns its index + 1, 0 when there is no anchor. */
static size_t add_anchor(builder *b, const yaml_char_t *name, const lamina__node *node, bool open) {
    void *anchors = b->anchors;
    if (name == NULL) {
        return 0;
    }
    const char *copy = take_text(b->doc, (const char *)name, strlen((const char *)name));
    if (copy == NULL ||
        lamina__grow(&anchors, &b->anchor_capacity, b->n_anchors + 1, sizeof(anchor)) != 0) {
        out_of_memory(b);
        return 0;
    }
    b->anchors = anchors;
    b->anchors[b->n_anchors++] = (anchor){copy, node, open};
    return b->n_anchors;
}

static void on_scalar(builder *b, const yaml_event_t *event) {
    size_t length = event->data.scalar.length;
    const char *text = (const char *)event->data.scalar.value;
    lamina__node place = place_of(b, event->start_mark);
    if (!count_node(b, event->start_mark)) {
        return;
    }
    if (event->data.scalar.tag != NULL) {
        refuse(b, event->start_mark, "tags (!name) are not supported");
    }
    if (memchr(text, '\0', length) != NULL) {
        refuse(b, event->start_mark, "a NUL character is not allowed in a value");
    }
    lamina__node *node = make_scalar(b->doc, text, length, &place);
    if (node == NULL) {
        out_of_memory(b);
        return;
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    add_anchor(b, event->data.scalar.anchor, node, false);
    finish_node(b, node);
}

static void on_begin(builder *b, const yaml_event_t *event) {
    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t *name =
        list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor;
    const yaml_char_t *tag = list ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    lamina__node place = place_of(b, event->start_mark);
    if (!count_node(b, event->start_mark)) {
        return;
    }
    if (b->depth == MAX_DEPTH) {
        refuse_and_stop(b, event->start_mark, "nested deeper than 64 levels");
        return;
    }
    if (tag != NULL) {
        refuse(b, event->start_mark, "tags (!name) are not supported");
    }
    lamina__node *node = make_node(b->doc, list ? LAMINA__NODE_LIST : LAMINA__NODE_MAP, &place);
    if (node == NULL) {
        out_of_memory(b);
        return;
    }
    size_t anchor_number = add_anchor(b, name, node, true);
    b->stack[b->depth++] = (frame){node, b->n_pending, anchor_number};
}

/* ---- Maps ---------------------------------------------------------------------------------- */

static int compare_places(const lamina__node *a, const lamina__node *b) {
    if (a->line != b->line) {
        return a->line < b->line ? -1 : 1;
    }
    return (a->column > b->column) - (a->column < b->column);
}

static int compare_keys(const void *a, const void *b) {
    const lamina__node *first = *(lamina__node *const *)a, *second = *(lamina__node *const *)b;
    int order = strcmp(first->text, second->text);
    return order ? order : compare_places(first, second);
}

/* Sorted, equal keys are neighbours: no map is large enough to make this slow. */
static void check_duplicates(builder *b, const lamina__node *map) {
    size_t bytes = map->count * sizeof(lamina__node *);
    if (map->count < 2) {
        return;
    }
    lamina__node **sorted = lamina__alloc(bytes);
    if (sorted == NULL) {
        out_of_memory(b);
        return;
    }
    memcpy(sorted, map->keys, bytes);
    qsort(sorted, map->count, sizeof(lamina__node *), compare_keys);
    size_t first = 0;
    for (size_t i = 1; i < map->count; i++) {
        if (strcmp(sorted[i]->text, sorted[first]->text) != 0) {
            first = i;
        } else if (b->has_lines) {
            lamina__diag(b->diags, sorted[i], "duplicate key \"%s\"; it is on line %d already",
                         sorted[i]->text, sorted[first]->line);
        } else {
            lamina__diag(b->diags, sorted[i], "duplicate key \"%s\"", sorted[i]->text);
        }
    }
    lamina__free(sorted);
}

static bool usable_key(builder *b, const lamina__node *key) {
    if (key->kind != LAMINA__NODE_SCALAR) {
        lamina__diag(b->diags, key, "a key must be a word, not a %s",
                     key->kind == LAMINA__NODE_LIST ? "list" : "map");
        return false;
    }
    if (!key->quoted && strcmp(key->text, "<<") == 0) {
        lamina__diag(b->diags, key, "merge keys (<<) are not supported; write the keys out");
        return false;
    }
    if (!key->quoted && key->text[0] == '\0') {
        lamina__diag(b->diags, key, "a key is missing before \":\"");
        return false;
    }
    return true;
}

/* pending: key, value, key, value ... */
static void fill_map(builder *b, lamina__node *map, lamina__node **children, size_t n) {
    if (!take_items(b->doc, map, n / 2)) {
        out_of_memory(b);
        return;
    }
    map->count = 0;
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (usable_key(b, children[i])) {
            map->keys[map->count] = children[i];
            map->items[map->count++] = children[i + 1];
        }
    }
    check_duplicates(b, map);
}

static void on_end(builder *b) {
    frame ended = b->stack[--b->depth];
    lamina__node **children = b->pending + ended.first_child;
    size_t n = b->n_pending - ended.first_child;
    if (ended.node->kind == LAMINA__NODE_MAP) {
        fill_map(b, ended.node, children, n);
    } else if (!take_items(b->doc, ended.node, n)) {
        out_of_memory(b);
    } else if (n > 0) {
        memcpy(ended.node->items, children, n * sizeof(lamina__node *));
    }
    if (b->stop) {
        return;
    }
    b->n_pending = ended.first_child;
    if (ended.anchor > 0) {
        b->anchors[ended.anchor - 1].open = false;
    }
    finish_node(b, ended.node);
}

/* ---- Aliases ------------------------------------------------------------------------------- */

/* A deep copy; texts are shared, they never change. NULL when it was refused. */
static lamina__node *copy_node(builder *b, const lamina__node *from, yaml_mark_t mark,
                               size_t depth) {
    if (!count_node(b, mark)) {
        return NULL;
    }
    if (from->kind != LAMINA__NODE_SCALAR && depth >= MAX_DEPTH) {
        refuse_and_stop(b, mark, "nested deeper than 64 levels");
        return NULL;
    }
    lamina__node *node = take(b->doc, sizeof(*node));
    if (node == NULL) {
        out_of_memory(b);
        return NULL;
    }
    *node = *from;
    if (from->kind != LAMINA__NODE_SCALAR && !take_items(b->doc, node, from->count)) {
        out_of_memory(b);
        return NULL;
    }
    for (size_t i = 0; i < from->count; i++) {
        if (from->keys != NULL) {
            node->keys[i] = copy_node(b, from->keys[i], mark, depth + 1);
        }
        if (b->stop) {
            return NULL;
        }
        node->items[i] = copy_node(b, from->items[i], mark, depth + 1);
        if (b->stop) {
            return NULL;
        }
    }
    return node;
}

static void on_alias(builder *b, const yaml_event_t *event) {
    const char *name = (const char *)event->data.alias.anchor;
    lamina__node place = place_of(b, event->start_mark);
    size_t i = b->n_anchors; /* the latest of that name counts */
    while (i > 0 && strcmp(b->anchors[i - 1].name, name) != 0) {
        i--;
    }
    if (i == 0 || b->anchors[i - 1].open) {
        lamina__diag(
            b->diags, &place,
            i == 0 ? "unknown alias \"*%s\"" : "alias \"*%s\" stands inside its own anchor", name);
        b->stop = true;
        return;
    }
    lamina__node *copy = copy_node(b, b->anchors[i - 1].node, event->start_mark, b->depth);
    if (copy != NULL) {
        copy->line = place.line; /* the value is used here */
        copy->column = place.column;
        finish_node(b, copy);
    }
}

/* ---- Parsing ------------------------------------------------------------------------------- */

static void on_event(builder *b, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->n_documents++ > 0) {
            refuse_and_stop(b, event->start_mark, "a second document (---); only one is allowed");
        }
        break;
    case YAML_SCALAR_EVENT:
        on_scalar(b, event);
        break;
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        on_begin(b, event);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_end(b);
        break;
    case YAML_ALIAS_EVENT:
        on_alias(b, event);
        break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
}

/* Line and column of a byte, as libyaml counts them: from 0, columns in characters. */
static yaml_mark_t mark_of_byte(const char *text, size_t offset) {
    yaml_mark_t mark = {.index = offset};
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

/* libyaml gave up: says where and why. */
static void on_parser_error(builder *b, const yaml_parser_t *parser, const char *text,
                            size_t length) {
    if (parser->error == YAML_MEMORY_ERROR) {
        out_of_memory(b);
        return;
    }
    yaml_mark_t mark = parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) {
        size_t offset = parser->problem_offset;
        mark = mark_of_byte(text, offset < length ? offset : length);
    }
    const char *problem = parser->problem ? parser->problem : "not YAML";
    lamina__node place = place_of(b, mark);
    if (parser->context != NULL && b->has_lines) {
        lamina__diag(b->diags, &place, "not valid YAML: %s, %s (from line %d)", parser->context,
                     problem, (int)parser->context_mark.line + 1);
    } else {
        lamina__diag(b->diags, &place, "not valid YAML: %s", problem);
    }
    b->stop = true;
}

static void run_parser(builder *b, const char *text, size_t length) {
    yaml_parser_t parser;
    yaml_event_t event;
    if (!yaml_parser_initialize(&parser)) {
        out_of_memory(b);
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    bool ended = false;
    while (!ended && !b->stop) {
        if (!yaml_parser_parse(&parser, &event)) {
            on_parser_error(b, &parser, text, length);
            break;
        }
        on_event(b, &event);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
}

/* Parses into nodes of the document. *root is NULL when there is nothing or it cannot be read. */
static lamina_status build(lamina__doc *doc, const char *text, size_t length, const char *origin,
                           bool has_lines, lamina__diags *diags, lamina__node **root) {
    builder b = {.doc = doc, .diags = diags, .origin = origin, .has_lines = has_lines};
    size_t count_before = diags->count;
    const char *nul = length > 0 ? memchr(text, '\0', length) : NULL;
    if (nul != NULL) {
        refuse_and_stop(&b, mark_of_byte(text, (size_t)(nul - text)),
                        "a NUL byte: this is not a text file in UTF-8");
    } else {
        run_parser(&b, text, length);
    }
    lamina__free(b.pending);
    lamina__free(b.anchors);
    *root = b.stop ? NULL : b.root;
    if (diags->failed) {
        return LAMINA_ERROR_MEMORY;
    }
    return diags->count > count_before ? LAMINA_ERROR_CONFIG : LAMINA_OK;
}

/* ---- Documents ----------------------------------------------------------------------------- */

/* Bytes of the mark that some editors put before UTF-8. libyaml would count it as a column, and
 * then take the first line for indented more than the rest. */
static size_t byte_order_mark(const char *text, size_t length) {
    return length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

void lamina__doc_free(lamina__doc *doc) {
    if (doc == NULL) {
        return;
    }
    while (doc->blocks != NULL) {
        struct lamina__doc_block *next = doc->blocks->next;
        lamina__free(doc->blocks);
        doc->blocks = next;
    }
    lamina__free(doc->source);
    lamina__free(doc);
}

static lamina_status no_memory(lamina__diags *diags) {
    diags->failed = true;
    return LAMINA_ERROR_MEMORY;
}

lamina_status lamina__doc_parse(const char *text, size_t length, const char *origin,
                                lamina__diags *diags, lamina__doc **result) {
    lamina_status status;
    *result = NULL;
    if (length > MAX_SOURCE) {
        lamina__node place = {.origin = origin};
        return lamina__diag(diags, &place, "larger than 16 MB: not a config");
    }
    lamina__doc *doc = lamina__calloc(1, sizeof(*doc));
    if (doc == NULL) {
        return no_memory(diags);
    }
    const char *origin_copy = take_text(doc, origin, strlen(origin));
    doc->source = lamina__alloc(length + 1);
    if (origin_copy == NULL || doc->source == NULL) {
        lamina__doc_free(doc);
        return no_memory(diags);
    }
    if (length > 0) {
        memcpy(doc->source, text, length);
    }
    doc->source[length] = '\0';
    doc->source_length = length;
    size_t skipped = byte_order_mark(text, length);
    status =
        build(doc, doc->source + skipped, length - skipped, origin_copy, true, diags, &doc->root);
    if (status != LAMINA_OK && doc->root == NULL) {
        lamina__doc_free(doc);
        return status;
    }
    *result = doc;
    return status;
}

/* The whole file; says itself what is wrong. */
static lamina_status read_file(const char *path, lamina__text *text, lamina__diags *diags) {
    char piece[16384];
    size_t got;
    lamina_status status = LAMINA_OK;
    lamina__node place = {.origin = path};
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return lamina__diag(diags, &place, "cannot be opened: %s", strerror(errno));
    }
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0 && text->length <= MAX_SOURCE &&
           !text->failed) {
        lamina__text_add_bytes(text, piece, got);
    }
    if (ferror(file)) {
        status = lamina__diag(diags, &place, "cannot be read: %s", strerror(errno));
    } else if (text->failed) {
        status = no_memory(diags);
    }
    fclose(file);
    return status;
}

lamina_status lamina__doc_load(const char *path, lamina__diags *diags, lamina__doc **doc) {
    lamina__text text = {0};
    *doc = NULL;
    lamina_status status = read_file(path, &text, diags);
    if (status == LAMINA_OK) {
        status = lamina__doc_parse(text.data ? text.data : "", text.length, path, diags, doc);
    }
    lamina__text_free(&text);
    return status;
}

/* ---- Looking ------------------------------------------------------------------------------- */

static size_t find_key(const lamina__node *map, const char *key, size_t length) {
    size_t i = 0;
    while (i < map->count &&
           (strlen(map->keys[i]->text) != length || memcmp(map->keys[i]->text, key, length) != 0)) {
        i++;
    }
    return i;
}

static bool is_map(const lamina__node *node) {
    return node != NULL && node->kind == LAMINA__NODE_MAP;
}

lamina__node *lamina__node_get(const lamina__node *node, const char *key) {
    size_t i = is_map(node) ? find_key(node, key, strlen(key)) : 0;
    return is_map(node) && i < node->count ? node->items[i] : NULL;
}

lamina__node *lamina__node_key(const lamina__node *node, const char *key) {
    size_t i = is_map(node) ? find_key(node, key, strlen(key)) : 0;
    return is_map(node) && i < node->count ? node->keys[i] : NULL;
}

bool lamina__node_is_null(const lamina__node *node) {
    return node->kind == LAMINA__NODE_SCALAR && !node->quoted &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}

/* ---- --set --------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Where a --set is: *slot is the node that `path`, what is left of the path, is about. */
typedef struct walk {
    lamina__doc *doc;
    lamina__diags *diags;
    const lamina__node *place; /* the origin of new nodes and errors */
    lamina__node **slot;
    const char *path, *end;
} walk;

static size_t segment_length(const walk *w) {
    const char *dot = memchr(w->path, '.', (size_t)(w->end - w->path));
    return (size_t)((dot ? dot : w->end) - w->path);
}

/* Does the path begin with this name, as whole segments? A name may contain dots itself. */
static bool begins_with(const walk *w, const char *name, size_t length) {
    size_t left = (size_t)(w->end - w->path);
    return length > 0 && length <= left && memcmp(w->path, name, length) == 0 &&
           (length == left || w->path[length] == '.');
}

static void advance(walk *w, size_t length) {
    w->path += length;
    w->path += w->path < w->end;
}

/* Adds key: null to a map, and goes there. */
static lamina_status add_pair(walk *w, size_t key_length) {
    lamina__node *map = *w->slot, old = *map;
    lamina__node *key = make_scalar(w->doc, w->path, key_length, w->place);
    lamina__node *value = make_scalar(w->doc, "", 0, w->place);
    if (key == NULL || value == NULL || !take_items(w->doc, map, old.count + 1)) {
        return no_memory(w->diags);
    }
    if (old.count > 0) {
        memcpy(map->keys, old.keys, old.count * sizeof(lamina__node *));
        memcpy(map->items, old.items, old.count * sizeof(lamina__node *));
    }
    key->quoted = true; /* whatever the word, it is a key */
    map->keys[old.count] = key;
    map->items[old.count] = value;
    w->slot = &map->items[old.count];
    advance(w, key_length);
    return LAMINA_OK;
}

static lamina_status enter_map(walk *w) {
    lamina__node *map = *w->slot;
    size_t best = 0, found = map->count;
    for (size_t i = 0; i < map->count; i++) {
        size_t length = strlen(map->keys[i]->text);
        if (length > best && begins_with(w, map->keys[i]->text, length)) {
            best = length;
            found = i;
        }
    }
    if (found == map->count) {
        return add_pair(w, segment_length(w));
    }
    w->slot = &map->items[found];
    advance(w, best);
    return LAMINA_OK;
}

/* A layer is one list entry, `relu` or `conv: {...}`. NULL when this is none. */
static const char *layer_type(const lamina__node *entry) {
    if (entry->kind == LAMINA__NODE_SCALAR && !lamina__node_is_null(entry)) {
        return entry->text;
    }
    bool one_key = entry->kind == LAMINA__NODE_MAP && entry->count == 1;
    return one_key && (is_map(entry->items[0]) || lamina__node_is_null(entry->items[0]))
               ? entry->keys[0]->text
               : NULL;
}

static const char *layer_name(const lamina__node *entry) {
    const lamina__node *name =
        is_map(entry) && entry->count == 1 ? lamina__node_get(entry->items[0], "name") : NULL;
    return name != NULL && name->kind == LAMINA__NODE_SCALAR ? name->text : NULL;
}

/* The layer whose name the path begins with, the longest such name; list->count: none. */
static size_t find_named_layer(const walk *w, size_t *length) {
    const lamina__node *list = *w->slot;
    size_t found = list->count;
    *length = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *name = layer_name(list->items[i]);
        size_t n = name ? strlen(name) : 0;
        if (n > *length && begins_with(w, name, n)) {
            found = i;
            *length = n;
        }
    }
    return found;
}

/* The number behind a type in the path, as the 2 in "conv2.filters"; 0: none. *length: of both. */
static size_t number_after(const walk *w, const char *type, size_t *length) {
    size_t left = (size_t)(w->end - w->path), i = strlen(type), number = 0;
    if (i >= left || memcmp(w->path, type, i) != 0 || w->path[i] == '0') {
        return 0;
    }
    for (; i < left && is_digit(w->path[i]) && number <= MAX_NODES; i++) {
        number = number * 10 + (size_t)(w->path[i] - '0');
    }
    *length = i;
    return i == left || w->path[i] == '.' ? number : 0;
}

/* The layer that the path calls by type and number, "conv2" for the second conv. */
static size_t find_numbered_layer(const walk *w, size_t *length) {
    const lamina__node *list = *w->slot;
    const char *tried = NULL;
    for (size_t i = 0; i < list->count; i++) {
        const char *type = layer_type(list->items[i]);
        if (type == NULL || (tried != NULL && strcmp(type, tried) == 0)) {
            continue;
        }
        size_t number = number_after(w, type, length), seen = 0;
        for (size_t j = 0; number > 0 && j < list->count; j++) {
            const char *other = layer_type(list->items[j]);
            seen += other != NULL && strcmp(other, type) == 0;
            if (seen == number) {
                return j;
            }
        }
        tried = number > 0 ? type : tried;
    }
    return list->count;
}

/* `relu` becomes `relu: {}`, so that a parameter can be set. */
static lamina_status open_layer(walk *w, lamina__node **entry) {
    if ((*entry)->kind == LAMINA__NODE_SCALAR) {
        lamina__node *key = *entry;
        lamina__node *map = make_node(w->doc, LAMINA__NODE_MAP, key);
        lamina__node *inner = make_node(w->doc, LAMINA__NODE_MAP, key);
        if (map == NULL || inner == NULL || !take_items(w->doc, map, 1)) {
            return no_memory(w->diags);
        }
        map->keys[0] = key;
        map->items[0] = inner;
        *entry = map;
    }
    w->slot = &(*entry)->items[0];
    return LAMINA_OK;
}

static lamina_status no_such_entry(const walk *w) {
    const lamina__node *list = *w->slot;
    const char *nearest = NULL;
    char word[128];
    snprintf(word, sizeof(word), "%.*s", (int)segment_length(w), w->path);
    const char **names = lamina__calloc(list->count + 1, sizeof(char *));
    size_t n = 0;
    if (names == NULL) {
        return no_memory(w->diags);
    }
    for (size_t i = 0; i < list->count; i++) {
        const char *name = layer_name(list->items[i]);
        if (name != NULL) {
            names[n++] = name;
        }
    }
    nearest = lamina__nearest(word, names, n);
    lamina__free(names);
    if (nearest != NULL) {
        return lamina__diag(w->diags, w->place, "there is no entry \"%s\"; did you mean \"%s\"?",
                            word, nearest);
    }
    return lamina__diag(w->diags, w->place,
                        "there is no entry \"%s\"; the list has %zu entries, numbered from 0, and "
                        "layers go by their name",
                        word, list->count);
}

static lamina_status enter_list(walk *w) {
    lamina__node *list = *w->slot;
    size_t length, number = number_after(w, "", &length);
    bool zero = begins_with(w, "0", 1);
    if ((zero || number > 0) && number < list->count) {
        w->slot = &list->items[number];
        advance(w, zero ? 1 : length);
        return LAMINA_OK;
    }
    size_t found = find_named_layer(w, &length);
    if (found == list->count) {
        found = find_numbered_layer(w, &length);
    }
    if (found == list->count) {
        return no_such_entry(w);
    }
    advance(w, length);
    return open_layer(w, &list->items[found]);
}

static lamina_status enter(walk *w) {
    lamina__node *node = *w->slot;
    if (node == NULL || lamina__node_is_null(node)) {
        *w->slot = make_node(w->doc, LAMINA__NODE_MAP, w->place);
        if (*w->slot == NULL) {
            return no_memory(w->diags);
        }
        return enter_map(w);
    }
    if (node->kind == LAMINA__NODE_MAP) {
        return enter_map(w);
    }
    if (node->kind == LAMINA__NODE_LIST) {
        return enter_list(w);
    }
    return lamina__diag(w->diags, w->place, "\"%s\" is a value: it has no \"%.*s\"", node->text,
                        (int)segment_length(w), w->path);
}

/* Between path and end: segments, none empty, not too many. */
static lamina_status check_path(const char *path, const char *end, const lamina__node *place,
                                lamina__diags *diags) {
    size_t segments = 1;
    bool empty = path == end || *path == '.' || end[-1] == '.';
    for (const char *s = path; s < end;) {
        size_t length = lamina__utf8_length(s);
        if (length == 0) {
            return lamina__diag(diags, place, "the path is not UTF-8");
        }
        s += length;
    }
    for (const char *s = path; s < end; s++) {
        segments += *s == '.';
        empty = empty || (*s == '.' && s + 1 < end && s[1] == '.');
    }
    if (empty) {
        return lamina__diag(diags, place,
                            "a name is missing in the path; write it like train.epochs=3");
    }
    if (segments > MAX_DEPTH) {
        return lamina__diag(diags, place, "nested deeper than 64 levels");
    }
    return LAMINA_OK;
}

lamina_status lamina__doc_set(lamina__doc *doc, const char *assignment, lamina__diags *diags) {
    const char *equals = strchr(assignment, '=');
    lamina__node *value = NULL, place = {.kind = LAMINA__NODE_SCALAR, .text = ""};
    lamina__text origin = {0};
    bool cut = strlen(assignment) > MAX_ORIGIN;
    lamina__text_add(&origin, "--set %.*s%s", MAX_ORIGIN, assignment, cut ? "..." : "");
    place.origin = origin.failed ? NULL : take_text(doc, origin.data, origin.length);
    lamina__text_free(&origin);
    if (place.origin == NULL) {
        return no_memory(diags);
    }
    if (equals == NULL) {
        return lamina__diag(diags, &place, "no \"=\"; write it like train.epochs=3");
    }
    lamina_status status = check_path(assignment, equals, &place, diags);
    if (status != LAMINA_OK) {
        return status;
    }
    status = build(doc, equals + 1, strlen(equals + 1), place.origin, false, diags, &value);
    if (status != LAMINA_OK) {
        return status;
    }
    if (value == NULL || (lamina__node_is_null(value) && value->text[0] == '\0')) {
        return lamina__diag(diags, &place,
                            "no value after \"=\"; write null for none, \"\" for an empty text");
    }
    walk w = {doc, diags, &place, &doc->root, assignment, equals};
    while (w.path < w.end && status == LAMINA_OK) {
        status = enter(&w);
    }
    if (status == LAMINA_OK) {
        *w.slot = value;
    }
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* Plain text that no YAML reader takes for anything else than a word or a number. */
static bool is_plain(const char *text) {
    static const char safe[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    if (text[0] == '\0' || strcmp(text, "null") == 0 || strcmp(text, "...") == 0) {
        return false;
    }
    return (text[0] != '-' || is_digit(text[1])) && text[strspn(text, safe)] == '\0';
}

/* Not printable to YAML (1.1, section 5.1), or a line break to it. */
static bool needs_escape(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

void lamina__yaml_add_scalar(lamina__text *out, const char *text) {
    if (is_plain(text)) {
        lamina__text_add_bytes(out, text, strlen(text));
        return;
    }
    lamina__text_add_bytes(out, "\"", 1);
    for (const char *s = text; *s != '\0';) {
        size_t length = lamina__utf8_length(s);
        uint32_t code = length > 0 ? lamina__utf8_code(s, length) : 0xfffd;
        if (*s == '"' || *s == '\\') {
            lamina__text_add(out, "\\%c", *s);
        } else if (code == '\n') {
            lamina__text_add_bytes(out, "\\n", 2);
        } else if (length == 0 || needs_escape(code)) {
            lamina__text_add(out, "\\u%04x", code);
        } else {
            lamina__text_add_bytes(out, s, length);
        }
        s += length > 0 ? length : 1;
    }
    lamina__text_add_bytes(out, "\"", 1);
}
