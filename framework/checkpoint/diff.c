/* Two checkpoints compared bit by bit. Wall-clock values are left out. What does not change the
 * result of a run by itself (the plan, threads, versions, the config's text) is told as a note and
 * not counted. */
#include "checkpoint/stored.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct side {
    lamina__checkpoint_file *file;
    lamina__checkpoint checkpoint;
} side;

typedef struct differ {
    side a, b;
    lamina__text *out;
    size_t differences;
    lamina_error *error;
} differ;

/* ---- Numbers ------------------------------------------------------------------------------- */

/* What is different between two sequences of numbers. */
typedef struct deviation {
    size_t count, first, not_finite;
    double absolute, relative; /* the largest of each; relative to the larger magnitude */
} deviation;

static void deviate(deviation *d, size_t index, double a, double b) {
    d->first = d->count++ == 0 ? index : d->first;
    if (!isfinite(a) || !isfinite(b)) {
        d->not_finite++;
        return;
    }
    double absolute = fabs(a - b), larger = fmax(fabs(a), fabs(b));
    double relative = larger > 0 ? absolute / larger : 0; /* 0 and -0 */
    d->absolute = fmax(d->absolute, absolute);
    d->relative = fmax(d->relative, relative);
}

static deviation compare_floats(const float *a, const float *b, size_t n) {
    deviation d = {0};
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof(float)) != 0) {
            deviate(&d, i, (double)a[i], (double)b[i]);
        }
    }
    return d;
}

/* "3 of 500 elements differ, the first is number 7; largest difference 0.5, relative 0.1" */
static void tell_deviation(differ *d, const deviation *dev, size_t n, const char *elements) {
    lamina__text_add(d->out,
                     ": %zu of %zu %s differ, the first is number %zu; largest difference "
                     "%.3g, relative %.3g",
                     dev->count, n, elements, dev->first, dev->absolute, dev->relative);
    if (dev->not_finite > 0) {
        lamina__text_add(d->out, "; %zu with a value that is not finite", dev->not_finite);
    }
    lamina__text_add(d->out, "\n");
    d->differences++;
}

/* ---- Text ---------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static void tell_texts(differ *d, const char *prefix, const char *name, const char *a,
                       const char *b) {
    lamina__text_add(d->out, "%s%s: \"", prefix, name);
    lamina__add_clean(d->out, a ? a : "");
    lamina__text_add(d->out, "\" and \"");
    lamina__add_clean(d->out, b ? b : "");
    lamina__text_add(d->out, "\"\n");
}

static void diff_text(differ *d, const char *name, const char *a, const char *b) {
    if (!same(a, b)) {
        tell_texts(d, "", name, a, b);
        d->differences++;
    }
}

static void note_text(differ *d, const char *name, const char *a, const char *b) {
    if (!same(a, b)) {
        tell_texts(d, "note: ", name, a, b);
    }
}

/* ---- Layers and tensors -------------------------------------------------------------------- */

static void diff_layers(differ *d) {
    const lamina__checkpoint_file *a = d->a.file, *b = d->b.file;
    bool order = a->n_layers == b->n_layers;
    for (size_t i = 0; order && i < a->n_layers; i++) {
        order = strcmp(a->layers[i].name, b->layers[i].name) == 0;
    }
    if (!order) {
        lamina__text_add(d->out, "layers: %zu and %zu, not the same names in the same order\n",
                         a->n_layers, b->n_layers);
        d->differences++;
    }
    for (size_t i = 0; i < a->n_layers; i++) {
        const lamina__stored_layer *one = &a->layers[i];
        const lamina__stored_layer *other = lamina__stored_find_layer(b, one->name);
        if (other != NULL && strcmp(one->type, other->type) != 0) {
            lamina__add_clean(d->out, one->name);
            diff_text(d, ": type", one->type, other->type);
        }
    }
}

static void tell_label(differ *d, const lamina__stored_tensor *tensor) {
    lamina__stored_label(tensor->kind, tensor->layer, tensor->name, tensor->slot, d->out);
}

