/* Loading, all or nothing: what the file has is compared with what the net wants; everything is
 * read into memory of its own; and only when nothing can fail any more is it copied into the net.
 */
#include "checkpoint/stored.h"

#include "base/alloc.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define MAX_LIST 800 /* bytes of the list of differences in a message */

/* One tensor the net wants. */
typedef struct wanted {
    lamina__stored_kind kind;
    const char *layer, *name, *slot;
    lamina_shape shape;
    lamina_tensor place; /* where it goes in the net, in the net's order */
    const lamina__stored_tensor *stored;
    float *logical; /* what was read */
} wanted;

typedef struct loader {
    const lamina__checkpoint_file *file;
    lamina__net *net;
    wanted *list;
    size_t count;
    float *memory; /* of all the tensors in logical order */
} loader;

/* ---- What the net wants -------------------------------------------------------------------- */

static void want_weight(loader *l, lamina__stored_kind kind, const lamina__net_weight *weight,
                        const char *slot, float *data) {
    wanted *w = &l->list[l->count++];
    *w = (wanted){.kind = kind,
                  .layer = weight->layer,
                  .name = weight->weight->name,
                  .slot = slot,
                  .shape = weight->weight->shape};
    lamina__weight_view(&w->place, weight->weight, data);
}

static lamina_status list_wanted(loader *l, const lamina__slot *slots, size_t n_slots,
                                 lamina_error *error) {
    size_t n_weights = (size_t)lamina__net_n_weights(l->net);
    size_t n_states = (size_t)lamina__net_n_states(l->net);
    l->list = lamina__calloc(n_weights * (1 + n_slots) + n_states + 1, sizeof(*l->list));
    if (l->list == NULL) {
        return lamina__fail_memory(error, "loading a checkpoint");
    }
    for (size_t i = 0; i < n_weights; i++) {
        lamina__net_weight weight = lamina__net_weight_at(l->net, (int32_t)i);
        want_weight(l, LAMINA__STORED_WEIGHT, &weight, NULL, weight.data);
        for (size_t s = 0; s < n_slots; s++) {
            want_weight(l, LAMINA__STORED_SLOT, &weight, slots[s].name,
                        slots[s].data + weight.offset);
        }
    }
    for (size_t i = 0; i < n_states; i++) {
        lamina__net_state state = lamina__net_state_at(l->net, (int32_t)i);
        wanted *w = &l->list[l->count++];
        *w = (wanted){.kind = LAMINA__STORED_STATE,
                      .layer = state.layer,
                      .name = state.state->name,
                      .shape = state.state->shape};
        lamina__tensor_view(&w->place, &w->shape, state.data);
    }
    return LAMINA_OK;
}

/* ---- Comparing ----------------------------------------------------------------------------- */

/* Differences, joined by "; " until the message is full. */
typedef struct differences {
    lamina__text text;
    size_t count, left_out;
} differences;

static void add_difference(differences *d, const lamina__text *item) {
    d->count++;
    d->text.failed = d->text.failed || item->failed;
    if (d->text.length + item->length > MAX_LIST) {
        d->left_out++;
    } else if (item->data != NULL) {
        lamina__text_add(&d->text, "%s%s", d->text.length > 0 ? "; " : "", item->data);
    }
}

static void add_one_sided(differences *d, const char *where, lamina__stored_kind kind,
                          const char *layer, const char *name, const char *slot,
                          const lamina_shape *shape) {
    char dims[160];
    lamina__text item = {0};
    lamina__text_add(&item, "only in the %s: ", where);
    lamina__stored_label(kind, layer, name, slot, &item);
    lamina__text_add(&item, " %s", lamina__shape_text(shape, dims, sizeof(dims)));
    add_difference(d, &item);
    lamina__text_free(&item);
}

static void compare_shape(differences *d, const wanted *w) {
    char in_file[160], in_net[160];
    if (lamina__shape_equal(&w->shape, &w->stored->shape)) {
        return;
    }
    lamina__text item = {0};
    lamina__stored_label(w->kind, w->layer, w->name, w->slot, &item);
    lamina__text_add(&item, ": file %s, network %s",
                     lamina__shape_text(&w->stored->shape, in_file, sizeof(in_file)),
                     lamina__shape_text(&w->shape, in_net, sizeof(in_net)));
    add_difference(d, &item);
    lamina__text_free(&item);
}

