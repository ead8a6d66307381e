/* Reading an experiment: the YAML file, --set over it, plugins, then every section through its
 * table. A section that is wrong does not stop the others from being read, so that all errors are
 * told at once. The resolved config is written from the values that were read, so it says what is
 * meant. */
#include "train/experiment.h"

#include "base/alloc.h"
#include "layers/builtin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tables -------------------------------------------------------------------------------- */

static const lamina_param top_params[] = {
    {.name = "seed",
     .doc = "Where all random numbers come from: the same seed gives the same run.",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__experiment, seed),
     .def = "1",
     .min = 0,
     .max = 9007199254740991.0}, /* 2^53 - 1 */
};

static const char *const recompute_words[] = {"none", NULL};

static const lamina_param train_params[] = {
    {.name = "epochs",
     .doc = "Passes over the training split.",
     .type = LAMINA_INT,
     .required = 1,
     .offset = offsetof(lamina__train_config, epochs),
     .min = 1,
     .max = 1e9},
    {.name = "batch",
     .doc = "Samples in one step.",
     .unit = "samples",
     .type = LAMINA_INT,
     .required = 1,
     .offset = offsetof(lamina__train_config, batch),
     .min = 1,
     .max = 1 << 24},
    {.name = "log_every",
     .doc = "Steps between two \"step\" lines in metrics.jsonl; 0: none.",
     .unit = "steps",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__train_config, log_every),
     .def = "100",
     .min = 0,
     .max = 1e12},
    {.name = "recompute",
     .doc =
         "Saves memory: some activations are not kept but made again for the backward pass, for at "
         "most this share of a step's multiply-adds; 0: where that takes none.",
     .type = LAMINA_REAL_LIST,
     .offset = offsetof(lamina__train_config, recompute),
     .def = "none",
     .min = 0,
     .max = 1,
     .choices = recompute_words,
     .max_count = 1},
    {.name = "max_steps",
     .doc = "End after so many steps in all, with a checkpoint; 0: no limit.",
     .unit = "steps",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__train_config, max_steps),
     .def = "0",
     .min = 0,
     .max = 1e15},
};

static const lamina_param checkpoint_params[] = {
    {.name = "every_epochs",
     .doc = "Epochs between two checkpoints; 0: none but at the end and on a signal.",
     .unit = "epochs",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__checkpoint_config, every_epochs),
     .def = "1",
     .min = 0,
     .max = 1e9},
    {.name = "every_steps",
     .doc = "Steps between two writes of last.h5, beside those by epochs; 0: none.",
     .unit = "steps",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__checkpoint_config, every_steps),
     .def = "0",
     .min = 0,
     .max = 1e15},
    {.name = "keep",
     .doc = "How many of the files epoch-0001.h5, ... are kept beside last.h5 and best.h5.",
     .type = LAMINA_INT,
     .offset = offsetof(lamina__checkpoint_config, keep),
     .def = "3",
     .min = 0,
     .max = 1e6},
};

lamina__section lamina__section_at(size_t i) {
    switch (i) {
    case 0:
        return (lamina__section){"", "The top level.", LAMINA__TABLE(top_params)};
    case 1:
        return (lamina__section){
            "data.normalize",
            "x -> (x / 255 - mean) / std, by channel.",
            {lamina__normalize_params, lamina__normalize_n_params, sizeof(lamina_param)}};
    case 2:
        return (lamina__section){"train",
                                 "How to train; beside these keys, optimizer and schedule.",
                                 LAMINA__TABLE(train_params)};
    default:
        return (lamina__section){"checkpoint", "When checkpoints are written, and which are kept.",
                                 LAMINA__TABLE(checkpoint_params)};
    }
}

/* ---- Sections ------------------------------------------------------------------------------ */

/* The path of `file` seen from the folder of `base`; lamina__free. */
static char *path_beside(const char *base, const char *file) {
    const char *slash = strrchr(base, '/');
    lamina__text path = {0};
    if (file[0] != '/' && slash != NULL) {
        lamina__text_add_bytes(&path, base, (size_t)(slash - base) + 1);
    } else if (file[0] != '/') {
        lamina__text_add(&path,
                         "./"); /* a bare name would be searched for in the system's folders */
    }
    lamina__text_add(&path, "%s", file);
    if (path.failed) {
        lamina__text_free(&path);
    }
    return path.data;
}

/* Loads one plugin and remembers its absolute path for the resolved config. `file` is relative to
 * the folder of `base`. */
