/* Units: what is called alike, and how finely each cuts its shards. */
#include "base/alloc.h"
#include "base/error.h"
#include "graph/net_impl.h"

#include <math.h>
#include <string.h>

/* In networks with layers that are called in stages, a unit takes its shards slice by slice when
 * its largest tensor of a shard has so many bytes, about what a core's own cache holds. */
static const double sliced_from = 1 << 20;

/* ---- Sizes of calls ---- */

static int32_t add_size(int64_t *sizes, int32_t n, int64_t size) {
    int32_t at = 0;
    while (at < n && sizes[at] > size) {
        at++;
    }
    if (size <= 0 || (at < n && sizes[at] == size)) {
        return n;
    }
    memmove(sizes + at + 1, sizes + at, (size_t)(n - at) * sizeof *sizes);
    sizes[at] = size;
    return n + 1;
}

/* Batches are cut evenly into so many: each gets the floor or the ceiling of its share. */
static int32_t add_sizes(const lamina__net *net, int64_t *sizes, int32_t n, int32_t cut) {
    const int64_t batches[3] = {net->options.batch, net->options.partial[0],
                                net->options.partial[1]};
    for (int b = 0; b < 3; b++) {
        if (batches[b] > 0 && batches[b] <= net->options.batch) {
            n = add_size(sizes, n, batches[b] / cut);
            n = add_size(sizes, n, (batches[b] + cut - 1) / cut);
        }
    }
    return n;
}

int32_t lamina__whole_sizes(const lamina__net *net, int64_t sizes[LAMINA__MOST_SIZES]) {
    return add_sizes(net, sizes, 0, 1);
}

int32_t lamina__shard_sizes(const lamina__net *net, bool parts, bool shards,
                            int64_t sizes[LAMINA__MOST_SIZES]) {
    const int32_t n = parts ? add_sizes(net, sizes, 0, net->parts) : 0;
    return shards ? add_sizes(net, sizes, n, net->shards) : n;
}

/* ---- Units ---- */

static lamina__unit *last_unit(lamina__net *net) {
    return net->n_units > 0 ? &net->units[net->n_units - 1] : NULL;
}

/* Puts layer i into the last unit if that goes on, else into a new one. */
static lamina__unit *add_layer(lamina__net *net, int32_t i) {
    const lamina__layer *layer = &net->layers[i];
    lamina__unit *last = last_unit(net);
    if (last != NULL && !last->whole && !layer->whole && !last->sums) {
        last->end = i + 1;
        last->eval_only = last->eval_only && layer->eval_only;
    } else {
        net->units[net->n_units++] = (lamina__unit){
            .begin = i, .end = i + 1, .whole = layer->whole, .eval_only = layer->eval_only};
    }
    return last_unit(net);
}

static void list_units(lamina__net *net) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        lamina__unit *unit = add_layer(net, i);
        layer->first_unit = net->n_units - 1;
        if (layer->staged) {
            unit->sums = true;
            add_layer(net, i)->applies = true;
        }
        layer->last_unit = net->n_units - 1;
    }
}

static bool any_staged(const lamina__net *net) {
    bool any = false;
    for (int32_t i = 0; i < net->n_layers; i++) {
        any = any || net->layers[i].staged;
    }
    return any;
}

/* Bytes of a sample of the largest tensor that a layer reads or writes. */
static double largest_of(const lamina__instance *instance) {
    size_t largest = 0;
    for (int32_t k = 0; k < instance->n_in + instance->n_out; k++) {
        const size_t bytes = lamina__sample_bytes(
            k < instance->n_in ? &instance->in[k] : &instance->out[k - instance->n_in]);
        largest = bytes > largest ? bytes : largest;
    }
    return (double)largest;
}

int32_t lamina__likely_slices(const lamina__net *net) {
    const double shard = (double)(net->options.batch / net->shards);
    double largest = 0;
    for (int32_t i = 0; i < net->n_layers; i++) {
        largest = fmax(largest, (double)lamina__sample_bytes(&net->layers[i].instance->out[0]));
    }
    int32_t slices = 1;
    while (any_staged(net) && 2 * slices <= shard && largest * shard / slices > sliced_from) {
        slices *= 2;
    }
    return slices;
}

/* Slices pay when a shard's activations are too large for the cache, and those of a slice still are
 * more than the weights, which each slice reads again. */
static bool is_sliced(const lamina__net *net, const lamina__unit *unit) {
    double largest = 0, weights = 0;
    for (int32_t i = unit->begin; i < unit->end; i++) {
        const lamina__instance *instance = net->layers[i].instance;
        largest = fmax(largest, largest_of(instance));
        for (int32_t k = 0; k < instance->n_weights; k++) {
            weights += (double)instance->weights[k].elements * sizeof(float);
        }
    }
    const double batch = (double)net->options.batch;
    return largest * batch / net->shards >= sliced_from && weights <= largest * batch / net->parts;
}

static void tell_sizes(lamina__net *net, lamina__layer *layer) {
    const bool first = net->units[layer->first_unit].sliced,
               last = net->units[layer->last_unit].sliced, sliced = first || last;
    int64_t sizes[LAMINA__MOST_SIZES];
    const int32_t n = lamina__shard_sizes(net, sliced, !first || !last, sizes);
    const int32_t calls = sliced ? net->parts : net->shards; /* the more of both */
    lamina__instance_narrow(layer->instance, sizes, n, layer->staged ? calls : 0);
}

lamina_status lamina__make_units(lamina__net *net, lamina_error *error) {
    net->units = lamina__calloc(2 * (size_t)net->n_layers + 1, sizeof *net->units);
    if (net->units == NULL) {
        return lamina__fail_memory(error, "the plan");
    }
    list_units(net);
    const bool staged = any_staged(net);
    for (int32_t u = 0; u < net->n_units; u++) {
        lamina__unit *unit = &net->units[u];
        unit->sliced = !unit->whole && net->slices > 1 && (!staged || is_sliced(net, unit));
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        if (!net->layers[i].whole) {
            tell_sizes(net, &net->layers[i]);
        }
    }
    return LAMINA_OK;
}
