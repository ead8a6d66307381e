/* Depthwise convolution: each group is one channel, with its own filters. Pixels that meet the same
 * taps (conv_taps_runs.c) are computed a few at a time, a vector of channels after the other, with
 * the sums in registers; no padding is copied, and all is read and written in the order in which it
 * lies.
 *
 *   forward           Y[pixel, o]  = b[o] + sum over taps of X[pixel at tap, o / m] W[tap, o]
 *   backward data     dX[pixel, c] = sum over o of channel c, taps of dY[pixel at tap, o] W[tap, o]
 *   backward weights  dW[tap, o]  += sum over pixels of X[pixel at tap, o / m] dY[pixel, o]
 *
 * W is packed to (taps, filters). With more than one filter for each channel, m, every channel of
 * an image is copied m times first, and m channels of its gradient are added up at the end.
 *
 * A sum's order depends on the shapes alone: threads share rows of pixels, or vectors of channels.
 */
#include "layers/conv/conv_taps.h"
#include "layers/conv/depthwise.h"

#if !LAMINA_LAYERS_F64

#include "layers/parallel.h"
#include "layers/real.h"

#include <string.h>

enum {
    BAND = 64 * 1024, /* floats of both images that are gone through at a time, about */
    NEAR = 384 * 1024 /* of all images of a call: so few are mostly in the second-level cache */
};

/* The pixels of the side that is computed. */
typedef struct grid {
    int64_t n_y, n_x;
    lamina__tap_run *y, *x;
    lamina__depthwise_line *line; /* of each row, when lines() can do it; or NULL */
} grid;

typedef struct depthwise {
    const lamina__depthwise_isa *isa;
    int64_t multiplier; /* filters for each channel */
    int64_t taps;
    int32_t packed; /* (taps, filters), or -1 */
    int32_t relu;   /* 1: forward ends with max(0, y) */
    grid forward, data;
    int64_t image; /* floats of an input with its channels copied; 0: they are not */
} depthwise;

/* One run of one pass, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const depthwise *d;
    const lamina_io *io;
} work;

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    (void)setup, (void)pass;
    return conv->groups > 1 && conv->groups == conv->in_channels;
}

static const lamina__depthwise_isa *isa_to_use(void) {
    return LAMINA__SET_TO_USE(lamina__depthwise);
}

/* ---- Making it ---- */

static int make_grid(const lamina__window *window, lamina_call *call, int64_t rows, int64_t columns,
                     int64_t (*runs_of)(const lamina__axis *, lamina__tap_run *), grid *g) {
    g->y = call->host->alloc(call, (size_t)rows * sizeof *g->y);
    g->x = call->host->alloc(call, (size_t)columns * sizeof *g->x);
    if (g->y == NULL || g->x == NULL) {
        return 0;
    }
    g->n_y = runs_of(&window->y, g->y);
    g->n_x = runs_of(&window->x, g->x);
    return 1;
}

/* Three taps in a row, the middle one never on padding. */
static int has_lines(const lamina__window *window, uint32_t pass) {
    const lamina__axis *x = &window->x;
    return x->kernel == 3 && window->y.kernel <= 3 && x->dilation == 1 && x->pad_begin == 1 &&
           x->overhang <= 1 &&
           (pass == LAMINA_PASS_FORWARD ? x->stride <= 2 : x->stride == 1 && x->in == x->out);
}

