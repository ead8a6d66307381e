/* Reading HDF5 that somebody else may have made: checks first, then memory, then data. */
#include "checkpoint/h5.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINKS 65536 /* in one group: more than any network has layers */

void lamina__h5_quiet(void) {
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static herr_t keep_first(unsigned n, const H5E_error2_t *entry, void *user) {
    char *reason = user;
    (void)n;
    if (reason[0] == '\0' && entry->desc != NULL) {
        snprintf(reason, LAMINA__H5_REASON, "%s", entry->desc);
    }
    return 0;
}

char *lamina__h5_reason(char reason[LAMINA__H5_REASON]) {
    reason[0] = '\0';
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, reason);
    if (reason[0] == '\0') {
        snprintf(reason, LAMINA__H5_REASON, "HDF5 gives no reason");
    }
    for (char *c = reason; *c != '\0'; c++) { /* it may quote what is in the file */
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    return reason;
}

char *lamina__h5_memory_name(char name[LAMINA__H5_NAME]) {
    static _Atomic unsigned long long count;
    snprintf(name, LAMINA__H5_NAME, "lamina-memory-%llu", atomic_fetch_add(&count, 1));
    return name;
}

/* ---- Messages ------------------------------------------------------------------------------ */

lamina_status lamina__h5_wrong(const lamina__h5_in *in, hid_t parent, const char *name,
                               const char *fmt, ...) {
    char message[512], folder[256] = "";
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (H5Iget_name(parent, folder, sizeof(folder)) <= 0 || strcmp(folder, "/") == 0) {
        folder[0] = '\0';
    }
    lamina__fail(in->error, LAMINA_ERROR_CHECKPOINT, "%s: %s%s%s: %s", in->path, folder,
                 name ? "/" : "", name ? name : "", message);
    for (char *c = in->error ? in->error->message : ""; *c != '\0';
         c++) { /* names are the file's */
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    }
    return LAMINA_ERROR_CHECKPOINT;
}

lamina_status lamina__h5_unreadable(const lamina__h5_in *in, hid_t parent, const char *name) {
    char reason[LAMINA__H5_REASON];
    return lamina__h5_wrong(in, parent, name, "cannot be read: %s", lamina__h5_reason(reason));
}

/* ---- The file ------------------------------------------------------------------------------ */

/* HDF5 asks these for memory for the file's image, to copy it to and to free it; they all hand out
 * the one image there is, so nothing is copied. The file is read-only: the image is never resized.
 */
static void *image_malloc(size_t size, H5FD_file_image_op_t operation, void *user) {
    const lamina__h5_image *image = user;
    (void)operation;
    return size == image->length ? image->bytes : NULL;
}

static void *image_memcpy(void *to, const void *from, size_t size, H5FD_file_image_op_t operation,
                          void *user) {
    (void)size, (void)operation, (void)user;
    return to == from ? to : NULL;
}

static void *image_realloc(void *bytes, size_t size, H5FD_file_image_op_t operation, void *user) {
    (void)bytes, (void)size, (void)operation, (void)user;
    return NULL;
}

static herr_t image_free(void *bytes, H5FD_file_image_op_t operation, void *user) {
    (void)bytes, (void)operation, (void)user;
    return 0;
}

static void *image_user_copy(void *user) {
    return user;
}

static herr_t image_user_free(void *user) {
    (void)user;
    return 0;
}

hid_t lamina__h5_open_image(const lamina__h5_in *in, lamina__h5_image *image) {
    H5FD_file_image_callbacks_t callbacks = {image_malloc, image_memcpy,    image_realloc,
                                             image_free,   image_user_copy, image_user_free,
                                             image};
    char name[LAMINA__H5_NAME], reason[LAMINA__H5_REASON];
    hid_t plist = H5Pcreate(H5P_FILE_ACCESS), file = H5I_INVALID_HID;
    if (plist >= 0 && H5Pset_fapl_core(plist, 65536, 0) >= 0 &&
        H5Pset_file_image_callbacks(plist, &callbacks) >= 0 &&
        H5Pset_file_image(plist, image->bytes, image->length) >= 0 &&
        H5Pset_fclose_degree(plist, H5F_CLOSE_STRONG) >= 0) {
        file = H5Fopen(lamina__h5_memory_name(name), H5F_ACC_RDONLY, plist);
    }
    if (file < 0) {
        lamina__fail(in->error, LAMINA_ERROR_CHECKPOINT, "%s: is damaged: %s", in->path,
                     lamina__h5_reason(reason));
    }
    if (plist >= 0) {
        H5Pclose(plist);
    }
    return file;
}

/* ---- Groups -------------------------------------------------------------------------------- */

bool lamina__h5_has(hid_t parent, const char *name) {
    return H5Lexists(parent, name, H5P_DEFAULT) > 0;
}

/* Opens what a hard link in `parent` leads to, if it is of the kind wanted. */
static hid_t open_object(const lamina__h5_in *in, hid_t parent, const char *name, H5I_type_t kind) {
    H5L_info_t link;
    const char *wanted = kind == H5I_GROUP ? "group" : "dataset";
    if (!lamina__h5_has(parent, name)) {
        lamina__h5_wrong(in, parent, name, "this %s is missing", wanted);
        return H5I_INVALID_HID;
    }
    if (H5Lget_info(parent, name, &link, H5P_DEFAULT) < 0) {
        lamina__h5_unreadable(in, parent, name);
        return H5I_INVALID_HID;
    }
    if (link.type != H5L_TYPE_HARD) {
        lamina__h5_wrong(in, parent, name, "is a link to elsewhere; Lamina follows none");
        return H5I_INVALID_HID;
    }
    hid_t object = H5Oopen(parent, name, H5P_DEFAULT);
    if (object < 0) {
        lamina__h5_unreadable(in, parent, name);
    } else if (H5Iget_type(object) != kind) {
        lamina__h5_wrong(in, parent, name, "is no %s", wanted);
        H5Oclose(object);
        object = H5I_INVALID_HID;
    }
    return object;
}

hid_t lamina__h5_open_group(const lamina__h5_in *in, hid_t parent, const char *name) {
    return open_object(in, parent, name, H5I_GROUP);
}

static bool add_name(lamina__h5_names *names, const char *text, size_t length) {
    void *items = names->name;
    if (lamina__grow(&items, &names->capacity, names->count + 1, sizeof(char *)) != 0) {
        names->failed = true;
        return false;
    }
    names->name = items;
    names->name[names->count] = lamina__strndup(text, length);
    if (names->name[names->count] == NULL) {
        names->failed = true;
        return false;
    }
    names->count++;
    return true;
}

static herr_t collect_name(hid_t group, const char *name, const H5L_info_t *info, void *user) {
    (void)group, (void)info;
    return add_name(user, name, strlen(name)) ? 0 : -1;
}

lamina_status lamina__h5_list(const lamina__h5_in *in, hid_t group, lamina__h5_names *names) {
    H5G_info_t info;
    *names = (lamina__h5_names){0};
    if (H5Gget_info(group, &info) < 0) {
        return lamina__h5_unreadable(in, group, NULL);
    }
    if (info.nlinks > MAX_LINKS) {
        return lamina__h5_wrong(in, group, NULL, "has more than %d entries", MAX_LINKS);
    }
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, collect_name, names) < 0) {
        return names->failed ? lamina__fail_memory(in->error, "names in a checkpoint")
                             : lamina__h5_unreadable(in, group, NULL);
    }
    return LAMINA_OK;
}