static lamina_status diff_values(differ *d, const lamina__stored_tensor *a,
                                 const lamina__stored_tensor *b) {
    size_t n = (size_t)lamina__shape_count(&a->shape);
    float *values = lamina__calloc(n, 2 * sizeof(float));
    if (values == NULL) {
        return lamina__fail_memory(d->error, "comparing checkpoints");
    }
    lamina_status status = lamina__stored_read(d->a.file, a, values, d->error);
    if (status == LAMINA_OK) {
        status = lamina__stored_read(d->b.file, b, values + n, d->error);
    }
    if (status == LAMINA_OK) {
        deviation dev = compare_floats(values, values + n, n);
        if (dev.count > 0) {
            tell_label(d, a);
            tell_deviation(d, &dev, n, "elements");
        }
    }
    lamina__free(values);
    return status;
}

static void tell_missing(differ *d, const lamina__stored_tensor *tensor, const char *where) {
    tell_label(d, tensor);
    lamina__text_add(d->out, ": only in the %s file\n", where);
    d->differences++;
}

static lamina_status diff_tensors(differ *d) {
    const lamina__checkpoint_file *a = d->a.file, *b = d->b.file;
    char dims[2][160];
    lamina_status status = LAMINA_OK;
    for (size_t i = 0; i < a->n_tensors && status == LAMINA_OK; i++) {
        const lamina__stored_tensor *one = &a->tensors[i];
        const lamina__stored_tensor *other =
            lamina__stored_find(b, one->kind, one->layer, one->name, one->slot);
        if (other == NULL) {
            tell_missing(d, one, "first");
        } else if (lamina__shape_equal(&one->shape, &other->shape)) {
            status = diff_values(d, one, other);
        } else {
            tell_label(d, one);
            lamina__text_add(d->out, ": %s and %s\n",
                             lamina__shape_text(&one->shape, dims[0], sizeof(dims[0])),
                             lamina__shape_text(&other->shape, dims[1], sizeof(dims[1])));
            d->differences++;
        }
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        const lamina__stored_tensor *other = &b->tensors[i];
        if (lamina__stored_find(a, other->kind, other->layer, other->name, other->slot) == NULL) {
            tell_missing(d, other, "second");
        }
    }
    return status;
}

/* ---- Progress and metrics ------------------------------------------------------------------ */

static void tell_field(differ *d, const lamina__stored_field *field, const void *value) {
    int64_t integer;
    uint64_t natural;
    double real;
    switch (field->kind) {
    case LAMINA__FIELD_INT:
        memcpy(&integer, value, sizeof(integer));
        lamina__text_add(d->out, "%" PRId64, integer);
        break;
    case LAMINA__FIELD_UINT:
        memcpy(&natural, value, sizeof(natural));
        lamina__text_add(d->out, "%" PRIu64, natural);
        break;
    case LAMINA__FIELD_REAL:
        memcpy(&real, value, sizeof(real));
        lamina__text_add_double(d->out, real, false);
        break;
    }
}

static void diff_progress(differ *d) {
    for (size_t i = 0; i < LAMINA__N_PROGRESS; i++) {
        const lamina__stored_field *field = &lamina__progress_fields[i];
        const char *a = (const char *)&d->a.checkpoint.progress + field->offset;
        const char *b = (const char *)&d->b.checkpoint.progress + field->offset;
        if (field->clock || memcmp(a, b, 8) == 0) {
            continue;
        }
        lamina__text_add(d->out, "progress/%s: ", field->name);
        tell_field(d, field, a);
        lamina__text_add(d->out, " and ");
        tell_field(d, field, b);
        lamina__text_add(d->out, "\n");
        d->differences++;
    }
}

/* One number of each loss. */
static void diff_each_loss(differ *d, const char *name, const double *a, const double *b,
                           int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof(*a)) == 0) {
            continue;
        }
        lamina__text_add(d->out, "progress/%s[%d]: ", name, (int)i);
        lamina__text_add_double(d->out, a[i], false);
        lamina__text_add(d->out, " and ");
        lamina__text_add_double(d->out, b[i], false);
        lamina__text_add(d->out, "\n");
        d->differences++;
    }
}

