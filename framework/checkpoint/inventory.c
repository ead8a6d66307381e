/* The inventory of a checkpoint: its layers in order, and which tensors it has in which shapes.
 * They are looked up here, and read one at a time. */
#include "checkpoint/stored.h"

#include "base/alloc.h"

#include <string.h>

#define MAX_LAYERS 10000

/* ---- Layers and what tensors there are ----------------------------------------------------- */

static lamina_status add_tensor(lamina__opener *o, hid_t parent, lamina__stored_kind kind,
                                const char *layer, const char *name, const char *slot) {
    lamina__checkpoint_file *file = o->file;
    lamina_shape shape;
    lamina_status status =
        lamina__h5_get_shape(&o->in, parent, kind == LAMINA__STORED_SLOT ? slot : name, &shape);
    if (status != LAMINA_OK) {
        return status;
    }
    o->tensor_bytes += (uint64_t)lamina__shape_count(&shape) * sizeof(float);
    if (o->tensor_bytes > file->image.length) {
        return lamina__h5_wrong(&o->in, parent, name,
                                "the tensors together are larger than the file");
    }
    void *items = file->tensors;
    if (lamina__grow(&items, &file->tensors_capacity, file->n_tensors + 1,
                     sizeof(*file->tensors)) != 0) {
        return lamina__fail_memory(o->in.error, "tensors of a checkpoint");
    }
    file->tensors = items;
    lamina__stored_tensor *tensor = &file->tensors[file->n_tensors++];
    *tensor = (lamina__stored_tensor){.kind = kind, .layer = layer, .shape = shape};
    tensor->name = lamina__strdup(name);
    tensor->slot = slot ? lamina__strdup(slot) : NULL;
    return tensor->name == NULL || (slot != NULL && tensor->slot == NULL)
               ? lamina__fail_memory(o->in.error, "tensors of a checkpoint")
               : LAMINA_OK;
}

/* Everything in /model/<layer>/weights or state, or in /optimizer/<layer>/<weight>. */
static lamina_status add_tensors(lamina__opener *o, hid_t parent, const char *folder,
                                 lamina__stored_kind kind, const char *layer) {
    lamina__h5_names names;
    hid_t group;
    lamina_status status = lamina__open_part(o, parent, folder, false, &group);
    if (group < 0) {
        return status;
    }
    status = lamina__h5_list(&o->in, group, &names);
    for (size_t i = 0; i < names.count && status == LAMINA_OK; i++) {
        bool slot = kind == LAMINA__STORED_SLOT;
        status = add_tensor(o, group, kind, layer, slot ? folder : names.name[i],
                            slot ? names.name[i] : NULL);
    }
    lamina__h5_names_free(&names);
    H5Oclose(group);
    return status;
}

static lamina_status read_layer(lamina__opener *o, hid_t model, lamina__stored_layer *layer) {
    lamina_status status;
    if (layer->name[0] == '\0' || strcmp(layer->name, ".") == 0 ||
        strchr(layer->name, '/') != NULL) {
        return lamina__h5_wrong(&o->in, model, "layers", "\"%s\" is no layer's name", layer->name);
    }
    for (const lamina__stored_layer *other = o->file->layers; other < layer; other++) {
        if (strcmp(other->name, layer->name) == 0) {
            return lamina__h5_wrong(&o->in, model, "layers", "names \"%s\" twice", layer->name);
        }
    }
    hid_t group = lamina__h5_open_group(&o->in, model, layer->name);
    if (group < 0) {
        return LAMINA_ERROR_CHECKPOINT;
    }
    if ((status = lamina__h5_get_text(&o->in, group, "type", &layer->type)) != LAMINA_OK ||
        (status = lamina__h5_get_int(&o->in, group, "state_version", 0, UINT32_MAX,
                                     &layer->state_version)) != LAMINA_OK) {
        goto done;
    }
    if (lamina__h5_has_attribute(group, "plugin") &&
        ((status = lamina__h5_get_text(&o->in, group, "plugin", &layer->plugin)) != LAMINA_OK ||
         (status = lamina__h5_get_text(&o->in, group, "plugin_version", &layer->plugin_version)) !=
             LAMINA_OK)) {
        goto done;
    }
    layer->first_tensor = o->file->n_tensors;
    status = add_tensors(o, group, "weights", LAMINA__STORED_WEIGHT, layer->name);
    if (status == LAMINA_OK) {
        status = add_tensors(o, group, "state", LAMINA__STORED_STATE, layer->name);
    }
    layer->n_tensors = o->file->n_tensors - layer->first_tensor;
done:
    H5Oclose(group);
    return status;
}

