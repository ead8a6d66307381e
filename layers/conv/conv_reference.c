/* Convolution in plain C: every output pixel's window is copied into one row of a matrix of
 * patches, (pixels, KH*KW*C) with zeros for padding, and each pass is a matrix product.
 *
 *   forward           Y       = patches(X) W^T + b         W: (filters, KH*KW*C)
 *   backward data     dX      = the patches dY W, added back to where they came from
 *   backward weights  dW     += dY^T patches(X),  db += column sums of dY
 *
 * Output pixels are numbered through all samples and taken in chunks whose patches stay in the
 * cache. With groups this is done for each group's channels by themselves. */
#include "layers/conv/conv.h"
#include "layers/matmul.h"
#include "layers/parallel.h"

#include <string.h>

/* The patches of one chunk: about this many numbers, at least a few pixels. */
enum { CHUNK_NUMBERS = 32768, CHUNK_MIN_PIXELS = 16 };

typedef struct reference {
    int64_t chunk;        /* pixels */
    size_t scratch_bytes; /* for one thread's patches */
    int32_t forward;      /* 1: it runs the forward pass, and so has */
    int32_t packed;       /* in io->packed: W^T of each group, (groups, KH*KW*C, filters) */
} reference;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const reference *ref;
    const lamina_io *io;
} work;

static int64_t group_in(const lamina__conv *conv) {
    return conv->in_channels / conv->groups;
}

static int64_t group_out(const lamina__conv *conv) {
    return conv->out_channels / conv->groups;
}

/* Numbers in one patch. */
static int64_t patch_size(const lamina__conv *conv) {
    return conv->window.y.kernel * conv->window.x.kernel * group_in(conv);
}

static int64_t pixels_per_sample(const lamina__conv *conv) {
    return conv->window.y.out * conv->window.x.out;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    reference *ref = call->host->alloc(call, sizeof *ref);
    if (ref == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = ref;
    (void)setup;
    ref->forward = (passes & LAMINA_PASS_FORWARD) != 0;
    ref->chunk = CHUNK_NUMBERS / patch_size(conv);
    ref->chunk = ref->chunk > CHUNK_MIN_PIXELS ? ref->chunk : CHUNK_MIN_PIXELS;
    ref->scratch_bytes = (size_t)(ref->chunk * patch_size(conv)) * sizeof(lamina_real);
    int32_t status = call->host->add_scratch(call, ref->scratch_bytes * (size_t)conv->threads);
    if (status >= 0 && ref->forward) {
        status = call->host->add_packed(call, "weight_transposed",
                                        (size_t)(patch_size(conv) * conv->out_channels) *
                                            sizeof(lamina_real));
        ref->packed = status;
    }
    return status < 0 ? status : LAMINA_OK;
}

/* Forward multiplies by W^T, and the product wants contiguous columns. */
static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const lamina__conv *conv = self;
    const reference *ref = kernel;
    const int64_t size = patch_size(conv), filters = group_out(conv);

    (void)call;
    for (int64_t g = 0; ref->forward && g < conv->groups; g++) {
        LAMINA__REAL_NAME(transpose)
        (filters, size, (const lamina_real *)io->weight[0]->data + g * filters * size,
         (lamina_real *)io->packed[ref->packed] + g * filters * size);
    }
    return LAMINA_OK;
}

enum { COPY = 0, ADD = 1 };

/* Between a run of an image's pixels and of a patch: patch = image, or image += patch. */
static inline void move_run(lamina_real *image, lamina_real *patch, int64_t n, int mode) {
    if (mode == COPY) {
        memcpy(patch, image, (size_t)n * sizeof *patch);
    } else {
        for (int64_t i = 0; i < n; i++) {
            image[i] += patch[i];
        }
    }
}

/* Copies the window of output pixel (oy, ox) from one sample's image, or adds it back there. */
static inline void move_patch(const lamina__conv *conv, lamina_real *image, int64_t group,
                              int64_t oy, int64_t ox, lamina_real *patch, int mode) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t in = group_in(conv);
    int64_t y_begin, y_end, x_begin, x_end;

    lamina__axis_range(y, oy, &y_begin, &y_end);
    lamina__axis_range(x, ox, &x_begin, &x_end);
    if (mode == COPY && (y_end - y_begin) * (x_end - x_begin) < y->kernel * x->kernel) {
        memset(patch, 0, (size_t)patch_size(conv) * sizeof *patch);
    }
    /* A kernel row is one run of memory when its pixels and their channels are neighbours. */
    const int whole_row = conv->groups == 1 && x->dilation == 1;
    const int64_t step = whole_row ? x_end - x_begin : 1;
    for (int64_t u = y_begin; u < y_end; u++) {
        const int64_t row = oy * y->stride - y->pad_begin + u * y->dilation;
        for (int64_t v = x_begin; v < x_end; v += step) {
            const int64_t column = ox * x->stride - x->pad_begin + v * x->dilation;
            move_run(image + (row * x->in + column) * conv->in_channels + group * in,
                     patch + (u * x->kernel + v) * in, step * in, mode);
        }
    }
}

/* move_patch() for `count` output pixels from number `first` on, counted through all samples. */
static void move_patches(const lamina__conv *conv, lamina_real *images, int64_t group,
                         int64_t first, int64_t count, lamina_real *patches, int mode) {
    const int64_t image_size = conv->window.y.in * conv->window.x.in * conv->in_channels;
    int64_t sample = first / pixels_per_sample(conv);
    int64_t oy = first % pixels_per_sample(conv) / conv->window.x.out;
    int64_t ox = first % conv->window.x.out;

    for (int64_t i = 0; i < count; i++) {
        move_patch(conv, images + sample * image_size, group, oy, ox,
                   patches + i * patch_size(conv), mode);
        if (++ox == conv->window.x.out) {
            ox = 0;
            if (++oy == conv->window.y.out) {
                oy = 0;
                sample++;
            }
        }
    }
}

