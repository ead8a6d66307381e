/* The synthetic reader: the same on every request, different where it should be, and learnable. */
#include "base/alloc.h"
#include "data/source.h"
#include "support.h"

#include <math.h>
#include <pthread.h>

extern const lamina__reader lamina__synthetic_reader;

typedef struct setting {
    const char *name;
    int64_t value;
} setting;

static const lamina_param *find(const char *name) {
    for (size_t i = 0; i < lamina__synthetic_reader.n_params; i++) {
        if (strcmp(lamina__synthetic_reader.params[i].name, name) == 0) {
            return &lamina__synthetic_reader.params[i];
        }
    }
    return NULL;
}

/* The defaults, changed by settings (ended by a NULL name). */
static lamina_status open_with(const setting *settings, lamina__source **source,
                               lamina_error *error) {
    _Alignas(16) char config[128] = {0};
    CU_ASSERT_FATAL(lamina__synthetic_reader.config_size <= sizeof(config));
    for (size_t i = 0; i < lamina__synthetic_reader.n_params; i++) {
        const lamina_param *param = &lamina__synthetic_reader.params[i];
        *(int64_t *)(void *)(config + param->offset) = strtoll(param->def, NULL, 10);
    }
    for (; settings->name != NULL; settings++) {
        const lamina_param *param = find(settings->name);
        CU_ASSERT_PTR_NOT_NULL_FATAL(param);
        *(int64_t *)(void *)(config + param->offset) = settings->value;
    }
    return lamina__synthetic_reader.open(config, source, error);
}

static lamina__source *open_good(const setting *settings) {
    lamina__source *source = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(open_with(settings, &source, &error), LAMINA_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    return source;
}

#define OPEN(...) open_good((const setting[]){__VA_ARGS__, {NULL, 0}})

#define PIXELS 784

static void test_defaults(void) {
    lamina__source *source = OPEN({"first", 0});
    int64_t seen[10] = {0};
    CU_ASSERT_EQUAL(source->count, 1024);
    CU_ASSERT_EQUAL(source->height * source->width * source->channels, PIXELS);
    CU_ASSERT_EQUAL(source->classes, 10);
    for (int64_t i = 0; i < source->count; i++) {
        CU_ASSERT_FATAL(source->labels[i] >= 0 && source->labels[i] < 10);
        seen[source->labels[i]]++;
    }
    for (int k = 0; k < 10; k++) {
        CU_ASSERT(seen[k] > 60 && seen[k] < 150); /* 102 expected, 9.6 standard deviation */
    }
    TEST_CONTAINS(source->description, "synthetic 1x28x28, 10 classes");
    lamina__source_close(source);
}

static void test_deterministic(void) {
    lamina__source *a = OPEN({"samples", 50}), *b = OPEN({"samples", 50});
    uint8_t x[PIXELS], y[PIXELS];
    CU_ASSERT_EQUAL(a->fingerprint, b->fingerprint);
    for (int64_t i = 0; i < 50; i++) {
        CU_ASSERT(memcmp(a->sample(a, i, x), b->sample(b, i, y), PIXELS) == 0);
    }
    CU_ASSERT(memcmp(a->sample(a, 0, x), a->sample(a, 1, y), PIXELS) != 0);
    lamina__source_close(a);
    lamina__source_close(b);
}

/* `first` moves along one endless set; `seed` makes another. */
static void test_ranges_and_seeds(void) {
    lamina__source *all = OPEN({"samples", 50}), *tail = OPEN({"samples", 20}, {"first", 30});
    lamina__source *other = OPEN({"samples", 50}, {"seed", 2});
    uint8_t x[PIXELS], y[PIXELS];
    for (int64_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(tail->labels[i], all->labels[30 + i]);
        CU_ASSERT(memcmp(tail->sample(tail, i, x), all->sample(all, 30 + i, y), PIXELS) == 0);
        CU_ASSERT(memcmp(other->sample(other, i, x), all->sample(all, i, y), PIXELS) != 0);
    }
    CU_ASSERT(tail->fingerprint != all->fingerprint && other->fingerprint != all->fingerprint);
    lamina__source_close(all);
    lamina__source_close(tail);
    lamina__source_close(other);
}

/* The class mean of one range tells the classes of another range apart: there is something to
 * learn, and it is the same in the training and the test split. */
static void test_learnable(void) {
    lamina__source *train = OPEN({"samples", 500}), *test = OPEN({"samples", 200}, {"first", 500});
    static double mean[10][PIXELS];
    double seen[10] = {0};
    uint8_t buffer[PIXELS];
    int right = 0;
    memset(mean, 0, sizeof(mean));
    for (int64_t i = 0; i < 500; i++) {
        const uint8_t *pixels = train->sample(train, i, buffer);
        int32_t label = train->labels[i];
        seen[label]++;
        for (int p = 0; p < PIXELS; p++) {
            mean[label][p] += (pixels[p] - mean[label][p]) / seen[label];
        }
    }
    for (int64_t i = 0; i < 200; i++) {
        const uint8_t *pixels = test->sample(test, i, buffer);
        double best = 1e30;
        int32_t guess = -1;
        for (int32_t k = 0; k < 10; k++) {
            double distance = 0;
            for (int p = 0; p < PIXELS; p++) {
                distance += (pixels[p] - mean[k][p]) * (pixels[p] - mean[k][p]);
            }
            guess = distance < best ? k : guess;
            best = distance < best ? distance : best;
        }
        right += guess == test->labels[i];
    }
    CU_ASSERT(right >= 190);
    lamina__source_close(train);
    lamina__source_close(test);
}

/* The function of the pixels that the reader's file documents. */
static void test_targets(void) {
    lamina__source *plain = OPEN({"samples", 20});
    lamina__source *source = OPEN({"samples", 20}, {"targets", 3});
    CU_ASSERT_PTR_NULL(source->labels);
    CU_ASSERT_EQUAL(source->classes, 0);
    CU_ASSERT(source->target.ndim == 2 && source->target.dim[0] == 20 &&
              source->target.dim[1] == 3);
    CU_ASSERT(source->fingerprint != plain->fingerprint);
    TEST_CONTAINS(source->description, ", samples 0 to 19, 3 targets");
    double smallest = 1, largest = -1;
    for (int64_t i = 0; i < 20; i++) {
        uint8_t x[PIXELS], y[PIXELS];
        float to[3];
        const uint8_t *pixels = source->sample(source, i, x);
        CU_ASSERT(memcmp(pixels, plain->sample(plain, i, y), PIXELS) == 0);
        source->numbers(source, i, pixels, to);
        for (int k = 0; k < 3; k++) {
            double sum = 0;
            for (int j = 0; j < PIXELS; j++) {
                sum += cos(acos(-1) * (k + 1) * (j + 0.5) / PIXELS) * (pixels[j] / 255.0 - 0.5);
            }
            CU_ASSERT_DOUBLE_EQUAL(to[k], sin(4 / sqrt(PIXELS) * sum), 1e-5);
            smallest = fmin(smallest, (double)to[k]);
            largest = fmax(largest, (double)to[k]);
        }
    }
    CU_ASSERT(smallest < -0.2 && largest > 0.2); /* there is something to learn */
    lamina__source_close(plain);
    lamina__source_close(source);
}

static void test_shapes(void) {
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {64, 2, 3}, {2, 33, 4}};
    for (size_t i = 0; i < 4; i++) {
        lamina__source *source = OPEN({"channels", shapes[i][0]}, {"height", shapes[i][1]},
                                      {"width", shapes[i][2]}, {"samples", 3}, {"classes", 2});
        size_t bytes = (size_t)(shapes[i][0] * shapes[i][1] * shapes[i][2]);
        uint8_t buffer[1024];
        memset(buffer, 0xee, sizeof(buffer));
        CU_ASSERT_PTR_EQUAL(source->sample(source, 2, buffer), buffer);
        for (size_t b = bytes; b < bytes + 16; b++) {
            CU_ASSERT_EQUAL(buffer[b], 0xee);
        }
        lamina__source_close(source);
    }
}

