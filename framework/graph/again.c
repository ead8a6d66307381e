/* Activations that are made again in the backward phase instead of being kept for it: less memory
 * for some more work (Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory
 * cost", 2016).
 *
 * The unit of choice is a store: what one layer writes and those behind it change in place. It may
 * be given up after its last use in the forward phase when all its writers can repeat their forward
 * pass and their inputs are still there, or are made again themselves, just before. Then it gets a
 * second store, for the backward phase, and the first is free in between. Stores whose writers do
 * no multiply-adds (norms, activations) are taken first; then those with the fewest multiply-adds
 * for a byte, as long as all of them together stay within the share of a step's that the options
 * allow. What is made again is the same to the bit.
 *
 * Only stores in the common part are looked at: in networks that couple the batch, those with batch
 * norm, that is nearly all of them; in others slices need even less memory. */
#include "base/alloc.h"
#include "base/error.h"
#include "graph/net_impl.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* A second store that would be alive for more units than this saves nothing worth having. */
enum { LONGEST = 6 };

/* What the choice knows of a store. Times are those of the common part: units, forward and back. */
typedef struct store_use {
    int32_t forward_end; /* last use in the forward phase */
    int32_t need;        /* first use in the backward phase, or of what is made again from it */
    int32_t end;         /* last use of all */
    double multiply_adds;
    bool can; /* be chosen, and was not asked yet */
    bool chosen;
} store_use;

typedef struct chooser {
    lamina__net *net;
    store_use *stores;
    double budget; /* multiply-adds left, of one sample */
} chooser;

static int32_t store_of(const lamina__net *net, int32_t value) {
    return net->values[value].data.store;
}

/* What a layer saves is there until its backward pass; without one, only while it runs the first
 * time. */
static bool can_repeat(const lamina__layer *layer) {
    const lamina_layer_type *type = layer->instance->type;
    return layer->instance->n_out == 1 && (type->flags & LAMINA_IS_LOSS) == 0 &&
           (layer->backward || layer->instance->n_saved == 0) &&
           (layer->instance->n_states == 0 || (type->flags & LAMINA_REPEATS) != 0);
}

static void note_use(store_use *use, int32_t forward, int32_t backward, bool late) {
    use->forward_end = forward > use->forward_end ? forward : use->forward_end;
    if (late) {
        use->need = backward < use->need ? backward : use->need;
    }
}

/* Writers and readers of every store. */
static void look_at_stores(chooser *c) {
    const lamina__net *net = c->net;
    for (int32_t s = 0; s < net->n_stores; s++) {
        c->stores[s] = (store_use){.need = INT32_MAX,
                                   .end = net->stores[s].life.last,
                                   .can = net->stores[s].place == LAMINA__PLACE_COMMON &&
                                          net->stores[s].life.last != INT32_MAX};
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        const uint32_t flags = layer->instance->type->flags;
        const int32_t forward = lamina__plan_forward_time(net, LAMINA__PLACE_COMMON, i);
        const int32_t backward = lamina__plan_backward_time(net, LAMINA__PLACE_COMMON, i);
        for (int32_t k = 0; k < layer->instance->n_in && !layer->eval_only; k++) {
            note_use(&c->stores[store_of(net, layer->value_in[k])], forward, backward,
                     layer->backward && (flags & LAMINA_NEEDS_INPUT) != 0);
        }
        for (int32_t k = 0; k < layer->instance->n_out; k++) {
            store_use *use = &c->stores[store_of(net, layer->value_out[k])];
            note_use(use, forward, backward, lamina__plan_needs_output(layer));
            use->multiply_adds += layer->instance->multiply_adds;
            use->can = use->can && can_repeat(layer);
        }
    }
    for (int32_t s = 0; s < net->n_stores; s++) {
        store_use *use = &c->stores[s];
        use->can = use->can && use->need != INT32_MAX && use->need - use->forward_end > 1;
    }
}

/* Goes from the last layer to the first: what a chosen store is made from must be there by then.
 * False: something would have to be kept for too long. */
