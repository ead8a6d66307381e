/* Convolution by block products straight from the channels-last images, without patches: a row of
 * a filter's window is contiguous there, so one filter row is one long sum of products.
 *
 *   forward           rows: output pixels      columns: filters       sum over: window
 *   backward data     rows: output pixels      columns: a filter row  sum over: filters
 *                     added to the input pixels under the window, one filter row after the other
 *   backward weights  rows: window             columns: filters       sum over: output pixels
 *
 * Columns are cut into panels of a few vectors, and prepare() packs the filters to them. The
 * filters left over from whole vectors, when few, are computed along the window instead (as dot
 * products forward, with window and filters exchanged for their gradient): LeNet's 50 would else
 * cost as much as 64. Padding is copied around one image at a time.
 *
 * Each sample is computed by itself in forward and backward data, in an order that the number of
 * samples in a call does not change. */
#include "layers/conv/conv.h"
#include "layers/parallel.h"
#include "layers/product/panel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* Where the rows of a block product begin, in floats. */
typedef struct rows {
    int64_t n;
    int64_t *a_at, *c_at;
} rows;

typedef struct direct {
    const lamina__product_isa *isa;
    int64_t padded_y, padded_x; /* pixels, of the image with its padding */
    int64_t image;              /* floats of it */
    int32_t is_padded;          /* 1: there is padding */
    int32_t relu;               /* 1: forward ends with max(0, y) */
    int64_t window_row;         /* floats of one row of the window: kernel width * channels */
    int64_t window;             /* floats of it all */
    int64_t main_filters;       /* in panels; those after them are left over */
    int32_t forward, data;      /* packed filters for these passes, or -1 */
    rows pixels;                /* a: padded image, c: output */
    rows scatter;               /* a: gradient of the output, c: padded gradient of the input */
    rows taps;                  /* a: padded image, c: sums (window, main filters) */
    rows left_over;             /* a: gradient of the output, c: gradient of the filters */
} direct;

/* Where this was at least about as fast as oneDNN 2.6, one thread of a Cascade Lake server, some 40
 * shapes (times: oneDNN's by ours). oneDNN computes channels in sixteens, so it loses where they
 * leave much of one unused, and wins on the rest (0.5 to 1), on 1x1 windows too.
 *   LeNet, 20->50 5x5 on 12x12    forward 1.4, data 1.3, weights 1.4; AVX2: 1.1, 1.5, 1.3
 *   LeNet, 1->20 5x5 on 28x28     forward 1.4, data 2.0, weights 1.5; AVX2: 0.6, 2.2, 1.3
 *   17->33 3x3 on 12x12           forward 1.3, data 1.1, weights 1.3; AVX2: 1.3, 0.7, 1.3
 *   3->32 3x3 or 5x5 on 32x32     forward 1.0, data 2.3, weights 1.3; AVX2: 0.6, 1.2, 1.4
 *   64->50 3x3 on 14x14           forward 1.3, data 0.8, weights 1.1; AVX2: 1.0, 0.7, 0.9
 *   10->20 5x5 on 12x12           forward 1.4, data 0.8, weights 1.2 */
static int is_faster(const lamina__conv *conv, uint32_t pass) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t in = conv->in_channels, filters = conv->out_channels;
    const int wide = lamina__product_to_use()->width == 16;
    const int few_left_over = filters % 16 >= 1 && filters % 16 <= 7;

    if (y->kernel * x->kernel == 1) {
        return 0;
    }
    switch (pass) {
    case LAMINA_PASS_FORWARD:
        return wide ? few_left_over || in == 1 : few_left_over && in >= 16;
    case LAMINA_PASS_BACKWARD_DATA:
        return in < 8
                   ? filters >= 16
                   : (in + 15) / 16 * 16 * 4 >= in * 5 && filters >= 32 && (wide || x->kernel >= 5);
    default: /* adding up the filters' gradients has to be worth its own cost */
        return y->out * x->out >= 16 &&
               (in < 4 ? filters >= 16 : few_left_over && filters >= 32 && (wide || in <= 32));
    }
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;

    return (setup->threads == 1 || pass == LAMINA_PASS_FORWARD) && conv->groups == 1 &&
           y->stride == 1 && x->stride == 1 && y->dilation == 1 && x->dilation == 1 &&
           is_faster(conv, pass);
}

