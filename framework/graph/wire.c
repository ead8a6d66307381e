/* Wiring a net: memory for the plan, a view of every tensor for every piece, and the lanes' lists
 * of them. Done once; a step only changes views when the batch size changes, and the two pointers
 * to the batch itself. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/memory.h"
#include "graph/net_impl.h"

#include <string.h>

/* ---- Views ---- */

typedef struct view_list {
    lamina__net *net;
    lamina_tensor *next;
} view_list;

/* Hands out a tensor's views. */
static void take_views(view_list *list, lamina__views *views, const lamina_shape *shape) {
    views->view = list->next;
    list->next += list->net->pieces;
    for (int32_t p = 0; p < list->net->pieces; p++) {
        lamina__tensor_view(&views->view[p], shape, NULL);
    }
}

static size_t count_views(const lamina__net *net) {
    size_t tensors = 2 * (size_t)net->n_values;
    for (int32_t i = 0; i < net->n_layers; i++) {
        tensors += (size_t)net->layers[i].instance->n_in + (size_t)net->layers[i].instance->n_saved;
    }
    return tensors * (size_t)net->pieces;
}

static lamina_status make_views(lamina__net *net, lamina_error *error) {
    net->n_views = count_views(net);
    net->views = lamina__calloc(net->n_views, sizeof *net->views);
    if (net->views == NULL) {
        return lamina__fail_memory(error, "the network's views");
    }
    view_list list = {net, net->views};
    for (int32_t v = 0; v < net->n_values; v++) {
        lamina__value *value = &net->values[v];
        take_views(&list, &value->data, &value->shape);
        if (value->gradient.store >= 0 || value->loss >= 0) {
            take_views(&list, &value->gradient, &value->shape);
        }
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_in; k++) {
            if (layer->d_in_apart[k].store >= 0) {
                take_views(&list, &layer->d_in_apart[k], &layer->instance->in[k]);
            }
        }
        for (int32_t k = 0; k < layer->instance->n_saved; k++) {
            take_views(&list, &layer->saved[k], &layer->instance->saved[k].shape);
        }
    }
    return LAMINA_OK;
}

/* Of a batch of so many samples, which are those of a piece? */
typedef struct span {
    int64_t begin, end;
} span;

static span samples_of(const lamina__net *net, int32_t piece, int64_t all) {
    const int32_t cut = piece < net->parts ? net->parts : net->shards;
    const int32_t p = piece < net->parts ? piece : piece - net->parts;
    if (piece == net->pieces - 1) {
        return (span){0, all};
    }
    return (span){lamina__part_begin(all, p, cut), lamina__part_begin(all, p + 1, cut)};
}

/* Where a shard's block begins in the arena. */
static char *shard_memory(const lamina__net *net, int32_t shard) {
    return net->arena + net->common_bytes + net->common_scratch + (size_t)shard * net->shard_bytes;
}

/* Of a layer called in stages, the call on the whole batch has the first shard's. */
static char *scratch_of(const lamina__net *net, const lamina__layer *layer, int32_t lane) {
    if (layer->whole) {
        return net->arena + net->common_bytes;
    }
    const int32_t shard = lane == net->pieces - 1 ? 0 : lamina__lane_shard(net, lane);
    return shard_memory(net, net->shards) + (size_t)shard * net->shard_scratch;
}

/* given: where a tensor without a store begins, a loss's gradient. */
static void bind_views(lamina__net *net, lamina__views *views, float *given, int64_t all) {
    if (views->view == NULL) {
        return;
    }
    for (int32_t p = 0; p < net->pieces; p++) {
        lamina_tensor *view = &views->view[p];
        const span s = samples_of(net, p, all);
        view->shape.dim[0] = s.end - s.begin;
        if (views->store < 0) {
            view->data = given + s.begin;
            continue;
        }
        const lamina__store *store = &net->stores[views->store];
        if (store->place == LAMINA__PLACE_COMMON) {
            view->data = net->arena + store->offset + (size_t)s.begin * store->sample_bytes;
        } else if (store->place == LAMINA__PLACE_LOCAL) {
            view->data = p == net->pieces - 1
                             ? NULL
                             : shard_memory(net, lamina__lane_shard(net, p)) + store->offset;
        }
    }
}

