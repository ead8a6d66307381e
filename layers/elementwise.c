/* What elementwise layers share: elementwise.h. */
#include "layers/elementwise.h"
#include "layers/parallel.h"
#include "layers/self.h"
#include "layers/shape.h"

enum { GRAIN = 16384 }; /* numbers: less is not worth a thread */

int32_t LAMINA__REAL_NAME(elementwise_create)(lamina_call *call, const void *config, void **self) {
    return lamina__make_self_with(call, config, sizeof(lamina__elementwise), self);
}

int32_t LAMINA__REAL_NAME(elementwise_setup)(void *self, lamina_call *call,
                                             const lamina_setup *setup) {
    lamina__elementwise *layer = self;
    layer->elements = lamina__sample_size(setup->in[0]);
    layer->threads = setup->threads;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* One call, as the threads share it. */
typedef struct work {
    const void *config;
    lamina__elementwise_forward *forward;
    lamina__elementwise_backward *backward;
    const lamina_real *from, *dy;
    lamina_real *to;
} work;

static int32_t forward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    w->forward(w->config, w->from + begin, w->to + begin, end - begin);
    return LAMINA_OK;
}

static int32_t backward_range(void *arg, int64_t begin, int64_t end, int32_t thread) {
    const work *w = arg;
    (void)thread;
    w->backward(w->config, w->from + begin, w->dy + begin, w->to + begin, end - begin);
    return LAMINA_OK;
}

int32_t LAMINA__REAL_NAME(elementwise_run_forward)(const void *self, lamina_call *call,
                                                   const lamina_io *io,
                                                   lamina__elementwise_forward *fn) {
    const lamina__elementwise *layer = self;
    work w = {
        .config = layer->config, .forward = fn, .from = io->in[0]->data, .to = io->out[0]->data};
    return lamina__spread(call, layer->threads, io->samples * layer->elements, GRAIN, forward_range,
                          &w);
}

int32_t LAMINA__REAL_NAME(elementwise_run_backward)(const void *self, lamina_call *call,
                                                    const lamina_io *io,
                                                    lamina__elementwise_backward *fn,
                                                    int from_output) {
    const lamina__elementwise *layer = self;
    if (io->d_in[0] == NULL) {
        return LAMINA_OK;
    }
    work w = {.config = layer->config,
              .backward = fn,
              .from = from_output ? io->out[0]->data : io->in[0]->data,
              .dy = io->d_out[0]->data,
              .to = io->d_in[0]->data};
    return lamina__spread(call, layer->threads, io->samples * layer->elements, GRAIN,
                          backward_range, &w);
}
