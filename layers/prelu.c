/* prelu, parametric rectified linear unit: y = x where x > 0, else a x, with a learned: one number,
 * or one for each channel (feature), as torch.nn.PReLU.
 *
 *   dx = dy where x > 0, else a dy          da = the sum of x dy where x <= 0
 *
 * for a channel's a over its numbers alone. (N, ...) with the channels in dimension 1. As in the
 * paper, weight decay leaves a alone: it would pull the layer towards relu. He, Zhang, Ren and Sun
 * 2015. */
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

/* Numbers: less is not worth a thread; at a time, in L1. Parts in which a sum is taken, few enough
 * to be added up one by one, and the same whatever the threads are. Sums side by side where there
 * is one a. */
enum { GRAIN = 16384, BLOCK = 2048, PARTS = 32, LANES = 16 };

typedef struct prelu_config {
    int32_t shared;
} prelu_config;

typedef struct prelu {
    const prelu_config *config;
    int64_t elements; /* of a sample */
    int64_t channels; /* with an a each; 0: they share one */
    int64_t columns;  /* sums side by side: channels, or LANES */
    int32_t threads;
} prelu;

#define FIELD(name) offsetof(prelu_config, name)

static const lamina_param params[] = {
    {.name = "shared",
     .doc = "Whether all channels share one weight; false: one for each channel.",
     .type = LAMINA_BOOL,
     .offset = FIELD(shared),
     .def = "true"},
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(prelu), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    prelu *layer = self;
    const lamina_shape *in = setup->in[0];
    const int32_t shared = layer->config->shared;
    if (!shared && in->ndim != 2 && in->ndim != 4) {
        return call->host->fail(
            call, LAMINA_ERROR_SHAPE,
            "needs flat (N, F) or image (N, C, H, W) input for a weight of each "
            "channel, got %s",
            lamina__dims(in).text);
    }
    layer->elements = lamina__sample_size(in);
    layer->channels = shared ? 0 : in->dim[1];
    layer->columns = shared ? LANES : in->dim[1];
    layer->threads = setup->threads;
    const lamina_weight weight = {
        .struct_size = sizeof weight,
        .name = "weight",
        .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {shared ? 1 : in->dim[1]}},
        .init = {.kind = LAMINA_INIT_CONSTANT, .value = 0.25},
        .flags = LAMINA_WEIGHT_NO_DECAY};
    int32_t status = call->host->add_weight(call, &weight);
    if (status >= 0 && setup->training) {
        status =
            call->host->add_scratch(call, (size_t)(PARTS * layer->columns) * sizeof(lamina_real));
    }
    return status < 0 ? status : call->host->set_output(call, 0, in);
}

/* One pass of one call, as the threads share it. The numbers are rows of `columns`, the last one
 * perhaps shorter where they share an a. */
typedef struct work {
    const prelu *layer;
    int64_t count, rows;
    const lamina_real *a, *x, *dy;
    lamina_real *to;   /* y, or dx; NULL: not wanted */
    lamina_real *sums; /* PARTS rows of columns; NULL: not wanted */
} work;

/* to = from where x > 0, else a from; `channels` of them have an a each, 0: all the same. In the
 * forward pass `from` is x, in the backward pass dy. */
LAMINA__VECTOR_CLONES
static void bend(const lamina_real *a, int64_t channels, const lamina_real *x,
                 const lamina_real *from, lamina_real *to, int64_t n) {
    const lamina_real one = a[0];
    if (channels == 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            to[i] = x[i] > 0 ? from[i] : one * from[i];
        }
        return;
    }
    for (int64_t at = 0; at < n; at += channels) {
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            to[at + c] = x[at + c] > 0 ? from[at + c] : a[c] * from[at + c];
        }
    }
}

/* sums += x dy where x <= 0, row by row. What is chosen is x, not the product: GCC 12 makes wrong
 * AVX-512 code of `sum += x > 0 ? 0 : x * dy` in double. */
LAMINA__VECTOR_CLONES
static void add_rows(const lamina_real *x, const lamina_real *dy, int64_t columns,
                     lamina_real *restrict sums, int64_t n) {
    for (; n > 0; n -= columns, x += columns, dy += columns) {
        const int64_t length = n < columns ? n : columns;
#pragma omp simd
        for (int64_t c = 0; c < length; c++) {
            sums[c] += (x[c] > 0 ? 0 : x[c]) * dy[c];
        }
    }
}

