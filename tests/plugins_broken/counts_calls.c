/* forward() gives something else each time. */
#include "broken.h"

static _Atomic int calls;

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const int32_t status = square(self, call, io);
    ((float *)io->out[0]->data)[0] += 1e-6f * (float)(calls++ % 1000);
    return status;
}

BROKEN_PLUGIN("test.counts_calls", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
