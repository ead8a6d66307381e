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
 * it saw last as state, and counts how often it was asked to repeat itself. Like batch norm, it
 * wants its input again in backward. */
static int test_center_repeats;

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
    test_center_repeats += io->again;
    center(io->in[0]->data, io->out[0]->data, io->samples, features,
           io->phase == LAMINA_TRAIN && !io->again ? io->state[0]->data : NULL);
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
    .flags = LAMINA_COUPLES_BATCH | LAMINA_REPEATS | LAMINA_NEEDS_INPUT,
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

/* test_split: the first half of the channels and the second, as two outputs. */
static inline int32_t split_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    lamina_shape half = *setup->in[0];
    half.dim[1] /= 2;
    const int32_t status = call->host->set_output(call, 0, &half);
    return status != LAMINA_OK ? status : call->host->set_output(call, 1, &half);
}

/* Copies between the whole and the halves, channels-last. */
static inline void split_copy(const lamina_tensor *whole, const lamina_tensor *const *halves,
                              bool to_halves) {
    const int64_t channels = halves[0]->shape.dim[1];
    for (int64_t i = 0; i < tensor_count(halves[0]); i++) {
        for (int64_t k = 0; k < 2; k++) {
            float *half = (float *)halves[k]->data + i;
            float *at = (float *)whole->data + (i / channels * 2 + k) * channels + i % channels;
            *(to_halves ? half : at) = *(to_halves ? at : half);
        }
    }
}

static inline int32_t split_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    split_copy(io->in[0], io->out, true);
    return LAMINA_OK;
}

static inline int32_t split_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    (void)call;
    if (io->d_in[0] != NULL) {
        split_copy(io->d_in[0], io->d_out, false);
    }
    return LAMINA_OK;
}

static const lamina_layer_type test_split_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_split",
    .doc = "cuts the channels in two",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 2,
    .param_stride = sizeof(lamina_param),
    .setup = split_setup,
    .forward = split_forward,
    .backward = split_backward,
};

/* test_pack: y = w * x with a weight for each channel, by way of packed weights that prepare()
 * makes in scratch; it fails when test_pack_fails is set. */
static bool test_pack_fails;

static inline int32_t pack_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    const lamina_weight weight = {.struct_size = sizeof weight,
                                  .name = "weight",
                                  .shape = {LAMINA_F32, 1, {setup->in[0]->dim[1]}},
                                  .init = {.kind = LAMINA_INIT_NORMAL, .value = 1}};
    const int32_t status = call->host->add_weight(call, &weight);
    return status < 0 ? status : call->host->set_output(call, 0, setup->in[0]);
}

enum { PACK_BYTES = 1 << 16 };

static inline int32_t pack_create(const void *self, lamina_call *call, const lamina_setup *setup,
                                  uint32_t passes, void **kernel) {
    (void)self;
    (void)setup;
    (void)passes;
    (void)kernel;
    const int32_t packed = call->host->add_packed(call, "packed", PACK_BYTES);
    return packed < 0 ? packed : call->host->add_scratch(call, PACK_BYTES);
}

/* Goes through scratch slowly, so that another layer in the same scratch would be noticed. */
static inline int32_t pack_prepare(const void *self, void *kernel, lamina_call *call,
                                   const lamina_io *io) {
    (void)self;
    (void)kernel;
    float *scratch = io->scratch, *packed = io->packed[0];
    const int64_t channels = io->weight[0]->shape.dim[0];
    const float *weight = io->weight[0]->data;
    if (test_pack_fails) {
        return call->host->fail(call, LAMINA_ERROR_UNSUPPORTED, "told to fail");
    }
    for (int64_t i = 0; i < PACK_BYTES / 4; i++) {
        scratch[i] = weight[i % channels];
    }
    for (int64_t i = 0; i < PACK_BYTES / 4; i++) {
        packed[i] = scratch[i];
    }
    return LAMINA_OK;
}

static inline int32_t pack_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                               const lamina_io *io) {
    (void)self;
    (void)kernel;
    (void)call;
    const int64_t channels = io->weight[0]->shape.dim[0];
    const float *w = io->packed[0];
    for (int64_t i = 0; i < tensor_count(io->in[0]); i++) {
        const float x = ((const float *)io->in[0]->data)[i];
        /* any of the copies will do: they are all the same, unless another layer's got in */
        const float weight = w[i % (PACK_BYTES / 4 / channels * channels)];
        if (pass == LAMINA_PASS_FORWARD) {
            ((float *)io->out[0]->data)[i] = weight * x;
        } else if (pass == LAMINA_PASS_BACKWARD_DATA) {
            ((float *)io->d_in[0]->data)[i] = weight * ((const float *)io->d_out[0]->data)[i];
        } else {
            ((float *)io->d_weight[0]->data)[i % channels] +=
                x * ((const float *)io->d_out[0]->data)[i];
        }
    }
    return LAMINA_OK;
}

static const lamina_kernel test_pack_kernel = {
    .struct_size = sizeof(lamina_kernel),
    .name = "packed",
    .doc = "by way of packed weights",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .create = pack_create,
    .prepare = pack_prepare,
    .run = pack_run,
};
static const lamina_kernel *const test_pack_kernels[] = {&test_pack_kernel, NULL};

static const lamina_layer_type test_pack_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_pack",
    .doc = "scales channels",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = pack_setup,
    .kernels = test_pack_kernels,
};

/* test_wrong: does in setup() what its parameter says is not allowed. */
static const char *const wrong_words[] = {"weight_size", "state", "weight_type", NULL};
static const lamina_param wrong_params[] = {
    {.name = "does", .doc = "what", .type = LAMINA_ENUM, .required = 1, .choices = wrong_words}};

