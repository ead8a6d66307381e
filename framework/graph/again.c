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
 * Only stores in the common part are given up. What a unit makes again for itself, slice by slice,
 * plan.c has decided before; where such a local store is what another is made from, its writers run
 * again with those of the other, in one run. */
#include "base/alloc.h"
#include "base/error.h"
#include "graph/net_impl.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* A second store that would be alive for more units than this saves nothing worth having. */
enum { LONGEST = 6 };

/* What the choice knows of a store. Times are runs. */
typedef struct store_use {
    int32_t forward_end; /* last use in the forward phase */
    int32_t need;        /* first use in the backward phase, or of what is made again from it */
    int32_t end;         /* last use of all */
    double multiply_adds;
    bool can; /* be chosen, and was not asked yet */
    bool chosen;
    bool repeats; /* its writers can */
} store_use;

/* When a store is made again: a chosen one once, at the first time; a local one in every run that
 * makes another from it, the last of which is at the last time. */
typedef struct times {
    int32_t first, last;
} times;

typedef struct chooser {
    lamina__net *net;
    store_use *stores;
    double budget; /* multiply-adds left, of one sample */
} chooser;

static int32_t store_of(const lamina__net *net, int32_t value) {
    return net->values[value].data.store;
}

/* Lifetimes and writers of every store. */
static void look_at_stores(chooser *c) {
    const lamina__net *net = c->net;
    for (int32_t s = 0; s < net->n_stores; s++) {
        const lamina__lifetime *life = &net->stores[s].life;
        const bool common = net->stores[s].place == LAMINA__PLACE_COMMON;
        c->stores[s] = (store_use){.forward_end = life->forward_last,
                                   .need = common ? life->backward_first : INT32_MAX,
                                   .end = life->last,
                                   .repeats = true,
                                   .can = common && life->last != INT32_MAX &&
                                          life->backward_first != INT32_MAX &&
                                          life->backward_first - life->forward_last > 1};
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_out; k++) {
            store_use *use = &c->stores[store_of(net, layer->value_out[k])];
            use->multiply_adds += layer->instance->multiply_adds;
            use->repeats = use->repeats && lamina__plan_can_repeat(layer);
            use->can = use->can && use->repeats;
        }
    }
}

static bool is_local(const chooser *c, int32_t s) {
    return c->net->stores[s].place == LAMINA__PLACE_LOCAL;
}

/* Can something be made from it again at that time? */
static bool will_be_there(const chooser *c, int32_t from, int32_t time) {
    const store_use *use = &c->stores[from];
    return is_local(c, from) ? use->repeats && use->multiply_adds == 0 : use->end >= time;
}

/* Notes that something is made from a store at those times; false: it cannot be. */
static bool need_from(const chooser *c, int32_t from, times at, times *need) {
    if (c->net->stores[from].place == LAMINA__PLACE_GIVEN) {
        return true;
    }
    need[from].first = at.first < need[from].first ? at.first : need[from].first;
    need[from].last = at.last > need[from].last ? at.last : need[from].last;
    return will_be_there(c, from, at.last);
}

/* Goes from the last layer to the first: what a chosen store is made from must be there by then.
 * False: it cannot be, or something would have to be kept for too long. */
static bool settle_needs(const chooser *c, times *need) {
    const lamina__net *net = c->net;
    for (int32_t s = 0; s < net->n_stores; s++) {
        need[s] = (times){c->stores[s].need, -1};
    }
    for (int32_t i = net->n_layers - 1; i >= 0; i--) {
        const lamina__layer *layer = &net->layers[i];
        const int32_t s = store_of(net, layer->value_out[0]);
        const bool again = is_local(c, s) && need[s].last >= 0;
        const times at = again ? need[s] : (times){need[s].first, need[s].first};
        if (!again && !c->stores[s].chosen) {
            continue;
        }
        if (!again && c->stores[s].end - at.first > LONGEST) {
            return false;
        }
        for (int32_t k = 0; k < layer->instance->n_in; k++) {
            const int32_t from = store_of(net, layer->value_in[k]);
            if (from != s && !need_from(c, from, at, need)) {
                return false;
            }
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

static void choose(chooser *c, times *need) {
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

static lamina_status add_second_stores(chooser *c, const times *need, lamina_error *error) {
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
            second[s] = lamina__plan_add_second(net, s, need[s].first, c->stores[s].end);
            net->stores[s].life.last = c->stores[s].forward_end;
        }
        value->store_again = second[s];
        status = second[s] > 0 ? LAMINA_OK : lamina__fail_memory(error, "the plan");
    }
    lamina__free(second);
    return status;
}

/* Marks the stores that are made in a run: the chosen ones needed first then, and the local ones
 * that they are made from. */
static void mark_made(const chooser *c, const times *need, int32_t run, bool *made) {
    const lamina__net *net = c->net;
    for (int32_t s = 0; s < net->n_stores; s++) {
        made[s] = c->stores[s].chosen && need[s].first == run;
    }
    for (int32_t i = net->n_layers - 1; i >= 0; i--) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; made[store_of(net, layer->value_out[0])] && k < layer->instance->n_in;
             k++) {
            const int32_t from = store_of(net, layer->value_in[k]);
            made[from] = made[from] || is_local(c, from);
        }
    }
}

static bool add_again(lamina__net *net, size_t *capacity, lamina__again again) {
    void *list = net->again;
    if (lamina__grow(&list, capacity, (size_t)net->n_again + 1, sizeof *net->again) != 0) {
        return false;
    }
    net->again = list;
    net->again[net->n_again++] = again;
    return true;
}

/* The layers to run again before each unit's backward phase, in their order. made: for each store.
 */
static lamina_status list_again(chooser *c, const times *need, bool *made, lamina_error *error) {
    lamina__net *net = c->net;
    size_t capacity = 0;
    for (int32_t u = net->n_units - 1; u >= 0; u--) {
        mark_made(c, need, lamina__plan_backward_run(net, u), made);
        for (int32_t i = 0; i < net->n_layers; i++) {
            if (made[store_of(net, net->layers[i].value_out[0])] &&
                !add_again(net, &capacity, (lamina__again){.layer = i, .unit = u})) {
                return lamina__fail_memory(error, "the plan");
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
    times *need = lamina__calloc((size_t)net->n_stores + 1, sizeof *need);
    bool *made = lamina__calloc((size_t)net->n_stores + 1, sizeof *made);
    lamina_status status = LAMINA_OK;
    if (c.stores == NULL || need == NULL || made == NULL) {
        status = lamina__fail_memory(error, "the plan");
        goto done;
    }
    look_at_stores(&c);
    choose(&c, need);
    /* Lists first: the number of stores grows with the second ones. */
    status = list_again(&c, need, made, error);
    if (status == LAMINA_OK) {
        status = add_second_stores(&c, need, error);
    }

done:
    lamina__free(c.stores);
    lamina__free(need);
    lamina__free(made);
    return status;
}
