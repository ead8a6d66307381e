/* softmax: s_k = exp(x_k) / sum over j of exp(x_j), over the channels of each pixel or of a flat
 * sample's features; computed from x - max(x), which changes nothing and cannot overflow.
 *
 * Its Jacobian is diag(s) - s s^T, so
 *
 *   dx_k = s_k * (ds_k - sum over j of ds_j * s_j)
 *
 * Both passes can work in place. A row with a NaN becomes all NaN. (N, C) or (N, C, H, W).
 * docs/mathematics.md. */
#include "layers/softmax/softmax.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/softmax/softmax_row.h"

int32_t LAMINA__REAL_NAME(softmax_create)(lamina_call *call, const void *config, void **self) {
    (void)config;
    return lamina__make_self(call, sizeof(lamina__softmax), self);
}

int32_t LAMINA__REAL_NAME(softmax_setup)(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__softmax *softmax = self;
    const lamina_shape *in = setup->in[0];

    if (in->ndim != 2 && in->ndim != 4) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "needs flat (N, F) or image (N, C, H, W) input, got %d dimensions",
                                (int)in->ndim);
    }
    softmax->channels = in->dim[1];
    softmax->rows = in->ndim == 4 ? in->dim[2] * in->dim[3] : 1;
    softmax->threads = setup->threads;
    return call->host->set_output(call, 0, in);
}

/* One run of one pass, as the threads share it. */
typedef struct work {
    int64_t channels;
    const lamina_io *io;
} work;

LAMINA__VECTOR_CLONES
static void forward_row(const lamina_real *x, int64_t n, lamina_real *s) {
    const lamina__softmax_sum row = lamina__softmax_row(x, n, s);
    for (int64_t k = 0; k < n; k++) {
        s[k] /= row.sum;
    }
}

/* d_in may be ds. */
LAMINA__VECTOR_CLONES
static void backward_row(const lamina_real *s, const lamina_real *ds, int64_t n,
                         lamina_real *d_in) {
    lamina_real dot = 0;
    for (int64_t k = 0; k < n; k++) {
        dot += ds[k] * s[k];
    }
    for (int64_t k = 0; k < n; k++) {
        d_in[k] = s[k] * (ds[k] - dot);
    }
}

/* Rows begin .. end-1, counted through all samples. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina_real *in = w->io->in[0]->data;
    lamina_real *out = w->io->out[0]->data;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        forward_row(in + i * w->channels, w->channels, out + i * w->channels);
    }
    return LAMINA_OK;
}

static int32_t backward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina_real *out = w->io->out[0]->data, *d_out = w->io->d_out[0]->data;
    lamina_real *d_in = w->io->d_in[0]->data;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        backward_row(out + i * w->channels, d_out + i * w->channels, w->channels,
                     d_in + i * w->channels);
    }
    return LAMINA_OK;
}

static int32_t reference_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                             const lamina_io *io) {
    const lamina__softmax *softmax = self;
    const int64_t rows = io->samples * softmax->rows;
    const int64_t grain = 1024 / softmax->channels + 1; /* rows: less is not worth a thread */
    work w = {.channels = softmax->channels, .io = io};

    (void)kernel;
    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, softmax->threads, rows, grain, forward, &w);
    }
    return io->d_in[0] == NULL ? LAMINA_OK
                               : lamina__spread(call, softmax->threads, rows, grain, backward, &w);
}

static const lamina_kernel reference_kernel = {.struct_size = sizeof(lamina_kernel),
                                               .name = "reference",
                                               .doc = "Plain C.",
                                               .passes =
                                                   LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                               .run = reference_run};

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__softmax_onednn,
#endif
    &reference_kernel, NULL};

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 5, 3, 4]}", "{input: [2, 1]}",
                                    "{input: [1, 40, 2, 1]}", NULL};

const lamina_layer_type LAMINA__LAYER(softmax) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "softmax",
    .doc = "Turns scores into probabilities, over the channels of each pixel or the features of "
           "each sample.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = LAMINA__REAL_NAME(softmax_create),
    .setup = LAMINA__REAL_NAME(softmax_setup),
    .kernels = kernels,
    .cases = cases};
