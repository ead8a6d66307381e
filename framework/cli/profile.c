/* lamina profile: where the time of a step goes, by layer and pass. */
#include "train/profile.h"

#include "base/alloc.h"
#include "base/peak.h"
#include "cli/cli.h"
#include "graph/plan_cache.h"
#include "layers/isa.h"
#include "onednn/onednn.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a profile is of. */
typedef struct subject {
    const lamina__experiment *experiment;
    const lamina__profile *profile;
    const lamina__net *net;
    bool inference;
    char processor[128];
} subject;

/* ---- Rows ---- */

/* One pass of one layer. */
typedef struct row {
    const lamina__instance *layer;
    const char *pass, *kernel;
    double seconds;
    double operations; /* of a step; 0: the layer does not say */
} row;

/* False: the layer has no such pass here. */
static bool make_row(const subject *s, int32_t layer, int pass, row *to) {
    const lamina__instance *instance = lamina__net_layer(s->net, layer);
    const double seconds = lamina__profile_pass(s->profile, layer, pass);
    const bool plain = instance->type->kernels == NULL;
    *to = (row){
        .layer = instance,
        .pass = plain && pass == 1 ? "backward" : lamina__pass_names[pass],
        .kernel = lamina__instance_kernel(instance, pass),
        .seconds = seconds,
        .operations = 2 * instance->multiply_adds * (double)s->profile->batch,
    };
    return seconds > 0 && to->kernel != NULL;
}

static double rate(double operations, double seconds) {
    return operations / seconds;
}

/* Of all passes. */
static double operations_of(const subject *s) {
    double sum = 0;
    row r;
    for (int32_t i = 0; i < lamina__net_n_layers(s->net); i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            sum += make_row(s, i, pass, &r) ? r.operations : 0;
        }
    }
    return sum;
}

/* What a step is beside the passes. */
typedef struct part {
    const char *key, *title;
    double seconds;
} part;

enum { N_PARTS = 6 };

static void list_parts(const lamina__profile *profile, part parts[N_PARTS]) {
    const lamina__net_times *net = &profile->part;
    parts[0] = (part){"data_wait", "waiting for data", profile->data_wait};
    parts[1] = (part){"input", "normalising images", net->input};
    parts[2] = (part){"prepare", "repacking weights", net->prepare};
    parts[3] = (part){"update", "reduction and optimizer", net->update};
    parts[4] = (part){"waiting", "waiting for other threads", net->waiting};
    parts[5] = (part){"other", "other", net->other};
}

/* ---- The table ---- */

typedef struct columns {
    int layer, pass, kernel;
} columns;

static void widen(int *column, const char *text) {
    const int length = (int)strlen(text);
    *column = length > *column ? length : *column;
}

static columns measure_columns(const subject *s) {
    columns width = {5, 4, 6};
    row r;
    for (int32_t i = 0; i < lamina__net_n_layers(s->net); i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            if (make_row(s, i, pass, &r)) {
                widen(&width.layer, r.layer->name);
                widen(&width.pass, r.pass);
                widen(&width.kernel, r.kernel);
            }
        }
    }
    return width;
}

static void print_numbers(const subject *s, double seconds, double operations) {
    printf(" %10.4f %6.1f%%", 1e3 * seconds, 100 * seconds / s->profile->total);
    if (operations > 0) {
        printf(" %9.1f %7.1f%%", 1e-9 * rate(operations, seconds),
               100 * rate(operations, seconds) / s->profile->peak);
    }
    printf("\n");
}

static void print_passes(const subject *s, const columns *width) {
    row r;
    for (int32_t i = 0; i < lamina__net_n_layers(s->net); i++) {
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            if (make_row(s, i, pass, &r)) {
                printf("%-*s  %-*s  %-*s", width->layer, r.layer->name, width->pass, r.pass,
                       width->kernel, r.kernel);
                print_numbers(s, r.seconds, r.operations);
            }
        }
    }
}

