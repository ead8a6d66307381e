/* Building a net: instances and shapes, layer after layer; then kernels, plan, memory, first values
 * of the weights. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/threads.h"
#include "config/diag.h"
#include "graph/clock.h"
#include "graph/net_impl.h"
#include "graph/reduce.h"
#include "graph/tune.h"

#include <math.h>
#include <string.h>

void lamina__plan_record_free(lamina__plan_record *record) {
    for (size_t i = 0; i < record->count; i++) {
        lamina__free(record->kernels[i].layer);
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            lamina__free(record->kernels[i].kernel[pass]);
        }
    }
    lamina__free(record->kernels);
    *record = (lamina__plan_record){0};
}

/* ---- The cut ---- */

const lamina__recorded_kernel *lamina__plan_record_find(const lamina__plan_record *plan,
                                                        const char *layer) {
    for (size_t r = 0; plan != NULL && r < plan->count; r++) {
        if (strcmp(plan->kernels[r].layer, layer) == 0) {
            return &plan->kernels[r];
        }
    }
    return NULL;
}

static const lamina__plan_record *plan_of(const lamina__net *net) {
    return net->own_plan != NULL ? net->own_plan : net->options.recorded;
}

static int32_t count_readers(const lamina__network *network, int32_t layer) {
    int32_t n = 0;
    for (size_t i = 0; i < network->count; i++) {
        for (int32_t k = 0; k < network->layers[i].n_from; k++) {
            n += network->layers[i].from[k] == layer;
        }
    }
    return n;
}

/* The kernels that the options, a plan or the layer itself ask for, of each pass; NULL: any.
 * *strict: no other will do. */
static void wanted_kernels(const lamina__net *net, const lamina__layer_spec *spec,
                           const char *wanted[LAMINA__N_PASSES], bool *strict) {
    const char *all = spec->kernels != NULL ? spec->kernels : net->options.kernels;
    const bool forced = all != NULL && strcmp(all, "auto") != 0;
    const lamina__recorded_kernel *recorded =
        lamina__plan_record_find(net->options.recorded, spec->name);
    const lamina__recorded_kernel *own =
        forced ? NULL : lamina__plan_record_find(net->own_plan, spec->name);
    const lamina__recorded_kernel *planned = recorded != NULL ? recorded : own;
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        wanted[pass] = planned != NULL ? planned->kernel[pass] : forced ? all : NULL;
    }
    *strict = spec->kernels != NULL && planned == NULL;
}

/* Does it couple the batch, with a kernel that does so in stages? */
static bool has_stages(const lamina__net *net, const lamina__layer_spec *spec) {
    const char *wanted[LAMINA__N_PASSES];
    bool strict;
    wanted_kernels(net, spec, wanted, &strict);
    return lamina__type_has_stages(spec->entry->type, wanted[0]);
}

/* Must it be called on the whole batch: does it couple that, or work in place on what such a layer
 * alone makes for it? Then both work on the same memory, and one kernel may do both. */
static bool is_coupled(const lamina__net *net, const lamina__layer_spec *spec) {
    const lamina__network *network = net->network;
    while ((spec->entry->type->flags & LAMINA_COUPLES_BATCH) == 0) {
        if ((spec->entry->type->flags & LAMINA_IN_PLACE) == 0 || spec->from[0] < 0 ||
            count_readers(network, spec->from[0]) != 1) {
            return false;
        }
        spec = &network->layers[spec->from[0]];
    }
    return !has_stages(net, spec);
}

static bool any_loss(const lamina__network *network) {
    bool any = false;
    for (size_t i = 0; i < network->count; i++) {
        any = any || (network->layers[i].entry->type->flags & LAMINA_IS_LOSS) != 0;
    }
    return any;
}

/* What a training step skips: metrics, and what only they read (without a loss that would be all).
 * From the last layer to the first, as readers come later. */
static void find_eval_only(lamina__net *net) {
    const lamina__network *network = net->network;
    const bool trains = any_loss(network);
    for (size_t i = network->count; net->options.training && i-- > 0;) {
        bool read = false, trained = false;
        for (size_t k = i + 1; k < network->count; k++) {
            for (int32_t f = 0; f < network->layers[k].n_from; f++) {
                const bool reads = network->layers[k].from[f] == (int32_t)i;
                read = read || reads;
                trained = trained || (reads && !net->eval_only[k]);
            }
        }
        net->eval_only[i] = (network->layers[i].entry->type->flags & LAMINA_IS_METRIC) != 0 ||
                            (trains && read && !trained);
    }
}

