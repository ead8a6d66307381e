/* Reading and writing `network:`. Names are collected first, then inputs are resolved, so that a
 * cycle can be told from a typo. */
#include "graph/network.h"

#include "base/alloc.h"
#include "config/diag.h"

#include <stdio.h>
#include <string.h>

#define MAX_COMMON_KEYS 16

typedef struct reader {
    const lamina__registry *registry;
    lamina__network *network;
    lamina__diags *diags;
    const char *common_keys[MAX_COMMON_KEYS + 1]; /* NULL-terminated */
} reader;

static char *format_place(const lamina__node *node) {
    char text[600];
    if (node->line > 0) {
        snprintf(text, sizeof text, "%s:%d:%d", node->origin, node->line, node->column);
    } else {
        snprintf(text, sizeof text, "%s", node->origin);
    }
    return lamina__strdup(text);
}

/* ---- Entries: type and parameters ---- */

/* Splits an entry, `relu` or `conv: {...}`, into the node of its type and its map (may be NULL). */
static bool split_entry(const reader *r, const lamina__node *entry, const lamina__node **type,
                        const lamina__node **map) {
    *map = NULL;
    *type = NULL;
    if (entry->kind == LAMINA__NODE_SCALAR && !lamina__node_is_null(entry)) {
        *type = entry;
        return true;
    }
    if (entry->kind == LAMINA__NODE_MAP && entry->count == 1) {
        *type = entry->keys[0];
        *map = entry->items[0];
        if ((*map)->kind == LAMINA__NODE_MAP) {
            return true;
        }
        if (lamina__node_is_null(*map)) {
            *map = NULL;
            return true;
        }
        lamina__diag(r->diags, *map, "layer %s: parameters are written {key: value}",
                     (*type)->text);
        return false;
    }
    lamina__diag(r->diags, entry,
                 "a layer is one entry: its type, or its type with parameters, "
                 "as in \"- conv: {filters: 20, kernel: 5}\"");
    return false;
}

static const lamina__type_entry *find_type(const reader *r, const lamina__node *type) {
    const lamina__type_entry *entry = lamina__registry_find(r->registry, type->text);
    if (entry != NULL) {
        return entry;
    }
    const char *near = lamina__registry_nearest(r->registry, type->text);
    if (near != NULL) {
        lamina__diag(r->diags, type, "unknown layer type \"%s\"; did you mean \"%s\"?", type->text,
                     near);
    } else if (strchr(type->text, '.') != NULL) {
        lamina__diag(r->diags, type,
                     "unknown layer type \"%s\"; name its plugin under plugins:, or with --plugin",
                     type->text);
    } else {
        lamina__diag(r->diags, type, "unknown layer type \"%s\"; `lamina layers` lists them",
                     type->text);
    }
    return NULL;
}

/* ---- Names ---- */

#define MAX_NAME 100 /* bytes */

/* Spaces and what cannot be seen, beyond ASCII: names are told apart by eye. */
static bool is_visible(uint32_t code) {
    static const uint32_t ranges[][2] = {
        {0x80, 0xa0},     {0xad, 0xad},     {0x1680, 0x1680}, {0x180e, 0x180e}, {0x2000, 0x206f},
        {0x3000, 0x3000}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xfff0, 0xffff}, {0xe0000, 0xe0fff}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return false;
        }
    }
    return true;
}

/* Letters, and "_": what a name begins with. */
static bool is_letter(uint32_t code) {
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || code == '_' ||
           (code >= 0x80 && is_visible(code));
}

/* Names stand in the paths of --set (network.conv1.filters) and of checkpoints, and before the ":1"
 * of a second output. So a dot only separates parts of a name, and a name is never a number. */
static bool is_name(const char *name) {
    uint32_t before = '.';
    for (const char *s = name; *s != '\0';) {
        const size_t length = lamina__utf8_length(s);
        const uint32_t code = length > 0 ? lamina__utf8_code(s, length) : 0;
        const bool inner = (code >= '0' && code <= '9') || code == '-';
        if (!is_letter(code) && !(inner && s > name) && !(code == '.' && before != '.')) {
            return false;
        }
        before = code;
        s += length;
    }
    return before != '.';
}