static void print_heading(const subject *s) {
    const int shards = (int)lamina__net_shards(s->net), threads = (int)lamina__net_threads(s->net);
    const int slices = (int)lamina__net_slices(s->net);
    const int workers = (int)lamina__net_workers(s->net);
    char slices_text[32] = "", workers_text[32] = "";
    if (slices > 1) {
        snprintf(slices_text, sizeof slices_text, " of %d slices", slices);
    }
    if (workers < threads) {
        snprintf(workers_text, sizeof workers_text, "%d of ", workers);
    }
    lamina__say(stdout, "%s: %s, batch %" PRId64 ", %d shard%s%s on %s%d thread%s",
                s->experiment->path, s->inference ? "inference" : "training", s->profile->batch,
                shards, shards == 1 ? "" : "s", slices_text, workers_text, threads,
                threads == 1 ? "" : "s");
    lamina__say(stdout, "%s, %s, oneDNN %s", s->processor, lamina__isa_name(lamina__isa_to_use()),
                lamina__onednn_version());
}

/* Layers that are called on the whole batch, with all threads. */
static void print_whole(const subject *s) {
    bool any = false;
    for (int32_t i = 0; i < lamina__net_n_layers(s->net); i++) {
        if (lamina__net_is_whole(s->net, i)) {
            printf("%s %s", any ? "" : "on the whole batch:", lamina__net_layer(s->net, i)->name);
            any = true;
        }
    }
    printf("%s", any ? "\n" : "");
}

static void print_table(const subject *s) {
    const lamina__profile *profile = s->profile;
    const columns width = measure_columns(s);
    const int left = width.layer + width.pass + width.kernel + 4;
    part parts[N_PARTS];
    list_parts(profile, parts);
    const int threads = (int)lamina__net_threads(s->net);
    print_heading(s);
    print_whole(s);
    printf("\n%-*s  %-*s  %-*s %10s %7s %9s %8s\n", width.layer, "layer", width.pass, "pass",
           width.kernel, "kernel", "ms", "share", "GFLOP/s", "of peak");
    print_passes(s, &width);
    for (int i = 0; i < N_PARTS; i++) {
        printf("%-*s", left, parts[i].title);
        print_numbers(s, parts[i].seconds, 0);
    }
    printf("%-*s", left, "a step");
    print_numbers(s, profile->total, operations_of(s));
    printf("\nWithout the clock a step takes %.4f ms (median of %" PRId64
           "): %.0f images/s. Peak of %d thread%s, measured: %.1f GFLOP/s.\n",
           1e3 * profile->step_seconds, profile->steps,
           (double)profile->batch / profile->step_seconds, threads, threads == 1 ? "" : "s",
           1e-9 * profile->peak);
}

/* ---- JSON ---- */

static void add_text(lamina__text *json, const char *key, const char *value) {
    lamina__text_add(json, "\"%s\":", key);
    lamina__text_add_json(json, value);
    lamina__text_add(json, ",");
}

static void add_integer(lamina__text *json, const char *key, int64_t value) {
    lamina__text_add(json, "\"%s\":%" PRId64 ",", key, value);
}

static void add_number(lamina__text *json, const char *key, double value) {
    lamina__text_add(json, "\"%s\":", key);
    lamina__text_add_double(json, value, true);
    lamina__text_add(json, ",");
}

/* Instead of the comma after the last member or element. */
static void close_with(lamina__text *json, const char *end) {
    if (json->length > 0 && json->data[json->length - 1] == ',') {
        json->length--;
    }
    lamina__text_add(json, "%s", end);
}

static void add_rates(lamina__text *json, const subject *s, double seconds, double operations) {
    const double flops = rate(operations, seconds);
    add_number(json, "share", seconds / s->profile->total);
    add_number(json, "gflops", 1e-9 * flops);
    add_number(json, "peak_share", flops / s->profile->peak);
}

static void add_layer(lamina__text *json, const subject *s, int32_t i) {
    const lamina__instance *layer = lamina__net_layer(s->net, i);
    row r;
    lamina__text_add(json, "{");
    add_text(json, "name", layer->name);
    add_text(json, "type", layer->type->name);
    add_number(json, "multiply_adds", layer->multiply_adds);
    add_integer(json, "whole_batch", lamina__net_is_whole(s->net, i));
    lamina__text_add(json, "\"passes\":[");
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        if (make_row(s, i, pass, &r)) {
            lamina__text_add(json, "{");
            add_text(json, "pass", r.pass);
            add_text(json, "kernel", r.kernel);
            add_number(json, "seconds", r.seconds);
            add_rates(json, s, r.seconds, r.operations);
            close_with(json, "},");
        }
    }
    close_with(json, "]},");
}

