/* The loader: one thread that fills buffers in turn, ahead of whoever calls next().
 *
 * Both sides meet in one small state under one mutex: how many batches of the current run (since
 * start()) were made, taken and given back. The thread fills buffer made % 2 when made - released
 * < 2; next() hands out buffer taken % 2 when taken < made. start() begins a new run by counting
 * `run` up: a batch that the thread was still filling for the old one is then not counted as made.
 */
#include "data/loader.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/philox.h"
#include "base/seconds.h"
#include "base/threads.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#define BUFFERS 4
#define LEVELS  256 /* values of a pixel */
#define RUN     64  /* pixels that are normalised in one go */

const lamina_param lamina__normalize_params[] = {
    {.name = "mean",
     .doc = "Subtracted from each pixel, which is in 0..1 before; one value, or one for each "
            "channel.",
     .type = LAMINA_REAL_LIST,
     .offset = offsetof(lamina__normalize, mean),
     .def = "0",
     .max_count = LAMINA_MAX_LIST},
    {.name = "std",
     .doc = "What each pixel is divided by after that; one value, or one for each channel; above "
            "0.",
     .type = LAMINA_REAL_LIST,
     .offset = offsetof(lamina__normalize, std),
     .def = "1",
     .max_count = LAMINA_MAX_LIST},
};
const size_t lamina__normalize_n_params =
    sizeof(lamina__normalize_params) / sizeof(lamina__normalize_params[0]);

typedef struct buffer {
    float *images;
    int32_t *labels;
    lamina__batch batch;
} buffer;

struct lamina__loader {
    const lamina__source *source;
    int64_t batch, pixels; /* samples of a full batch; values of one image */
    uint64_t seed;
    int shuffle;
    float *table; /* (channels, LEVELS): a pixel's normalised value */
    double
        *line; /* what gives the same to the bit: RUN * channels factors, as many terms; or NULL */
    buffer buffers[BUFFERS];
    int64_t *order;      /* of the epoch; the thread's; NULL without shuffling */
    uint8_t *scratch;    /* one image; the thread's */
    double wait_seconds; /* the caller's */

    pthread_t thread;
    int has_mutex, has_changed, has_thread; /* what there is to destroy */
    pthread_mutex_t mutex;                  /* guards what follows */
    pthread_cond_t changed;
    int closing;
    uint64_t run;            /* counts start() */
    int64_t epoch, position; /* where the run begins */
    uint64_t made, taken, released;
    int ended; /* the run's last batch is made */
};

/* ---- The thread ---------------------------------------------------------------------------- */

/* dst = src * factor + term. */
LAMINA__VECTOR_CLONES
static void along_line(const uint8_t *restrict src, const double *restrict factor,
                       const double *restrict term, int64_t n, float *restrict dst) {
    for (int64_t i = 0; i < n; i++) {
        dst[i] = (float)(src[i] * factor[i] + term[i]);
    }
}

/* The same where all pixels have one factor and one term. */
LAMINA__VECTOR_CLONES
static void along_one_line(const uint8_t *restrict src, double factor, double term, int64_t n,
                           float *restrict dst) {
    for (int64_t i = 0; i < n; i++) {
        dst[i] = (float)(src[i] * factor + term);
    }
}

/* uint8 (H,W,C) to float32 (H,W,C): along a line, in vectors, or else through the table. */
static void normalize(const lamina__loader *loader, const uint8_t *src, float *dst) {
    const int64_t run = RUN * loader->source->channels;
    if (loader->line != NULL && loader->source->channels == 1) {
        along_one_line(src, loader->line[0], loader->line[run], loader->pixels, dst);
        return;
    }
    for (int64_t i = 0; loader->line != NULL && i < loader->pixels; i += run) {
        along_line(src + i, loader->line, loader->line + run,
                   loader->pixels - i < run ? loader->pixels - i : run, dst + i);
    }
    if (loader->line != NULL) {
        return;
    }
    const float *table = loader->table;
    const int64_t channels = loader->source->channels;
    if (channels == 1) {
        for (int64_t i = 0; i < loader->pixels; i++) {
            dst[i] = table[src[i]];
        }
        return;
    }
    for (int64_t i = 0; i < loader->pixels; i += channels) {
        for (int64_t c = 0; c < channels; c++) {
            dst[i + c] = table[c * LEVELS + src[i + c]];
        }
    }
}