static bool is_wanted(const loader *l, const lamina__stored_tensor *tensor) {
    for (size_t i = 0; i < l->count; i++) {
        if (l->list[i].stored == tensor) {
            return true;
        }
    }
    return false;
}

/* A layer with tensors must be of the same type, or they mean something else. */
static void compare_types(const loader *l, differences *d) {
    for (int32_t i = 0; i < lamina__net_n_layers(l->net); i++) {
        const lamina__instance *layer = lamina__net_layer(l->net, i);
        const lamina__stored_layer *stored = lamina__stored_find_layer(l->file, layer->name);
        if (layer->n_weights + layer->n_states == 0 || stored == NULL ||
            strcmp(stored->type, layer->type->name) == 0) {
            continue;
        }
        lamina__text item = {0};
        lamina__text_add(&item, "%s: a ", layer->name);
        lamina__add_clean(&item, stored->type);
        lamina__text_add(&item, " in the file, a %s in the network", layer->type->name);
        add_difference(d, &item);
        lamina__text_free(&item);
    }
}

static lamina_status compare(loader *l, bool slots, lamina_error *error) {
    differences d = {0};
    lamina_status status = LAMINA_OK;
    compare_types(l, &d);
    for (size_t i = 0; i < l->count; i++) {
        wanted *w = &l->list[i];
        w->stored = lamina__stored_find(l->file, w->kind, w->layer, w->name, w->slot);
        if (w->stored != NULL) {
            compare_shape(&d, w);
        } else {
            add_one_sided(&d, "network", w->kind, w->layer, w->name, w->slot, &w->shape);
        }
    }
    for (size_t i = 0; i < l->file->n_tensors; i++) {
        const lamina__stored_tensor *t = &l->file->tensors[i];
        if ((slots || t->kind != LAMINA__STORED_SLOT) && !is_wanted(l, t)) {
            add_one_sided(&d, "file", t->kind, t->layer, t->name, t->slot, &t->shape);
        }
    }
    if (d.text.failed) {
        status = lamina__fail_memory(error, "comparing a checkpoint with the network");
    } else if (d.count > 0) {
        char more[48] = "";
        if (d.left_out > 0) {
            snprintf(more, sizeof(more), "; and %zu more", d.left_out);
        }
        status = lamina__fail(error, LAMINA_ERROR_CHECKPOINT, "%s: does not fit the network: %s%s",
                              l->file->path, d.text.data ? d.text.data : "", more);
    }
    lamina__text_free(&d.text);
    return status;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static lamina_status read_all(loader *l, lamina_error *error) {
    size_t floats = 0;
    for (size_t i = 0; i < l->count; i++) {
        floats += (size_t)lamina__shape_count(&l->list[i].shape);
    }
    l->memory = lamina__calloc(floats + 1, sizeof(float));
    if (l->memory == NULL) {
        return lamina__fail_memory(error, "loading a checkpoint");
    }
    lamina_status status = LAMINA_OK;
    float *next = l->memory;
    for (size_t i = 0; i < l->count && status == LAMINA_OK; i++) {
        wanted *w = &l->list[i];
        w->logical = next;
        next += lamina__shape_count(&w->shape);
        status = lamina__stored_read(l->file, w->stored, w->logical, error);
    }
    return status;
}

/* ---- State of an older version of a layer type --------------------------------------------- */

/* A layer's states among the tensors read, in the order of its declarations. */
static size_t find_states(loader *l, const lamina__instance *layer,
                          wanted *states[LAMINA__MAX_DECLARED]) {
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++) {
        wanted *w = &l->list[i];
        if (w->kind == LAMINA__STORED_STATE && strcmp(w->layer, layer->name) == 0) {
            states[n++] = w;
        }
    }
    return n;
}