static lamina_real *thread_patches(const work *w, int32_t thread) {
    return (lamina_real *)((char *)w->io->scratch + (size_t)thread * w->ref->scratch_bytes);
}

/* Output pixels begin .. end-1, counted through all samples. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const int64_t size = patch_size(conv), filters = group_out(conv);
    const int64_t ld = conv->out_channels;
    const lamina_real *packed = w->io->packed[w->ref->packed];
    const lamina_real *bias = conv->bias ? w->io->weight[1]->data : NULL;
    lamina_real *out = w->io->out[0]->data;
    lamina_real *patches = thread_patches(w, thread);

    for (int64_t p = begin; p < end; p += w->ref->chunk) {
        const int64_t count = end - p < w->ref->chunk ? end - p : w->ref->chunk;
        for (int64_t i = p; i < p + count; i++) {
            for (int64_t o = 0; o < ld; o++) {
                out[i * ld + o] = bias != NULL ? bias[o] : 0;
            }
        }
        for (int64_t g = 0; g < conv->groups; g++) {
            move_patches(conv, w->io->in[0]->data, g, p, count, patches, COPY);
            LAMINA__REAL_NAME(matmul_add)
            (count, filters, size, (lamina__matrix){patches, size, 1},
             (lamina__matrix){packed + g * size * filters, filters, 1}, out + p * ld + g * filters,
             ld);
        }
    }
    return LAMINA_OK;
}

/* Samples begin .. end-1. */
static int32_t backward_data(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const int64_t size = patch_size(conv), filters = group_out(conv);
    const int64_t ld = conv->out_channels, last = end * pixels_per_sample(conv);
    const int64_t image_size = conv->window.y.in * conv->window.x.in * conv->in_channels;
    const lamina_real *weight = w->io->weight[0]->data;
    const lamina_real *d_out = w->io->d_out[0]->data;
    lamina_real *d_in = w->io->d_in[0]->data;
    lamina_real *patches = thread_patches(w, thread);

    memset(d_in + begin * image_size, 0, (size_t)((end - begin) * image_size) * sizeof *d_in);
    for (int64_t p = begin * pixels_per_sample(conv); p < last; p += w->ref->chunk) {
        const int64_t count = last - p < w->ref->chunk ? last - p : w->ref->chunk;
        for (int64_t g = 0; g < conv->groups; g++) {
            memset(patches, 0, (size_t)(count * size) * sizeof *patches);
            LAMINA__REAL_NAME(matmul_add)
            (count, size, filters, (lamina__matrix){d_out + p * ld + g * filters, ld, 1},
             (lamina__matrix){weight + g * filters * size, size, 1}, patches, size);
            move_patches(conv, d_in, g, p, count, patches, ADD);
        }
    }
    return LAMINA_OK;
}

/* sum[o] += the sum of `count` rows of d, for o in begin .. end-1. */
static void add_rows(const lamina_real *d, int64_t ld, int64_t count, lamina_real *sum,
                     int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; o++) {
        lamina_real s = 0;
        for (int64_t i = 0; i < count; i++) {
            s += d[i * ld + o];
        }
        sum[o] += s;
    }
}

/* Filters begin .. end-1, over all samples. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const int64_t size = patch_size(conv), filters = group_out(conv);
    const int64_t ld = conv->out_channels, pixels = w->io->samples * pixels_per_sample(conv);
    const lamina_tensor *d_weight = w->io->d_weight[0];
    const lamina_tensor *d_bias = conv->bias ? w->io->d_weight[1] : NULL;
    lamina_real *patches = thread_patches(w, thread);

    for (int64_t p = 0; p < pixels; p += w->ref->chunk) {
        const int64_t count = pixels - p < w->ref->chunk ? pixels - p : w->ref->chunk;
        const lamina_real *d_out = (const lamina_real *)w->io->d_out[0]->data + p * ld;
        if (d_bias != NULL) {
            add_rows(d_out, ld, count, d_bias->data, begin, end);
        }
        for (int64_t o = begin; d_weight != NULL && o < end;) {
            const int64_t g = o / filters;
            const int64_t next = (g + 1) * filters < end ? (g + 1) * filters : end;
            move_patches(conv, w->io->in[0]->data, g, p, count, patches, COPY);
            LAMINA__REAL_NAME(matmul_add)
            (next - o, size, count, (lamina__matrix){d_out + o, 1, ld},
             (lamina__matrix){patches, size, 1}, (lamina_real *)d_weight->data + o * size, size);
            o = next;
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__conv *conv = self;
    const reference *ref = kernel;
    work w = {.conv = conv, .ref = ref, .io = io};

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, conv->threads, io->samples * pixels_per_sample(conv),
                              ref->chunk, forward, &w);
    }
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        return lamina__spread(call, conv->threads, conv->out_channels, 1, backward_weights, &w);
    }
    return io->d_in[0] == NULL
               ? LAMINA_OK
               : lamina__spread(call, conv->threads, io->samples, 1, backward_data, &w);
}

const lamina_kernel LAMINA__REAL_NAME(conv_reference) = {
    .struct_size = sizeof(lamina_kernel),
    .flags = LAMINA_KERNEL_LAST_RESORT,
    .name = "reference",
    .doc = "Plain C: patches times filters.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .create = create,
    .prepare = prepare,
    .run = run};
