/* max_pool: the largest value of each window, channel by channel.
 *
 *   y[n,c,i,j] = max over u,v of x[n, c, i*stride + u*dilation - padding, ...]
 *
 * over the positions inside the image (padding is minus infinity). Each output is a copy of one
 * input, the first largest in row order, so forward saves which one, and
 *
 *   dx = each dy, added at the input that its output came from
 *
 * A window with a NaN gives NaN. Shapes: (N, C, H, W) -> (N, C, OH, OW). */
#include "layers/max_pool/max_pool.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/window_params.h"

#include <string.h>

#define FIELD(name) offsetof(lamina__max_pool_config, name)

static const lamina_param params[] = {
    LAMINA__KERNEL_PARAM(FIELD(kernel), "Size of the windows: one number or [height, width]."),
    LAMINA__POOL_STRIDE_PARAM(FIELD(stride),
                              "Step from one window to the next: one number or [height, width]; "
                              "`kernel`: windows side by side."),
    LAMINA__PADDING_PARAM(FIELD(padding),
                          "Pixels around the image that never are the largest: one number, "
                          "[height, width] or [top, left, bottom, right], at most half the kernel; "
                          "`same` makes the output ceil(input / stride) pixels."),
    LAMINA__DILATION_PARAM(
        FIELD(dilation), "Distance between the pixels of a window: one number or [height, width]."),
    LAMINA__CEIL_MODE_PARAM(FIELD(ceil_mode)),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__max_pool), self);
}

/* 1 if some window reads no pixel at all, which a wide dilation in a small image can bring about.
 */
static int has_empty_window(const lamina__axis *axis) {
    for (int64_t o = 0; o < axis->out; o++) {
        int64_t begin, end;
        lamina__axis_range(axis, o, &begin, &end);
        if (begin == end) {
            return 1;
        }
    }
    return 0;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__max_pool *pool = self;
    const lamina__max_pool_config *config = pool->config;
    const lamina_shape *in = setup->in[0];

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    if (in->dim[2] > INT32_MAX / in->dim[3]) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the image is too large");
    }
    pool->channels = in->dim[1];
    pool->threads = setup->threads;
    const int32_t status =
        LAMINA__REAL_NAME(window_setup)(call,
                                        &(lamina__window_config){.kernel = &config->kernel,
                                                                 .stride = &config->stride,
                                                                 .padding = &config->padding,
                                                                 .dilation = &config->dilation,
                                                                 .ceil_mode = config->ceil_mode,
                                                                 .half_padding = 1},
                                        in, &pool->window);
    if (status != LAMINA_OK) {
        return status;
    }
    if (has_empty_window(&pool->window.y) || has_empty_window(&pool->window.x)) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE,
                                "with this padding and dilation some windows read padding only; "
                                "use less of either");
    }
    lamina_shape out = *in;
    out.dim[2] = pool->window.y.out;
    out.dim[3] = pool->window.x.out;
    return call->host->set_output(call, 0, &out);
}

/* ---- The reference kernel ------------------------------------------------------------------ */

typedef struct reference {
    int32_t saves; /* 1: for backward it saves */
    int32_t saved; /* the pixel (row * width + column) each output came from, (N, OH, OW, C) */
} reference;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__max_pool *pool;
    const reference *ref;
    const lamina_io *io;
} work;

