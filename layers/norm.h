/* What norms have in common: two rows of their parameter tables, and the weight and bias that they
 * learn. `field` is a row's offset in the layer's config, `text` its documentation. */
#ifndef LAMINA_LAYERS_NORM_H
#define LAMINA_LAYERS_NORM_H

#include "layers/real.h"

#define LAMINA__EPS_PARAM(field, text)                                                             \
    {                                                                                              \
        .name = "eps", .doc = (text), .type = LAMINA_REAL, .offset = (field), .min = 0,            \
        .max = 1e6, .def = "1e-5"                                                                  \
    }
#define LAMINA__AFFINE_PARAM(field, text, preset)                                                  \
    { .name = "affine", .doc = (text), .type = LAMINA_BOOL, .offset = (field), .def = (preset) }

/* Declares "weight", 1 at the start, and "bias", 0, neither of which decays. like: the shape and
 * stored order of both. */
static inline int32_t lamina__add_affine(lamina_call *call, lamina_weight like) {
    like.struct_size = sizeof like;
    like.name = "weight";
    like.init = (lamina_init){.kind = LAMINA_INIT_CONSTANT, .value = 1};
    like.flags = LAMINA_WEIGHT_NO_DECAY;
    int32_t status = call->host->add_weight(call, &like);
    if (status >= 0) {
        like.name = "bias";
        like.init.value = 0;
        status = call->host->add_weight(call, &like);
    }
    return status;
}

#endif
