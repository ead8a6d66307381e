/* An experiment: everything one config file describes, read and checked: seed, plugins, data,
 * network, training, checkpoints. Reading opens no data file and writes nothing. */
#ifndef LAMINA_TRAIN_EXPERIMENT_H
#define LAMINA_TRAIN_EXPERIMENT_H

#include "graph/net.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* `train:` */
typedef struct lamina__train_config {
    int64_t epochs, batch;
    int64_t log_every;          /* steps between "step" events; 0: none */
    int64_t max_steps;          /* stop after so many steps in all; 0: no limit */
    lamina_real_list recompute; /* share of multiply-adds to make activations again with, or none */
} lamina__train_config;

/* `checkpoint:` */
typedef struct lamina__checkpoint_config {
    int64_t every_epochs; /* 0: only at the end and on a signal */
    int64_t every_steps;  /* 0: not by steps */
    int64_t keep;         /* epoch checkpoints kept beside last.h5 and best.h5 */
} lamina__checkpoint_config;

typedef struct lamina__experiment {
    lamina__doc *doc;
    lamina__registry *registry; /* built-in layers and the config's plugins */
    char *path;                 /* as given */
    char *source;               /* the YAML as given */
    char *resolved; /* with every default, and --set, filled in: valid as a config itself */
    char **plugins; /* absolute paths of those that were loaded */
    size_t n_plugins, plugins_capacity;
    int64_t seed;                /* 0 .. 2^53 - 1 */
    lamina__source_spec data[2]; /* train, test */
    lamina__normalize normalize;
    lamina__network network;
    lamina__train_config train;
    lamina__optimizer_config optimizer;
    lamina__schedule_config schedule;
    lamina__checkpoint_config checkpoint;
} lamina__experiment;

typedef struct lamina__experiment_options {
    const char *const *set; /* assignments "train.epochs=3", in order */
    size_t n_set;
    const char *const *plugins; /* --plugin, beside the config's own; paths as given */
    size_t n_plugins;
    const char *text;    /* when not NULL: the YAML itself (from a checkpoint); path is its name */
    bool ignore_plugins; /* do not load those the config names (a checkpoint's own copy of it) */
} lamina__experiment_options;

/* Reads path (relative plugin paths are relative to its folder). All errors go to diags. */
lamina_status lamina__experiment_read(const char *path, const lamina__experiment_options *,
                                      lamina__experiment **, lamina__diags *);
void lamina__experiment_free(lamina__experiment *);

/* The config's own sections with their parameter tables, for help and the manual. */
typedef struct lamina__section {
    const char *key, *doc; /* "": the top level */
    lamina__table table;
} lamina__section;
#define LAMINA__N_SECTIONS 4
lamina__section lamina__section_at(size_t i);

/* Opens the sources that the config names, checks them against each other (same image shape) and
 * against the network (labels below its outputs), and builds the net. sources[]: train, test; NULL
 * where not given. */
typedef struct lamina__prepared {
    lamina__source *source[2];
    lamina__net *net;
} lamina__prepared;

typedef struct lamina__prepare_options {
    int threads;
    const char *kernels; /* refused when no layer of the network has one of that name */
    const lamina__plan_record *recorded;
    bool training, keep_all, shapes_only;
    bool test_only;    /* leave the training split alone */
    bool measure;      /* a plan that is not in the cache is measured, and kept there */
    const char *cache; /* folder of measured plans, or NULL */
    const volatile int
        *stop;           /* not 0: measuring ends, with LAMINA_ERROR_INTERRUPTED; NULL: never */
    int64_t input[3];    /* channels, height, width: no source is opened; 0: those of the data */
    lamina_shape target; /* with input: of targets that are numbers; ndim 0: labels */
} lamina__prepare_options;

lamina_status lamina__experiment_prepare(const lamina__experiment *,
                                         const lamina__prepare_options *, lamina__prepared *,
                                         lamina__diags *, lamina_error *);
void lamina__prepared_free(lamina__prepared *);

#endif