void lamina__h5_names_free(lamina__h5_names *names) {
    for (size_t i = 0; i < names->count; i++) {
        lamina__free(names->name[i]);
    }
    lamina__free(names->name);
    *names = (lamina__h5_names){0};
}

/* ---- Values: an attribute or a dataset, opened and described ------------------------------- */

typedef struct value {
    hid_t id, type, space;
    bool attribute;
    H5T_class_t class;
    int32_t ndim;
    hsize_t dim[LAMINA_MAX_DIMS];
    uint64_t count, item; /* elements, and bytes of each */
} value;

static void close_value(value *v) {
    if (v->space >= 0) {
        H5Sclose(v->space);
    }
    if (v->type >= 0) {
        H5Tclose(v->type);
    }
    if (v->id >= 0) {
        v->attribute ? H5Aclose(v->id) : H5Oclose(v->id);
    }
}

static herr_t fetch(const value *v, hid_t memory_type, void *to) {
    return v->attribute ? H5Aread(v->id, memory_type, to)
                        : H5Dread(v->id, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, to);
}

/* Type, dimensions and size; nothing may be larger than its file. */
static lamina_status describe(const lamina__h5_in *in, hid_t parent, const char *name, value *v) {
    v->type = v->attribute ? H5Aget_type(v->id) : H5Dget_type(v->id);
    v->space = v->attribute ? H5Aget_space(v->id) : H5Dget_space(v->id);
    if (v->type < 0 || v->space < 0) {
        return lamina__h5_unreadable(in, parent, name);
    }
    v->class = H5Tget_class(v->type);
    v->item = H5Tget_size(v->type);
    v->ndim = H5Sget_simple_extent_ndims(v->space);
    if (v->ndim < 0 || H5Sget_simple_extent_type(v->space) == H5S_NULL) {
        return lamina__h5_wrong(in, parent, name, "has no value");
    }
    if (v->ndim > LAMINA_MAX_DIMS) {
        return lamina__h5_wrong(in, parent, name, "has %d dimensions; Lamina knows up to %d",
                                (int)v->ndim, LAMINA_MAX_DIMS);
    }
    if (H5Sget_simple_extent_dims(v->space, v->dim, NULL) < 0) {
        return lamina__h5_unreadable(in, parent, name);
    }
    v->count = 1;
    uint64_t bytes = v->item;
    bool fits = true;
    for (int32_t i = 0; i < v->ndim; i++) {
        fits = fits && !__builtin_mul_overflow(v->count, v->dim[i], &v->count);
    }
    fits = fits && !__builtin_mul_overflow(v->count, v->item, &bytes) && bytes <= in->bytes;
    return fits ? LAMINA_OK
                : lamina__h5_wrong(in, parent, name, "says it is larger than the whole file");
}

