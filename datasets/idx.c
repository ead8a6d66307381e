/* IDX, the format of MNIST and its relatives. Numbers are big-endian:
 *
 *     0  0  type  n        type 8: unsigned bytes, 13: floats, 14: doubles; n: number of dimensions
 *     dim[0] .. dim[n-1]   4 bytes each, the samples first
 *     the elements, row-major
 *
 * Images are bytes with the dimensions N,H,W, or N,C,H,W, or with `layout: nhwc` N,H,W,C; labels
 * bytes with the dimension N. Targets are of any of the types and dimensions: a file of N numbers
 * gives each sample one, (N, 1); one with four dimensions has the layout of the images. A header
 * does not tell the two layouts apart, so neither is guessed; both are kept channels-last in memory
 * and are N,C,H,W to the network. Every file may be compressed. They are read and checked whole at
 * open: the size must be exactly what the header says, and nothing is allocated before the file was
 * found able to hold it. */
#include "base/alloc.h"
#include "data/source.h"
#include "datasets/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IDX_UNSIGNED_BYTE 0x08
#define IDX_FLOAT         0x0d
#define IDX_DOUBLE        0x0e
#define IDX_MAX_DIMS      LAMINA_MAX_DIMS

typedef struct idx_config {
    const char *images, *labels, *targets;
    int64_t samples;
    int32_t layout; /* idx_layout */
} idx_config;

typedef enum idx_layout { IDX_NCHW, IDX_NHWC } idx_layout;
static const char *const layouts[] = {"nchw", "nhwc", NULL};

static const lamina_param idx_params[] = {
    {.name = "images",
     .doc =
         "IDX file with the images (N,H,W unsigned bytes, or four dimensions: see layout), plain "
         "or gzip; relative to the working directory.",
     .type = LAMINA_STRING,
     .required = 1,
     .offset = offsetof(idx_config, images)},
    {.name = "labels",
     .doc = "IDX file with the label of each image (N unsigned bytes), plain or gzip.",
     .type = LAMINA_STRING,
     .offset = offsetof(idx_config, labels)},
    {.name = "targets",
     .doc =
         "Instead of labels, for regression: IDX file with the numbers that belong to each image "
         "(N, or N and further dimensions; floats, doubles, or unsigned bytes, which stay 0 to "
         "255), plain or gzip.",
     .type = LAMINA_STRING,
     .offset = offsetof(idx_config, targets)},
    {.name = "samples",
     .doc = "Use only the first so many samples; 0: all.",
     .type = LAMINA_INT,
     .offset = offsetof(idx_config, samples),
     .max = 4294967295.0,
     .def = "0"},
    {.name = "layout",
     .doc = "Order of the dimensions in files with four, images and targets: `nchw`, a plane "
            "for each channel, or `nhwc`, the channels of a pixel side by side.",
     .type = LAMINA_ENUM,
     .choices = layouts,
     .offset = offsetof(idx_config, layout),
     .def = "nchw"},
};

typedef enum idx_content { IDX_IMAGES, IDX_LABELS, IDX_TARGETS } idx_content;

/* The contents of one file. */
typedef struct idx_array {
    int type, ndim;
    int64_t dim[IDX_MAX_DIMS]; /* each at least 1 */
    uint64_t elements;         /* their product */
    uint64_t bytes;            /* of all elements */
    uint8_t *data;             /* owned */
} idx_array;

/* ---- One file ------------------------------------------------------------------------------ */

static uint64_t type_bytes(int type) {
    return type == IDX_DOUBLE ? 8 : type == IDX_FLOAT ? 4 : 1;
}

static const char *type_name(int type) {
    switch (type) {
    case 0x09:
        return "signed bytes";
    case 0x0b:
        return "16-bit integers";
    case 0x0c:
        return "32-bit integers";
    case IDX_FLOAT:
        return "32-bit floating-point numbers";
    case IDX_DOUBLE:
        return "64-bit floating-point numbers";
    default:
        return "elements of an unknown type";
    }
}

