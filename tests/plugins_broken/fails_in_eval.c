/* forward() writes to a saved tensor that it declares for training alone; set up without training,
 * it refuses to work. */
#include "broken.h"

static int32_t setup(void *self, lamina_call *call, const lamina_setup *setup) {
    *(int32_t *)self = setup->training;
    return same_shape(self, call, setup);
}

static int32_t create(lamina_call *call, const void *config, void **self) {
    (void)config;
    *self = call->host->alloc(call, sizeof(int32_t));
    return *self == NULL ? call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory") : LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    if (*(const int32_t *)self == 0) {
        return call->host->fail(call, LAMINA_ERROR_INTERNAL, "has nowhere to save to");
    }
    return square(self, call, io);
}

BROKEN_PLUGIN("test.fails_in_eval", .flags = LAMINA_NEEDS_INPUT, .create = create, .setup = setup,
              .forward = forward, .backward = square_backward)
