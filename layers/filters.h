/* What layers of learned filters declare alike: groups that fit, and a bias. */
#ifndef LAMINA_LAYERS_FILTERS_H
#define LAMINA_LAYERS_FILTERS_H

#include "layers/real.h"

#include <inttypes.h>

static inline int32_t lamina__check_groups(lamina_call *call, int64_t groups, int64_t inputs,
                                           int64_t filters) {
    return inputs % groups == 0 && filters % groups == 0
               ? LAMINA_OK
               : call->host->fail(call, LAMINA_ERROR_SHAPE,
                                  "groups %" PRId64 " must divide the %" PRId64
                                  " input channels and the %" PRId64 " filters",
                                  groups, inputs, filters);
}

/* Declares "bias", a number for each output, 0 at the start, which does not decay. */
static inline int32_t lamina__add_bias(lamina_call *call, int64_t outputs) {
    const lamina_weight bias = {.struct_size = sizeof bias,
                                .name = "bias",
                                .shape = {.dtype = LAMINA__REAL_DTYPE, .ndim = 1, .dim = {outputs}},
                                .init = {.kind = LAMINA_INIT_CONSTANT},
                                .flags = LAMINA_WEIGHT_NO_DECAY};
    return call->host->add_weight(call, &bias);
}

#endif