static bool settle_needs(const chooser *c, int32_t *need) {
    const lamina__net *net = c->net;
    for (int32_t s = 0; s < net->n_stores; s++) {
        need[s] = c->stores[s].need;
    }
    for (int32_t i = net->n_layers - 1; i >= 0; i--) {
        const lamina__layer *layer = &net->layers[i];
        const int32_t s = store_of(net, layer->value_out[0]);
        if (!c->stores[s].chosen) {
            continue;
        }
        if (c->stores[s].end - need[s] > LONGEST) {
            return false;
        }
        for (int32_t k = 0; k < layer->instance->n_in; k++) {
            const int32_t from = store_of(net, layer->value_in[k]);
            if (from == s || net->stores[from].place == LAMINA__PLACE_GIVEN) {
                continue;
            }
            if (net->stores[from].place != LAMINA__PLACE_COMMON ||
                (!c->stores[from].chosen && c->stores[from].end < need[s])) {
                return false;
            }
            need[from] = need[s] < need[from] ? need[s] : need[from];
        }
    }
    return true;
}

/* Of those that can be chosen, the one with the fewest multiply-adds for a byte. */
static int32_t cheapest(const chooser *c) {
    int32_t best = -1;
    double least = INFINITY;
    for (int32_t s = 0; s < c->net->n_stores; s++) {
        const store_use *use = &c->stores[s];
        const double cost = use->multiply_adds / (double)c->net->stores[s].sample_bytes;
        if (use->can && cost < least) {
            best = s;
            least = cost;
        }
    }
    return best;
}

static void choose(chooser *c, int32_t *need) {
    for (int32_t s = cheapest(c); s >= 0; s = cheapest(c)) {
        store_use *use = &c->stores[s];
        use->can = false;
        use->chosen = use->multiply_adds <= c->budget;
        use->chosen = use->chosen && settle_needs(c, need);
        c->budget -= use->chosen ? use->multiply_adds : 0;
    }
    (void)settle_needs(c, need);
}

/* ---- What comes of it ---- */

static lamina_status add_second_stores(chooser *c, const int32_t *need, lamina_error *error) {
    lamina__net *net = c->net;
    const int32_t n = net->n_stores;
    int32_t *second = lamina__calloc((size_t)n, sizeof *second);
    if (second == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    lamina_status status = LAMINA_OK;
    for (int32_t v = 0; status == LAMINA_OK && v < net->n_values; v++) {
        lamina__value *value = &net->values[v];
        const int32_t s = value->data.store;
        if (!c->stores[s].chosen) {
            continue;
        }
        if (second[s] == 0) { /* never a store's number here: the first is given */
            const lamina__lifetime life = {need[s], c->stores[s].end, -1, true};
            second[s] = lamina__plan_add_store(net, LAMINA__PLACE_COMMON, &value->shape, life);
            net->stores[s].life.last = c->stores[s].forward_end;
        }
        value->store_again = second[s];
        status = second[s] > 0 ? LAMINA_OK : lamina__fail_memory(error, "the plan");
    }
    lamina__free(second);
    return status;
}

/* The layers to run again before each unit's backward phase, in their order. */
static lamina_status list_again(chooser *c, const int32_t *need, lamina_error *error) {
    lamina__net *net = c->net;
    const int32_t turn = lamina__plan_backward_time(net, LAMINA__PLACE_COMMON, 0);
    net->again = lamina__calloc((size_t)net->n_layers + 1, sizeof *net->again);
    if (net->again == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    for (int32_t u = net->n_units - 1; u >= 0; u--) {
        for (int32_t i = 0; i < net->n_layers; i++) {
            const int32_t s = store_of(net, net->layers[i].value_out[0]);
            if (c->stores[s].chosen && turn - need[s] == u) {
                net->again[net->n_again++] = (lamina__again){.layer = i, .unit = u};
            }
        }
    }
    return LAMINA_OK;
}

lamina_status lamina__plan_again(lamina__net *net, lamina_error *error) {
    if (!net->options.training || !net->options.recompute || net->options.keep_all) {
        return LAMINA_OK;
    }
    double forward = 0;
    for (int32_t i = 0; i < net->n_layers; i++) {
        forward += net->layers[i].instance->multiply_adds;
    }
    chooser c = {.net = net, .budget = net->options.recompute_share * 3 * forward};
    c.stores = lamina__calloc((size_t)net->n_stores + 1, sizeof *c.stores);
    int32_t *need = lamina__calloc((size_t)net->n_stores + 1, sizeof *need);
    lamina_status status = LAMINA_OK;
    if (c.stores == NULL || need == NULL) {
        status = lamina__fail_memory(error, "the plan");
        goto done;
    }
    look_at_stores(&c);
    choose(&c, need);
    /* Lists first: the number of stores grows with the second ones. */
    status = list_again(&c, need, error);
    if (status == LAMINA_OK) {
        status = add_second_stores(&c, need, error);
    }

done:
    lamina__free(c.stores);
    lamina__free(need);
    return status;
}
