/* The loader: one thread that fills n buffers in turn, ahead of whoever calls next().
 *
 * Both sides meet in one small state under one mutex: how many batches of the current run (since
 * start()) were made, taken and given back. The thread fills buffer made % n when made - released
 * < n; next() hands out buffer taken % n when taken < made. start() begins a new run by counting
 * `run` up: a batch that the thread was still filling for the old one is then not counted as made.
 *
 * On a machine whose processors are all at work each waking of the thread costs a worker its place
 * for a while. So it only gathers pixels, sleeps when all buffers are full, and is woken when half
 * of them are empty again; normalising is left to the workers. */
#include "data/loader.h"

#include "base/alloc.h"
#include "base/philox.h"
#include "base/seconds.h"
#include "base/threads.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

/* As many batches are read ahead as fit so many bytes, but within these numbers. */
enum { AHEAD_BYTES = 2 << 20, LEAST_BUFFERS = 4, MOST_BUFFERS = 32 };

typedef struct buffer {
    uint8_t *pixels;
    int32_t *labels; /* or */
    float *numbers;
    lamina__batch batch;
} buffer;

struct lamina__loader {
    const lamina__source *source;
    int64_t batch, pixels; /* samples of a full batch; values of one image */
    int64_t numbers;       /* of one sample's target; 0: a label */
    uint64_t seed;
    int shuffle;
    lamina__pixels *normalizer;
    float *images; /* of the batch that was handed out last */
    int n_buffers;
    buffer buffers[MOST_BUFFERS];
    int64_t *order;      /* of the epoch; the thread's; NULL without shuffling */
    double wait_seconds; /* the caller's */

    pthread_t thread;
    int has_mutex, has_changed, has_thread; /* what there is to destroy */
    pthread_mutex_t mutex;                  /* guards what follows */
    pthread_cond_t changed;
    int closing;
    uint64_t run;            /* counts start() */
    int64_t epoch, position; /* where the run begins */
    uint64_t made, taken, released;
    int ended;                        /* the run's last batch is made */
    int thread_sleeps, caller_sleeps; /* until enough buffers are free, until a batch is made */
};

/* ---- The thread ---------------------------------------------------------------------------- */

static void fill(lamina__loader *loader, buffer *into, int64_t epoch, int64_t position) {
    const lamina__source *source = loader->source;
    int64_t left = source->count - position;
    int64_t samples = left < loader->batch ? left : loader->batch;
    for (int64_t i = 0; i < samples; i++) {
        int64_t index = loader->shuffle ? loader->order[position + i] : position + i;
        uint8_t *to = into->pixels + i * loader->pixels;
        const uint8_t *sample = source->sample(source, index, to);
        if (sample != to) {
            memcpy(to, sample, (size_t)loader->pixels);
        }
        if (into->numbers != NULL) {
            source->numbers(source, index, to, into->numbers + i * loader->numbers);
        } else {
            into->labels[i] = source->labels[index];
        }
    }
    into->batch = (lamina__batch){.images = loader->images,
                                  .pixels = into->pixels,
                                  .normalizer = loader->normalizer,
                                  .image_size = loader->pixels,
                                  .labels = into->labels,
                                  .numbers = into->numbers,
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
        if (loader->made - loader->released >= (uint64_t)loader->n_buffers) {
            loader->thread_sleeps = 1; /* next() wakes it when half of them are free */
            pthread_cond_wait(&loader->changed, &loader->mutex);
            continue;
        }
        buffer *into = &loader->buffers[loader->made % (uint64_t)loader->n_buffers];
        pthread_mutex_unlock(&loader->mutex);
        fill(loader, into, epoch, position);
        pthread_mutex_lock(&loader->mutex);
        if (loader->run == run) {
            position += into->batch.samples;
            loader->made++;
            if (loader->caller_sleeps) {
                pthread_cond_broadcast(&loader->changed);
            }
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

static lamina_status make_buffers(lamina__loader *loader, lamina_error *error) {
    const lamina__source *source = loader->source;
    size_t pixels = (size_t)loader->pixels, batch = (size_t)loader->batch, bytes = 0;
    size_t numbers = (size_t)loader->numbers * sizeof(float);
    if (__builtin_mul_overflow(pixels, sizeof(float), &bytes) ||
        (loader->images = lamina__calloc(batch, bytes)) == NULL) {
        return lamina__fail_memory(error, "the loader's batches");
    }
    const size_t fit = AHEAD_BYTES / (batch * (pixels + numbers));
    loader->n_buffers = fit < LEAST_BUFFERS  ? LEAST_BUFFERS
                        : fit < MOST_BUFFERS ? (int)fit
                                             : MOST_BUFFERS;
    int missing = 0;
    for (int i = 0; i < loader->n_buffers && !missing; i++) {
        buffer *b = &loader->buffers[i];
        b->pixels = lamina__alloc(batch * pixels);
        if (numbers > 0) {
            b->numbers = lamina__calloc(batch, numbers);
        } else {
            b->labels = lamina__calloc(batch, sizeof(*b->labels));
        }
        missing = b->pixels == NULL || (b->labels == NULL && b->numbers == NULL);
    }
    if (!missing && loader->shuffle) {
        loader->order = lamina__calloc((size_t)source->count, sizeof(*loader->order));
        missing = loader->order == NULL;
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
    loader->numbers = lamina__source_numbers(source);
    loader->seed = options->seed;
    loader->shuffle = options->shuffle;
    loader->ended = 1;
    if ((status = lamina__pixels_make(options->normalize, source->channels, &loader->normalizer,
                                      error)) != LAMINA_OK ||
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
    for (int i = 0; i < MOST_BUFFERS; i++) {
        lamina__free(loader->buffers[i].pixels);
        lamina__free(loader->buffers[i].labels);
        lamina__free(loader->buffers[i].numbers);
    }
    lamina__pixels_free(loader->normalizer);
    lamina__free(loader->images);
    lamina__free(loader->order);
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
    loader->released = loader->taken; /* the batch of the call before */
    if (loader->thread_sleeps &&
        loader->made - loader->released <= (uint64_t)(loader->n_buffers / 2)) {
        loader->thread_sleeps = 0;
        pthread_cond_broadcast(&loader->changed);
    }
    if (loader->taken == loader->made && !loader->ended) {
        double before = lamina__seconds();
        loader->caller_sleeps = 1;
        while (loader->taken == loader->made && !loader->ended) {
            pthread_cond_wait(&loader->changed, &loader->mutex);
        }
        loader->caller_sleeps = 0;
        loader->wait_seconds += lamina__seconds() - before;
    }
    if (loader->taken < loader->made) {
        batch = &loader->buffers[loader->taken % (uint64_t)loader->n_buffers].batch;
        loader->taken++;
    }
    pthread_mutex_unlock(&loader->mutex);
    return batch;
}

void lamina__batch_fill(const lamina__batch *batch, int64_t begin, int64_t end) {
    const int64_t first = begin * batch->image_size, past = end * batch->image_size;
    if (batch->pixels != NULL) {
        lamina__pixels_normalize(batch->normalizer, batch->pixels + first, past - first,
                                 batch->images + first);
    }
}

double lamina__loader_wait_seconds(const lamina__loader *loader) {
    return loader->wait_seconds;
}