static bool check_name(const reader *r, const lamina__node *given) {
    if (given->kind != LAMINA__NODE_SCALAR || lamina__node_is_null(given)) {
        lamina__diag(r->diags, given, "a layer's name is one word; without it, leave name out");
    } else if (!is_name(given->text)) {
        lamina__diag(r->diags, given,
                     "a layer cannot be called \"%s\": a name is letters, digits, \"_\", \"-\" and "
                     "\".\", begins with a letter or \"_\", and every \".\" stands between others",
                     given->text);
    } else if (strlen(given->text) > MAX_NAME) {
        lamina__diag(r->diags, given, "a layer's name has at most %d bytes, this one has %zu",
                     MAX_NAME, strlen(given->text));
    } else if (strcmp(given->text, "data") == 0 || strcmp(given->text, "target") == 0) {
        lamina__diag(r->diags, given, "the name \"%s\" is taken: it means the network's input",
                     given->text);
    } else if (strcmp(given->text, "layers") == 0) {
        lamina__diag(r->diags, given,
                     "a layer cannot be called \"%s\": checkpoints use that name themselves",
                     given->text);
    } else {
        return true;
    }
    return false;
}

/* The name given, or type and ordinal: conv1, conv2, ... */
static char *layer_name(const reader *r, const lamina__node *map, const lamina_layer_type *type) {
    const lamina__node *given = lamina__node_get(map, "name");
    if (given != NULL && check_name(r, given)) {
        return lamina__strdup(given->text);
    }
    int ordinal = 1;
    for (size_t i = 0; i < r->network->count; i++) {
        ordinal += r->network->layers[i].entry->type == type;
    }
    char name[160];
    snprintf(name, sizeof name, "%s%d", type->name, ordinal);
    return lamina__strdup(name);
}

static void check_duplicate(const reader *r, const lamina__layer_spec *spec,
                            const lamina__node *map) {
    for (size_t i = 0; i < r->network->count; i++) {
        const lamina__layer_spec *other = &r->network->layers[i];
        if (other == spec || strcmp(other->name, spec->name) != 0) {
            continue;
        }
        const lamina__node *name = lamina__node_get(map, "name");
        lamina__diag(r->diags, name != NULL ? name : spec->node,
                     "the name \"%s\" is already that of the layer at %s; give this one another",
                     spec->name, other->place);
        return;
    }
}

/* ---- kernels: ---- */

static void read_kernels(const reader *r, lamina__layer_spec *spec, const lamina__node *node,
                         const char *subject) {
    if (node == NULL) {
        return;
    }
    if (node->kind != LAMINA__NODE_SCALAR) {
        lamina__diag(r->diags, node, "%s: kernels is one word", subject);
        return;
    }
    bool known = strcmp(node->text, "auto") == 0;
    const lamina_kernel *const *kernels = spec->entry->type->kernels;
    lamina__text names = {0};
    for (int i = 0; kernels != NULL && kernels[i] != NULL; i++) {
        known = known || strcmp(kernels[i]->name, node->text) == 0;
        lamina__text_add(&names, ", %s", kernels[i]->name);
    }
    if (known) {
        spec->kernels = node->text;
    } else {
        lamina__diag(r->diags, node, "%s: has no kernel \"%s\"; it has auto%s", subject, node->text,
                     names.data != NULL ? names.data : "");
    }
    lamina__text_free(&names);
}

/* ---- init: ---- */

/* `he`, or `{type: normal, std: 0.01}`. key: the weight's name; NULL: "weight". */
static void read_init(const reader *r, lamina__layer_spec *spec, const lamina__node *key,
                      const lamina__node *node, const char *subject) {
    lamina__init_override override = {.node = key != NULL ? key : node};
    if (spec->n_init == LAMINA__MAX_DECLARED) {
        lamina__diag(r->diags, node, "%s: more than %d initialisers", subject,
                     LAMINA__MAX_DECLARED);
        return;
    }
    if (!lamina__init_read(node, subject, &override.init, r->diags)) {
        return;
    }
    override.weight = lamina__strdup(key != NULL ? key->text : "weight");
    if (override.weight == NULL) {
        r->diags->failed = true;
    } else {
        spec->init[spec->n_init++] = override;
    }
}

