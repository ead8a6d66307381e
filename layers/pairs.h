/* Losses and metrics that compare each number of the prediction x with one of the target t: what
 * they share. The layer's file has the function l(x, t) and its slopes, as loops over a row of
 * numbers; this has the rest: shapes, the mean over a sample, all threads of a call, gradients that
 * nobody wants.
 *
 *   loss[n] = 1/F sum over f of l(x[n,f], t[n,f])            F: numbers of a sample
 *   dx[n,f] = dloss[n] / F * (slope of l by x),   dt likewise
 *
 * The target has the prediction's shape, or as many numbers in the same logical order: (N, C*H*W)
 * goes with (N, C, H, W), so that a linear layer can be compared with an image. */
#ifndef LAMINA_LAYERS_PAIRS_H
#define LAMINA_LAYERS_PAIRS_H

#include "layers/real.h"

/* l of n numbers. first: the place of x[0] in the sample's memory. */
typedef void lamina__pair_values(const void *config, const lamina_real *x, const lamina_real *t,
                                 int64_t first, lamina_real *l, int64_t n);
/* scale times the slopes of l by x, or by t when `by_target`. */
typedef void lamina__pair_slopes(const void *config, const lamina_real *x, const lamina_real *t,
                                 int64_t first, lamina_real scale, int by_target, lamina_real *d,
                                 int64_t n);

typedef struct lamina__pairs {
    const void *config;
    int64_t numbers; /* of a sample */
    /* Not 0: the target's memory has the numbers in another order, and this many channels: one of
     * the two is an image, channels-last, and the other is flat. */
    int64_t channels;
    int image_target; /* it is the target */
    int32_t threads;
} lamina__pairs;

/* These two go into a lamina_layer_type as they are; self is a lamina__pairs. */
int32_t LAMINA__REAL_NAME(pairs_create)(lamina_call *, const void *config, void **self);
int32_t LAMINA__REAL_NAME(pairs_setup)(void *self, lamina_call *, const lamina_setup *);

int32_t LAMINA__REAL_NAME(pairs_run_forward)(const void *self, lamina_call *, const lamina_io *,
                                             lamina__pair_values *);
int32_t LAMINA__REAL_NAME(pairs_run_backward)(const void *self, lamina_call *, const lamina_io *,
                                              lamina__pair_slopes *);

/* l = |x - t| */
void LAMINA__REAL_NAME(pairs_distances)(const void *config, const lamina_real *x,
                                        const lamina_real *t, int64_t first, lamina_real *l,
                                        int64_t n);

#endif
