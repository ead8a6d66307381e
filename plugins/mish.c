/* sample.mish: y = x * tanh(softplus(x)), element by element, any shape. Misra 2019.
 *
 *   dx = dy * (t + x * (1 - t^2) * sigmoid(x))     with t = tanh(softplus(x))
 *
 * Written with exponentials t is (e^2 + 2e) / (e^2 + 2e + 2), e = exp(x); for x > 0 both sides of
 * the fraction are divided by e^2, so that nothing overflows, and 1 - t^2 is taken as a fraction
 * of its own, so that nothing cancels. */
#include "lamina/layer.h"

#include <math.h>

/* tanh(softplus(x)), and its derivative (1 - t^2) * sigmoid(x). */
static float tanh_softplus(float x, float *slope) {
    const float e = expf(-fabsf(x));
    const float num = x > 0 ? 1 + 2 * e : e * (e + 2);
    const float rest = x > 0 ? 2 * e * e : 2; /* of the denominator, num + rest */
    const float den = num + rest;
    const float sigmoid = (x > 0 ? 1 : e) / (1 + e);

    *slope = rest * (num + den) / (den * den) * sigmoid;
    return num / den;
}

static int64_t elements(const lamina_io *io) {
    int64_t n = io->samples;
    for (int32_t i = 1; i < io->in[0]->shape.ndim; i++) {
        n *= io->in[0]->shape.dim[i];
    }
    return n;
}

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    float slope;

    (void)self, (void)call;
    for (int64_t i = 0, n = elements(io); i < n; i++) {
        y[i] = x[i] * tanh_softplus(x[i], &slope);
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *dy = io->d_out[0]->data;
    float *dx = io->d_in[0] != NULL ? io->d_in[0]->data : NULL;
    float slope;

    (void)self, (void)call;
    for (int64_t i = 0, n = dx != NULL ? elements(io) : 0; i < n; i++) {
        const float t = tanh_softplus(x[i], &slope);
        dx[i] = dy[i] * (t + x[i] * slope);
    }
    return LAMINA_OK;
}

static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 5, 4]}",
                                    "{input: [4, 10], range: [-30, 30]}", NULL};

static const lamina_layer_type mish = {
    .struct_size = sizeof mish,
    .name = "sample.mish",
    .doc = "Mish: x * tanh(softplus(x)), a smooth relative of relu.",
    .flags = LAMINA_NEEDS_INPUT,
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .setup = setup,
    .forward = forward,
    .backward = backward,
    .cases = cases};

static const lamina_layer_type *const types[] = {&mish, NULL};

static const lamina_plugin plugin = {.struct_size = sizeof plugin,
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR,
                                     .name = "mish",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
