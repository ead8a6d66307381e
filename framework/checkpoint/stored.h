/* What the files of this folder share: the tables of the format's fields, the seal at the end of a
 * file, and a checkpoint opened for reading. The layout is in docs/checkpoint.md. */
#ifndef LAMINA_CHECKPOINT_STORED_H
#define LAMINA_CHECKPOINT_STORED_H

#include "checkpoint/checkpoint.h"
#include "checkpoint/h5.h"

#define LAMINA__CHECKPOINT_VERSION 1

/* ---- Fields: one table drives saving, reading, showing and comparing ----------------------- */

typedef enum lamina__field_kind {
    LAMINA__FIELD_INT,  /* int64_t */
    LAMINA__FIELD_UINT, /* uint64_t */
    LAMINA__FIELD_REAL  /* double */
} lamina__field_kind;

typedef struct lamina__stored_field {
    const char *name;
    lamina__field_kind kind;
    bool clock;    /* of wall-clock time: differs between runs that are the same */
    size_t offset; /* in lamina__progress, lamina__metrics_row */
    int64_t min;   /* of an INT */
    bool later;    /* files of earlier versions lack it */
} lamina__stored_field;

#define LAMINA__N_PROGRESS 12
#define LAMINA__N_COLUMNS  7
extern const lamina__stored_field lamina__progress_fields[LAMINA__N_PROGRESS];
extern const lamina__stored_field lamina__metrics_columns[LAMINA__N_COLUMNS];
extern const char *const lamina__split_names[2]; /* "train", "test" */

/* Group of /metrics/<split> with a column for each layer that is a metric. */
#define LAMINA__LAYER_METRICS "layers"

/* Of /progress: a number for each loss. Files of earlier versions lack both. */
#define LAMINA__LOSS_SUMS    "losses"
#define LAMINA__LOSS_WEIGHTS "loss_weights"

/* Columns of /plan/kernels: the layer, then a kernel for each pass. */
#define LAMINA__PLAN_COLUMNS (1 + LAMINA__N_PASSES)

/* ---- The seal: a line of text behind the HDF5 data, which HDF5 does not look at ------------ */

#define LAMINA__SEAL_LENGTH 50
/* "\nlamina crc32=89abcdef bytes=00000000000000123456\n"; not NUL-terminated. */
void lamina__seal_make(const void *bytes, size_t length, char seal[LAMINA__SEAL_LENGTH + 1]);

typedef enum lamina__seal_state {
    LAMINA__SEAL_NONE,
    LAMINA__SEAL_WRONG,
    LAMINA__SEAL_RIGHT
} lamina__seal_state;

/* Of a whole file. */
lamina__seal_state lamina__seal_check(const unsigned char *bytes, size_t length);

/* ---- A checkpoint opened for reading ------------------------------------------------------- */

typedef enum lamina__stored_kind {
    LAMINA__STORED_WEIGHT,
    LAMINA__STORED_STATE,
    LAMINA__STORED_SLOT
} lamina__stored_kind;

typedef struct lamina__stored_layer {
    char *name, *type;
    char *plugin, *plugin_version; /* NULL: built-in */
    int64_t state_version;
    size_t first_tensor, n_tensors; /* its weights, then its states */
} lamina__stored_layer;

/* One tensor in the file: /model/<layer>/weights/<name>, /model/<layer>/state/<name> or
 * /optimizer/<layer>/<name>/<slot>. */
typedef struct lamina__stored_tensor {
    lamina__stored_kind kind;
    const char *layer; /* the stored_layer's */
    char *name, *slot; /* slot: NULL but for slots */
    lamina_shape shape;
} lamina__stored_tensor;

struct lamina__checkpoint_file {
    char *path;
    lamina__h5_image image; /* all of the file, without the seal */
    bool sealed;
    hid_t file;
    char *kind, *writer;
    lamina__stored_layer *layers;
    size_t n_layers, layers_capacity;
    lamina__stored_tensor *tensors; /* weights and states in the order of the layers, then slots */
    size_t n_tensors, tensors_capacity;
};

/* NULL when there is none. slot: NULL unless kind is SLOT. */
const lamina__stored_tensor *lamina__stored_find(const lamina__checkpoint_file *,
                                                 lamina__stored_kind, const char *layer,
                                                 const char *name, const char *slot);
const lamina__stored_layer *lamina__stored_find_layer(const lamina__checkpoint_file *,
                                                      const char *name);

/* "conv1/weight", "norm1/mean (state)", "conv1/weight (momentum)" */
void lamina__stored_label(lamina__stored_kind, const char *layer, const char *name,
                          const char *slot, lamina__text *);

/* lamina__shape_count(&shape) floats, row-major. */
lamina_status lamina__stored_read(const lamina__checkpoint_file *, const lamina__stored_tensor *,
                                  float *values, lamina_error *);

/* ---- Between open.c and inventory.c -------------------------------------------------------- */

typedef struct lamina__opener {
    lamina__h5_in in;
    lamina__checkpoint_file *file;
    lamina__checkpoint *checkpoint;
    bool training;         /* else: weights only */
    uint64_t tensor_bytes; /* of all tensors so far: they do not overlap, so the file has as many */
} lamina__opener;

/* Opens a group. Files of weights made by hand may lack some: when it is not there and not
 * `required` the result is OK with *group below 0. */
lamina_status lamina__open_part(const lamina__opener *, hid_t parent, const char *name,
                                bool required, hid_t *group);
lamina_status lamina__read_model(lamina__opener *);
lamina_status lamina__read_optimizer(lamina__opener *); /* after the model */

/* Text of the file for people: control characters become '?'. */
void lamina__add_clean(lamina__text *, const char *text);

#endif
