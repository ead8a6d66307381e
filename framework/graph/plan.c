/* The plan of the memory: stores, lifetimes, offsets.
 *
 * Two clocks. All shards enter and leave a run together, and a store in the common part holds all
 * shards' samples; so there time is the run: unit u's forward phase is at time u, its backward
 * phase as far from the end. What lives in one run only is local: a shard, or slice of one, goes
 * through the run's layers without waiting for the others, so inside its block time is the layer:
 * layer i's forward is at time i, its backward at 2L - 1 - i, and two stores that are never alive
 * at the same time may lie in the same place.
 *
 * What a layer called in stages writes, and what is changed of it in place, costs no more than
 * going through memory once. Where only layers of its unit read it, it need not be kept for their
 * backward pass: it is local, and made again at the beginning of the unit's backward phase, where
 * it is read from the cache. That saves more time than it costs, and the memory besides.
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

/* ---- Clocks ---- */

typedef enum clock_kind { RUNS, LAYERS } clock_kind;

/* When its outputs are written, and its inputs are read for the last time. */
static int32_t forward_time(const lamina__net *net, clock_kind clock, int32_t layer) {
    return clock == RUNS ? net->layers[layer].last_unit : layer;
}

int32_t lamina__plan_backward_run(const lamina__net *net, int32_t unit) {
    /* The last unit, when it is by shard, goes forward and backward in one run. */
    const int32_t turn =
        net->units[net->n_units - 1].whole ? 2 * net->n_units - 1 : 2 * net->n_units - 2;
    return turn - unit;
}

/* When its backward pass begins to read, */
static int32_t backward_begin(const lamina__net *net, clock_kind clock, int32_t layer) {
    return clock == RUNS ? lamina__plan_backward_run(net, net->layers[layer].last_unit)
                         : 2 * net->n_layers - 1 - layer;
}

/* and when it writes, and reads for the last time. */
static int32_t backward_end(const lamina__net *net, clock_kind clock, int32_t layer) {
    return clock == RUNS ? lamina__plan_backward_run(net, net->layers[layer].first_unit)
                         : 2 * net->n_layers - 1 - layer;
}

/* The unit whose forward or backward phase a run is. */
static const lamina__unit *unit_of_run(const lamina__net *net, int32_t run) {
    return &net->units[run < net->n_units ? run : lamina__plan_backward_run(net, 0) - run];
}

/* ---- Lifetimes ---- */

static int32_t later(int32_t a, int32_t b) {
    return a > b ? a : b;
}

static int32_t earlier(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static void use_forward(lamina__lifetime *life, int32_t time, bool trained) {
    life->eval_last = later(life->eval_last, time);
    if (trained) {
        life->last = later(life->last, time);
        life->forward_last = later(life->forward_last, time);
    }
}

static void use_backward(lamina__lifetime *life, int32_t first, int32_t last) {
    life->last = later(life->last, last);
    life->backward_first = earlier(life->backward_first, first);
}

static lamina__lifetime born(int32_t time, bool trained) {
    return (lamina__lifetime){.first = time,
                              .last = time,
                              .eval_last = time,
                              .trained = trained,
                              .forward_last = time,
                              .backward_first = INT32_MAX};
}

/* Of what only a backward pass has. */
static lamina__lifetime in_backward(int32_t first, int32_t last) {
    return (lamina__lifetime){.first = first,
                              .last = last,
                              .eval_last = -1,
                              .trained = true,
                              .forward_last = -1,
                              .backward_first = first};
}

static void extend(lamina__lifetime *life, const lamina__lifetime *other) {
    life->last = later(life->last, other->last);
    life->eval_last = later(life->eval_last, other->eval_last);
    life->forward_last = later(life->forward_last, other->forward_last);
    life->backward_first = earlier(life->backward_first, other->backward_first);
}

/* ---- Stores ---- */

/* Its number, -1: no memory. */
static int32_t add_store(lamina__net *net, const lamina__store *store) {
    void *stores = net->stores;
    if (lamina__grow(&stores, &net->stores_capacity, (size_t)net->n_stores + 1,
                     sizeof *net->stores) != 0) {
        return -1;
    }
    net->stores = stores;
    net->stores[net->n_stores] = *store;
    return net->n_stores++;
}

static int32_t add_tensor(lamina__net *net, const lamina_shape *shape, lamina__lifetime life,
                          lamina__lifetime in_unit) {
    return add_store(net, &(lamina__store){.sample_bytes = lamina__sample_bytes(shape),
                                           .life = life,
                                           .in_unit = in_unit});
}

int32_t lamina__plan_add_second(lamina__net *net, int32_t store, int32_t first, int32_t last) {
    return add_store(net, &(lamina__store){.place = LAMINA__PLACE_COMMON,
                                           .sample_bytes = net->stores[store].sample_bytes,
                                           .life = in_backward(first, last)});
}

/* ---- Values ---- */

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

bool lamina__net_in_place(const lamina__net *net, int32_t i) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__value *in = &net->values[layer->value_in[0]];
    return may_overwrite(net, i) &&
           lamina__sample_bytes(&in->shape) ==
               lamina__sample_bytes(&net->values[layer->value_out[0]].shape);
}

