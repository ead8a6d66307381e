/* forward() squares its input in place and copies the result, without LAMINA_IN_PLACE. */
#include "broken.h"

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    float *x = io->in[0]->data, *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; i < elements(io); i++) {
        x[i] *= x[i];
        y[i] = x[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.changes_input", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
