/* A source: an opened data set whose samples can be read in any order. Readers (datasets/) make
 * sources; the loader turns them into batches.
 *
 * Samples are uint8 images, channels-last, each with its target: a class label, or numbers. */
#ifndef LAMINA_DATA_SOURCE_H
#define LAMINA_DATA_SOURCE_H

#include "config/params.h"

typedef struct lamina__source lamina__source;
struct lamina__source {
    int64_t count; /* samples, at least 1 */
    int64_t channels, height, width;
    const int32_t *labels; /* count of them, each >= 0; NULL: targets are numbers */
    int64_t classes;       /* largest label + 1; 0 without labels */
    /* Of numbers: their shape, dim[0] is count: (N, 3). ndim 0 with labels. */
    lamina_shape target;
    uint64_t fingerprint; /* of contents: shape, targets and pixels (a hash of all or of a spread
                             sample) */
    char *description;    /* "data/mnist/train-images-idx3-ubyte" */

    /* The pixels of one sample (H,W,C), either in the store itself or written into `buffer`
     * (height * width * channels bytes). Any thread. */
    const uint8_t *(*sample)(const lamina__source *, int64_t index, uint8_t *buffer);
    /* Where there are no labels: writes one sample's numbers, as a tensor of that shape has them
     * in memory (four dimensions: channels-last). pixels: what sample() gave. Any thread. */
    void (*numbers)(const lamina__source *, int64_t index, const uint8_t *pixels, float *to);
    void (*close)(lamina__source *); /* frees everything, the source too */
    void *store;                     /* the reader's */
};

/* A reader: one file in datasets/, one line in datasets/readers.h. */
typedef struct lamina__reader {
    const char *name, *doc;
    size_t config_size;
    const lamina_param *params;
    size_t n_params;
    /* Optional: what the table cannot say; reports to diags. `at`: the split in the config. */
    void (*check)(const void *config, const char *subject, const lamina__node *at, lamina__diags *);
    /* Errors (missing file, truncated, wrong magic) say which file and what to do:
     * LAMINA_ERROR_IO or LAMINA_ERROR_DATA. */
    lamina_status (*open)(const void *config, lamina__source **, lamina_error *);
} lamina__reader;

extern const lamina__reader *const lamina__readers[]; /* NULL-terminated */

/* For readers: sets classes and fingerprint from the shapes, the labels and `contents`: the pixels,
 * or what they are made from. */
void lamina__source_finish(lamina__source *, const void *contents, size_t bytes);
/* Adds the contents of targets that are numbers to the fingerprint. */
void lamina__source_add_contents(lamina__source *, const void *contents, size_t bytes);

/* Numbers of one sample's target; 0 with labels. */
int64_t lamina__source_numbers(const lamina__source *);

/* One split of a config, `data.train: {type: idx, ...}`, read and checked but not opened. */
typedef struct lamina__source_spec {
    const lamina__reader *reader; /* NULL: the split is not given */
    void *config;                 /* lamina__free */
    const lamina__node *node;
} lamina__source_spec;

/* `split`: "train" or "test", for messages. */
lamina_status lamina__source_read_spec(const lamina__node *node, const char *split,
                                       lamina__source_spec *, lamina__diags *);
void lamina__source_spec_free(lamina__source_spec *);
lamina_status lamina__source_open(const lamina__source_spec *, lamina__source **, lamina_error *);
void lamina__source_close(lamina__source *); /* NULL is fine */
/* "{type: idx, images: ..., ...}" for the resolved config. */
void lamina__source_spec_write(const lamina__source_spec *, lamina__text *);

#endif
