/* layer_norm: the values of each sample get mean 0 and variance 1, then each place of a sample a
 * scale and a shift that are learned.
 *
 *   y = weight xhat + bias,   xhat = (x - mean) / sqrt(variance + eps)
 *   dx = (d xhat - mean of d xhat - xhat (mean of d xhat xhat)) / sqrt(variance + eps)
 *
 * with d xhat = weight dy and means over a row: a sample, all of it, or with `over: channels` the
 * channels of one pixel. weight and bias have a row's shape, (C, H, W) or (F) or (C); d_bias = sum
 * dy and d_weight = sum dy xhat over the rows. The same while training and evaluating. Any shape
 * with the samples first, the same out. Ba, Kiros and Hinton 2016; docs/mathematics.md. */
#include "layers/channels.h"
#include "layers/norm.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

enum { OVER_SAMPLE = 0, OVER_CHANNELS = 1 };

typedef struct layer_norm_config {
    int32_t over;
    double eps;
    int32_t affine;
} layer_norm_config;

typedef struct layer_norm {
    const layer_norm_config *config;
    const lamina__channels_isa *isa;
    int64_t length; /* of a row */
    int64_t rows;   /* of a sample */
    int32_t threads;
    int32_t saves; /* 1: saved[0] has the rows' moments for backward */
} layer_norm;

enum {
    LANES = 64,       /* sums side by side */
    WIDE = 256,       /* at most a wide row of one channel */
    GRAIN = 8192,     /* numbers: less is not worth a thread */
    GRAIN_PLACES = 64 /* of a row, for the weights' gradients */
};

#define FIELD(name) offsetof(layer_norm_config, name)

static const char *const over_words[] = {"sample", "channels", NULL};

static const lamina_param params[] = {
    {.name = "over",
     .doc = "What has a mean and variance of its own: a `sample`, or the `channels` of each pixel.",
     .type = LAMINA_ENUM,
     .offset = FIELD(over),
     .def = "sample",
     .choices = over_words},
    LAMINA__EPS_PARAM(FIELD(eps),
                      "Added to the variance, so that constant values are not divided by 0."),
    LAMINA__AFFINE_PARAM(FIELD(affine), "Whether each place has a learned weight and bias.",
                         "true"),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(layer_norm), self);
}

/* Of a row's shape: of an image (C, H, W), in memory (H, W, C). */
static int32_t add_weights(lamina_call *call, const lamina_shape *in, int32_t over) {
    lamina_weight weight = {.shape = {.dtype = LAMINA__REAL_DTYPE}};
    weight.shape.ndim = over == OVER_CHANNELS ? 1 : in->ndim - 1;
    memcpy(weight.shape.dim, in->dim + 1, (size_t)weight.shape.ndim * sizeof *in->dim);
    if (weight.shape.ndim == 3) {
        weight.order_ndim = 3;
        memcpy(weight.order_dim, weight.shape.dim, sizeof weight.order_dim);
        weight.order_stride[0] = 1;
        weight.order_stride[1] = in->dim[3] * in->dim[1];
        weight.order_stride[2] = in->dim[1];
    }
    return lamina__add_affine(call, weight);
}

/* Saved of each row: mean, what rounding it left, 1 / sqrt(variance + eps). */
typedef struct moments {
    lamina_real mean, rest, inverse;
} moments;

enum { MOMENTS = sizeof(moments) / sizeof(lamina_real) };

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    layer_norm *norm = self;
    const lamina_shape *in = setup->in[0];
    const int64_t all = lamina__sample_size(in);

    norm->length = norm->config->over == OVER_CHANNELS && in->ndim > 1 ? in->dim[1] : all;
    norm->rows = all / norm->length;
    norm->threads = setup->threads;
    norm->isa = LAMINA__REAL_NAME(channels_to_use)();
    norm->saves = setup->training;
    if (norm->rows > 1 && in->ndim != 4) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "over channels it needs images (N, C, H, W) or features (N, C), "
                                "got %d dimensions",
                                (int)in->ndim);
    }
    if (norm->length == 1) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs more than one value to normalise: one alone is its own "
                                "mean, so nothing of it would be left");
    }
    int32_t status = norm->config->affine ? add_weights(call, in, norm->config->over) : LAMINA_OK;
    if (status >= 0 && norm->saves) {
        const lamina_shape saved = {
            .dtype = LAMINA__REAL_DTYPE, .ndim = 3, .dim = {in->dim[0], norm->rows, MOMENTS}};
        status = call->host->add_saved(call, "moments", &saved);
    }
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* ---- One call, as the threads share it ----------------------------------------------------- */

