/* log_softmax: y = log softmax(x), over the channels of each pixel or of a flat sample's features:
 *
 *   y_k = x_k - m - log(sum over j of exp(x_j - m)),  m = max over j of x_j
 *
 * which is exact where softmax itself is 0 in floating point. Its Jacobian is I - 1 s^T with
 * s = softmax(x) = exp(y), so
 *
 *   dx_k = dy_k - exp(y_k) * (the sum over j of dy_j)
 *
 * Both passes can work in place. A row with a NaN becomes all NaN. (N, C) or (N, C, H, W).
 * docs/mathematics.md. */
#include "layers/parallel.h"
#include "layers/softmax/softmax.h"
#include "layers/softmax/softmax_row.h"
#include "layers/sum.h"

/* One call, as the threads share it. */
typedef struct work {
    int64_t channels;
    const lamina_real *from, *dy; /* x; y and dy */
    lamina_real *to;              /* y; dx */
} work;

/* y may be x. */
LAMINA__VECTOR_CLONES
static void forward_row(const lamina_real *x, int64_t n, lamina_real *y) {
    const lamina__softmax_sum row = lamina__softmax_row(x, n, NULL);
    const lamina_real log_sum = lamina__log(row.sum);
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        y[k] = (x[k] - row.max) - log_sum;
    }
}

/* dx may be dy. */
LAMINA__VECTOR_CLONES
static void backward_row(const lamina_real *y, const lamina_real *dy, int64_t n, lamina_real *dx) {
    const lamina_real sum = lamina__sum(dy, n);
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        dx[k] = dy[k] - lamina__vector_exp(y[k]) * sum;
    }
}

/* Rows begin .. end-1, counted through all samples. */
static int32_t forward_rows(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        forward_row(w->from + i * w->channels, w->channels, w->to + i * w->channels);
    }
    return LAMINA_OK;
}

static int32_t backward_rows(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = i * w->channels;
        backward_row(w->from + at, w->dy + at, w->channels, w->to + at);
    }
    return LAMINA_OK;
}

static int32_t spread(const lamina__softmax *layer, lamina_call *call, int64_t samples,
                      lamina_range_fn *fn, work *w) {
    const int64_t grain = 1024 / layer->channels + 1; /* rows: less is not worth a thread */
    return lamina__spread(call, layer->threads, samples * layer->rows, grain, fn, w);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const lamina__softmax *layer = self;
    work w = {.channels = layer->channels, .from = io->in[0]->data, .to = io->out[0]->data};
    return spread(layer, call, io->samples, forward_rows, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const lamina__softmax *layer = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.channels = layer->channels,
              .from = io->out[0]->data,
              .dy = io->d_out[0]->data,
              .to = io->d_in[0]->data};
    return spread(layer, call, io->samples, backward_rows, &w);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 5, 3, 4]}", "{input: [2, 1]}",
                                    "{input: [1, 40, 2, 1]}", NULL};

const lamina_layer_type LAMINA__LAYER(log_softmax) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "log_softmax",
    .doc = "The logarithms of softmax's probabilities, over the channels of each pixel or the "
           "features of each sample.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(softmax_create),
    .setup = LAMINA__REAL_NAME(softmax_setup),
    .forward = forward,
    .backward = backward,
    .cases = cases};
