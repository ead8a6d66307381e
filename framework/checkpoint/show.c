/* What is in a checkpoint, for people; and whether it is sound. */
#include "checkpoint/stored.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct shower {
    const lamina__checkpoint_file *file;
    const lamina__checkpoint *checkpoint;
    lamina__text *out;
} shower;

static void key(const shower *s, const char *name) {
    lamina__text_add(s->out, "%-10s  ", name);
}

static void end_line(const shower *s) {
    lamina__text_add(s->out, "\n");
}

/* ---- The parts of the text ----------------------------------------------------------------- */

static void show_head(const shower *s) {
    lamina__add_clean(s->out, s->file->path);
    end_line(s);
    key(s, "format");
    lamina__text_add(s->out, "lamina %d, written by ", LAMINA__CHECKPOINT_VERSION);
    lamina__add_clean(s->out, s->file->writer);
    lamina__text_add(s->out, " at ");
    lamina__add_clean(s->out, s->checkpoint->created);
    end_line(s);
    key(s, "kind");
    lamina__text_add(s->out, "%s, %zu bytes, %s\n", s->file->kind, s->file->image.length,
                     s->file->sealed ? "checksum right"
                                     : "no checksum (made or changed by another program)");
    key(s, "config");
    lamina__add_clean(s->out, s->checkpoint->config_origin);
    end_line(s);
}

static void show_progress(const shower *s) {
    const lamina__progress *p = &s->checkpoint->progress;
    key(s, "progress");
    lamina__text_add(s->out,
                     "epoch %" PRId64 ", step %" PRId64 ", %" PRId64
                     " samples into the next epoch, %.1f s, seed %" PRIu64 "\n",
                     p->epoch, p->step, p->position, p->seconds, p->seed);
    key(s, "best");
    if (p->best_accuracy >= 0) {
        lamina__text_add(s->out, "accuracy %.4f, epoch %" PRId64 "\n", p->best_accuracy,
                         p->best_epoch);
    } else if (!isnan(p->best_loss)) {
        lamina__text_add(s->out, "loss %.6g, epoch %" PRId64 "\n", p->best_loss, p->best_epoch);
    } else {
        lamina__text_add(s->out, "none yet\n");
    }
}

/* "sgd (momentum)": the slots of the first weight that has any stand for all. */
static void show_optimizer(const shower *s) {
    key(s, "optimizer");
    lamina__add_clean(s->out, s->checkpoint->optimizer ? s->checkpoint->optimizer : "none");
    const lamina__stored_tensor *first = NULL;
    for (size_t i = 0; i < s->file->n_tensors; i++) {
        const lamina__stored_tensor *t = &s->file->tensors[i];
        if (t->kind != LAMINA__STORED_SLOT) {
            continue;
        }
        if (first == NULL || (t->layer == first->layer && strcmp(t->name, first->name) == 0)) {
            lamina__text_add(s->out, first == NULL ? " (" : ", ");
            lamina__add_clean(s->out, t->slot);
            first = first ? first : t;
        }
    }
    lamina__text_add(s->out, first ? ")\n" : "\n");
}

static void show_data(const shower *s) {
    for (size_t i = 0; i < 2; i++) {
        const lamina__data_id *id = &s->checkpoint->data[i];
        if (id->source != NULL) {
            key(s, lamina__split_names[i]);
            lamina__add_clean(s->out, id->source);
            lamina__text_add(s->out, ", %" PRId64 " samples, fingerprint %016" PRIx64 "\n",
                             id->samples, id->fingerprint);
        }
    }
}

static void show_run(const shower *s) {
    const lamina__checkpoint *c = s->checkpoint;
    if (c->isa != NULL) {
        key(s, "run");
        lamina__text_add(s->out, "%d thread%s, ", (int)c->threads, c->threads == 1 ? "" : "s");
        lamina__add_clean(s->out, c->isa);
        lamina__text_add(s->out, ", Lamina ");
        lamina__add_clean(s->out, c->lamina_version);
        lamina__text_add(s->out, ", oneDNN ");
        lamina__add_clean(s->out, c->onednn_version);
        end_line(s);
    }
    if (c->plan.shards > 0) {
        key(s, "plan");
        lamina__text_add(s->out, "%d shard%s", (int)c->plan.shards, c->plan.shards == 1 ? "" : "s");
        if (c->plan.slices > 1) {
            lamina__text_add(s->out, " of %d slices", (int)c->plan.slices);
        }
        lamina__text_add(s->out, "\n");
    }
}

/* "-" for the mean of nothing. */
static void add_mean(const shower *s, double mean) {
    if (isnan(mean)) {
        lamina__text_add(s->out, "-");
    } else {
        lamina__text_add(s->out, "%.6g", mean);
    }
}

static void show_metrics(const shower *s) {
    for (size_t i = 0; i < 2; i++) {
        const lamina__metrics *m = &s->checkpoint->metrics[i];
        if (m->count == 0) {
            continue;
        }
        const lamina__metrics_row *last = &m->rows[m->count - 1];
        lamina__text_add(s->out, "last %-5s  epoch %" PRId64 ": loss ", lamina__split_names[i],
                         last->epoch);
        add_mean(s, last->loss);
        if (!isnan(last->accuracy)) {
            lamina__text_add(s->out, ", accuracy %.4f", last->accuracy);
        }
        for (size_t k = 0; k < m->n_names; k++) {
            lamina__text_add(s->out, ", ");
            lamina__add_clean(s->out, m->names[k]);
            lamina__text_add(s->out, " ");
            add_mean(s, last->metrics[k]);
        }
        lamina__text_add(s->out, ", learning rate %.6g (%zu row%s)\n", last->learning_rate,
                         m->count, m->count == 1 ? "" : "s");
    }
}

