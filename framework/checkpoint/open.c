/* Opening a checkpoint: the file into memory, its seal, then everything in it that is not a tensor,
 * and of the tensors what there is and in which shape. */
#include "checkpoint/stored.h"

#include "base/alloc.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SHARDS 1024
#define MAX_SLICES (1 << 20)

static const unsigned char magic[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

/* ---- The bytes ----------------------------------------------------------------------------- */

static lamina_status read_all(int fd, unsigned char *bytes, size_t length, const char *path,
                              lamina_error *error) {
    size_t got = 0;
    while (got < length) {
        ssize_t n = read(fd, bytes + got, length - got);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot be read: %s", path,
                                strerror(errno));
        }
        if (n == 0) {
            return lamina__fail(error, LAMINA_ERROR_IO, "%s: became shorter while it was read",
                                path);
        }
        got += (size_t)n;
    }
    return LAMINA_OK;
}

static lamina_status load_bytes(lamina__checkpoint_file *file, lamina_error *error) {
    struct stat info;
    lamina_status status;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = lamina__fail(error, LAMINA_ERROR_IO, "%s: cannot be opened: %s", file->path,
                              strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = lamina__fail(error, LAMINA_ERROR_IO, "%s: is %s, not a checkpoint", file->path,
                              S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
        goto done;
    }
    file->image.length = (size_t)info.st_size;
    file->image.bytes = lamina__alloc(file->image.length);
    status = file->image.bytes
                 ? read_all(fd, file->image.bytes, file->image.length, file->path, error)
                 : lamina__fail_memory(error, "reading a checkpoint");
done:
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

/* The length the file should have, from the HDF5 superblock (versions 2 and 3, 8-byte addresses);
 * 0 when it is not of that kind. */
static uint64_t promised_length(const unsigned char *bytes, size_t length) {
    const size_t at = 28; /* of the end-of-file address, little-endian */
    uint64_t value = 0;
    if (length < at + 8 || (bytes[8] != 2 && bytes[8] != 3) || bytes[9] != 8) {
        return 0;
    }
    for (size_t i = 8; i-- > 0;) {
        value = value << 8 | bytes[at + i];
    }
    return value;
}

/* Before HDF5 sees them: are these the bytes that Lamina wrote? */
static lamina_status check_bytes(lamina__checkpoint_file *file, lamina_error *error) {
    if (file->image.length == 0) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT, "%s: is empty", file->path);
    }
    if (file->image.length < sizeof(magic) ||
        memcmp(file->image.bytes, magic, sizeof(magic)) != 0) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: is no checkpoint (no HDF5 file), or its beginning is damaged",
                            file->path);
    }
    lamina__seal_state seal = lamina__seal_check(file->image.bytes, file->image.length);
    if (seal == LAMINA__SEAL_WRONG) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: is damaged: its checksum does not fit; use an older checkpoint",
                            file->path);
    }
    file->sealed = seal == LAMINA__SEAL_RIGHT;
    if (file->sealed) {
        file->image.length -= LAMINA__SEAL_LENGTH;
        return LAMINA_OK;
    }
    uint64_t promised = promised_length(file->image.bytes, file->image.length);
    if (promised > file->image.length) {
        return lamina__fail(error, LAMINA_ERROR_CHECKPOINT,
                            "%s: is cut short: only %zu of its %llu bytes are there", file->path,
                            file->image.length, (unsigned long long)promised);
    }
    return LAMINA_OK;
}

/* ---- Root, config, run --------------------------------------------------------------------- */

