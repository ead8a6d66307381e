/* A made-up data set, for tests, benchmarks and first steps without a download.
 *
 * Each class has a pattern of random grey cells, CELL x CELL pixels each. A sample of that class is
 *     pixel = (pattern + noise) / 2,   noise uniform in 0..255,
 * so a network learns it within some hundred samples, though not from any single pixel. Pixels are
 * made on request, so a large set needs no memory: a sample's noise is a piece of one table of
 * random bytes, from a place that is random by the sample. Making it costs little more than copying
 * it, so that a benchmark measures the network.
 *
 * With `targets: n` a sample has n numbers instead of a label, a smooth function of its J pixels
 * p[j] (0 to 1, in memory's order H,W,C):
 *     target[k] = sin(s[k])
 *     s[k] = 4 / sqrt(J) * sum over j of cos(pi (k+1) (j + 1/2) / J) (p[j] - 1/2)
 * that is, of its first frequencies; a linear layer comes close, a network closer. */
#include "base/alloc.h"
#include "base/philox.h"
#include "data/source.h"

#include <endian.h>
#include <inttypes.h>
#include <math.h>

#define CELL        4 /* pixels */
#define NOISE_BYTES ((int64_t)1 << 18)
/* Changes whenever the same config gives other pixels than before: it is in the fingerprint. */
#define RECIPE 2

typedef struct synthetic_config {
    int64_t samples, first, channels, height, width, classes, seed, targets;
} synthetic_config;

#define INTEGER(key, low, high, text, help)                                                        \
    {                                                                                              \
        .name = #key, .doc = help, .type = LAMINA_INT, .offset = offsetof(synthetic_config, key),  \
        .min = (low), .max = (high), .def = text                                                   \
    }

static const lamina_param synthetic_params[] = {
    INTEGER(samples, 1, 100000000, "1024", "How many samples there are."),
    INTEGER(first, 0, 1000000000000.0, "0",
            "Number of the first sample. With one seed, another range gives other samples of the "
            "same classes: use it for the test split."),
    INTEGER(channels, 1, 64, "1", "Channels of an image."),
    INTEGER(height, 1, 4096, "28", "Height of an image."),
    INTEGER(width, 1, 4096, "28", "Width of an image."),
    INTEGER(classes, 1, 10000, "10", "Number of classes."),
    INTEGER(seed, 0, 9007199254740992.0, "1", "Another seed gives other classes and samples."),
    INTEGER(targets, 0, 1000, "0",
            "Numbers to learn for each image, for regression: smooth functions of its pixels "
            "between -1 and 1; 0: the class is the label."),
};

/* Streams of LAMINA__RANDOM_SYNTHETIC: the first of their two numbers. */
enum { STREAM_LABELS, STREAM_PATTERN, STREAM_NOISE, STREAM_PLACE };

typedef struct synthetic_store {
    synthetic_config config;
    int64_t cells_y, cells_x;
    uint8_t *patterns; /* (classes, cells_y, cells_x, channels) */
    uint8_t *noise;    /* NOISE_BYTES; a sample goes on at the beginning when it reaches the end */
    int32_t *classes;  /* of each sample: also the source's labels, unless it has targets */
    double *waves;     /* (targets, pixels): the factors in s; NULL without targets */
} synthetic_store;

static lamina__stream stream(const synthetic_config *config, uint64_t kind, uint64_t number) {
    return lamina__stream_make((uint64_t)config->seed, LAMINA__RANDOM_SYNTHETIC, kind, number);
}

/* Bytes 4 * first .. of the stream. */
static void random_bytes(lamina__stream random, uint64_t first, uint8_t *dst, size_t n) {
    uint32_t words[64];
    for (size_t done = 0; done < n; first += 64) {
        lamina__stream_u32(random, first, words, 64);
        for (size_t i = 0; i < sizeof(words) && done < n; i++) {
            dst[done++] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
        }
    }
}

/* Bytes of an image that are made in one go. */
enum { CHUNK = 384 };