/* ---- Making it ---- */

static int make_rows(lamina_call *call, rows *r, int64_t n) {
    r->n = n;
    r->a_at = call->host->alloc(call, (size_t)n * sizeof *r->a_at);
    r->c_at = call->host->alloc(call, (size_t)n * sizeof *r->c_at);
    return r->a_at != NULL && r->c_at != NULL;
}

static int make_forward_rows(const lamina__conv *conv, lamina_call *call, direct *d) {
    const int64_t out_x = conv->window.x.out;

    if (!make_rows(call, &d->pixels, conv->window.y.out * out_x)) {
        return 0;
    }
    for (int64_t i = 0; i < d->pixels.n; i++) {
        d->pixels.a_at[i] = (i / out_x * d->padded_x + i % out_x) * conv->in_channels;
        d->pixels.c_at[i] = i * conv->out_channels;
    }
    return 1;
}

/* Column after column: what neighbours in a row add to overlaps, and the processor waits when it
 * reads what it is still writing. */
static int make_data_rows(const lamina__conv *conv, lamina_call *call, direct *d) {
    const int64_t out_y = conv->window.y.out, out_x = conv->window.x.out;

    if (!make_rows(call, &d->scatter, out_y * out_x)) {
        return 0;
    }
    for (int64_t i = 0; i < d->scatter.n; i++) {
        d->scatter.a_at[i] = (i % out_y * out_x + i / out_y) * conv->out_channels;
        d->scatter.c_at[i] = (i % out_y * d->padded_x + i / out_y) * conv->in_channels;
    }
    return 1;
}

static int make_weight_rows(const lamina__conv *conv, lamina_call *call, direct *d) {
    if (!make_rows(call, &d->taps, d->window) ||
        !make_rows(call, &d->left_over, conv->out_channels - d->main_filters)) {
        return 0;
    }
    for (int64_t i = 0; i < d->taps.n; i++) {
        d->taps.a_at[i] = i / d->window_row * d->padded_x * conv->in_channels + i % d->window_row;
        d->taps.c_at[i] = i * lamina__whole_vectors(d->isa, d->main_filters);
    }
    for (int64_t i = 0; i < d->left_over.n; i++) {
        d->left_over.a_at[i] = d->main_filters + i;
        d->left_over.c_at[i] = (d->main_filters + i) * d->window;
    }
    return 1;
}

