/* The gradient of one element in each sample is 1% too large. */
#include "broken.h"

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int32_t status = square_backward(self, call, io);
    const int64_t n = elements(io) / io->samples;
    for (int64_t s = 0; s < io->samples && io->d_in[0] != NULL; s++) {
        ((float *)io->d_in[0]->data)[s * n + 5] *= 1.01f;
    }
    return status;
}

BROKEN_PLUGIN("test.wrong_backward", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = square, .backward = backward)