static void diff_losses(differ *d) {
    const lamina__progress *a = &d->a.checkpoint.progress, *b = &d->b.checkpoint.progress;
    const int32_t n = a->n_losses < b->n_losses ? a->n_losses : b->n_losses;
    diff_each_loss(d, LAMINA__LOSS_SUMS, a->losses, b->losses, n);
    diff_each_loss(d, LAMINA__LOSS_WEIGHTS, a->loss_weights, b->loss_weights, n);
}

static double as_double(const lamina__stored_field *field, const void *value) {
    int64_t integer;
    double real;
    memcpy(&integer, value, sizeof(integer));
    memcpy(&real, value, sizeof(real));
    return field->kind == LAMINA__FIELD_REAL ? real : (double)integer;
}

static void diff_column(differ *d, size_t split, const lamina__stored_field *field, size_t rows) {
    deviation dev = {0};
    for (size_t row = 0; row < rows; row++) {
        const char *a = (const char *)&d->a.checkpoint.metrics[split].rows[row] + field->offset;
        const char *b = (const char *)&d->b.checkpoint.metrics[split].rows[row] + field->offset;
        if (memcmp(a, b, 8) != 0) {
            deviate(&dev, row, as_double(field, a), as_double(field, b));
        }
    }
    if (dev.count > 0) {
        lamina__text_add(d->out, "metrics/%s/%s", lamina__split_names[split], field->name);
        tell_deviation(d, &dev, rows, "rows");
    }
}

/* The column of a layer's metric in the other file, -1: it has none. */
static int find_metric(const lamina__metrics *metrics, const char *name) {
    for (size_t m = 0; m < metrics->n_names; m++) {
        if (strcmp(metrics->names[m], name) == 0) {
            return (int)m;
        }
    }
    return -1;
}

static void tell_metric(differ *d, size_t split, const char *name) {
    lamina__text_add(d->out, "metrics/%s/", lamina__split_names[split]);
    lamina__add_clean(d->out, name);
}

static void diff_layer_metrics(differ *d, size_t split, size_t rows) {
    const lamina__metrics *a = &d->a.checkpoint.metrics[split],
                          *b = &d->b.checkpoint.metrics[split];
    for (size_t m = 0; m < a->n_names; m++) {
        const int other = find_metric(b, a->names[m]);
        deviation dev = {0};
        for (size_t row = 0; row < rows && other >= 0; row++) {
            const double x = a->rows[row].metrics[m], y = b->rows[row].metrics[other];
            if (memcmp(&x, &y, sizeof(x)) != 0) {
                deviate(&dev, row, x, y);
            }
        }
        if (other < 0 || dev.count > 0) {
            tell_metric(d, split, a->names[m]);
        }
        if (other < 0) {
            lamina__text_add(d->out, ": only in the first\n");
            d->differences++;
        } else if (dev.count > 0) {
            tell_deviation(d, &dev, rows, "rows");
        }
    }
    for (size_t m = 0; m < b->n_names; m++) {
        if (find_metric(a, b->names[m]) < 0) {
            tell_metric(d, split, b->names[m]);
            lamina__text_add(d->out, ": only in the second\n");
            d->differences++;
        }
    }
}

static void diff_metrics(differ *d) {
    for (size_t split = 0; split < 2; split++) {
        size_t a = d->a.checkpoint.metrics[split].count, b = d->b.checkpoint.metrics[split].count;
        if (a != b) {
            lamina__text_add(d->out, "metrics/%s: %zu and %zu rows\n", lamina__split_names[split],
                             a, b);
            d->differences++;
        }
        for (size_t c = 0; c < LAMINA__N_COLUMNS; c++) {
            if (!lamina__metrics_columns[c].clock) {
                diff_column(d, split, &lamina__metrics_columns[c], a < b ? a : b);
            }
        }
        diff_layer_metrics(d, split, a < b ? a : b);
    }
}

