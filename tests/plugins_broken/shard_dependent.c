/* forward() gives each shard another result. */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int32_t status = square(self, call, io);
    float *y = io->out[0]->data;
    y[0] += 0.001f * (float)io->shard;
    return status;
}

BROKEN_PLUGIN("test.shard_dependent", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