static lamina_status read_root(lamina__opener *o) {
    hid_t root = o->file->file;
    char *format = NULL;
    int64_t version = 0, complete = 0;
    lamina_status status;
    if (!lamina__h5_has_attribute(root, "format") || !lamina__h5_has_attribute(root, "version")) {
        return lamina__fail(o->in.error, LAMINA_ERROR_CHECKPOINT,
                            "%s: is an HDF5 file, but no checkpoint of Lamina", o->in.path);
    }
    if ((status = lamina__h5_get_text(&o->in, root, "format", &format)) != LAMINA_OK ||
        (status = lamina__h5_get_int(&o->in, root, "version", 1, INT64_MAX, &version)) !=
            LAMINA_OK) {
        goto done;
    }
    if (strcmp(format, "lamina") != 0) {
        status = lamina__h5_wrong(&o->in, root, "format", "is \"%s\", not \"lamina\"", format);
        goto done;
    }
    if (version > LAMINA__CHECKPOINT_VERSION) {
        status = lamina__fail(o->in.error, LAMINA_ERROR_CHECKPOINT,
                              "%s: written by a newer Lamina: version %lld; this is %d", o->in.path,
                              (long long)version, LAMINA__CHECKPOINT_VERSION);
        goto done;
    }
    if (!lamina__h5_has_attribute(root, "complete") ||
        lamina__h5_get_int(&o->in, root, "complete", 1, 1, &complete) != LAMINA_OK) {
        status = lamina__fail(o->in.error, LAMINA_ERROR_CHECKPOINT,
                              "%s: was not written to its end", o->in.path);
        goto done;
    }
    if ((status = lamina__h5_get_text(&o->in, root, "kind", &o->file->kind)) != LAMINA_OK ||
        (status = lamina__h5_get_text(&o->in, root, "writer", &o->file->writer)) != LAMINA_OK ||
        (status = lamina__h5_get_text(&o->in, root, "created", &o->checkpoint->created)) !=
            LAMINA_OK) {
        goto done;
    }
    o->training = strcmp(o->file->kind, "training") == 0;
    if (!o->training && strcmp(o->file->kind, "weights") != 0) {
        status =
            lamina__h5_wrong(&o->in, root, "kind",
                             "is \"%s\"; it must be \"training\" or \"weights\"", o->file->kind);
    }
done:
    lamina__free(format);
    return status;
}

static lamina_status read_scalar_text(lamina__opener *o, hid_t parent, const char *name,
                                      char **text) {
    lamina__h5_names one;
    lamina_status status = lamina__h5_get_texts(&o->in, parent, name, 0, NULL, &one);
    if (status == LAMINA_OK) {
        *text = one.name[0];
        one.count = 0;
    }
    lamina__h5_names_free(&one);
    return status;
}

static lamina_status read_config(lamina__opener *o) {
    lamina__checkpoint *c = o->checkpoint;
    lamina_status status;
    hid_t group = lamina__h5_open_group(&o->in, o->file->file, "config");
    if (group < 0) {
        return LAMINA_ERROR_CHECKPOINT;
    }
    if ((status = read_scalar_text(o, group, "source", &c->config_source)) == LAMINA_OK &&
        (status = read_scalar_text(o, group, "resolved", &c->config_resolved)) == LAMINA_OK) {
        status = lamina__h5_get_text(&o->in, group, "origin", &c->config_origin);
    }
    H5Oclose(group);
    return status;
}

lamina_status lamina__open_part(const lamina__opener *o, hid_t parent, const char *name,
                                bool required, hid_t *group) {
    *group = H5I_INVALID_HID;
    if (!required && !lamina__h5_has(parent, name)) {
        return LAMINA_OK;
    }
    *group = lamina__h5_open_group(&o->in, parent, name);
    return *group < 0 ? LAMINA_ERROR_CHECKPOINT : LAMINA_OK;
}

static lamina_status read_run(lamina__opener *o) {
    lamina__checkpoint *c = o->checkpoint;
    int64_t threads = 0;
    hid_t group;
    lamina_status status = lamina__open_part(o, o->file->file, "run", o->training, &group);
    if (group < 0) {
        return status;
    }
    if ((status = lamina__h5_get_int(&o->in, group, "threads", 1, INT32_MAX, &threads)) ==
            LAMINA_OK &&
        (status = lamina__h5_get_text(&o->in, group, "isa", &c->isa)) == LAMINA_OK &&
        (status = lamina__h5_get_text(&o->in, group, "onednn", &c->onednn_version)) == LAMINA_OK) {
        status = lamina__h5_get_text(&o->in, group, "lamina", &c->lamina_version);
    }
    c->threads = (int32_t)threads;
    H5Oclose(group);
    return status;
}