typedef struct work {
    const layer_norm *norm;
    const lamina_io *io;
    const lamina_real *weight, *bias; /* NULL: 1 and 0 */
    const lamina_real *x, *dy;
    moments *saved; /* (N, rows); NULL: nobody asks */
    lamina_real *y, *dx;
} work;

static work begin_call(const layer_norm *norm, const lamina_io *io) {
    const int affine = norm->config->affine;
    return (work){.norm = norm,
                  .io = io,
                  .weight = affine ? io->weight[0]->data : NULL,
                  .bias = affine ? io->weight[1]->data : NULL,
                  .saved = norm->saves ? io->saved[0]->data : NULL,
                  .x = io->in[0]->data};
}

/* A row is one channel of `length` pixels. */
static moments moments_of(const layer_norm *norm, const lamina_real *x) {
    const int64_t length = norm->length;
    const lamina__channels rows = lamina__channels_for(norm->isa, 1, length);
    lamina_real shift[WIDE], sum[WIDE], square[WIDE];
    LAMINA__REAL_NAME(channels_moments)(&rows, x, length, shift, sum, square);
    const double from_shift = (double)sum[0] / (double)length;
    const double mean = (double)shift[0] + from_shift;
    const double all = (double)square[0] - (double)sum[0] * from_shift;
    moments m = {.mean = (lamina_real)mean};
    m.rest = (lamina_real)(mean - (double)m.mean);
    m.inverse = (lamina_real)(1 / sqrt((all < 0 ? 0 : all) / (double)length + norm->config->eps));
    return m;
}

LAMINA__VECTOR_CLONES
static void write_row(const lamina_real *restrict x, int64_t length, moments m,
                      const lamina_real *restrict weight, const lamina_real *restrict bias,
                      lamina_real *restrict y) {
    const lamina_real rest = m.rest * m.inverse;
    if (weight == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < length; i++) {
            y[i] = (x[i] - m.mean) * m.inverse - rest;
        }
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < length; i++) {
        y[i] = ((x[i] - m.mean) * m.inverse - rest) * weight[i] + bias[i];
    }
}

/* Rows begin .. end-1, counted through all samples. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t length = w->norm->length;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const moments m = moments_of(w->norm, w->x + i * length);
        if (w->saved != NULL) {
            w->saved[i] = m;
        }
        write_row(w->x + i * length, length, m, w->weight, w->bias, w->y + i * length);
    }
    return LAMINA_OK;
}

/* Sums over a row of d xhat = weight dy, and of d xhat (x - mean), by lanes. */
LAMINA__VECTOR_CLONES
static void sum_row(const lamina_real *restrict x, const lamina_real *restrict dy, int64_t length,
                    lamina_real mean, const lamina_real *restrict weight, lamina_real *restrict sum,
                    lamina_real *restrict product) {
    for (int64_t i = 0; i < length; i += LANES) {
        const int64_t n = length - i < LANES ? length - i : LANES;
#pragma omp simd
        for (int64_t l = 0; l < n; l++) {
            const lamina_real d = weight != NULL ? weight[i + l] * dy[i + l] : dy[i + l];
            sum[l] += d;
            product[l] += d * (x[i + l] - mean);
        }
    }
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; l++) {
            sum[l] += sum[l + half];
            product[l] += product[l + half];
        }
    }
}

