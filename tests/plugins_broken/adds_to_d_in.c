/* backward() adds to d_in, which it is to overwrite. */
#include "broken.h"

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < elements(io); i++) {
        ((float *)io->d_in[0]->data)[i] += 2 * x[i] * dy[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.adds_to_d_in", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = square, .backward = backward)
