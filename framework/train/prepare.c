/* From an experiment to something that runs: opens the data, checks that splits, normalisation,
 * network and labels fit each other, and builds the net for exactly the batch sizes that will come.
 */
#include "base/threads.h"
#include "train/experiment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAX_KERNEL_NAMES 64

static const char *const split_names[2] = {"train", "test"};

/* But for the number of samples. */
static bool same_targets(const lamina__source *a, const lamina__source *b) {
    bool same = a->target.ndim == b->target.ndim;
    for (int32_t i = 1; same && i < a->target.ndim; i++) {
        same = a->target.dim[i] == b->target.dim[i];
    }
    return same;
}

/* "labels" or "numbers [50, 3]" into dst; returns dst. */
static const char *targets_text(const lamina__source *source, char *dst, size_t size) {
    char shape[128];
    if (source->target.ndim > 0) {
        snprintf(dst, size, "numbers %s",
                 lamina__shape_text(&source->target, shape, sizeof(shape)));
    } else {
        snprintf(dst, size, "labels");
    }
    return dst;
}

static lamina_status open_sources(const lamina__experiment *experiment,
                                  const lamina__prepare_options *options,
                                  lamina__prepared *prepared, lamina_error *error) {
    for (int split = 0; split < 2; split++) {
        if (experiment->data[split].reader == NULL || (split == 0 && options->test_only)) {
            continue;
        }
        lamina_status status =
            lamina__source_open(&experiment->data[split], &prepared->source[split], error);
        if (status != LAMINA_OK) {
            const lamina__node *at = experiment->data[split].node;
            lamina__error_prefix(error, "data.%s", split_names[split]);
            if (at->line > 0) {
                lamina__error_prefix(error, "%s:%d:%d", at->origin, at->line, at->column);
            } else {
                lamina__error_prefix(error, "%s", at->origin);
            }
            return status;
        }
    }
    const lamina__source *train = prepared->source[0], *test = prepared->source[1];
    if (train == NULL && test == NULL) {
        return lamina__fail(error, LAMINA_ERROR_USAGE,
                            "%s: the config has no data.test to test with; add it with --set",
                            experiment->path);
    }
    if (train != NULL && test != NULL && !same_targets(train, test)) {
        char a[160], b[160];
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: has %s as targets, but %s has %s; both splits need the same",
                            test->description, targets_text(test, a, sizeof(a)), train->description,
                            targets_text(train, b, sizeof(b)));
    }
    if (train != NULL && test != NULL &&
        (train->channels != test->channels || train->height != test->height ||
         train->width != test->width)) {
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: has images of %" PRId64 "x%" PRId64 "x%" PRId64
                            ", but %s has %" PRId64 "x%" PRId64 "x%" PRId64
                            "; both splits need the same",
                            test->description, test->channels, test->height, test->width,
                            train->description, train->channels, train->height, train->width);
    }
    return LAMINA_OK;
}

/* A name that no layer knows would leave every layer to itself, silently. What is plain C and
 * nothing else counts as "reference". */
