/* forward() forgets the last element. */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io) - 1; i++) {
        y[i] = x[i] * x[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.leaves_unwritten", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