LAMINA__VECTOR_CLONES
static void write_d_row(const lamina_real *restrict x, const lamina_real *restrict dy,
                        int64_t length, moments m, const lamina_real *restrict weight,
                        lamina_real slope, lamina_real offset, lamina_real *restrict dx) {
#pragma omp simd
    for (int64_t i = 0; i < length; i++) {
        const lamina_real d = weight != NULL ? weight[i] * dy[i] : dy[i];
        dx[i] = d * m.inverse + ((x[i] - m.mean) * slope + offset);
    }
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t length = w->norm->length;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const moments m = w->saved[i];
        const lamina_real *x = w->x + i * length, *dy = w->dy + i * length;
        lamina_real sum[LANES] = {0}, product[LANES] = {0};
        sum_row(x, dy, length, m.mean, w->weight, sum, product);
        const double rest = (double)m.rest, inverse = (double)m.inverse;
        const double of_xhat = ((double)product[0] - rest * (double)sum[0]) * inverse;
        const double slope = -inverse * inverse * of_xhat / (double)length;
        const double offset = -inverse * (double)sum[0] / (double)length - slope * rest;
        write_d_row(x, dy, length, m, w->weight, (lamina_real)slope, (lamina_real)offset,
                    w->dx + i * length);
    }
    return LAMINA_OK;
}

/* ---- The weights' gradients ---------------------------------------------------------------- */

LAMINA__VECTOR_CLONES
static void add_row(const lamina_real *restrict x, const lamina_real *restrict dy, int64_t n,
                    moments m, lamina_real *restrict d_weight, lamina_real *restrict d_bias) {
    const lamina_real rest = m.rest * m.inverse;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        d_weight[i] += dy[i] * ((x[i] - m.mean) * m.inverse - rest);
        d_bias[i] += dy[i];
    }
}

/* Places begin .. end-1 of a row. The rows of a sample are summed up by themselves, so that sums of
 * many pixels keep their digits. */
static int32_t weights_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t length = w->norm->length, rows = w->norm->rows;
    lamina_real *d_weight = w->io->d_weight[0] != NULL ? w->io->d_weight[0]->data : NULL;
    lamina_real *d_bias = w->io->d_weight[1] != NULL ? w->io->d_weight[1]->data : NULL;
    (void)thread;
    for (int64_t first = begin; first < end; first += LANES) {
        const int64_t n = end - first < LANES ? end - first : LANES;
        for (int64_t sample = 0; sample < w->io->samples; sample++) {
            lamina_real sum_weight[LANES] = {0}, sum_bias[LANES] = {0};
            for (int64_t i = sample * rows; i < (sample + 1) * rows; i++) {
                const int64_t at = i * length + first;
                add_row(w->x + at, w->dy + at, n, w->saved[i], sum_weight, sum_bias);
            }
            for (int64_t l = 0; d_weight != NULL && l < n; l++) {
                d_weight[first + l] += sum_weight[l];
            }
            for (int64_t l = 0; d_bias != NULL && l < n; l++) {
                d_bias[first + l] += sum_bias[l];
            }
        }
    }
    return LAMINA_OK;
}

/* ---- The layer ----------------------------------------------------------------------------- */

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = begin_call(self, io);
    w.y = io->out[0]->data;
    return lamina__spread(call, w.norm->threads, io->samples * w.norm->rows,
                          GRAIN / w.norm->length + 1, forward_range, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = begin_call(self, io);
    int32_t status = LAMINA_OK;
    w.dy = io->d_out[0]->data;
    if (w.weight != NULL && (io->d_weight[0] != NULL || io->d_weight[1] != NULL)) {
        status =
            lamina__spread(call, w.norm->threads, w.norm->length, GRAIN_PLACES, weights_range, &w);
    }
    if (io->d_in[0] == NULL || status != LAMINA_OK) {
        return status;
    }
    w.dx = io->d_in[0]->data;
    return lamina__spread(call, w.norm->threads, io->samples * w.norm->rows,
                          GRAIN / w.norm->length + 1, backward_range, &w);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [2, 5, 3, 4], params: {over: channels, eps: 0.01}}",
                                    "{input: [2, 3, 17], params: {affine: false}}", NULL};

const lamina_layer_type LAMINA__LAYER(layer_norm) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "layer_norm",
    .doc = "Gives the values of each sample mean 0 and variance 1, then each a learned scale and "
           "shift.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(layer_norm_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
