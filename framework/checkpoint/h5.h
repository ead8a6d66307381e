/* Thin hands over HDF5 for the files of this folder: every call checked, every handle closed, every
 * message with the file and the place in it.
 *
 * Reading trusts nothing: links are followed only inside the file (no soft or external links, no
 * external or virtual storage, so that a file cannot make us read another one), types and sizes are
 * checked before anything is allocated, and nothing is larger than the file it comes from.
 *
 * Writing is sticky: after a first failure nothing more is done, and the end says what failed. */
#ifndef LAMINA_CHECKPOINT_H5_H
#define LAMINA_CHECKPOINT_H5_H

#include "base/error.h"

#include <hdf5.h>
#include <stdbool.h>

/* Turns off HDF5's own printing of errors, for this thread. Before any other call of HDF5. */
void lamina__h5_quiet(void);

/* The innermost thing HDF5 has to say about its last failure. */
#define LAMINA__H5_REASON 256
char *lamina__h5_reason(char reason[LAMINA__H5_REASON]);

/* HDF5 knows a file in memory by its name only, so each gets one of its own. */
#define LAMINA__H5_NAME 48
char *lamina__h5_memory_name(char name[LAMINA__H5_NAME]);

/* ---- Reading ------------------------------------------------------------------------------- */

typedef struct lamina__h5_in {
    const char *path; /* for messages */
    uint64_t bytes;   /* of the file: nothing in it is larger */
    lamina_error *error;
} lamina__h5_in;

/* A file that lies in memory. It must outlive the handle; nothing is copied. */
typedef struct lamina__h5_image {
    unsigned char *bytes;
    size_t length;
} lamina__h5_image;
hid_t lamina__h5_open_image(const lamina__h5_in *, lamina__h5_image *);

/* "runs/x/last.h5: /progress/epoch: MESSAGE"; returns LAMINA_ERROR_CHECKPOINT. name may be NULL. */
lamina_status lamina__h5_wrong(const lamina__h5_in *, hid_t parent, const char *name,
                               const char *fmt, ...) LAMINA_PRINTF(4, 5);
/* The same with what HDF5 says. */
lamina_status lamina__h5_unreadable(const lamina__h5_in *, hid_t parent, const char *name);

bool lamina__h5_has(hid_t parent, const char *name);
hid_t lamina__h5_open_group(const lamina__h5_in *, hid_t parent, const char *name);

/* Names of what is in a group, in alphabetical order. */
typedef struct lamina__h5_names {
    char **name;
    size_t count, capacity;
    bool failed;
} lamina__h5_names;
lamina_status lamina__h5_list(const lamina__h5_in *, hid_t group, lamina__h5_names *);
void lamina__h5_names_free(lamina__h5_names *);

/* Attributes. Text is a fresh string (lamina__free). */
bool lamina__h5_has_attribute(hid_t object, const char *name);
lamina_status lamina__h5_get_text(const lamina__h5_in *, hid_t object, const char *name,
                                  char **text);
lamina_status lamina__h5_get_int(const lamina__h5_in *, hid_t object, const char *name, int64_t min,
                                 int64_t max, int64_t *value);
lamina_status lamina__h5_get_uint(const lamina__h5_in *, hid_t object, const char *name,
                                  uint64_t *value);
lamina_status lamina__h5_get_real(const lamina__h5_in *, hid_t object, const char *name,
                                  double *value);

/* A dataset of strings with `ndim` dimensions; dim[] and the strings in row-major order come back.
 */
lamina_status lamina__h5_get_texts(const lamina__h5_in *, hid_t parent, const char *name,
                                   int32_t ndim, hsize_t *dim, lamina__h5_names *);

/* A one-dimensional dataset of int64 or double: its length, then its values. */
lamina_status lamina__h5_get_length(const lamina__h5_in *, hid_t parent, const char *name,
                                    size_t *length);
lamina_status lamina__h5_get_ints(const lamina__h5_in *, hid_t parent, const char *name,
                                  size_t length, int64_t *values);
lamina_status lamina__h5_get_reals(const lamina__h5_in *, hid_t parent, const char *name,
                                   size_t length, double *values);

/* A float32 dataset: its shape; then its values (lamina__shape_count of them), row-major. */
lamina_status lamina__h5_get_shape(const lamina__h5_in *, hid_t parent, const char *name,
                                   lamina_shape *);
lamina_status lamina__h5_get_floats(const lamina__h5_in *, hid_t parent, const char *name,
                                    const lamina_shape *, float *values);

/* ---- Writing ------------------------------------------------------------------------------- */

/* A file being made in memory. */
typedef struct lamina__h5_out {
    hid_t file;
    hid_t group_plist, data_plist, link_plist; /* no time stamps; names in UTF-8 */
    lamina_status status;                      /* the first failure */
    char reason[2 * LAMINA__H5_REASON];
} lamina__h5_out;

void lamina__h5_out_open(lamina__h5_out *);
void lamina__h5_out_close(lamina__h5_out *);
/* The finished bytes, HDF5's own memory: valid until close. NULL after a failure. */
const void *lamina__h5_out_bytes(lamina__h5_out *, size_t *length);

/* A group, made if it is not there; name may be "a/b/c". Below 0 after a failure. */
hid_t lamina__h5_out_group(lamina__h5_out *, hid_t parent, const char *name);
void lamina__h5_out_end(hid_t group); /* closes it */

void lamina__h5_put_text(lamina__h5_out *, hid_t object, const char *name, const char *text);
void lamina__h5_put_int(lamina__h5_out *, hid_t object, const char *name, int64_t value);
void lamina__h5_put_uint(lamina__h5_out *, hid_t object, const char *name, uint64_t value);
void lamina__h5_put_real(lamina__h5_out *, hid_t object, const char *name, double value);

/* Datasets. dims: a text attribute that names the dimensions, or NULL. */
void lamina__h5_put_texts(lamina__h5_out *, hid_t parent, const char *name, int32_t ndim,
                          const hsize_t *dim, const char *const *texts);
void lamina__h5_put_ints(lamina__h5_out *, hid_t parent, const char *name, size_t length,
                         const int64_t *values);
void lamina__h5_put_reals(lamina__h5_out *, hid_t parent, const char *name, size_t length,
                          const double *values);
void lamina__h5_put_floats(lamina__h5_out *, hid_t parent, const char *name, const lamina_shape *,
                           const char *dims, const float *values);

#endif
