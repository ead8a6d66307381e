/* Operators that are right and use the corners of lamina/layer.h that simple ones leave out: state,
 * a coupled batch, random numbers, several inputs and outputs, no backward, a weight stored with
 * padding in another order, packed weights, scratch. The checker must pass them all. */
#include "lamina/layer.h"

#include <math.h>
#include <string.h>

static int64_t per_sample(const lamina_shape *shape) {
    int64_t n = 1;
    for (int32_t i = 1; i < shape->ndim; i++) {
        n *= shape->dim[i];
    }
    return n;
}

static int32_t same_shape(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* ---- center: minus the batch's mean of each feature in training, a running mean in evaluation
 * ---- */

static int32_t center_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_shape mean = {.dtype = LAMINA_F32, .ndim = 1, .dim = {per_sample(setup->in[0])}};
    const int32_t status = call->host->add_state(call, "mean", &mean, 0);
    return status < 0 ? status : same_shape(self, call, setup);
}

/* Features begin .. end-1 of all samples. */
static int32_t center_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const lamina_io *io = arg;
    const int64_t n = per_sample(&io->in[0]->shape);
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data, *state = io->state[0]->data;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        float mean = 0;
        for (int64_t s = 0; s < io->samples; s++) {
            mean += x[s * n + i] / (float)io->samples;
        }
        if (io->phase == LAMINA_TRAIN) {
            state[i] = 0.9f * state[i] + 0.1f * mean;
        } else {
            mean = state[i];
        }
        for (int64_t s = 0; s < io->samples; s++) {
            y[s * n + i] = x[s * n + i] - mean;
        }
    }
    return LAMINA_OK;
}

static int32_t center_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self;
    return call->host->parallel_for(call, per_sample(&io->in[0]->shape), 1, center_range,
                                    (void *)(uintptr_t)io);
}

static int32_t center_backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t n = per_sample(&io->in[0]->shape);
    const float *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < n && io->d_in[0] != NULL; i++) {
        float mean = 0;
        for (int64_t s = 0; s < io->samples; s++) {
            mean += dy[s * n + i] / (float)io->samples;
        }
        for (int64_t s = 0; s < io->samples; s++) {
            ((float *)io->d_in[0]->data)[s * n + i] = dy[s * n + i] - mean;
        }
    }
    return LAMINA_OK;
}

static const char *const flat_cases[] = {"{input: [4, 5]}", "{input: [1, 3]}", NULL};

static const lamina_layer_type center = {.struct_size = sizeof center,
                                         .name = "test.center",
                                         .doc = "Minus the mean over the batch.",
                                         .flags = LAMINA_COUPLES_BATCH,
                                         .min_in = 1,
                                         .max_in = 1,
                                         .n_out = 1,
                                         .setup = center_setup,
                                         .forward = center_forward,
                                         .backward = center_backward,
                                         .cases = flat_cases};

/* ---- jitter: times a random number in training
 * --------------------------------------------------- */

static int32_t jitter_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_shape factor = {
        .dtype = LAMINA_F32, .ndim = 2, .dim = {setup->in[0]->dim[0], per_sample(setup->in[0])}};
    int32_t status = LAMINA_OK;
    if (setup->training) {
        status = call->host->add_saved(call, "factor", &factor);
    }
    return status < 0 ? status : same_shape(self, call, setup);
}

static int32_t jitter_forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t n = per_sample(&io->in[0]->shape), all = n * io->samples;
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self;
    if (io->phase != LAMINA_TRAIN) {
        memmove(y, x, (size_t)all * sizeof *y);
        return LAMINA_OK;
    }
    float *factor = io->saved[0]->data;
    call->host->uniform(call, (uint64_t)(io->first_sample * n), factor, (size_t)all);
    for (int64_t i = 0; i < all; i++) {
        y[i] = x[i] * (0.5f + factor[i]);
    }
    return LAMINA_OK;
}

static int32_t jitter_backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t all = per_sample(&io->in[0]->shape) * io->samples;
    const float *factor = io->saved[0]->data, *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < all && io->d_in[0] != NULL; i++) {
        ((float *)io->d_in[0]->data)[i] = dy[i] * (0.5f + factor[i]);
    }
    return LAMINA_OK;
}

static const lamina_layer_type jitter = {.struct_size = sizeof jitter,
                                         .name = "test.jitter",
                                         .doc = "Times a random number.",
                                         .flags = LAMINA_USES_RANDOM | LAMINA_IN_PLACE,
                                         .min_in = 1,
                                         .max_in = 1,
                                         .n_out = 1,
                                         .setup = jitter_setup,
                                         .forward = jitter_forward,
                                         .backward = jitter_backward,
                                         .cases = flat_cases};

