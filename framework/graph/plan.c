/* The plan of the memory: units, stores, lifetimes, offsets.
 *
 * Two clocks. A shard runs through all layers without waiting for the others, so inside its own
 * part of the arena time is the layer: layer i's forward is at time i, its backward at 2L - 1 - i,
 * and two stores that are never alive at the same time may lie in the same place. In the common
 * part a store holds all shards' samples, and while one shard is early in a unit another may be
 * late in it; there time is the unit, which all shards enter and leave together.
 *
 * And two kinds of calls. A training step leaves out what only an evaluation runs, metrics, and an
 * evaluation has no backward pass. So each store has a lifetime in either, and shares no place with
 * what is alive at the same time of the same kind of call: metrics lie where a step keeps something
 * for its backward pass, and take no memory of their own unless an evaluation needs more than a
 * step. */
#include "base/alloc.h"
#include "base/error.h"
#include "graph/net_impl.h"

#include <limits.h>
#include <string.h>

#define ALIGNMENT 64

static size_t round_up(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- Units and clocks ---- */

static lamina_status make_units(lamina__net *net, lamina_error *error) {
    net->units = lamina__calloc((size_t)net->n_layers, sizeof *net->units);
    if (net->units == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        lamina__unit *last = net->n_units > 0 ? &net->units[net->n_units - 1] : NULL;
        if (last != NULL && !last->whole && !layer->whole) {
            last->end = i + 1;
            last->eval_only = last->eval_only && layer->eval_only;
        } else {
            net->units[net->n_units++] = (lamina__unit){i, i + 1, layer->whole, layer->eval_only};
        }
    }
    return LAMINA_OK;
}

static int32_t unit_of(const lamina__net *net, int32_t layer) {
    int32_t u = 0;
    while (net->units[u].end <= layer) {
        u++;
    }
    return u;
}

int32_t lamina__plan_forward_time(const lamina__net *net, lamina__place place, int32_t layer) {
    return place == LAMINA__PLACE_COMMON ? unit_of(net, layer) : layer;
}

int32_t lamina__plan_backward_time(const lamina__net *net, lamina__place place, int32_t layer) {
    if (place != LAMINA__PLACE_COMMON) {
        return 2 * net->n_layers - 1 - layer;
    }
    /* The last unit, when it is by shard, goes forward and backward in one region. */
    const int32_t turn =
        net->units[net->n_units - 1].whole ? 2 * net->n_units - 1 : 2 * net->n_units - 2;
    return turn - unit_of(net, layer);
}

/* ---- Stores ---- */

static size_t sample_bytes(const lamina_shape *shape) {
    return (size_t)(lamina__shape_count(shape) / shape->dim[0]) * lamina__dtype_bytes(shape->dtype);
}

int32_t lamina__plan_add_store(lamina__net *net, lamina__place place, const lamina_shape *shape,
                               lamina__lifetime life) {
    if (net->options.keep_all && place != LAMINA__PLACE_GIVEN) {
        life = (lamina__lifetime){0, INT32_MAX, INT32_MAX, true};
    }
    void *stores = net->stores;
    if (lamina__grow(&stores, &net->stores_capacity, (size_t)net->n_stores + 1,
                     sizeof *net->stores) != 0) {
        return -1;
    }
    net->stores = stores;
    net->stores[net->n_stores] =
        (lamina__store){.place = place, .sample_bytes = sample_bytes(shape), .life = life};
    return net->n_stores++;
}

static void extend(lamina__store *store, int32_t last, int32_t eval_last) {
    lamina__lifetime *life = &store->life;
    life->last = last > life->last ? last : life->last;
    life->eval_last = eval_last > life->eval_last ? eval_last : life->eval_last;
}

/* Of what only a backward pass has. */
static lamina__lifetime in_step(int32_t first, int32_t last) {
    return (lamina__lifetime){first, last, -1, true};
}

/* Could layer i write over its input, as far as who reads that is concerned? */
static bool may_overwrite(const lamina__net *net, int32_t i) {
    const lamina__layer *layer = &net->layers[i];
    const uint32_t flags = layer->instance->type->flags;
    const lamina__value *in = &net->values[layer->value_in[0]];
    if (net->options.keep_all || (flags & LAMINA_IN_PLACE) == 0 || in->producer < 0 ||
        in->n_uses != 1) {
        return false;
    }
    if (layer->backward && (flags & LAMINA_NEEDS_INPUT) != 0) {
        return false;
    }
    const lamina__layer *producer = &net->layers[in->producer];
    return !producer->backward || (producer->instance->type->flags & LAMINA_NEEDS_OUTPUT) == 0;
}

/* Common when a whole-batch layer touches it, when it is what comes out of the network, or when a
 * layer writes it over what is common. */
static lamina__place place_of(const lamina__net *net, int32_t v) {
    const lamina__value *value = &net->values[v];
    if (value->producer < 0) {
        return LAMINA__PLACE_GIVEN;
    }
    if (net->options.keep_all || value->n_uses == 0) {
        return LAMINA__PLACE_COMMON;
    }
    if (net->layers[value->producer].whole) {
        return LAMINA__PLACE_COMMON;
    }
    for (int32_t i = value->producer + 1; i <= value->last_use; i++) {
        for (int32_t k = 0; net->layers[i].whole && k < net->layers[i].instance->n_in; k++) {
            if (net->layers[i].value_in[k] == v) {
                return LAMINA__PLACE_COMMON;
            }
        }
    }
    const lamina__layer *producer = &net->layers[value->producer];
    return v == producer->value_out[0] && may_overwrite(net, value->producer)
               ? place_of(net, producer->value_in[0])
               : LAMINA__PLACE_SHARD;
}

bool lamina__plan_needs_output(const lamina__layer *layer) {
    return layer->backward && !layer->fused_backward &&
           (layer->instance->type->flags & LAMINA_NEEDS_OUTPUT) != 0;
}

/* The last moment anyone reads the value in a training step, or in an evaluation. */
static int32_t value_end(const lamina__net *net, int32_t v, lamina__place place, bool evaluation) {
    const lamina__value *value = &net->values[v];
    const lamina__layer *producer = &net->layers[value->producer];
    int32_t end = lamina__plan_forward_time(net, place, value->producer);
    if (!evaluation && lamina__plan_needs_output(producer)) {
        end = lamina__plan_backward_time(net, place, value->producer);
    }
    for (int32_t i = value->producer + 1; i <= value->last_use; i++) {
        const lamina__layer *user = &net->layers[i];
        for (int32_t k = 0; k < user->instance->n_in; k++) {
            if (user->value_in[k] != v || (user->eval_only && !evaluation)) {
                continue;
            }
            const bool late = !evaluation && user->backward &&
                              (user->instance->type->flags & LAMINA_NEEDS_INPUT) != 0;
            const int32_t time = late ? lamina__plan_backward_time(net, place, i)
                                      : lamina__plan_forward_time(net, place, i);
            end = time > end ? time : end;
        }
    }
    return end;
}

bool lamina__net_in_place(const lamina__net *net, int32_t i) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__value *in = &net->values[layer->value_in[0]];
    return may_overwrite(net, i) &&
           place_of(net, layer->value_in[0]) == place_of(net, layer->value_out[0]) &&
           sample_bytes(&in->shape) == sample_bytes(&net->values[layer->value_out[0]].shape);
}

