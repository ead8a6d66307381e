/* forward() writes one float past its output: the loop runs one too far. */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i <= elements(io); i++) {
        y[i] = x[i];
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < elements(io); i++) {
        ((float *)io->d_in[0]->data)[i] = ((const float *)io->d_out[0]->data)[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.writes_outside", .setup = same_shape, .forward = forward, .backward = backward)
