/* The same numbers of a sample under another shape: what flatten and reshape share. As everywhere
 * in the field, they keep their logical order (C, H, W, row-major), but an image lies in memory as
 * H, W, C, so its numbers have to change places unless it has one channel or one pixel. */
#ifndef LAMINA_LAYERS_REORDER_H
#define LAMINA_LAYERS_REORDER_H

#include "layers/real.h"

/* How a sample lies in memory: (pixels, channels) while its logical order is (channels, pixels);
 * 1 pixel: in logical order. */
typedef struct lamina__order {
    int64_t pixels, channels;
} lamina__order;

typedef struct lamina__reorder {
    const void *config;
    int64_t elements; /* of a sample */
    lamina__order in, out;
    int32_t threads;
} lamina__reorder;

/* These go into a lamina_layer_type as they are; setup() of such a type ends with reorder_setup(),
 * `out` having as many elements as the input. */
int32_t LAMINA__REAL_NAME(reorder_create)(lamina_call *, const void *config, void **self);
int32_t LAMINA__REAL_NAME(reorder_setup)(lamina__reorder *, lamina_call *, const lamina_setup *,
                                         const lamina_shape *out);
int32_t LAMINA__REAL_NAME(reorder_forward)(const void *self, lamina_call *, const lamina_io *);
int32_t LAMINA__REAL_NAME(reorder_backward)(const void *self, lamina_call *, const lamina_io *);

#endif