static bool place_values(lamina__net *net) {
    for (int32_t v = 0; v < 2; v++) {
        const lamina_shape *shape = &net->values[v].shape;
        net->values[v].data.store =
            lamina__plan_add_store(net, LAMINA__PLACE_GIVEN, shape, (lamina__lifetime){0});
        if (net->values[v].data.store < 0) {
            return false;
        }
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_out; k++) {
            lamina__value *value = &net->values[layer->value_out[k]];
            const lamina__place place = place_of(net, layer->value_out[k]);
            /* What comes out of the network, the losses too, is read after the step. */
            lamina__lifetime life = {lamina__plan_forward_time(net, place, i), INT32_MAX, INT32_MAX,
                                     !layer->eval_only};
            if (value->n_uses > 0) {
                life.last = value_end(net, layer->value_out[k], place, false);
                life.eval_last = value_end(net, layer->value_out[k], place, true);
            }
            if (k == 0 && lamina__net_in_place(net, i)) {
                value->data.store = net->values[layer->value_in[0]].data.store;
                extend(&net->stores[value->data.store], life.last, life.eval_last);
                continue;
            }
            value->data.store = lamina__plan_add_store(net, place, &value->shape, life);
            if (value->data.store < 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Gradients ---- */

/* Does the gradient through input k of layer i reach its value first, in the order of backward? */
static bool reaches_first(const lamina__net *net, int32_t i, int32_t k) {
    const lamina__layer *layer = &net->layers[i];
    const int32_t v = layer->value_in[k];
    for (int32_t before = 0; before < k; before++) {
        if (layer->value_in[before] == v) {
            return false;
        }
    }
    return net->values[v].last_trained_use == i;
}

static bool backward_in_place(const lamina__net *net, int32_t i, int32_t k, lamina__place place) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__value *in = &net->values[layer->value_in[k]];
    const lamina__value *out = &net->values[layer->value_out[0]];
    if (net->options.keep_all || k != 0 || out->loss >= 0 ||
        (layer->instance->type->flags & LAMINA_IN_PLACE) == 0 || in->n_trained_uses != 1) {
        return false;
    }
    const lamina__store *store = &net->stores[out->gradient.store];
    return store->place == place && store->sample_bytes == sample_bytes(&in->shape);
}

/* The gradient of a value is alive from the first layer that writes it, in backward order, to the
 * backward of the layer that made it. */
static bool place_gradients(lamina__net *net) {
    for (int32_t i = net->n_layers - 1; i >= 0; i--) {
        lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; layer->backward && k < layer->instance->n_in; k++) {
            lamina__value *in = &net->values[layer->value_in[k]];
            if (!in->needs_gradient) {
                continue;
            }
            const lamina__place place = place_of(net, layer->value_in[k]);
            const int32_t now = lamina__plan_backward_time(net, place, i);
            if (!reaches_first(net, i, k)) {
                layer->d_in_apart[k].store =
                    lamina__plan_add_store(net, place, &in->shape, in_step(now, now));
                if (layer->d_in_apart[k].store < 0) {
                    return false;
                }
                continue;
            }
            const int32_t end = lamina__plan_backward_time(net, place, in->producer);
            if (backward_in_place(net, i, k, place)) {
                in->gradient.store = net->values[layer->value_out[0]].gradient.store;
                extend(&net->stores[in->gradient.store], end, -1);
                continue;
            }
            in->gradient.store = lamina__plan_add_store(net, place, &in->shape, in_step(now, end));
            if (in->gradient.store < 0) {
                return false;
            }
        }
    }
    return true;
}

static bool place_saved(lamina__net *net) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        const lamina__place place =
            layer->whole || net->options.keep_all ? LAMINA__PLACE_COMMON : LAMINA__PLACE_SHARD;
        const int32_t now = lamina__plan_forward_time(net, place, i);
        for (int32_t k = 0; k < layer->instance->n_saved; k++) {
            const int32_t end = layer->backward ? lamina__plan_backward_time(net, place, i) : now;
            layer->saved[k].store =
                lamina__plan_add_store(net, place, &layer->instance->saved[k].shape,
                                       (lamina__lifetime){now, end, now, !layer->eval_only});
            if (layer->saved[k].store < 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Offsets ---- */

static size_t store_bytes(const lamina__net *net, const lamina__store *store) {
    const int64_t samples =
        store->place == LAMINA__PLACE_COMMON ? net->options.batch : net->max_part;
    return round_up(store->sample_bytes * (size_t)samples);
}

static bool overlap_in_time(const lamina__lifetime *a, const lamina__lifetime *b) {
    const bool trained = a->trained && b->trained && a->first <= b->last && b->first <= a->last;
    return trained || (a->first <= b->eval_last && b->first <= a->eval_last);
}

/* The lowest offset at which store s meets none of the placed stores it shares time with. */
static size_t lowest_offset(const lamina__net *net, const int32_t *placed, int32_t n_placed,
                            const lamina__store *s) {
    const size_t bytes = store_bytes(net, s);
    size_t best = 0;
    bool moved = true;
    while (moved) {
        moved = false;
        for (int32_t p = 0; p < n_placed; p++) {
            const lamina__store *other = &net->stores[placed[p]];
            const size_t other_end = other->offset + store_bytes(net, other);
            if (overlap_in_time(&s->life, &other->life) && best < other_end &&
                other->offset < best + bytes) {
                best = other_end;
                moved = true;
            }
        }
    }
    return best;
}

/* Largest first, each as low as it fits; returns the bytes of the part. */
static size_t place_offsets(lamina__net *net, lamina__place place, int32_t *order,
                            int32_t *placed) {
    int32_t n = 0, n_placed = 0;
    for (int32_t s = 0; s < net->n_stores; s++) {
        if (net->stores[s].place == place) {
            order[n++] = s;
        }
    }
    for (int32_t i = 1; i < n; i++) { /* insertion sort: stable, n is small */
        for (int32_t k = i; k > 0 && store_bytes(net, &net->stores[order[k]]) >
                                         store_bytes(net, &net->stores[order[k - 1]]);
             k--) {
            const int32_t swap = order[k];
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    }
    size_t total = 0;
    for (int32_t i = 0; i < n; i++) {
        lamina__store *store = &net->stores[order[i]];
        store->offset = lowest_offset(net, placed, n_placed, store);
        placed[n_placed++] = order[i];
        const size_t end = store->offset + store_bytes(net, store);
        total = end > total ? end : total;
    }
    return total;
}

/* ---- Weights, packed weights, scratch ---- */

static void place_packed(lamina__net *net) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        size_t *scratch = layer->whole ? &net->common_scratch : &net->shard_scratch;
        const size_t bytes = round_up(layer->instance->scratch_bytes);
        if (bytes > *scratch) {
            *scratch = bytes;
        }
        for (int32_t k = 0; k < layer->instance->n_packed; k++) {
            layer->packed_offset[k] = net->packed_bytes;
            net->packed_bytes += round_up(layer->instance->packed[k].bytes);
        }
    }
}

lamina_status lamina__net_plan(lamina__net *net, lamina_error *error) {
    const lamina_status status = make_units(net, error);
    if (status != LAMINA_OK) {
        return status;
    }
    if (!place_values(net)) {
        return lamina__fail_memory(error, "the plan");
    }
    const lamina_status again = lamina__plan_again(net, error);
    if (again != LAMINA_OK) {
        return again;
    }
    if (!place_gradients(net) || !place_saved(net)) {
        return lamina__fail_memory(error, "the plan");
    }
    int32_t *order = lamina__calloc((size_t)net->n_stores * 2, sizeof *order);
    if (order == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    net->common_bytes = place_offsets(net, LAMINA__PLACE_COMMON, order, order + net->n_stores);
    net->shard_bytes = place_offsets(net, LAMINA__PLACE_SHARD, order, order + net->n_stores);
    lamina__free(order);
    place_packed(net);
    return LAMINA_OK;
}