static void read_inits(const reader *r, lamina__layer_spec *spec, const lamina__node *node,
                       const char *subject) {
    if (node == NULL) {
        return;
    }
    if (node->kind == LAMINA__NODE_SCALAR || lamina__node_get(node, "type") != NULL) {
        read_init(r, spec, NULL, node, subject);
    } else if (node->kind == LAMINA__NODE_MAP) {
        for (size_t i = 0; i < node->count; i++) {
            read_init(r, spec, node->keys[i], node->items[i], subject);
        }
    } else {
        lamina__diag(r->diags, node, "%s: init is a word, or {weight: he, bias: constant}",
                     subject);
    }
}

/* ---- Losses and metrics ---- */

static bool is_loss(const lamina__layer_spec *spec) {
    return (spec->entry->type->flags & LAMINA_IS_LOSS) != 0;
}

static bool is_metric(const lamina__layer_spec *spec) {
    return (spec->entry->type->flags & LAMINA_IS_METRIC) != 0;
}

static void check_loss_weight(const reader *r, const lamina__layer_spec *spec,
                              const lamina__node *map, const char *subject) {
    const lamina__node *node = lamina__node_get(map, "loss_weight");
    if (node != NULL && !is_loss(spec)) {
        lamina__diag(r->diags, node, "%s: only a loss has a loss_weight", subject);
    }
}

/* metrics.jsonl has a metric as "test_" and its name. */
static void check_metric_name(const reader *r, const lamina__layer_spec *spec) {
    if (is_metric(spec) &&
        (strcmp(spec->name, "loss") == 0 || strcmp(spec->name, "accuracy") == 0)) {
        lamina__diag(r->diags, spec->node,
                     "a metric cannot be called \"%s\": metrics.jsonl has a test_%s already; give "
                     "it another name",
                     spec->name, spec->name);
    }
}

/* ---- One entry ---- */

static void read_entry(const reader *r, const lamina__node *item) {
    const lamina__node *type, *map;
    if (!split_entry(r, item, &type, &map)) {
        return;
    }
    const lamina__type_entry *entry = find_type(r, type);
    if (entry == NULL) {
        return;
    }
    void *layers = r->network->layers;
    if (lamina__grow(&layers, &r->network->capacity, r->network->count + 1,
                     sizeof *r->network->layers) != 0) {
        r->diags->failed = true;
        return;
    }
    r->network->layers = layers;
    lamina__layer_spec *spec = &r->network->layers[r->network->count];
    *spec = (lamina__layer_spec){.entry = entry, .node = type};
    spec->name = layer_name(r, map, entry->type);
    spec->place = format_place(type);
    spec->config = lamina__calloc(entry->type->config_size + 1, 1);
    r->network->count++;
    if (spec->name == NULL || spec->place == NULL || spec->config == NULL) {
        r->diags->failed = true;
        return;
    }
    check_duplicate(r, spec, map);
    char subject[256];
    snprintf(subject, sizeof subject, "layer \"%s\" (%s)", spec->name, entry->type->name);
    lamina__params_read(lamina__type_table(entry->type), map, spec->config, r->common_keys, subject,
                        type, r->diags);
    lamina__params_read_known(lamina__layer_key_table(), map, &spec->keys, subject, r->diags);
    read_kernels(r, spec, lamina__node_get(map, "kernels"), subject);
    read_inits(r, spec, lamina__node_get(map, "init"), subject);
    check_loss_weight(r, spec, map, subject);
    check_metric_name(r, spec);
}

/* ---- Inputs ---- */

static int32_t find_layer(const lamina__network *network, const char *name) {
    if (strcmp(name, "data") == 0) {
        return LAMINA__FROM_DATA;
    }
    if (strcmp(name, "target") == 0) {
        return LAMINA__FROM_TARGET;
    }
    for (size_t i = 0; i < network->count; i++) {
        if (strcmp(network->layers[i].name, name) == 0) {
            return (int32_t)i;
        }
    }
    return (int32_t)network->count;
}

static void unknown_layer(const reader *r, const lamina__layer_spec *spec, const lamina__node *name,
                          const char *key) {
    const lamina__network *network = r->network;
    const char *near = NULL;
    const char **names = lamina__calloc(network->count, sizeof *names);
    if (names != NULL) {
        for (size_t i = 0; i < network->count; i++) {
            names[i] = network->layers[i].name;
        }
        near = lamina__nearest(name->text, names, network->count);
    }
    lamina__diag(r->diags, name, "layer \"%s\" (%s): %s: there is no layer \"%s\"%s%s%s",
                 spec->name, spec->entry->type->name, key, name->text,
                 near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                 near != NULL ? "\"?" : "");
    lamina__free(names);
}