/* ---- Progress, data, plan, metrics --------------------------------------------------------- */

/* In files of earlier versions every loss counts every sample as 1, and the first stands for all.
 */
static lamina_status read_losses(lamina__opener *o, hid_t group) {
    lamina__progress *p = &o->checkpoint->progress;
    size_t sums = 0, weights = 0;
    p->losses[0] = p->loss_sum;
    for (int i = 0; i < LAMINA__MAX_LOSSES; i++) {
        p->loss_weights[i] = (double)p->seen;
    }
    if (!lamina__h5_has(group, LAMINA__LOSS_SUMS)) {
        return LAMINA_OK;
    }
    lamina_status status = lamina__h5_get_length(&o->in, group, LAMINA__LOSS_SUMS, &sums);
    if (status == LAMINA_OK) {
        status = lamina__h5_get_length(&o->in, group, LAMINA__LOSS_WEIGHTS, &weights);
    }
    if (status == LAMINA_OK && (sums > LAMINA__MAX_LOSSES || weights != sums)) {
        status = lamina__h5_wrong(&o->in, group, LAMINA__LOSS_SUMS,
                                  "has %zu numbers, and loss_weights %zu; they must have one for "
                                  "each loss, at most %d",
                                  sums, weights, LAMINA__MAX_LOSSES);
    }
    if (status == LAMINA_OK) {
        p->n_losses = (int32_t)sums;
        status = lamina__h5_get_reals(&o->in, group, LAMINA__LOSS_SUMS, sums, p->losses);
    }
    if (status == LAMINA_OK) {
        status = lamina__h5_get_reals(&o->in, group, LAMINA__LOSS_WEIGHTS, sums, p->loss_weights);
    }
    for (size_t i = 0; status == LAMINA_OK && i < sums; i++) {
        if (!(p->loss_weights[i] >= 0) || !isfinite(p->loss_weights[i])) {
            status = lamina__h5_wrong(&o->in, group, LAMINA__LOSS_WEIGHTS, "has %g in it",
                                      p->loss_weights[i]);
        }
    }
    return status;
}

static lamina_status read_progress(lamina__opener *o) {
    hid_t group;
    lamina_status status = lamina__open_part(o, o->file->file, "progress", o->training, &group);
    o->checkpoint->progress.best_loss = (double)NAN;
    if (group < 0) {
        o->checkpoint->progress.best_accuracy = -1; /* none yet */
        return status;
    }
    const bool old = !lamina__h5_has_attribute(group, "labelled"); /* all that is seen has one */
    for (size_t i = 0; i < LAMINA__N_PROGRESS && status == LAMINA_OK; i++) {
        const lamina__stored_field *field = &lamina__progress_fields[i];
        if (field->later && !lamina__h5_has_attribute(group, field->name)) {
            continue;
        }
        void *to = (char *)&o->checkpoint->progress + field->offset;
        switch (field->kind) {
        case LAMINA__FIELD_INT:
            status = lamina__h5_get_int(&o->in, group, field->name, field->min, INT64_MAX, to);
            break;
        case LAMINA__FIELD_UINT:
            status = lamina__h5_get_uint(&o->in, group, field->name, to);
            break;
        case LAMINA__FIELD_REAL:
            status = lamina__h5_get_real(&o->in, group, field->name, to);
            break;
        }
    }
    lamina__progress *p = &o->checkpoint->progress;
    p->labelled = old ? p->seen : p->labelled;
    if (status == LAMINA_OK && p->labelled > p->seen) {
        status = lamina__h5_wrong(&o->in, group, "labelled", "is %lld, of %lld samples seen",
                                  (long long)p->labelled, (long long)p->seen);
    } else if (status == LAMINA_OK && p->correct > p->labelled) {
        status = lamina__h5_wrong(&o->in, group, "correct", "is %lld, of %lld samples that count",
                                  (long long)p->correct, (long long)p->labelled);
    }
    if (status == LAMINA_OK) {
        status = read_losses(o, group);
    }
    H5Oclose(group);
    return status;
}

