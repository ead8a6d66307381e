/* Saving: the whole file is made in memory, sealed, and put in place in one step. */
#include "checkpoint/stored.h"

#include "base/alloc.h"
#include "onednn/onednn.h"

#include <string.h>
#include <time.h>

typedef struct saver {
    lamina__h5_out out;
    const lamina__checkpoint *checkpoint;
    const lamina__net *net;
    const lamina__slot *slots;
    size_t n_slots;
    float *logical; /* room for the largest tensor in logical order */
} saver;

static const char *text_or_empty(const char *text) {
    return text ? text : "";
}

/* Dimensions of weights are named as in a convolution: output, input, (depth,) height, width. */
static const char *dims_text(const lamina_shape *shape) {
    static const char *const names[] = {NULL, "O", "O,I", "O,I,W", "O,I,H,W", "O,I,D,H,W"};
    return shape->ndim < 6 ? names[shape->ndim] : NULL;
}

static void put_scalar_text(saver *s, hid_t parent, const char *name, const char *text) {
    lamina__h5_put_texts(&s->out, parent, name, 0, NULL, &text);
}

/* ---- The parts that are not tensors -------------------------------------------------------- */

static void put_root(saver *s) {
    char created[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) != NULL) {
        strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    lamina__h5_put_text(&s->out, s->out.file, "format", "lamina");
    lamina__h5_put_int(&s->out, s->out.file, "version", LAMINA__CHECKPOINT_VERSION);
    lamina__h5_put_text(&s->out, s->out.file, "writer", "Lamina " LAMINA_VERSION);
    lamina__h5_put_text(&s->out, s->out.file, "created", created);
    lamina__h5_put_text(&s->out, s->out.file, "kind",
                        s->checkpoint->optimizer ? "training" : "weights");
}

static void put_config(saver *s) {
    hid_t group = lamina__h5_out_group(&s->out, s->out.file, "config");
    put_scalar_text(s, group, "source", text_or_empty(s->checkpoint->config_source));
    put_scalar_text(s, group, "resolved", text_or_empty(s->checkpoint->config_resolved));
    lamina__h5_put_text(&s->out, group, "origin", text_or_empty(s->checkpoint->config_origin));
    lamina__h5_out_end(group);
}

static void put_field(saver *s, hid_t group, const lamina__stored_field *field, const void *from) {
    const char *value = (const char *)from + field->offset;
    switch (field->kind) {
    case LAMINA__FIELD_INT:
        lamina__h5_put_int(&s->out, group, field->name, *(const int64_t *)(const void *)value);
        break;
    case LAMINA__FIELD_UINT:
        lamina__h5_put_uint(&s->out, group, field->name, *(const uint64_t *)(const void *)value);
        break;
    case LAMINA__FIELD_REAL:
        lamina__h5_put_real(&s->out, group, field->name, *(const double *)(const void *)value);
        break;
    }
}

static void put_progress(saver *s) {
    const lamina__progress *p = &s->checkpoint->progress;
    hid_t group = lamina__h5_out_group(&s->out, s->out.file, "progress");
    for (size_t i = 0; i < LAMINA__N_PROGRESS; i++) {
        put_field(s, group, &lamina__progress_fields[i], p);
    }
    if (p->n_losses > 0) {
        lamina__h5_put_reals(&s->out, group, LAMINA__LOSS_SUMS, (size_t)p->n_losses, p->losses);
        lamina__h5_put_reals(&s->out, group, LAMINA__LOSS_WEIGHTS, (size_t)p->n_losses,
                             p->loss_weights);
    }
    lamina__h5_out_end(group);
}

static void put_data(saver *s) {
    hid_t data = lamina__h5_out_group(&s->out, s->out.file, "data");
    for (size_t i = 0; i < 2; i++) {
        const lamina__data_id *id = &s->checkpoint->data[i];
        if (id->source == NULL) {
            continue;
        }
        hid_t group = lamina__h5_out_group(&s->out, data, lamina__split_names[i]);
        lamina__h5_put_text(&s->out, group, "source", id->source);
        lamina__h5_put_int(&s->out, group, "samples", id->samples);
        lamina__h5_put_uint(&s->out, group, "fingerprint", id->fingerprint);
        lamina__h5_out_end(group);
    }
    lamina__h5_out_end(data);
}