static lamina_status load_plugin(lamina__experiment *experiment, const char *base, const char *file,
                                 const lamina__node *at, lamina__diags *diags) {
    lamina_error error = {0};
    lamina_status status = LAMINA_ERROR_MEMORY;
    char *absolute = NULL;
    char *path = path_beside(base, file);
    void *plugins = experiment->plugins;
    if (path == NULL || lamina__grow(&plugins, &experiment->plugins_capacity,
                                     experiment->n_plugins + 1, sizeof(char *)) != 0) {
        goto done;
    }
    experiment->plugins = plugins;
    absolute = realpath(path, NULL);
    status = lamina__registry_load(experiment->registry, absolute ? absolute : path, &error);
    if (status != LAMINA_OK) {
        if (status != LAMINA_ERROR_MEMORY) {
            status = lamina__diag(diags, at, "%s%s", at ? "" : "--plugin: ", error.message);
        }
        goto done;
    }
    experiment->plugins[experiment->n_plugins] = lamina__strdup(absolute ? absolute : path);
    if (experiment->plugins[experiment->n_plugins] == NULL) {
        status = LAMINA_ERROR_MEMORY;
        goto done;
    }
    experiment->n_plugins++;

done:
    lamina__free(path);
    free(absolute);
    return status;
}

/* Keeps the worse of two: memory before anything else. */
static lamina_status worse(lamina_status a, lamina_status b) {
    return a == LAMINA_ERROR_MEMORY || b == LAMINA_OK ? a : b;
}

static lamina_status read_plugins(lamina__experiment *experiment,
                                  const lamina__experiment_options *options, lamina__diags *diags) {
    lamina_status status = LAMINA_OK;
    lamina_error error = {0};
    const lamina__node *list = lamina__node_get(experiment->doc->root, "plugins");
    if (lamina__registry_create(lamina__builtin_layers, &experiment->registry, &error) !=
        LAMINA_OK) {
        lamina__diag(diags, NULL, "%s", error.message);
        return error.code == LAMINA_ERROR_MEMORY ? LAMINA_ERROR_MEMORY : LAMINA_ERROR_INTERNAL;
    }
    if (list != NULL && list->kind != LAMINA__NODE_LIST && !lamina__node_is_null(list)) {
        status = lamina__diag(diags, list, "plugins: must be a list of files, such as [mish.so]");
    } else if (list != NULL && list->kind == LAMINA__NODE_LIST) {
        for (size_t i = 0; i < list->count; i++) {
            const lamina__node *item = list->items[i];
            if (item->kind != LAMINA__NODE_SCALAR || lamina__node_is_null(item) ||
                item->text[0] == '\0') {
                status = worse(status, lamina__diag(diags, item, "plugins: must be a file's path"));
            } else if (!options->ignore_plugins) {
                status = worse(status,
                               load_plugin(experiment, experiment->path, item->text, item, diags));
            }
        }
    }
    for (size_t i = 0; i < options->n_plugins; i++) {
        status = worse(status, load_plugin(experiment, "", options->plugins[i], NULL, diags));
    }
    return status;
}

/* A required section that is not there, or no map: reported. */
static const lamina__node *section(const lamina__node *map, const char *key, const char *example,
                                   lamina__diags *diags) {
    const lamina__node *node = lamina__node_get(map, key);
    if (node == NULL || lamina__node_is_null(node)) {
        lamina__diag(diags, node ? node : map, "the config needs \"%s\", such as %s", key, example);
        return NULL;
    }
    return node;
}

/* How many values there must be is known when the data is open. */
static lamina_status read_normalize(lamina__experiment *experiment, const lamina__node *data,
                                    lamina__diags *diags) {
    lamina__table table = {lamina__normalize_params, lamina__normalize_n_params,
                           sizeof(lamina_param)};
    const lamina__node *normalize = lamina__node_get(data, "normalize");
    return lamina__params_read(table, normalize, &experiment->normalize, NULL, "data.normalize",
                               data, diags);
}