static lamina_status read_split(lamina__opener *o, hid_t data, const char *name,
                                lamina__data_id *id) {
    hid_t group;
    lamina_status status = lamina__open_part(o, data, name, false, &group);
    if (group < 0) {
        return status;
    }
    if ((status = lamina__h5_get_text(&o->in, group, "source", &id->source)) == LAMINA_OK &&
        (status = lamina__h5_get_int(&o->in, group, "samples", 1, INT64_MAX, &id->samples)) ==
            LAMINA_OK) {
        status = lamina__h5_get_uint(&o->in, group, "fingerprint", &id->fingerprint);
    }
    H5Oclose(group);
    return status;
}

static lamina_status read_data(lamina__opener *o) {
    hid_t data;
    lamina_status status = lamina__open_part(o, o->file->file, "data", o->training, &data);
    if (data < 0) {
        return status;
    }
    for (size_t i = 0; i < 2 && status == LAMINA_OK; i++) {
        status = read_split(o, data, lamina__split_names[i], &o->checkpoint->data[i]);
    }
    const lamina__data_id *train = &o->checkpoint->data[0];
    if (status == LAMINA_OK && train->source != NULL &&
        o->checkpoint->progress.position > train->samples) {
        status = lamina__h5_wrong(&o->in, data, NULL,
                                  "position %lld is behind the last of the %lld "
                                  "samples",
                                  (long long)o->checkpoint->progress.position,
                                  (long long)train->samples);
    }
    H5Oclose(data);
    return status;
}

/* The strings move from the table of texts to the record. */
static lamina_status fill_plan(lamina__opener *o, lamina__h5_names *cells, size_t rows) {
    lamina__plan_record *plan = &o->checkpoint->plan;
    plan->kernels = lamina__calloc(rows + 1, sizeof(*plan->kernels));
    if (plan->kernels == NULL) {
        return lamina__fail_memory(o->in.error, "the plan of a checkpoint");
    }
    plan->count = rows;
    for (size_t i = 0; i < rows; i++) {
        char **row = cells->name + i * LAMINA__PLAN_COLUMNS;
        plan->kernels[i].layer = row[0];
        row[0] = NULL;
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            if (row[1 + pass][0] != '\0') { /* "": none */
                plan->kernels[i].kernel[pass] = row[1 + pass];
                row[1 + pass] = NULL;
            }
        }
    }
    return LAMINA_OK;
}

/* Absent in files of earlier versions: no layer was called on the whole batch by plan. */
static lamina_status read_whole(lamina__opener *o, hid_t group) {
    lamina__plan_record *plan = &o->checkpoint->plan;
    if (!lamina__h5_has(group, "whole")) {
        return LAMINA_OK;
    }
    int64_t *whole = lamina__calloc(plan->count + 1, sizeof(*whole));
    if (whole == NULL) {
        return lamina__fail_memory(o->in.error, "the plan of a checkpoint");
    }
    lamina_status status = lamina__h5_get_ints(&o->in, group, "whole", plan->count, whole);
    for (size_t i = 0; status == LAMINA_OK && i < plan->count; i++) {
        if (whole[i] != 0 && whole[i] != 1) {
            status = lamina__h5_wrong(&o->in, group, "whole", "has %lld instead of 0 or 1",
                                      (long long)whole[i]);
        }
        plan->kernels[i].whole = whole[i] == 1;
    }
    lamina__free(whole);
    return status;
}