/* Layers that share weights add to one gradient, so if one is called on the whole batch all are.
 * What a training step skips goes with the layer before it, so that it makes no region of its own.
 */
static bool is_whole(const lamina__net *net, size_t i) {
    const lamina__layer_spec *spec = &net->network->layers[i];
    bool whole = net->all_whole;
    if (!whole && i > 0 && net->eval_only[i] && !is_coupled(net, spec)) {
        return is_whole(net, i - 1);
    }
    for (size_t k = 0; !whole && k < net->network->count; k++) {
        const lamina__layer_spec *other = &net->network->layers[k];
        if (other->owner == spec->owner) {
            const lamina__recorded_kernel *planned =
                lamina__plan_record_find(plan_of(net), other->name);
            whole = (planned != NULL && planned->whole) || is_coupled(net, other);
        }
    }
    return whole;
}

static void decide_cut(lamina__net *net) {
    const lamina__net_options *options = &net->options;
    const lamina__plan_record *plan = plan_of(net);
    net->threads = options->threads > 0 ? options->threads : lamina__default_threads();
    net->shards = options->shards > 0 ? options->shards : net->threads;
    net->slices = options->slices > 0 ? options->slices : 1;
    bool by_shard = options->by_shard;
    if (plan != NULL && plan->shards > 0) {
        net->shards = plan->shards;
        net->slices = plan->slices > 0 ? plan->slices : 1;
        by_shard = plan->by_shard;
    }
    if (net->shards > options->batch) {
        net->shards = (int32_t)options->batch;
    }
    net->all_whole = net->shards == 1 && net->threads > 1 && !by_shard;
    if (net->all_whole) {
        net->slices = 1;
    }
    if (net->slices > options->batch / net->shards) {
        net->slices = (int32_t)(options->batch / net->shards);
    }
    net->parts = net->shards * net->slices;
    net->pieces = net->parts + (net->slices > 1 ? net->shards : 0) + 1;
}

/* ---- Layers and shapes ---- */

static int32_t value_of(const lamina__net *net, int32_t from, int32_t output) {
    if (from == LAMINA__FROM_DATA) {
        return LAMINA__VALUE_DATA;
    }
    if (from == LAMINA__FROM_TARGET) {
        return LAMINA__VALUE_TARGET;
    }
    return net->layers[from].value_out[output];
}

static void make_inputs(lamina__net *net) {
    const lamina__net_options *options = &net->options;
    net->values[LAMINA__VALUE_DATA] = (lamina__value){
        .shape = {LAMINA_F32,
                  4,
                  {options->batch, options->channels, options->height, options->width}},
        .producer = -1,
        .last_use = -1,
        .last_trained_use = -1,
        .loss = -1,
        .data = {.store = -1},
        .gradient = {.store = -1}};
    lamina__value *target = &net->values[LAMINA__VALUE_TARGET];
    *target = net->values[LAMINA__VALUE_DATA];
    target->shape = (lamina_shape){LAMINA_I32, 1, {options->batch}};
    if (options->target.ndim > 0) {
        target->shape = options->target;
        target->shape.dtype = LAMINA_F32;
        target->shape.dim[0] = options->batch;
    }
    net->n_values = 2;
}

/* A shape error at the layer's place; other errors too. */
static lamina_status report(const lamina__layer_spec *spec, lamina__diags *diags,
                            lamina_status status, const lamina_error *error) {
    lamina__diag(diags, spec->node, "%s",
                 error->message[0] != '\0' ? error->message : lamina_status_meaning(status));
    return status;
}

/* Float32 everywhere, except where the contract says otherwise. */
static lamina_status check_input_types(const lamina__layer_spec *spec, const lamina_shape *in,
                                       lamina_error *error) {
    const uint32_t flags = spec->entry->type->flags;
    const bool loss = lamina__has_target(spec->entry->type);
    for (int32_t k = 0; k < spec->n_from && (flags & LAMINA_ANY_DTYPE) == 0; k++) {
        const bool target = loss && k == spec->n_from - 1;
        if (in[k].dtype == (target ? LAMINA_I32 : LAMINA_F32)) {
            continue;
        }
        if (target && spec->from[k] == LAMINA__FROM_TARGET) {
            return lamina__fail(error, LAMINA_ERROR_SHAPE,
                                "layer \"%s\" (%s): needs labels, but the data has numbers as "
                                "targets; take a loss for numbers, such as mse_loss",
                                spec->name, spec->entry->type->name);
        }
        return lamina__fail(error, LAMINA_ERROR_SHAPE, "layer \"%s\" (%s): input %d must be %s",
                            spec->name, spec->entry->type->name, (int)k + 1,
                            target ? "the target's labels" : "float32 values, not labels");
    }
    return LAMINA_OK;
}