static void add_machine(lamina__text *json, const subject *s) {
    lamina__text_add(json, "\"machine\":{");
    add_text(json, "processor", s->processor);
    add_text(json, "isa", lamina__isa_name(lamina__isa_to_use()));
    add_text(json, "onednn_isa", lamina__onednn_isa());
    add_number(json, "peak_gflops", 1e-9 * s->profile->peak);
    close_with(json, "},\"versions\":{");
    add_text(json, "lamina", lamina_version());
    add_text(json, "onednn", lamina__onednn_version());
    close_with(json, "},");
}

static void add_profile(lamina__text *json, const subject *s) {
    const lamina__profile *profile = s->profile;
    part parts[N_PARTS];
    list_parts(profile, parts);
    lamina__text_add(json, "{");
    add_text(json, "config", s->experiment->path);
    add_text(json, "mode", s->inference ? "inference" : "training");
    add_integer(json, "batch", profile->batch);
    add_integer(json, "threads", lamina__net_threads(s->net));
    add_integer(json, "shards", lamina__net_shards(s->net));
    add_integer(json, "slices", lamina__net_slices(s->net));
    add_integer(json, "workers", lamina__net_workers(s->net));
    add_integer(json, "steps", profile->steps);
    add_number(json, "step_seconds", profile->step_seconds);
    add_number(json, "net_seconds", profile->net_seconds);
    add_number(json, "images_per_second", (double)profile->batch / profile->step_seconds);
    lamina__text_add(json, "\"timed\":{");
    add_number(json, "seconds", profile->total);
    add_rates(json, s, profile->total, operations_of(s));
    add_number(json, "passes", profile->part.passes);
    for (int i = 0; i < N_PARTS; i++) {
        add_number(json, parts[i].key, parts[i].seconds);
    }
    close_with(json, "},\"layers\":[");
    for (int32_t i = 0; i < lamina__net_n_layers(s->net); i++) {
        add_layer(json, s, i);
    }
    close_with(json, "],");
    add_machine(json, s);
    close_with(json, "}");
}

static lamina_status print_json(const subject *s, lamina_error *error) {
    lamina__text json = {0};
    add_profile(&json, s);
    const lamina_status status =
        json.failed ? lamina__fail_memory(error, "the profile as JSON") : LAMINA_OK;
    if (status == LAMINA_OK) {
        printf("%s\n", json.data);
    }
    lamina__text_free(&json);
    return status;
}

/* ---- The command ---- */

static int profile(const lamina__experiment *experiment, const lamina__profile_options *options,
                   bool json) {
    lamina__profile result;
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina_status status = lamina__profile_run(experiment, options, &result, &diags, &error);
    if (status == LAMINA_OK) {
        subject s = {experiment, &result, result.prepared.net, options->inference, ""};
        lamina__processor_name(s.processor, sizeof s.processor);
        if (json) {
            status = print_json(&s, &error);
        } else {
            print_table(&s);
        }
    }
    lamina__profile_free(&result);
    const int exit_status = lamina__report(experiment->path, &diags, status, &error);
    lamina__diags_free(&diags);
    return exit_status;
}

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__common common = {0};
    lamina__profile_options options = {0};
    bool json = false;
    const lamina__option table[] = {
        {"--steps", "N", LAMINA__OPTION_COUNT, &options.steps,
         "steps to measure; default: for about a second"},
        {"--inference", NULL, LAMINA__OPTION_FLAG, &options.inference,
         "evaluate, instead of train"},
        {"--json", NULL, LAMINA__OPTION_FLAG, &json, "print one JSON object"},
        LAMINA__OPTION_SET(common),
        LAMINA__OPTION_PLUGIN(common),
        LAMINA__OPTION_THREADS(common),
        LAMINA__OPTION_KERNELS(common),
    };
    lamina__words arguments = {0};
    lamina__experiment *experiment = NULL;
    char *cache = lamina__plan_cache_folder();
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result >= 0) {
        goto done;
    }
    lamina__log_to_stderr(false);
    result = lamina__read_config(arguments.items[0], &common, &experiment);
    if (result < 0) {
        options.threads = (int)common.threads;
        options.kernels = common.kernels;
        options.measure = true;
        options.cache = cache;
        result = profile(experiment, &options, json);
    }

done:
    lamina__experiment_free(experiment);
    lamina__common_free(&common);
    lamina__free(arguments.items);
    lamina__free(cache);
    return result;
}

const lamina__command lamina__profile_command = {
    .name = "profile",
    .arguments = "CONFIG",
    .summary = "where the time of a training step goes, by layer and pass",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