static lamina_status read_data(lamina__experiment *experiment, lamina__diags *diags) {
    static const char *const keys[] = {"train", "test", "normalize", NULL};
    lamina_status status;
    const lamina__node *root = experiment->doc->root;
    const lamina__node *data =
        section(root, "data", "\"data: {train: {type: idx, images: ..., labels: ...}}\"", diags);
    if (data == NULL) {
        return LAMINA_ERROR_CONFIG;
    }
    int32_t nothing = 0;
    status = lamina__params_read((lamina__table){NULL, 0, sizeof(lamina_param)}, data, &nothing,
                                 keys, "data", data, diags);
    if (data->kind != LAMINA__NODE_MAP) {
        return status;
    }
    const lamina__node *train = lamina__node_get(data, "train"),
                       *test = lamina__node_get(data, "test");
    if (train == NULL || lamina__node_is_null(train)) {
        status = worse(status, lamina__diag(diags, train ? train : data,
                                            "data: needs \"train\", the images to train on"));
    } else {
        status =
            worse(status, lamina__source_read_spec(train, "train", &experiment->data[0], diags));
    }
    if (test != NULL && !lamina__node_is_null(test)) {
        status = worse(status, lamina__source_read_spec(test, "test", &experiment->data[1], diags));
    }
    return worse(status, read_normalize(experiment, data, diags));
}

static lamina_status read_train(lamina__experiment *experiment, lamina__diags *diags) {
    static const char *const also[] = {"optimizer", "schedule", NULL};
    const lamina__node *train =
        section(experiment->doc->root, "train",
                "\"train: {epochs: 10, batch: 64, optimizer: {...}}\"", diags);
    if (train == NULL) {
        return LAMINA_ERROR_CONFIG;
    }
    lamina_status status = lamina__params_read(LAMINA__TABLE(train_params), train,
                                               &experiment->train, also, "train", train, diags);
    if (train->kind != LAMINA__NODE_MAP) {
        return status;
    }
    const lamina__node *optimizer = lamina__node_get(train, "optimizer");
    if (optimizer == NULL) {
        status = worse(status, lamina__diag(diags, train,
                                            "train: missing key \"optimizer\", such as "
                                            "\"optimizer: {type: sgd, learning_rate: 0.01}\""));
    } else {
        status = worse(status, lamina__optimizer_read(optimizer, &experiment->optimizer, diags));
    }
    return worse(status, lamina__schedule_read(lamina__node_get(train, "schedule"),
                                               &experiment->schedule, diags));
}

static lamina_status read_sections(lamina__experiment *experiment,
                                   const lamina__experiment_options *options,
                                   lamina__diags *diags) {
    static const char *const keys[] = {"plugins", "data", "network", "train", "checkpoint", NULL};
    const lamina__node *root = experiment->doc->root;
    if (root == NULL || root->kind != LAMINA__NODE_MAP) {
        return root == NULL ? lamina__diag(diags, NULL, "%s: the config is empty", experiment->path)
                            : lamina__diag(diags, root,
                                           "a config is a map with the keys seed, plugins, data, "
                                           "network, train and checkpoint");
    }
    lamina_status status = lamina__params_read(LAMINA__TABLE(top_params), root, experiment, keys,
                                               "the config", root, diags);
    status = worse(status, read_plugins(experiment, options, diags));
    status = worse(status, read_data(experiment, diags));
    const lamina__node *network =
        section(root, "network", "\"network: [conv: {filters: 20, kernel: 5}, ...]\"", diags);
    if (network == NULL) {
        status = worse(status, LAMINA_ERROR_CONFIG);
    } else if (experiment->registry != NULL) {
        status = worse(status, lamina__network_read(network, experiment->registry,
                                                    &experiment->network, diags));
    }
    status = worse(status, read_train(experiment, diags));
    const lamina__node *checkpoint = lamina__node_get(root, "checkpoint");
    return worse(status, lamina__params_read(LAMINA__TABLE(checkpoint_params), checkpoint,
                                             &experiment->checkpoint, NULL, "checkpoint",
                                             checkpoint, diags));
}

/* ---- The resolved config ------------------------------------------------------------------- */

static void write_block(const char *indent, lamina__table table, const void *values,
                        lamina__text *text) {
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        lamina__text_add(text, "%s%s: ", indent, param->name);
        lamina__param_value_text(param, values, text);
        lamina__text_add(text, "\n");
    }
}

static void write_data(const lamina__experiment *experiment, lamina__text *text) {
    static const char *const names[] = {"train", "test"};
    lamina__table table = {lamina__normalize_params, lamina__normalize_n_params,
                           sizeof(lamina_param)};
    lamina__text_add(text, "\ndata:\n");
    for (int split = 0; split < 2; split++) {
        if (experiment->data[split].reader != NULL) {
            lamina__text_add(text, "  %s: ", names[split]);
            lamina__source_spec_write(&experiment->data[split], text);
            lamina__text_add(text, "\n");
        }
    }
    lamina__text_add(text, "  normalize: {");
    lamina__params_write(table, &experiment->normalize, text);
    lamina__text_add(text, "}\n");
}