/* ---- mix: two inputs a, b; two outputs a + b and a * b
 * ------------------------------------------- */

static int32_t mix_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    if (per_sample(setup->in[0]) != per_sample(setup->in[1])) {
        return call->host->fail(call, LAMINA_ERROR_SHAPE, "the two inputs differ in size");
    }
    const int32_t status = call->host->set_output(call, 0, setup->in[0]);
    return status < 0 ? status : call->host->set_output(call, 1, setup->in[0]);
}

static int32_t mix_forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t all = per_sample(&io->in[0]->shape) * io->samples;
    const float *a = io->in[0]->data, *b = io->in[1]->data;
    float *sum = io->out[0]->data, *product = io->out[1]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < all; i++) {
        sum[i] = a[i] + b[i];
        product[i] = a[i] * b[i];
    }
    return LAMINA_OK;
}

static int32_t mix_backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t all = per_sample(&io->in[0]->shape) * io->samples;
    const float *ds = io->d_out[0]->data, *dp = io->d_out[1]->data;
    (void)self, (void)call;
    for (int k = 0; k < 2; k++) {
        const float *other = io->in[1 - k]->data;
        for (int64_t i = 0; i < all && io->d_in[k] != NULL; i++) {
            ((float *)io->d_in[k]->data)[i] = ds[i] + dp[i] * other[i];
        }
    }
    return LAMINA_OK;
}

static const char *const mix_cases[] = {"{input: [[3, 4], [3, 4]]}",
                                        "{input: [[2, 3, 2, 2], [2, 3, 2, 2]]}", NULL};

static const lamina_layer_type mix = {.struct_size = sizeof mix,
                                      .name = "test.mix",
                                      .doc = "Sum and product of two inputs.",
                                      .flags = LAMINA_NEEDS_INPUT,
                                      .min_in = 2,
                                      .max_in = 2,
                                      .n_out = 2,
                                      .setup = mix_setup,
                                      .forward = mix_forward,
                                      .backward = mix_backward,
                                      .cases = mix_cases};

/* ---- sign: piecewise constant, so it has no backward
 * --------------------------------------------- */

static int32_t sign_forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t all = per_sample(&io->in[0]->shape) * io->samples;
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < all; i++) {
        y[i] = x[i] < 0 ? -1.0f : 1.0f;
    }
    return LAMINA_OK;
}

static const lamina_layer_type sign = {.struct_size = sizeof sign,
                                       .name = "test.sign",
                                       .doc = "The sign.",
                                       .flags = LAMINA_NO_BACKWARD | LAMINA_IN_PLACE,
                                       .min_in = 1,
                                       .max_in = 1,
                                       .n_out = 1,
                                       .setup = same_shape,
                                       .forward = sign_forward,
                                       .cases = flat_cases};

/* ---- dense: y = W x with W (3, F) kept transposed, each row of 3 padded to 4; the kernel repacks
 * it - */

enum { UNITS = 3, ROW = 4 };

static int32_t dense_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const int64_t features = per_sample(setup->in[0]);
    const lamina_weight weight = {
        .struct_size = sizeof weight,
        .name = "weight",
        .shape = {.dtype = LAMINA_F32, .ndim = 2, .dim = {UNITS, features}},
        .init = {.kind = LAMINA_INIT_HE, .fan_in = features},
        .order_ndim = 2,
        .order_dim = {UNITS, features},
        .order_stride = {1, ROW},
        .elements = ROW * features};
    const lamina_shape out = {.dtype = LAMINA_F32, .ndim = 2, .dim = {setup->in[0]->dim[0], UNITS}};
    const int32_t status = call->host->add_weight(call, &weight);
    (void)self;
    return status < 0 ? status : call->host->set_output(call, 0, &out);
}

static int32_t dense_create(const void *self, lamina_call *call, const lamina_setup *setup,
                            uint32_t passes, void **kernel) {
    const size_t bytes = (size_t)per_sample(setup->in[0]) * UNITS * sizeof(float);
    int32_t status = call->host->add_packed(call, "rows", bytes);
    (void)self, (void)passes, (void)kernel;
    if (status >= 0) {
        status = call->host->add_scratch(call, UNITS * sizeof(float));
    }
    return status < 0 ? status : LAMINA_OK;
}

static int32_t dense_prepare(const void *self, void *kernel, lamina_call *call,
                             const lamina_io *io) {
    const int64_t features = io->weight[0]->shape.dim[1];
    const float *weight = io->weight[0]->data;
    float *rows = io->packed[0];
    (void)self, (void)kernel, (void)call;
    for (int64_t i = 0; i < UNITS * features; i++) {
        rows[i] = weight[i % features * ROW + i / features];
    }
    return LAMINA_OK;
}

