/* forward() computes io->batch samples where it was given io->samples: into the other shards' part.
 */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    const int64_t n = elements(io) / io->samples * (io->batch - io->first_sample);
    (void)self, (void)call;
    for (int64_t i = 0; i < n; i++) {
        y[i] = x[i] * x[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.whole_batch", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