static uint32_t big_endian(const uint8_t bytes[4]) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static lamina_status check_targets(const char *path, int type, int ndim, lamina_error *error) {
    if (type != IDX_UNSIGNED_BYTE && type != IDX_FLOAT && type != IDX_DOUBLE) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: holds %s (type 0x%02x); convert them to floats (type 0x0d)", path,
                            type_name(type), (unsigned)type);
    }
    if (ndim < 1 || ndim > IDX_MAX_DIMS) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: has %d dimensions where targets have 1 to %d", path, ndim,
                            IDX_MAX_DIMS);
    }
    return LAMINA_OK;
}

static lamina_status check_magic(const char *path, const uint8_t magic[4], idx_content content,
                                 lamina_error *error) {
    const bool labels = content == IDX_LABELS;
    int type = magic[2], ndim = magic[3];
    if (content == IDX_TARGETS && magic[0] == 0 && magic[1] == 0) {
        return check_targets(path, type, ndim, error);
    }
    if (magic[0] != 0 || magic[1] != 0) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: is no IDX file: it begins with 0x%08" PRIx32 ", not with 0x%s; %s",
                            path, big_endian(magic),
                            labels                   ? "00000801"
                            : content == IDX_TARGETS ? "00000d"
                                                     : "00000803",
                            lamina__file_advice(path));
    }
    if (type != IDX_UNSIGNED_BYTE) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: holds %s (type 0x%02x); convert it to unsigned bytes (type 0x08)",
                            path, type_name(type), (unsigned)type);
    }
    if (labels && ndim != 1) {
        return lamina__fail(error, LAMINA_ERROR_DATA, "%s: has %d dimensions where labels have 1%s",
                            path, ndim,
                            ndim == 3 || ndim == 4 ? "; `images` and `labels` may be swapped" : "");
    }
    if (!labels && ndim != 3 && ndim != 4) {
        return lamina__fail(
            error, LAMINA_ERROR_DATA,
            "%s: has %d dimension%s where images have 3 (N,H,W) or 4 (N,C,H,W; N,H,W,C)%s", path,
            ndim, ndim == 1 ? "" : "s", ndim == 1 ? "; `images` and `labels` may be swapped" : "");
    }
    return LAMINA_OK;
}