/* The same for LANES columns, which then are a vector or two. */
LAMINA__VECTOR_CLONES
static void add_lanes(const lamina_real *x, const lamina_real *dy, lamina_real *restrict sums,
                      int64_t n) {
    lamina_real lane[LANES];
    int64_t at = 0;
    memcpy(lane, sums, sizeof lane);
    for (; at + LANES <= n; at += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += (x[at + l] > 0 ? 0 : x[at + l]) * dy[at + l];
        }
    }
    for (int l = 0; at + l < n; l++) {
        lane[l] += (x[at + l] > 0 ? 0 : x[at + l]) * dy[at + l];
    }
    memcpy(sums, lane, sizeof lane);
}

/* The numbers that rows begin .. end-1 are. */
static int64_t length_of(const work *w, int64_t begin, int64_t end) {
    const int64_t last = end * w->layer->columns;
    return (last < w->count ? last : w->count) - begin * w->layer->columns;
}

static int32_t forward_rows(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t at = begin * w->layer->columns;
    (void)thread;
    bend(w->a, w->layer->channels, w->x + at, w->x + at, w->to + at, length_of(w, begin, end));
    return LAMINA_OK;
}

/* Rows begin .. end-1 of one part, a block at a time, so that x and dy are read from memory once.
 */
static void backward_rows(const work *w, int64_t begin, int64_t end, lamina_real *sums) {
    const int64_t columns = w->layer->columns, block = BLOCK / columns + 1;
    for (int64_t r = begin; r < end; r += block) {
        const int64_t at = r * columns, n = length_of(w, r, r + block < end ? r + block : end);
        if (w->to != NULL) {
            bend(w->a, w->layer->channels, w->x + at, w->dy + at, w->to + at, n);
        }
        if (sums != NULL && w->layer->channels == 0) {
            add_lanes(w->x + at, w->dy + at, sums, n);
        } else if (sums != NULL) {
            add_rows(w->x + at, w->dy + at, columns, sums, n);
        }
    }
}

/* Parts begin .. end-1 of the rows. */
static int32_t backward_parts(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    const int64_t columns = w->layer->columns;
    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        lamina_real *sums = w->sums != NULL ? w->sums + part * columns : NULL;
        if (sums != NULL) {
            memset(sums, 0, (size_t)columns * sizeof *sums);
        }
        backward_rows(w, w->rows * part / PARTS, w->rows * (part + 1) / PARTS, sums);
    }
    return LAMINA_OK;
}

static work work_of(const prelu *layer, const lamina_io *io) {
    const int64_t count = io->samples * layer->elements;
    return (work){.layer = layer,
                  .count = count,
                  .rows = (count + layer->columns - 1) / layer->columns,
                  .a = io->weight[0]->data,
                  .x = io->in[0]->data};
}

/* da += the sums of all parts, and of all lanes where there is one a. */
static void add_parts(const prelu *layer, const lamina_real *sums, lamina_real *da) {
    lamina_real all = 0;
    for (int64_t c = 0; c < layer->columns; c++) {
        lamina_real sum = 0;
        for (int64_t part = 0; part < PARTS; part++) {
            sum += sums[part * layer->columns + c];
        }
        if (layer->channels == 0) {
            all += sum;
        } else {
            da[c] += sum;
        }
    }
    if (layer->channels == 0) {
        da[0] += all;
    }
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const prelu *layer = self;
    work w = work_of(layer, io);
    w.to = io->out[0]->data;
    return lamina__spread(call, layer->threads, w.rows, GRAIN / layer->columns + 1, forward_rows,
                          &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const prelu *layer = self;
    work w = work_of(layer, io);
    w.dy = io->d_out[0]->data;
    w.to = io->d_in[0] != NULL ? io->d_in[0]->data : NULL;
    w.sums = io->d_weight[0] != NULL ? io->scratch : NULL;
    const int32_t status = lamina__spread(call, layer->threads, PARTS,
                                          (int64_t)PARTS * GRAIN / w.count + 1, backward_parts, &w);
    if (status == LAMINA_OK && w.sums != NULL) {
        add_parts(layer, w.sums, io->d_weight[0]->data);
    }
    return status;
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [3, 7], params: {shared: false}}",
                                    "{input: [2, 17, 6, 7], params: {shared: false}}", NULL};

const lamina_layer_type LAMINA__LAYER(prelu) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "prelu",
    .doc = "Rectified linear unit whose slope for negative values is learned.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(prelu_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
