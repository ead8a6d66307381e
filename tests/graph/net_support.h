/* What the tests of the graph share: a net from YAML text, layers made for tests, made-up batches.
 */
#ifndef LAMINA_TESTS_NET_SUPPORT_H
#define LAMINA_TESTS_NET_SUPPORT_H

#include "base/alloc.h"
#include "config/diag.h"
#include "graph/net.h"
#include "layers/builtin.h"
#include "support.h"

#include <math.h>

/* ---- Layers for tests ---- */

/* test_add: y = a + b; two inputs of one shape. */
static inline int32_t add_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    if (setup->in[0]->ndim != setup->in[1]->ndim) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "inputs differ in shape");
    }
    return call->host->set_output(call, 0, setup->in[0]);
}

static inline int64_t tensor_count(const lamina_tensor *tensor) {
    int64_t count = 1;
    for (int32_t i = 0; i < tensor->shape.ndim; i++) {
        count *= tensor->shape.dim[i];
    }
    return count;
}

static inline int32_t add_forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *a = io->in[0]->data, *b = io->in[1]->data;
    float *y = io->out[0]->data;
    (void)self;
    (void)call;
    for (int64_t i = 0; i < tensor_count(io->out[0]); i++) {
        y[i] = a[i] + b[i];
    }
    return LAMINA_OK;
}

static inline int32_t add_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    for (int32_t k = 0; k < 2; k++) {
        if (io->d_in[k] != NULL) {
            memcpy(io->d_in[k]->data, io->d_out[0]->data,
                   (size_t)tensor_count(io->d_out[0]) * sizeof(float));
        }
    }
    return LAMINA_OK;
}

static const lamina_layer_type test_add_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_add",
    .doc = "adds two inputs",
    .state_version = 1,
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = add_setup,
    .forward = add_forward,
    .backward = add_backward,
};

/* test_center: subtracts each feature's mean over the batch: couples the batch. It keeps the mean
 * it saw last as state. */
static inline int32_t center_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    lamina_shape mean = {LAMINA_F32, 1, {1}};
    for (int32_t i = 1; i < setup->in[0]->ndim; i++) {
        mean.dim[0] *= setup->in[0]->dim[i];
    }
    const int32_t state = call->host->add_state(call, "mean", &mean, 0);
    return state < 0 ? state : call->host->set_output(call, 0, setup->in[0]);
}

static inline void center(const float *x, float *y, int64_t n, int64_t features, float *means) {
    for (int64_t f = 0; f < features; f++) {
        double mean = 0;
        for (int64_t i = 0; i < n; i++) {
            mean += x[i * features + f];
        }
        mean /= (double)n;
        if (means != NULL) {
            means[f] = (float)mean;
        }
        for (int64_t i = 0; i < n; i++) {
            y[i * features + f] = x[i * features + f] - (float)mean;
        }
    }
}

static inline int32_t center_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    if (io->samples != io->batch) {
        return call->host->fail(call, LAMINA_ERROR_INTERNAL, "got a part of the batch");
    }
    const int64_t features = tensor_count(io->in[0]) / io->samples;
    center(io->in[0]->data, io->out[0]->data, io->samples, features,
           io->phase == LAMINA_TRAIN ? io->state[0]->data : NULL);
    return LAMINA_OK;
}

static inline int32_t center_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    const int64_t features = tensor_count(io->d_out[0]) / io->samples;
    center(io->d_out[0]->data, io->d_in[0]->data, io->samples, features, NULL);
    return LAMINA_OK;
}

static const lamina_layer_type test_center_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_center",
    .doc = "subtracts the mean over the batch",
    .flags = LAMINA_COUPLES_BATCH,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = center_setup,
    .forward = center_forward,
    .backward = center_backward,
};

/* test_noise: multiplies by a random number of each element, a function of its place in the batch.
 */
static inline int32_t noise_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    const int32_t saved = call->host->add_saved(call, "noise", setup->in[0]);
    return saved < 0 ? saved : call->host->set_output(call, 0, setup->in[0]);
}