static lamina_status check_declared_types(const lamina__instance *instance, lamina_error *error) {
    bool good = true;
    for (int32_t k = 0; k < instance->n_weights; k++) {
        good = good && instance->weights[k].shape.dtype == LAMINA_F32;
    }
    for (int32_t k = 0; k < instance->n_states; k++) {
        good = good && instance->states[k].shape.dtype == LAMINA_F32;
    }
    for (int32_t k = 0; k < instance->n_out; k++) {
        good = good && instance->out[k].dtype == LAMINA_F32;
    }
    return good ? LAMINA_OK
                : lamina__fail(error, LAMINA_ERROR_PLUGIN,
                               "layer \"%s\" (%s): weights, state and outputs must be float32",
                               instance->name, instance->type->name);
}

static bool same_weight(const lamina_weight *a, const lamina_weight *b) {
    return strcmp(a->name, b->name) == 0 && a->elements == b->elements &&
           memcmp(&a->shape, &b->shape, sizeof a->shape) == 0 && a->order_ndim == b->order_ndim &&
           memcmp(a->order_dim, b->order_dim, sizeof a->order_dim) == 0 &&
           memcmp(a->order_stride, b->order_stride, sizeof a->order_stride) == 0;
}

/* The weights that a layer shares must be such as it would have itself, in memory, too. */
static lamina_status check_shared(const lamina__net *net, const lamina__layer *layer,
                                  lamina_error *error) {
    const lamina__layer *owner = &net->layers[layer->spec->owner];
    const lamina__instance *mine = layer->instance, *theirs = owner->instance;
    if (layer == owner) {
        return LAMINA_OK;
    }
    for (int32_t k = 0; k < mine->n_weights || k < theirs->n_weights; k++) {
        if (k < mine->n_weights && k < theirs->n_weights &&
            same_weight(&mine->weights[k], &theirs->weights[k])) {
            continue;
        }
        const lamina_weight *of = k < mine->n_weights ? &mine->weights[k] : &theirs->weights[k];
        const bool alike = k < mine->n_weights && k < theirs->n_weights &&
                           memcmp(&mine->weights[k].shape, &theirs->weights[k].shape,
                                  sizeof mine->weights[k].shape) == 0;
        return lamina__fail(error, LAMINA_ERROR_SHAPE,
                            "layer \"%s\" (%s): cannot share with \"%s\": the weight \"%s\" is not "
                            "the same in both%s",
                            layer->spec->name, mine->type->name, owner->spec->name, of->name,
                            alike ? ", as one reads images and the other does not; put a flatten "
                                    "before that one"
                                  : "; its shape follows from the layer's input and parameters");
    }
    return LAMINA_OK;
}

static lamina_status too_many(const lamina__layer *layer, int most, const char *what,
                              lamina_error *error) {
    return lamina__fail(error, LAMINA_ERROR_SHAPE, "layer \"%s\" (%s): a network has at most %d %s",
                        layer->spec->name, layer->instance->type->name, most, what);
}

/* Adds layer i to the lists of losses and metrics if it is one. */
static lamina_status list_loss(lamina__net *net, int32_t i, lamina_error *error) {
    const lamina__layer *layer = &net->layers[i];
    const uint32_t flags = layer->instance->type->flags;
    const bool loss = (flags & LAMINA_IS_LOSS) != 0, metric = (flags & LAMINA_IS_METRIC) != 0;
    if (loss && net->n_losses == LAMINA__MAX_LOSSES) {
        return too_many(layer, LAMINA__MAX_LOSSES, "losses", error);
    }
    if (metric && net->n_metrics == LAMINA__MAX_METRICS) {
        return too_many(layer, LAMINA__MAX_METRICS, "metrics", error);
    }
    if (loss) {
        net->values[layer->value_out[0]].loss = net->n_losses;
        net->losses[net->n_losses++] = (lamina__net_loss){i, layer->spec->keys.loss_weight};
        net->label_loss = net->label_loss < 0 && lamina__takes_labels(layer) ? i : net->label_loss;
    } else if (metric) {
        net->metrics[net->n_metrics++] = i;
    }
    return LAMINA_OK;
}

