/* Normalisation. A pixel has 256 values, so a table holds what each becomes; where a straight line
 * gives the same to the bit, it is used instead: it needs no look-up and goes in vectors. */
#include "data/pixels.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/error.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LEVELS 256 /* values of a pixel */
#define RUN    64  /* pixels that are normalised in one go */

const lamina_param lamina__normalize_params[] = {
    {.name = "mean",
     .doc = "Subtracted from each pixel, which is in 0..1 before; one value, or one for each "
            "channel.",
     .type = LAMINA_REAL_LIST,
     .offset = offsetof(lamina__normalize, mean),
     .def = "0",
     .max_count = LAMINA_MAX_LIST},
    {.name = "std",
     .doc = "What each pixel is divided by after that; one value, or one for each channel.",
     .type = LAMINA_REAL_LIST,
     .offset = offsetof(lamina__normalize, std),
     .min = DBL_MIN,
     .max = DBL_MAX,
     .def = "1",
     .max_count = LAMINA_MAX_LIST},
};
const size_t lamina__normalize_n_params =
    sizeof(lamina__normalize_params) / sizeof(lamina__normalize_params[0]);

struct lamina__pixels {
    int64_t channels;
    float *table; /* (channels, LEVELS): a pixel's normalised value */
    double
        *line; /* what gives the same to the bit: RUN * channels factors, as many terms; or NULL */
};

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

void lamina__pixels_normalize(const lamina__pixels *p, const uint8_t *from, int64_t n, float *to) {
    const int64_t channels = p->channels, run = RUN * channels;
    if (p->line != NULL && channels == 1) {
        along_one_line(from, p->line[0], p->line[run], n, to);
        return;
    }
    for (int64_t i = 0; p->line != NULL && i < n; i += run) {
        along_line(from + i, p->line, p->line + run, n - i < run ? n - i : run, to + i);
    }
    for (int64_t i = 0; p->line == NULL && i < n; i += channels) {
        for (int64_t c = 0; c < channels; c++) {
            to[i + c] = p->table[c * LEVELS + from[i + c]];
        }
    }
}

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
static lamina_status make_line(lamina__pixels *p, const lamina__normalize *values,
                               lamina_error *error) {
    const int64_t channels = p->channels, run = RUN * channels;
    p->line = lamina__calloc((size_t)(2 * run), sizeof(double));
    if (p->line == NULL) {
        return lamina__fail_memory(error, "the normalisation");
    }
    bool same = true;
    for (int64_t i = 0; i < run; i++) {
        const int64_t c = i % channels;
        const double mean = values->mean.value[values->mean.count == 1 ? 0 : c];
        const double std = values->std.value[values->std.count == 1 ? 0 : c];
        p->line[i] = 1 / (255 * std);
        p->line[run + i] = -mean / std;
        for (int x = 0; i < channels && x < LEVELS; x++) {
            const float y = (float)(x * p->line[i] + p->line[run + i]);
            same = same && memcmp(&y, &p->table[c * LEVELS + x], sizeof(y)) == 0;
        }
    }
    if (!same) {
        lamina__free(p->line);
        p->line = NULL;
    }
    return LAMINA_OK;
}

/* Each entry is computed in double and rounded once. */
static lamina_status make_table(lamina__pixels *p, const lamina__normalize *values,
                                lamina_error *error) {
    p->table = lamina__calloc((size_t)p->channels, LEVELS * sizeof(float));
    if (p->table == NULL) {
        return lamina__fail_memory(error, "the normalisation");
    }
    for (int64_t c = 0; c < p->channels; c++) {
        double mean = values->mean.value[values->mean.count == 1 ? 0 : c];
        double std = values->std.value[values->std.count == 1 ? 0 : c];
        for (int x = 0; x < LEVELS; x++) {
            p->table[c * LEVELS + x] = (float)((x / 255.0 - mean) / std);
        }
    }
    return make_line(p, values, error);
}

lamina_status lamina__pixels_make(const lamina__normalize *values, int64_t channels,
                                  lamina__pixels **result, lamina_error *error) {
    static const lamina__normalize none = {.mean = {.count = 1, .word = -1, .value = {0}},
                                           .std = {.count = 1, .word = -1, .value = {1}}};
    *result = NULL;
    lamina__pixels *p = lamina__calloc(1, sizeof(*p));
    if (p == NULL) {
        return lamina__fail_memory(error, "the normalisation");
    }
    p->channels = channels;
    values = values ? values : &none;
    lamina_status status = check_normalize(values, channels, error);
    if (status == LAMINA_OK) {
        status = make_table(p, values, error);
    }
    if (status != LAMINA_OK) {
        lamina__pixels_free(p);
        return status;
    }
    *result = p;
    return LAMINA_OK;
}

void lamina__pixels_free(lamina__pixels *p) {
    if (p != NULL) {
        lamina__free(p->table);
        lamina__free(p->line);
        lamina__free(p);
    }
}