static void fill(lamina__loader *loader, buffer *into, int64_t epoch, int64_t position) {
    const lamina__source *source = loader->source;
    int64_t left = source->count - position;
    int64_t samples = left < loader->batch ? left : loader->batch;
    for (int64_t i = 0; i < samples; i++) {
        int64_t index = loader->shuffle ? loader->order[position + i] : position + i;
        normalize(loader, source->sample(source, index, loader->scratch),
                  into->images + i * loader->pixels);
        into->labels[i] = source->labels[index];
    }
    into->batch = (lamina__batch){.images = into->images,
                                  .labels = into->labels,
                                  .samples = samples,
                                  .position = position,
                                  .epoch = epoch};
}

static void shuffle(lamina__loader *loader, int64_t epoch) {
    if (loader->shuffle) {
        lamina__stream random =
            lamina__stream_make(loader->seed, LAMINA__RANDOM_SHUFFLE, (uint64_t)epoch, 0);
        lamina__stream_permutation(random, loader->order, loader->source->count);
    }
}

/* One run, from start() to the end of the epoch or the next start(). Called and left with the
 * mutex locked; unlocked while it works. */
static void make_batches(lamina__loader *loader) {
    const uint64_t run = loader->run;
    const int64_t epoch = loader->epoch;
    int64_t position = loader->position;

    pthread_mutex_unlock(&loader->mutex);
    shuffle(loader, epoch);
    pthread_mutex_lock(&loader->mutex);
    while (loader->run == run && !loader->closing) {
        if (position >= loader->source->count) {
            loader->ended = 1;
            pthread_cond_broadcast(&loader->changed);
            return;
        }
        if (loader->made - loader->released >= BUFFERS) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
            continue;
        }
        buffer *into = &loader->buffers[loader->made % BUFFERS];
        pthread_mutex_unlock(&loader->mutex);
        fill(loader, into, epoch, position);
        pthread_mutex_lock(&loader->mutex);
        if (loader->run == run) {
            position += into->batch.samples;
            loader->made++;
            pthread_cond_broadcast(&loader->changed);
        }
    }
}

static void *thread_main(void *arg) {
    lamina__loader *loader = arg;
    lamina__unpin_thread(); /* not only where its maker is */
    /* Woken, it does not push a worker aside in the middle of a step; the buffers give it time. */
    const struct sched_param priority = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &priority);
    uint64_t done = 0; /* the last run that was worked on */
    pthread_mutex_lock(&loader->mutex);
    while (!loader->closing) {
        if (loader->run == done) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
        } else {
            done = loader->run;
            make_batches(loader);
        }
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* The thread takes no signals: they are for the program's main thread. Those that a fault of its
 * own raises stay deliverable, for debuggers and sanitizers. */
static lamina_status start_thread(lamina__loader *loader, lamina_error *error) {
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&loader->thread, NULL, thread_main, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        return lamina__fail(error, LAMINA_ERROR_MEMORY, "cannot start the loader's thread: %s",
                            strerror(code));
    }
    loader->has_thread = 1;
    return LAMINA_OK;
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static lamina_status check_list(const char *name, const lamina_real_list *list, int64_t channels,
                                lamina_error *error) {
    if (list->count != 1 && list->count != channels) {
        return lamina__fail(error, LAMINA_ERROR_CONFIG,
                            "data.normalize: %s has %d values but the images have %lld "
                            "channel%s; give one value, or one for each channel",
                            name, list->count, (long long)channels, channels == 1 ? "" : "s");
    }
    for (int32_t i = 0; i < list->count; i++) {
        if (!isfinite(list->value[i])) {
            return lamina__fail(error, LAMINA_ERROR_CONFIG,
                                "data.normalize: %s must be finite numbers", name);
        }
    }
    return LAMINA_OK;
}

