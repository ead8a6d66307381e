/* Convolution of images of few channels, a network's first: forward, and the filters' gradients.
 *
 * With one or three channels a window has few numbers, so sums are short and what surrounds them
 * counts. Each image is first copied into planes, with its padding: one for each channel and, with
 * a stride, for each column modulo the stride. Then the pixels of a row lie side by side under
 * every tap of the window, whatever channels, stride and dilation are, and a block of up to 24
 * pixels needs one address for all of them.
 *
 *   forward           pixels of a row times one or two vectors of filters, summed over the taps
 *   backward weights  taps times one or two vectors of filters, summed over the pixels of an image:
 *                     the sums stay in registers for the whole image
 *
 * The filters left over from whole vectors, when few, are computed with the pixels in vectors
 * instead: LeNet's 20 would else cost as much as 32.
 *
 * Each sample is computed by itself forward, each tap in the order of the pixels, so samples and
 * threads in a call change no bit. */
#include "layers/conv/conv.h"
#include "layers/conv/planes.h"
#include "layers/parallel.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

/* So many pieces of a row of pixels: of `n` pixels, the first `longer` of them of one more. */
typedef struct cut {
    int64_t pieces, n, longer;
} cut;

typedef struct planes {
    const lamina__planes_isa *isa;
    int64_t rows, row;    /* of a plane, of the image with its padding; a row's floats */
    int64_t plane, image; /* floats of a plane, and of all with room to read past the end */
    int64_t out_row;      /* floats from an output row's first pixel in a plane to the next row's */
    cut cut[LAMINA__PLANES_VECTORS]; /* for blocks of so many vectors of filters, less one */
    int64_t row_vectors;             /* of pixels, that a row of output fills */
    int64_t n_taps;
    int64_t *tap_at;  /* (channel, row and column of the window): its first pixel in the planes */
    int32_t has_runs; /* 1: the taps of a row are side by side, 3, 5 or 7 */
    int64_t n_runs;
    int64_t *run_at;       /* taps of a row of the window: (channel, row) */
    int64_t main_filters;  /* in vectors of filters; those after them are left over */
    int64_t main_wide;     /* their whole vectors, floats */
    int64_t singles;       /* left over */
    int64_t sums_wide;     /* floats of a tap's sums: main_wide and, for each left over, a vector */
    int64_t singles_image; /* floats of the planes of a left-over filter's gradients */
    int32_t packed;        /* filters for the forward pass, or -1 */
    int32_t relu;          /* 1: forward ends with max(0, y) */
} planes;

static const lamina__planes_isa *isa_to_use(void) {
    return LAMINA__SET_TO_USE(lamina__planes);
}

static int has_runs(const lamina__conv *conv) {
    const lamina__axis *x = &conv->window.x;
    return x->stride == 1 && x->dilation == 1 &&
           (x->kernel == 3 || x->kernel == 5 || x->kernel == 7);
}

static int32_t applies(const void *self, const lamina_setup *setup, uint32_t pass) {
    const lamina__conv *conv = self;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;

    (void)setup;
    if (conv->groups != 1 || conv->in_channels > 4 || conv->out_channels < 4 ||
        y->kernel * x->kernel < 4) {
        return 0;
    }
    return pass == LAMINA_PASS_FORWARD || (x->stride == 1 && x->dilation == 1 &&
                                           (x->kernel == 3 || x->kernel == 5 || x->kernel == 7));
}

/* ---- Making it ---- */

static int64_t whole(int64_t n, int64_t of) {
    return (n + of - 1) / of * of;
}