static char *resolve(const lamina__experiment *experiment) {
    lamina__text text = {0};
    write_block("", LAMINA__TABLE(top_params), experiment, &text);
    if (experiment->n_plugins > 0) {
        lamina__text_add(&text, "plugins:\n");
        for (size_t i = 0; i < experiment->n_plugins; i++) {
            lamina__text_add(&text, "  - ");
            lamina__yaml_add_scalar(&text, experiment->plugins[i]);
            lamina__text_add(&text, "\n");
        }
    }
    write_data(experiment, &text);
    lamina__text_add(&text, "\nnetwork:\n");
    lamina__network_write(&experiment->network, &text);
    lamina__text_add(&text, "\ntrain:\n");
    write_block("  ", LAMINA__TABLE(train_params), &experiment->train, &text);
    lamina__text_add(&text, "  optimizer: ");
    lamina__optimizer_config_write(&experiment->optimizer, &text);
    lamina__text_add(&text, "\n  schedule: ");
    lamina__schedule_config_write(&experiment->schedule, &text);
    lamina__text_add(&text, "\n\ncheckpoint: {");
    lamina__params_write(LAMINA__TABLE(checkpoint_params), &experiment->checkpoint, &text);
    lamina__text_add(&text, "}\n");
    if (text.failed) {
        lamina__text_free(&text);
    }
    return text.data;
}

/* ---- The whole ------------------------------------------------------------------------------ */

static lamina_status load_doc(lamina__experiment *experiment, const char *path,
                              const lamina__experiment_options *options, lamina__diags *diags) {
    lamina_status status =
        options->text != NULL
            ? lamina__doc_parse(options->text, strlen(options->text), path, diags, &experiment->doc)
            : lamina__doc_load(path, diags, &experiment->doc);
    if (status != LAMINA_OK) {
        return status;
    }
    experiment->path = lamina__strdup(path);
    experiment->source = lamina__strndup(experiment->doc->source ? experiment->doc->source : "",
                                         experiment->doc->source_length);
    if (experiment->path == NULL || experiment->source == NULL) {
        return LAMINA_ERROR_MEMORY;
    }
    for (size_t i = 0; i < options->n_set; i++) {
        status = worse(status, lamina__doc_set(experiment->doc, options->set[i], diags));
    }
    return status;
}

lamina_status lamina__experiment_read(const char *path, const lamina__experiment_options *options,
                                      lamina__experiment **result, lamina__diags *diags) {
    static const lamina__experiment_options none = {0};
    lamina__experiment *experiment = lamina__calloc(1, sizeof(*experiment));
    *result = NULL;
    if (experiment == NULL) {
        return LAMINA_ERROR_MEMORY;
    }
    options = options ? options : &none;
    lamina_status status = load_doc(experiment, path, options, diags);
    if (experiment->doc != NULL && experiment->path != NULL && status != LAMINA_ERROR_MEMORY) {
        status = worse(status, read_sections(experiment, options, diags));
    }
    if (status == LAMINA_OK && diags->count > 0) {
        status = LAMINA_ERROR_CONFIG;
    }
    if (status == LAMINA_OK) {
        experiment->resolved = resolve(experiment);
        status = experiment->resolved ? LAMINA_OK : LAMINA_ERROR_MEMORY;
    }
    if (status != LAMINA_OK) {
        lamina__experiment_free(experiment);
        return status;
    }
    *result = experiment;
    return LAMINA_OK;
}

void lamina__experiment_free(lamina__experiment *experiment) {
    if (experiment == NULL) {
        return;
    }
    lamina__schedule_config_free(&experiment->schedule);
    lamina__optimizer_config_free(&experiment->optimizer);
    lamina__network_free(&experiment->network);
    lamina__source_spec_free(&experiment->data[0]);
    lamina__source_spec_free(&experiment->data[1]);
    for (size_t i = 0; i < experiment->n_plugins; i++) {
        lamina__free(experiment->plugins[i]);
    }
    lamina__free(experiment->plugins);
    lamina__registry_free(experiment->registry);
    lamina__doc_free(experiment->doc);
    lamina__free(experiment->path);
    lamina__free(experiment->source);
    lamina__free(experiment->resolved);
    lamina__free(experiment);
}