/* The cells' colours at bytes begin .. begin+n-1 of a row of pixels. */
static void spread_cells(const uint8_t *cells, int64_t channels, int64_t begin, int64_t n,
                         uint8_t colour[CHUNK]) {
    int64_t x = begin / channels, c = begin % channels;
    for (int64_t i = 0; i < n; i++) {
        colour[i] = cells[x / CELL * channels + c];
        if (++c == channels) {
            c = 0;
            x++;
        }
    }
}

static void mix(const uint8_t *restrict noise, const uint8_t *restrict colour, int64_t n,
                uint8_t *restrict pixel) {
    for (int64_t i = 0; i < n; i++) {
        pixel[i] = (uint8_t)((noise[i] + colour[i]) / 2);
    }
}

/* n bytes with the noise from place `at` on. */
static void add_noise(const synthetic_store *store, int64_t at, const uint8_t *colour, int64_t n,
                      uint8_t *pixel) {
    at %= NOISE_BYTES;
    const int64_t before_end = NOISE_BYTES - at < n ? NOISE_BYTES - at : n;
    mix(store->noise + at, colour, before_end, pixel);
    mix(store->noise, colour + before_end, n - before_end, pixel + before_end);
}

static const uint8_t *synthetic_sample(const lamina__source *source, int64_t index,
                                       uint8_t *buffer) {
    const synthetic_store *store = source->store;
    const int64_t channels = source->channels, row = source->width * channels;
    const int64_t cells_row = store->cells_x * channels;
    const uint8_t *pattern = store->patterns + store->classes[index] * store->cells_y * cells_row;
    const uint64_t number = (uint64_t)(store->config.first + index);
    const int64_t at = (int64_t)lamina__stream_below(stream(&store->config, STREAM_PLACE, 0),
                                                     number, (uint64_t)NOISE_BYTES);
    uint8_t colour[CHUNK];
    for (int64_t first = 0; first < source->height; first += CELL) {
        const int64_t last = first + CELL < source->height ? first + CELL : source->height;
        for (int64_t x = 0; x < row; x += CHUNK) {
            const int64_t n = row - x < CHUNK ? row - x : CHUNK;
            spread_cells(pattern + first / CELL * cells_row, channels, x, n, colour);
            for (int64_t y = first; y < last; y++) {
                add_noise(store, at + y * row + x, colour, n, buffer + y * row + x);
            }
        }
    }
    return buffer;
}

static int64_t pixels_of(const synthetic_config *config) {
    return config->channels * config->height * config->width;
}

static void synthetic_numbers(const lamina__source *source, int64_t index, const uint8_t *pixels,
                              float *to) {
    const synthetic_store *store = source->store;
    const int64_t n = pixels_of(&store->config);
    (void)index;
    for (int64_t k = 0; k < store->config.targets; k++) {
        double sum = 0;
        for (int64_t j = 0; j < n; j++) {
            sum += store->waves[k * n + j] * (pixels[j] / 255.0 - 0.5);
        }
        to[k] = (float)sin(sum);
    }
}

/* NULL: out of memory. */
static double *make_waves(const synthetic_config *config) {
    const int64_t n = pixels_of(config);
    double *waves = lamina__calloc((size_t)config->targets, (size_t)n * sizeof(*waves));
    for (int64_t k = 0; waves != NULL && k < config->targets; k++) {
        for (int64_t j = 0; j < n; j++) {
            const double angle = 3.14159265358979323846 * (double)(k + 1) * ((double)j + 0.5);
            waves[k * n + j] = 4 / sqrt((double)n) * cos(angle / (double)n);
        }
    }
    return waves;
}

static void free_store(synthetic_store *store) {
    if (store != NULL) {
        lamina__free(store->patterns);
        lamina__free(store->noise);
        lamina__free(store->classes);
        lamina__free(store->waves);
        lamina__free(store);
    }
}

static void synthetic_close(lamina__source *source) {
    free_store(source->store);
    lamina__free(source->description);
    lamina__free(source);
}

