/* dropout: in training each number is kept with probability 1 - p and divided by that, or becomes
 * 0; in evaluation the layer changes nothing. Any shape.
 *
 *   y = m * x,  dx = m * dy,  m = 1/(1-p) where kept, else 0, so that the mean of y is x
 *
 * Which are kept is a function of the seed, the layer, the step and the number's place in the
 * batch, so neither shards nor threads change it. One byte for each number remembers it for
 * backward. Both passes can work in place. Srivastava, Hinton, Krizhevsky, Sutskever and
 * Salakhutdinov 2014. */
#include "layers/dropout.h"
#include "layers/parallel.h"
#include "layers/real.h"
#include "layers/self.h"
#include "layers/shape.h"

#include <string.h>

/* GRAIN as elsewhere; BLOCK: random numbers drawn at a time, a multiple of what Philox makes side
 * by side. */
enum { GRAIN = 16384, BLOCK = 1024 };

typedef struct dropout_config {
    double p;
} dropout_config;

typedef struct dropout {
    const dropout_config *config;
    int64_t elements; /* of a sample */
    int32_t threads;
} dropout;

#define FIELD(name) offsetof(dropout_config, name)

static const lamina_param params[] = {
    LAMINA__DROPOUT_P_PARAM(FIELD(p), "Probability that a number becomes 0 in training."),
};

static int32_t create(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(dropout), self);
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    dropout *layer = self;
    int32_t status = LAMINA_OK;
    layer->elements = lamina__sample_size(setup->in[0]);
    layer->threads = setup->threads;
    if (setup->training) {
        const lamina_shape kept = {
            .dtype = LAMINA_U8, .ndim = 2, .dim = {setup->in[0]->dim[0], layer->elements}};
        status = call->host->add_saved(call, "kept", &kept);
    }
    return status < 0 ? status : call->host->set_output(call, 0, setup->in[0]);
}

/* kept = 1 where the uniform number is not below p. */
LAMINA__VECTOR_CLONES
static void keep(const float *uniform, float p, uint8_t *kept, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        kept[i] = uniform[i] >= p;
    }
}

/* y = x times scale or 0; y may be x. */
LAMINA__VECTOR_CLONES
static void mask(const lamina_real *x, const uint8_t *kept, lamina_real scale, lamina_real *y,
                 int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * ((lamina_real)kept[i] * scale);
    }
}

/* One pass of one call, as the threads share it. */
typedef struct work {
    lamina_call *call;
    const lamina_real *from;
    lamina_real *to;
    uint8_t *kept;
    uint64_t place; /* of from[0] in the batch */
    float p;
    lamina_real scale;
} work;

/* Numbers begin .. end-1. The blocks lie at multiples of BLOCK in the batch, whatever the call is.
 */
static int32_t forward_numbers(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    float uniform[BLOCK];
    (void)thread;
    for (int64_t at = begin, n; at < end; at += n) {
        const uint64_t place = w->place + (uint64_t)at;
        n = BLOCK - (int64_t)(place % BLOCK);
        n = end - at < n ? end - at : n;
        w->call->host->uniform(w->call, place, uniform, (size_t)n);
        keep(uniform, w->p, w->kept + at, n);
        mask(w->from + at, w->kept + at, w->scale, w->to + at, n);
    }
    return LAMINA_OK;
}

static int32_t backward_numbers(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    mask(w->from + begin, w->kept + begin, w->scale, w->to + begin, end - begin);
    return LAMINA_OK;
}

static int32_t copy_numbers(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    memcpy(w->to + begin, w->from + begin, (size_t)(end - begin) * sizeof *w->to);
    return LAMINA_OK;
}

static work work_of(const dropout *layer, lamina_call *call, const lamina_io *io) {
    const double p = layer->config->p;
    return (work){.call = call,
                  .kept = io->phase == LAMINA_TRAIN ? io->saved[0]->data : NULL,
                  .place = (uint64_t)io->first_sample * (uint64_t)layer->elements,
                  .p = (float)p,
                  .scale = p < 1 ? (lamina_real)(1 / (1 - p)) : 0};
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const dropout *layer = self;
    const int64_t n = io->samples * layer->elements;
    work w = work_of(layer, call, io);
    w.from = io->in[0]->data;
    w.to = io->out[0]->data;
    if (io->phase == LAMINA_TRAIN) {
        return lamina__spread(call, layer->threads, n, GRAIN, forward_numbers, &w);
    }
    return w.from == w.to ? LAMINA_OK
                          : lamina__spread(call, layer->threads, n, GRAIN, copy_numbers, &w);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const dropout *layer = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = work_of(layer, call, io);
    w.from = io->d_out[0]->data;
    w.to = io->d_in[0]->data;
    return lamina__spread(call, layer->threads, io->samples * layer->elements, GRAIN,
                          backward_numbers, &w);
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4], params: {p: 0.2}}",
                                    "{input: [2, 600], params: {p: 0.9}}", NULL};

const lamina_layer_type LAMINA__LAYER(dropout) = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "dropout",
    .doc = "In training sets numbers to 0 at random and makes up for it in the others.",
    .flags = LAMINA_IN_PLACE | LAMINA_USES_RANDOM,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(dropout_config),
    .n_params = sizeof params / sizeof *params,
    .param_stride = sizeof(lamina_param),
    .params = params,
    .create = create,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};
