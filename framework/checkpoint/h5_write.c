/* Writing HDF5 in memory. The same contents give the same bytes: objects carry no time stamps.
 *
 * The format is HDF5 1.8's (1.10's at most), in which all metadata carries checksums of its own. */
#include "checkpoint/h5.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define GROWTH_BYTES (1u << 20) /* HDF5 makes its memory larger by so much at a time */

static void failed(lamina__h5_out *out, const char *what) {
    if (out->status == LAMINA_OK) {
        char reason[LAMINA__H5_REASON];
        snprintf(out->reason, sizeof(out->reason), "%s: %s", what, lamina__h5_reason(reason));
        out->status = LAMINA_ERROR_IO;
    }
}

static void failed_memory(lamina__h5_out *out, const char *what) {
    if (out->status == LAMINA_OK) {
        snprintf(out->reason, sizeof(out->reason), "%s: out of memory", what);
        out->status = LAMINA_ERROR_MEMORY;
    }
}

static bool open_file(lamina__h5_out *out, hid_t create, hid_t access) {
    char name[LAMINA__H5_NAME];
    if (create < 0 || access < 0 || H5Pset_obj_track_times(create, 0) < 0 ||
        H5Pset_fapl_core(access, GROWTH_BYTES, 0) < 0 ||
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110) < 0 ||
        H5Pset_fclose_degree(access, H5F_CLOSE_STRONG) < 0) {
        return false;
    }
    out->file = H5Fcreate(lamina__h5_memory_name(name), H5F_ACC_TRUNC, create, access);
    out->group_plist = H5Pcreate(H5P_GROUP_CREATE);
    out->data_plist = H5Pcreate(H5P_DATASET_CREATE);
    out->link_plist = H5Pcreate(H5P_LINK_CREATE);
    return out->file >= 0 && out->group_plist >= 0 && out->data_plist >= 0 &&
           out->link_plist >= 0 && H5Pset_obj_track_times(out->group_plist, 0) >= 0 &&
           H5Pset_obj_track_times(out->data_plist, 0) >= 0 &&
           H5Pset_char_encoding(out->link_plist, H5T_CSET_UTF8) >= 0 &&
           H5Pset_create_intermediate_group(out->link_plist, 1) >= 0;
}

void lamina__h5_out_open(lamina__h5_out *out) {
    *out = (lamina__h5_out){.file = H5I_INVALID_HID,
                            .group_plist = H5I_INVALID_HID,
                            .data_plist = H5I_INVALID_HID,
                            .link_plist = H5I_INVALID_HID};
    lamina__h5_quiet();
    hid_t create = H5Pcreate(H5P_FILE_CREATE), access = H5Pcreate(H5P_FILE_ACCESS);
    if (!open_file(out, create, access)) {
        failed(out, "cannot begin an HDF5 file");
    }
    if (create >= 0) {
        H5Pclose(create);
    }
    if (access >= 0) {
        H5Pclose(access);
    }
}

void lamina__h5_out_close(lamina__h5_out *out) {
    hid_t plists[] = {out->group_plist, out->data_plist, out->link_plist};
    for (size_t i = 0; i < sizeof(plists) / sizeof(plists[0]); i++) {
        if (plists[i] >= 0) {
            H5Pclose(plists[i]);
        }
    }
    if (out->file >= 0) {
        H5Fclose(out->file);
    }
    out->file = out->group_plist = out->data_plist = out->link_plist = H5I_INVALID_HID;
}

const void *lamina__h5_out_bytes(lamina__h5_out *out, size_t *length) {
    void **memory = NULL;
    ssize_t size = -1;
    if (out->status == LAMINA_OK && H5Fflush(out->file, H5F_SCOPE_GLOBAL) >= 0) {
        size = H5Fget_file_image(out->file, NULL, 0);
    }
    /* The core driver's handle is its memory. */
    if (size <= 0 || H5Fget_vfd_handle(out->file, H5P_DEFAULT, (void **)&memory) < 0 ||
        memory == NULL || *memory == NULL) {
        failed(out, "cannot finish an HDF5 file");
        return NULL;
    }
    *length = (size_t)size;
    return *memory;
}

hid_t lamina__h5_out_group(lamina__h5_out *out, hid_t parent, const char *name) {
    hid_t group = H5I_INVALID_HID;
    if (out->status == LAMINA_OK) {
        group = H5Lexists(parent, name, H5P_DEFAULT) > 0
                    ? H5Gopen2(parent, name, H5P_DEFAULT)
                    : H5Gcreate2(parent, name, out->link_plist, out->group_plist, H5P_DEFAULT);
        if (group < 0) {
            failed(out, name);
        }
    }
    return group;
}