static lamina_status open_attribute(const lamina__h5_in *in, hid_t object, const char *name,
                                    H5T_class_t class, value *v) {
    *v = (value){.id = H5I_INVALID_HID, .type = H5I_INVALID_HID, .space = H5I_INVALID_HID};
    v->attribute = true;
    if (!lamina__h5_has_attribute(object, name)) {
        return lamina__h5_wrong(in, object, name, "this attribute is missing");
    }
    v->id = H5Aopen(object, name, H5P_DEFAULT);
    if (v->id < 0) {
        return lamina__h5_unreadable(in, object, name);
    }
    lamina_status status = describe(in, object, name, v);
    if (status == LAMINA_OK && v->class != class) {
        status = lamina__h5_wrong(in, object, name, "is no %s",
                                  class == H5T_STRING    ? "text"
                                  : class == H5T_INTEGER ? "integer"
                                                         : "floating-point number");
    }
    if (status == LAMINA_OK && v->count != 1) {
        status = lamina__h5_wrong(in, object, name, "has %llu values instead of one",
                                  (unsigned long long)v->count);
    }
    return status;
}

/* Stored plainly in this file: not in pieces, through filters, or somewhere else. */
static bool stored_plainly(hid_t dataset) {
    hid_t plist = H5Dget_create_plist(dataset);
    if (plist < 0) {
        return false;
    }
    H5D_layout_t layout = H5Pget_layout(plist);
    bool plain = (layout == H5D_CONTIGUOUS || layout == H5D_COMPACT) &&
                 H5Pget_external_count(plist) == 0 && H5Pget_nfilters(plist) == 0;
    H5Pclose(plist);
    return plain;
}

static lamina_status open_dataset(const lamina__h5_in *in, hid_t parent, const char *name,
                                  H5T_class_t class, const char *wanted, value *v) {
    *v = (value){.id = H5I_INVALID_HID, .type = H5I_INVALID_HID, .space = H5I_INVALID_HID};
    v->id = open_object(in, parent, name, H5I_DATASET);
    if (v->id < 0) {
        return LAMINA_ERROR_CHECKPOINT; /* open_object told why */
    }
    lamina_status status = describe(in, parent, name, v);
    if (status == LAMINA_OK && v->class != class) {
        status = lamina__h5_wrong(in, parent, name, "is no dataset of %s", wanted);
    }
    if (status == LAMINA_OK && !stored_plainly(v->id)) {
        status =
            lamina__h5_wrong(in, parent, name,
                             "is stored in chunks, compressed or in another file; Lamina reads "
                             "plain data (h5repack -l CONTI -f NONE makes it so)");
    }
    if (status == LAMINA_OK && v->count > 0 && H5Dget_storage_size(v->id) < v->count * v->item) {
        status = lamina__h5_wrong(in, parent, name, "has no data");
    }
    return status;
}

/* ---- Text ---------------------------------------------------------------------------------- */