/* Of `rows` rows of c; a_row: floats of a row of a. */
static int make_lines(const lamina__conv *conv, lamina_call *call, uint32_t pass, int64_t rows,
                      int64_t a_row, grid *g) {
    const lamina__axis *y = &conv->window.y;
    if (!has_lines(&conv->window, pass)) {
        return 1;
    }
    g->line = call->host->alloc(call, (size_t)rows * sizeof *g->line);
    for (int64_t p = 0; g->line != NULL && p < rows; p++) {
        lamina__depthwise_line *line = &g->line[p];
        for (int64_t u = 0; u < y->kernel; u++) {
            const int64_t tap = u * y->dilation - y->pad_begin;
            const int64_t at = pass == LAMINA_PASS_FORWARD ? p * y->stride + tap : p - tap;
            const int64_t step = pass == LAMINA_PASS_FORWARD ? 1 : y->stride;
            const int64_t end = pass == LAMINA_PASS_FORWARD ? y->in : y->out;
            if (at >= 0 && at % step == 0 && at / step < end) {
                line->a[line->taps] = at / step * a_row;
                line->filter[line->taps++] = u * conv->window.x.kernel * conv->out_channels;
            }
        }
    }
    return g->line != NULL;
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const uint32_t by_filters = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA;
    const uint32_t by_outputs = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_WEIGHTS;
    depthwise *d = call->host->alloc(call, sizeof *d);
    int32_t status = LAMINA_OK;

    if (d == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = d;
    d->isa = isa_to_use();
    d->multiplier = lamina__group_out(conv);
    d->taps = y->kernel * x->kernel;
    d->relu = setup->fused != NULL;
    d->packed = -1;
    d->image = d->multiplier > 1 ? y->in * x->in * conv->out_channels : 0;
    if (((passes & by_outputs) != 0 &&
         !(make_grid(&conv->window, call, y->out, x->out, lamina__tap_runs_forward, &d->forward) &&
           make_lines(conv, call, LAMINA_PASS_FORWARD, y->out, x->in * conv->out_channels,
                      &d->forward))) ||
        ((passes & LAMINA_PASS_BACKWARD_DATA) != 0 &&
         !(make_grid(&conv->window, call, y->in, x->in, lamina__tap_runs_data, &d->data) &&
           make_lines(conv, call, LAMINA_PASS_BACKWARD_DATA, y->in, x->out * conv->out_channels,
                      &d->data)))) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    const int64_t sums =
        (passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0 ? (d->taps + 1) * conv->out_channels : 0;
    const int64_t scratch = sums + d->image * setup->threads;
    if (scratch > 0) {
        status = call->host->add_scratch(call, (size_t)scratch * sizeof(float));
    }
    if (status >= 0 && (passes & by_filters) != 0) {
        status = d->packed = call->host->add_packed(
            call, "weight_by_tap", (size_t)(d->taps * conv->out_channels) * sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const lamina__conv *conv = self;
    const depthwise *d = kernel;
    const float *weight = io->weight[0]->data;
    (void)call;
    for (int64_t t = 0; d->packed >= 0 && t < d->taps; t++) {
        float *to = (float *)io->packed[d->packed] + t * conv->out_channels;
        for (int64_t o = 0; o < conv->out_channels; o++) {
            to[o] = weight[o * d->taps + t];
        }
    }
    return LAMINA_OK;
}

/* ---- More than one filter for each channel ---- */

/* Output channels begin .. end-1 of an input: to (pixels, O) from x (pixels, I). */
static void copy_channels(const work *w, const float *x, int64_t begin, int64_t end, float *to) {
    const int64_t pixels = w->conv->window.y.in * w->conv->window.x.in, m = w->d->multiplier;
    const int64_t first = (begin + m - 1) / m, last = end / m; /* channels that are copied whole */
    for (int64_t p = 0; p < pixels; p++) {
        const float *from = x + p * w->conv->in_channels;
        float *row = to + p * w->conv->out_channels;
        for (int64_t o = begin; o < first * m && o < end; o++) {
            row[o] = from[o / m];
        }
        if (m == 2) { /* the usual number: compilers make vectors of it */
            for (int64_t c = first; c < last; c++) {
                row[2 * c] = row[2 * c + 1] = from[c];
            }
        } else {
            for (int64_t c = first; c < last; c++) {
                for (int64_t j = 0; j < m; j++) {
                    row[c * m + j] = from[c];
                }
            }
        }
        for (int64_t o = last * m >= begin ? last * m : end; o < end; o++) {
            row[o] = from[o / m];
        }
    }
}

static void add_channels(const work *w, const float *from, float *d_x) {
    const int64_t pixels = w->conv->window.y.in * w->conv->window.x.in, m = w->d->multiplier;
    for (int64_t i = 0; i < pixels * w->conv->in_channels; i++) {
        float sum = from[i * m];
        for (int64_t j = 1; j < m; j++) {
            sum += from[i * m + j];
        }
        d_x[i] = sum;
    }
}

/* ---- Running ---- */

/* A pass over images: c from a, or what both make of the filters. Images are gone through in bands
 * of rows of c, whose pixels p read rows (p * up + low) / down .. (p * up + high) / down of a. */
typedef struct sweep {
    const grid *g;
    int64_t a_rows, a_columns, c_rows, c_columns; /* pixels */
    int64_t up, down, low, high;
    int64_t band;             /* rows of c */
    int64_t stride, mirrored; /* of lines(); 1: the last tap of a row of the filter comes first */
    const float *bias;
    int relu;
} sweep;

static sweep sweep_of(const lamina__conv *conv, const grid *g) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t row = (y->in * x->in / y->out + x->out) * conv->out_channels;
    return (sweep){.g = g,
                   .a_rows = y->in,
                   .a_columns = x->in,
                   .c_rows = y->out,
                   .c_columns = x->out,
                   .up = y->stride,
                   .down = 1,
                   .low = -y->pad_begin,
                   .high = y->extent - 1 - y->pad_begin,
                   .stride = x->stride,
                   .band = BAND / row > 1 ? BAND / row : 1};
}

/* Of backward data: c is the input. */
static sweep sweep_back(const lamina__conv *conv, const grid *g) {
    const lamina__axis *y = &conv->window.y;
    const sweep s = sweep_of(conv, g);
    return (sweep){.g = g,
                   .a_rows = s.c_rows,
                   .a_columns = s.c_columns,
                   .c_rows = s.a_rows,
                   .c_columns = s.a_columns,
                   .up = 1,
                   .down = y->stride,
                   .low = -s.high,
                   .high = -s.low,
                   .stride = 1,
                   .mirrored = 1,
                   .band = s.band * y->stride};
}

/* Reads so many floats for the caches, in the order in which they lie: the processor then fetches
 * far ahead of it, which it does not when a vector of channels is read pixel after pixel. */
static void fetch(const float *from, int64_t n) {
    enum { CACHE_LINE = 64 / sizeof(float) };
    const volatile float *x = from;
    for (int64_t i = 0; i < n; i += CACHE_LINE) {
        (void)x[i];
    }
}

/* What a band, rows begin .. end-1 of c, reads and writes of one sample. */
static void fetch_band(const work *w, const sweep *s, int64_t begin, int64_t end, const float *a,
                       const float *c) {
    const int64_t channels = w->conv->out_channels, a_row = s->a_columns * channels;
    const int64_t c_row = s->c_columns * channels;
    int64_t first = (begin * s->up + s->low) / s->down,
            last = ((end - 1) * s->up + s->high) / s->down;
    first = first > 0 ? first : 0;
    last = last < s->a_rows ? last : s->a_rows - 1;
    fetch(a + first * a_row, (last + 1 - first) * a_row);
    fetch(c + begin * c_row, (end - begin) * c_row);
}

/* The rows of a run of them that lie in [begin, end): [*first, *last), counted in the run. */
static void rows_between(const lamina__tap_run *y, int64_t begin, int64_t end, int64_t *first,
                         int64_t *last) {
    *first = begin <= y->first ? 0 : (begin - y->first + y->step - 1) / y->step;
    *last = end <= y->first ? 0 : (end - y->first + y->step - 1) / y->step;
    *first = *first < y->count ? *first : y->count;
    *last = *last < y->count ? *last : y->count;
}

/* So many rows of the run y and all of x, in floats. */
static lamina__depthwise_run run_of(const lamina__conv *conv, const sweep *s,
                                    const lamina__tap_run *y, const lamina__tap_run *x,
                                    int64_t rows) {
    const int64_t channels = conv->out_channels;
    const int64_t a_row = s->a_columns * channels, c_row = s->c_columns * channels;
    const int is_read = y->taps > 0 && x->taps > 0;
    return (lamina__depthwise_run){
        .channels = channels,
        .rows = rows,
        .columns = x->count,
        .taps = {is_read ? x->taps : 0, is_read ? y->taps : 0},
        .a_step = {x->from_step * channels, y->from_step * a_row},
        .tap_step = {x->from_tap_step * channels, y->from_tap_step * a_row},
        .c_step = {x->step * channels, y->step * c_row},
        .filter_step = {x->tap_step * channels, y->tap_step * conv->window.x.kernel * channels}};
}

/* Rows first .. first+count-1 of a run of rows of one sample. */
static void gather_rows(const work *w, const sweep *s, const lamina__tap_run *y, int64_t first,
                        int64_t count, const float *a, float *c) {
    const lamina__conv *conv = w->conv;
    const int64_t channels = conv->out_channels;
    const float *filters = w->io->packed[w->d->packed];
    const int64_t a_row = y->from + first * y->from_step, c_row = y->first + first * y->step;

    for (int64_t i = 0; i < s->g->n_x; i++) {
        const lamina__tap_run *x = &s->g->x[i];
        const lamina__depthwise_run run = run_of(conv, s, y, x, count);
        w->d->isa->gather(&run, a + (a_row * s->a_columns + x->from) * channels,
                          filters + (y->tap * conv->window.x.kernel + x->tap) * channels, s->bias,
                          s->relu, c + (c_row * s->c_columns + x->first) * channels);
    }
}

/* Rows begin .. end-1 of one sample. */
static void gather_lines(const work *w, const sweep *s, int64_t begin, int64_t end, const float *a,
                         float *c) {
    const int64_t channels = w->conv->out_channels;
    const float *filters = w->io->packed[w->d->packed];
    const lamina__depthwise_lines lines = {.channels = channels,
                                           .rows = end - begin,
                                           .columns = s->c_columns,
                                           .line = s->g->line + begin,
                                           .filter_step = s->mirrored ? -channels : channels,
                                           .relu = s->relu,
                                           .right =
                                               (s->c_columns - 1) * s->stride + 1 >= s->a_columns};
    w->d->isa->lines[s->stride - 1](&lines, a, s->mirrored ? filters + 2 * channels : filters,
                                    s->bias, c + begin * s->c_columns * channels);
}

/* Rows begin .. end-1 of one sample, band after band. */
static void gather(const work *w, const sweep *s, int64_t begin, int64_t end, const float *a,
                   float *c) {
    const int64_t sample =
        (s->a_rows * s->a_columns + s->c_rows * s->c_columns) * w->conv->out_channels;
    const int is_near = w->io->samples * sample < NEAR;
    for (int64_t at = begin; at < end; at += s->band) {
        const int64_t till = at + s->band < end ? at + s->band : end;
        if (s->g->line == NULL || !is_near) { /* lines() reads almost in order */
            fetch_band(w, s, at, till, a, c);
        }
        if (s->g->line != NULL) {
            gather_lines(w, s, at, till, a, c);
            continue;
        }
        for (int64_t i = 0; i < s->g->n_y; i++) {
            int64_t first, last;
            rows_between(&s->g->y[i], at, till, &first, &last);
            if (first < last) {
                gather_rows(w, s, &s->g->y[i], first, last - first, a, c);
            }
        }
    }
}

/* Rows begin .. end-1 of outputs, counted through all samples. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__axis *y = &w->conv->window.y, *x = &w->conv->window.x;
    const depthwise *d = w->d;
    const int64_t in_size = y->in * x->in * w->conv->in_channels;
    const int64_t out_size = y->out * x->out * w->conv->out_channels;
    sweep s = sweep_of(w->conv, &d->forward);
    float *image = (float *)w->io->scratch + thread * d->image;

    s.bias = w->conv->bias ? w->io->weight[1]->data : NULL;
    s.relu = d->relu;
    for (int64_t i = begin; i < end;) {
        const int64_t n = i / y->out, row = i % y->out;
        const int64_t rows = end - i < y->out - row ? end - i : y->out - row;
        const float *in = (const float *)w->io->in[0]->data + n * in_size;
        if (d->multiplier > 1) {
            copy_channels(w, in, 0, w->conv->out_channels, image);
            in = image;
        }
        gather(w, &s, row, row + rows, in, (float *)w->io->out[0]->data + n * out_size);
        i += rows;
    }
    return LAMINA_OK;
}

/* Samples begin .. end-1: when channels are copied, so that it is done once. */
static int32_t forward_samples(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const int64_t rows = ((const work *)arg)->conv->window.y.out;
    return forward(arg, begin * rows, end * rows, thread);
}

/* Rows begin .. end-1 of inputs, counted through all samples. */
static int32_t backward_data(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__axis *y = &w->conv->window.y, *x = &w->conv->window.x;
    const depthwise *d = w->d;
    const int64_t in_size = y->in * x->in * w->conv->in_channels;
    const int64_t out_size = y->out * x->out * w->conv->out_channels;
    const sweep s = sweep_back(w->conv, &d->data);
    float *image = (float *)w->io->scratch + thread * d->image;

    for (int64_t i = begin; i < end;) {
        const int64_t n = i / y->in, row = i % y->in;
        const int64_t rows = end - i < y->in - row ? end - i : y->in - row;
        float *d_in = (float *)w->io->d_in[0]->data + n * in_size;
        gather(w, &s, row, row + rows, (const float *)w->io->d_out[0]->data + n * out_size,
               d->multiplier > 1 ? image : d_in);
        if (d->multiplier > 1) { /* rows are a whole sample's */
            add_channels(w, image, d_in);
        }
        i += rows;
    }
    return LAMINA_OK;
}

static int32_t backward_data_samples(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const int64_t rows = ((const work *)arg)->conv->window.y.in;
    return backward_data(arg, begin * rows, end * rows, thread);
}

/* sums (taps, O) += one sample's, of channels begin .. end-1. a: (pixels, O) of the input. */
static void correlate_sample(const work *w, const float *a, const float *d_out, int64_t begin,
                             int64_t end, float *sums) {
    const int64_t channels = w->conv->out_channels, kernel_x = w->conv->window.x.kernel;
    const sweep s = sweep_of(w->conv, &w->d->forward);

    for (int64_t at = 0; at < s.c_rows; at += s.band) {
        const int64_t till = at + s.band < s.c_rows ? at + s.band : s.c_rows;
        if (end - begin == channels) { /* else threads share the lines */
            fetch_band(w, &s, at, till, a, d_out);
        }
        for (int64_t i = 0; i < s.g->n_y * s.g->n_x; i++) {
            const lamina__tap_run *y = &s.g->y[i / s.g->n_x], *x = &s.g->x[i % s.g->n_x];
            int64_t first, last;
            rows_between(y, at, till, &first, &last);
            if (first < last) {
                lamina__depthwise_run run = run_of(w->conv, &s, y, x, last - first);
                const int64_t a_row = y->from + first * y->from_step, c_row = y->first + first;
                run.channels = end - begin;
                w->d->isa->correlate(&run, a + (a_row * s.a_columns + x->from) * channels + begin,
                                     d_out + (c_row * s.c_columns + x->first) * channels + begin,
                                     sums + (y->tap * kernel_x + x->tap) * channels + begin);
            }
        }
    }
}

/* Vectors begin .. end-1 of the output channels, of all samples. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const depthwise *d = w->d;
    const int64_t channels = conv->out_channels, first = begin * d->isa->width;
    const int64_t last = end * d->isa->width < channels ? end * d->isa->width : channels;
    const int64_t in_size = y->in * x->in * conv->in_channels, out_pixels = y->out * x->out;
    float *sums = w->io->scratch, *image = sums + (d->taps + 1) * channels + thread * d->image;
    float *total = sums + d->taps * channels; /* of dY, for the bias */
    float *d_weight = w->io->d_weight[0] != NULL ? w->io->d_weight[0]->data : NULL;
    float *d_bias = conv->bias && w->io->d_weight[1] != NULL ? w->io->d_weight[1]->data : NULL;

    for (int64_t t = 0; t <= d->taps; t++) {
        memset(sums + t * channels + first, 0, (size_t)(last - first) * sizeof *sums);
    }
    for (int64_t n = 0; n < w->io->samples; n++) {
        const float *in = (const float *)w->io->in[0]->data + n * in_size;
        const float *d_out = (const float *)w->io->d_out[0]->data + n * out_pixels * channels;
        if (d_bias != NULL) {
            d->isa->total(out_pixels, channels, last - first, d_out + first, total + first);
        }
        if (d_weight == NULL) {
            continue;
        }
        if (d->multiplier > 1) {
            copy_channels(w, in, first, last, image);
        }
        correlate_sample(w, d->multiplier > 1 ? image : in, d_out, first, last, sums);
    }
    for (int64_t o = first; o < last; o++) {
        for (int64_t t = 0; d_weight != NULL && t < d->taps; t++) {
            d_weight[o * d->taps + t] += sums[t * channels + o];
        }
        if (d_bias != NULL) {
            d_bias[o] += total[o];
        }
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    const lamina__conv *conv = self;
    const depthwise *d = kernel;
    work w = {.conv = conv, .d = d, .io = io};

    if (pass == LAMINA_PASS_BACKWARD_WEIGHTS) {
        const int64_t vectors = (conv->out_channels + d->isa->width - 1) / d->isa->width;
        return lamina__spread(call, conv->threads, vectors, 1, backward_weights, &w);
    }
    if (pass == LAMINA_PASS_FORWARD) {
        return d->multiplier > 1
                   ? lamina__spread(call, conv->threads, io->samples, 1, forward_samples, &w)
                   : lamina__spread(call, conv->threads, io->samples * conv->window.y.out, 1,
                                    forward, &w);
    }
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    return d->multiplier > 1
               ? lamina__spread(call, conv->threads, io->samples, 1, backward_data_samples, &w)
               : lamina__spread(call, conv->threads, io->samples * conv->window.y.in, 1,
                                backward_data, &w);
}

const lamina_kernel lamina__conv_depthwise = {
    .struct_size = sizeof(lamina_kernel),
    .name = "depthwise",
    .doc = "Each channel by itself, a vector of them at a time, in AVX-512, AVX2 or plain C.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .fuses = lamina__fuses_relu};

#endif