static lamina_status check_normalize(const lamina__normalize *values, int64_t channels,
                                     lamina_error *error) {
    lamina_status status = check_list("mean", &values->mean, channels, error);
    if (status == LAMINA_OK) {
        status = check_list("std", &values->std, channels, error);
    }
    for (int32_t i = 0; status == LAMINA_OK && i < values->std.count; i++) {
        if (values->std.value[i] <= 0) {
            status =
                lamina__fail(error, LAMINA_ERROR_CONFIG,
                             "data.normalize: std must be above 0, got %g", values->std.value[i]);
        }
    }
    return status;
}

/* x * factor + term in double, rounded to float, is nearly always what the table has. When it is
 * for all levels and channels, the line is used: it needs no look-up for each pixel. */
static lamina_status make_line(lamina__loader *loader, const lamina__normalize *values,
                               lamina_error *error) {
    const int64_t channels = loader->source->channels, run = RUN * channels;
    loader->line = lamina__calloc((size_t)(2 * run), sizeof(double));
    if (loader->line == NULL) {
        return lamina__fail_memory(error, "the loader's normalisation");
    }
    bool same = true;
    for (int64_t i = 0; i < run; i++) {
        const int64_t c = i % channels;
        const double mean = values->mean.value[values->mean.count == 1 ? 0 : c];
        const double std = values->std.value[values->std.count == 1 ? 0 : c];
        loader->line[i] = 1 / (255 * std);
        loader->line[run + i] = -mean / std;
        for (int x = 0; i < channels && x < LEVELS; x++) {
            const float y = (float)(x * loader->line[i] + loader->line[run + i]);
            same = same && memcmp(&y, &loader->table[c * LEVELS + x], sizeof(y)) == 0;
        }
    }
    if (!same) {
        lamina__free(loader->line);
        loader->line = NULL;
    }
    return LAMINA_OK;
}

/* Each entry is computed in double and rounded once. */
static lamina_status make_table(lamina__loader *loader, const lamina__normalize *values,
                                lamina_error *error) {
    static const lamina__normalize none = {.mean = {.count = 1, .word = -1, .value = {0}},
                                           .std = {.count = 1, .word = -1, .value = {1}}};
    const int64_t channels = loader->source->channels;
    values = values ? values : &none;
    lamina_status status = check_normalize(values, channels, error);
    if (status != LAMINA_OK) {
        return status;
    }
    loader->table = lamina__calloc((size_t)channels, LEVELS * sizeof(float));
    if (loader->table == NULL) {
        return lamina__fail_memory(error, "the loader's normalisation table");
    }
    for (int64_t c = 0; c < channels; c++) {
        double mean = values->mean.value[values->mean.count == 1 ? 0 : c];
        double std = values->std.value[values->std.count == 1 ? 0 : c];
        for (int x = 0; x < LEVELS; x++) {
            loader->table[c * LEVELS + x] = (float)((x / 255.0 - mean) / std);
        }
    }
    return make_line(loader, values, error);
}

static lamina_status make_buffers(lamina__loader *loader, lamina_error *error) {
    const lamina__source *source = loader->source;
    size_t pixels = (size_t)loader->pixels, batch = (size_t)loader->batch, bytes = 0;
    int missing = __builtin_mul_overflow(pixels, sizeof(float), &bytes);
    for (int i = 0; i < BUFFERS && !missing; i++) {
        buffer *b = &loader->buffers[i];
        b->images = lamina__calloc(batch, bytes);
        b->labels = lamina__calloc(batch, sizeof(*b->labels));
        missing = b->images == NULL || b->labels == NULL;
    }
    if (!missing && loader->shuffle) {
        loader->order = lamina__calloc((size_t)source->count, sizeof(*loader->order));
        missing = loader->order == NULL;
    }
    if (!missing) {
        loader->scratch = lamina__alloc(pixels);
        missing = loader->scratch == NULL;
    }
    return missing ? lamina__fail_memory(error, "the loader's batches") : LAMINA_OK;
}

