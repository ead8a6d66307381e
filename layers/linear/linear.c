/* linear: every output is a weighted sum of all inputs of the sample, plus a bias.
 *
 *   Y = X W^T + b        X: (N, F), W: (O, F), b: (O), Y: (N, O)
 *
 * The chain rule for this product, where each gradient has the shape of its matrix:
 *
 *   dX = dY W            dW = dY^T X            db = column sums of dY
 *
 * An image (N, C, H, W) is flattened. Its logical order is C, H, W, which is the order of the
 * columns of W in checkpoints; in memory it is H, W, C, and so are the rows of W there: the product
 * runs over both as they lie. docs/mathematics.md. */
#include "layers/linear/linear.h"
#include "layers/filters.h"
#include "layers/matmul.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

#define FIELD(name) offsetof(lamina__linear_config, name)

static const lamina_param params[] = {
    {.name = "units",
     .doc = "Number of outputs.",
     .type = LAMINA_INT,
     .required = 1,
     .offset = FIELD(units),
     .min = 1,
     .max = 16777216},
    {.name = "bias",
     .doc = "Whether a learned number is added to each output.",
     .type = LAMINA_BOOL,
     .offset = FIELD(bias),
     .def = "true"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__linear), self);
}

static int32_t add_weights(const lamina__linear *linear, lamina_call *call,
                           const lamina_shape *in) {
    lamina_weight weight = {
        .struct_size = sizeof weight,
        .name = "weight",
        .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 2, .dim = {linear->units, linear->features}},
        .init = {.kind = LAMINA_INIT_XAVIER, .fan_in = linear->features, .fan_out = linear->units}};
    if (in->ndim == 4) { /* logically (O, C, H, W), in memory (O, H, W, C) */
        const int64_t c = in->dim[1], h = in->dim[2], w = in->dim[3];
        const int64_t dim[4] = {linear->units, c, h, w};
        const int64_t stride[4] = {linear->features, 1, w * c, c};
        weight.order_ndim = 4;
        memcpy(weight.order_dim, dim, sizeof dim);
        memcpy(weight.order_stride, stride, sizeof stride);
    }
    int32_t status = call->host->add_weight(call, &weight);
    if (status >= 0 && linear->bias) {
        status = lamina__add_bias(call, linear->units);
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__linear *linear = self;
    const lamina_shape *in = setup->in[0];
    int64_t all = 0;

    if (in->ndim != 2 && in->ndim != 4) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "needs 2-D or image input, got %s",
                                lamina__dims(in).text);
    }
    linear->features = 1;
    for (int32_t i = 1; i < in->ndim; i++) {
        if (__builtin_mul_overflow(linear->features, in->dim[i], &linear->features)) {
            return call->host->fail(call, LAMINA_ERROR_SHAPE, "the input is too large");
        }
    }
    linear->units = linear->config->units;
    linear->bias = linear->config->bias;
    linear->threads = setup->threads;
    if (__builtin_mul_overflow(linear->features, linear->units, &all)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the weights are too large");
    }
    int32_t status = call->host->set_multiply_adds(call, (double)all);
    if (status >= 0) {
        status = add_weights(linear, call, in);
    }
    if (status < 0) {
        return status;
    }
    const lamina_shape out = {.dtype = in->dtype, .ndim = 2, .dim = {in->dim[0], linear->units}};
    return call->host->set_output(call, 0, &out);
}

/* ---- The reference kernel ------------------------------------------------------------------ */

typedef struct reference {
    int32_t forward; /* 1: it runs the forward pass, and so has */
    int32_t packed;  /* in io->packed: W^T (F, O), whose columns the product can run along */
} reference;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__linear *linear;
    const reference *ref;
    const lamina_io *io;
} work;