/* It is never trained, so it must have nothing to learn, or nothing that it should. */
static lamina_status check_eval_only(const lamina__net *net, int32_t i, lamina_error *error) {
    const lamina__layer *layer = &net->layers[i];
    const bool learns = layer->instance->n_weights + layer->instance->n_states > 0;
    if (!layer->eval_only || !learns || layer->frozen || layer->spec->owner != i) {
        return LAMINA_OK;
    }
    return lamina__fail(error, LAMINA_ERROR_SHAPE,
                        "layer \"%s\" (%s): only metrics read its output, so its weights would not "
                        "be trained; let a loss read it, freeze it, or remove it",
                        layer->spec->name, layer->instance->type->name);
}

static lamina_status setup_layer(lamina__net *net, int32_t i, lamina_error *error) {
    lamina__layer *layer = &net->layers[i];
    const lamina__layer_spec *spec = layer->spec = &net->network->layers[i];
    lamina_status status =
        lamina__instance_create(spec->entry, spec->name, spec->place, i, net->options.seed,
                                spec->config, &layer->instance, error);
    if (status != LAMINA_OK) {
        return status;
    }
    const lamina_layer_type *type = layer->instance->type;
    layer->whole = is_whole(net, (size_t)i);
    layer->eval_only = net->eval_only[i];
    const bool training = net->options.training && !layer->eval_only;
    lamina_shape in[LAMINA__MAX_INPUTS];
    for (int32_t k = 0; k < spec->n_from; k++) {
        layer->value_in[k] = value_of(net, spec->from[k], spec->from_output[k]);
        lamina__value *value = &net->values[layer->value_in[k]];
        in[k] = value->shape;
        value->n_uses++;
        value->last_use = i;
        if (!layer->eval_only) {
            value->n_trained_uses++;
            value->last_trained_use = i;
        }
        layer->backward = layer->backward || value->needs_gradient;
    }
    status = check_input_types(spec, in, error);
    if (status != LAMINA_OK) {
        return status;
    }
    layer->staged = !layer->whole && has_stages(net, spec);
    int64_t sizes[LAMINA__MOST_SIZES];
    const lamina__cut cut = {.training = training,
                             .shards = layer->whole ? 1 : net->shards,
                             .threads = layer->whole ? net->threads : 1,
                             .n_samples = layer->whole
                                              ? lamina__whole_sizes(net, sizes)
                                              : lamina__shard_sizes(net, true, true, sizes),
                             .samples = sizes,
                             .calls = layer->staged ? net->parts : 0};
    status = lamina__instance_setup(layer->instance, spec->n_from, in, &cut, error);
    if (status == LAMINA_OK) {
        status = check_declared_types(layer->instance, error);
    }
    if (status == LAMINA_OK) {
        status = check_shared(net, layer, error);
    }
    layer->frozen = net->network->layers[spec->owner].keys.frozen;
    if (status == LAMINA_OK) {
        status = check_eval_only(net, i, error);
    }
    if (status != LAMINA_OK) {
        return status;
    }

    layer->backward =
        training && (layer->backward || (layer->instance->n_weights > 0 && !layer->frozen));
    if (layer->backward && (type->flags & LAMINA_NO_BACKWARD) != 0) {
        return lamina__fail(error, LAMINA_ERROR_SHAPE,
                            "layer \"%s\" (%s): has no backward pass, so what is before it cannot "
                            "be trained",
                            spec->name, type->name);
    }
    for (int32_t k = 0; k < type->n_out; k++) {
        layer->value_out[k] = net->n_values;
        net->values[net->n_values++] = (lamina__value){.shape = layer->instance->out[k],
                                                       .producer = i,
                                                       .last_use = -1,
                                                       .last_trained_use = -1,
                                                       .loss = -1,
                                                       .needs_gradient = layer->backward,
                                                       .data = {.store = -1},
                                                       .gradient = {.store = -1}};
    }
    return list_loss(net, i, error);
}

/* A recorded kernel may not apply any more: another processor, another library, or other threads
 * for one shard. The run goes on, but not to the same bits. */
static void note_other_kernels(const lamina__instance *instance,
                               const lamina__recorded_kernel *recorded) {
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        const char *then = recorded->kernel[pass], *now = lamina__instance_kernel(instance, pass);
        if (then != NULL && now != NULL && strcmp(then, now) != 0) {
            lamina__log(LAMINA_LOG_WARNING,
                        "layer \"%s\": the recorded kernel %s cannot do the pass %s here, %s does: "
                        "the result may differ in the last bits",
                        instance->name, then, lamina__pass_names[pass], now);
        }
    }
}

/* The layer that alone reads layer i's output and works in place, NULL: none. One called on the
 * whole batch can do the work of one called by shard, but not the other way round. */