bool lamina__plan_needs_output(const lamina__layer *layer) {
    return layer->backward && !layer->fused_backward &&
           (layer->instance->type->flags & LAMINA_NEEDS_OUTPUT) != 0;
}

static lamina__lifetime value_life(const lamina__net *net, int32_t v, clock_kind clock) {
    const lamina__value *value = &net->values[v];
    const lamina__layer *producer = &net->layers[value->producer];
    lamina__lifetime life = born(forward_time(net, clock, value->producer), !producer->eval_only);
    if (value->n_uses ==
        0) { /* what comes out of the network, the losses too, is read afterwards */
        life.last = life.eval_last = life.forward_last = INT32_MAX;
        return life;
    }
    if (lamina__plan_needs_output(producer)) {
        use_backward(&life, backward_begin(net, clock, value->producer),
                     backward_end(net, clock, value->producer));
    }
    for (int32_t i = value->producer + 1; i <= value->last_use; i++) {
        const lamina__layer *user = &net->layers[i];
        const bool late = user->backward && (user->instance->type->flags & LAMINA_NEEDS_INPUT) != 0;
        for (int32_t k = 0; k < user->instance->n_in; k++) {
            if (user->value_in[k] != v) {
                continue;
            }
            use_forward(&life, forward_time(net, clock, i), !user->eval_only);
            if (late) {
                use_backward(&life, backward_begin(net, clock, i), backward_end(net, clock, i));
            }
        }
    }
    return life;
}