lamina_status lamina__read_model(lamina__opener *o) {
    lamina__checkpoint_file *file = o->file;
    lamina__h5_names names = {0};
    hsize_t count = 0;
    hid_t model = lamina__h5_open_group(&o->in, file->file, "model");
    if (model < 0) {
        return LAMINA_ERROR_CHECKPOINT;
    }
    lamina_status status = lamina__h5_get_texts(&o->in, model, "layers", 1, &count, &names);
    if (status == LAMINA_OK && names.count > MAX_LAYERS) {
        status = lamina__h5_wrong(&o->in, model, "layers", "names more than %d layers", MAX_LAYERS);
    }
    if (status == LAMINA_OK) {
        file->layers = lamina__calloc(names.count + 1, sizeof(*file->layers));
        if (file->layers == NULL) {
            status = lamina__fail_memory(o->in.error, "layers of a checkpoint");
        }
    }
    for (size_t i = 0; i < names.count && status == LAMINA_OK; i++) {
        file->layers[i].name = names.name[i];
        names.name[i] = NULL;
        file->n_layers++;
        status = read_layer(o, model, &file->layers[i]);
    }
    lamina__h5_names_free(&names);
    H5Oclose(model);
    return status;
}

/* Slots belong to weights and have their shape. */
static lamina_status check_slots(const lamina__opener *o, hid_t group, size_t first,
                                 const char *layer, const char *weight_name) {
    const lamina__checkpoint_file *file = o->file;
    const lamina__stored_tensor *weight =
        lamina__stored_find(file, LAMINA__STORED_WEIGHT, layer, weight_name, NULL);
    if (weight == NULL) {
        return lamina__h5_wrong(&o->in, group, weight_name, "belongs to no weight");
    }
    for (size_t i = first; i < file->n_tensors; i++) {
        const lamina__stored_tensor *slot = &file->tensors[i];
        if (!lamina__shape_equal(&weight->shape, &slot->shape)) {
            return lamina__h5_wrong(&o->in, group, weight_name,
                                    "%s has not the shape of its weight", slot->slot);
        }
    }
    return LAMINA_OK;
}

static lamina_status read_slots_of(lamina__opener *o, hid_t optimizer, const char *layer) {
    lamina__h5_names weights;
    hid_t group;
    lamina_status status = lamina__open_part(o, optimizer, layer, false, &group);
    if (group < 0) {
        return status;
    }
    status = lamina__h5_list(&o->in, group, &weights);
    for (size_t i = 0; i < weights.count && status == LAMINA_OK; i++) {
        const char *weight = weights.name[i];
        size_t first = o->file->n_tensors;
        status = add_tensors(o, group, weight, LAMINA__STORED_SLOT, layer);
        if (status == LAMINA_OK) {
            status = check_slots(o, group, first, layer, weight);
        }
    }
    lamina__h5_names_free(&weights);
    H5Oclose(group);
    return status;
}