static lamina__layer *next_in_place(lamina__net *net, int32_t i) {
    const lamina__layer *layer = &net->layers[i];
    const lamina__value *out = &net->values[layer->value_out[0]];
    if (layer->instance->n_out != 1 || out->n_uses != 1) {
        return NULL;
    }
    lamina__layer *next = &net->layers[out->last_use];
    return (layer->whole || !next->whole) && next->value_in[0] == layer->value_out[0] &&
                   lamina__net_in_place(net, out->last_use)
               ? next
               : NULL;
}

static lamina_status bind_layer(lamina__net *net, int32_t i, lamina_error *error) {
    lamina__layer *layer = &net->layers[i];
    lamina__layer *next = next_in_place(net, i);
    layer->instance->next = next != NULL ? next->instance : NULL;
    const lamina__recorded_kernel *recorded =
        lamina__plan_record_find(net->options.recorded, layer->spec->name);
    const char *wanted[LAMINA__N_PASSES];
    bool strict;
    wanted_kernels(net, layer->spec, wanted, &strict);
    const lamina_status status = lamina__instance_bind(layer->instance, wanted, strict, error);
    if (status == LAMINA_OK && recorded != NULL) {
        note_other_kernels(layer->instance, recorded);
    }
    if (layer->instance->fuses) {
        next->fused = true;
        next->fused_backward = layer->instance->fuses_backward;
    }
    return status;
}

/* ---- The network as a whole ---- */

/* Does somebody read output k of layer i, or is it the network's? */
static bool is_used(const lamina__net *net, int32_t i, int32_t k) {
    const lamina__layer *layer = &net->layers[i];
    return net->values[layer->value_out[k]].n_uses > 0 ||
           lamina__has_target(layer->instance->type) ||
           (i == net->n_layers - 1 && net->n_losses == 0);
}

static lamina_status check_classes(const lamina__net *net, lamina__diags *diags) {
    int64_t outputs = 0;
    const int32_t i =
        net->options.classes > 0
            ? lamina__net_refuses_label(net, (int32_t)net->options.classes - 1, &outputs)
            : -1;
    return i < 0 ? LAMINA_OK
                 : lamina__diag(diags, net->layers[i].spec->node,
                                "layer \"%s\" (%s): the data has %lld classes, the network %lld "
                                "outputs",
                                net->layers[i].spec->name, net->layers[i].instance->type->name,
                                (long long)net->options.classes, (long long)outputs);
}

/* Of all losses. */
static double total_weight(const lamina__net *net) {
    double sum = 0;
    for (int32_t l = 0; l < net->n_losses; l++) {
        sum += net->losses[l].weight;
    }
    return sum;
}

/* Whether a loss has a gradient for a weight, or for what is before it; one of a value with itself
 * tells that nothing. */
static bool teaches(const lamina__net *net, const lamina__net_loss *loss) {
    const lamina__layer *layer = &net->layers[loss->layer];
    return loss->weight > 0 && layer->backward && layer->value_in[0] != layer->value_in[1];
}

/* A training step must change something: weights, or at least running statistics. */
static lamina_status check_learns(const lamina__net *net, lamina__diags *diags) {
    bool learns = false, frozen = false, itself = net->n_losses == 1;
    for (int32_t l = 0; l < net->n_losses; l++) {
        const lamina__layer *layer = &net->layers[net->losses[l].layer];
        learns = learns || teaches(net, &net->losses[l]);
        itself = itself && layer->value_in[0] == layer->value_in[1];
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        learns = learns || (layer->instance->n_states > 0 && !layer->frozen && !layer->eval_only);
        frozen = frozen || layer->frozen;
    }
    const lamina__layer *loss = &net->layers[net->losses[0].layer];
    return learns ? LAMINA_OK
                  : lamina__diag(diags, loss->spec->node,
                                 "layer \"%s\" (%s): %s, so nothing would be learned; %s",
                                 loss->spec->name, loss->instance->type->name,
                                 itself ? "compares a value with itself"
                                        : "no layer before a loss has weights that are trained",
                                 itself   ? "name the prediction and a target in its from"
                                 : frozen ? "take frozen from a layer"
                                          : "put a layer with weights, such as linear, before it");
}