/* The piece that a lane is for. */
static int32_t piece_of(const lamina__net *net, const lamina__layer *layer, int32_t lane) {
    return layer->whole ? net->pieces - 1 : lane;
}

static void bind_lane(lamina__net *net, lamina__layer *layer, int32_t l, int64_t all) {
    lamina_io *io = &layer->lanes[l].io;
    const span s = samples_of(net, piece_of(net, layer, l), all);
    io->first_sample = s.begin;
    io->samples = s.end - s.begin;
    io->batch = all;
}

static float *loss_gradient(const lamina__net *net, int32_t loss) {
    return loss < 0 ? NULL : net->loss_gradient + loss * net->options.batch;
}

void lamina__net_bind_samples(lamina__net *net, int64_t samples) {
    for (int32_t v = 0; v < net->n_values; v++) {
        lamina__value *value = &net->values[v];
        bind_views(net, &value->data, NULL, samples);
        bind_views(net, &value->gradient, loss_gradient(net, value->loss), samples);
    }
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        for (int32_t k = 0; k < layer->instance->n_in; k++) {
            if (layer->d_in_apart[k].store >= 0) {
                bind_views(net, &layer->d_in_apart[k], NULL, samples);
            }
        }
        for (int32_t k = 0; k < layer->instance->n_saved; k++) {
            bind_views(net, &layer->saved[k], NULL, samples);
        }
        for (int32_t l = 0; l < layer->n_lanes; l++) {
            bind_lane(net, layer, l, samples);
        }
    }
    for (int32_t l = 0; l < net->n_losses; l++) {
        for (int64_t i = 0; i < samples; i++) {
            loss_gradient(net, l)[i] = (float)(net->losses[l].weight / (double)samples);
        }
    }
    net->bound_samples = samples;
}

void lamina__net_bind_batch(lamina__net *net, const lamina__batch *batch) {
    if (batch->samples != net->bound_samples) {
        lamina__net_bind_samples(net, batch->samples);
    }
    const lamina__value *data = &net->values[LAMINA__VALUE_DATA];
    const lamina__value *target = &net->values[LAMINA__VALUE_TARGET];
    const int64_t size = lamina__shape_count(&data->shape) / data->shape.dim[0];
    const int64_t target_size = lamina__shape_count(&target->shape) / target->shape.dim[0];
    const bool labels = target->shape.dtype == LAMINA_I32;
    for (int32_t p = 0; p < net->pieces; p++) {
        const int64_t begin = samples_of(net, p, batch->samples).begin;
        /* Layers only read their inputs. */
        data->data.view[p].data = batch->images + begin * size;
        target->data.view[p].data = labels
                                        ? (void *)(uintptr_t)(batch->labels + begin)
                                        : (void *)(uintptr_t)(batch->numbers + begin * target_size);
    }
    net->batch = batch;
}

/* A value has one set of views; they go from one store to the other. */
void lamina__net_bind_again(lamina__net *net, int32_t layer, bool again) {
    for (int32_t k = 0; k < net->layers[layer].instance->n_out; k++) {
        lamina__value *value = &net->values[net->layers[layer].value_out[k]];
        lamina__views views = value->data;
        if (value->store_again == 0) {
            continue; /* local */
        }
        views.store = again ? value->store_again : value->data.store;
        bind_views(net, &views, NULL, net->bound_samples);
    }
}

/* ---- Lanes ---- */

/* The view a lane uses. */
static const lamina_tensor *view_for(const lamina__net *net, const lamina__layer *layer,
                                     const lamina__views *views, int32_t lane) {
    return &views->view[piece_of(net, layer, lane)];
}

static void point_inputs(const lamina__net *net, const lamina__layer *layer, int32_t l,
                         const lamina_tensor **in, const lamina_tensor **d_in) {
    for (int32_t k = 0; k < layer->instance->n_in; k++) {
        const lamina__value *value = &net->values[layer->value_in[k]];
        in[k] = view_for(net, layer, &value->data, l);
        if (!layer->backward || !value->needs_gradient) {
            d_in[k] = NULL;
        } else if (layer->d_in_apart[k].store >= 0) {
            d_in[k] = view_for(net, layer, &layer->d_in_apart[k], l);
        } else {
            d_in[k] = view_for(net, layer, &value->gradient, l);
        }
    }
}

