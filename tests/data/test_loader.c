/* The loader: what it delivers is compared with a naive recomputation, from any position, while it
 * is restarted and closed at any moment. */
#include "base/alloc.h"
#include "base/philox.h"
#include "data/loader.h"
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

/* ---- A source made here -------------------------------------------------------------------- */

#define MAX_COUNT 300

typedef struct made_source {
    lamina__source base;
    int32_t labels[MAX_COUNT];
    long delay_ns; /* for each sample */
} made_source;

static uint8_t pixel_of(int64_t index, int64_t pixel) {
    return (uint8_t)(index * 37 + pixel * 11 + index * pixel);
}

static const uint8_t *made_sample(const lamina__source *source, int64_t index, uint8_t *buffer) {
    const made_source *made = source->store;
    for (int64_t i = 0; i < source->height * source->width * source->channels; i++) {
        buffer[i] = pixel_of(index, i);
    }
    if (made->delay_ns > 0) {
        nanosleep(&(struct timespec){.tv_nsec = made->delay_ns}, NULL);
    }
    return buffer;
}

static made_source *make_source(int64_t count, int64_t channels) {
    static made_source made;
    made = (made_source){.base = {.count = count,
                                  .channels = channels,
                                  .height = 3,
                                  .width = 5,
                                  .labels = made.labels,
                                  .sample = made_sample,
                                  .store = &made}};
    for (int64_t i = 0; i < count; i++) {
        made.labels[i] = (int32_t)(i * 7 % 10);
    }
    return &made;
}

static lamina__loader *open_loader(const made_source *made, int64_t batch, int shuffle,
                                   const lamina__normalize *normalize) {
    lamina__loader_options options = {
        .batch = batch, .seed = 42, .shuffle = shuffle, .normalize = normalize};
    lamina__loader *loader = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__loader_open(&made->base, &options, &loader, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(loader);
    return loader;
}

/* ---- The same, computed naively ------------------------------------------------------------ */

static void order_of(const made_source *made, int shuffle, int64_t epoch, int64_t *order) {
    for (int64_t i = 0; i < made->base.count; i++) {
        order[i] = i;
    }
    if (shuffle) {
        lamina__stream_permutation(
            lamina__stream_make(42, LAMINA__RANDOM_SHUFFLE, (uint64_t)epoch, 0), order,
            made->base.count);
    }
}

/* Compares every batch from `position` to the end of the epoch. */
static void check_rest(lamina__loader *loader, const made_source *made, int64_t batch, int shuffle,
                       const lamina__normalize *normalize, int64_t epoch, int64_t position) {
    int64_t order[MAX_COUNT], pixels = 15 * made->base.channels;
    const lamina__batch *got;
    order_of(made, shuffle, epoch, order);
    while ((got = lamina__loader_next(loader)) != NULL) {
        int64_t left = made->base.count - position, wrong = 0;
        CU_ASSERT_EQUAL_FATAL(got->samples, left < batch ? left : batch);
        CU_ASSERT_EQUAL(got->position, position);
        CU_ASSERT_EQUAL(got->epoch, epoch);
        CU_ASSERT_EQUAL((uintptr_t)got->images % 64, 0);
        lamina__batch_fill(got, 0, got->samples / 2);
        lamina__batch_fill(got, got->samples / 2, got->samples);
        for (int64_t i = 0; i < got->samples; i++) {
            int64_t index = order[position + i];
            wrong += got->labels[i] != made->labels[index];
            for (int64_t p = 0; p < pixels; p++) {
                int64_t c = p % made->base.channels;
                double mean = normalize ? normalize->mean.value[c] : 0;
                double std = normalize ? normalize->std.value[c] : 1;
                float expected = (float)((pixel_of(index, p) / 255.0 - mean) / std);
                wrong += got->images[i * pixels + p] != expected;
            }
        }
        CU_ASSERT_EQUAL(wrong, 0);
        position += got->samples;
    }
    CU_ASSERT_EQUAL(position, made->base.count);
    CU_ASSERT_PTR_NULL(lamina__loader_next(loader)); /* the end stays the end */
}

/* ---- Tests --------------------------------------------------------------------------------- */

static void test_whole_epochs(void) {
    static const int64_t batches[] = {1, 7, 64, 100, 101, 1000};
    for (size_t b = 0; b < 6; b++) {
        for (int shuffle = 0; shuffle <= 1; shuffle++) {
            made_source *made = make_source(101, 1);
            lamina__loader *loader = open_loader(made, batches[b], shuffle, NULL);
            for (int64_t epoch = 0; epoch < 3; epoch++) {
                lamina__loader_start(loader, epoch, 0);
                check_rest(loader, made, batches[b], shuffle, NULL, epoch, 0);
            }
            lamina__loader_close(loader);
        }
    }
}

static void test_from_the_middle(void) {
    made_source *made = make_source(101, 1);
    lamina__loader *loader = open_loader(made, 8, 1, NULL);
    for (int64_t position = 0; position <= 101; position++) {
        lamina__loader_start(loader, 3, position);
        check_rest(loader, made, 8, 1, NULL, 3, position);
    }
    lamina__loader_start(loader, 3, 1000); /* beyond the end: the end */
    CU_ASSERT_PTR_NULL(lamina__loader_next(loader));
    lamina__loader_close(loader);
}

static void test_epochs_differ(void) {
    made_source *made = make_source(200, 1);
    lamina__loader *loader = open_loader(made, 200, 1, NULL);
    float first[200];
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        lamina__loader_start(loader, epoch, 0);
        const lamina__batch *batch = lamina__loader_next(loader);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        int same = 0, in_order = 0;
        lamina__batch_fill(batch, 0, 200);
        for (int i = 0; i < 200; i++) {
            float value = batch->images[15 * i];
            same += epoch == 1 && value == first[i];
            in_order += value == (float)(pixel_of(i, 0) / 255.0);
            first[i] = value;
        }
        CU_ASSERT(same < 20 && in_order < 20);
    }
    lamina__loader_close(loader);
}