/* "cut", or "cut:1" for its second output. */
static int32_t find_output(const lamina__network *network, const char *text, int32_t *output) {
    const char *colon = strrchr(text, ':');
    *output = 0;
    if (colon == NULL || colon[1] < '0' || colon[1] > '9' || colon[2] != '\0') {
        return find_layer(network, text);
    }
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    *output = colon[1] - '0';
    return find_layer(network, name);
}

static bool add_input(const reader *r, lamina__layer_spec *spec, const lamina__node *name) {
    if (name->kind != LAMINA__NODE_SCALAR || spec->n_from == LAMINA__MAX_INPUTS) {
        lamina__diag(r->diags, name,
                     "layer \"%s\" (%s): from is a layer's name or a list of up to %d", spec->name,
                     spec->entry->type->name, LAMINA__MAX_INPUTS);
        return false;
    }
    int32_t output;
    const int32_t from = find_output(r->network, name->text, &output);
    if (from == (int32_t)r->network->count) {
        unknown_layer(r, spec, name, "from");
        return false;
    }
    const int32_t outputs = from < 0 ? 1 : r->network->layers[from].entry->type->n_out;
    if (output >= outputs) {
        lamina__diag(r->diags, name,
                     "layer \"%s\" (%s): from: \"%s\" has %d output%s, counted from 0", spec->name,
                     spec->entry->type->name, from < 0 ? name->text : r->network->layers[from].name,
                     (int)outputs, outputs == 1 ? "" : "s");
        return false;
    }
    spec->from[spec->n_from] = from;
    spec->from_output[spec->n_from++] = output;
    return true;
}

/* The map of parameters of a layer's entry in the list. */
static const lamina__node *map_of(const lamina__node *item) {
    return item->kind == LAMINA__NODE_MAP && item->items[0]->kind == LAMINA__NODE_MAP
               ? item->items[0]
               : NULL;
}

/* What a layer without `from` reads: the layer before it that is neither loss nor metric. */
static int32_t layer_before(const lamina__network *network, int32_t index) {
    int32_t before = index - 1;
    while (before >= 0 && lamina__has_target(network->layers[before].entry->type)) {
        before--;
    }
    return before >= 0 ? before : LAMINA__FROM_DATA;
}

static void read_inputs(const reader *r, lamina__layer_spec *spec, int32_t index,
                        const lamina__node *item) {
    const lamina_layer_type *type = spec->entry->type;
    const lamina__node *from = lamina__node_get(map_of(item), "from");
    bool good = true;
    if (from == NULL) {
        spec->from[spec->n_from++] = layer_before(r->network, index);
    } else if (from->kind == LAMINA__NODE_LIST) {
        for (size_t i = 0; i < from->count; i++) {
            good = add_input(r, spec, from->items[i]) && good;
        }
    } else {
        good = add_input(r, spec, from);
    }
    const int32_t own = lamina__has_target(type) ? 1 : 0; /* the target */
    if (own > 0 && spec->n_from == type->min_in - 1) {
        spec->from[spec->n_from++] = LAMINA__FROM_TARGET;
    }
    if (!good) {
        return;
    }
    if (spec->n_from < type->min_in || spec->n_from > type->max_in) {
        if (type->min_in == type->max_in) {
            lamina__diag(r->diags, from != NULL ? from : spec->node,
                         "layer \"%s\" (%s): takes %d input%s, got %d", spec->name, type->name,
                         (int)(type->min_in - own), type->min_in - own == 1 ? "" : "s",
                         (int)(spec->n_from - own));
        } else {
            lamina__diag(r->diags, from != NULL ? from : spec->node,
                         "layer \"%s\" (%s): takes %d to %d inputs, got %d; name them with from",
                         spec->name, type->name, (int)type->min_in, (int)type->max_in,
                         (int)spec->n_from);
        }
    }
}

/* The output of a loss or metric is the report's. */
static void check_readable(const reader *r, const lamina__layer_spec *spec) {
    for (int32_t k = 0; k < spec->n_from; k++) {
        const lamina__layer_spec *from =
            spec->from[k] >= 0 ? &r->network->layers[spec->from[k]] : NULL;
        if (from != NULL && lamina__has_target(from->entry->type)) {
            lamina__diag(
                r->diags, spec->node,
                "layer \"%s\" (%s): reads \"%s\", a %s: its output is for the report alone "
                "and no layer can read it; name another layer in from",
                spec->name, spec->entry->type->name, from->name, is_loss(from) ? "loss" : "metric");
        }
    }
}