/* ---- Notes --------------------------------------------------------------------------------- */

static bool same_plan(const lamina__plan_record *a, const lamina__plan_record *b) {
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++) {
        equal = same(a->kernels[i].layer, b->kernels[i].layer);
        for (int pass = 0; equal && pass < LAMINA__N_PASSES; pass++) {
            equal = same(a->kernels[i].kernel[pass], b->kernels[i].kernel[pass]);
        }
    }
    return equal;
}

static bool same_calls(const lamina__plan_record *a, const lamina__plan_record *b) {
    bool equal = true;
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        equal = equal && a->kernels[i].whole == b->kernels[i].whole;
    }
    return equal;
}

static void note_data(differ *d) {
    for (size_t i = 0; i < 2; i++) {
        const lamina__data_id *a = &d->a.checkpoint.data[i], *b = &d->b.checkpoint.data[i];
        if (a->fingerprint != b->fingerprint || a->samples != b->samples) {
            lamina__text_add(d->out, "note: other %s data\n", lamina__split_names[i]);
        }
    }
}

static void note_run(differ *d) {
    const lamina__checkpoint *a = &d->a.checkpoint, *b = &d->b.checkpoint;
    if (!same(a->config_resolved, b->config_resolved)) {
        lamina__text_add(d->out, "note: the configs are not the same\n");
    }
    note_data(d);
    if (a->plan.shards != b->plan.shards) {
        lamina__text_add(d->out, "note: %d and %d shards\n", (int)a->plan.shards,
                         (int)b->plan.shards);
    }
    if (a->plan.slices != b->plan.slices) {
        lamina__text_add(d->out, "note: shards of %d and %d slices\n", (int)a->plan.slices,
                         (int)b->plan.slices);
    }
    if (a->plan.by_shard != b->plan.by_shard) {
        lamina__text_add(d->out, "note: the one shard on one thread, and on all\n");
    }
    if (!same_calls(&a->plan, &b->plan)) {
        lamina__text_add(d->out, "note: other layers are called on the whole batch\n");
    }
    if (!same_plan(&a->plan, &b->plan)) {
        lamina__text_add(d->out, "note: other kernels\n");
    }
    if (a->threads != b->threads) {
        lamina__text_add(d->out, "note: %d and %d threads\n", (int)a->threads, (int)b->threads);
    }
    note_text(d, "instruction set", a->isa, b->isa);
    note_text(d, "oneDNN", a->onednn_version, b->onednn_version);
    note_text(d, "Lamina", a->lamina_version, b->lamina_version);
}

lamina_status lamina__checkpoint_diff(const char *a, const char *b, lamina__text *out,
                                      size_t *differences, lamina_error *error) {
    differ d = {.out = out, .error = error};
    *differences = 0;
    lamina_status status = lamina__checkpoint_open(a, &d.a.file, &d.a.checkpoint, error);
    if (status == LAMINA_OK) {
        status = lamina__checkpoint_open(b, &d.b.file, &d.b.checkpoint, error);
    }
    if (status == LAMINA_OK) {
        diff_text(&d, "kind", d.a.file->kind, d.b.file->kind);
        diff_text(&d, "optimizer", d.a.checkpoint.optimizer, d.b.checkpoint.optimizer);
        diff_layers(&d);
        status = diff_tensors(&d);
    }
    if (status == LAMINA_OK) {
        diff_progress(&d);
        diff_losses(&d);
        diff_metrics(&d);
        note_run(&d);
        *differences = d.differences;
        status = out->failed ? lamina__fail_memory(error, "comparing checkpoints") : LAMINA_OK;
    }
    lamina__checkpoint_close(d.a.file);
    lamina__checkpoint_free(&d.a.checkpoint);
    lamina__checkpoint_close(d.b.file);
    lamina__checkpoint_free(&d.b.checkpoint);
    return status;
}