static void test_normalize(void) {
    made_source *made = make_source(20, 3);
    lamina__normalize each = {.mean = {.count = 3, .word = -1, .value = {0.5, 0.25, 0.1}},
                              .std = {.count = 3, .word = -1, .value = {0.3, 2, 0.01}}};
    lamina__normalize one = {.mean = {.count = 1, .word = -1, .value = {0.5}},
                             .std = {.count = 1, .word = -1, .value = {0.25}}};
    lamina__normalize spread = one; /* the same as `one`, as the check below reads it */
    for (int c = 0; c < 3; c++) {
        spread.mean.value[c] = 0.5;
        spread.std.value[c] = 0.25;
    }
    lamina__loader *loader = open_loader(made, 6, 0, &each);
    lamina__loader_start(loader, 0, 0);
    check_rest(loader, made, 6, 0, &each, 0, 0);
    lamina__loader_close(loader);
    loader = open_loader(made, 6, 0, &one);
    lamina__loader_start(loader, 0, 0);
    check_rest(loader, made, 6, 0, &spread, 0, 0);
    lamina__loader_close(loader);
}

static void refuse(const made_source *made, lamina__normalize normalize, const char *part) {
    lamina__loader_options options = {.batch = 4, .normalize = &normalize};
    lamina__loader *loader = (lamina__loader *)1;
    lamina_error error = {0};
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT_EQUAL(lamina__loader_open(&made->base, &options, &loader, &error),
                    LAMINA_ERROR_CONFIG);
    CU_ASSERT_PTR_NULL(loader);
    TEST_CONTAINS(error.message, part);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void test_bad_normalize(void) {
    made_source *made = make_source(20, 3);
    lamina__normalize good = {.mean = {.count = 1, .word = -1, .value = {0.5}},
                              .std = {.count = 1, .word = -1, .value = {0.25}}};
    lamina__normalize bad = good;
    bad.mean.count = 2;
    refuse(made, bad, "mean has 2 values but the images have 3 channels");
    bad = good;
    bad.std.count = 0;
    refuse(made, bad, "std has 0 values");
    bad = good;
    bad.std.value[0] = 0;
    refuse(made, bad, "std must be above 0");
    bad.std.value[0] = -1;
    refuse(made, bad, "std must be above 0");
    bad.std.value[0] = NAN;
    refuse(made, bad, "std must be finite");
    bad = good;
    bad.mean.value[0] = INFINITY;
    refuse(made, bad, "mean must be finite");
}

/* A batch stays what it was while the loader reads on, until next() is called again. */
static void test_batch_is_left_alone(void) {
    made_source *made = make_source(300, 1);
    lamina__loader *loader = open_loader(made, 10, 0, NULL);
    lamina__loader_start(loader, 0, 0);
    for (int64_t k = 0; k < 30; k++) {
        const lamina__batch *batch = lamina__loader_next(loader);
        CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
        if (k % 7 == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        CU_ASSERT_EQUAL(batch->position, 10 * k);
        lamina__batch_fill(batch, 0, 10);
        CU_ASSERT_EQUAL(batch->images[0], (float)(pixel_of(10 * k, 0) / 255.0));
        CU_ASSERT_EQUAL(batch->images[9 * 15], (float)(pixel_of(10 * k + 9, 0) / 255.0));
    }
    lamina__loader_close(loader);
}

/* start() and close() while the thread is anywhere in its work. */
static void test_restart_and_close_anywhere(void) {
    for (int round = 0; round < 60; round++) {
        made_source *made = make_source(100, 1);
        made->delay_ns = 1000 * (round % 5);
        lamina__loader *loader = open_loader(made, 9, 1, NULL);
        if (round % 3 > 0) {
            for (int64_t k = 0; k < 4; k++) {
                lamina__loader_start(loader, round + k, 9 * k);
                if (round % 3 == 2) {
                    const lamina__batch *batch = lamina__loader_next(loader);
                    CU_ASSERT_PTR_NOT_NULL_FATAL(batch);
                    CU_ASSERT_EQUAL(batch->epoch, round + k);
                    CU_ASSERT_EQUAL(batch->position, 9 * k);
                }
            }
            if (round % 2 == 0) {
                check_rest(loader, made, 9, 1, NULL, round + 3, round % 3 == 2 ? 36 : 27);
            }
        } else {
            CU_ASSERT_PTR_NULL(lamina__loader_next(loader)); /* not started */
        }
        lamina__loader_close(loader);
    }
    lamina__loader_close(NULL);
}

static void test_no_allocation(void) {
    made_source *made = make_source(101, 1);
    uint64_t live = lamina__alloc_count().live;
    lamina__loader *loader = open_loader(made, 8, 1, NULL);
    uint64_t calls = lamina__alloc_count().calls;
    for (int64_t epoch = 0; epoch < 5; epoch++) {
        lamina__loader_start(loader, epoch, 0);
        while (lamina__loader_next(loader) != NULL) {
        }
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, calls);
    lamina__loader_close(loader);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void made_numbers(const lamina__source *source, int64_t index, const uint8_t *pixels,
                         float *to) {
    (void)source;
    to[0] = (float)index;
    to[1] = (float)pixels[0]; /* those of the same sample */
}

/* Targets that are numbers come with their images. */
static void test_numbers(void) {
    made_source *made = make_source(101, 1);
    made->base.labels = NULL;
    made->base.numbers = made_numbers;
    made->base.target = (lamina_shape){LAMINA_F32, 2, {101, 2}};
    uint64_t live = lamina__alloc_count().live;
    lamina__loader *loader = open_loader(made, 8, 1, NULL);
    uint64_t calls = lamina__alloc_count().calls;
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        int64_t order[MAX_COUNT], position = 8 * epoch;
        const lamina__batch *got;
        order_of(made, 1, epoch, order);
        lamina__loader_start(loader, epoch, position);
        while ((got = lamina__loader_next(loader)) != NULL) {
            CU_ASSERT_PTR_NULL(got->labels);
            for (int64_t i = 0; i < got->samples; i++) {
                const int64_t index = order[position + i];
                CU_ASSERT_EQUAL(got->numbers[2 * i], (float)index);
                CU_ASSERT_EQUAL(got->numbers[2 * i + 1], (float)pixel_of(index, 0));
            }
            position += got->samples;
        }
        CU_ASSERT_EQUAL(position, 101);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, calls);
    lamina__loader_close(loader);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    made->base.numbers = NULL;
}

static void test_wait_seconds(void) {
    made_source *made = make_source(20, 1);
    made->delay_ns = 1000000;
    lamina__loader *loader = open_loader(made, 5, 0, NULL);
    CU_ASSERT_EQUAL(lamina__loader_wait_seconds(loader), 0.0);
    lamina__loader_start(loader, 0, 0);
    while (lamina__loader_next(loader) != NULL) {
    }
    CU_ASSERT(lamina__loader_wait_seconds(loader) > 0.01); /* 20 samples of 1 ms */
    CU_ASSERT(lamina__loader_wait_seconds(loader) < 60);
    lamina__loader_close(loader);
}

/* Signals are for the main thread: blocked here, they stay pending though the loader runs. */
static void test_signals(void) {
    sigset_t term, before, pending;
    made_source *made = make_source(100, 1);
    lamina__loader *loader = open_loader(made, 5, 0, NULL);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, &before);
    CU_ASSERT_EQUAL(sigismember(&before, SIGTERM), 0); /* open() put the mask back */
    kill(getpid(), SIGTERM);
    lamina__loader_start(loader, 0, 0);
    while (lamina__loader_next(loader) != NULL) {
    }
    sigpending(&pending);
    CU_ASSERT_EQUAL(sigismember(&pending, SIGTERM), 1);
    int received = 0;
    CU_ASSERT(sigwait(&term, &received) == 0 && received == SIGTERM);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    lamina__loader_close(loader);
}

static void test_out_of_memory(void) {
    made_source *made = make_source(20, 1);
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__loader_options options = {.batch = 4, .shuffle = 1};
        lamina__loader *loader = NULL;
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status = lamina__loader_open(&made->base, &options, &loader, &error);
        long failed = test_fail_allocation(0);
        CU_ASSERT_EQUAL(status, failed ? LAMINA_ERROR_MEMORY : LAMINA_OK);
        lamina__loader_close(loader);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        if (!failed) {
            CU_ASSERT(k > 7);
            break;
        }
    }
    lamina__loader_options options = {.batch = 4};
    lamina__loader *loader = NULL;
    lamina_error error = {0};
    made->base.height = made->base.width = INT32_MAX; /* bytes that overflow */
    CU_ASSERT_EQUAL(lamina__loader_open(&made->base, &options, &loader, &error),
                    LAMINA_ERROR_MEMORY);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

LAMINA_TESTS({"whole epochs", test_whole_epochs}, {"from any position", test_from_the_middle},
             {"epochs are shuffled differently", test_epochs_differ},
             {"normalisation", test_normalize}, {"bad normalisation", test_bad_normalize},
             {"a batch is left alone", test_batch_is_left_alone},
             {"restart and close anywhere", test_restart_and_close_anywhere},
             {"nothing allocated after open", test_no_allocation},
             {"targets that are numbers", test_numbers}, {"data wait", test_wait_seconds},
             {"takes no signals", test_signals},
             {"every allocation fails once", test_out_of_memory})