/* /plan/kernels: one row for each layer, its name and the kernel of each pass, "" where none.
 * /plan/whole: 1 for each layer that is called once, on the whole batch. */
static lamina_status put_plan(saver *s, lamina_error *error) {
    size_t n = (size_t)lamina__net_n_layers(s->net);
    const char **cells = lamina__calloc(n * LAMINA__PLAN_COLUMNS + 1, sizeof(*cells));
    int64_t *whole = lamina__calloc(n + 1, sizeof(*whole));
    if (cells == NULL || whole == NULL) {
        lamina__free(cells);
        lamina__free(whole);
        return lamina__fail_memory(error, "the plan in a checkpoint");
    }
    for (size_t i = 0; i < n; i++) {
        const lamina__instance *layer = lamina__net_layer(s->net, (int32_t)i);
        const char **row = cells + i * LAMINA__PLAN_COLUMNS;
        row[0] = layer->name;
        whole[i] = lamina__net_is_whole(s->net, (int32_t)i);
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            row[1 + pass] = text_or_empty(lamina__instance_kernel(layer, pass));
        }
    }
    const hsize_t dim[2] = {n, LAMINA__PLAN_COLUMNS};
    hid_t group = lamina__h5_out_group(&s->out, s->out.file, "plan");
    lamina__h5_put_int(&s->out, group, "shards", lamina__net_shards(s->net));
    lamina__h5_put_int(&s->out, group, "slices", lamina__net_slices(s->net));
    lamina__h5_put_int(&s->out, group, "by_shard", lamina__net_by_shard(s->net));
    lamina__h5_put_texts(&s->out, group, "kernels", 2, dim, cells);
    lamina__h5_put_text(&s->out, group, "columns", "layer,forward,backward_data,backward_weights");
    lamina__h5_put_ints(&s->out, group, "whole", n, whole);
    lamina__h5_out_end(group);
    lamina__free(cells);
    lamina__free(whole);
    return LAMINA_OK;
}

/* column: room for as many numbers as there are rows. */
static void put_layer_metrics(saver *s, hid_t parent, const lamina__metrics *metrics,
                              double *column) {
    if (metrics->n_names == 0) {
        return;
    }
    hid_t group = lamina__h5_out_group(&s->out, parent, LAMINA__LAYER_METRICS);
    for (size_t m = 0; m < metrics->n_names; m++) {
        for (size_t row = 0; row < metrics->count; row++) {
            column[row] = metrics->rows[row].metrics[m];
        }
        lamina__h5_put_reals(&s->out, group, metrics->names[m], metrics->count, column);
    }
    lamina__h5_out_end(group);
}

static lamina_status put_metrics(saver *s, lamina_error *error) {
    const lamina__metrics *splits = s->checkpoint->metrics;
    size_t most = splits[0].count > splits[1].count ? splits[0].count : splits[1].count;
    void *column = lamina__calloc(most + 1, 8); /* int64_t or double */
    if (column == NULL) {
        return lamina__fail_memory(error, "metrics in a checkpoint");
    }
    hid_t metrics = lamina__h5_out_group(&s->out, s->out.file, "metrics");
    for (size_t i = 0; i < 2; i++) {
        hid_t group = lamina__h5_out_group(&s->out, metrics, lamina__split_names[i]);
        for (size_t c = 0; c < LAMINA__N_COLUMNS; c++) {
            const lamina__stored_field *field = &lamina__metrics_columns[c];
            for (size_t row = 0; row < splits[i].count; row++) {
                memcpy((char *)column + row * 8, (char *)&splits[i].rows[row] + field->offset, 8);
            }
            if (field->kind == LAMINA__FIELD_REAL) {
                lamina__h5_put_reals(&s->out, group, field->name, splits[i].count, column);
            } else {
                lamina__h5_put_ints(&s->out, group, field->name, splits[i].count, column);
            }
        }
        put_layer_metrics(s, group, &splits[i], column);
        lamina__h5_out_end(group);
    }
    lamina__h5_out_end(metrics);
    lamina__free(column);
    return LAMINA_OK;
}