static inline int32_t wrong_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const int32_t does = *(const int32_t *)self;
    const lamina_shape one = {does == 2 ? LAMINA_F64 : LAMINA_F32, 1, {1}};
    const lamina_weight weight = {
        .struct_size = does == 0 ? 0 : sizeof weight, .name = "w", .shape = one};
    const int32_t status = does == 1 ? call->host->add_state(call, "s", &one, 0)
                                     : call->host->add_weight(call, &weight);
    return status < 0 ? status : call->host->set_output(call, 0, setup->in[0]);
}

static const lamina_layer_type test_wrong_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_wrong",
    .doc = "breaks a rule",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .config_size = sizeof(int32_t),
    .n_params = 1,
    .param_stride = sizeof(lamina_param),
    .params = wrong_params,
    .setup = wrong_setup,
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

/* More types, of one test file; NULL-terminated. */
static const lamina_layer_type *const *test_more_types;

static inline void test_net_registry(test_net *t) {
    const lamina_layer_type *types[64] = {&test_add_type,   &test_center_type, &test_noise_type,
                                          &test_split_type, &test_pack_type,   &test_wrong_type};
    size_t n = 6;
    for (size_t i = 0; test_more_types != NULL && test_more_types[i] != NULL; i++) {
        types[n++] = test_more_types[i];
    }
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

/* Six by six pixels of two channels in batches of ten, five classes. */
enum { TEST_PIXELS = 2 * 6 * 6, TEST_CLASSES = 5, TEST_BATCH = 10 };

static inline lamina__net_options test_net_options(int threads, int shards) {
    return (lamina__net_options){.channels = 2,
                                 .height = 6,
                                 .width = 6,
                                 .batch = TEST_BATCH,
                                 .partial = {7, 3},
                                 .classes = TEST_CLASSES,
                                 .threads = threads,
                                 .shards = shards,
                                 .training = true,
                                 .kernels = "reference",
                                 .seed = 7};
}

static inline void test_net_free(test_net *t) {
    lamina__net_free(t->net);
    lamina__network_free(&t->network);
    lamina__doc_free(t->doc);
    lamina__registry_free(t->registry);
    lamina__diags_free(&t->diags);
}

/* Makes a net again and again, another allocation failing each time, until none does: nothing is
 * left behind. may_manage: a net may come of it all the same. */
static inline void
test_net_allocations(test_net (*make)(const char *layers, const lamina__net_options *),
                     const char *layers, const lamina__net_options *options, bool may_manage) {
    for (long k = 1; k < 4000; k++) {
        test_fail_allocation(k);
        test_net t = make(layers, options);
        const bool failed = test_fail_allocation(0) > 0;
        CU_ASSERT(may_manage ? failed || t.net != NULL : failed == (t.net == NULL));
        test_net_free(&t);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, 0);
        if (!failed) {
            return;
        }
    }
    CU_FAIL("never got through");
}

/* The first thing wrong, or "". */
static inline const char *test_net_error(const test_net *t) {
    return t->diags.kept > 0 ? t->diags.text[0] : "";
}

/* The layers as the network writes them, which must read back as the same. lamina__text_free. */
static inline lamina__text test_net_written(const test_net *t) {
    lamina__text once = {0}, twice = {0};
    lamina__network_write(&t->network, &once);
    test_net again = test_net_make(once.data, NULL);
    TEST_TEXT(test_net_error(&again), "");
    lamina__network_write(&again.network, &twice);
    TEST_TEXT(twice.data, once.data);
    lamina__text_free(&twice);
    test_net_free(&again);
    return once;
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

/* A step without an update; returns the mean loss. gradient: NULL, or as long as the weights. */
static inline double test_net_step(test_net *t, const test_batch *b, int64_t step,
                                   float *gradient) {
    test_descent still = {lamina__net_weight_block(t->net), gradient, 0};
    lamina__result result = {0};
    lamina_error error = {0};
    CU_ASSERT_EQUAL(
        lamina__net_train_step(t->net, &b->batch, step, test_update, &still, &result, &error),
        LAMINA_OK);
    TEST_TEXT(error.message, "");
    return result.loss_sum / (double)result.samples;
}

/* The net's gradients against finite differences of its loss, at every `every`-th weight. */
static inline void test_net_slope(test_net *t, const test_batch *b, int64_t every) {
    float *weights = lamina__net_weight_block(t->net);
    float *gradient = lamina__calloc((size_t)lamina__net_weight_floats(t->net), sizeof *gradient);
    double largest = 0;
    CU_ASSERT_PTR_NOT_NULL_FATAL(gradient);
    test_net_step(t, b, 0, gradient);
    for (int32_t w = 0; w < lamina__net_n_weights(t->net); w++) {
        const lamina__net_weight weight = lamina__net_weight_at(t->net, w);
        for (int64_t i = weight.offset; i < weight.offset + weight.elements; i += every) {
            const float kept = weights[i], apart = 1e-2f;
            weights[i] = kept + apart;
            const double above = test_net_step(t, b, 0, NULL);
            weights[i] = kept - apart;
            const double slope = (above - test_net_step(t, b, 0, NULL)) / (2.0 * apart);
            weights[i] = kept;
            CU_ASSERT_DOUBLE_EQUAL(slope, gradient[i], 2e-4 + 2e-3 * fabs(slope));
            largest = fmax(largest, fabs(slope));
        }
    }
    CU_ASSERT(largest > 0.05); /* the comparison meant something */
    lamina__free(gradient);
}

#endif
