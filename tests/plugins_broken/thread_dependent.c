/* forward() works in one buffer for all threads: right on one, wrong when shards run at once. */
#include "broken.h"

#define SIZE 4096

static volatile float buffer[SIZE];

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    const int64_t n = elements(io) < SIZE ? elements(io) : SIZE;
    (void)self, (void)call;
    for (int round = 0; round < 50; round++) {
        for (int64_t i = 0; i < n; i++) {
            buffer[i] = x[i] * x[i];
        }
    }
    for (int64_t i = 0; i < n; i++) {
        y[i] = buffer[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.thread_dependent", .flags = LAMINA_NEEDS_INPUT, .setup = same_shape,
              .forward = forward, .backward = square_backward)