static void put_run(saver *s) {
    hid_t group = lamina__h5_out_group(&s->out, s->out.file, "run");
    lamina__h5_put_int(&s->out, group, "threads", lamina__net_threads(s->net));
    lamina__h5_put_text(&s->out, group, "isa", lamina__onednn_isa());
    lamina__h5_put_text(&s->out, group, "onednn", lamina__onednn_version());
    lamina__h5_put_text(&s->out, group, "lamina", lamina_version());
    lamina__h5_out_end(group);
}

/* ---- Layers and tensors -------------------------------------------------------------------- */

static lamina_status put_layers(saver *s, lamina_error *error) {
    size_t n = (size_t)lamina__net_n_layers(s->net);
    const char **names = lamina__calloc(n + 1, sizeof(*names));
    if (names == NULL) {
        return lamina__fail_memory(error, "layers in a checkpoint");
    }
    hid_t model = lamina__h5_out_group(&s->out, s->out.file, "model");
    for (size_t i = 0; i < n; i++) {
        const lamina__instance *layer = lamina__net_layer(s->net, (int32_t)i);
        names[i] = layer->name;
        hid_t group = lamina__h5_out_group(&s->out, model, layer->name);
        lamina__h5_put_text(&s->out, group, "type", layer->type->name);
        lamina__h5_put_int(&s->out, group, "state_version", layer->type->state_version);
        if (layer->entry->plugin_path != NULL) {
            lamina__h5_put_text(&s->out, group, "plugin", text_or_empty(layer->entry->plugin_name));
            lamina__h5_put_text(&s->out, group, "plugin_version",
                                text_or_empty(layer->entry->plugin_version));
        }
        lamina__h5_out_end(group);
    }
    const hsize_t dim = n;
    lamina__h5_put_texts(&s->out, model, "layers", 1, &dim, names);
    lamina__h5_out_end(model);
    lamina__free(names);
    return LAMINA_OK;
}

/* `data` is stored as the weight is: the weight itself, or its part of a slot. */
static void put_weight(saver *s, hid_t parent, const char *name, const lamina_weight *weight,
                       float *data) {
    lamina_tensor view;
    lamina__weight_view(&view, weight, data);
    lamina__tensor_to_logical(&view, s->logical);
    lamina__h5_put_floats(&s->out, parent, name, &weight->shape, dims_text(&weight->shape),
                          s->logical);
}

/* A group below another one; made when it is not there. */
static hid_t group_at(saver *s, const char *first, const char *second, const char *third) {
    hid_t a = lamina__h5_out_group(&s->out, s->out.file, first);
    hid_t b = lamina__h5_out_group(&s->out, a, second);
    hid_t c = lamina__h5_out_group(&s->out, b, third);
    lamina__h5_out_end(a);
    lamina__h5_out_end(b);
    return c;
}