static int32_t reference_create(const void *self, lamina_call *call, const lamina_setup *setup,
                                uint32_t passes, void **kernel) {
    const lamina__linear *linear = self;
    reference *ref = call->host->alloc(call, sizeof *ref);

    (void)setup;
    if (ref == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = ref;
    ref->forward = (passes & LAMINA_PASS_FORWARD) != 0;
    if (ref->forward) {
        ref->packed = call->host->add_packed(call, "weight_transposed",
                                             (size_t)(linear->features * linear->units) *
                                                 sizeof(lamina_real));
    }
    return ref->packed < 0 ? ref->packed : LAMINA_OK;
}

static int32_t reference_prepare(const void *self, void *kernel, lamina_call *call,
                                 const lamina_io *io) {
    const lamina__linear *linear = self;
    const reference *ref = kernel;

    (void)call;
    if (ref->forward) {
        LAMINA__REAL_NAME(transpose)
        (linear->units, linear->features, io->weight[0]->data, io->packed[ref->packed]);
    }
    return LAMINA_OK;
}

/* Columns begin .. end-1 of Y. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t features = w->linear->features, units = w->linear->units;
    const lamina_real *transposed = w->io->packed[w->ref->packed];
    const lamina_real *bias = w->linear->bias ? w->io->weight[1]->data : NULL;
    lamina_real *y = w->io->out[0]->data;

    (void)thread;
    for (int64_t n = 0; n < w->io->samples; n++) {
        for (int64_t o = begin; o < end; o++) {
            y[n * units + o] = bias != NULL ? bias[o] : 0;
        }
    }
    LAMINA__REAL_NAME(matmul_add)
    (w->io->samples, end - begin, features, (lamina__matrix){w->io->in[0]->data, features, 1},
     (lamina__matrix){transposed + begin, units, 1}, y + begin, units);
    return LAMINA_OK;
}

/* Columns begin .. end-1 of dX. */
static int32_t backward_data(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t features = w->linear->features, units = w->linear->units;
    const lamina_real *weight = w->io->weight[0]->data;
    lamina_real *dx = w->io->d_in[0]->data;

    (void)thread;
    for (int64_t n = 0; n < w->io->samples; n++) {
        memset(dx + n * features + begin, 0, (size_t)(end - begin) * sizeof *dx);
    }
    LAMINA__REAL_NAME(matmul_add)
    (w->io->samples, end - begin, units, (lamina__matrix){w->io->d_out[0]->data, units, 1},
     (lamina__matrix){weight + begin, features, 1}, dx + begin, features);
    return LAMINA_OK;
}

/* Rows begin .. end-1 of dW, and of db. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t features = w->linear->features, units = w->linear->units;
    const lamina_real *dy = w->io->d_out[0]->data;
    const lamina_tensor *d_weight = w->io->d_weight[0];
    const lamina_tensor *d_bias = w->linear->bias ? w->io->d_weight[1] : NULL;

    (void)thread;
    if (d_weight != NULL) {
        LAMINA__REAL_NAME(matmul_add)
        (end - begin, features, w->io->samples, (lamina__matrix){dy + begin, 1, units},
         (lamina__matrix){w->io->in[0]->data, features, 1},
         (lamina_real *)d_weight->data + begin * features, features);
    }
    for (int64_t o = begin; d_bias != NULL && o < end; o++) {
        lamina_real sum = 0;
        for (int64_t n = 0; n < w->io->samples; n++) {
            sum += dy[n * units + o];
        }
        ((lamina_real *)d_bias->data)[o] += sum;
    }
    return LAMINA_OK;
}

static int32_t reference_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                             const lamina_io *io) {
    const lamina__linear *linear = self;
    work w = {.linear = linear, .ref = kernel, .io = io};
    enum { GRAIN = 32 }; /* columns: what the product is quickest with */

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, linear->threads, linear->units, GRAIN, forward, &w);
    }
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return lamina__spread(call, linear->threads, linear->units, 1, backward_weights, &w);
    }
    return io->d_in[0] == NULL
               ? LAMINA_OK
               : lamina__spread(call, linear->threads, linear->features, GRAIN, backward_data, &w);
}

static const lamina_kernel reference_kernel = {
    .struct_size = sizeof(lamina_kernel),
    .name = "reference",
    .flags = LAMINA_KERNEL_LAST_RESORT,
    .doc = "Plain C: matrix products in register tiles.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .create = reference_create,
    .prepare = reference_prepare,
    .run = reference_run};

/* ---- The layer ----------------------------------------------------------------------------- */

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__linear_product, &lamina__linear_onednn,
#endif
    &reference_kernel, NULL};

static const char *const cases[] = {"{input: [3, 7], params: {units: 5}}",
                                    "{input: [2, 3, 4, 5], params: {units: 37}}",
                                    "{input: [4, 2, 1, 3], params: {units: 1, bias: false}}",
                                    "{input: [1, 300], params: {units: 40}}", NULL};

const lamina_layer_type LAMINA__LAYER(linear) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "linear",
    .doc = "Fully connected layer: each output is a weighted sum of all inputs, plus a bias.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__linear_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
