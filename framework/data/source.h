/* A source: an opened data set whose samples can be read in any order. Readers (datasets/) make
 * sources; the loader turns them into batches.
 *
 * Samples are uint8 images, channels-last, with a class label. */
#ifndef LAMINA_DATA_SOURCE_H
#define LAMINA_DATA_SOURCE_H

#include "config/params.h"

typedef struct lamina__source lamina__source;
struct lamina__source {
    int64_t count; /* samples, at least 1 */
    int64_t channels, height, width;
    const int32_t *labels; /* count of them, each >= 0 */
    int64_t classes;       /* largest label + 1 */
    uint64_t fingerprint;  /* of contents: shape, labels and pixels (a hash of all or of a spread
                              sample) */
    char *description;     /* "data/mnist/train-images-idx3-ubyte" */

    /* The pixels of one sample (H,W,C), either in the store itself or written into `buffer`
     * (height * width * channels bytes). Any thread. */
    const uint8_t *(*sample)(const lamina__source *, int64_t index, uint8_t *buffer);
    void (*close)(lamina__source *); /* frees everything, the source too */
    void *store;                     /* the reader's */
};

/* A reader: one file in datasets/, one line in datasets/readers.h. */
typedef struct lamina__reader {
    const char *name, *doc;
    size_t config_size;
    const lamina_param *params;
    size_t n_params;
    /* Errors (missing file, truncated, wrong magic) say which file and what to do:
     * LAMINA_ERROR_IO or LAMINA_ERROR_DATA. */
    lamina_status (*open)(const void *config, lamina__source **, lamina_error *);
} lamina__reader;

extern const lamina__reader *const lamina__readers[]; /* NULL-terminated */

/* For readers: sets classes and fingerprint from the shape, the labels and `contents`: the pixels,
 * or what they are made from. */
void lamina__source_finish(lamina__source *, const void *contents, size_t bytes);

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