lamina_status lamina__read_optimizer(lamina__opener *o) {
    hid_t optimizer;
    int64_t step = 0;
    if (!o->training) {
        return LAMINA_OK;
    }
    lamina_status status = lamina__open_part(o, o->file->file, "optimizer", true, &optimizer);
    if (optimizer < 0) {
        return status;
    }
    if ((status = lamina__h5_get_text(&o->in, optimizer, "type", &o->checkpoint->optimizer)) !=
            LAMINA_OK ||
        (status = lamina__h5_get_int(&o->in, optimizer, "step", 0, INT64_MAX, &step)) !=
            LAMINA_OK) {
        goto done;
    }
    if (step != o->checkpoint->progress.step) {
        status = lamina__h5_wrong(&o->in, optimizer, "step", "is %lld, but /progress/step is %lld",
                                  (long long)step, (long long)o->checkpoint->progress.step);
    }
    for (size_t i = 0; i < o->file->n_layers && status == LAMINA_OK; i++) {
        status = read_slots_of(o, optimizer, o->file->layers[i].name);
    }
done:
    H5Oclose(optimizer);
    return status;
}

/* ---- Looking things up --------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

const lamina__stored_layer *lamina__stored_find_layer(const lamina__checkpoint_file *file,
                                                      const char *name) {
    for (size_t i = 0; i < file->n_layers; i++) {
        if (strcmp(file->layers[i].name, name) == 0) {
            return &file->layers[i];
        }
    }
    return NULL;
}

const lamina__stored_tensor *lamina__stored_find(const lamina__checkpoint_file *file,
                                                 lamina__stored_kind kind, const char *layer,
                                                 const char *name, const char *slot) {
    const lamina__stored_layer *owner = lamina__stored_find_layer(file, layer);
    if (owner == NULL) {
        return NULL;
    }
    size_t begin = owner->first_tensor, end = begin + owner->n_tensors;
    if (kind == LAMINA__STORED_SLOT) {
        begin = 0;
        end = file->n_tensors;
    }
    for (size_t i = begin; i < end; i++) {
        const lamina__stored_tensor *tensor = &file->tensors[i];
        if (tensor->kind == kind && strcmp(tensor->layer, layer) == 0 &&
            strcmp(tensor->name, name) == 0 && same_text(tensor->slot, slot)) {
            return tensor;
        }
    }
    return NULL;
}

void lamina__stored_label(lamina__stored_kind kind, const char *layer, const char *name,
                          const char *slot, lamina__text *text) {
    lamina__add_clean(text, layer);
    lamina__text_add(text, "/");
    lamina__add_clean(text, name);
    if (kind != LAMINA__STORED_WEIGHT) {
        lamina__text_add(text, " (");
        lamina__add_clean(text, kind == LAMINA__STORED_SLOT ? slot : "state");
        lamina__text_add(text, ")");
    }
}

static lamina_status read_from(const lamina__h5_in *in, hid_t parent, const char *const *folders,
                               const char *name, const lamina_shape *shape, float *values) {
    if (folders[0] == NULL) {
        return lamina__h5_get_floats(in, parent, name, shape, values);
    }
    hid_t group = lamina__h5_open_group(in, parent, folders[0]);
    if (group < 0) {
        return LAMINA_ERROR_CHECKPOINT;
    }
    lamina_status status = read_from(in, group, folders + 1, name, shape, values);
    H5Oclose(group);
    return status;
}

lamina_status lamina__stored_read(const lamina__checkpoint_file *file,
                                  const lamina__stored_tensor *tensor, float *values,
                                  lamina_error *error) {
    const lamina__h5_in in = {file->path, file->image.length, error};
    bool slot = tensor->kind == LAMINA__STORED_SLOT;
    const char *folder = slot                                    ? tensor->name
                         : tensor->kind == LAMINA__STORED_WEIGHT ? "weights"
                                                                 : "state";
    const char *const folders[] = {slot ? "optimizer" : "model", tensor->layer, folder, NULL};
    lamina__h5_quiet();
    return read_from(&in, file->file, folders, slot ? tensor->slot : tensor->name, &tensor->shape,
                     values);
}
