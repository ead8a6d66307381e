/* lamina dump: one training step on the first batch, opened up into an HDF5 file, so that it can be
 * compared with any other framework's. All is float32 in logical order (N,C,H,W; O,I,H,W).
 *
 * /input, /labels or /target, /loss, of several losses /losses/<name>,
 * /layers/<name>/{output,d_output}, /weights/<layer>/<name>, /gradients/<layer>/<name>,
 * /updated/<layer>/<name>; running statistics before and after the step, /state/<layer>/<name> and
 * /updated_state/<layer>/<name>. d_output is the gradient of the mean loss. /config/resolved: the
 * config as text, every default filled in.
 *
 * With --steps N training goes on for N steps; of each, the first too, counted from 1:
 * /steps/<n>/{input,labels or target,learning_rate,loss}. */
#include "base/alloc.h"
#include "cli/cli.h"
#include "graph/plan_cache.h"
#include "train/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct dump {
    lamina__net *net;
    lamina__optimizer *optimizer;
    lamina__h5_writer *writer;
    lamina_error *error;
    float *gradients;     /* of the last step, like the weight block */
    lamina_status status; /* the first failure; then nothing more is added */
} dump;

/* ---- Adding -------------------------------------------------------------------------------- */

/* shape: as it shall be in the file; data in that row-major order. */
static void add(dump *d, const lamina_shape *shape, const float *data, const char *fmt, ...)
    LAMINA_PRINTF(4, 5);

static void add(dump *d, const lamina_shape *shape, const float *data, const char *fmt, ...) {
    lamina__text name = {0};
    va_list args;
    if (d->status != LAMINA_OK) {
        return;
    }
    va_start(args, fmt);
    lamina__text_add_va(&name, fmt, args);
    va_end(args);
    d->status = name.failed ? lamina__fail_memory(d->error, "a name")
                            : lamina__h5_add(d->writer, name.data, shape, data, d->error);
    lamina__text_free(&name);
}

/* Room for a tensor in logical order; lamina__free. */
static float *room(dump *d, const lamina_shape *shape) {
    int64_t count = lamina__shape_count(shape);
    float *logical = d->status == LAMINA_OK ? lamina__calloc((size_t)count, sizeof(float)) : NULL;
    if (logical == NULL && d->status == LAMINA_OK) {
        d->status = lamina__fail_memory(d->error, "a tensor in logical order");
    }
    return logical;
}

static void add_tensor(dump *d, const lamina_tensor *tensor, const char *group, const char *layer,
                       const char *name) {
    float *logical = room(d, &tensor->shape);
    if (logical != NULL) {
        lamina__tensor_to_logical(tensor, logical);
        add(d, &tensor->shape, logical, "/%s/%s/%s", group, layer, name);
    }
    lamina__free(logical);
}

/* All weights out of a block that is laid out like the net's. */
static void add_weights(dump *d, float *block, const char *group) {
    for (int32_t i = 0; i < lamina__net_n_weights(d->net); i++) {
        lamina__net_weight weight = lamina__net_weight_at(d->net, i);
        lamina_tensor view;
        float *logical = room(d, &weight.weight->shape);
        if (logical == NULL) {
            return;
        }
        lamina__weight_view(&view, weight.weight, block + weight.offset);
        lamina__tensor_to_logical(&view, logical);
        add(d, &weight.weight->shape, logical, "/%s/%s/%s", group, weight.layer,
            weight.weight->name);
        lamina__free(logical);
    }
}

static void add_layers(dump *d) {
    for (int32_t i = 0; i < lamina__net_n_layers(d->net); i++) {
        const lamina__instance *layer = lamina__net_layer(d->net, i);
        if (lamina__net_eval_only(d->net, i)) {
            continue; /* a training step leaves it out */
        }
        for (int32_t k = 0; k < layer->n_out && d->status == LAMINA_OK; k++) {
            lamina_tensor out = {0}, d_out = {0};
            char name[32] = "output", d_name[32] = "d_output";
            if (k > 0) {
                snprintf(name, sizeof(name), "output_%d", (int)k);
                snprintf(d_name, sizeof(d_name), "d_output_%d", (int)k);
            }
            if (lamina__net_output(d->net, i, k, &out, &d_out) != LAMINA_OK) {
                d->status = lamina__fail(d->error, LAMINA_ERROR_INTERNAL,
                                         "%s: its output was not kept", layer->name);
            } else {
                add_tensor(d, &out, "layers", layer->name, name);
            }
            if (d_out.data != NULL) {
                add_tensor(d, &d_out, "layers", layer->name, d_name);
            }
        }
    }
}

