/* Sources: from `data.train: {type: idx, ...}` to an opened data set, by the table of readers.
 * Which formats there are is known to datasets/ alone. */
#include "data/source.h"

#include "base/alloc.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define MAX_READERS 64

/* ---- What a reader leaves to us ------------------------------------------------------------ */

/* A 64-bit multiplicative hash over 8-byte words, the same on every machine. The shift after each
 * product brings high bits down, so that two changes in high bits do not cancel. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n) {
    const uint8_t *at = bytes;
    uint64_t word;
    for (size_t left = n; left > 0; left -= left < 8 ? left : 8, at += 8) {
        word = 0;
        if (left >= 8) {
            memcpy(&word, at, 8);
        } else {
            memcpy(&word, at, left);
        }
        hash = (hash ^ le64toh(word)) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

static uint64_t hash_number(uint64_t hash, uint64_t number) {
    number = htole64(number);
    return hash_bytes(hash, &number, sizeof(number));
}

void lamina__source_finish(lamina__source *source, const void *contents, size_t bytes) {
    uint64_t hash = 0x6c616d696e61; /* "lamina" */
    int32_t largest = 0;
    hash = hash_number(hash, (uint64_t)source->count);
    hash = hash_number(hash, (uint64_t)source->channels);
    hash = hash_number(hash, (uint64_t)source->height);
    hash = hash_number(hash, (uint64_t)source->width);
    for (int64_t i = 0; source->labels != NULL && i < source->count; i++) {
        hash = hash_number(hash, (uint64_t)source->labels[i]);
        largest = source->labels[i] > largest ? source->labels[i] : largest;
    }
    for (int32_t i = 1; i < source->target.ndim; i++) {
        hash = hash_number(hash, (uint64_t)source->target.dim[i]);
    }
    source->fingerprint = hash_bytes(hash, contents, bytes);
    source->classes = source->labels != NULL ? (int64_t)largest + 1 : 0;
}

void lamina__source_add_contents(lamina__source *source, const void *contents, size_t bytes) {
    source->fingerprint = hash_bytes(source->fingerprint, contents, bytes);
}

int64_t lamina__source_numbers(const lamina__source *source) {
    int64_t numbers = source->target.ndim > 0 ? 1 : 0;
    for (int32_t i = 1; i < source->target.ndim; i++) {
        numbers *= source->target.dim[i];
    }
    return numbers;
}

/* ---- Specs --------------------------------------------------------------------------------- */

static lamina__table reader_table(const lamina__reader *reader) {
    return (lamina__table){reader->params, reader->n_params, sizeof(lamina_param)};
}

static const lamina__reader *find_reader(const char *name) {
    for (size_t i = 0; lamina__readers[i] != NULL; i++) {
        if (strcmp(lamina__readers[i]->name, name) == 0) {
            return lamina__readers[i];
        }
    }
    return NULL;
}

/* Reports a missing or unknown type, with the readers there are. */
static lamina_status no_reader(const lamina__node *at, const char *split, const char *type,
                               lamina__diags *diags) {
    const char *names[MAX_READERS];
    char list[512] = "";
    size_t n = 0, used = 0;
    for (; n < MAX_READERS && lamina__readers[n] != NULL; n++) {
        names[n] = lamina__readers[n]->name;
        int added = snprintf(list + used, sizeof(list) - used, "%s%s", n > 0 ? ", " : "", names[n]);
        used += added > 0 && (size_t)added < sizeof(list) - used ? (size_t)added : 0;
    }
    if (type == NULL) {
        return lamina__diag(diags, at, "data.%s: the key \"type\" is missing; it is one of %s",
                            split, list);
    }
    const char *nearest = lamina__nearest(type, names, n);
    if (nearest != NULL) {
        return lamina__diag(diags, at, "data.%s: unknown type \"%s\"; did you mean \"%s\"?", split,
                            type, nearest);
    }
    return lamina__diag(diags, at, "data.%s: unknown type \"%s\"; it is one of %s", split, type,
                        list);
}

lamina_status lamina__source_read_spec(const lamina__node *node, const char *split,
                                       lamina__source_spec *spec, lamina__diags *diags) {
    static const char *const also[] = {"type", NULL};
    char subject[128];

    *spec = (lamina__source_spec){0};
    if (node == NULL || lamina__node_is_null(node)) {
        return LAMINA_OK;
    }
    if (node->kind != LAMINA__NODE_MAP) {
        return lamina__diag(diags, node,
                            "data.%s: expected a map like {type: idx, images: ..., labels: ...}",
                            split);
    }
    const lamina__node *type = lamina__node_get(node, "type");
    if (type == NULL || lamina__node_is_null(type) || type->kind != LAMINA__NODE_SCALAR) {
        return no_reader(type ? type : node, split, NULL, diags);
    }
    const lamina__reader *reader = find_reader(type->text);
    if (reader == NULL) {
        return no_reader(type, split, type->text, diags);
    }
    void *config = lamina__calloc(1, reader->config_size);
    if (config == NULL) {
        diags->failed = true;
        return LAMINA_ERROR_MEMORY;
    }
    snprintf(subject, sizeof(subject), "data.%s (%s)", split, reader->name);
    lamina_status status =
        lamina__params_read(reader_table(reader), node, config, also, subject, node, diags);
    const size_t before = diags->count;
    if (status == LAMINA_OK && reader->check != NULL) {
        reader->check(config, subject, node, diags);
        status = diags->failed           ? LAMINA_ERROR_MEMORY
                 : diags->count > before ? LAMINA_ERROR_CONFIG
                                         : LAMINA_OK;
    }
    if (status != LAMINA_OK) {
        lamina__free(config);
        return status;
    }
    *spec = (lamina__source_spec){.reader = reader, .config = config, .node = node};
    return LAMINA_OK;
}

void lamina__source_spec_free(lamina__source_spec *spec) {
    lamina__free(spec->config);
    *spec = (lamina__source_spec){0};
}

void lamina__source_spec_write(const lamina__source_spec *spec, lamina__text *text) {
    lamina__text_add(text, "{type: %s", spec->reader->name);
    if (spec->reader->n_params > 0) {
        lamina__text_add(text, ", ");
        lamina__params_write(reader_table(spec->reader), spec->config, text);
    }
    lamina__text_add(text, "}");
}

lamina_status lamina__source_open(const lamina__source_spec *spec, lamina__source **source,
                                  lamina_error *error) {
    return spec->reader->open(spec->config, source, error);
}

void lamina__source_close(lamina__source *source) {
    if (source != NULL) {
        source->close(source);
    }
}
