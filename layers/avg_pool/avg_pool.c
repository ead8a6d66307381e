/* avg_pool: the mean of each window, channel by channel.
 *
 *   y[n,c,i,j] = 1/D[i,j] * sum over u,v of x[n, c, i*stride + u - padding, j*stride + v - padding]
 *
 * with x read as 0 outside the image. The divisor D[i,j] is the number of the window's positions
 * inside the padded image with count_include_pad, or inside the image without it. So
 *
 *   dx[n,c,p,q] = sum over the windows i,j that cover p,q of dy[n,c,i,j] / D[i,j]
 *
 * Shapes: (N, C, H, W) -> (N, C, OH, OW). */
#include "layers/avg_pool/avg_pool.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"
#include "layers/window_params.h"

#include <string.h>

#define FIELD(name) offsetof(lamina__avg_pool_config, name)

static const lamina_param params[] = {
    LAMINA__KERNEL_PARAM(FIELD(kernel), "Size of the windows: one number or [height, width]."),
    LAMINA__POOL_STRIDE_PARAM(FIELD(stride),
                              "Step from one window to the next: one number or [height, width]; "
                              "`kernel`: windows side by side."),
    LAMINA__PADDING_PARAM(FIELD(padding), "Zeros around the image: one number, [height, width] or "
                                          "[top, left, bottom, right], at most half the kernel; "
                                          "`same` makes the output ceil(input / stride) pixels."),
    LAMINA__CEIL_MODE_PARAM(FIELD(ceil_mode)),
    {.name = "count_include_pad",
     .doc = "Whether the zeros of the padding count in the mean.",
     .type = LAMINA_BOOL,
     .offset = FIELD(count_include_pad),
     .def = "true"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__avg_pool), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina__avg_pool *pool = self;
    const lamina__avg_pool_config *config = pool->config;
    const lamina_shape *in = setup->in[0];
    const lamina_int_list dilation = {.count = 1, .word = -1, .value = {1, 1}};

    if (lamina__check_image(call, in) != LAMINA_OK) {
        return LAMINA_ERROR_SHAPE;
    }
    pool->channels = in->dim[1];
    pool->count_include_pad = config->count_include_pad;
    pool->threads = setup->threads;
    const int32_t status =
        LAMINA__REAL_NAME(window_setup)(call,
                                        &(lamina__window_config){.kernel = &config->kernel,
                                                                 .stride = &config->stride,
                                                                 .padding = &config->padding,
                                                                 .dilation = &dilation,
                                                                 .ceil_mode = config->ceil_mode,
                                                                 .half_padding = 1},
                                        in, &pool->window);
    if (status != LAMINA_OK) {
        return status;
    }
    lamina_shape out = *in;
    out.dim[2] = pool->window.y.out;
    out.dim[3] = pool->window.x.out;
    return call->host->set_output(call, 0, &out);
}

/* ---- The reference kernel ------------------------------------------------------------------ */

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__avg_pool *pool;
    const lamina_io *io;
} work;

/* The pixels [begin, end) that window o covers along one axis, and what they count as. */
typedef struct span {
    int64_t begin, end, divisor;
} span;

static inline span window_span(const lamina__axis *axis, int64_t o, int32_t count_include_pad) {
    const int64_t first = o * axis->stride - axis->pad_begin;
    const int64_t last = first + axis->kernel;
    const int64_t padded = axis->in + axis->pad_end;
    span s = {.begin = first > 0 ? first : 0, .end = last < axis->in ? last : axis->in};

    s.divisor = count_include_pad ? (last < padded ? last : padded) - first : s.end - s.begin;
    return s;
}