static void measure(const lamina__conv *conv, planes *k) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t stride = x->stride;

    k->isa = isa_to_use();
    const int64_t width = k->isa->width, rest = conv->out_channels % width;
    k->rows = (y->out - 1) * y->stride + y->extent;
    k->row = whole((x->out - 1) * stride + x->extent, stride) / stride;
    k->plane = k->rows * k->row;
    k->image = whole(k->plane * stride * conv->in_channels + width, LAMINA__PLANES_VECTOR);
    k->out_row = y->stride * k->row;
    for (int i = 0; i < LAMINA__PLANES_VECTORS; i++) {
        const int64_t pieces = (x->out + k->isa->pixels[i] - 1) / k->isa->pixels[i];
        k->cut[i] = (cut){pieces, x->out / pieces, x->out % pieces};
    }
    k->row_vectors = (x->out + width - 1) / width;
    k->n_taps = conv->in_channels * y->kernel * x->kernel;
    k->has_runs = has_runs(conv);
    k->n_runs = conv->in_channels * y->kernel;
    /* A left-over filter costs as much as a vector does, divided by the width, if a row's pixels
     * fill their vectors. */
    const int64_t lanes = whole(x->out, width);
    k->singles = rest * lanes * 5 <= width * x->out * 4 ? rest : 0;
    k->main_filters = conv->out_channels - k->singles;
    k->main_wide = whole(k->main_filters, width);
    k->sums_wide = k->main_wide + k->singles * width;
    k->singles_image = whole((y->out - 1) * k->out_row + x->out, LAMINA__PLANES_VECTOR);
}

static int make_taps(const lamina__conv *conv, lamina_call *call, planes *k) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;

    k->tap_at = call->host->alloc(call, (size_t)k->n_taps * sizeof *k->tap_at);
    k->run_at = call->host->alloc(call, (size_t)k->n_runs * sizeof *k->run_at);
    if (k->tap_at == NULL || k->run_at == NULL) {
        return 0;
    }
    for (int64_t r = 0; r < k->n_runs; r++) {
        const int64_t c = r / y->kernel, u = r % y->kernel;
        for (int64_t v = 0; v < x->kernel; v++) {
            const int64_t column = v * x->dilation, plane = c * x->stride + column % x->stride;
            k->tap_at[r * x->kernel + v] =
                plane * k->plane + u * y->dilation * k->row + column / x->stride;
        }
        k->run_at[r] = k->tap_at[r * x->kernel];
    }
    return 1;
}

/* Floats of scratch of a thread, and before them, of all threads together. */
static int64_t own_scratch(const planes *k, uint32_t pass) {
    return k->image + (pass == LAMINA_PASS_FORWARD ? 0 : k->singles * k->singles_image);
}

static int64_t shared_scratch(const planes *k) {
    return whole((k->n_taps + 1) * k->sums_wide, LAMINA__PLANES_VECTOR);
}