/* Reads magic and dimensions. */
static lamina_status read_header(lamina__file *file, idx_content content, idx_array *array,
                                 lamina_error *error) {
    uint8_t header[4 + 4 * IDX_MAX_DIMS];
    const char *path = lamina__file_path(file);
    size_t got, want = 4;
    lamina_status status = lamina__file_read(file, header, want, &got, error);
    if (status == LAMINA_OK && got == want) {
        if ((status = check_magic(path, header, content, error)) != LAMINA_OK) {
            return status;
        }
        array->type = header[2];
        array->ndim = header[3];
        want = 4 * (size_t)array->ndim;
        status = lamina__file_read(file, header + 4, want, &got, error);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    if (got < want) {
        return lamina__fail(error, LAMINA_ERROR_DATA, "%s: %s; %s", path,
                            array->ndim == 0 && got == 0 ? "is empty" : "ends inside its header",
                            lamina__file_advice(path));
    }
    array->elements = 1;
    for (int i = 0; i < array->ndim; i++) {
        array->dim[i] = big_endian(header + 4 + 4 * i);
        if (array->dim[i] == 0) {
            return lamina__fail(error, LAMINA_ERROR_DATA,
                                "%s: dimension %d is 0, so there is no data; %s", path, i + 1,
                                lamina__file_advice(path));
        }
        if (__builtin_mul_overflow(array->elements, (uint64_t)array->dim[i], &array->elements)) {
            array->elements = UINT64_MAX; /* more than any file holds */
        }
    }
    if (__builtin_mul_overflow(array->elements, type_bytes(array->type), &array->bytes)) {
        array->bytes = UINT64_MAX;
    }
    return LAMINA_OK;
}

/* "60000 x 28 x 28"; the bytes of an element come last: "60000 x 3 x 4" */
static const char *dims_text(const idx_array *array, char *dst, size_t size) {
    size_t used = 0;
    for (int i = 0; i < array->ndim && used < size; i++) {
        int n = snprintf(dst + used, size - used, "%s%" PRId64, i > 0 ? " x " : "", array->dim[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    if (array->type != IDX_UNSIGNED_BYTE && used < size) {
        snprintf(dst + used, size - used, " x %d", (int)type_bytes(array->type));
    }
    return dst;
}

static uint64_t machine_memory(void) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
}

/* Reads the elements, then checks that nothing follows. */
static lamina_status read_elements(lamina__file *file, idx_array *array, lamina_error *error) {
    const char *path = lamina__file_path(file);
    char dims[128];
    uint8_t more;
    size_t got = 0, extra = 0;
    lamina_status status;

    dims_text(array, dims, sizeof(dims));
    uint64_t header = 4 + 4 * (uint64_t)array->ndim, total;
    if (__builtin_add_overflow(header, array->bytes, &total) ||
        !lamina__file_can_hold(file, total)) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: is cut short: its header says %s bytes, more than the whole file "
                            "(%" PRIu64 " bytes) can hold; %s",
                            path, dims, lamina__file_bytes(file), lamina__file_advice(path));
    }
    if (array->bytes > machine_memory()) {
        return lamina__fail(error, LAMINA_ERROR_MEMORY,
                            "%s: %s bytes do not fit this machine's memory; split the file", path,
                            dims);
    }
    array->data = lamina__alloc((size_t)array->bytes);
    if (array->data == NULL) {
        return lamina__fail_memory(error, path);
    }
    if ((status = lamina__file_read(file, array->data, (size_t)array->bytes, &got, error)) !=
            LAMINA_OK ||
        (status = lamina__file_read(file, &more, 1, &extra, error)) != LAMINA_OK) {
        return status;
    }
    if (got < array->bytes) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: is cut short: %zu of %" PRIu64 " bytes (%s) follow the header; %s",
                            path, got, array->bytes, dims, lamina__file_advice(path));
    }
    if (extra > 0) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: is longer than the %" PRIu64
                            " bytes (%s) that its header says; %s",
                            path, array->bytes, dims, lamina__file_advice(path));
    }
    return LAMINA_OK;
}

/* array->data is the caller's to free, also after an error. *path: where it was found; owned by
 * the caller; may be NULL when not wanted. */
static lamina_status read_array(const char *name, idx_content content, idx_array *array,
                                char **path, lamina_error *error) {
    lamina__file *file;
    lamina_status status = lamina__file_open(name, &file, error);
    if (status != LAMINA_OK) {
        return status;
    }
    if ((status = read_header(file, content, array, error)) == LAMINA_OK) {
        status = read_elements(file, array, error);
    }
    if (status == LAMINA_OK && path != NULL) {
        *path = lamina__strdup(lamina__file_path(file));
        status = *path ? LAMINA_OK : lamina__fail_memory(error, name);
    }
    lamina__file_close(file);
    return status;
}

/* ---- The source ---------------------------------------------------------------------------- */

typedef struct idx_store {
    uint8_t *pixels;
    float *numbers; /* NULL with labels */
} idx_store;

static const uint8_t *idx_sample(const lamina__source *source, int64_t index, uint8_t *buffer) {
    const idx_store *store = source->store;
    (void)buffer;
    return store->pixels + index * (source->height * source->width * source->channels);
}

static void idx_numbers(const lamina__source *source, int64_t index, const uint8_t *pixels,
                        float *to) {
    const idx_store *store = source->store;
    const int64_t size = lamina__source_numbers(source);
    (void)pixels;
    memcpy(to, store->numbers + index * size, (size_t)size * sizeof(*to));
}

static void idx_close(lamina__source *source) {
    idx_store *store = source->store;
    if (store != NULL) {
        lamina__free(store->pixels);
        lamina__free(store->numbers);
        lamina__free(store);
    }
    lamina__free((void *)source->labels);
    lamina__free(source->description);
    lamina__free(source);
}

/* One element; bytes and floats are all there are. */
static void copy_element(uint8_t *to, const uint8_t *from, size_t item) {
    if (item == 1) {
        *to = *from;
    } else {
        memcpy(to, from, sizeof(float));
    }
}