/* Strings of fixed length, as Lamina writes them. */
static lamina_status get_fixed(const lamina__h5_in *in, hid_t parent, const char *name,
                               const value *v, lamina__h5_names *texts) {
    size_t size = (size_t)v->item;
    char *buffer = lamina__calloc((size_t)v->count + 1, size);
    lamina_status status = LAMINA_OK;
    if (buffer == NULL) {
        return lamina__fail_memory(in->error, "text in a checkpoint");
    }
    if (v->count > 0 && fetch(v, v->type, buffer) < 0) {
        status = lamina__h5_unreadable(in, parent, name);
    }
    bool spaces = H5Tget_strpad(v->type) == H5T_STR_SPACEPAD;
    for (size_t i = 0; i < v->count && status == LAMINA_OK; i++) {
        size_t length = strnlen(buffer + i * size, size);
        while (spaces && length > 0 && buffer[i * size + length - 1] == ' ') {
            length--;
        }
        if (!add_name(texts, buffer + i * size, length)) {
            status = lamina__fail_memory(in->error, "text in a checkpoint");
        }
    }
    lamina__free(buffer);
    return status;
}

/* Strings of variable length, as h5py writes them. */
static lamina_status get_variable(const lamina__h5_in *in, hid_t parent, const char *name,
                                  const value *v, lamina__h5_names *texts) {
    char **pointers = lamina__calloc((size_t)v->count + 1, sizeof(char *));
    lamina_status status = LAMINA_OK;
    if (pointers == NULL) {
        return lamina__fail_memory(in->error, "text in a checkpoint");
    }
    if (v->count > 0 && fetch(v, v->type, pointers) < 0) {
        status = lamina__h5_unreadable(in, parent, name);
    }
    for (size_t i = 0; i < v->count && status == LAMINA_OK; i++) {
        const char *text = pointers[i] ? pointers[i] : "";
        if (!add_name(texts, text, strlen(text))) {
            status = lamina__fail_memory(in->error, "text in a checkpoint");
        }
    }
    for (size_t i = 0; i < v->count; i++) {
        H5free_memory(pointers[i]);
    }
    lamina__free(pointers);
    return status;
}

static lamina_status get_strings(const lamina__h5_in *in, hid_t parent, const char *name,
                                 const value *v, lamina__h5_names *texts) {
    return H5Tis_variable_str(v->type) > 0 ? get_variable(in, parent, name, v, texts)
                                           : get_fixed(in, parent, name, v, texts);
}

lamina_status lamina__h5_get_text(const lamina__h5_in *in, hid_t object, const char *name,
                                  char **text) {
    value v;
    lamina__h5_names one = {0};
    lamina_status status = open_attribute(in, object, name, H5T_STRING, &v);
    if (status == LAMINA_OK) {
        status = get_strings(in, object, name, &v, &one);
    }
    if (status == LAMINA_OK) {
        lamina__free(*text);
        *text = one.name[0];
        one.count = 0;
    }
    lamina__h5_names_free(&one);
    close_value(&v);
    return status;
}

