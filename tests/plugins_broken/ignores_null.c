/* y = x * scale: when the gradient of the input is not wanted, backward() forgets the weight too.
 */
#include "broken.h"

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_weight weight = {.struct_size = sizeof weight,
                                  .name = "scale",
                                  .shape = {.dtype = LAMINA_F32, .ndim = 1, .dim = {1}},
                                  .init = {.kind = LAMINA_INIT_CONSTANT, .value = 1}};
    const int32_t index = call->host->add_weight(call, &weight);
    return index < 0 ? index : same_shape(self, call, setup);
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *scale = io->weight[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io); i++) {
        y[i] = x[i] * scale[0];
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *scale = io->weight[0]->data, *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < elements(io); i++) {
        ((float *)io->d_in[0]->data)[i] = dy[i] * scale[0];
        if (io->d_weight[0] != NULL) {
            *(float *)io->d_weight[0]->data += dy[i] * x[i];
        }
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.ignores_null", .flags = LAMINA_NEEDS_INPUT, .setup = setup, .forward = forward,
              .backward = backward)
