/* lrn, local response normalisation: each value is divided by a power of the squares around it, in
 * the neighbouring channels of its pixel.
 *
 *   y[c] = x[c] s[c]^-beta,   s[c] = k + alpha/size (sum of x[j]^2, j = c - size/2 .. c +
 * (size-1)/2)
 *
 * with halves rounded down, and only channels that there are. s[j] depends on x[c] wherever c is
 * around j, so that
 *
 *   dx[c] = dy[c] s[c]^-beta - 2 alpha beta / size x[c] (sum of dy[j] y[j] / s[j])
 *
 * over j = c - (size-1)/2 .. c + size/2. Alpha is divided by size, as in torch.nn and Caffe. The
 * same while training and evaluating. (N, C, H, W) or (N, C), the same out. Krizhevsky, Sutskever
 * and Hinton 2012; docs/mathematics.md. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"

#include <string.h>

typedef struct lrn_config {
    int64_t size;
    double alpha, beta, k;
} lrn_config;

typedef struct lrn {
    const lrn_config *config;
    int64_t channels;
    int64_t pixels; /* of a sample */
    int32_t threads;
} lrn;

enum { GRAIN = 4096 /* numbers: less is not worth a thread */ };

#define FIELD(name) offsetof(lrn_config, name)

static const lamina_param params[] = {
    {.name = "size",
     .doc = "Neighbouring channels whose squares are summed, the channel itself among them.",
     .type = LAMINA_INT,
     .required = 1,
     .offset = FIELD(size),
     .min = 1,
     .max = 65536},
    {.name = "alpha",
     .doc = "Factor of the mean of the squares over `size` channels.",
     .type = LAMINA_REAL,
     .offset = FIELD(alpha),
     .min = 0,
     .max = 1e6,
     .def = "1e-4"},
    {.name = "beta",
     .doc = "The power.",
     .type = LAMINA_REAL,
     .offset = FIELD(beta),
     .min = 0,
     .max = 100,
     .def = "0.75"},
    {.name = "k",
     .doc = "Added to the squares.",
     .type = LAMINA_REAL,
     .offset = FIELD(k),
     .min = 0,
     .max = 1e6,
     .def = "1"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lrn), self);
}

/* Numbers of a thread's scratch: a row of the pixel's channels between two margins, and two plain
 * ones. */
static int64_t margin(const lrn *norm) {
    return norm->config->size < norm->channels ? norm->config->size : norm->channels;
}

static int64_t scratch_numbers(const lrn *norm) {
    return (3 * norm->channels + 2 * margin(norm) + 15) / 16 * 16;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lrn *norm = self;
    const lamina_shape *in = setup->in[0];

    if (in->ndim != 4 && in->ndim != 2) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs images (N, C, H, W) or features (N, C), got %d dimensions",
                                (int)in->ndim);
    }
    norm->channels = in->dim[1];
    norm->pixels = in->ndim == 4 ? in->dim[2] * in->dim[3] : 1;
    norm->threads = setup->threads > 0 ? setup->threads : 1;
    const int32_t status = call->host->add_scratch(
        call, (size_t)norm->threads * (size_t)scratch_numbers(norm) * sizeof(lamina_real));
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* ---- One call, as the threads share it ----------------------------------------------------- */

typedef struct work {
    const lrn *norm;
    const lamina_real *x, *dy;
    lamina_real *y, *dx;
    lamina_real *scratch; /* (threads, scratch_numbers) */
} work;

/* A thread's arrays of channels. */
typedef struct rows {
    lamina_real *around; /* with zeros before and after it */
    lamina_real *sum;    /* s */
    lamina_real *power;  /* s^-beta */
} rows;

static rows rows_of(const work *w, int32_t thread) {
    const int64_t channels = w->norm->channels, edge = margin(w->norm);
    lamina_real *own = w->scratch + thread * scratch_numbers(w->norm);
    memset(own, 0, (size_t)edge * sizeof *own);
    memset(own + edge + channels, 0, (size_t)edge * sizeof *own);
    return (rows){own + edge, own + 2 * edge + channels, own + 2 * edge + 2 * channels};
}

/* sum[c] = first + factor (around[c - before] + ... + around[c + after]). Wider margins than there
 * are channels would add zeros only. */
LAMINA__VECTOR_CLONES
static void sum_around(const lrn *norm, const lamina_real *restrict around, int64_t before,
                       int64_t after, lamina_real factor, lamina_real first,
                       lamina_real *restrict sum) {
    const int64_t channels = norm->channels, edge = margin(norm);
    before = before < edge ? before : edge;
    after = after < edge ? after : edge;
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        sum[c] = 0;
    }
    for (int64_t d = -before; d <= after; d++) {
        const lamina_real *shifted = around + d;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            sum[c] += shifted[c];
        }
    }