/* C,H,W to H,W,C in each sample; elements of `item` bytes. */
static lamina_status to_channels_last(void *data, size_t item, int64_t channels, int64_t area,
                                      int64_t samples, lamina_error *error) {
    if (channels == 1 || area == 1) {
        return LAMINA_OK;
    }
    const size_t bytes = (size_t)(channels * area) * item;
    uint8_t *planes = lamina__alloc(bytes);
    if (planes == NULL) {
        return lamina__fail_memory(error, "one image");
    }
    for (int64_t n = 0; n < samples; n++) {
        uint8_t *sample = (uint8_t *)data + (size_t)n * bytes;
        memcpy(planes, sample, bytes);
        for (int64_t i = 0; i < area; i++) {
            for (int64_t c = 0; c < channels; c++) {
                copy_element(sample + (size_t)(i * channels + c) * item,
                             planes + (size_t)(c * area + i) * item, item);
            }
        }
    }
    lamina__free(planes);
    return LAMINA_OK;
}

static lamina_status set_shape(lamina__source *source, const idx_array *images,
                               const idx_array *targets, const idx_config *config,
                               lamina_error *error) {
    if (images->dim[0] != targets->dim[0]) {
        return lamina__fail(
            error, LAMINA_ERROR_DATA,
            "%s has %" PRId64 " images but %s has %" PRId64 " %s; the two belong to different sets",
            config->images, images->dim[0], config->labels ? config->labels : config->targets,
            targets->dim[0], config->labels ? "labels" : "targets");
    }
    if (config->samples > images->dim[0]) {
        return lamina__fail(error, LAMINA_ERROR_CONFIG,
                            "samples: %" PRId64 " are wanted but %s has %" PRId64
                            "; use at most that many, or 0 for all",
                            config->samples, config->images, images->dim[0]);
    }
    source->count = config->samples > 0 ? config->samples : images->dim[0];
    const int64_t *dim = images->dim;
    const bool planes = images->ndim == 4 && config->layout == IDX_NCHW;
    source->channels = images->ndim == 3 ? 1 : planes ? dim[1] : dim[3];
    source->height = planes ? dim[2] : dim[1];
    source->width = planes ? dim[3] : dim[2];
    return LAMINA_OK;
}

static lamina_status set_labels(lamina__source *source, const uint8_t *bytes, lamina_error *error) {
    int32_t *labels = lamina__calloc((size_t)source->count, sizeof(*labels));
    if (labels == NULL) {
        return lamina__fail_memory(error, "labels");
    }
    for (int64_t i = 0; i < source->count; i++) {
        labels[i] = bytes[i];
    }
    source->labels = labels;
    return LAMINA_OK;
}