static void point_outputs(const lamina__net *net, const lamina__layer *layer, int32_t l,
                          const lamina_tensor **out, const lamina_tensor **d_out) {
    for (int32_t k = 0; k < layer->instance->n_out; k++) {
        const lamina__value *value = &net->values[layer->value_out[k]];
        out[k] = view_for(net, layer, &value->data, l);
        d_out[k] = value->gradient.view != NULL ? view_for(net, layer, &value->gradient, l) : NULL;
    }
}

static void point_weights(const lamina__net *net, const lamina__layer *layer, int32_t l,
                          const lamina_tensor **weight, const lamina_tensor **d_weight) {
    lamina__lane *lane = &layer->lanes[l];
    const int64_t shard = lamina__has_one_gradient(layer) ? 0 : lamina__lane_shard(net, l);
    for (int32_t k = 0; k < layer->instance->n_weights; k++) {
        const lamina__net_weight *w = &net->weights[layer->weight[k]];
        const lamina__net_gradient *gradient = &net->gradients[layer->weight[k]];
        weight[k] = &net->weight_views[layer->weight[k]];
        d_weight[k] = NULL;
        if (!layer->backward || layer->frozen) {
            continue;
        }
        lamina__weight_view(&lane->d_weight[k], w->weight,
                            net->gradient_block + gradient->offset + shard * gradient->apart);
        d_weight[k] = &lane->d_weight[k];
    }
}

/* The whole batch's target, for a loss or metric that has the data's. */
static const lamina_tensor *target_of(const lamina__net *net, const lamina__layer *layer) {
    const bool takes =
        lamina__has_target(layer->instance->type) && layer->value_in[1] == LAMINA__VALUE_TARGET;
    return takes ? &net->values[LAMINA__VALUE_TARGET].data.view[net->pieces - 1] : NULL;
}

static lamina_status wire_lane(lamina__net *net, lamina__layer *layer, int32_t l,
                               lamina_error *error) {
    lamina__lane *lane = &layer->lanes[l];
    const lamina__instance *instance = layer->instance;
    const size_t n_in = (size_t)instance->n_in, n_out = (size_t)instance->n_out,
                 n_weights = (size_t)instance->n_weights, n_states = (size_t)instance->n_states,
                 n_saved = (size_t)instance->n_saved;
    lane->d_weight = lamina__calloc(n_weights + 1, sizeof *lane->d_weight);
    lane->packed = lamina__calloc((size_t)instance->n_packed + 1, sizeof *lane->packed);
    lane->pointers = lamina__calloc(2 * (n_in + n_out + n_weights) + n_states + n_saved + 1,
                                    sizeof *lane->pointers);
    if (lane->d_weight == NULL || lane->packed == NULL || lane->pointers == NULL) {
        return lamina__fail_memory(error, "the network's lanes");
    }
    const lamina_tensor **in = lane->pointers, **d_in = in + n_in, **out = d_in + n_in,
                        **d_out = out + n_out, **weight = d_out + n_out,
                        **d_weight = weight + n_weights, **state = d_weight + n_weights,
                        **saved = state + n_states;
    point_inputs(net, layer, l, in, d_in);
    point_outputs(net, layer, l, out, d_out);
    point_weights(net, layer, l, weight, d_weight);
    for (size_t k = 0; k < n_states; k++) {
        state[k] = &net->state_views[(size_t)layer->first_state + k];
    }
    for (size_t k = 0; k < n_saved; k++) {
        saved[k] = view_for(net, layer, &layer->saved[k], l);
    }
    for (int32_t k = 0; k < instance->n_packed; k++) {
        lane->packed[k] = net->packed_block + layer->packed_offset[k];
    }
    lane->io = (lamina_io){
        .struct_size = sizeof(lamina_io),
        .phase = LAMINA_TRAIN,
        .shard = layer->whole || l == net->pieces - 1 ? 0 : lamina__lane_shard(net, l),
        .in = in,
        .out = out,
        .weight = weight,
        .state = state,
        .saved = saved,
        .d_out = d_out,
        .d_in = d_in,
        .d_weight = d_weight,
        .packed = lane->packed,
        .parts = 1,
        .target = target_of(net, layer),
        .weight_sum = (instance->type->flags & LAMINA_IS_LOSS) != 0 ? &lane->weight_sum : NULL,
        .shared = layer->shared >= 0 ? net->arena + net->stores[layer->shared].offset : NULL,
        .call = l < net->parts ? l : l - net->parts,
        .scratch = scratch_of(net, layer, l)};
    lamina__call_init(&lane->call, layer->instance, &lane->error);
    lane->call.openmp = net->openmp;
    return LAMINA_OK;
}