static char *describe(const synthetic_config *c) {
    lamina__text text = {0};
    lamina__text_add(&text,
                     "synthetic %" PRId64 "x%" PRId64 "x%" PRId64 ", %" PRId64
                     " classes, seed %" PRId64 ", samples %" PRId64 " to %" PRId64,
                     c->channels, c->height, c->width, c->classes, c->seed, c->first,
                     c->first + c->samples - 1);
    if (c->targets > 0) {
        lamina__text_add(&text, ", %" PRId64 " target%s", c->targets, c->targets == 1 ? "" : "s");
    }
    if (text.failed) {
        lamina__text_free(&text);
    }
    return text.data;
}

static int32_t *make_classes(const synthetic_config *config) {
    int32_t *labels = lamina__calloc((size_t)config->samples, sizeof(*labels));
    lamina__stream random = stream(config, STREAM_LABELS, 0);
    for (int64_t i = 0; labels != NULL && i < config->samples; i++) {
        labels[i] = (int32_t)lamina__stream_below(random, (uint64_t)(config->first + i),
                                                  (uint64_t)config->classes);
    }
    return labels;
}

static synthetic_store *make_store(const synthetic_config *config) {
    synthetic_store *store = lamina__calloc(1, sizeof(*store));
    if (store == NULL) {
        return NULL;
    }
    store->config = *config;
    store->cells_y = (config->height + CELL - 1) / CELL;
    store->cells_x = (config->width + CELL - 1) / CELL;
    size_t bytes = (size_t)(store->cells_y * store->cells_x * config->channels);
    store->patterns = lamina__calloc((size_t)config->classes, bytes);
    store->noise = lamina__alloc((size_t)NOISE_BYTES);
    store->classes = make_classes(config);
    store->waves = config->targets > 0 ? make_waves(config) : NULL;
    if (store->patterns == NULL || store->noise == NULL || store->classes == NULL ||
        (store->waves == NULL && config->targets > 0)) {
        free_store(store);
        return NULL;
    }
    random_bytes(stream(config, STREAM_NOISE, 0), 0, store->noise, (size_t)NOISE_BYTES);
    for (int64_t k = 0; k < config->classes; k++) {
        random_bytes(stream(config, STREAM_PATTERN, (uint64_t)k), 0,
                     store->patterns + (size_t)k * bytes, bytes);
    }
    return store;
}

static lamina_status synthetic_open(const void *values, lamina__source **result,
                                    lamina_error *error) {
    const synthetic_config *config = values;
    *result = NULL;
    lamina__source *source = lamina__calloc(1, sizeof(*source));
    if (source == NULL) {
        return lamina__fail_memory(error, "a data set");
    }
    *source = (lamina__source){
        .count = config->samples,
        .channels = config->channels,
        .height = config->height,
        .width = config->width,
        .description = describe(config),
        .sample = synthetic_sample,
        .numbers = synthetic_numbers,
        .close = synthetic_close,
        .store = make_store(config),
    };
    const synthetic_store *store = source->store;
    if (source->description == NULL || store == NULL) {
        synthetic_close(source);
        return lamina__fail_memory(error, "a synthetic data set");
    }
    if (config->targets > 0) {
        source->target = (lamina_shape){
            .dtype = LAMINA_F32, .ndim = 2, .dim = {config->samples, config->targets}};
    } else {
        source->labels = store->classes;
    }
    const uint64_t recipe[] = {htole64(RECIPE), htole64((uint64_t)config->first),
                               htole64((uint64_t)config->classes), htole64((uint64_t)config->seed)};
    lamina__source_finish(source, recipe, sizeof(recipe));
    *result = source;
    return LAMINA_OK;
}

const lamina__reader lamina__synthetic_reader = {
    .name = "synthetic",
    .doc = "Made-up images: a random pattern for each class, with noise; needs no files.",
    .config_size = sizeof(synthetic_config),
    .params = synthetic_params,
    .n_params = sizeof(synthetic_params) / sizeof(synthetic_params[0]),
    .open = synthetic_open,
};