static int32_t create(const void *self, lamina_call *call, const lamina_setup *setup,
                      uint32_t passes, void **kernel) {
    const lamina__conv *conv = self;
    planes *k = call->host->alloc(call, sizeof *k);

    if (k == NULL) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    *kernel = k;
    measure(conv, k);
    k->relu = setup->fused != NULL;
    k->packed = -1;
    if (!make_taps(conv, call, k)) {
        return call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    int32_t status = LAMINA_OK;
    if ((passes & LAMINA_PASS_FORWARD) != 0) {
        status = k->packed = call->host->add_packed(
            call, "weight_forward",
            (size_t)(k->n_taps * (k->main_wide + k->singles)) * sizeof(float));
    }
    if (status >= 0) {
        int64_t scratch = own_scratch(k, LAMINA_PASS_FORWARD) * setup->threads;
        if ((passes & LAMINA_PASS_BACKWARD_WEIGHTS) != 0) {
            scratch =
                own_scratch(k, LAMINA_PASS_BACKWARD_WEIGHTS) * setup->threads + shared_scratch(k);
        }
        status = call->host->add_scratch(call, (size_t)scratch * sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

/* ---- Panels: the main filters by one or two vectors; the others by up to four ---- */

static int64_t vectors_at(const planes *k, int64_t first) {
    return k->main_wide - first > k->isa->width ? 2 : 1;
}

/* Filters in the last vector of a panel. */
static int32_t last_of(const planes *k, int64_t first, int64_t vectors) {
    const int64_t past = k->main_filters - first - (vectors - 1) * k->isa->width;
    return past < k->isa->width ? (int32_t)past : k->isa->width;
}

static int64_t singles_at(const lamina__conv *conv, int64_t first) {
    const int64_t left = conv->out_channels - first;
    return left < LAMINA__PLANES_SINGLE ? left : LAMINA__PLANES_SINGLE;
}

/* Filters first .. first+n-1 as (taps, wide), in the order of the planes; the rest of wide is 0. */
static float *pack(const lamina__conv *conv, const planes *k, const float *weight, int64_t first,
                   int64_t n, int64_t wide, float *to) {
    const int64_t channels = conv->in_channels, taps = k->n_taps / channels;
    for (int64_t t = 0; t < k->n_taps; t++, to += wide) {
        const float *from = weight + first * k->n_taps + t % taps * channels + t / taps;
        for (int64_t o = 0; o < wide; o++) {
            to[o] = o < n ? from[o * k->n_taps] : 0;
        }
    }
    return to;
}

static int32_t prepare(const void *self, void *kernel, lamina_call *call, const lamina_io *io) {
    const lamina__conv *conv = self;
    const planes *k = kernel;
    const float *weight = io->weight[0]->data;

    (void)call;
    float *to = k->packed >= 0 ? io->packed[k->packed] : NULL;
    if (to == NULL) {
        return LAMINA_OK;
    }
    for (int64_t o = 0, vectors = 0; o < k->main_filters; o += vectors * k->isa->width) {
        vectors = vectors_at(k, o);
        const int64_t wide = vectors * k->isa->width;
        const int64_t n = k->main_filters - o < wide ? k->main_filters - o : wide;
        to = pack(conv, k, weight, o, n, wide, to);
    }
    for (int64_t o = k->main_filters; o < conv->out_channels; o += LAMINA__PLANES_SINGLE) {
        to = pack(conv, k, weight, o, singles_at(conv, o), singles_at(conv, o), to);
    }
    return LAMINA_OK;
}

/* ---- Planes ---- */

static void take_every(int64_t step, int64_t n, const float *from, float *to) {
    for (int64_t i = 0; i < n; i++) {
        to[i] = from[i * step];
    }
}

/* Rows begin .. end-1 of the planes, but for the padding, which is there. */
static void fill_planes(const lamina__conv *conv, const planes *k, const float *image,
                        int64_t begin, int64_t end, float *to) {
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t channels = conv->in_channels, stride = x->stride;

    begin = begin > y->pad_begin ? begin : y->pad_begin;
    end = end < y->in + y->pad_begin ? end : y->in + y->pad_begin;
    for (int64_t plane = 0; plane < channels * stride; plane++) {
        const int64_t c = plane / stride, phase = plane % stride;
        /* columns of the plane that are pixels of the image: column * stride + phase - padding */
        const int64_t first =
            x->pad_begin > phase ? whole(x->pad_begin - phase, stride) / stride : 0;
        const int64_t past = whole(x->in + x->pad_begin - phase, stride) / stride;
        const int64_t n = (past < k->row ? past : k->row) - first;
        if (channels * stride == 1 && n == x->in && n == k->row && end > begin) { /* no gaps */
            memcpy(to + begin * k->row, image + (begin - y->pad_begin) * n,
                   (size_t)((end - begin) * n) * sizeof *to);
            return;
        }
        if (n <= 0) { /* padding alone */
            continue;
        }
        const float *from = image + (first * stride + phase - x->pad_begin) * channels + c;
        for (int64_t i = begin; i < end; i++) {
            const float *row = from + (i - y->pad_begin) * x->in * channels;
            float *into = to + plane * k->plane + i * k->row + first;
            if (channels * stride == 1) {
                memcpy(into, row, (size_t)n * sizeof *into);
            } else if (channels * stride == 3) {
                take_every(3, n, row, into);
            } else {
                take_every(channels * stride, n, row, into);
            }
        }
    }
}

/* ---- Running ---- */

/* One run of a pass, as the threads share it. */
typedef struct work {
    const lamina__conv *conv;
    const planes *k;
    const lamina_io *io;
} work;

/* So many rows of output pixels times the main filters. */
static void main_rows(const work *w, const float *image, float *out, int64_t rows) {
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const float *bias = conv->bias ? w->io->weight[1]->data : NULL;
    lamina__planes_tile tile = {.filters = w->io->packed[k->packed],
                                .rows = rows,
                                .image_row = k->out_row,
                                .out_row = conv->window.x.out * conv->out_channels,
                                .out_step = conv->out_channels,
                                .relu = k->relu};

    for (int64_t o = 0, vectors = 0; o < k->main_filters; o += vectors * k->isa->width) {
        vectors = vectors_at(k, o);
        const int by_runs = k->has_runs && vectors == 1;
        lamina__planes_forward *const *fn =
            by_runs ? k->isa->forward_runs[conv->window.x.kernel / 2 - 1]
                    : k->isa->forward[vectors - 1];
        const cut row = k->cut[vectors - 1];
        tile.bias = bias != NULL ? bias + o : NULL;
        tile.last = last_of(k, o, vectors);
        tile.image = image;
        tile.out = out + o;
        tile.tap_at = by_runs ? k->run_at : k->tap_at;
        tile.n_taps = by_runs ? k->n_runs : k->n_taps;
        tile.blocks = row.longer;
        if (row.longer > 0) {
            fn[row.n](&tile);
            tile.image += row.longer * (row.n + 1);
            tile.out += row.longer * (row.n + 1) * conv->out_channels;
        }
        tile.blocks = row.pieces - row.longer;
        fn[row.n - 1](&tile);
        tile.filters += k->n_taps * vectors * k->isa->width;
    }
}

/* A block of vectors of pixels, of which `tile` knows where they are, times the left-over filters.
 */
static void single_block(const work *w, lamina__planes_lanes *tile) {
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const float *bias = conv->bias ? w->io->weight[1]->data : NULL;
    const float *packed = (const float *)w->io->packed[k->packed] + k->n_taps * k->main_wide;

    for (int64_t o = k->main_filters; o < conv->out_channels; o += LAMINA__PLANES_SINGLE) {
        const int64_t n = singles_at(conv, o);
        tile->filters = packed;
        tile->bias = bias != NULL ? bias + o : NULL;
        k->isa->forward_lanes[n - 1](tile);
        for (int32_t p = 0; p < k->isa->lanes; p++) {
            tile->out[p] += n;
        }
        packed += k->n_taps * n;
    }
}

/* Rows begin .. end-1 of output pixels times the left-over filters. */
static void single_rows(const work *w, const float *image, float *out, int64_t begin, int64_t end) {
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const int64_t out_x = conv->window.x.out, filters = conv->out_channels;
    const int32_t lanes = k->isa->lanes;
    lamina__planes_lanes tile = {
        .tap_at = k->tap_at, .n_taps = k->n_taps, .out_step = filters, .relu = k->relu};

    int32_t used = 0;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t j = 0; j < out_x; j += k->isa->width) {
            const int64_t left = out_x - j;
            tile.image[used] = image + i * k->out_row + j;
            tile.out[used] = out + (i * out_x + j) * filters + k->main_filters;
            tile.count[used] = left < k->isa->width ? (int32_t)left : k->isa->width;
            if (++used == lanes) {
                single_block(w, &tile);
                used = 0;
            }
        }
    }
    if (used > 0) {
        for (int32_t p = used; p < lanes; p++) {
            tile.image[p] = tile.image[0];
            tile.out[p] = tile.out[0];
            tile.count[p] = 0;
        }
        single_block(w, &tile);
    }
}

/* Rows begin .. end-1 of each sample's output. */
static int32_t forward(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t out_row = x->out * conv->out_channels;
    float *image = (float *)w->io->scratch + thread * own_scratch(k, LAMINA_PASS_FORWARD);
    /* Rows whose output stays in the first-level cache from one panel of filters to the next. */
    enum { BAND = 24 * 1024 / sizeof(float) };
    const int64_t band = out_row < BAND ? BAND / out_row : 1;

    memset(image, 0, (size_t)k->image * sizeof *image);
    for (int64_t n = 0; n < w->io->samples; n++) {
        const float *in = (const float *)w->io->in[0]->data + n * y->in * x->in * conv->in_channels;
        float *out = (float *)w->io->out[0]->data + n * y->out * out_row;
        fill_planes(conv, k, in, begin * y->stride, (end - 1) * y->stride + y->extent, image);
        for (int64_t i = begin; i < end; i += band) {
            const int64_t past = i + band < end ? i + band : end;
            main_rows(w, image + i * k->out_row, out + i * out_row, past - i);
            if (k->singles > 0) {
                single_rows(w, image, out, i, past);
            }
        }
    }
    return LAMINA_OK;
}

/* sums (taps, sums_wide) += what one sample adds to runs begin .. end-1 of taps; with the first, to
 * the row after the last tap, which is the bias's. */
static void add_main(const work *w, const float *image, const float *d_out, int64_t begin,
                     int64_t end, float *sums) {
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const int64_t taps = conv->window.x.kernel, shape = taps / 2 - 1;
    lamina__planes_runs tile = {.image = image,
                                .rows = conv->window.y.out,
                                .columns = conv->window.x.out,
                                .image_row = k->out_row,
                                .d_step = conv->out_channels,
                                .sums_step = k->sums_wide};

    for (int64_t o = 0, vectors = 0; o < k->main_filters; o += vectors * k->isa->width) {
        vectors = vectors_at(k, o);
        vectors = k->isa->runs[shape][vectors - 1] > 0 ? vectors : 1;
        const int64_t most = k->isa->runs[shape][vectors - 1];
        tile.d_out = d_out + o;
        tile.last = last_of(k, o, vectors);
        int64_t first = begin;
        for (int64_t left = (end - begin + most - 1) / most; left > 0; left--) {
            const int64_t n = (end - first + left - 1) / left;
            tile.run_at = k->run_at + first;
            tile.sums = sums + first * taps * k->sums_wide + o;
            tile.ones = first == 0 ? sums + k->n_taps * k->sums_wide + o : NULL;
            k->isa->weights[shape][vectors - 1][n - 1](&tile);
            first += n;
        }
    }
}

/* The same for the left-over filters, whose gradients go to planes first. */
static void add_singles(const work *w, const float *image, const float *d_out, int64_t begin,
                        int64_t end, float *d_planes, float *sums) {
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t filters = conv->out_channels, width = k->isa->width;
    lamina__planes_singles tile = {.image = image,
                                   .n = whole((y->out - 1) * k->out_row + x->out, width),
                                   .d_step = k->singles_image,
                                   .sums_step = k->sums_wide};

    sums += k->main_wide;
    begin *= x->kernel;
    end *= x->kernel;
    for (int64_t o = k->main_filters; o < filters; o += LAMINA__PLANES_SINGLE) {
        const int64_t n_filters = singles_at(conv, o);
        for (int64_t i = 0; i < y->out; i++) {
            k->isa->split(d_out + i * x->out * filters + o, filters, x->out, n_filters,
                          d_planes + i * k->out_row, k->singles_image);
        }
        tile.d_out = d_planes;
        int64_t first = begin;
        for (int64_t left = (end - begin + k->isa->taps - 1) / k->isa->taps; left > 0; left--) {
            const int64_t n = (end - first + left - 1) / left;
            tile.tap_at = k->tap_at + first;
            tile.sums = sums + first * k->sums_wide;
            tile.ones = first == 0 ? sums + k->n_taps * k->sums_wide : NULL;
            k->isa->weights_single[n_filters - 1][n - 1](&tile);
            first += n;
        }
        d_planes += n_filters * k->singles_image;
        sums += n_filters * width;
    }
}

/* The filters' gradients by one number of the window, `step` floats apart, += a row of sums. */
static void add_row(const lamina__conv *conv, const planes *k, const float *from, float *to,
                    int64_t step) {
    for (int64_t o = 0; o < k->main_filters; o++) {
        to[o * step] += from[o];
    }
    from += k->main_wide;
    for (int64_t o = k->main_filters; o < conv->out_channels; o++, from += k->isa->width) {
        float part[LAMINA__PLANES_VECTOR];
        memcpy(part, from, (size_t)k->isa->width * sizeof *part);
        for (int64_t half = k->isa->width / 2; half > 0; half /= 2) {
            for (int64_t i = 0; i < half; i++) {
                part[i] += part[half + i];
            }
        }
        to[o * step] += part[0];
    }
}

/* Runs begin .. end-1 of taps, and the bias with the first of them. */
static int32_t backward_weights(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const lamina__conv *conv = w->conv;
    const planes *k = w->k;
    const lamina_io *io = w->io;
    const lamina__axis *y = &conv->window.y, *x = &conv->window.x;
    const int64_t in_size = y->in * x->in * conv->in_channels;
    const int64_t out_size = y->out * x->out * conv->out_channels;
    const int64_t channels = conv->in_channels, area = k->n_taps / channels;
    const int64_t own = own_scratch(k, LAMINA_PASS_BACKWARD_WEIGHTS), wide = k->sums_wide;
    const lamina_tensor *d_bias = conv->bias && begin == 0 ? io->d_weight[1] : NULL;
    float *sums = io->scratch, *image = sums + shared_scratch(k) + thread * own;
    float *bias_sums = sums + k->n_taps * wide;

    memset(image, 0, (size_t)own * sizeof *image);
    memset(sums + begin * x->kernel * wide, 0,
           (size_t)((end - begin) * x->kernel * wide) * sizeof *sums);
    if (begin == 0) {
        memset(bias_sums, 0, (size_t)wide * sizeof *sums);
    }
    for (int64_t n = 0; n < io->samples; n++) {
        const float *d_out = (const float *)io->d_out[0]->data + n * out_size;
        fill_planes(conv, k, (const float *)io->in[0]->data + n * in_size, 0, k->rows, image);
        add_main(w, image, d_out, begin, end, sums);
        if (k->singles > 0) {
            add_singles(w, image, d_out, begin, end, image + k->image, sums);
        }
    }
    for (int64_t t = begin * x->kernel; t < end * x->kernel && io->d_weight[0] != NULL; t++) {
        float *d_weight = (float *)io->d_weight[0]->data + t % area * channels + t / area;
        add_row(conv, k, sums + t * wide, d_weight, k->n_taps);
    }
    if (d_bias != NULL) {
        add_row(conv, k, bias_sums, d_bias->data, 1);
    }
    return LAMINA_OK;
}

static int32_t run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                   const lamina_io *io) {
    work w = {.conv = self, .k = kernel, .io = io};

    if (pass == LAMINA_PASS_FORWARD) {
        return lamina__spread(call, w.conv->threads, w.conv->window.y.out, 1, forward, &w);
    }
    return lamina__spread(call, w.conv->threads, w.k->n_runs, 1, backward_weights, &w);
}

const lamina_kernel lamina__conv_planes = {
    .struct_size = sizeof(lamina_kernel),
    .name = "planes",
    .doc = "Few input channels: the image in planes, pixels or taps in registers.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_WEIGHTS,
    .applies = applies,
    .create = create,
    .prepare = prepare,
    .run = run,
    .fuses = lamina__fuses_relu};

#endif
