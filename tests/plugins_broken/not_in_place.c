/* y[i] = x[i] + 2 x[i-1] within a sample, from the first to the last: with one memory for x and y,
 * x[i-1] is gone. The flag LAMINA_IN_PLACE is wrong. */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t n = elements(io) / io->samples;
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io); i++) {
        y[i] = x[i] + (i % n > 0 ? 2 * x[i - 1] : 0);
    }
    return LAMINA_OK;
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const int64_t n = elements(io) / io->samples;
    const float *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < elements(io); i++) {
        ((float *)io->d_in[0]->data)[i] = dy[i] + (i % n < n - 1 ? 2 * dy[i + 1] : 0);
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.not_in_place", .flags = LAMINA_IN_PLACE, .setup = same_shape,
              .forward = forward, .backward = backward)