static lamina_status put_tensors(saver *s, lamina_error *error) {
    int64_t largest = 1;
    for (int32_t i = 0; i < lamina__net_n_weights(s->net); i++) {
        int64_t count = lamina__shape_count(&lamina__net_weight_at(s->net, i).weight->shape);
        largest = count > largest ? count : largest;
    }
    for (int32_t i = 0; i < lamina__net_n_states(s->net); i++) {
        int64_t count = lamina__shape_count(&lamina__net_state_at(s->net, i).state->shape);
        largest = count > largest ? count : largest;
    }
    s->logical = lamina__alloc((size_t)largest * sizeof(float));
    if (s->logical == NULL) {
        return lamina__fail_memory(error, "tensors for a checkpoint");
    }
    for (int32_t i = 0; i < lamina__net_n_weights(s->net); i++) {
        lamina__net_weight w = lamina__net_weight_at(s->net, i);
        hid_t group = group_at(s, "model", w.layer, "weights");
        put_weight(s, group, w.weight->name, w.weight, w.data);
        lamina__h5_out_end(group);
        for (size_t slot = 0; slot < s->n_slots; slot++) {
            group = group_at(s, "optimizer", w.layer, w.weight->name);
            put_weight(s, group, s->slots[slot].name, w.weight, s->slots[slot].data + w.offset);
            lamina__h5_out_end(group);
        }
    }
    for (int32_t i = 0; i < lamina__net_n_states(s->net); i++) {
        lamina__net_state state = lamina__net_state_at(s->net, i);
        hid_t group = group_at(s, "model", state.layer, "state");
        lamina_tensor view;
        lamina__tensor_view(&view, &state.state->shape, state.data);
        lamina__tensor_to_logical(&view, s->logical);
        lamina__h5_put_floats(&s->out, group, state.state->name, &state.state->shape, NULL,
                              s->logical);
        lamina__h5_out_end(group);
    }
    return LAMINA_OK;
}

static void put_optimizer(saver *s) {
    if (s->checkpoint->optimizer != NULL) {
        hid_t group = lamina__h5_out_group(&s->out, s->out.file, "optimizer");
        lamina__h5_put_text(&s->out, group, "type", s->checkpoint->optimizer);
        lamina__h5_put_int(&s->out, group, "step", s->checkpoint->progress.step);
        lamina__h5_out_end(group);
    }
}

/* ---- All of it ----------------------------------------------------------------------------- */

static lamina_status fill(saver *s, lamina_error *error) {
    lamina_status status;
    put_root(s);
    put_config(s);
    if ((status = put_layers(s, error)) != LAMINA_OK) {
        return status;
    }
    put_optimizer(s);
    put_progress(s);
    put_data(s);
    if ((status = put_plan(s, error)) != LAMINA_OK ||
        (status = put_metrics(s, error)) != LAMINA_OK) {
        return status;
    }
    put_run(s);
    if ((status = put_tensors(s, error)) != LAMINA_OK) {
        return status;
    }
    lamina__h5_put_int(&s->out, s->out.file, "complete", 1); /* the last thing written */
    return LAMINA_OK;
}

/* Names that the layout or HDF5 needs itself. */
static lamina_status check_names(const char *path, const lamina__net *net, lamina_error *error) {
    for (int32_t i = 0; i < lamina__net_n_layers(net); i++) {
        const char *name = lamina__net_layer(net, i)->name;
        if (strcmp(name, "layers") == 0 || strcmp(name, ".") == 0) {
            return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                "%s: a layer named \"%s\" cannot be stored; give it another name",
                                path, name);
        }
    }
    return LAMINA_OK;
}

lamina_status lamina__checkpoint_save(const char *path, const lamina__checkpoint *checkpoint,
                                      const lamina__net *net, const lamina__slot *slots,
                                      size_t n_slots, lamina_error *error) {
    saver s = {.checkpoint = checkpoint, .net = net, .slots = slots, .n_slots = n_slots};
    char seal[LAMINA__SEAL_LENGTH + 1];
    size_t length = 0;
    const void *bytes = NULL;
    lamina_status status = check_names(path, net, error);
    if (status != LAMINA_OK) {
        return status;
    }

    lamina__h5_out_open(&s.out);
    status = fill(&s, error);
    if (status != LAMINA_OK) {
        goto done;
    }
    bytes = lamina__h5_out_bytes(&s.out, &length);
    if (bytes == NULL) {
        status = lamina__fail(error, s.out.status, "%s: cannot make a checkpoint: %s", path,
                              s.out.reason);
        goto done;
    }
    lamina__seal_make(bytes, length, seal);
    const lamina__piece pieces[] = {{bytes, length}, {seal, LAMINA__SEAL_LENGTH}};
    status = lamina__write_pieces(path, pieces, 2, error);
done:
    lamina__h5_out_close(&s.out);
    lamina__free(s.logical);
    return status;
}
