/* create() of a layer that has nothing else to do there: zeroed memory for its struct. */
#ifndef LAMINA_LAYERS_SELF_H
#define LAMINA_LAYERS_SELF_H

#include "lamina/layer.h"

#include <string.h>

static inline int32_t lamina__make_self(lamina_call *call, size_t size, void **self) {
    *self = call->host->alloc(call, size);
    return *self != NULL ? LAMINA_OK : call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory");
}

/* The same for a struct whose first member is a pointer to the layer's config. */
static inline int32_t lamina__make_self_with(lamina_call *call, const void *config, size_t size,
                                             void **self) {
    const int32_t status = lamina__make_self(call, size, self);
    if (status == LAMINA_OK) {
        memcpy(*self, &config, sizeof config);
    }
    return status;
}

#endif