/* Element i of a file, as a number. */
static double number_at(const idx_array *array, int64_t i) {
    if (array->type == IDX_UNSIGNED_BYTE) {
        return array->data[i];
    }
    if (array->type == IDX_FLOAT) {
        const uint32_t bits = big_endian(array->data + 4 * i);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return (double)value;
    }
    const uint64_t bits =
        (uint64_t)big_endian(array->data + 8 * i) << 32 | big_endian(array->data + 8 * i + 4);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static lamina_status set_numbers(lamina__source *source, const idx_array *array,
                                 const idx_config *config, lamina_error *error) {
    const char *path = config->targets;
    const int32_t ndim = array->ndim > 1 ? array->ndim : 2;
    source->target = (lamina_shape){.dtype = LAMINA_F32, .ndim = ndim, .dim = {source->count, 1}};
    for (int32_t i = 1; i < array->ndim; i++) {
        source->target.dim[i] = array->dim[i];
    }
    if (ndim == 4 && config->layout == IDX_NHWC) {
        source->target.dim[1] = array->dim[3];
        source->target.dim[2] = array->dim[1];
        source->target.dim[3] = array->dim[2];
    }
    const int64_t size = lamina__source_numbers(source), count = source->count * size;
    float *numbers = lamina__calloc((size_t)count, sizeof(*numbers));
    if (numbers == NULL) {
        return lamina__fail_memory(error, path);
    }
    ((idx_store *)source->store)->numbers = numbers;
    for (int64_t i = 0; i < count; i++) {
        numbers[i] = (float)number_at(array, i);
        if (!isfinite(numbers[i])) {
            return lamina__fail(error, LAMINA_ERROR_DATA,
                                "%s: number %" PRId64 " of sample %" PRId64
                                " (both from 0) is %g; targets must be finite float32 numbers",
                                path, i % size, i / size, number_at(array, i));
        }
    }
    return ndim == 4 && config->layout == IDX_NCHW
               ? to_channels_last(numbers, sizeof(*numbers), source->target.dim[1],
                                  source->target.dim[2] * source->target.dim[3], source->count,
                                  error)
               : LAMINA_OK;
}

static lamina_status set_targets(lamina__source *source, const idx_array *targets,
                                 const idx_config *config, lamina_error *error) {
    return config->labels != NULL ? set_labels(source, targets->data, error)
                                  : set_numbers(source, targets, config, error);
}

static lamina_status idx_open(const void *values, lamina__source **result, lamina_error *error) {
    const idx_config *config = values;
    idx_array images = {0}, targets = {0};
    lamina_status status;

    *result = NULL;
    lamina__source *source = lamina__calloc(1, sizeof(*source));
    idx_store *store = source != NULL ? lamina__calloc(1, sizeof(*store)) : NULL;
    if (store == NULL) {
        lamina__free(source);
        return lamina__fail_memory(error, "a data set");
    }
    source->store = store;
    source->close = idx_close;
    const bool labels = config->labels != NULL;
    if ((status = read_array(labels ? config->labels : config->targets,
                             labels ? IDX_LABELS : IDX_TARGETS, &targets, NULL, error)) !=
            LAMINA_OK ||
        (status = read_array(config->images, IDX_IMAGES, &images, &source->description, error)) !=
            LAMINA_OK ||
        (status = set_shape(source, &images, &targets, config, error)) != LAMINA_OK ||
        (status = set_targets(source, &targets, config, error)) != LAMINA_OK ||
        (status = config->layout == IDX_NHWC
                      ? LAMINA_OK
                      : to_channels_last(images.data, 1, source->channels,
                                         source->height * source->width, source->count, error)) !=
            LAMINA_OK) {
        goto done;
    }
    store->pixels = images.data;
    images.data = NULL;
    source->sample = idx_sample;
    source->numbers = idx_numbers;
    lamina__source_finish(
        source, store->pixels,
        (size_t)(source->count * source->channels * source->height * source->width));
    if (!labels) { /* as they are in the file: the same on every machine */
        lamina__source_add_contents(source, targets.data,
                                    (size_t)(source->count * lamina__source_numbers(source)) *
                                        (size_t)type_bytes(targets.type));
        if (targets.ndim == 4 && config->layout == IDX_NHWC) { /* the same bytes, other numbers */
            lamina__source_add_contents(source, layouts[IDX_NHWC], 4);
        }
    }
    *result = source;
    source = NULL;

done:
    if (source != NULL) {
        idx_close(source);
    }
    lamina__free(images.data);
    lamina__free(targets.data);
    return status;
}

static void idx_check(const void *values, const char *subject, const lamina__node *at,
                      lamina__diags *diags) {
    const idx_config *config = values;
    if ((config->labels != NULL) == (config->targets != NULL)) {
        lamina__diag(diags, at, "%s: needs \"labels\" or, for regression, \"targets\"%s", subject,
                     config->labels != NULL ? ", and not both" : "");
    }
}

const lamina__reader lamina__idx_reader = {
    .name = "idx",
    .doc = "Images with labels, or with other numbers, in IDX files, as MNIST and Fashion-MNIST "
           "come and CIFAR-10 is fetched.",
    .config_size = sizeof(idx_config),
    .params = idx_params,
    .n_params = sizeof(idx_params) / sizeof(idx_params[0]),
    .check = idx_check,
    .open = idx_open,
};