#pragma omp simd
    for (int64_t c = 0; c < channels; c++) {
        sum[c] = first + factor * sum[c];
    }
}

static inline lamina_real root(lamina_real x) {
    return LAMINA_LAYERS_F64 ? (lamina_real)sqrt((double)x) : (lamina_real)sqrtf((float)x);
}

/* s^-beta; by roots, which are vector instructions, for the usual beta. */
LAMINA__VECTOR_CLONES
static void take_power(const lamina_real *restrict s, int64_t n, double beta,
                       lamina_real *restrict power) {
    if (beta == 0.75) {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) {
            const lamina_real half = root(s[c]);
            power[c] = 1 / (half * root(half));
        }
        return;
    }
    for (int64_t c = 0; c < n; c++) {
        power[c] = LAMINA_LAYERS_F64 ? (lamina_real)pow((double)s[c], -beta)
                                     : (lamina_real)powf((float)s[c], (float)-beta);
    }
}

LAMINA__VECTOR_CLONES
static void multiply(const lamina_real *restrict a, const lamina_real *restrict b, int64_t n,
                     lamina_real *restrict result) {
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        result[c] = a[c] * b[c];
    }
}

/* s and s^-beta of a pixel. */
static void normalisers(const lrn *norm, const lamina_real *x, const rows *r) {
    const lrn_config *config = norm->config;
    const int64_t size = config->size;
    multiply(x, x, norm->channels, r->around);
    sum_around(norm, r->around, size / 2, (size - 1) / 2,
               (lamina_real)(config->alpha / (double)size), (lamina_real)config->k, r->sum);
    take_power(r->sum, norm->channels, config->beta, r->power);
}

/* Pixels begin .. end-1, counted through all samples. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t channels = w->norm->channels;
    const rows r = rows_of(w, thread);
    for (int64_t i = begin; i < end; i++) {
        normalisers(w->norm, w->x + i * channels, &r);
        multiply(w->x + i * channels, r.power, channels, w->y + i * channels);
    }
    return LAMINA_OK;
}

/* around = dy y / s, y being x power. */
LAMINA__VECTOR_CLONES
static void pull(const lamina_real *restrict x, const lamina_real *restrict dy, const rows *r,
                 int64_t n) {
    lamina_real *restrict around = r->around;
    const lamina_real *restrict sum = r->sum, *restrict power = r->power;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        around[c] = dy[c] * (x[c] * power[c]) / sum[c];
    }
}

LAMINA__VECTOR_CLONES
static void write_dx(const lamina_real *restrict x, const lamina_real *restrict dy, const rows *r,
                     int64_t n, lamina_real *restrict dx) {
    const lamina_real *restrict sum = r->sum, *restrict power = r->power;
#pragma omp simd
    for (int64_t c = 0; c < n; c++) {
        dx[c] = dy[c] * power[c] - x[c] * sum[c];
    }
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lrn_config *config = w->norm->config;
    const int64_t channels = w->norm->channels, size = config->size;
    const lamina_real factor = (lamina_real)(2 * config->alpha * config->beta / (double)size);
    const rows r = rows_of(w, thread);
    for (int64_t i = begin; i < end; i++) {
        const lamina_real *x = w->x + i * channels, *dy = w->dy + i * channels;
        normalisers(w->norm, x, &r);
        pull(x, dy, &r, channels);
        sum_around(w->norm, r.around, (size - 1) / 2, size / 2, factor, 0, r.sum);
        write_dx(x, dy, &r, channels, w->dx + i * channels);
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const lrn *norm = self;
    work w = {.norm = norm, .x = io->in[0]->data, .y = io->out[0]->data, .scratch = io->scratch};
    return lamina__spread(call, norm->threads, io->samples * norm->pixels,
                          GRAIN / norm->channels + 1, forward_range, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const lrn *norm = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.norm = norm,
              .x = io->in[0]->data,
              .dy = io->d_out[0]->data,
              .dx = io->d_in[0]->data,
              .scratch = io->scratch};
    return lamina__spread(call, norm->threads, io->samples * norm->pixels,
                          GRAIN / norm->channels + 1, backward_range, &w);
}

static const char *const cases[] = {
    "{input: [2, 7, 3, 4], params: {size: 5, alpha: 0.5}}",
    "{input: [2, 3, 2, 2], params: {size: 4, alpha: 1, beta: 0.5, k: 2}}",
    "{input: [3, 17], params: {size: 2, alpha: 1, beta: 1.3}}",
    "{input: [1, 2, 3, 3], params: {size: 9, alpha: 2}}", NULL};

const lamina_layer_type LAMINA__LAYER(lrn) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "lrn",
    .doc = "Local response normalisation: divides by a power of the squares in the neighbouring "
           "channels.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lrn_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
