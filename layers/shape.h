/* Small questions about shapes, and how a message writes one. */
#ifndef LAMINA_LAYERS_SHAPE_H
#define LAMINA_LAYERS_SHAPE_H

#include "lamina/layer.h"

#include <stdio.h>

/* Numbers of one sample. */
static inline int64_t lamina__sample_size(const lamina_shape *shape) {
    int64_t size = 1;
    for (int32_t i = 1; i < shape->ndim; i++) {
        size *= shape->dim[i];
    }
    return size;
}

static inline int lamina__same_dims(const lamina_shape *a, const lamina_shape *b) {
    int same = a->ndim == b->ndim;
    for (int32_t i = 0; same && i < a->ndim; i++) {
        same = a->dim[i] == b->dim[i];
    }
    return same;
}

static inline int32_t lamina__check_image(lamina_call *call, const lamina_shape *shape) {
    return shape->ndim == 4 ? LAMINA_OK
                            : call->host->fail(call, LAMINA_ERROR_SHAPE,
                                               "needs image input (N, C, H, W), got %d dimensions",
                                               (int)shape->ndim);
}

typedef struct lamina__dims_text {
    char text[192];
} lamina__dims_text;

/* "[64, 3, 28, 28]" */
static inline lamina__dims_text lamina__dims(const lamina_shape *shape) {
    lamina__dims_text dims = {"["};
    size_t used = 1;
    for (int32_t i = 0; i < shape->ndim && used < sizeof dims.text; i++) {
        used += (size_t)snprintf(dims.text + used, sizeof dims.text - used, "%s%lld%s",
                                 i > 0 ? ", " : "", (long long)shape->dim[i],
                                 i == shape->ndim - 1 ? "]" : "");
    }
    return dims;
}

/* What lies in memory between the numbers along one axis: a sample is `outer` runs, one after the
 * other, and a run is dim[axis] times `inner` numbers. Images are channels-last. axis >= 1. */
typedef struct lamina__runs {
    int64_t outer, inner;
} lamina__runs;

static inline lamina__runs lamina__runs_along(const lamina_shape *shape, int32_t axis) {
    static const int32_t image_order[4] = {0, 2, 3, 1};
    lamina__runs runs = {1, 1};
    int passed = 0;
    for (int32_t i = 1; i < shape->ndim; i++) {
        const int32_t at = shape->ndim == 4 ? image_order[i] : i;
        if (at == axis) {
            passed = 1;
        } else if (passed) {
            runs.inner *= shape->dim[at];
        } else {
            runs.outer *= shape->dim[at];
        }
    }
    return runs;
}

#endif
