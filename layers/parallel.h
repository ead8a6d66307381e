/* Spreads a layer's work over the threads that one call may use. */
#ifndef LAMINA_LAYERS_PARALLEL_H
#define LAMINA_LAYERS_PARALLEL_H

#include "lamina/layer.h"

/* fn over [0, n): at once when a call has one thread, which is the rule (the threads then have a
 * shard each), or little to do, else in even pieces of at least `grain` through parallel_for(). */
static inline int32_t lamina__spread(lamina_call *call, int32_t threads, int64_t n, int64_t grain,
                                     lamina_range_fn *fn, void *arg) {
    if (threads <= 1 || n <= grain) {
        return n > 0 ? fn(arg, 0, n, 0) : LAMINA_OK;
    }
    return call->host->parallel_for(call, n, grain, fn, arg);
}

#endif