/* ": onednn" when all passes have the same kernel, else ": forward onednn, backward_data ...". */
static void show_kernels(const shower *s, const char *layer) {
    const lamina__recorded_kernel *kernels = lamina__plan_record_find(&s->checkpoint->plan, layer);
    const char *first = NULL, *separator = ": ";
    bool same = true;
    for (int pass = 0; kernels != NULL && pass < LAMINA__N_PASSES; pass++) {
        const char *name = kernels->kernel[pass];
        first = first ? first : name;
        same = same && (name == NULL || strcmp(name, first) == 0);
    }
    if (kernels != NULL && kernels->whole) {
        lamina__text_add(s->out, ", on the whole batch");
    }
    if (first != NULL && same) {
        lamina__text_add(s->out, ": ");
        lamina__add_clean(s->out, first);
        return;
    }
    for (int pass = 0; first != NULL && pass < LAMINA__N_PASSES; pass++) {
        if (kernels->kernel[pass] != NULL) {
            lamina__text_add(s->out, "%s%s ", separator, lamina__pass_names[pass]);
            lamina__add_clean(s->out, kernels->kernel[pass]);
            separator = ", ";
        }
    }
}

static void show_layers(const shower *s) {
    int64_t parameters = 0;
    char dims[160];
    lamina__text_add(s->out, "layers\n");
    for (size_t i = 0; i < s->file->n_layers; i++) {
        const lamina__stored_layer *layer = &s->file->layers[i];
        lamina__text_add(s->out, "  ");
        lamina__add_clean(s->out, layer->name);
        lamina__text_add(s->out, " (");
        lamina__add_clean(s->out, layer->type);
        if (layer->plugin != NULL) {
            lamina__text_add(s->out, ", plugin ");
            lamina__add_clean(s->out, layer->plugin);
            lamina__text_add(s->out, " ");
            lamina__add_clean(s->out, layer->plugin_version);
        }
        lamina__text_add(s->out, ")");
        show_kernels(s, layer->name);
        end_line(s);
        for (size_t t = 0; t < layer->n_tensors; t++) {
            const lamina__stored_tensor *tensor = &s->file->tensors[layer->first_tensor + t];
            bool weight = tensor->kind == LAMINA__STORED_WEIGHT;
            parameters += weight ? lamina__shape_count(&tensor->shape) : 0;
            lamina__text_add(s->out, "    ");
            lamina__add_clean(s->out, tensor->name);
            lamina__text_add(s->out, " %s%s\n",
                             lamina__shape_text(&tensor->shape, dims, sizeof(dims)),
                             weight ? "" : " state");
        }
    }
    lamina__text_add(s->out, "%" PRId64 " parameters\n", parameters);
}

lamina_status lamina__checkpoint_show(const char *path, lamina__text *out, lamina_error *error) {
    lamina__checkpoint_file *file;
    lamina__checkpoint checkpoint;
    lamina_status status = lamina__checkpoint_open(path, &file, &checkpoint, error);
    if (status != LAMINA_OK) {
        return status;
    }
    const shower s = {file, &checkpoint, out};
    show_head(&s);
    show_progress(&s);
    show_optimizer(&s);
    show_data(&s);
    show_run(&s);
    show_metrics(&s);
    show_layers(&s);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    return out->failed ? lamina__fail_memory(error, "describing a checkpoint") : LAMINA_OK;
}

/* ---- Verify -------------------------------------------------------------------------------- */

static lamina_status verify_tensor(const lamina__checkpoint_file *file,
                                   const lamina__stored_tensor *tensor, lamina_error *error) {
    size_t count = (size_t)lamina__shape_count(&tensor->shape), bad = 0, first = 0;
    float *values = lamina__alloc(count * sizeof(float));
    if (values == NULL) {
        return lamina__fail_memory(error, "verifying a checkpoint");
    }
    lamina_status status = lamina__stored_read(file, tensor, values, error);
    for (size_t i = 0; i < count && status == LAMINA_OK; i++) {
        if (!isfinite(values[i])) {
            first = bad++ == 0 ? i : first;
        }
    }
    if (bad > 0) {
        lamina__text label = {0};
        lamina__stored_label(tensor->kind, tensor->layer, tensor->name, tensor->slot, &label);
        status = label.failed ? lamina__fail_memory(error, "verifying a checkpoint")
                              : lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                                             "%s: %s: %zu of %zu values are not finite, the first "
                                             "is number %zu (from 0)",
                                             file->path, label.data, bad, count, first);
        lamina__text_free(&label);
    }
    lamina__free(values);
    return status;
}

lamina_status lamina__checkpoint_verify(const char *path, lamina_error *error) {
    lamina__checkpoint_file *file;
    lamina__checkpoint checkpoint;
    lamina_status status = lamina__checkpoint_open(path, &file, &checkpoint, error);
    if (status != LAMINA_OK) {
        return status;
    }
    for (size_t i = 0; i < file->n_tensors && status == LAMINA_OK; i++) {
        status = verify_tensor(file, &file->tensors[i], error);
    }
    if (status == LAMINA_OK && !file->sealed) {
        status = lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                              "%s: can be read, but has no checksum line at its end: it was cut "
                              "short there, or another program made or changed it",
                              path);
    }
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    return status;
}
