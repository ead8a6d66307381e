/* Layers whose every output is a function of the one input at the same place: what they share. The
 * layer's file has the function and its derivative, as loops over a row of numbers; this has the
 * rest: any shape, all threads of a call, nothing to do where no gradient is wanted. */
#ifndef LAMINA_LAYERS_ELEMENTWISE_H
#define LAMINA_LAYERS_ELEMENTWISE_H

#include "layers/real.h"

/* y = f(x), n numbers; y may be x. `config` is the layer's. */
typedef void lamina__elementwise_forward(const void *config, const lamina_real *x, lamina_real *y,
                                         int64_t n);
/* dx = f'(x) dy, n numbers; `from` is x, or y for a layer that says LAMINA_NEEDS_OUTPUT; dx may be
 * dy. */
typedef void lamina__elementwise_backward(const void *config, const lamina_real *from,
                                          const lamina_real *dy, lamina_real *dx, int64_t n);

typedef struct lamina__elementwise {
    const void *config;
    int64_t elements; /* of a sample */
    int32_t threads;
} lamina__elementwise;

/* These two go into a lamina_layer_type as they are. */
int32_t LAMINA__REAL_NAME(elementwise_create)(lamina_call *, const void *config, void **self);
int32_t LAMINA__REAL_NAME(elementwise_setup)(void *self, lamina_call *, const lamina_setup *);

int32_t LAMINA__REAL_NAME(elementwise_run_forward)(const void *self, lamina_call *,
                                                   const lamina_io *,
                                                   lamina__elementwise_forward *);
/* from_output: 1 for a layer that says LAMINA_NEEDS_OUTPUT. */
int32_t LAMINA__REAL_NAME(elementwise_run_backward)(const void *self, lamina_call *,
                                                    const lamina_io *,
                                                    lamina__elementwise_backward *,
                                                    int from_output);

#endif
