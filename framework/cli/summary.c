/* lamina summary: every layer with its shapes, parameters and work; nothing is trained. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "graph/plan_cache.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct totals {
    int64_t parameters;
    double multiply_adds; /* forward, one sample */
} totals;

/* Weights that it shares count for the layer that has them. */
static int64_t parameters_of(const lamina__net *net, int32_t index) {
    const lamina__instance *layer = lamina__net_layer(net, index);
    const bool owner = lamina__net_layer_spec(net, index)->owner == index;
    int64_t sum = 0;
    for (int32_t i = 0; owner && i < layer->n_weights; i++) {
        sum += lamina__shape_count(&layer->weights[i].shape);
    }
    return sum;
}

/* The width of the name and type columns. */
static int column(const lamina__net *net, bool names) {
    size_t width = 5;
    for (int32_t i = 0; i < lamina__net_n_layers(net); i++) {
        const lamina__instance *layer = lamina__net_layer(net, i);
        size_t length = strlen(names ? layer->name : layer->type->name);
        width = length > width ? length : width;
    }
    return width < 40 ? (int)width : 40;
}

static totals print_layers(const lamina__net *net) {
    int names = column(net, true), types = column(net, false);
    char shape[128], parameters[32], work[32];
    totals sum = {0};
    printf("%-*s  %-*s  %-20s %14s %16s\n", names, "layer", types, "type", "output", "parameters",
           "multiply-adds");
    for (int32_t i = 0; i < lamina__net_n_layers(net); i++) {
        const lamina__instance *layer = lamina__net_layer(net, i);
        int64_t count = parameters_of(net, i);
        sum.parameters += count;
        sum.multiply_adds += layer->multiply_adds;
        printf("%-*s  %-*s  %-20s %14s %16s\n", names, layer->name, types, layer->type->name,
               lamina__shape_text(&layer->out[0], shape, sizeof(shape)),
               lamina__grouped(count, parameters),
               lamina__grouped((int64_t)layer->multiply_adds, work));
    }
    return sum;
}

static void print_net(const lamina__experiment *experiment, const lamina__net *net) {
    char text[32];
    totals sum = print_layers(net);
    lamina__memory memory = lamina__net_memory(net);
    printf("\n%-14s %s\n", "parameters", lamina__grouped(sum.parameters, text));
    printf("%-14s %s for one sample, forward\n", "multiply-adds",
           lamina__grouped((int64_t)sum.multiply_adds, text));
    printf("%-14s %" PRId64 ", cut into %d for %d thread%s\n", "batch", experiment->train.batch,
           (int)(lamina__net_shards(net) * lamina__net_slices(net)), (int)lamina__net_threads(net),
           lamina__net_threads(net) == 1 ? "" : "s");
    printf("%-14s %s\n", "weights", lamina__bytes_text(memory.weights, text));
    printf("%-14s %s\n", "gradients", lamina__bytes_text(memory.gradients, text));
    printf("%-14s %s\n", "activations", lamina__bytes_text(memory.activations, text));
}

/* "1x28x28" */
static bool read_input(const char *text, int64_t input[3]) {
    int used = 0;
    bool fits = sscanf(text, "%7" SCNd64 "x%7" SCNd64 "x%7" SCNd64 "%n", &input[0], &input[1],
                       &input[2], &used) == 3 &&
                text[used] == '\0';
    return fits && input[0] > 0 && input[1] > 0 && input[2] > 0;
}

/* "3", or "1x28x28": the numbers of one sample's target. */
static bool read_target(const char *text, lamina_shape *target) {
    *target = (lamina_shape){.dtype = LAMINA_F32, .ndim = 1, .dim = {1}};
    for (const char *at = text; target->ndim < LAMINA_MAX_DIMS;) {
        int used = 0;
        int64_t *dim = &target->dim[target->ndim++];
        if (sscanf(at, "%7" SCNd64 "%n", dim, &used) != 1 || *dim < 1) {
            return false;
        }
        at += used;
        if (*at != 'x') {
            return *at == '\0';
        }
        at++;
    }
    return false;
}

static int summary(const lamina__experiment *experiment, const lamina__common *common,
                   const int64_t input[3], const lamina_shape *target) {
    lamina__prepared prepared = {0};
    lamina__diags diags = {0};
    lamina_error error = {0};
    char *cache = lamina__plan_cache_folder();
    const lamina__prepare_options options = {
        .threads = (int)common->threads,
        .kernels = common->kernels,
        .training = true,
        .shapes_only = true,
        .cache = cache,
        .input = {input[0], input[1], input[2]},
        .target = *target,
    };
    lamina_status status =
        lamina__experiment_prepare(experiment, &options, &prepared, &diags, &error);
    if (status == LAMINA_OK) {
        print_net(experiment, prepared.net);
    }
    int result = lamina__report(experiment->path, &diags, status, &error);
    if (status == LAMINA_ERROR_IO || status == LAMINA_ERROR_DATA) {
        fprintf(stderr, "lamina: without the data, give the images' size: --input 1x28x28 "
                        "(channels, height, width), and for regression that of their targets: "
                        "--target 3\n");
    }
    lamina__prepared_free(&prepared);
    lamina__diags_free(&diags);
    lamina__free(cache);
    return result;
}

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__common common = {0};
    const char *input_text = NULL, *target_text = NULL;
    const lamina__option table[] = {
        {"--input", "CxHxW", LAMINA__OPTION_TEXT, &input_text,
         "size of the images, such as 1x28x28; default: that of the data"},
        {"--target", "N", LAMINA__OPTION_TEXT, &target_text,
         "with --input: how many numbers an image's target has, such as 3 or 1x28x28; default: it "
         "is a label"},
        LAMINA__OPTION_SET(common),
        LAMINA__OPTION_PLUGIN(common),
        LAMINA__OPTION_THREADS(common),
        LAMINA__OPTION_KERNELS(common),
    };
    lamina__words arguments = {0};
    lamina__experiment *experiment = NULL;
    int64_t input[3] = {0, 0, 0};
    lamina_shape target = {0};
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result >= 0) {
        goto done;
    }
    lamina__log_to_stderr(false);
    if (input_text != NULL && !read_input(input_text, input)) {
        result = lamina__usage("summary: --input needs channels, height and width such as 1x28x28, "
                               "got \"%s\"",
                               input_text);
        goto done;
    }
    if (target_text != NULL && (input_text == NULL || !read_target(target_text, &target))) {
        result = lamina__usage("summary: --target goes with --input and is a size such as 3 or "
                               "1x28x28, got \"%s\"",
                               target_text);
        goto done;
    }
    result = lamina__read_config(arguments.items[0], &common, &experiment);
    if (result < 0) {
        result = summary(experiment, &common, input, &target);
    }

done:
    lamina__experiment_free(experiment);
    lamina__common_free(&common);
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__summary_command = {
    .name = "summary",
    .arguments = "CONFIG",
    .summary = "every layer: shape, parameters, multiply-adds; memory; no training",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