void lamina__h5_out_end(hid_t group) {
    if (group >= 0) {
        H5Gclose(group);
    }
}

/* ---- Attributes ---------------------------------------------------------------------------- */

static void put_attribute(lamina__h5_out *out, hid_t object, const char *name, hid_t file_type,
                          hid_t memory_type, const void *value) {
    if (out->status != LAMINA_OK) {
        return;
    }
    hid_t space = H5Screate(H5S_SCALAR), attribute = H5I_INVALID_HID;
    if (space >= 0) {
        attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (attribute < 0 || H5Awrite(attribute, memory_type, value) < 0) {
        failed(out, name);
    }
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
}

/* UTF-8 text of up to `length` bytes and a NUL. */
static hid_t text_type(size_t length) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 && (H5Tset_size(type, length + 1) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0 ||
                      H5Tset_strpad(type, H5T_STR_NULLTERM) < 0)) {
        H5Tclose(type);
        type = H5I_INVALID_HID;
    }
    return type;
}

void lamina__h5_put_text(lamina__h5_out *out, hid_t object, const char *name, const char *text) {
    if (out->status != LAMINA_OK) {
        return;
    }
    hid_t type = text_type(strlen(text));
    if (type < 0) {
        failed(out, name);
        return;
    }
    put_attribute(out, object, name, type, type, text);
    H5Tclose(type);
}

void lamina__h5_put_int(lamina__h5_out *out, hid_t object, const char *name, int64_t value) {
    put_attribute(out, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void lamina__h5_put_uint(lamina__h5_out *out, hid_t object, const char *name, uint64_t value) {
    put_attribute(out, object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}

void lamina__h5_put_real(lamina__h5_out *out, hid_t object, const char *name, double value) {
    put_attribute(out, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

/* ---- Datasets ------------------------------------------------------------------------------ */

static void put_dataset(lamina__h5_out *out, hid_t parent, const char *name, hid_t file_type,
                        hid_t memory_type, int32_t ndim, const hsize_t *dim, const char *dims,
                        const void *values) {
    if (out->status != LAMINA_OK) {
        return;
    }
    hid_t dataset = H5I_INVALID_HID;
    hid_t space = ndim > 0 ? H5Screate_simple(ndim, dim, NULL) : H5Screate(H5S_SCALAR);
    hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (count >= 0) {
        dataset = H5Dcreate2(parent, name, file_type, space, out->link_plist, out->data_plist,
                             H5P_DEFAULT);
    }
    if (dataset < 0 ||
        (count > 0 && H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)) {
        failed(out, name);
    }
    if (dims != NULL) {
        lamina__h5_put_text(out, dataset, "dims", dims);
    }
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
}

void lamina__h5_put_texts(lamina__h5_out *out, hid_t parent, const char *name, int32_t ndim,
                          const hsize_t *dim, const char *const *texts) {
    size_t count = 1, longest = 0;
    if (out->status != LAMINA_OK) {
        return;
    }
    for (int32_t i = 0; i < ndim; i++) {
        count *= (size_t)dim[i];
    }
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(texts[i]);
        longest = length > longest ? length : longest;
    }
    size_t size = longest + 1;
    char *buffer = lamina__calloc(count + 1, size);
    hid_t type = text_type(longest);
    if (buffer != NULL && type >= 0) {
        for (size_t i = 0; i < count; i++) {
            memcpy(buffer + i * size, texts[i], strlen(texts[i]));
        }
        put_dataset(out, parent, name, type, type, ndim, dim, NULL, buffer);
    } else if (buffer == NULL) {
        failed_memory(out, name);
    } else {
        failed(out, name);
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    lamina__free(buffer);
}

void lamina__h5_put_ints(lamina__h5_out *out, hid_t parent, const char *name, size_t length,
                         const int64_t *values) {
    const hsize_t dim = length;
    put_dataset(out, parent, name, H5T_STD_I64LE, H5T_NATIVE_INT64, 1, &dim, NULL, values);
}

void lamina__h5_put_reals(lamina__h5_out *out, hid_t parent, const char *name, size_t length,
                          const double *values) {
    const hsize_t dim = length;
    put_dataset(out, parent, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, &dim, NULL, values);
}

void lamina__h5_put_floats(lamina__h5_out *out, hid_t parent, const char *name,
                           const lamina_shape *shape, const char *dims, const float *values) {
    hsize_t dim[LAMINA_MAX_DIMS];
    for (int32_t i = 0; i < shape->ndim; i++) {
        dim[i] = (hsize_t)shape->dim[i];
    }
    put_dataset(out, parent, name, H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, shape->ndim, dim, dims,
                values);
}