static lamina_status read_plan(lamina__opener *o) {
    hid_t group;
    hsize_t dim[2];
    int64_t shards = 0, slices = 1, by_shard = 0;
    lamina__h5_names cells = {0};
    lamina_status status = lamina__open_part(o, o->file->file, "plan", o->training, &group);
    if (group < 0) {
        return status;
    }
    if ((status = lamina__h5_get_int(&o->in, group, "shards", 1, MAX_SHARDS, &shards)) ==
            LAMINA_OK &&
        (!lamina__h5_has_attribute(group, "slices") ||
         (status = lamina__h5_get_int(&o->in, group, "slices", 1, MAX_SLICES, &slices)) ==
             LAMINA_OK) &&
        (!lamina__h5_has_attribute(group, "by_shard") ||
         (status = lamina__h5_get_int(&o->in, group, "by_shard", 0, 1, &by_shard)) == LAMINA_OK) &&
        (status = lamina__h5_get_texts(&o->in, group, "kernels", 2, dim, &cells)) == LAMINA_OK) {
        status = dim[1] == LAMINA__PLAN_COLUMNS
                     ? fill_plan(o, &cells, (size_t)dim[0])
                     : lamina__h5_wrong(&o->in, group, "kernels", "has %llu columns instead of %d",
                                        (unsigned long long)dim[1], LAMINA__PLAN_COLUMNS);
        status = status == LAMINA_OK ? read_whole(o, group) : status;
    }
    o->checkpoint->plan.shards = (int32_t)shards;
    o->checkpoint->plan.slices = (int32_t)slices;
    o->checkpoint->plan.by_shard = by_shard != 0;
    lamina__h5_names_free(&cells);
    H5Oclose(group);
    return status;
}

/* A column for each layer that is a metric. Files of earlier versions have none. */
static lamina_status read_layer_metrics(lamina__opener *o, hid_t parent, lamina__metrics *metrics,
                                        double *column) {
    lamina__h5_names names = {0};
    hid_t group = lamina__h5_open_group(&o->in, parent, LAMINA__LAYER_METRICS);
    lamina_status status =
        group < 0 ? LAMINA_ERROR_CHECKPOINT : lamina__h5_list(&o->in, group, &names);
    if (status == LAMINA_OK && names.count > LAMINA__MAX_METRICS) {
        status = lamina__h5_wrong(&o->in, parent, LAMINA__LAYER_METRICS,
                                  "has %zu columns; there are at most %d", names.count,
                                  LAMINA__MAX_METRICS);
    }
    for (size_t m = 0; m < names.count && status == LAMINA_OK; m++) {
        status = lamina__h5_get_reals(&o->in, group, names.name[m], metrics->count, column);
        for (size_t row = 0; row < metrics->count && status == LAMINA_OK; row++) {
            metrics->rows[row].metrics[m] = column[row];
        }
        if (status == LAMINA_OK) {
            metrics->names[m] = names.name[m];
            names.name[m] = NULL;
            metrics->n_names = m + 1;
        }
    }
    lamina__h5_names_free(&names);
    if (group >= 0) {
        H5Oclose(group);
    }
    return status;
}

static lamina_status read_columns(lamina__opener *o, hid_t group, lamina__metrics *metrics) {
    size_t rows = 0;
    lamina_status status =
        lamina__h5_get_length(&o->in, group, lamina__metrics_columns[0].name, &rows);
    if (status != LAMINA_OK) {
        return status;
    }
    void *column = lamina__calloc(rows + 1, 8);
    metrics->rows = lamina__calloc(rows + 1, sizeof(*metrics->rows));
    if (column == NULL || metrics->rows == NULL) {
        lamina__free(column);
        return lamina__fail_memory(o->in.error, "metrics of a checkpoint");
    }
    metrics->count = rows;
    metrics->capacity = rows + 1;
    for (size_t c = 0; c < LAMINA__N_COLUMNS && status == LAMINA_OK; c++) {
        const lamina__stored_field *field = &lamina__metrics_columns[c];
        status = field->kind == LAMINA__FIELD_REAL
                     ? lamina__h5_get_reals(&o->in, group, field->name, rows, column)
                     : lamina__h5_get_ints(&o->in, group, field->name, rows, column);
        for (size_t row = 0; row < rows && status == LAMINA_OK; row++) {
            memcpy((char *)&metrics->rows[row] + field->offset, (char *)column + row * 8, 8);
        }
    }
    if (status == LAMINA_OK && lamina__h5_has(group, LAMINA__LAYER_METRICS)) {
        status = read_layer_metrics(o, group, metrics, column);
    }
    lamina__free(column);
    return status;
}