typedef struct reader_thread {
    lamina__source *source;
    uint64_t sum;
} reader_thread;

static void *sum_samples(void *arg) {
    reader_thread *thread = arg;
    uint8_t buffer[PIXELS];
    for (int64_t i = 0; i < thread->source->count; i++) {
        const uint8_t *pixels = thread->source->sample(thread->source, i, buffer);
        for (int p = 0; p < PIXELS; p++) {
            thread->sum = thread->sum * 31 + pixels[p];
        }
    }
    return NULL;
}

static void test_threads(void) {
    reader_thread threads[4] = {0};
    pthread_t ids[4];
    lamina__source *source = OPEN({"samples", 64});
    uint64_t calls = lamina__alloc_count().calls;
    for (int i = 0; i < 4; i++) {
        threads[i].source = source;
        CU_ASSERT_FATAL(pthread_create(&ids[i], NULL, sum_samples, &threads[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        CU_ASSERT_EQUAL(threads[i].sum, threads[0].sum);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().calls, calls);
    lamina__source_close(source);
}

static void test_out_of_memory(void) {
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__source *source = NULL;
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status = open_with((const setting[]){{NULL, 0}}, &source, &error);
        long failed = test_fail_allocation(0);
        CU_ASSERT_EQUAL(status, failed ? LAMINA_ERROR_MEMORY : LAMINA_OK);
        CU_ASSERT(failed ? source == NULL : source != NULL);
        lamina__source_close(source);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        if (!failed) {
            CU_ASSERT(k > 4);
            break;
        }
    }
}

LAMINA_TESTS({"defaults", test_defaults}, {"the same every time", test_deterministic},
             {"ranges and seeds", test_ranges_and_seeds},
             {"train and test share what there is to learn", test_learnable},
             {"targets", test_targets}, {"any shape, nothing written beyond it", test_shapes},
             {"any thread", test_threads}, {"every allocation fails once", test_out_of_memory})
