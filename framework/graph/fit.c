/* Does the plan fit into memory? An allocation that is too large often succeeds, and the process is
 * killed when it is used. So the plan's total is compared with what is left, and the largest part
 * of the plan is named. */
#include "base/error.h"
#include "graph/net_impl.h"

#include <stdio.h>

/* A piece of the plan that a person could make smaller. */
typedef struct part {
    const char *layer, *what;
    size_t bytes;
    bool weights; /* does not depend on the batch */
} part;

static void take_larger(part *largest, const char *layer, const char *what, size_t bytes,
                        bool weights) {
    if (bytes > largest->bytes) {
        *largest = (part){layer, what, bytes, weights};
    }
}

static size_t store_bytes(const lamina__net *net, const lamina__views *views) {
    const lamina__store *store = &net->stores[views->store];
    const size_t samples = store->place == LAMINA__PLACE_COMMON
                               ? (size_t)net->options.batch
                               : (size_t)net->shards * (size_t)store->samples;
    return store->sample_bytes * samples;
}

/* Copies of the weights: with their gradients, one for each shard, and what the optimizer keeps. */
static size_t weight_copies(const lamina__net *net, bool one) {
    return net->options.training ? (one ? 1 : (size_t)net->shards) + 2 : 1;
}

static void look_at_layer(const lamina__net *net, const lamina__layer *layer, part *largest) {
    const lamina__instance *instance = layer->instance;
    const char *name = instance->name;
    for (int32_t k = 0; k < instance->n_out; k++) {
        take_larger(largest, name, "output",
                    store_bytes(net, &net->values[layer->value_out[k]].data), false);
    }
    for (int32_t k = 0; k < instance->n_saved; k++) {
        take_larger(largest, name, "saved tensor", store_bytes(net, &layer->saved[k]), false);
    }
    take_larger(largest, name, "scratch",
                instance->scratch_bytes * (layer->whole ? 1 : (size_t)net->shards), false);
    size_t weights = 0, packed = 0;
    const bool owner = &net->layers[layer->spec->owner] == layer;
    for (int32_t k = 0; owner && k < instance->n_weights; k++) {
        weights += (size_t)instance->weights[k].elements * sizeof(float);
    }
    for (int32_t k = 0; k < instance->n_packed; k++) {
        packed += instance->packed[k].bytes;
    }
    take_larger(largest, name, net->options.training ? "weights and their gradients" : "weights",
                weights * weight_copies(net, lamina__has_one_gradient(layer)), true);
    take_larger(largest, name, "packed weights", packed, true);
}

static char *size_text(size_t bytes, char dst[32]) {
    if (bytes < 1000000000) {
        snprintf(dst, 32, "%.1f MB", (double)bytes / 1e6);
    } else {
        snprintf(dst, 32, "%.1f GB", (double)bytes / 1e9);
    }
    return dst;
}

/* What the net will have allocated, and the optimizer's copy of the weights. */
static size_t needed_bytes(const lamina__net *net) {
    const lamina__memory memory = lamina__net_memory(net);
    const size_t optimizer = net->options.training ? (size_t)net->weight_floats * sizeof(float) : 0;
    return memory.weights + memory.gradients + memory.activations + memory.packed + optimizer;
}

lamina_status lamina__net_check_memory(const lamina__net *net, int64_t available,
                                       lamina_error *error) {
    const size_t needed = needed_bytes(net);
    part largest = {"", "", 0, false};
    char need[32], have[32], most[32];
    if (available == INT64_MAX || needed <= (size_t)available) {
        return LAMINA_OK;
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        look_at_layer(net, &net->layers[i], &largest);
    }
    return lamina__fail(error, LAMINA_ERROR_MEMORY,
                        "the network needs %s, %s are available; the largest part is %s's %s (%s): "
                        "use %s",
                        size_text(needed, need), size_text((size_t)available, have), largest.layer,
                        largest.what, size_text(largest.bytes, most),
                        !largest.weights ? "a smaller batch, or fewer filters or units"
                        : weight_copies(net, false) > 3 ? "fewer filters or units, or fewer threads"
                                                        : "fewer filters or units");
}
