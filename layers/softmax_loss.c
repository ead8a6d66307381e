/* softmax_loss: softmax and cross-entropy in one, the loss of a classifier.
 *
 *   loss[n] = -log softmax(x[n])[label[n]] = log(sum over k of exp(x[n,k] - m)) - (x[n,label] - m)
 *
 * with m = max over k of x[n,k], so that nothing overflows. The softmax Jacobian diag(s) - s s^T
 * times the gradient of the logarithm leaves only
 *
 *   dx[n,k] = dloss[n] * (s[n,k] - (1 if k is the label, else 0))
 *
 * so forward saves s. Scores (N, K) or (N, K, 1, 1), labels (N) -> (N): the loss of each sample;
 * the host trains on their mean and has checked the labels' range. A score that is NaN makes the
 * loss NaN. docs/mathematics.md. */
#include "layers/parallel.h"
#include "layers/softmax/softmax_row.h"

#include <inttypes.h>

typedef struct softmax_loss {
    int64_t classes;
    int32_t threads;
    int32_t saves; /* 1: saved[0] is s, (N, K) */
} softmax_loss;

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    *self = call->host->alloc(call, sizeof(softmax_loss));
    return *self != NULL ? LAMINA_OK : call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    softmax_loss *loss = self;
    const lamina_shape *x = setup->in[0], *labels = setup->in[1];
    const int64_t batch = x->dim[0];

    if (x->ndim != 2 && !(x->ndim == 4 && x->dim[2] == 1 && x->dim[3] == 1)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs one score for each class, (N, K) or (N, K, 1, 1), got %d "
                                "dimensions%s; put a linear layer before it",
                                (int)x->ndim, x->ndim == 4 ? " of more than one pixel" : "");
    }
    if (labels->dtype != LAMINA_I32 || labels->ndim != 1 || labels->dim[0] != batch) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs one label for each of the %" PRId64 " samples", batch);
    }
    loss->classes = x->dim[1];
    loss->threads = setup->threads;
    loss->saves = setup->training;
    int32_t status = LAMINA_OK;
    if (loss->saves) {
        const lamina_shape s = {
            .dtype = LAMINA__REAL_DTYPE, .ndim = 2, .dim = {batch, loss->classes}};
        status = call->host->add_saved(call, "softmax", &s);
    }
    if (status >= 0) {
        const lamina_shape out = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {batch}};
        status = call->host->set_output(call, 0, &out);
    }
    return status < 0 ? status : LAMINA_OK;
}

/* One call, as the threads share it. */
typedef struct work {
    const softmax_loss *loss;
    const lamina_io *io;
} work;

/* The loss of one sample, and its softmax in s unless that is NULL. */
LAMINA__VECTOR_CLONES
static lamina_real forward_row(const lamina_real *x, int64_t classes, int32_t label,
                               lamina_real *s) {
    const lamina__softmax_sum row = lamina__softmax_row(x, classes, s);
    for (int64_t k = 0; s != NULL && k < classes; k++) {
        s[k] /= row.sum;
    }
    return lamina__log(row.sum) - (x[label] - row.max);
}

LAMINA__VECTOR_CLONES
static void backward_row(const lamina_real *restrict s, int64_t classes, int32_t label,
                         lamina_real d_loss, lamina_real *restrict dx) {
    for (int64_t k = 0; k < classes; k++) {
        dx[k] = d_loss * s[k];
    }
    dx[label] = d_loss * (s[label] - 1);
}

/* Samples begin .. end-1. */
static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const lamina_real *x = w->io->in[0]->data;
    const int32_t *label = w->io->in[1]->data;
    lamina_real *s = w->loss->saves ? w->io->saved[0]->data : NULL;
    lamina_real *out = w->io->out[0]->data;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        out[n] =
            forward_row(x + n * classes, classes, label[n], s != NULL ? s + n * classes : NULL);
    }
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t classes = w->loss->classes;
    const int32_t *label = w->io->in[1]->data;
    const lamina_real *d_loss = w->io->d_out[0]->data, *s = w->io->saved[0]->data;
    lamina_real *dx = w->io->d_in[0]->data;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        backward_row(s + n * classes, classes, label[n], d_loss[n], dx + n * classes);
    }
    return LAMINA_OK;
}

enum { GRAIN_NUMBERS = 1024 }; /* less is not worth a thread */

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.loss = self, .io = io};
    return lamina__spread(call, w.loss->threads, io->samples, GRAIN_NUMBERS / w.loss->classes + 1,
                          forward_range, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    work w = {.loss = self, .io = io};
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    return lamina__spread(call, w.loss->threads, io->samples, GRAIN_NUMBERS / w.loss->classes + 1,
                          backward_range, &w);
}

static const char *const cases[] = {"{input: [[4, 5], [4]]}", "{input: [[3, 2, 1, 1], [3]]}",
                                    "{input: [[1, 1000], [1]]}", NULL};

const lamina_layer_type LAMINA__LAYER(softmax_loss) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "softmax_loss",
    .doc = "Softmax and cross-entropy with the label: the loss of a classifier.",
    .flags = LAMINA_IS_LOSS,
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
