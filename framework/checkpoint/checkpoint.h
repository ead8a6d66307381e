/* Checkpoints: one self-contained HDF5 file, readable with h5py and h5dump; the layout is in
 * docs/checkpoint.md. A file is made in memory, written to a temporary name in the same folder,
 * fsynced, read back and compared, renamed, and the folder fsynced: a name always shows a whole
 * file. Loading is all or nothing. Tensors are in logical order (conv O,I,H,W; linear O,I).
 *
 * HDF5 is called from one thread at a time and its own error printing is off. */
#ifndef LAMINA_CHECKPOINT_CHECKPOINT_H
#define LAMINA_CHECKPOINT_CHECKPOINT_H

#include "graph/net.h"

/* Where the run stands, between two steps. */
typedef struct lamina__progress {
    int64_t epoch;    /* epochs completed */
    int64_t step;     /* steps completed, over all epochs */
    int64_t position; /* samples of the current epoch already trained on; 0 at an epoch's start */
    uint64_t seed;
    double loss_sum; /* of this epoch so far: as lamina__result's */
    int64_t correct, seen;
    int64_t labelled; /* of those seen, samples with a label that counts */
    /* Of the test split (of the training split when there is none). The best epoch is that of the
     * highest accuracy, or, where no loss takes labels, of the lowest loss. */
    double best_accuracy; /* < 0: none yet, or no labels */
    double best_loss;     /* NaN: none yet, or there is an accuracy */
    int64_t best_epoch;
    double seconds; /* trained so far, all runs */
    /* The parts of loss_sum, each with its loss_weight in it, and what they are divided by. */
    int32_t n_losses;
    double losses[LAMINA__MAX_LOSSES], loss_weights[LAMINA__MAX_LOSSES];
} lamina__progress;

/* One row for each finished epoch (train, test) or logged step (steps). */
typedef struct lamina__metrics_row {
    int64_t epoch, step;
    double loss, accuracy, learning_rate, seconds, images_per_second; /* accuracy NaN: no labels */
    double metrics[LAMINA__MAX_METRICS]; /* of layers; of the test split alone */
} lamina__metrics_row;

typedef struct lamina__metrics {
    lamina__metrics_row *rows;
    size_t count, capacity;
    char *names[LAMINA__MAX_METRICS]; /* of the layers */
    size_t n_names;
} lamina__metrics;

typedef struct lamina__data_id {
    char *source; /* NULL: no such split */
    int64_t samples;
    uint64_t fingerprint;
} lamina__data_id;

typedef struct lamina__slot {
    const char *name; /* "momentum" */
    float *data;      /* like the weight block */
} lamina__slot;

/* All of a checkpoint. For saving the pointers are the caller's. */
typedef struct lamina__checkpoint {
    char *config_source;   /* the YAML as given */
    char *config_resolved; /* every default filled in */
    char *config_origin;   /* the path it was read from */
    char *optimizer;       /* type; NULL: a file of weights only */
    lamina__progress progress;
    lamina__data_id data[2];    /* train, test */
    lamina__metrics metrics[2]; /* train, test */
    lamina__plan_record plan;
    int32_t threads;
    char *isa, *onednn_version, *lamina_version, *created; /* set by save */
} lamina__checkpoint;

void lamina__checkpoint_free(lamina__checkpoint *); /* contents of one that was read */

/* Writes everything: the checkpoint's fields, and the net's weights and state, and the slots. The
 * plan is taken from the net. `path` is replaced in one step; on any error the old file is
 * untouched and no temporary file is left. */
lamina_status lamina__checkpoint_save(const char *path, const lamina__checkpoint *,
                                      const lamina__net *, const lamina__slot *slots,
                                      size_t n_slots, lamina_error *);

/* A checkpoint opened for reading. Everything that is not a tensor is read and checked at once. */
typedef struct lamina__checkpoint_file lamina__checkpoint_file;
lamina_status lamina__checkpoint_open(const char *path, lamina__checkpoint_file **,
                                      lamina__checkpoint *, lamina_error *);
void lamina__checkpoint_close(lamina__checkpoint_file *);

/* Fills the net's weights and state, and the slots (n_slots 0: weights only). The file must have
 * exactly what the net has: otherwise nothing is changed and the error lists what the file has too
 * much and what the network lacks, and shapes that differ. */
lamina_status lamina__checkpoint_load(const lamina__checkpoint_file *, lamina__net *,
                                      const lamina__slot *slots, size_t n_slots, lamina_error *);

/* `lamina checkpoint show`: what is in it, as text. */
lamina_status lamina__checkpoint_show(const char *path, lamina__text *, lamina_error *);

/* `lamina checkpoint verify`: whole, readable, every tensor of the right size and finite. */
lamina_status lamina__checkpoint_verify(const char *path, lamina_error *);

/* `lamina checkpoint diff`: compares weights, state, optimizer, progress and metrics bit by bit;
 * wall-clock values (seconds, images_per_second, created) are not compared. One line for each
 * difference: what, how many elements, the largest absolute and relative difference. */
lamina_status lamina__checkpoint_diff(const char *a, const char *b, lamina__text *,
                                      size_t *differences, lamina_error *);

/* ---- Pieces that the run and `dump` use too ---- */

/* Puts `length` bytes at `path` in one step: temporary file in the same folder, fsync, read back,
 * rename, fsync of the folder. */
lamina_status lamina__write_file(const char *path, const void *bytes, size_t length,
                                 lamina_error *);
/* The same for a file that lies in several pieces of memory. */
typedef struct lamina__piece {
    const void *bytes;
    size_t length;
} lamina__piece;
lamina_status lamina__write_pieces(const char *path, const lamina__piece *, size_t n_pieces,
                                   lamina_error *);

/* An HDF5 file being made in memory, for `dump`: add datasets, then put it at a path. */
typedef struct lamina__h5_writer lamina__h5_writer;
lamina_status lamina__h5_create(lamina__h5_writer **, lamina_error *);
/* "/layers/conv1/output": missing groups are made. data: row-major floats. */
lamina_status lamina__h5_add(lamina__h5_writer *, const char *name, const lamina_shape *,
                             const float *data, lamina_error *);
lamina_status lamina__h5_add_text(lamina__h5_writer *, const char *name, const char *text,
                                  lamina_error *);
lamina_status lamina__h5_write(lamina__h5_writer *, const char *path, lamina_error *);
void lamina__h5_free(lamina__h5_writer *);

#endif