static int32_t dense_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                         const lamina_io *io) {
    const int64_t features = io->weight[0]->shape.dim[1];
    const float *rows = io->packed[0];
    float *sum = io->scratch;
    (void)self, (void)kernel, (void)call;
    for (int64_t s = 0; s < io->samples; s++) {
        const float *x = (const float *)io->in[0]->data + s * features;
        if (pass == LAMINA_PASS_FORWARD) {
            for (int64_t o = 0; o < UNITS; o++) {
                sum[o] = 0;
                for (int64_t i = 0; i < features; i++) {
                    sum[o] += rows[o * features + i] * x[i];
                }
            }
            memcpy((float *)io->out[0]->data + s * UNITS, sum, UNITS * sizeof(float));
            continue;
        }
        const float *dy = (const float *)io->d_out[0]->data + s * UNITS;
        for (int64_t i = 0; i < features; i++) {
            float d = 0;
            for (int64_t o = 0; o < UNITS; o++) {
                d += dy[o] * rows[o * features + i];
                if (pass == LAMINA_PASS_BACKWARD_WEIGHTS && io->d_weight[0] != NULL) {
                    ((float *)io->d_weight[0]->data)[i * ROW + o] += dy[o] * x[i];
                }
            }
            if (pass == LAMINA_PASS_BACKWARD_DATA && io->d_in[0] != NULL) {
                ((float *)io->d_in[0]->data)[s * features + i] = d;
            }
        }
    }
    return LAMINA_OK;
}

static const lamina_kernel rows_kernel = {
    .struct_size = sizeof rows_kernel,
    .name = "rows",
    .doc = "Repacks the weight by rows.",
    .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
    .create = dense_create,
    .prepare = dense_prepare,
    .run = dense_run};
static const lamina_kernel *const dense_kernels[] = {&rows_kernel, NULL};

static const lamina_layer_type dense = {.struct_size = sizeof dense,
                                        .name = "test.dense",
                                        .doc = "A matrix, stored with padding.",
                                        .flags = LAMINA_NEEDS_INPUT,
                                        .min_in = 1,
                                        .max_in = 1,
                                        .n_out = 1,
                                        .setup = dense_setup,
                                        .kernels = dense_kernels,
                                        .cases = flat_cases};

/* ---- hinge: a loss, smooth but for one point: max(0, 1 - x[label] + mean of x)^2
 * ----------------- */

static float hinge_margin(const lamina_io *io, int64_t sample, int64_t classes) {
    const float *x = (const float *)io->in[0]->data + sample * classes;
    float mean = 0;
    for (int64_t k = 0; k < classes; k++) {
        mean += x[k] / (float)classes;
    }
    return fmaxf(0, 1 - x[((const int32_t *)io->in[1]->data)[sample]] + mean);
}

static int32_t hinge_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_shape out = {.dtype = LAMINA_F32, .ndim = 1, .dim = {setup->in[0]->dim[0]}};
    (void)self;
    return call->host->set_output(call, 0, &out);
}

static int32_t hinge_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    for (int64_t s = 0; s < io->samples; s++) {
        const float margin = hinge_margin(io, s, per_sample(&io->in[0]->shape));
        ((float *)io->out[0]->data)[s] = margin * margin;
    }
    return LAMINA_OK;
}

static int32_t hinge_backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t classes = per_sample(&io->in[0]->shape);
    (void)self, (void)call;
    for (int64_t s = 0; s < io->samples && io->d_in[0] != NULL; s++) {
        const float d = 2 * hinge_margin(io, s, classes) * ((const float *)io->d_out[0]->data)[s];
        for (int64_t k = 0; k < classes; k++) {
            const int label = k == ((const int32_t *)io->in[1]->data)[s];
            ((float *)io->d_in[0]->data)[s * classes + k] = d * (1 / (float)classes - (float)label);
        }
    }
    return LAMINA_OK;
}

static const lamina_layer_type hinge = {.struct_size = sizeof hinge,
                                        .name = "test.hinge",
                                        .doc = "A squared margin.",
                                        .flags = LAMINA_NEEDS_INPUT | LAMINA_IS_LOSS,
                                        .min_in = 2,
                                        .max_in = 2,
                                        .n_out = 1,
                                        .setup = hinge_setup,
                                        .forward = hinge_forward,
                                        .backward = hinge_backward,
                                        .cases = flat_cases};

static const lamina_layer_type *const types[] = {&center, &jitter, &mix, &sign,
                                                 &dense,  &hinge,  NULL};

static const lamina_plugin plugin = {.struct_size = sizeof plugin,
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR,
                                     .name = "corners",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
