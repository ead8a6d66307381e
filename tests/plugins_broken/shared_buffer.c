/* forward() works in memory that create() asked for: all shards share it. */
#include "broken.h"

#define SIZE 4096

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    *self = call->host->alloc(call, SIZE * sizeof(float));
    return *self == NULL ? call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory") : LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    volatile float *buffer = (volatile float *)(uintptr_t)self;
    const int64_t n = elements(io) < SIZE ? elements(io) : SIZE;
    (void)call;
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

BROKEN_PLUGIN("test.shared_buffer", .flags = LAMINA_NEEDS_INPUT, .create = create,
              .setup = same_shape, .forward = forward, .backward = square_backward)