/* Lets the layer change what was read, on a copy in the order the layer knows. */
static lamina_status migrate(loader *l, lamina__instance *layer, uint32_t from_version,
                             lamina_error *error) {
    wanted *states[LAMINA__MAX_DECLARED];
    lamina_tensor views[LAMINA__MAX_DECLARED];
    const lamina_tensor *pointers[LAMINA__MAX_DECLARED];
    size_t n = find_states(l, layer, states), floats = 0;
    for (size_t i = 0; i < n; i++) {
        floats += ((size_t)lamina__shape_count(&states[i]->shape) + 15) / 16 * 16;
    }
    float *copy = lamina__calloc(floats + 1, sizeof(float)), *next = copy;
    if (copy == NULL) {
        return lamina__fail_memory(error, "loading a checkpoint");
    }
    for (size_t i = 0; i < n; i++) {
        lamina__tensor_view(&views[i], &states[i]->shape, next);
        lamina__tensor_from_logical(&views[i], states[i]->logical);
        pointers[i] = &views[i];
        next += (lamina__shape_count(&states[i]->shape) + 15) / 16 * 16;
    }
    const lamina_io io = {.struct_size = sizeof(io), .phase = LAMINA_EVAL, .state = pointers};
    lamina__call call;
    if (error != NULL) {
        error->code = LAMINA_OK;
    }
    lamina__call_init(&call, layer, error);
    int32_t code = layer->type->migrate(layer->self, &call.base, &io, from_version);
    if (code == LAMINA_OK) {
        for (size_t i = 0; i < n; i++) {
            lamina__tensor_to_logical(&views[i], states[i]->logical);
        }
    } else if (error == NULL || error->code == LAMINA_OK) { /* it did not say why */
        lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                     "%s: %s (%s): cannot change its state from version %u to version %u: %s",
                     l->file->path, layer->name, layer->type->name, from_version,
                     layer->type->state_version, lamina_status_meaning(code));
    }
    lamina__free(copy);
    return code == LAMINA_OK ? LAMINA_OK : LAMINA_ERROR_CHECKPOINT;
}

/* Another version of a plugin may compute otherwise; whether it does, only its author knows. */
static void note_plugin(const loader *l, const lamina__instance *layer,
                        const lamina__stored_layer *stored) {
    const char *here = layer->entry->plugin_version, *then = stored->plugin_version;
    if (here != NULL && then != NULL && strcmp(here, then) != 0) {
        lamina__log(LAMINA_LOG_WARNING,
                    "%s: %s (%s) was made with version %s of its plugin, this is %s", l->file->path,
                    layer->name, layer->type->name, then, here);
    }
}

static lamina_status check_versions(loader *l, lamina_error *error) {
    for (int32_t i = 0; i < lamina__net_n_layers(l->net); i++) {
        const lamina__instance *layer = lamina__net_layer(l->net, i);
        const lamina__stored_layer *stored = lamina__stored_find_layer(l->file, layer->name);
        if (stored != NULL) {
            note_plugin(l, layer, stored);
        }
        if (layer->n_states == 0 || stored == NULL ||
            stored->state_version == layer->type->state_version) {
            continue;
        }
        bool older = stored->state_version < layer->type->state_version;
        if (!older || layer->type->migrate == NULL) {
            return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                "%s: %s (%s): its state is of %s version %lld; this %s reads "
                                "version %u",
                                l->file->path, layer->name, layer->type->name,
                                older ? "the older" : "the newer", (long long)stored->state_version,
                                layer->type->name, layer->type->state_version);
        }
        /* The instance is the net's; migrate() writes to the tensors alone. */
        lamina_status status = migrate(l, (lamina__instance *)(uintptr_t)layer,
                                       (uint32_t)stored->state_version, error);
        if (status != LAMINA_OK) {
            return status;
        }
    }
    return LAMINA_OK;
}

/* ---- All of it ----------------------------------------------------------------------------- */

lamina_status lamina__checkpoint_load(const lamina__checkpoint_file *file, lamina__net *net,
                                      const lamina__slot *slots, size_t n_slots,
                                      lamina_error *error) {
    loader l = {.file = file, .net = net};
    lamina_status status;
    if (n_slots > 0 && strcmp(file->kind, "training") != 0) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: holds weights only; training cannot go on from it", file->path);
    }
    if ((status = list_wanted(&l, slots, n_slots, error)) != LAMINA_OK ||
        (status = compare(&l, n_slots > 0, error)) != LAMINA_OK ||
        (status = read_all(&l, error)) != LAMINA_OK ||
        (status = check_versions(&l, error)) != LAMINA_OK) {
        goto done;
    }
    for (size_t i = 0; i < l.count; i++) {
        lamina__tensor_from_logical(&l.list[i].place, l.list[i].logical);
    }
    lamina__net_weights_changed(net);
done:
    lamina__free(l.list);
    lamina__free(l.memory);
    return status;
}