static int32_t reference_create(const void *self, lamina_call *call, const lamina_setup *setup,
                                uint32_t passes, void **kernel) {
    const lamina__max_pool *pool = self;
    reference *ref = call->host->alloc(call, sizeof *ref);

    if (ref == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = ref;
    ref->saves = (passes & LAMINA_PASS_BACKWARD_DATA) != 0;
    if (ref->saves) {
        const lamina_shape shape = {
            .dtype = LAMINA_I32,
            .ndim = 4,
            .dim = {setup->in[0]->dim[0], pool->window.y.out, pool->window.x.out, pool->channels}};
        ref->saved = call->host->add_saved(call, "argmax", &shape);
    }
    return ref->saved < 0 ? ref->saved : LAMINA_OK;
}

/* One output pixel takes in the input pixel `x`, number `at`, channel by channel. */
static inline void take(const lamina_real *restrict x, int32_t at, int64_t channels,
                        lamina_real *restrict y, int32_t *restrict from) {
    if (from == NULL) {
        for (int64_t c = 0; c < channels; c++) {
            y[c] = x[c] > y[c] || x[c] != x[c] ? x[c] : y[c];
        }
        return;
    }
    for (int64_t c = 0; c < channels; c++) {
        const int larger = x[c] > y[c] || x[c] != x[c];
        y[c] = larger ? x[c] : y[c];
        from[c] = larger ? at : from[c];
    }
}

/* One row of output pixels of one sample; `from` is NULL when there will be no backward. */
LAMINA__VECTOR_CLONES
static void forward_row(const lamina__max_pool *pool, const lamina_real *in, int64_t oy,
                        lamina_real *out, int32_t *from) {
    const lamina__axis *y = &pool->window.y, *x = &pool->window.x;
    const int64_t channels = pool->channels;
    int64_t y_begin, y_end, x_begin, x_end;

    lamina__axis_range(y, oy, &y_begin, &y_end);
    const int64_t row = oy * y->stride - y->pad_begin;
    for (int64_t ox = 0; ox < x->out; ox++) {
        lamina__axis_range(x, ox, &x_begin, &x_end);
        const int64_t column = ox * x->stride - x->pad_begin;
        const int64_t first =
            (row + y_begin * y->dilation) * x->in + column + x_begin * x->dilation;
        for (int64_t c = 0; c < channels; c++) {
            out[c] = in[first * channels + c];
        }
        for (int64_t c = 0; from != NULL && c < channels; c++) {
            from[c] = (int32_t)first;
        }
        for (int64_t u = y_begin; u < y_end; u++) {
            for (int64_t v = x_begin; v < x_end; v++) {
                const int64_t at = (row + u * y->dilation) * x->in + column + v * x->dilation;
                take(in + at * channels, (int32_t)at, channels, out, from);
            }
        }
        out += channels;
        from = from != NULL ? from + channels : NULL;
    }
}

/* Output rows begin .. end-1, counted through all samples. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__window *window = &w->pool->window;
    const int64_t in_size = window->y.in * window->x.in * w->pool->channels;
    const int64_t row_size = window->x.out * w->pool->channels;
    const lamina_real *in = w->io->in[0]->data;
    lamina_real *out = w->io->out[0]->data;
    int32_t *from = w->ref->saves ? w->io->saved[w->ref->saved]->data : NULL;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        forward_row(w->pool, in + i / window->y.out * in_size, i % window->y.out,
                    out + i * row_size, from != NULL ? from + i * row_size : NULL);
    }
    return LAMINA_OK;
}

/* Adds one row of output gradients to where the outputs came from. Every pixel of a window is asked
 * whether it was the one, channel by channel: that is more arithmetic than going there, and less
 * time, because it goes along the channels. */
LAMINA__VECTOR_CLONES
static void backward_row(const lamina__max_pool *pool, const lamina_real *restrict d_out,
                         const int32_t *restrict from, int64_t oy, lamina_real *restrict d_in) {
    const lamina__axis *y = &pool->window.y, *x = &pool->window.x;
    const int64_t channels = pool->channels;
    int64_t y_begin, y_end, x_begin, x_end;

    lamina__axis_range(y, oy, &y_begin, &y_end);
    const int64_t row = oy * y->stride - y->pad_begin;
    for (int64_t ox = 0; ox < x->out; ox++) {
        lamina__axis_range(x, ox, &x_begin, &x_end);
        const int64_t column = ox * x->stride - x->pad_begin;
        for (int64_t u = y_begin; u < y_end; u++) {
            for (int64_t v = x_begin; v < x_end; v++) {
                const int64_t at = (row + u * y->dilation) * x->in + column + v * x->dilation;
                lamina_real *d_pixel = d_in + at * channels;
                for (int64_t c = 0; c < channels; c++) {
                    d_pixel[c] += from[c] == (int32_t)at ? d_out[c] : 0;
                }
            }
        }
        d_out += channels;
        from += channels;
    }
}

/* Samples begin .. end-1. */
static int32_t backward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__window *window = &w->pool->window;
    const int64_t in_size = window->y.in * window->x.in * w->pool->channels;
    const int64_t row_size = window->x.out * w->pool->channels;
    const int32_t *from = w->io->saved[w->ref->saved]->data;
    const lamina_real *d_out = w->io->d_out[0]->data;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        lamina_real *d_in = (lamina_real *)w->io->d_in[0]->data + n * in_size;

        memset(d_in, 0, (size_t)in_size * sizeof *d_in);
        for (int64_t oy = 0; oy < window->y.out; oy++) {
            const int64_t at = (n * window->y.out + oy) * row_size;
            backward_row(w->pool, d_out + at, from + at, oy, d_in);
        }
    }
    return LAMINA_OK;
}

static int32_t reference_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                             const lamina_io *io) {
    const lamina__max_pool *pool = self;
    work w = {.pool = pool, .ref = kernel, .io = io};

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, pool->threads, io->samples * pool->window.y.out, 1, forward,
                              &w);
    }
    return io->d_in[0] == NULL ? LAMINA_OK
                               : lamina__spread(call, pool->threads, io->samples, 1, backward, &w);
}

static const lamina_kernel reference_kernel = {.struct_size = sizeof(lamina_kernel),
                                               .name = "reference",
                                               .doc = "Plain C, along the channels.",
                                               .passes =
                                                   LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA,
                                               .flags = LAMINA_KERNEL_TOGETHER,
                                               .create = reference_create,
                                               .run = reference_run};

/* ---- The layer ----------------------------------------------------------------------------- */

/* oneDNN's is not among them: it passes over NaNs and takes several times as long as ours. */
static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__max_pool_vector,
#endif
    &reference_kernel, NULL};

static const char *const cases[] = {
    "{input: [2, 3, 6, 6], params: {kernel: 2}}",
    "{input: [2, 5, 7, 8], params: {kernel: 3, stride: 2, padding: 1}}",
    "{input: [1, 17, 6, 5], params: {kernel: [3, 2], stride: [2, 1], ceil_mode: true}}",
    "{input: [3, 2, 7, 7], params: {kernel: 2, stride: 1, dilation: 2}}",
    "{input: [2, 4, 5, 7], params: {kernel: 3, stride: 2, padding: same}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(max_pool) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "max_pool",
    .doc = "The largest value of each window of an image, channel by channel.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__max_pool_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
