/* conv's kernels as kernels of the transposed convolution. With y = C^T x + b for the matrix C of a
 * convolution with the same filters, whose input has the shape of y and whose output that of x,
 *
 *   forward           y   = C^T x + b      that convolution's backward data, and the bias
 *   backward data     dx  = C dy           its forward pass, without a bias
 *   backward weights  dw += ...            its backward weights for the input dy, the gradient x
 *
 * so each kernel of conv is one here, with its passes exchanged and x and y in each other's places.
 * `taps` adds the bias, and fuses relu, where it stores its sums; after the others this goes
 * through y once more. */
#include "layers/conv_transpose/conv_transpose.h"

typedef struct exchanged {
    const lamina_kernel *kernel; /* conv's */
    lamina__conv conv;           /* the layer's, and what the kernel is to do beside it */
    void *state;                 /* what its create() made */
    int32_t relu;                /* 1: forward ends with max(0, y) */
} exchanged;

/* The pass of the convolution that is this pass of its transpose, and the other way. */
static uint32_t exchange(uint32_t passes) {
    const uint32_t forward = passes & LAMINA_PASS_FORWARD,
                   data = passes & LAMINA_PASS_BACKWARD_DATA;
    return (passes & LAMINA_PASS_BACKWARD_WEIGHTS) |
           (forward != 0 ? LAMINA_PASS_BACKWARD_DATA : 0) | (data != 0 ? LAMINA_PASS_FORWARD : 0);
}

/* finishes: 1: the kernel adds the bias and does relu itself. */
static int32_t create(const lamina_kernel *kernel, int32_t finishes, const void *self,
                      lamina_call *call, const lamina_setup *setup, uint32_t passes, void **made) {
    const lamina__conv_transpose *layer = self;
    lamina_setup of_conv = *setup;
    exchanged *e = call->host->alloc(call, sizeof *e);

    if (e == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *made = e;
    e->kernel = kernel;
    e->conv = layer->conv;
    e->relu = setup->fused != NULL;
    e->conv.data_bias = finishes && layer->bias;
    e->conv.data_relu = finishes && e->relu;
    of_conv.fused = NULL;
    return kernel->create(&e->conv, call, &of_conv, exchange(passes), &e->state);
}

static int32_t prepare(const void *self, void *made, lamina_call *call, const lamina_io *io) {
    const exchanged *e = made;
    (void)self;
    return e->kernel->prepare(&e->conv, e->state, call, io);
}

static int32_t run_forward(const lamina__conv_transpose *layer, const exchanged *e,
                           lamina_call *call, const lamina_io *io, int32_t finishes) {
    lamina_io of_conv = *io;
    of_conv.in = of_conv.d_in = io->out;
    of_conv.out = of_conv.d_out = io->in;
    const int32_t status =
        e->kernel->run(&e->conv, e->state, call, LAMINA_PASS_BACKWARD_DATA, &of_conv);
    if (status != LAMINA_OK || finishes) {
        return status;
    }
    return LAMINA__REAL_NAME(conv_transpose_finish_all)(layer, call, io, e->relu);
}

static int32_t run_weights(const lamina__conv_transpose *layer, const exchanged *e,
                           lamina_call *call, const lamina_io *io) {
    lamina_io of_conv = *io;
    of_conv.in = io->d_out;
    of_conv.d_out = io->in;
    const int32_t status =
        io->d_weight[0] == NULL
            ? LAMINA_OK
            : e->kernel->run(&e->conv, e->state, call, LAMINA_PASS_BACKWARD_WEIGHTS, &of_conv);
    return status != LAMINA_OK ? status
                               : LAMINA__REAL_NAME(conv_transpose_bias_gradient)(layer, call, io);
}

static int32_t run(const void *self, void *made, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__conv_transpose *layer = self;
    const exchanged *e = made;

    if (pass == LAMINA_PASS_FORWARD) {
        return run_forward(layer, e, call, io, e->conv.data_bias || e->conv.data_relu);
    }
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return run_weights(layer, e, call, io);
    }
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    lamina_io of_conv = *io;
    of_conv.in = io->d_out;
    of_conv.out = io->d_in;
    return e->kernel->run(&e->conv, e->state, call, LAMINA_PASS_FORWARD, &of_conv);
}

/* ---- The kernels: what of conv's has to be known at compile time is repeated here ------------ */

#define ALL_PASSES (LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS)

#if !LAMINA_LAYERS_F64

static int32_t applies(const lamina_kernel *kernel, const void *self, const lamina_setup *setup,
                       uint32_t pass) {
    const lamina__conv_transpose *layer = self;
    return kernel->applies(&layer->conv, setup, exchange(pass));
}

static void destroy(void *made) {
    const exchanged *e = made;
    if (e->kernel->destroy != NULL && e->state != NULL) {
        e->kernel->destroy(e->state);
    }
}

#define BY_CONV(of, text, finishes, ...)                                                           \
    static int32_t applies_##of(const void *self, const lamina_setup *setup, uint32_t pass) {      \
        return applies(&lamina__conv_##of, self, setup, pass);                                     \
    }                                                                                              \
    static int32_t create_##of(const void *self, lamina_call *call, const lamina_setup *setup,     \
                               uint32_t passes, void **made) {                                     \
        return create(&lamina__conv_##of, finishes, self, call, setup, passes, made);              \
    }                                                                                              \
    const lamina_kernel lamina__conv_transpose_##of = {.struct_size = sizeof(lamina_kernel),       \
                                                       .name = #of,                                \
                                                       .doc = text,                                \
                                                       .applies = applies_##of,                    \
                                                       .create = create_##of,                      \
                                                       .prepare = prepare,                         \
                                                       .run = run,                                 \
                                                       .destroy = destroy,                         \
                                                       .fuses = lamina__fuses_relu,                \
                                                       __VA_ARGS__};

BY_CONV(planes, "conv's of that name: gradients for few filters.", 0,
        .passes = LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS)
BY_CONV(direct, "conv's of that name: block products straight from channels-last images.", 0,
        .passes = ALL_PASSES)
BY_CONV(winograd, "conv's of that name: fewer products for 3x3 and 5x5 filters of stride 1.", 0,
        .passes = ALL_PASSES, .flags = LAMINA_KERNEL_SHARES_PREPARE, .rounding = 8)
BY_CONV(depthwise, "conv's of that name: each group has one filter.", 0, .passes = ALL_PASSES)
BY_CONV(taps, "conv's of that name: a matrix product for each tap of the filter.", 1,
        .passes = ALL_PASSES)
BY_CONV(onednn, "oneDNN's convolution, transposed.", 0, .passes = ALL_PASSES,
        .flags = LAMINA_KERNEL_OPENS_REGIONS)

#endif

static int32_t create_reference(const void *self, lamina_call *call, const lamina_setup *setup,
                                uint32_t passes, void **made) {
    return create(&LAMINA__REAL_NAME(conv_reference), 0, self, call, setup, passes, made);
}

const lamina_kernel LAMINA__REAL_NAME(conv_transpose_reference) = {
    .struct_size = sizeof(lamina_kernel),
    .flags = LAMINA_KERNEL_LAST_RESORT,
    .name = "reference",
    .doc = "Plain C: conv's, transposed.",
    .passes = ALL_PASSES,
    .create = create_reference,
    .prepare = prepare,
    .run = run};
