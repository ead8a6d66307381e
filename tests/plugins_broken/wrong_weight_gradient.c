/* y = x * scale + shift, element by element of a sample: the last scale's gradient is 1% too small.
 */
#include "broken.h"

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    lamina_weight weight = {.struct_size = sizeof weight,
                            .name = "scale",
                            .shape = {.dtype = LAMINA_F32, .ndim = 1, .dim = {1}},
                            .init = {.kind = LAMINA_INIT_CONSTANT, .value = 1}};
    for (int32_t i = 1; i < setup->in[0]->ndim; i++) {
        weight.shape.dim[0] *= setup->in[0]->dim[i];
    }
    (void)call->host->add_weight(call, &weight);
    weight.name = "shift";
    (void)call->host->add_weight(call, &weight);
    return same_shape(self, call, setup);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *a = io->weight[0]->data, *b = io->weight[1]->data;
    const int64_t n = elements(io) / io->samples;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io); i++) {
        y[i] = x[i] * a[i % n] + b[i % n];
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *a = io->weight[0]->data, *dy = io->d_out[0]->data;
    const int64_t n = elements(io) / io->samples;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io); i++) {
        if (io->d_in[0] != NULL) {
            ((float *)io->d_in[0]->data)[i] = dy[i] * a[i % n];
        }
        if (io->d_weight[0] != NULL) {
            const float fault = i % n == n - 1 ? 0.99f : 1.0f;
            ((float *)io->d_weight[0]->data)[i % n] += dy[i] * x[i] * fault;
        }
        if (io->d_weight[1] != NULL) {
            ((float *)io->d_weight[1]->data)[i % n] += dy[i];
        }
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.wrong_weight_gradient", .flags = LAMINA_NEEDS_INPUT, .setup = setup,
              .forward = forward, .backward = backward)