/* Is there a path from layer `from` back to layer `goal` along inputs? The names on it go to path.
 */
static bool reaches(const lamina__network *network, int32_t from, int32_t goal, char *seen,
                    lamina__text *path) {
    if (from < 0 || seen[from]) {
        return false;
    }
    seen[from] = 1;
    const lamina__layer_spec *spec = &network->layers[from];
    bool found = from == goal;
    for (int32_t i = 0; !found && i < spec->n_from; i++) {
        found = reaches(network, spec->from[i], goal, seen, path);
    }
    if (found) {
        lamina__text_add(path, "%s -> ", spec->name);
    }
    return found;
}

/* An input that comes later in the list: either the network has a cycle, or the order is wrong. */
static void check_order(const reader *r, int32_t index) {
    const lamina__network *network = r->network;
    const lamina__layer_spec *spec = &network->layers[index];
    for (int32_t i = 0; i < spec->n_from; i++) {
        if (spec->from[i] < index) {
            continue;
        }
        lamina__text path = {0};
        char *seen = lamina__calloc(network->count, 1);
        const char *later = network->layers[spec->from[i]].name;
        if (seen == NULL) {
            r->diags->failed = true;
        } else if (reaches(network, spec->from[i], index, seen, &path)) {
            lamina__diag(r->diags, spec->node,
                         "layer \"%s\" (%s): the network has a cycle: %s%s; a layer's inputs must "
                         "not depend on it",
                         spec->name, spec->entry->type->name, path.data != NULL ? path.data : "",
                         spec->name);
        } else {
            lamina__diag(r->diags, spec->node,
                         "layer \"%s\" (%s): its input \"%s\" comes later; move that above it",
                         spec->name, spec->entry->type->name, later);
        }
        lamina__free(seen);
        lamina__text_free(&path);
        return;
    }
}

/* ---- share: ---- */

/* Keys that belong to the weights, so to the layer that has them. */
static void check_sharer(const reader *r, const lamina__layer_spec *spec, const lamina__node *map) {
    static const char *const owned[] = {"init", "frozen", "learning_rate_scale",
                                        "weight_decay_scale"};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        const lamina__node *node = lamina__node_get(map, owned[i]);
        if (node != NULL) {
            lamina__diag(r->diags, node,
                         "layer \"%s\" (%s): shares the weights of \"%s\"; give %s there",
                         spec->name, spec->entry->type->name, spec->keys.share, owned[i]);
        }
    }
}

/* Owners come before; a layer that shares with one that shares has the same owner. */
static void find_owner(const reader *r, int32_t index, const lamina__node *map) {
    const lamina__network *network = r->network;
    lamina__layer_spec *spec = &network->layers[index];
    const lamina__node *share = lamina__node_get(map, "share");
    spec->owner = index;
    if (share == NULL || spec->keys.share == NULL) {
        return;
    }
    const int32_t from = find_layer(network, spec->keys.share);
    if (from < 0 || from == (int32_t)network->count) {
        unknown_layer(r, spec, share, "share");
    } else if (from >= index) {
        lamina__diag(r->diags, share,
                     "layer \"%s\" (%s): share: \"%s\" is not above it; the first of layers that "
                     "share weights has them",
                     spec->name, spec->entry->type->name, spec->keys.share);
    } else if (network->layers[from].entry != spec->entry) {
        lamina__diag(r->diags, share, "layer \"%s\" (%s): share: \"%s\" is of another type (%s)",
                     spec->name, spec->entry->type->name, spec->keys.share,
                     network->layers[from].entry->type->name);
    } else {
        spec->owner = network->layers[from].owner;
        check_sharer(r, spec, map);
    }
}