/* Running statistics, as they are now. */
static void add_states(dump *d, const char *group) {
    for (int32_t i = 0; i < lamina__net_n_states(d->net); i++) {
        const lamina__net_state state = lamina__net_state_at(d->net, i);
        lamina_tensor view;
        lamina__tensor_view(&view, &state.state->shape, state.data);
        add_tensor(d, &view, group, state.layer, state.state->name);
    }
}

/* prefix: "", or "/steps/3". */
static void add_images(dump *d, const char *prefix, const lamina__batch *batch,
                       const lamina__source *source) {
    const lamina_shape images = {
        LAMINA_F32, 4, {batch->samples, source->channels, source->height, source->width}};
    lamina_tensor view;
    float *logical = room(d, &images);
    if (logical != NULL) {
        lamina__batch_fill(batch, 0, batch->samples);
        lamina__tensor_view(&view, &images, batch->images);
        lamina__tensor_to_logical(&view, logical);
        add(d, &images, logical, "%s/input", prefix);
    }
    lamina__free(logical);
}

static void add_target(dump *d, const char *prefix, const lamina__batch *batch,
                       const lamina__source *source) {
    lamina_shape shape = source->target;
    lamina_tensor view;
    if (shape.ndim == 0) {
        shape = (lamina_shape){LAMINA_F32, 1, {0}};
    }
    shape.dim[0] = batch->samples;
    float *numbers = room(d, &shape);
    for (int64_t i = 0; numbers != NULL && batch->labels != NULL && i < batch->samples; i++) {
        numbers[i] = (float)batch->labels[i];
    }
    if (numbers != NULL && batch->numbers != NULL) {
        lamina__tensor_view(&view, &shape, (void *)(uintptr_t)batch->numbers);
        lamina__tensor_to_logical(&view, numbers);
    }
    if (numbers != NULL) {
        add(d, &shape, numbers, batch->labels != NULL ? "%s/labels" : "%s/target", prefix);
    }
    lamina__free(numbers);
}

static void add_batch(dump *d, const char *prefix, const lamina__batch *batch,
                      const lamina__source *source) {
    add_images(d, prefix, batch, source);
    add_target(d, prefix, batch, source);
}

/* ---- The step ------------------------------------------------------------------------------ */

/* Keeps the gradient, then updates as ever. */
static void keep_and_update(void *arg, int32_t weight, int64_t begin, int64_t end,
                            const float *gradient) {
    dump *d = arg;
    memcpy(d->gradients + begin, gradient, (size_t)(end - begin) * sizeof(float));
    lamina__optimizer_update(d->optimizer, weight, begin, end, gradient);
}

/* The next batch; after the last one of an epoch, the next epoch's first. NULL: there is none. */
static const lamina__batch *next_batch(lamina__loader *loader, int64_t *epoch) {
    const lamina__batch *batch = lamina__loader_next(loader);
    if (batch == NULL) {
        lamina__loader_start(loader, ++*epoch, 0);
        batch = lamina__loader_next(loader);
    }
    return batch;
}

/* A number by itself. */
static void add_number(dump *d, const char *prefix, const char *name, double value) {
    const lamina_shape one = {LAMINA_F32, 1, {1}};
    const float number = (float)value;
    add(d, &one, &number, "%s/%s", prefix, name);
}

/* Of several losses the mean of each. */
static void add_losses(dump *d, const lamina__result *result) {
    const int32_t n = lamina__net_n_losses(d->net);
    for (int32_t i = 0; n > 1 && i < n; i++) {
        const int32_t layer = lamina__net_loss_at(d->net, i).layer;
        add_number(d, "/losses", lamina__net_layer(d->net, layer)->name,
                   lamina__result_loss_of(result, i));
    }
}

