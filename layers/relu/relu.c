/* relu: y = max(x, 0), element by element; a NaN stays a NaN.
 *
 *   dx = dy where y > 0, else 0
 *
 * so backward reads the output, and both passes can work in place. Any shape.
 * Nair and Hinton 2010. */
#include "layers/relu/relu.h"
#include "layers/parallel.h"

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    *self = call->host->alloc(call, sizeof(lamina__relu));
    return *self != NULL ? LAMINA_OK : call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__relu *relu = self;
    relu->elements = 1;
    for (int32_t i = 1; i < setup->in[0]->ndim; i++) {
        relu->elements *= setup->in[0]->dim[i];
    }
    relu->threads = setup->threads;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* `omp simd`: in place, element i is read before it is written, which is all that matters. */
LAMINA__VECTOR_CLONES
static void forward(const lamina_real *x, lamina_real *y, int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        y[i] = x[i] < 0 ? 0 : x[i];
    }
}

LAMINA__VECTOR_CLONES
static void backward(const lamina_real *y, const lamina_real *dy, lamina_real *dx, int64_t begin,
                     int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        dx[i] = y[i] <= 0 ? 0 : dy[i];
    }
}

typedef struct work {
    const lamina_io *io;
} work;

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina_io *io = ((const work *)arg)->io;
    (void)thread;
    forward(io->in[0]->data, io->out[0]->data, begin, end);
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina_io *io = ((const work *)arg)->io;
    (void)thread;
    backward(io->out[0]->data, io->d_out[0]->data, io->d_in[0]->data, begin, end);
    return LAMINA_OK;
}

static int32_t reference_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                             const lamina_io *io) {
    const lamina__relu *relu = self;
    const int64_t n = io->samples * relu->elements;
    work w = {.io = io};
    enum { GRAIN = 16384 }; /* elements: less is not worth a thread */

    (void)kernel;
    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, relu->threads, n, GRAIN, forward_range, &w);
    }
    return io->d_in[0] == NULL ? LAMINA_OK
                               : lamina__spread(call, relu->threads, n, GRAIN, backward_range, &w);
}

static const lamina_kernel reference_kernel = {.struct_size = sizeof(lamina_kernel),
                                               .name = "reference",
                                               .doc = "Plain C.",
                                               .passes =
                                                   LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                               .run = reference_run};

/* Ours first: it is one pass over memory like oneDNN's, and oneDNN's turns a NaN into 0, which
 * would hide a run that diverged. */
static const lamina_kernel *const kernels[] = {&reference_kernel,
#if !LAMINA_LAYERS_F64
                                               &lamina__relu_onednn,
#endif
                                               NULL};

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [2, 17, 6, 7]}", "{input: [4]}", NULL};

const lamina_layer_type LAMINA__LAYER(relu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "relu",
    .doc = "Rectified linear unit: negative values become 0.",
    .flags = LAMINA_NEEDS_OUTPUT | LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