static bool place_values(lamina__net *net) {
    for (int32_t v = 0; v < 2; v++) {
        lamina__value *value = &net->values[v];
        value->data.store =
            add_store(net, &(lamina__store){.place = LAMINA__PLACE_GIVEN,
                                            .sample_bytes = lamina__sample_bytes(&value->shape)});
        if (value->data.store < 0) {
            return false;
        }
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_out; k++) {
            const int32_t v = layer->value_out[k];
            lamina__value *value = &net->values[v];
            const lamina__lifetime life = value_life(net, v, RUNS),
                                   in_unit = value_life(net, v, LAYERS);
            if (k == 0 && lamina__net_in_place(net, i)) {
                value->data.store = net->values[layer->value_in[0]].data.store;
                extend(&net->stores[value->data.store].life, &life);
                extend(&net->stores[value->data.store].in_unit, &in_unit);
                continue;
            }
            value->data.store = add_tensor(net, &value->shape, life, in_unit);
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

static bool backward_in_place(const lamina__net *net, int32_t i, int32_t k) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__value *in = &net->values[layer->value_in[k]];
    const lamina__value *out = &net->values[layer->value_out[0]];
    if (net->options.keep_all || k != 0 || out->loss >= 0 ||
        (layer->instance->type->flags & LAMINA_IN_PLACE) == 0 || in->n_trained_uses != 1) {
        return false;
    }
    return net->stores[out->gradient.store].sample_bytes == lamina__sample_bytes(&in->shape);
}

/* What layer i writes in its backward pass, until that of layer `reader`. */
static lamina__lifetime gradient_life(const lamina__net *net, clock_kind clock, int32_t i,
                                      int32_t reader) {
    return in_backward(backward_end(net, clock, i), backward_end(net, clock, reader));
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
            if (!reaches_first(net, i, k)) {
                layer->d_in_apart[k].store =
                    add_tensor(net, &in->shape, gradient_life(net, RUNS, i, i),
                               gradient_life(net, LAYERS, i, i));
                if (layer->d_in_apart[k].store < 0) {
                    return false;
                }
                continue;
            }
            const lamina__lifetime life = gradient_life(net, RUNS, i, in->producer),
                                   in_unit = gradient_life(net, LAYERS, i, in->producer);
            if (backward_in_place(net, i, k)) {
                in->gradient.store = net->values[layer->value_out[0]].gradient.store;
                extend(&net->stores[in->gradient.store].life, &life);
                extend(&net->stores[in->gradient.store].in_unit, &in_unit);
                continue;
            }
            in->gradient.store = add_tensor(net, &in->shape, life, in_unit);
            if (in->gradient.store < 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- What layers save, and what the calls of one share ---- */

/* From the first call of the forward pass to the last of the backward pass. */
static lamina__lifetime saved_life(const lamina__net *net, int32_t i, clock_kind clock) {
    const lamina__layer *layer = &net->layers[i];
    lamina__lifetime life = born(clock == RUNS ? layer->first_unit : i, !layer->eval_only);
    use_forward(&life, forward_time(net, clock, i), !layer->eval_only);
    if (layer->backward) {
        use_backward(&life, backward_begin(net, clock, i), backward_end(net, clock, i));
    }
    return life;
}

static bool place_saved(lamina__net *net) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        const lamina__lifetime life = saved_life(net, i, RUNS),
                               in_unit = saved_life(net, i, LAYERS);
        for (int32_t k = 0; k < layer->instance->n_saved; k++) {
            layer->saved[k].store =
                add_tensor(net, &layer->instance->saved[k].shape, life, in_unit);
            if (layer->saved[k].store < 0) {
                return false;
            }
        }
        layer->shared = -1;
        if (layer->instance->shared_bytes > 0) {
            const size_t batch = (size_t)net->options.batch;
            layer->shared = add_store(
                net, &(lamina__store){.place = LAMINA__PLACE_COMMON,
                                      .sample_bytes =
                                          (layer->instance->shared_bytes + batch - 1) / batch,
                                      .life = life});
            if (layer->shared < 0) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Places ---- */

/* Does it live in one run only, of either kind of call? */
static bool is_in_one_run(const lamina__store *store) {
    const lamina__lifetime *life = &store->life;
    return (!life->trained || life->last == life->first) &&
           (life->eval_last < 0 || life->eval_last == life->first);
}

/* What a layer saves is there until its backward pass; without one, only while it runs the first
 * time. */
bool lamina__plan_can_repeat(const lamina__layer *layer) {
    const lamina_layer_type *type = layer->instance->type;
    return layer->instance->n_out == 1 && (type->flags & LAMINA_IS_LOSS) == 0 &&
           (layer->backward || (layer->instance->n_saved == 0 && !layer->staged)) &&
           (layer->instance->n_states == 0 || (type->flags & LAMINA_REPEATS) != 0);
}

/* Can a writer of store s repeat its forward pass in that run, for next to nothing? */
static bool can_repeat_in(const lamina__net *net, const lamina__layer *layer, int32_t s,
                          int32_t run) {
    bool can = lamina__plan_can_repeat(layer) && layer->instance->multiply_adds == 0;
    for (int32_t k = 0; k < layer->instance->n_in; k++) {
        const int32_t from = net->values[layer->value_in[k]].data.store;
        const lamina__store *store = &net->stores[from];
        can = can && (from == s || store->place == LAMINA__PLACE_GIVEN ||
                      (store->place == LAMINA__PLACE_COMMON && store->life.last >= run));
    }
    return can;
}

static bool writes(const lamina__net *net, int32_t i, int32_t s) {
    const lamina__layer *layer = &net->layers[i];
    return net->values[layer->value_out[0]].data.store == s;
}

/* Is store s written by a layer called in stages, and read in its unit only? */
static bool can_have_gap(const lamina__net *net, int32_t s) {
    const lamina__lifetime *life = &net->stores[s].life;
    bool can = net->options.training && life->trained && life->forward_last == life->first &&
               life->eval_last == life->first && life->backward_first == life->last &&
               life->last == lamina__plan_backward_run(net, life->first);
    bool staged = false;
    for (int32_t i = 0; can && i < net->n_layers; i++) {
        if (writes(net, i, s)) {
            staged = staged || net->layers[i].staged;
            can = staged && can_repeat_in(net, &net->layers[i], s, life->last);
        }
    }
    return can && staged;
}

/* Local from here on; made again when the unit's backward phase begins, from what must be there
 * then. */
static void make_gap(lamina__net *net, int32_t s) {
    lamina__store *store = &net->stores[s];
    const int32_t run = store->life.last;
    store->in_unit.gap = true;
    store->in_unit.backward_first = 2 * net->n_layers - unit_of_run(net, store->life.first)->end;
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        if (!writes(net, i, s)) {
            continue;
        }
        layer->repeats = true;
        for (int32_t k = 0; k < layer->instance->n_in; k++) {
            const int32_t from = net->values[layer->value_in[k]].data.store;
            if (from != s) {
                use_backward(&net->stores[from].life, run, run);
            }
        }
    }
}

/* Decides where the stores lie that have no place yet; values come in the order of their layers. */
static void choose_places(lamina__net *net) {
    for (int32_t s = 0; s < net->n_stores; s++) {
        lamina__store *store = &net->stores[s];
        if (store->place != 0) {
            continue;
        }
        store->place = LAMINA__PLACE_COMMON;
        if (net->options.keep_all) {
            store->life =
                (lamina__lifetime){.last = INT32_MAX, .eval_last = INT32_MAX, .trained = true};
            continue;
        }
        const lamina__unit *unit = unit_of_run(net, store->life.first);
        if (unit->whole) {
            continue;
        }
        const bool gap = !is_in_one_run(store) && can_have_gap(net, s);
        if (gap) {
            make_gap(net, s);
        }
        if (gap || is_in_one_run(store)) {
            const int32_t cut = lamina__unit_calls(net, unit);
            store->place = LAMINA__PLACE_LOCAL;
            store->samples = (net->options.batch + cut - 1) / cut;
        }
    }
}

/* ---- Offsets ---- */

static size_t store_bytes(const lamina__net *net, const lamina__store *store) {
    const int64_t samples =
        store->place == LAMINA__PLACE_COMMON ? net->options.batch : store->samples;
    return round_up(store->sample_bytes * (size_t)samples);
}

/* Is one there in a training step while the other is? */
static bool meet_in_training(const lamina__lifetime *a, const lamina__lifetime *b) {
    const int32_t a_end = a->gap ? a->forward_last : a->last,
                  b_end = b->gap ? b->forward_last : b->last;
    return (a->first <= b_end && b->first <= a_end) ||
           (a->gap && a->backward_first <= b_end && b->first <= a->last) ||
           (b->gap && b->backward_first <= a_end && a->first <= b->last) ||
           (a->gap && b->gap && a->backward_first <= b->last && b->backward_first <= a->last);
}

static const lamina__lifetime *life_of(const lamina__store *store) {
    return store->place == LAMINA__PLACE_COMMON ? &store->life : &store->in_unit;
}

static bool overlap_in_time(const lamina__store *one, const lamina__store *other) {
    const lamina__lifetime *a = life_of(one), *b = life_of(other);
    return (a->trained && b->trained && meet_in_training(a, b)) ||
           (a->first <= b->eval_last && b->first <= a->eval_last);
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
            if (overlap_in_time(s, other) && best < other_end && other->offset < best + bytes) {
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
    if (!place_values(net)) {
        return lamina__fail_memory(error, "the plan");
    }
    choose_places(net);
    const lamina_status again = lamina__plan_again(net, error);
    if (again != LAMINA_OK) {
        return again;
    }
    if (!place_gradients(net) || !place_saved(net)) {
        return lamina__fail_memory(error, "the plan");
    }
    choose_places(net);
    int32_t *order = lamina__calloc((size_t)net->n_stores * 2, sizeof *order);
    if (order == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    net->common_bytes = place_offsets(net, LAMINA__PLACE_COMMON, order, order + net->n_stores);
    net->shard_bytes = place_offsets(net, LAMINA__PLACE_LOCAL, order, order + net->n_stores);
    lamina__free(order);
    place_packed(net);
    return LAMINA_OK;
}