/* Step k of the dump, from 0: the first is opened up; `many`: each is written under /steps. */
static void run_step(dump *d, const lamina__experiment *experiment, const lamina__source *source,
                     const lamina__progress *progress, const lamina__batch *batch, int64_t k,
                     bool many) {
    lamina__result result = {0};
    const int64_t step = progress->step + k;
    const double rate =
        lamina__optimizer_learning_rate(&experiment->optimizer) *
        lamina__schedule_factor(&experiment->schedule, step, progress->epoch + batch->epoch);
    lamina__optimizer_begin(d->optimizer, step, rate);
    d->status = lamina__net_train_step(d->net, batch, step, keep_and_update, d, &result, d->error);
    if (d->status != LAMINA_OK) {
        return;
    }
    const double loss = lamina__result_loss(d->net, &result);
    if (k == 0) {
        add_batch(d, "", batch, source);
        add_number(d, "", "loss", loss);
        add_losses(d, &result);
        add_layers(d);
        add_weights(d, d->gradients, "gradients");
        add_weights(d, lamina__net_weight_block(d->net), "updated");
        add_states(d, "updated_state");
    }
    if (many) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "/steps/%" PRId64, k + 1);
        add_batch(d, prefix, batch, source);
        add_number(d, prefix, "learning_rate", rate);
        add_number(d, prefix, "loss", loss);
    }
}

static void run_steps(dump *d, const lamina__experiment *experiment, const lamina__source *source,
                      const lamina__progress *progress, lamina__loader *loader, int64_t steps) {
    int64_t epoch = 0;
    d->gradients = lamina__calloc((size_t)lamina__net_weight_floats(d->net) + 1, sizeof(float));
    if (d->gradients == NULL) {
        d->status = lamina__fail_memory(d->error, "a copy of the gradients");
        return;
    }
    add_weights(d, lamina__net_weight_block(d->net), "weights");
    add_states(d, "state");
    lamina__loader_start(loader, epoch, 0);
    for (int64_t k = 0; k < steps && d->status == LAMINA_OK; k++) {
        const lamina__batch *batch = next_batch(loader, &epoch);
        if (batch == NULL) {
            d->status =
                lamina__fail(d->error, LAMINA_ERROR_DATA, "%s: has no batch", source->description);
            return;
        }
        run_step(d, experiment, source, progress, batch, k, steps > 1);
    }
}

/* The optimizer, and the checkpoint's weights and slots in it and the net. */
static lamina_status fill(dump *d, const lamina__experiment *experiment, const char *path,
                          lamina__progress *progress) {
    lamina__checkpoint_file *file = NULL;
    lamina__checkpoint checkpoint = {0};
    lamina__slot slots[8];
    lamina_status status =
        lamina__optimizer_create(&experiment->optimizer, d->net, &d->optimizer, d->error);
    if (status != LAMINA_OK || path == NULL) {
        return status;
    }
    status = lamina__checkpoint_open(path, &file, &checkpoint, d->error);
    size_t n = lamina__optimizer_n_slots(d->optimizer);
    for (size_t i = 0; i < n; i++) {
        slots[i] = (lamina__slot){lamina__optimizer_slot_name(d->optimizer, i),
                                  lamina__optimizer_slot_data(d->optimizer, i)};
    }
    if (status == LAMINA_OK) {
        /* A file of weights only has no slots: they start at 0. */
        size_t wanted = checkpoint.optimizer != NULL ? n : 0;
        status = lamina__checkpoint_load(file, d->net, slots, wanted, d->error);
        *progress = checkpoint.progress;
    }
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&checkpoint);
    return status;
}

static int make_dump(const lamina__experiment *experiment, const lamina__common *common,
                     const char *checkpoint, const char *output, int64_t steps) {
    lamina__prepared prepared = {0};
    lamina__diags diags = {0};
    lamina_error error = {0};
    lamina__loader *loader = NULL;
    lamina__progress progress = {0};
    dump d = {.error = &error};
    char *cache = lamina__plan_cache_folder();
    const lamina__prepare_options options = {
        .threads = (int)common->threads,
        .kernels = common->kernels,
        .training = true,
        .keep_all = true,
        .cache = cache,
    };
    d.status = lamina__experiment_prepare(experiment, &options, &prepared, &diags, &error);
    if (d.status != LAMINA_OK) {
        goto done;
    }
    d.net = prepared.net;
    const lamina__loader_options loading = {
        .batch = experiment->train.batch,
        .seed = (uint64_t)experiment->seed,
        .shuffle = 1,
        .normalize = &experiment->normalize,
    };
    d.status = fill(&d, experiment, checkpoint, &progress);
    if (d.status == LAMINA_OK) {
        d.status = lamina__loader_open(prepared.source[0], &loading, &loader, &error);
    }
    if (d.status == LAMINA_OK) {
        d.status = lamina__h5_create(&d.writer, &error);
    }
    if (d.status == LAMINA_OK) {
        d.status = lamina__h5_add_text(d.writer, "/config/resolved", experiment->resolved, &error);
    }
    if (d.status == LAMINA_OK) {
        run_steps(&d, experiment, prepared.source[0], &progress, loader, steps);
    }
    if (d.status == LAMINA_OK) {
        d.status = lamina__h5_write(d.writer, output, &error);
    }

done:;
    int result = lamina__report(experiment->path, &diags, d.status, &error);
    lamina__h5_free(d.writer);
    lamina__loader_close(loader);
    lamina__optimizer_free(d.optimizer);
    lamina__free(d.gradients);
    lamina__prepared_free(&prepared);
    lamina__diags_free(&diags);
    lamina__free(cache);
    return result;
}

