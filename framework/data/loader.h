/* The loader: reads ahead. One thread gathers samples in the next of some buffers while the network
 * works on another; the network's threads normalise them, each those it computes with. Nothing is
 * allocated after open, and no lock is held while either side works.
 *
 * The order of an epoch is a permutation computed from (seed, epoch), so a position in the data is
 * two integers. */
#ifndef LAMINA_DATA_LOADER_H
#define LAMINA_DATA_LOADER_H

#include "data/pixels.h"
#include "data/source.h"

/* With pixels, images are what lamina__batch_fill() makes of them: whoever computes with a part of
 * the batch does so first, so that the images are in its cache. */
typedef struct lamina__batch {
    float *images;         /* (samples, H, W, C), 64-byte aligned */
    const uint8_t *pixels; /* the same before normalisation; NULL: images are ready */
    const lamina__pixels *normalizer;
    int64_t image_size;    /* H * W * C */
    const int32_t *labels; /* (samples); NULL: targets are numbers */
    const float *numbers;  /* (samples, ...), as the source's target shape says; NULL: labels */
    int64_t samples;       /* the last batch of an epoch may have fewer than the others */
    int64_t position;      /* samples of this epoch before this batch */
    int64_t epoch;
} lamina__batch;

/* Makes images begin .. end-1 from their pixels; does nothing when there are none. Any thread, also
 * again, but not the same images on two at once. */
void lamina__batch_fill(const lamina__batch *, int64_t begin, int64_t end);

typedef struct lamina__loader_options {
    int64_t batch;
    uint64_t seed;
    int shuffle;
    const lamina__normalize *normalize; /* NULL: x / 255 */
} lamina__loader_options;

typedef struct lamina__loader lamina__loader;

/* The source must outlive the loader. LAMINA_ERROR_CONFIG when `normalize` does not fit it. */
lamina_status lamina__loader_open(const lamina__source *, const lamina__loader_options *,
                                  lamina__loader **, lamina_error *);
void lamina__loader_close(lamina__loader *); /* also in the middle of an epoch */

/* Begins reading ahead from sample `position` of `epoch` (both from 0); what was read ahead before
 * is dropped. */
void lamina__loader_start(lamina__loader *, int64_t epoch, int64_t position);

/* The next batch, valid until the next call of next(), start() or close(); NULL at the end of the
 * epoch, and before start(). One thread at a time. */
const lamina__batch *lamina__loader_next(lamina__loader *);

/* Seconds that next() has spent waiting since the loader was opened: the "data wait". */
double lamina__loader_wait_seconds(const lamina__loader *);

#endif