lamina_status lamina__network_read(const lamina__node *list, const lamina__registry *registry,
                                   lamina__network *network, lamina__diags *diags) {
    reader r = {.registry = registry, .network = network, .diags = diags};
    for (size_t i = 0; i < MAX_COMMON_KEYS && lamina__common_keys[i].name != NULL; i++) {
        r.common_keys[i] = lamina__common_keys[i].name;
    }
    *network = (lamina__network){0};
    const size_t before = diags->count;
    if (list == NULL || list->kind != LAMINA__NODE_LIST || list->count == 0) {
        return lamina__diag(
            diags, list, "network is a list of layers, as in \"- conv: {filters: 20, kernel: 5}\"");
    }
    for (size_t i = 0; i < list->count && !diags->failed; i++) {
        read_entry(&r, list->items[i]);
    }
    /* With an entry missing, who comes before whom is not known: report what there is so far. */
    if (network->count == list->count && !diags->failed) {
        for (size_t i = 0; i < list->count; i++) {
            read_inputs(&r, &network->layers[i], (int32_t)i, list->items[i]);
        }
        for (size_t i = 0; i < list->count; i++) {
            check_readable(&r, &network->layers[i]);
            check_order(&r, (int32_t)i);
            find_owner(&r, (int32_t)i, map_of(list->items[i]));
        }
    }
    return diags->count > before || diags->failed ? LAMINA_ERROR_CONFIG : LAMINA_OK;
}

void lamina__network_free(lamina__network *network) {
    for (size_t i = 0; i < network->count; i++) {
        lamina__layer_spec *spec = &network->layers[i];
        for (int32_t k = 0; k < spec->n_init; k++) {
            lamina__free(spec->init[k].weight);
        }
        lamina__free(spec->name);
        lamina__free(spec->place);
        lamina__free(spec->config);
    }
    lamina__free(network->layers);
    *network = (lamina__network){0};
}

/* ---- Writing ---- */

static void write_from(const lamina__network *network, const lamina__layer_spec *spec,
                       lamina__text *text) {
    lamina__text_add(text, ", from: [");
    for (int32_t i = 0; i < spec->n_from; i++) {
        const int32_t from = spec->from[i];
        lamina__text_add(text, i > 0 ? ", " : "");
        char name[160];
        snprintf(name, sizeof name, spec->from_output[i] > 0 ? "%s:%d" : "%s",
                 from == LAMINA__FROM_DATA     ? "data"
                 : from == LAMINA__FROM_TARGET ? "target"
                                               : network->layers[from].name,
                 (int)spec->from_output[i]);
        lamina__yaml_add_scalar(text, name);
    }
    lamina__text_add(text, "]");
}

static void write_inits(const lamina__layer_spec *spec, lamina__text *text) {
    lamina__text_add(text, ", init: {");
    for (int32_t i = 0; i < spec->n_init; i++) {
        const lamina__init_override *init = &spec->init[i];
        lamina__text_add(text, i > 0 ? ", " : "");
        lamina__yaml_add_scalar(text, init->weight);
        lamina__text_add(text, ": ");
        lamina__init_write(&init->init, text);
    }
    lamina__text_add(text, "}");
}

/* Only what differs from the default: most layers have none of them. */
static void write_keys(const lamina__layer_spec *spec, lamina__text *text) {
    const lamina__table table = lamina__layer_key_table();
    lamina__layer_keys defaults;
    lamina__params_default(table, &defaults);
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        lamina__text value = {0}, usual = {0};
        lamina__param_value_text(param, &spec->keys, &value);
        lamina__param_value_text(param, &defaults, &usual);
        if (value.data != NULL && (usual.data == NULL || strcmp(value.data, usual.data) != 0)) {
            lamina__text_add(text, ", %s: %s", param->name, value.data);
        }
        text->failed = text->failed || value.failed || usual.failed;
        lamina__text_free(&value);
        lamina__text_free(&usual);
    }
}

void lamina__network_write(const lamina__network *network, lamina__text *text) {
    for (size_t i = 0; i < network->count; i++) {
        const lamina__layer_spec *spec = &network->layers[i];
        lamina__text_add(text, "  - %s: {name: ", spec->entry->type->name);
        lamina__yaml_add_scalar(text, spec->name);
        write_from(network, spec, text);
        if (spec->kernels != NULL) {
            lamina__text_add(text, ", kernels: %s", spec->kernels);
        }
        if (spec->n_init > 0) {
            write_inits(spec, text);
        }
        write_keys(spec, text);
        const lamina__table table = lamina__type_table(spec->entry->type);
        if (table.count > 0) {
            lamina__text_add(text, ", ");
            lamina__params_write(table, spec->config, text);
        }
        lamina__text_add(text, "}\n");
    }
}
