/* add: y = the sum of the inputs, element by element; 2 to 16 of them, all of one shape. With two
 * it is the residual connection of He, Zhang, Ren and Sun 2016.
 *
 *   dx_k = dy for every input k
 *
 * Each pass goes through memory once: more than two inputs are added block by block, in the order
 * in which they are named, and a relu that follows is done along with the last. In place, the sum
 * takes the first input's memory, and dy becomes its gradient as it lies. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

enum { GRAIN = 16384, BLOCK = 2048 }; /* numbers: less is not worth a thread; at a time, in L1 */

typedef struct add {
    int64_t elements; /* of a sample */
    int32_t n_in;
    int32_t threads;
} add;

typedef struct add_kernel {
    int32_t relu; /* 1: forward does that of a relu, too */
} add_kernel;

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    return lamina__make_self(call, sizeof(add), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    add *layer = self;
    for (int32_t k = 1; k < setup->n_in; k++) {
        if (!lamina__same_dims(setup->in[k], setup->in[0])) {
            return call->host->fail(
                call, LAMINA_ERROR_SHAPE,
                "adds inputs of one shape, but input %d is %s and input 1 is %s; a 1x1 conv with "
                "the same stride makes a shortcut fit",
                (int)k + 1, lamina__dims(setup->in[k]).text, lamina__dims(setup->in[0]).text);
        }
    }
    layer->elements = lamina__sample_size(setup->in[0]);
    layer->n_in = setup->n_in;
    layer->threads = setup->threads;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* ---- The kernel ---------------------------------------------------------------------------- */

static int32_t kernel_create(const void *self, lamina_call *call, const lamina_setup *setup,
                             uint32_t passes, void **kernel) {
    add_kernel *made = call->host->alloc(call, sizeof *made);
    (void)self;
    (void)passes;
    if (made == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    made->relu = setup->fused != NULL;
    *kernel = made;
    return LAMINA_OK;
}

/* y may be a. */
LAMINA__VECTOR_CLONES
static void add_row(const lamina_real *a, const lamina_real *b, lamina_real *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

LAMINA__VECTOR_CLONES
static void add_relu_row(const lamina_real *a, const lamina_real *b, lamina_real *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const lamina_real sum = a[i] + b[i];
        y[i] = sum < 0 ? 0 : sum;
    }
}

/* One run of one pass, as the threads share it. */
typedef struct work {
    const add *layer;
    const add_kernel *kernel;
    const lamina_io *io;
} work;

static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int32_t n_in = w->layer->n_in;
    (void)thread;
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        const lamina_real *sum = (const lamina_real *)w->io->in[0]->data + at;
        lamina_real *y = (lamina_real *)w->io->out[0]->data + at;
        for (int32_t k = 1; k < n_in; k++, sum = y) {
            (w->kernel->relu && k == n_in - 1 ? add_relu_row : add_row)(
                sum, (const lamina_real *)w->io->in[k]->data + at, y, n);
        }
    }
    return LAMINA_OK;
}

/* Only the first input's gradient may be dy's memory, and there nothing is left to do; so dy stays
 * as it is while it is copied. */
static int32_t backward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        const lamina_real *dy = (const lamina_real *)w->io->d_out[0]->data + at;
        for (int32_t k = 0; k < w->layer->n_in; k++) {
            const lamina_tensor *d_in = w->io->d_in[k];
            if (d_in != NULL && d_in->data != w->io->d_out[0]->data) {
                memcpy((lamina_real *)d_in->data + at, dy, (size_t)n * sizeof *dy);
            }
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    work w = {.layer = self, .kernel = kernel, .io = io};
    return lamina__spread(call, w.layer->threads, io->samples * w.layer->elements, GRAIN,
                          pass == LAMINA_PASS_FORWARD ? forward : backward, &w);
}

static const char *const fuses[] = {"relu", NULL};

static const lamina_kernel reference_kernel = {
    .struct_size = sizeof(lamina_kernel),
    .name = "reference",
    .doc = "Plain C, one pass over memory; does a relu that follows.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
    .create = kernel_create,
    .run = run,
    .fuses = fuses};

static const lamina_kernel *const kernels[] = {&reference_kernel, NULL};

static const char *const cases[] = {"{input: [[3, 7], [3, 7]]}",
                                    "{input: [[2, 3, 5, 4], [2, 3, 5, 4]]}",
                                    "{input: [[2, 5], [2, 5], [2, 5], [2, 5]]}", NULL};

const lamina_layer_type LAMINA__LAYER(add) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "add",
    .doc = "The sum of several inputs of one shape, such as a block and its shortcut.",
    .flags = LAMINA_IN_PLACE,
    .state_version = 1,
    .min_in = 2,
    .max_in = 16,
    .n_out = 1,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