/* ---- Memory ---- */

static void view_weights(lamina__net *net) {
    for (int32_t w = 0; w < net->n_weights; w++) {
        net->weights[w].data = net->weight_block + net->weights[w].offset;
        lamina__weight_view(&net->weight_views[w], net->weights[w].weight, net->weights[w].data);
    }
    float *state = net->state_block;
    for (int32_t s = 0; s < net->n_states; s++) {
        const lamina_shape *shape = &net->states[s].state->shape;
        net->states[s].data = state;
        lamina__tensor_view(&net->state_views[s], shape, state);
        state += (lamina__shape_count(shape) + 15) / 16 * 16;
    }
}

static lamina_status allocate(lamina__net *net, lamina_error *error) {
    const size_t batch = (size_t)net->options.batch;
    net->weight_block = lamina__calloc((size_t)net->weight_floats + 16, sizeof(float));
    net->state_block = lamina__calloc((size_t)net->state_floats + 16, sizeof(float));
    if (net->options.training) {
        net->gradient_block = lamina__calloc((size_t)net->gradient_floats + 16, sizeof(float));
    }
    net->arena = lamina__alloc(lamina__net_memory(net).activations + 64);
    net->packed_block = lamina__alloc(net->packed_bytes + 64);
    net->loss_gradient = lamina__calloc(batch * (size_t)net->n_losses + 1, sizeof(float));
    net->predictions = lamina__calloc(batch, sizeof(int32_t));
    net->weight_views = lamina__calloc((size_t)net->n_weights + 1, sizeof(lamina_tensor));
    net->state_views = lamina__calloc((size_t)net->n_states + 1, sizeof(lamina_tensor));
    net->not_finite = lamina__calloc((size_t)net->threads, sizeof *net->not_finite);
    if (net->weight_block == NULL || net->state_block == NULL || net->arena == NULL ||
        (net->options.training && net->gradient_block == NULL) || net->packed_block == NULL ||
        net->loss_gradient == NULL || net->predictions == NULL || net->weight_views == NULL ||
        net->state_views == NULL || net->not_finite == NULL) {
        return lamina__fail_memory(error, "the network's arena");
    }
    return LAMINA_OK;
}

lamina_status lamina__net_wire(lamina__net *net, lamina_error *error) {
    lamina_status status = lamina__net_check_memory(net, lamina__memory_available(), error);
    if (status == LAMINA_OK) {
        status = allocate(net, error);
    }
    if (status == LAMINA_OK) {
        status = make_views(net, error);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    view_weights(net);
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        const int32_t lanes = layer->whole ? 1 : net->pieces - !layer->staged;
        layer->lanes = lamina__calloc((size_t)lanes, sizeof *layer->lanes);
        if (layer->lanes == NULL) {
            return lamina__fail_memory(error, "the network's lanes");
        }
        layer->n_lanes = lanes;
        for (int32_t l = 0; l < lanes; l++) {
            status = wire_lane(net, layer, l, error);
            if (status != LAMINA_OK) {
                return status;
            }
        }
    }
    lamina__net_bind_samples(net, net->options.batch);
    return LAMINA_OK;
}

void lamina__net_unwire(lamina__net *net) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        lamina__layer *layer = &net->layers[i];
        for (int32_t l = 0; l < layer->n_lanes; l++) {
            lamina__free(layer->lanes[l].d_weight);
            lamina__free(layer->lanes[l].packed);
            lamina__free(layer->lanes[l].pointers);
        }
        lamina__free(layer->lanes);
    }
    lamina__free(net->views);
    lamina__free(net->weight_views);
    lamina__free(net->state_views);
    lamina__free(net->weight_block);
    lamina__free(net->state_block);
    lamina__free(net->gradient_block);
    lamina__free(net->arena);
    lamina__free(net->packed_block);
    lamina__free(net->loss_gradient);
    lamina__free(net->predictions);
    lamina__free(net->not_finite);
}