static lamina_status check_kernels(const lamina__network *network, const char *wanted,
                                   lamina_error *error) {
    const char *names[MAX_KERNEL_NAMES] = {"auto", "reference"};
    size_t n = 2;
    bool known = wanted == NULL;
    for (size_t i = 0; i < network->count; i++) {
        const lamina_kernel *const *kernels = network->layers[i].entry->type->kernels;
        for (size_t k = 0; kernels != NULL && kernels[k] != NULL && n < MAX_KERNEL_NAMES; k++) {
            names[n++] = kernels[k]->name;
        }
    }
    lamina__text list = {0};
    for (size_t i = 0; !known && i < n; i++) {
        size_t first = 0;
        known = strcmp(names[i], wanted) == 0;
        while (strcmp(names[first], names[i]) != 0) {
            first++;
        }
        if (first == i) {
            lamina__text_add(&list, "%s%s", i > 0 ? ", " : "", names[i]);
        }
    }
    lamina_status status = LAMINA_OK;
    if (!known) {
        const char *near = lamina__nearest(wanted, names, n);
        status = lamina__fail(error, LAMINA_ERROR_USAGE,
                              "--kernels: no layer of this network has a kernel \"%.100s\"; there "
                              "are %s%s%s%s",
                              wanted, list.data ? list.data : "none",
                              near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    lamina__text_free(&list);
    return status;
}

/* One value for all channels, or one for each. */
static lamina_status check_normalize(const lamina__experiment *experiment, int64_t channels,
                                     lamina__diags *diags) {
    static const char *const keys[] = {"mean", "std"};
    const lamina_real_list *lists[] = {&experiment->normalize.mean, &experiment->normalize.std};
    const lamina__node *data = lamina__node_get(experiment->doc->root, "data");
    const lamina__node *normalize = lamina__node_get(data, "normalize");
    lamina_status status = LAMINA_OK;
    for (int i = 0; i < 2; i++) {
        const lamina__node *node = lamina__node_get(normalize, keys[i]);
        const lamina__node *at = node ? node : normalize ? normalize : data;
        if (lists[i]->count > 1 && lists[i]->count != channels) {
            status =
                lamina__diag(diags, at,
                             "data.normalize: %s has %d values, but the images have %" PRId64
                             " channel%s; give one value, or one for each",
                             keys[i], (int)lists[i]->count, channels, channels == 1 ? "" : "s");
        }
    }
    return status;
}

/* Every label must have an output of its own, in every loss and metric that takes labels. */
static lamina_status check_labels(const lamina__source *source, const lamina__net *net,
                                  lamina_error *error) {
    for (int64_t i = 0; source->labels != NULL && i < source->count; i++) {
        int64_t outputs = 0;
        const int32_t layer = lamina__net_refuses_label(net, source->labels[i], &outputs);
        if (layer < 0) {
            continue;
        }
        const bool loss = (lamina__net_layer(net, layer)->type->flags & LAMINA_IS_LOSS) != 0;
        return lamina__fail(error, LAMINA_ERROR_DATA,
                            "%s: label %d of sample %" PRId64 ", but the network's %s has %" PRId64
                            " outputs; give the layer before it at least %" PRId64,
                            source->description, (int)source->labels[i], i,
                            loss ? "loss" : lamina__net_layer(net, layer)->name, outputs,
                            source->classes);
    }
    return LAMINA_OK;
}

static lamina__net_options net_options(const lamina__experiment *experiment,
                                       const lamina__prepare_options *options,
                                       const lamina__prepared *prepared) {
    const lamina__source *any = prepared->source[0] ? prepared->source[0] : prepared->source[1];
    lamina__net_options net = {
        .channels = any ? any->channels : options->input[0],
        .height = any ? any->height : options->input[1],
        .width = any ? any->width : options->input[2],
        .batch = experiment->train.batch,
        .target = any ? any->target : options->target,
        .threads = options->threads,
        .training = options->training,
        .recompute = experiment->train.recompute.count > 0,
        .recompute_share = experiment->train.recompute.value[0],
        .keep_all = options->keep_all,
        .shapes_only = options->shapes_only,
        .kernels = options->kernels,
        .recorded = options->recorded,
        .cache = options->cache,
        .measure = options->measure,
        .stop = options->stop,
        .seed = (uint64_t)experiment->seed,
    };
    net.target.dim[0] = net.target.ndim > 0 ? net.batch : 0;
    for (int split = 0; split < 2; split++) {
        const lamina__source *source = prepared->source[split];
        net.partial[split] = source ? source->count % net.batch : 0;
    }
    return net;
}

lamina_status lamina__experiment_prepare(const lamina__experiment *experiment,
                                         const lamina__prepare_options *options,
                                         lamina__prepared *prepared, lamina__diags *diags,
                                         lamina_error *error) {
    *prepared = (lamina__prepared){0};
    lamina_status status = check_kernels(&experiment->network, options->kernels, error);
    if (status == LAMINA_OK && options->input[0] == 0) {
        status = open_sources(experiment, options, prepared, error);
    }
    if (status != LAMINA_OK) {
        goto done;
    }
    lamina__net_options net = net_options(experiment, options, prepared);
    status = check_normalize(experiment, net.channels, diags);
    if (!options->shapes_only) {
        lamina__pin_threads(options->threads > 0 ? options->threads : lamina__default_threads());
    }
    lamina_status built = lamina__net_build(&experiment->network, &net, &prepared->net, diags);
    if (built == LAMINA_ERROR_INTERRUPTED) {
        lamina__fail(error, built, "stopped while measuring kernels; nothing was written");
    }
    status = built != LAMINA_OK ? built : status;
    if (status != LAMINA_OK) {
        goto done;
    }
    if (lamina__net_n_losses(prepared->net) == 0 && (options->training || options->test_only)) {
        status = lamina__diag(diags, lamina__node_get(experiment->doc->root, "network"),
                              "the network has no loss; end it with \"- softmax_loss\"");
        goto done;
    }
    for (int split = 0; split < 2 && status == LAMINA_OK && !options->shapes_only; split++) {
        if (prepared->source[split] != NULL) {
            status = check_labels(prepared->source[split], prepared->net, error);
        }
    }

done:
    if (status != LAMINA_OK) {
        lamina__prepared_free(prepared);
        if (diags->count > 0) {
            lamina__diags_error(diags, error);
        }
    }
    return status;
}

void lamina__prepared_free(lamina__prepared *prepared) {
    lamina__net_free(prepared->net); /* before the sources: nothing of it outlives them */
    lamina__source_close(prepared->source[0]);
    lamina__source_close(prepared->source[1]);
    *prepared = (lamina__prepared){0};
}