static void measure(const lamina__conv *conv, direct *d) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;

    d->isa = lamina__product_to_use();
    d->padded_y = y->out + y->kernel - 1;
    d->padded_x = x->out + x->kernel - 1;
    d->image = d->padded_y * d->padded_x * conv->in_channels;
    d->is_padded = d->padded_y != y->in || d->padded_x != x->in;
    d->window_row = x->kernel * conv->in_channels;
    d->window = y->kernel * d->window_row;
    /* A left-over filter costs as much as a vector does, divided by the width, if the rows along
     * which it is summed fill their vectors. */
    const int64_t width = d->isa->width, rest = conv->out_channels % width;
    d->main_filters = conv->out_channels;
    if (rest < conv->out_channels && rest * 4 <= width && d->window_row >= 2 * width) {
        d->main_filters -= rest;
    }
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    int32_t status = LAMINA_OK;
    direct *d = call->host->alloc(call, sizeof *d);

    if (d == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = d;
    measure(conv, d);
    d->relu = setup->fused != NULL;
    d->forward = d->data = -1;
    if (((passes & LAMINA_PASS_FORWARD) != 0 && !make_forward_rows(conv, call, d)) ||
        ((passes & LAMINA_PASS_BACKWARD_DATA) != 0 && !make_data_rows(conv, call, d)) ||
        ((passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0 && !make_weight_rows(conv, call, d))) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    int64_t scratch = d->is_padded ? d->image * setup->threads : 0;
    if ((passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0) {
        scratch += d->window * lamina__whole_vectors(d->isa, d->main_filters);
    }
    if (scratch > 0) {
        status = call->host->add_scratch(call, (size_t)scratch * sizeof(float));
    }
    if (status >= 0 && (passes & LAMINA_PASS_FORWARD) != 0) {
        status = d->forward = call->host->add_packed(
            call, "weight_forward",
            (size_t)(d->window * lamina__whole_vectors(d->isa, d->main_filters)) * sizeof(float));
    }
    if (status >= 0 && (passes & LAMINA_PASS_BACKWARD_DATA) != 0) {
        status = d->data =
            call->host->add_packed(call, "weight_backward",
                                   (size_t)(conv->window.y.kernel * conv->out_channels *
                                            lamina__whole_vectors(d->isa, d->window_row)) *
                                       sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

/* ---- Packing ---- */

/* Panels of `columns` columns of a matrix whose element (i, j) is from[i * row + j * column]; each
 * panel is (n, its vectors), with zeros to fill the last. Returns the end of what it wrote. */
static float *pack(const lamina__product_isa *isa, const float *from, int64_t n, int64_t row,
                   int64_t columns, int64_t column, float *to) {
    for (int64_t p = 0; p < lamina__n_panels(isa, columns); p++) {
        const lamina__panel part = lamina__panel_of(isa, columns, p);
        const int64_t wide = (int64_t)part.vectors * isa->width;
        const int64_t used = wide - isa->width + part.last;
        for (int64_t i = 0; i < n; i++, to += wide) {
            for (int64_t j = 0; j < used; j++) {
                to[j] = from[i * row + (part.first + j) * column];
            }
            memset(to + used, 0, (size_t)(wide - used) * sizeof *to);
        }
    }
    return to;
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const lamina__conv *conv = self;
    const direct *d = kernel;
    const float *weight = io->weight[0]->data;

    (void)call;
    if (d->forward >= 0) {
        (void)pack(d->isa, weight, d->window, 1, d->main_filters, d->window,
                   io->packed[d->forward]);
    }
    float *to = d->data >= 0 ? io->packed[d->data] : NULL;
    for (int64_t u = 0; to != NULL && u < conv->window.y.kernel; u++) {
        to = pack(d->isa, weight + u * d->window_row, conv->out_channels, d->window, d->window_row,
                  1, to);
    }
    return LAMINA_OK;
}

/* ---- Running ---- */

static void multiply(const direct *d, const rows *r, const lamina__product_table fn, int64_t wide,
                     lamina__product_tile *tile) {
    lamina__product_rows(d->isa, fn, wide, r->n, r->a_at, r->c_at, tile);
}

enum { FROM_PADDED = 0, TO_PADDED = 1 };

/* Copies the pixels of an image into the middle of its padded twin, whose border stays, or back. */
static void copy_middle(const lamina__conv *conv, const direct *d, float *image, float *padded,
                        int way) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t row = x->in * conv->in_channels;

    for (int64_t i = 0; i < y->in; i++) {
        float *inside =
            padded + ((i + y->pad_begin) * d->padded_x + x->pad_begin) * conv->in_channels;
        float *outside = image + i * row;
        memcpy(way == TO_PADDED ? inside : outside, way == TO_PADDED ? outside : inside,
               (size_t)row * sizeof *image);
    }
}

/* Sample n with its padding, for which `padded` (zeros around the middle) has room. */
static const float *padded_input(const lamina__conv *conv, const direct *d, const lamina_io *io,
                                 int64_t n, float *padded) {
    float *image =
        (float *)io->in[0]->data + n * conv->window.y.in * conv->window.x.in * conv->in_channels;
    if (!d->is_padded) {
        return image;
    }
    copy_middle(conv, d, image, padded, TO_PADDED);
    return padded;
}

static void clear_padded(const direct *d, float *padded) {
    if (d->is_padded) {
        memset(padded, 0, (size_t)d->image * sizeof *padded);
    }
}

/* One run of the forward pass, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const direct *d;
    const lamina_io *io;
} work;

/* Output pixels (OH*OW, window) times filters (window, O): pixels begin .. end-1 of each sample. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const direct *d = w->d;
    const lamina_io *io = w->io;
    const rows pixels = {end - begin, d->pixels.a_at + begin, d->pixels.c_at + begin};
    float *padded = (float *)io->scratch + (d->is_padded ? thread * d->image : 0);
    const int64_t out_size = d->pixels.n * conv->out_channels;
    const int64_t wide_row = d->padded_x * conv->in_channels;
    const float *bias = conv->bias ? io->weight[1]->data : NULL;

    clear_padded(d, padded);
    for (int64_t n = 0; n < io->samples; n++) {
        const float *image = padded_input(conv, d, io, n, padded);
        const float *packed = io->packed[d->forward];
        float *out = (float *)io->out[0]->data + n * out_size;
        lamina__product_tile tile = {
            .walk = {.n = {d->window_row, conv->window.y.kernel}, .a_step = {1, wide_row}},
            .a = image,
            .b_is_full = 1,
            .relu = d->relu};
        for (int64_t p = 0; p < lamina__n_panels(d->isa, d->main_filters); p++) {
            const lamina__panel part = lamina__panel_of(d->isa, d->main_filters, p);
            const int64_t wide = (int64_t)part.vectors * d->isa->width;
            tile.walk.b_step[0] = wide;
            tile.walk.b_step[1] = d->window_row * wide;
            tile.b = packed;
            tile.c = out + part.first;
            tile.bias = bias != NULL ? bias + part.first : NULL;
            tile.last = part.last;
            multiply(d, &pixels, d->isa->block, part.vectors, &tile);
            packed += d->window * wide;
        }
        tile.walk.b_step[1] = d->window_row;
        tile.b_column = d->window;
        for (int64_t o = d->main_filters; o < conv->out_channels; o += LAMINA__PRODUCT_DOTS) {
            const int64_t left = conv->out_channels - o;
            tile.b = (const float *)io->weight[0]->data + o * d->window;
            tile.c = out + o;
            tile.bias = bias != NULL ? bias + o : NULL;
            multiply(d, &pixels, d->isa->dot,
                     left < LAMINA__PRODUCT_DOTS ? left : LAMINA__PRODUCT_DOTS, &tile);
        }
    }
    return LAMINA_OK;
}

/* Row after row of the filters: gradients of output pixels (OH*OW, O) times that row (O, KW*I),
 * added to the input pixels that it met. */
static void backward_data(const lamina__conv *conv, const direct *d, const lamina_io *io) {
    const int64_t in_size = conv->window.y.in * conv->window.x.in * conv->in_channels;

    for (int64_t n = 0; n < io->samples; n++) {
        const float *packed = io->packed[d->data];
        float *d_in = (float *)io->d_in[0]->data + n * in_size;
        float *sum = d->is_padded ? io->scratch : d_in;
        lamina__product_tile tile = {.walk = {.n = {conv->out_channels, 1}, .a_step = {1, 0}},
                                     .a = (const float *)io->d_out[0]->data +
                                          n * d->scatter.n * conv->out_channels,
                                     .add = 1};

        memset(sum, 0, (size_t)d->image * sizeof *sum);
        for (int64_t u = 0; u < conv->window.y.kernel; u++) {
            for (int64_t p = 0; p < lamina__n_panels(d->isa, d->window_row); p++) {
                const lamina__panel part = lamina__panel_of(d->isa, d->window_row, p);
                tile.walk.b_step[0] = (int64_t)part.vectors * d->isa->width;
                tile.b = packed;
                tile.c = sum + u * d->padded_x * conv->in_channels + part.first;
                tile.last = part.last;
                multiply(d, &d->scatter, d->isa->block, part.vectors, &tile);
                packed += conv->out_channels * tile.walk.b_step[0];
            }
        }
        if (d->is_padded) {
            copy_middle(conv, d, d_in, sum, FROM_PADDED);
        }
    }
}

/* sums (window, main filters) += image^T * d_out, for one sample. */
static void add_main(const lamina__conv *conv, const direct *d, const float *image,
                     const float *d_out, float *sums) {
    const int64_t out = conv->out_channels;
    lamina__product_tile tile = {
        .walk = {.n = {conv->window.x.out, conv->window.y.out},
                 .a_step = {conv->in_channels, d->padded_x * conv->in_channels},
                 .b_step = {out, conv->window.x.out * out}},
        .a = image,
        .add = 1};
    for (int64_t p = 0; p < lamina__n_panels(d->isa, d->main_filters); p++) {
        const lamina__panel part = lamina__panel_of(d->isa, d->main_filters, p);
        tile.b = d_out + part.first;
        tile.c = sums + part.first;
        tile.last = part.last;
        multiply(d, &d->taps, d->isa->block, part.vectors, &tile);
    }
}

/* The same for the left-over filters, d_weight (filters, window) += d_out^T * image. */
static void add_left_over(const lamina__conv *conv, const direct *d, const float *image,
                          const float *d_out, float *d_weight) {
    const int64_t out = conv->out_channels, wide_row = d->padded_x * conv->in_channels;
    lamina__product_tile tile = {.walk = {.n = {conv->window.x.out, conv->window.y.out},
                                          .a_step = {out, conv->window.x.out * out},
                                          .b_step = {conv->in_channels, wide_row}},
                                 .a = d_out,
                                 .add = 1};
    for (int64_t u = 0; u < conv->window.y.kernel && d->left_over.n > 0; u++) {
        for (int64_t p = 0; p < lamina__n_panels(d->isa, d->window_row); p++) {
            const lamina__panel part = lamina__panel_of(d->isa, d->window_row, p);
            tile.b = image + u * wide_row + part.first;
            tile.c = d_weight + u * d->window_row + part.first;
            tile.last = part.last;
            multiply(d, &d->left_over, d->isa->block, part.vectors, &tile);
        }
    }
}

/* d_weight (filters, window) += the transpose of sums (window, filters), tile by tile. */
static void add_transposed(const direct *d, const float *sums, float *d_weight) {
    const int64_t wide = lamina__whole_vectors(d->isa, d->main_filters), width = d->isa->width;
    for (int64_t first = 0; first < d->main_filters; first += width) {
        const int64_t end = first + width < d->main_filters ? first + width : d->main_filters;
        for (int64_t i = 0; i < d->window; i++) {
            for (int64_t o = first; o < end; o++) {
                d_weight[o * d->window + i] += sums[i * wide + o];
            }
        }
    }
}

static void backward_weights(const lamina__conv *conv, const direct *d, const lamina_io *io) {
    const int64_t out_size = conv->window.y.out * conv->window.x.out * conv->out_channels;
    const int64_t sums_size = d->window * lamina__whole_vectors(d->isa, d->main_filters);
    const lamina_tensor *d_weight = io->d_weight[0];
    const lamina_tensor *d_bias = conv->bias ? io->d_weight[1] : NULL;
    float *sums = io->scratch, *padded = sums + sums_size;

    if (d_weight != NULL) {
        memset(sums, 0, (size_t)sums_size * sizeof *sums);
        clear_padded(d, padded);
    }
    for (int64_t n = 0; n < io->samples; n++) {
        const float *d_out = (const float *)io->d_out[0]->data + n * out_size;
        if (d_weight != NULL) {
            const float *image = padded_input(conv, d, io, n, padded);
            add_main(conv, d, image, d_out, sums);
            add_left_over(conv, d, image, d_out, d_weight->data);
        }
        if (d_bias != NULL) {
            d->isa->sum_rows(out_size / conv->out_channels, conv->out_channels, d_out,
                             d_bias->data);
        }
    }
    if (d_weight != NULL) {
        add_transposed(d, sums, d_weight->data);
    }
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    if (pass == LAMINA_PASS_FORWARD) {
        work w = {.conv = self, .d = kernel, .io = io};
        enum { GRAIN = 8 }; /* rows of a block */
        return lamina__spread(call, w.conv->threads, w.d->pixels.n, GRAIN, forward, &w);
    }
    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        backward_weights(self, kernel, io);
    } else if (io->d_in[0] != NULL) {
        backward_data(self, kernel, io);
    }
    return LAMINA_OK;
}

const lamina_kernel lamina__conv_direct = {
    .struct_size = sizeof(lamina_kernel),
    .name = "direct",
    .doc = "Block products straight from channels-last images, in AVX-512 or AVX2.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .fuses = lamina__fuses_relu};

#endif