static lamina_status check_outputs(const lamina__net *net, lamina__diags *diags) {
    lamina_status status = LAMINA_OK;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_out; k++) {
            if (is_used(net, i, k)) {
                continue;
            }
            status =
                lamina__diag(diags, layer->spec->node,
                             "layer \"%s\" (%s): nothing uses its output; remove it, or name it "
                             "in another layer's from",
                             layer->spec->name, layer->instance->type->name);
        }
    }
    const lamina__layer_spec *last = &net->network->layers[net->n_layers - 1];
    if (net->options.training && net->n_losses == 0) {
        return lamina__diag(diags, last->node,
                            "training needs a loss: end the network with a loss, such as "
                            "softmax_loss, or mse_loss for numbers");
    }
    if (net->options.training && total_weight(net) == 0) {
        const lamina__net_loss *loss = &net->losses[0];
        return lamina__diag(diags, net->layers[loss->layer].spec->node,
                            "%s 0, so nothing would be learned; give a loss a weight, or remove "
                            "the key (its default is 1)",
                            net->n_losses == 1 ? "the loss has the loss_weight"
                                               : "all losses have the loss_weight");
    }
    if (net->options.training && status == LAMINA_OK) {
        status = check_learns(net, diags);
    }
    const lamina_status classes = check_classes(net, diags);
    return status != LAMINA_OK ? status : classes;
}

/* ---- Weights ---- */

static int64_t round_floats(int64_t floats) {
    return (floats + 15) / 16 * 16;
}

static bool is_owner(const lamina__net *net, int32_t layer) {
    return net->network->layers[layer].owner == layer;
}

/* First those of which there is one, then a run of the others for each shard. */
static void place_weight_gradients(lamina__net *net) {
    int64_t once = 0, by_shard = 0;
    for (int copies = 0; copies < 2; copies++) {
        for (int32_t i = 0; i < net->n_layers; i++) {
            const lamina__layer *layer = &net->layers[i];
            const bool one = lamina__has_one_gradient(layer);
            const bool theirs = one == (copies == 0) && is_owner(net, i) && !layer->frozen;
            for (int32_t k = 0; theirs && k < layer->instance->n_weights; k++) {
                const int32_t w = layer->weight[k];
                int64_t *floats = one ? &once : &by_shard;
                net->gradients[w].copies = one ? 1 : net->shards;
                net->gradients[w].offset = one ? once : once + by_shard;
                *floats += round_floats(net->weights[w].elements);
            }
        }
    }
    for (int32_t w = 0; w < net->n_weights; w++) {
        net->gradients[w].apart = by_shard;
    }
    net->gradient_floats = once + net->shards * by_shard;
}

static lamina_status list_weights(lamina__net *net, lamina_error *error) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        const lamina__layer *owner = &net->layers[layer->spec->owner];
        for (int32_t k = 0; k < layer->instance->n_weights; k++) {
            layer->weight[k] = layer == owner ? net->n_weights++ : owner->weight[k];
        }
        layer->first_state = net->n_states;
        net->n_states += layer->instance->n_states;
    }
    net->weights = lamina__calloc((size_t)net->n_weights + 1, sizeof *net->weights);
    net->states = lamina__calloc((size_t)net->n_states + 1, sizeof *net->states);
    net->gradients = lamina__calloc((size_t)net->n_weights + 1, sizeof *net->gradients);
    if (net->weights == NULL || net->states == NULL || net->gradients == NULL) {
        return lamina__fail_memory(error, "the list of weights");
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        const lamina__instance *instance = layer->instance;
        for (int32_t k = 0; is_owner(net, i) && k < instance->n_weights; k++) {
            const lamina_weight *weight = &instance->weights[k];
            net->weights[layer->weight[k]] = (lamina__net_weight){.layer = instance->name,
                                                                  .weight = weight,
                                                                  .offset = net->weight_floats,
                                                                  .elements = weight->elements,
                                                                  .keys = &layer->spec->keys};
            net->weight_floats += round_floats(weight->elements);
        }
        for (int32_t k = 0; k < instance->n_states; k++) {
            net->states[layer->first_state + k] =
                (lamina__net_state){instance->name, &instance->states[k], NULL};
            net->state_floats += round_floats(lamina__shape_count(&instance->states[k].shape));
        }
    }
    place_weight_gradients(net);
    return LAMINA_OK;
}

/* What the config says of a layer's weight, or NULL. */
static const lamina__init_override *override_of(const lamina__layer *layer,
                                                const lamina_weight *weight) {
    const lamina__init_override *found = NULL;
    for (int32_t i = 0; i < layer->spec->n_init; i++) {
        if (strcmp(layer->spec->init[i].weight, weight->name) == 0) {
            found = &layer->spec->init[i];
        }
    }
    return found;
}