/* ---- The command --------------------------------------------------------------------------- */

/* The key of the data file that `output` is, "data.train.images"; false: of none. */
static bool is_data_file(const lamina__experiment *experiment, const char *output, char *key,
                         size_t size) {
    static const char *const names[] = {"train", "test"};
    for (int split = 0; split < 2; split++) {
        const lamina__source_spec *spec = &experiment->data[split];
        for (size_t i = 0; spec->reader != NULL && i < spec->reader->n_params; i++) {
            const lamina_param *param = &spec->reader->params[i];
            const char *const *file = (const void *)((const char *)spec->config + param->offset);
            if (param->type == LAMINA_STRING && *file != NULL && lamina__same_file(output, *file)) {
                snprintf(key, size, "data.%s.%s", names[split], param->name);
                return true;
            }
        }
    }
    return false;
}

/* Does the file hold anything else than HDF5? (An empty one, as mktemp makes it, holds nothing.
 * What is no regular file is refused when it comes to writing.) */
static bool holds_other(const char *path, const char **what) {
    static const unsigned char magic[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char begin[sizeof(magic)];
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) {
        return false;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, begin, sizeof(begin)) : -1;
    *what = n < 0 ? strerror(errno) : "it is no HDF5 file";
    if (fd >= 0) {
        close(fd);
    }
    return n != (ssize_t)sizeof(magic) || memcmp(begin, magic, sizeof(magic)) != 0;
}

/* -1: `output` may be written. Before anything is computed. */
static int check_output(const lamina__experiment *experiment, const char *checkpoint,
                        const char *output) {
    const char *reason = NULL;
    char key[128];
    if (lamina__same_file(output, experiment->path)) {
        return lamina__usage("dump: -o %s is the config itself; give another file", output);
    }
    if (checkpoint != NULL && lamina__same_file(output, checkpoint)) {
        return lamina__usage("dump: -o %s is the checkpoint itself; give another file", output);
    }
    if (is_data_file(experiment, output, key, sizeof(key))) {
        return lamina__usage("dump: -o %s is the config's %s; give another file", output, key);
    }
    if (holds_other(output, &reason)) {
        return lamina__usage("dump: -o %s is there already and is not replaced: %s", output,
                             reason);
    }
    return -1;
}

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__common common = {0};
    const char *output = NULL, *checkpoint = NULL;
    int64_t steps = 1;
    const lamina__option table[] = {
        {"-o", "FILE", LAMINA__OPTION_TEXT, &output, "the HDF5 file to write"},
        {"--checkpoint", "FILE", LAMINA__OPTION_TEXT, &checkpoint,
         "take weights and optimizer from there; default: fresh ones"},
        {"--steps", "N", LAMINA__OPTION_COUNT, &steps,
         "go on for N steps: batch, learning rate and loss of each"},
        LAMINA__OPTION_SET(common),
        LAMINA__OPTION_PLUGIN(common),
        LAMINA__OPTION_THREADS(common),
        LAMINA__OPTION_KERNELS(common),
    };
    lamina__words arguments = {0};
    lamina__experiment *experiment = NULL;
    int result = lamina__options_parse(command, table, sizeof(table) / sizeof(table[0]), argc, argv,
                                       &arguments);
    if (result >= 0) {
        goto done;
    }
    if (output == NULL) {
        result = lamina__usage("dump: needs a file to write: -o FILE.h5");
        goto done;
    }
    lamina__log_to_stderr(false);
    result = lamina__read_config(arguments.items[0], &common, &experiment);
    if (result < 0) {
        result = check_output(experiment, checkpoint, output);
    }
    if (result < 0) {
        result = make_dump(experiment, &common, checkpoint, output, steps);
    }

done:
    lamina__experiment_free(experiment);
    lamina__common_free(&common);
    lamina__free(arguments.items);
    return result;
}

const lamina__command lamina__dump_command = {
    .name = "dump",
    .arguments = "CONFIG",
    .summary = "one training step, opened up: every tensor into an HDF5 file",
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