static lamina_status read_metrics(lamina__opener *o) {
    hid_t metrics;
    lamina_status status = lamina__open_part(o, o->file->file, "metrics", o->training, &metrics);
    if (metrics < 0) {
        return status;
    }
    for (size_t i = 0; i < 2 && status == LAMINA_OK; i++) {
        hid_t group;
        status = lamina__open_part(o, metrics, lamina__split_names[i], o->training, &group);
        if (group >= 0) {
            status = read_columns(o, group, &o->checkpoint->metrics[i]);
            H5Oclose(group);
        }
    }
    H5Oclose(metrics);
    return status;
}

/* ---- Open and close ------------------------------------------------------------------------ */

lamina_status lamina__checkpoint_open(const char *path, lamina__checkpoint_file **result,
                                      lamina__checkpoint *checkpoint, lamina_error *error) {
    *result = NULL;
    *checkpoint = (lamina__checkpoint){0};
    lamina__checkpoint_file *file = lamina__calloc(1, sizeof(*file));
    if (file == NULL) {
        return lamina__fail_memory(error, "opening a checkpoint");
    }
    file->file = H5I_INVALID_HID;
    file->path = lamina__strdup(path);
    lamina_status status =
        file->path ? load_bytes(file, error) : lamina__fail_memory(error, "opening a checkpoint");
    if (status == LAMINA_OK) {
        status = check_bytes(file, error);
    }
    if (status != LAMINA_OK) {
        goto done;
    }

    lamina__opener o = {
        .in = {file->path, file->image.length, error}, .file = file, .checkpoint = checkpoint};
    lamina__h5_quiet();
    file->file = lamina__h5_open_image(&o.in, &file->image);
    status = file->file < 0 ? LAMINA_ERROR_CHECKPOINT : read_root(&o);
    static lamina_status (*const parts[])(lamina__opener *) = {
        read_config,  read_progress, read_data,          read_plan,
        read_metrics, read_run,      lamina__read_model, lamina__read_optimizer,
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && status == LAMINA_OK; i++) {
        status = parts[i](&o);
    }
done:
    if (status != LAMINA_OK) {
        lamina__checkpoint_close(file);
        lamina__checkpoint_free(checkpoint);
        return status;
    }
    if (!file->sealed) {
        lamina__log(LAMINA_LOG_WARNING,
                    "%s: has no checksum line at its end: another program made or changed it, and "
                    "damage to its tensors cannot be seen",
                    file->path);
    }
    *result = file;
    return LAMINA_OK;
}

void lamina__checkpoint_close(lamina__checkpoint_file *file) {
    if (file == NULL) {
        return;
    }
    if (file->file >= 0) {
        H5Fclose(file->file);
    }
    for (size_t i = 0; i < file->n_layers; i++) {
        lamina__free(file->layers[i].name);
        lamina__free(file->layers[i].type);
        lamina__free(file->layers[i].plugin);
        lamina__free(file->layers[i].plugin_version);
    }
    for (size_t i = 0; i < file->n_tensors; i++) {
        lamina__free(file->tensors[i].name);
        lamina__free(file->tensors[i].slot);
    }
    lamina__free(file->layers);
    lamina__free(file->tensors);
    lamina__free(file->kind);
    lamina__free(file->writer);
    lamina__free(file->image.bytes);
    lamina__free(file->path);
    lamina__free(file);
}

void lamina__checkpoint_free(lamina__checkpoint *checkpoint) {
    char *texts[] = {checkpoint->config_source,
                     checkpoint->config_resolved,
                     checkpoint->config_origin,
                     checkpoint->optimizer,
                     checkpoint->isa,
                     checkpoint->onednn_version,
                     checkpoint->lamina_version,
                     checkpoint->created};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        lamina__free(texts[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        lamina__free(checkpoint->data[i].source);
        lamina__free(checkpoint->metrics[i].rows);
        for (size_t m = 0; m < checkpoint->metrics[i].n_names; m++) {
            lamina__free(checkpoint->metrics[i].names[m]);
        }
    }
    lamina__plan_record_free(&checkpoint->plan);
    *checkpoint = (lamina__checkpoint){0};
}
