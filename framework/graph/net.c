/* Looking into a net. */
#include "base/error.h"
#include "graph/net_impl.h"

#include <math.h>

int32_t lamina__net_n_layers(const lamina__net *net) {
    return net->n_layers;
}

const lamina__instance *lamina__net_layer(const lamina__net *net, int32_t layer) {
    return net->layers[layer].instance;
}

const lamina__layer_spec *lamina__net_layer_spec(const lamina__net *net, int32_t layer) {
    return net->layers[layer].spec;
}

int32_t lamina__net_shards(const lamina__net *net) {
    return net->shards;
}

int32_t lamina__net_slices(const lamina__net *net) {
    return net->slices;
}

bool lamina__net_by_shard(const lamina__net *net) {
    return net->shards == 1 && net->threads > 1 && !net->all_whole;
}

bool lamina__net_is_whole(const lamina__net *net, int32_t layer) {
    return net->layers[layer].whole;
}

int32_t lamina__net_threads(const lamina__net *net) {
    return net->threads;
}

bool lamina__net_eval_only(const lamina__net *net, int32_t layer) {
    return net->layers[layer].eval_only;
}

int32_t lamina__net_n_losses(const lamina__net *net) {
    return net->n_losses;
}

lamina__net_loss lamina__net_loss_at(const lamina__net *net, int32_t i) {
    return net->losses[i];
}

int32_t lamina__net_label_loss(const lamina__net *net) {
    return net->label_loss;
}

int32_t lamina__net_n_metrics(const lamina__net *net) {
    return net->n_metrics;
}

int32_t lamina__net_metric_at(const lamina__net *net, int32_t i) {
    return net->metrics[i];
}

/* Numbers that a loss or metric is given of one sample. */
static int64_t outputs_before(const lamina__layer *layer) {
    const lamina_shape *scores = &layer->instance->in[0];
    return lamina__shape_count(scores) / scores->dim[0];
}

int64_t lamina__net_classes(const lamina__net *net) {
    return net->label_loss >= 0 ? outputs_before(&net->layers[net->label_loss]) : 0;
}

bool lamina__net_counts_label(const lamina__net *net, int32_t label) {
    const lamina__instance *loss =
        net->label_loss >= 0 ? net->layers[net->label_loss].instance : NULL;
    return loss != NULL && !(loss->ignores_label && loss->ignored_label == label);
}

int32_t lamina__net_refuses_label(const lamina__net *net, int32_t label, int64_t *outputs) {
    for (int32_t i = 0; i < net->n_layers; i++) {
        const lamina__layer *layer = &net->layers[i];
        const lamina__instance *instance = layer->instance;
        if (!lamina__takes_labels(layer) ||
            (instance->ignores_label && instance->ignored_label == label)) {
            continue;
        }
        *outputs = outputs_before(layer);
        if (label < 0 || label >= *outputs) {
            return i;
        }
    }
    return -1;
}

void lamina__result_add(lamina__result *to, const lamina__result *part) {
    to->loss_sum += part->loss_sum;
    to->correct += part->correct;
    to->labelled += part->labelled;
    to->samples += part->samples;
    for (int i = 0; i < LAMINA__MAX_LOSSES; i++) {
        to->losses[i] += part->losses[i];
        to->weights[i] += part->weights[i];
    }
    for (int i = 0; i < LAMINA__MAX_METRICS; i++) {
        to->metrics[i] += part->metrics[i];
        to->measured[i] += part->measured[i];
    }
}

double lamina__result_loss_of(const lamina__result *result, int32_t i) {
    return result->weights[i] > 0 ? result->losses[i] / result->weights[i] : (double)NAN;
}

/* Where every loss counts every sample as 1, it is one sum over one number. */
double lamina__mean_loss(double loss_sum, int64_t samples, int32_t n, const double *losses,
                         const double *weights) {
    bool plain = samples > 0;
    double mean = (double)NAN;
    for (int32_t i = 0; i < n; i++) {
        plain = plain && weights[i] == (double)samples;
        if (weights[i] > 0) {
            mean = (isnan(mean) ? 0 : mean) + losses[i] / weights[i];
        }
    }
    return plain ? loss_sum / (double)samples : mean;
}

double lamina__result_loss(const lamina__net *net, const lamina__result *result) {
    double losses[LAMINA__MAX_LOSSES];
    for (int32_t i = 0; i < net->n_losses; i++) {
        losses[i] = net->losses[i].weight * result->losses[i];
    }
    return lamina__mean_loss(result->loss_sum, result->samples, net->n_losses, losses,
                             result->weights);
}

lamina__memory lamina__net_memory(const lamina__net *net) {
    const size_t weights = (size_t)net->weight_floats * sizeof(float);
    return (lamina__memory){
        .weights = weights + (size_t)net->state_floats * sizeof(float),
        .gradients = net->options.training ? (size_t)net->gradient_floats * sizeof(float) : 0,
        .activations = net->common_bytes + net->common_scratch +
                       (size_t)net->shards * net->shard_bytes +
                       (size_t)net->shards * net->shard_scratch,
        .packed = net->packed_bytes,
    };
}

int32_t lamina__net_n_weights(const lamina__net *net) {
    return net->n_weights;
}

lamina__net_weight lamina__net_weight_at(const lamina__net *net, int32_t i) {
    return net->weights[i];
}

int64_t lamina__net_weight_floats(const lamina__net *net) {
    return net->weight_floats;
}

float *lamina__net_weight_block(const lamina__net *net) {
    return net->weight_block;
}

int32_t lamina__net_n_states(const lamina__net *net) {
    return net->n_states;
}

lamina__net_state lamina__net_state_at(const lamina__net *net, int32_t i) {
    return net->states[i];
}

lamina_status lamina__net_output(const lamina__net *net, int32_t layer, int32_t output,
                                 lamina_tensor *out, lamina_tensor *d_out) {
    if (!net->options.keep_all) {
        return LAMINA_ERROR_USAGE;
    }
    const lamina__value *value = &net->values[net->layers[layer].value_out[output]];
    *out = value->data.view[net->pieces - 1];
    if (value->gradient.view != NULL) {
        *d_out = value->gradient.view[net->pieces - 1];
    } else {
        *d_out = (lamina_tensor){0};
    }
    return LAMINA_OK;
}

const int32_t *lamina__net_predictions(const lamina__net *net) {
    return net->predictions;
}