lamina_status lamina__h5_get_texts(const lamina__h5_in *in, hid_t parent, const char *name,
                                   int32_t ndim, hsize_t *dim, lamina__h5_names *texts) {
    value v;
    *texts = (lamina__h5_names){0};
    lamina_status status = open_dataset(in, parent, name, H5T_STRING, "text", &v);
    if (status == LAMINA_OK && v.ndim != ndim) {
        status = lamina__h5_wrong(in, parent, name, "has %d dimensions instead of %d", (int)v.ndim,
                                  (int)ndim);
    }
    if (status == LAMINA_OK) {
        for (int32_t i = 0; i < ndim; i++) {
            dim[i] = v.dim[i];
        }
        status = get_strings(in, parent, name, &v, texts);
    }
    close_value(&v);
    return status;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

bool lamina__h5_has_attribute(hid_t object, const char *name) {
    return H5Aexists(object, name) > 0;
}

static lamina_status get_number(const lamina__h5_in *in, hid_t object, const char *name,
                                H5T_class_t class, hid_t memory_type, void *to) {
    value v;
    lamina_status status = open_attribute(in, object, name, class, &v);
    if (status == LAMINA_OK && v.item > 8) {
        status = lamina__h5_wrong(in, object, name, "is wider than 64 bits");
    }
    if (status == LAMINA_OK && fetch(&v, memory_type, to) < 0) {
        status = lamina__h5_unreadable(in, object, name);
    }
    close_value(&v);
    return status;
}

lamina_status lamina__h5_get_int(const lamina__h5_in *in, hid_t object, const char *name,
                                 int64_t min, int64_t max, int64_t *number) {
    int64_t read = 0;
    lamina_status status = get_number(in, object, name, H5T_INTEGER, H5T_NATIVE_INT64, &read);
    if (status != LAMINA_OK) {
        return status;
    }
    if (read < min || read > max) {
        return lamina__h5_wrong(in, object, name, "is %lld, which cannot be", (long long)read);
    }
    *number = read;
    return LAMINA_OK;
}

lamina_status lamina__h5_get_uint(const lamina__h5_in *in, hid_t object, const char *name,
                                  uint64_t *number) {
    return get_number(in, object, name, H5T_INTEGER, H5T_NATIVE_UINT64, number);
}

lamina_status lamina__h5_get_real(const lamina__h5_in *in, hid_t object, const char *name,
                                  double *number) {
    return get_number(in, object, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, number);
}

lamina_status lamina__h5_get_length(const lamina__h5_in *in, hid_t parent, const char *name,
                                    size_t *length) {
    value v = {.type = H5I_INVALID_HID, .space = H5I_INVALID_HID};
    v.id = open_object(in, parent, name, H5I_DATASET);
    *length = 0;
    if (v.id < 0) {
        return LAMINA_ERROR_CHECKPOINT;
    }
    lamina_status status = describe(in, parent, name, &v);
    if (status == LAMINA_OK && v.ndim != 1) {
        status = lamina__h5_wrong(in, parent, name, "has %d dimensions instead of 1", (int)v.ndim);
    }
    if (status == LAMINA_OK) {
        *length = (size_t)v.count;
    }
    close_value(&v);
    return status;
}

static lamina_status get_numbers(const lamina__h5_in *in, hid_t parent, const char *name,
                                 H5T_class_t class, hid_t memory_type, size_t length, void *to) {
    value v;
    lamina_status status = open_dataset(
        in, parent, name, class, class == H5T_INTEGER ? "integers" : "floating-point numbers", &v);
    if (status == LAMINA_OK && (v.ndim != 1 || v.count != length)) {
        status = lamina__h5_wrong(in, parent, name, "has %llu values, its neighbours have %llu",
                                  (unsigned long long)v.count, (unsigned long long)length);
    }
    if (status == LAMINA_OK && v.item > 8) {
        status = lamina__h5_wrong(in, parent, name, "is wider than 64 bits");
    }
    if (status == LAMINA_OK && length > 0 && fetch(&v, memory_type, to) < 0) {
        status = lamina__h5_unreadable(in, parent, name);
    }
    close_value(&v);
    return status;
}

lamina_status lamina__h5_get_ints(const lamina__h5_in *in, hid_t parent, const char *name,
                                  size_t length, int64_t *values) {
    return get_numbers(in, parent, name, H5T_INTEGER, H5T_NATIVE_INT64, length, values);
}

lamina_status lamina__h5_get_reals(const lamina__h5_in *in, hid_t parent, const char *name,
                                   size_t length, double *values) {
    return get_numbers(in, parent, name, H5T_FLOAT, H5T_NATIVE_DOUBLE, length, values);
}

/* ---- Tensors ------------------------------------------------------------------------------- */

static lamina_status open_tensor(const lamina__h5_in *in, hid_t parent, const char *name, value *v,
                                 lamina_shape *shape) {
    *shape = (lamina_shape){.dtype = LAMINA_F32};
    lamina_status status = open_dataset(in, parent, name, H5T_FLOAT, "float32", v);
    if (status != LAMINA_OK) {
        return status;
    }
    if (H5Tequal(v->type, H5T_IEEE_F32LE) <= 0 && H5Tequal(v->type, H5T_IEEE_F32BE) <= 0) {
        return lamina__h5_wrong(in, parent, name, "is no dataset of float32");
    }
    shape->ndim = v->ndim;
    for (int32_t i = 0; i < v->ndim; i++) { /* count <= the file's bytes, so each fits */
        shape->dim[i] = (int64_t)v->dim[i];
    }
    return v->count > 0 ? LAMINA_OK : lamina__h5_wrong(in, parent, name, "is empty");
}

lamina_status lamina__h5_get_shape(const lamina__h5_in *in, hid_t parent, const char *name,
                                   lamina_shape *shape) {
    value v;
    lamina_status status = open_tensor(in, parent, name, &v, shape);
    close_value(&v);
    return status;
}

lamina_status lamina__h5_get_floats(const lamina__h5_in *in, hid_t parent, const char *name,
                                    const lamina_shape *shape, float *values) {
    value v;
    lamina_shape found;
    lamina_status status = open_tensor(in, parent, name, &v, &found);
    if (status == LAMINA_OK && !lamina__shape_equal(&found, shape)) {
        status = lamina__h5_wrong(in, parent, name, "has another shape than it had before");
    }
    if (status == LAMINA_OK && fetch(&v, H5T_NATIVE_FLOAT, values) < 0) {
        status = lamina__h5_unreadable(in, parent, name);
    }
    close_value(&v);
    return status;
}