/* One row of output pixels of one sample. */
LAMINA__VECTOR_CLONES
static void forward_row(const lamina__avg_pool *pool, const lamina_real *restrict in, int64_t oy,
                        lamina_real *restrict out) {
    const lamina__axis *x_axis = &pool->window.x;
    const span y = window_span(&pool->window.y, oy, pool->count_include_pad);
    const int64_t channels = pool->channels;

    for (int64_t ox = 0; ox < x_axis->out; ox++, out += channels) {
        const span x = window_span(x_axis, ox, pool->count_include_pad);
        const lamina_real divisor = (lamina_real)(y.divisor * x.divisor);
        for (int64_t c = 0; c < channels; c++) {
            out[c] = 0;
        }
        for (int64_t row = y.begin; row < y.end; row++) {
            for (int64_t column = x.begin; column < x.end; column++) {
                const lamina_real *pixel = in + (row * x_axis->in + column) * channels;
                for (int64_t c = 0; c < channels; c++) {
                    out[c] += pixel[c];
                }
            }
        }
        for (int64_t c = 0; c < channels; c++) {
            out[c] /= divisor;
        }
    }
}

/* What one row of output pixels adds to the gradient of one sample's image. */
LAMINA__VECTOR_CLONES
static void backward_row(const lamina__avg_pool *pool, const lamina_real *restrict d_out,
                         int64_t oy, lamina_real *restrict d_in) {
    const lamina__axis *x_axis = &pool->window.x;
    const span y = window_span(&pool->window.y, oy, pool->count_include_pad);
    const int64_t channels = pool->channels;

    for (int64_t ox = 0; ox < x_axis->out; ox++, d_out += channels) {
        const span x = window_span(x_axis, ox, pool->count_include_pad);
        const lamina_real divisor = (lamina_real)(y.divisor * x.divisor);
        for (int64_t row = y.begin; row < y.end; row++) {
            for (int64_t column = x.begin; column < x.end; column++) {
                lamina_real *pixel = d_in + (row * x_axis->in + column) * channels;
                for (int64_t c = 0; c < channels; c++) {
                    pixel[c] += d_out[c] / divisor;
                }
            }
        }
    }
}

/* Output rows begin .. end-1, counted through all samples. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__window *window = &w->pool->window;
    const int64_t in_size = window->y.in * window->x.in * w->pool->channels;
    const int64_t row_size = window->x.out * w->pool->channels;

    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        forward_row(w->pool, (const lamina_real *)w->io->in[0]->data + i / window->y.out * in_size,
                    i % window->y.out, (lamina_real *)w->io->out[0]->data + i * row_size);
    }
    return LAMINA_OK;
}

/* Samples begin .. end-1. */
static int32_t backward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__window *window = &w->pool->window;
    const int64_t in_size = window->y.in * window->x.in * w->pool->channels;
    const int64_t row_size = window->x.out * w->pool->channels;

    (void)thread;
    for (int64_t n = begin; n < end; n++) {
        lamina_real *d_in = (lamina_real *)w->io->d_in[0]->data + n * in_size;
        memset(d_in, 0, (size_t)in_size * sizeof *d_in);
        for (int64_t oy = 0; oy < window->y.out; oy++) {
            backward_row(w->pool,
                         (const lamina_real *)w->io->d_out[0]->data +
                             (n * window->y.out + oy) * row_size,
                         oy, d_in);
        }
    }
    return LAMINA_OK;
}

static int32_t reference_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                             const lamina_io *io) {
    const lamina__avg_pool *pool = self;
    work w = {.pool = pool, .io = io};

    (void)kernel;
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
                                               .run = reference_run};

/* ---- The layer ----------------------------------------------------------------------------- */

static const lamina_kernel *const kernels[] = {
#if !LAMINA_LAYERS_F64
    &lamina__avg_pool_onednn,
#endif
    &reference_kernel, NULL};

static const char *const cases[] = {
    "{input: [2, 3, 6, 6], params: {kernel: 2}}",
    "{input: [2, 5, 7, 8], params: {kernel: 3, stride: 2, padding: 1}}",
    "{input: [2, 5, 7, 8], params: {kernel: 3, stride: 2, padding: 1, count_include_pad: false}}",
    "{input: [1, 17, 6, 5], params: {kernel: [3, 2], stride: [2, 2], padding: [1, 0], "
    "ceil_mode: true}}",
    "{input: [3, 2, 4, 4], params: {kernel: 4}}",
    NULL};

const lamina_layer_type LAMINA__LAYER(avg_pool) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "avg_pool",
    .doc = "The mean of each window of an image, channel by channel.",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(lamina__avg_pool_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .kernels = kernels,
    .cases = cases};
