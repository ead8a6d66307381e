/* y = x - mean over the samples of this call, which is another mean for each cut of the batch; the
 * flag LAMINA_COUPLES_BATCH is missing. */
#include "broken.h"

static int32_t subtract_mean(const lamina_io *io, const float *x, float *y) {
    const int64_t n = elements(io) / io->samples;
    for (int64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int64_t s = 0; s < io->samples; s++) {
            sum += x[s * n + i];
        }
        for (int64_t s = 0; s < io->samples; s++) {
            y[s * n + i] = x[s * n + i] - sum / (float)io->samples;
        }
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return subtract_mean(io, io->in[0]->data, io->out[0]->data);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return io->d_in[0] == NULL ? LAMINA_OK
                               : subtract_mean(io, io->d_out[0]->data, io->d_in[0]->data);
}

BROKEN_PLUGIN("test.couples_samples", .setup = same_shape, .forward = forward, .backward = backward)
