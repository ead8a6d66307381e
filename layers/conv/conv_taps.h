/* Convolution as a sum of matrix products, one for each tap of the filter: what its files share.
 * conv_taps.c says how it works. */
#ifndef LAMINA_LAYERS_CONV_CONV_TAPS_H
#define LAMINA_LAYERS_CONV_CONV_TAPS_H

#include "layers/conv/conv.h"
#include "layers/product/panel.h"

#if !LAMINA_LAYERS_F64

/* Pixels of the side that is computed, c, that meet the same taps along one axis: first, first +
 * step, ... The k-th of them reads, through the t-th of these taps, pixel
 * from + k * from_step + t * from_tap_step of the other side, a. */
typedef struct lamina__tap_run {
    int64_t first, step, count;
    int64_t tap, tap_step, taps; /* the taps; may be none */
    int64_t from, from_step, from_tap_step;
} lamina__tap_run;

/* Every pixel once. c: outputs; room for axis->out runs. Returns how many there are. */
int64_t lamina__tap_runs_forward(const lamina__axis *axis, lamina__tap_run *runs);
/* c: inputs, a: outputs; room for axis->in runs. */
int64_t lamina__tap_runs_data(const lamina__axis *axis, lamina__tap_run *runs);
/* The outputs [*begin, *end) that read inside the image through a tap; may be none. */
void lamina__tap_outputs(const lamina__axis *axis, int64_t tap, int64_t *begin, int64_t *end);

/* A walk through three loops, [0] innermost, as few and as long as they can be: loops that go on in
 * the same steps become one. The order of the sum stays. */
lamina__product_walk lamina__tap_walk(const lamina__product_walk *loops);

/* Backward weights, conv_taps_weights.c; adds the floats of scratch it needs. */
typedef struct lamina__tap_weights lamina__tap_weights;
int32_t lamina__tap_weights_create(const lamina__conv *, lamina_call *, const lamina_setup *,
                                   lamina__tap_weights **, int64_t *scratch);
int32_t lamina__tap_weights_run(const lamina__conv *, const lamina__tap_weights *, lamina_call *,
                                const lamina_io *);

/* The same where filters are 1x1 and channels few, conv_taps_pointwise.c; scratch in floats. */
typedef struct lamina__pointwise_weights lamina__pointwise_weights;
int lamina__pointwise_weights_apply(const lamina__conv *);
int32_t lamina__pointwise_weights_create(const lamina__conv *, lamina_call *,
                                         lamina__pointwise_weights **, int64_t *scratch);
int32_t lamina__pointwise_weights_run(const lamina__conv *, const lamina__pointwise_weights *,
                                      lamina_call *, const lamina_io *);

static inline int64_t lamina__group_in(const lamina__conv *conv) {
    return conv->in_channels / conv->groups;
}

static inline int64_t lamina__group_out(const lamina__conv *conv) {
    return conv->out_channels / conv->groups;
}

#endif

#endif