static lamina_status make_locks(lamina__loader *loader, lamina_error *error) {
    loader->has_mutex = pthread_mutex_init(&loader->mutex, NULL) == 0;
    loader->has_changed = pthread_cond_init(&loader->changed, NULL) == 0;
    return loader->has_mutex && loader->has_changed
               ? LAMINA_OK
               : lamina__fail_memory(error, "the loader's locks");
}

lamina_status lamina__loader_open(const lamina__source *source,
                                  const lamina__loader_options *options, lamina__loader **result,
                                  lamina_error *error) {
    lamina_status status;
    assert(options->batch >= 1);
    *result = NULL;
    lamina__loader *loader = lamina__calloc(1, sizeof(*loader));
    if (loader == NULL) {
        return lamina__fail_memory(error, "the loader");
    }
    loader->source = source;
    loader->batch = options->batch < source->count ? options->batch : source->count;
    loader->pixels = source->height * source->width * source->channels;
    loader->seed = options->seed;
    loader->shuffle = options->shuffle;
    loader->ended = 1;
    if ((status = make_table(loader, options->normalize, error)) != LAMINA_OK ||
        (status = make_buffers(loader, error)) != LAMINA_OK ||
        (status = make_locks(loader, error)) != LAMINA_OK ||
        (status = start_thread(loader, error)) != LAMINA_OK) {
        lamina__loader_close(loader);
        return status;
    }
    *result = loader;
    return LAMINA_OK;
}

void lamina__loader_close(lamina__loader *loader) {
    if (loader == NULL) {
        return;
    }
    if (loader->has_thread) {
        pthread_mutex_lock(&loader->mutex);
        loader->closing = 1;
        pthread_cond_broadcast(&loader->changed);
        pthread_mutex_unlock(&loader->mutex);
        pthread_join(loader->thread, NULL);
    }
    if (loader->has_changed) {
        pthread_cond_destroy(&loader->changed);
    }
    if (loader->has_mutex) {
        pthread_mutex_destroy(&loader->mutex);
    }
    for (int i = 0; i < BUFFERS; i++) {
        lamina__free(loader->buffers[i].images);
        lamina__free(loader->buffers[i].labels);
    }
    lamina__free(loader->table);
    lamina__free(loader->line);
    lamina__free(loader->order);
    lamina__free(loader->scratch);
    lamina__free(loader);
}

/* ---- The caller's side --------------------------------------------------------------------- */

void lamina__loader_start(lamina__loader *loader, int64_t epoch, int64_t position) {
    assert(epoch >= 0 && position >= 0);
    pthread_mutex_lock(&loader->mutex);
    loader->run++;
    loader->epoch = epoch;
    loader->position = position;
    loader->made = loader->taken = loader->released = 0;
    loader->ended = 0;
    pthread_cond_broadcast(&loader->changed);
    pthread_mutex_unlock(&loader->mutex);
}

const lamina__batch *lamina__loader_next(lamina__loader *loader) {
    const lamina__batch *batch = NULL;
    pthread_mutex_lock(&loader->mutex);
    if (loader->released < loader->taken) { /* the batch of the call before */
        loader->released = loader->taken;
        pthread_cond_broadcast(&loader->changed);
    }
    if (loader->taken == loader->made && !loader->ended) {
        double before = lamina__seconds();
        while (loader->taken == loader->made && !loader->ended) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
        }
        loader->wait_seconds += lamina__seconds() - before;
    }
    if (loader->taken < loader->made) {
        batch = &loader->buffers[loader->taken % BUFFERS].batch;
        loader->taken++;
    }
    pthread_mutex_unlock(&loader->mutex);
    return batch;
}

double lamina__loader_wait_seconds(const lamina__loader *loader) {
    return loader->wait_seconds;
}