static const lamina_weight *weight_named(const lamina__instance *instance, const char *name) {
    for (int32_t w = 0; w < instance->n_weights; w++) {
        if (strcmp(instance->weights[w].name, name) == 0) {
            return &instance->weights[w];
        }
    }
    return NULL;
}

/* Keys that are about a layer's weights, where it has none. */
static lamina_status check_keys(const lamina__net *net, lamina__diags *diags) {
    lamina_status status = LAMINA_OK;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        const lamina__layer_keys *keys = &layer->spec->keys;
        const char *key = keys->frozen                     ? "frozen"
                          : keys->learning_rate_scale != 1 ? "learning_rate_scale"
                          : keys->weight_decay_scale != 1  ? "weight_decay_scale"
                          : keys->share != NULL            ? "share"
                                                           : NULL;
        const bool state = keys->frozen && layer->instance->n_states > 0;
        if (key != NULL && layer->instance->n_weights == 0 && !state) {
            status = lamina__diag(diags, layer->spec->node,
                                  "layer \"%s\" (%s): has no weights, so %s means nothing here",
                                  layer->spec->name, layer->instance->type->name, key);
        }
    }
    return status;
}

static lamina_status check_inits(const lamina__net *net, lamina__diags *diags) {
    lamina_status status = LAMINA_OK;
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->spec->n_init; k++) {
            const lamina__init_override *init = &layer->spec->init[k];
            const lamina_weight *weight = weight_named(layer->instance, init->weight);
            const char *why =
                weight != NULL ? lamina__init_refuses(&init->init, &weight->shape) : NULL;
            if (weight == NULL) {
                status = lamina__diag(diags, init->node,
                                      "layer \"%s\" (%s): has no weight \"%s\" to initialise",
                                      layer->spec->name, layer->instance->type->name, init->weight);
            } else if (why != NULL) {
                status =
                    lamina__diag(diags, init->node, "layer \"%s\" (%s): the weight \"%s\": %s",
                                 layer->spec->name, layer->instance->type->name, init->weight, why);
            }
        }
    }
    return status;
}

/* Numbers such as an initialiser makes, as far as a kernel's speed depends on them: not 0, not
 * tiny, not the same. */
static void fill_quickly(const lamina__net_weight *weight) {
    const lamina_shape *shape = &weight->weight->shape;
    const int64_t count = lamina__shape_count(shape);
    const double fan_in = (double)(count / shape->dim[0]);
    const float scale = (float)(2 * sqrt(3 / fan_in) / 65536);
    uint32_t number = 1;
    for (int64_t i = 0; i < count; i++) {
        number = 1664525u * number + 1013904223u;
        weight->data[i] = scale * ((float)(number >> 16) - 32767.5f);
    }
}

static lamina_status fill_weights(lamina__net *net, lamina_error *error) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; is_owner(net, i) && k < layer->instance->n_weights; k++) {
            const lamina__net_weight *weight = &net->weights[layer->weight[k]];
            const lamina__init_override *given = override_of(layer, weight->weight);
            const lamina__init init =
                given != NULL ? given->init : lamina__init_declared(&weight->weight->init);
            if (net->options.trial && init.kind != LAMINA_INIT_CONSTANT &&
                weight->elements == lamina__shape_count(&weight->weight->shape)) {
                fill_quickly(weight);
                continue;
            }
            const lamina__stream stream = lamina__stream_make(
                net->options.seed, LAMINA__RANDOM_INIT, (uint64_t)i, (uint64_t)k);
            const lamina_status status =
                lamina__init_weight(weight->weight, &init, stream, weight->data, error);
            if (status != LAMINA_OK) {
                return status;
            }
            if (!lamina__all_finite(weight->data, weight->elements)) {
                return lamina__fail(error, LAMINA_ERROR_CONFIG,
                                    "layer \"%s\" (%s): initial values of the weight \"%s\" are "
                                    "too large for float32; give its init smaller numbers",
                                    layer->spec->name, layer->instance->type->name,
                                    weight->weight->name);
            }
        }
        for (int32_t k = 0; k < layer->instance->n_states; k++) {
            const lamina__net_state *state = &net->states[layer->first_state + k];
            const int64_t count = lamina__shape_count(&state->state->shape);
            for (int64_t e = 0; e < count; e++) {
                state->data[e] = (float)state->state->fill;
            }
        }
    }
    return LAMINA_OK;
}

/* ---- Build and free ---- */