static inline int32_t noise_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data, *noise = io->saved[0]->data;
    const int64_t count = tensor_count(io->in[0]), size = count / io->samples;
    call->host->uniform(call, (uint64_t)(io->first_sample * size), noise, (size_t)count);
    for (int64_t i = 0; i < count; i++) {
        y[i] = x[i] * noise[i];
    }
    return LAMINA_OK;
}

static inline int32_t noise_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    const float *dy = io->d_out[0]->data, *noise = io->saved[0]->data;
    float *dx = io->d_in[0]->data;
    for (int64_t i = 0; i < tensor_count(io->d_out[0]); i++) {
        dx[i] = dy[i] * noise[i];
    }
    return LAMINA_OK;
}

static const lamina_layer_type test_noise_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_noise",
    .doc = "multiplies by noise",
    .flags = LAMINA_USES_RANDOM,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = noise_setup,
    .forward = noise_forward,
    .backward = noise_backward,
};

/* ---- A net from text ---- */

typedef struct test_net {
    lamina__registry *registry;
    lamina__doc *doc;
    lamina__network network;
    lamina__net *net;
    lamina__diags diags;
    lamina_status status;
} test_net;

static inline void test_net_registry(test_net *t) {
    const lamina_layer_type *types[64] = {&test_add_type, &test_center_type, &test_noise_type};
    size_t n = 3;
    for (size_t i = 0; lamina__builtin_layers[i] != NULL && n < 63; i++) {
        types[n++] = lamina__builtin_layers[i];
    }
    lamina_error error = {0};
    t->status = lamina__registry_create(types, &t->registry, &error);
}

/* Reads the layers (a YAML list) and, when options are given, builds the net. */
static inline test_net test_net_make(const char *layers, const lamina__net_options *options) {
    test_net t = {0};
    test_net_registry(&t);
    if (t.status == LAMINA_OK) {
        t.status = lamina__doc_parse(layers, strlen(layers), "net.yaml", &t.diags, &t.doc);
    }
    if (t.status == LAMINA_OK) {
        t.status = lamina__network_read(t.doc->root, t.registry, &t.network, &t.diags);
    }
    if (t.status == LAMINA_OK && options != NULL) {
        t.status = lamina__net_build(&t.network, options, &t.net, &t.diags);
    }
    return t;
}

static inline void test_net_free(test_net *t) {
    lamina__net_free(t->net);
    lamina__network_free(&t->network);
    lamina__doc_free(t->doc);
    lamina__registry_free(t->registry);
    lamina__diags_free(&t->diags);
}

/* The first thing wrong, or "". */
static inline const char *test_net_error(const test_net *t) {
    return t->diags.kept > 0 ? t->diags.text[0] : "";
}

/* ---- Batches ---- */

#define TEST_MAX_BATCH  64
#define TEST_MAX_PIXELS 1024

typedef struct test_batch {
    lamina__batch batch;
    float images[TEST_MAX_BATCH * TEST_MAX_PIXELS];
    int32_t labels[TEST_MAX_BATCH];
} test_batch;

static inline void test_batch_fill(test_batch *b, int64_t samples, int64_t pixels, int32_t classes,
                                   uint64_t seed) {
    const lamina__stream stream = lamina__stream_make(seed, LAMINA__RANDOM_CHECK, 0, 0);
    lamina__stream_normal(stream, 0, b->images, (size_t)(samples * pixels));
    for (int64_t i = 0; i < samples; i++) {
        b->labels[i] =
            (int32_t)lamina__stream_below(stream, (uint64_t)(1000000 + i), (uint64_t)classes);
    }
    b->batch = (lamina__batch){.images = b->images, .labels = b->labels, .samples = samples};
}

/* ---- Plain gradient descent ---- */

typedef struct test_descent {
    float *weights;
    float *gradient; /* NULL: not kept */
    float rate;
} test_descent;

static inline void test_update(void *arg, int32_t weight, int64_t begin, int64_t end,
                               const float *gradient) {
    const test_descent *descent = arg;
    (void)weight;
    for (int64_t i = begin; i < end; i++) {
        if (descent->gradient != NULL) {
            descent->gradient[i] = gradient[i - begin];
        }
        descent->weights[i] -= descent->rate * gradient[i - begin];
    }
}

#endif
