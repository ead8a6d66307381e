/* forward() keeps its input in a variable of its own for backward(), instead of declaring it with
 * add_saved(): the next shard's forward() writes over it. */
#include "broken.h"

#define SIZE 4096

static _Thread_local float kept[SIZE];

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    for (int64_t i = 0; i < elements(io) && i < SIZE; i++) {
        kept[i] = x[i];
    }
    return square(self, call, io);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *dy = io->d_out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0; io->d_in[0] != NULL && i < elements(io) && i < SIZE; i++) {
        ((float *)io->d_in[0]->data)[i] = 2 * kept[i] * dy[i];
    }
    return LAMINA_OK;
}

BROKEN_PLUGIN("test.hidden_state", .setup = same_shape, .forward = forward, .backward = backward)