static lamina_status build_layers(lamina__net *net, lamina__diags *diags, lamina_error *error) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina_status status = setup_layer(net, i, error);
        if (status != LAMINA_OK) {
            return report(&net->network->layers[i], diags, status, error);
        }
    }
    lamina_status status = check_outputs(net, diags);
    const lamina_status inits = check_inits(net, diags);
    status = status != LAMINA_OK ? status : inits;
    const lamina_status keys = check_keys(net, diags);
    status = status != LAMINA_OK ? status : keys;
    if (status == LAMINA_OK && (status = lamina__make_units(net, error)) != LAMINA_OK) {
        return report(&net->network->layers[0], diags, status, error);
    }
    for (int32_t i = 0; status == LAMINA_OK && i < net->n_layers; i++) {
        status = bind_layer(net, i, error);
        if (status != LAMINA_OK) {
            report(&net->network->layers[i], diags, status, error);
        }
        net->openmp = net->openmp || lamina__instance_opens_regions(net->layers[i].instance);
    }
    return status;
}

lamina_status lamina__net_make(const lamina__network *network, const lamina__net_options *options,
                               const lamina__plan_record *own, lamina__net **result,
                               lamina__diags *diags, lamina_error *told) {
    lamina_error untold = {0}, *error = told != NULL ? told : &untold;
    lamina_status status = LAMINA_OK;
    *result = NULL;
    *error = (lamina_error){0};
    lamina__net *net = lamina__calloc(1, sizeof *net);
    if (net == NULL) {
        diags->failed = true;
        return LAMINA_ERROR_MEMORY;
    }
    net->options = *options;
    net->own_plan = own;
    net->network = network;
    net->label_loss = -1;
    net->eval_only = lamina__calloc(network->count, sizeof *net->eval_only);
    if (net->eval_only == NULL) {
        status = lamina__fail_memory(error, "the network");
        goto done;
    }
    find_eval_only(net);
    decide_cut(net);
    int32_t n_values = 2;
    for (size_t i = 0; i < network->count; i++) {
        n_values += network->layers[i].entry->type->n_out;
    }
    net->layers = lamina__calloc(network->count, sizeof *net->layers);
    net->values = lamina__calloc((size_t)n_values, sizeof *net->values);
    if (net->layers == NULL || net->values == NULL) {
        status = lamina__fail_memory(error, "the network");
        goto done;
    }
    net->n_layers = (int32_t)network->count;
    for (int32_t i = 0; i < net->n_layers; i++) {
        for (int32_t k = 0; k < LAMINA__MAX_INPUTS; k++) {
            net->layers[i].d_in_apart[k].store = -1;
        }
    }
    make_inputs(net);
    status = build_layers(net, diags, error);
    if (status != LAMINA_OK) {
        lamina__net_free(net);
        return status;
    }
    status = list_weights(net, error);
    if (status == LAMINA_OK) {
        status = lamina__net_plan(net, error);
    }
    if (status == LAMINA_OK && !options->shapes_only) {
        status = lamina__net_wire(net, error);
    }
    if (status == LAMINA_OK && !options->shapes_only) {
        status = fill_weights(net, error);
    }
done:
    if (status != LAMINA_OK) {
        lamina__diag(diags, NULL, "%s", error->message);
        lamina__net_free(net);
        return status;
    }
    net->options.recorded = net->own_plan = NULL; /* the caller's */
    net->options.cache = NULL;
    net->options.stop = NULL;
    *result = net;
    return LAMINA_OK;
}

lamina_status lamina__net_build(const lamina__network *network, const lamina__net_options *options,
                                lamina__net **result, lamina__diags *diags) {
    lamina__plan_record plan;
    *result = NULL;
    if (options->recorded == NULL && lamina__tune(network, options, &plan)) {
        lamina__diags unseen = {0};
        lamina__net_make(network, options, &plan, result, &unseen, NULL);
        lamina__diags_free(&unseen);
        lamina__plan_record_free(&plan);
    }
    if (*result == NULL && options->measure && lamina__net_is_stopped(options)) {
        return LAMINA_ERROR_INTERRUPTED;
    }
    return *result != NULL ? LAMINA_OK
                           : lamina__net_make(network, options, NULL, result, diags, NULL);
}

void lamina__net_free(lamina__net *net) {
    if (net == NULL) {
        return;
    }
    lamina__net_unwire(net);
    lamina__net_stop_clock(net);
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__instance_free(net->layers[i].instance);
    }
    lamina__free(net->layers);
    lamina__free(net->eval_only);
    lamina__free(net->values);
    lamina__free(net->stores);
    lamina__free(net->units);
    lamina__free(net->again);
    lamina__free(net->weights);
    lamina__free(net->gradients);
    lamina__free(net->states);
    lamina__free(net);
}
