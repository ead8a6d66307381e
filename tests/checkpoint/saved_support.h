/* What the tests of checkpoints share: a small net with everything a checkpoint can hold (weights
 * in an order of their own and with padding, running state, optimizer slots), filled with known
 * numbers; and a process of its own for what may crash. */
#ifndef LAMINA_TESTS_SAVED_SUPPORT_H
#define LAMINA_TESTS_SAVED_SUPPORT_H

#include "base/alloc.h"
#include "checkpoint/stored.h"
#include "layers/builtin.h"
#include "tests/support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- A layer with padded weights and state ------------------------------------------------- */

enum { KEEPER_ROWS = 3, KEEPER_COLUMNS = 5, KEEPER_STRIDE = 8 };

/* y = x; it has a 3x5 weight stored with rows of 8 floats, and two states. */
static inline int32_t keeper_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_weight weight = {
        .struct_size = sizeof(weight),
        .name = "scale",
        .shape = {LAMINA_F32, 2, {KEEPER_ROWS, KEEPER_COLUMNS}},
        .init = {.kind = LAMINA_INIT_NORMAL, .value = 1},
        .order_ndim = 2,
        .order_dim = {KEEPER_ROWS, KEEPER_COLUMNS},
        .order_stride = {KEEPER_STRIDE, 1},
        .elements = KEEPER_ROWS * KEEPER_STRIDE,
    };
    const lamina_shape mean = {LAMINA_F32, 1, {4}}, table = {LAMINA_F32, 4, {2, 3, 2, 2}};
    (void)self;
    int32_t status = call->host->add_weight(call, &weight);
    if (status >= 0) {
        status = call->host->add_state(call, "mean", &mean, 0);
    }
    if (status >= 0) {
        status = call->host->add_state(call, "table", &table, 1);
    }
    return status < 0 ? status : call->host->set_output(call, 0, setup->in[0]);
}

static inline int32_t keeper_copy(const lamina_tensor *from, const lamina_tensor *to) {
    int64_t count = lamina__shape_count(&from->shape);
    memcpy(to->data, from->data, (size_t)count * sizeof(float));
    return LAMINA_OK;
}

static inline int32_t keeper_forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return keeper_copy(io->in[0], io->out[0]);
}

static inline int32_t keeper_backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return io->d_in[0] != NULL ? keeper_copy(io->d_out[0], io->d_in[0]) : LAMINA_OK;
}

/* Version 2 stored negative means; this one stores them as they are. */
static inline int32_t keeper_migrate(const void *self, lamina_call *call, const lamina_io *io,
                                     uint32_t from_version) {
    (void)self;
    if (from_version < 2) {
        return call->host->fail(call, LAMINA_ERROR_CHECKPOINT, "version %u is too old",
                                from_version);
    }
    float *mean = io->state[0]->data;
    for (int i = 0; i < 4; i++) {
        mean[i] = -mean[i];
    }
    return LAMINA_OK;
}

static inline lamina_layer_type keeper_type(uint32_t state_version, bool migrates) {
    return (lamina_layer_type){
        .struct_size = sizeof(lamina_layer_type),
        .name = "test_keeper",
        .doc = "keeps things",
        .flags = LAMINA_COUPLES_BATCH, /* it has state */
        .state_version = state_version,
        .min_in = 1,
        .max_in = 1,
        .n_out = 1,
        .param_stride = sizeof(lamina_param),
        .setup = keeper_setup,
        .forward = keeper_forward,
        .backward = keeper_backward,
        .migrate = migrates ? keeper_migrate : NULL,
    };
}

/* ---- A net and what goes with it ----------------------------------------------------------- */

typedef struct saved_net {
    lamina_layer_type keeper;
    lamina__registry *registry;
    lamina__doc *doc;
    lamina__network network;
    lamina__diags diags;
    lamina__net *net;
    float *slot_data[2];
    lamina__slot slots[2];
} saved_net;

static const char *const saved_layers = "- conv: {name: conv1, filters: 4, kernel: 3}\n"
                                        "- max_pool: {name: pool1, kernel: 2}\n"
                                        "- test_keeper: {name: keeper}\n"
                                        "- relu: {name: relu1}\n"
                                        "- linear: {name: fc1, units: 5}\n"
                                        "- softmax_loss: {name: loss}\n";

static inline void saved_net_free(saved_net *n) {
    lamina__net_free(n->net);
    lamina__network_free(&n->network);
    lamina__doc_free(n->doc);
    lamina__registry_free(n->registry);
    lamina__diags_free(&n->diags);
    lamina__free(n->slot_data[0]);
    lamina__free(n->slot_data[1]);
    free(n);
}

/* Builds on one thread, so that a forked child may use the net. Two slots, zeroed. */
static inline saved_net *saved_net_make(const char *layers, lamina_layer_type keeper) {
    saved_net *n = calloc(1, sizeof(*n));
    const lamina_layer_type *types[64] = {0};
    const lamina__net_options options = {.channels = 2,
                                         .height = 8,
                                         .width = 8,
                                         .batch = 4,
                                         .classes = 5,
                                         .threads = 1,
                                         .training = true,
                                         .kernels = "reference",
                                         .seed = 7};
    size_t count = 0;
    n->keeper = keeper;
    types[count++] = &n->keeper;
    for (size_t i = 0; lamina__builtin_layers[i] != NULL && count < 63; i++) {
        types[count++] = lamina__builtin_layers[i];
    }
    if (lamina__registry_create(types, &n->registry, NULL) != LAMINA_OK ||
        lamina__doc_parse(layers, strlen(layers), "net.yaml", &n->diags, &n->doc) != LAMINA_OK ||
        lamina__network_read(n->doc->root, n->registry, &n->network, &n->diags) != LAMINA_OK ||
        lamina__net_build(&n->network, &options, &n->net, &n->diags) != LAMINA_OK) {
        fprintf(stderr, "no net: %s\n", n->diags.kept > 0 ? n->diags.text[0] : "");
        exit(EXIT_FAILURE);
    }
    size_t floats = (size_t)lamina__net_weight_floats(n->net);
    static const char *const names[2] = {"momentum", "second"};
    for (size_t i = 0; i < 2; i++) {
        n->slot_data[i] = lamina__calloc(floats, sizeof(float));
        n->slots[i] = (lamina__slot){names[i], n->slot_data[i]};
    }
    return n;
}

/* Fills the logical elements with (start + index) / 8: exact, and different everywhere. */
static inline void fill_tensor(const lamina_tensor *view, const lamina_shape *shape, float start) {
    size_t count = (size_t)lamina__shape_count(shape);
    float *values = malloc(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        values[i] = (start + (float)i) / 8;
    }
    lamina__tensor_from_logical(view, values);
    free(values);
}

static inline void saved_net_fill(saved_net *n, float start) {
    lamina_tensor view;
    for (int32_t i = 0; i < lamina__net_n_weights(n->net); i++) {
        lamina__net_weight w = lamina__net_weight_at(n->net, i);
        lamina__weight_view(&view, w.weight, w.data);
        fill_tensor(&view, &w.weight->shape, start + (float)(1000 * i));
        for (int s = 0; s < 2; s++) {
            lamina__weight_view(&view, w.weight, n->slot_data[s] + w.offset);
            fill_tensor(&view, &w.weight->shape, start + (float)(1000 * i + 100000 * (s + 1)));
        }
    }
    for (int32_t i = 0; i < lamina__net_n_states(n->net); i++) {
        lamina__net_state s = lamina__net_state_at(n->net, i);
        lamina__tensor_view(&view, &s.state->shape, s.data);
        fill_tensor(&view, &s.state->shape, start + (float)(50000 + 100 * i));
    }
}

/* Weights, padding, state and slots, bit by bit. */
static inline bool saved_net_equal(const saved_net *a, const saved_net *b) {
    size_t bytes = (size_t)lamina__net_weight_floats(a->net) * sizeof(float);
    bool equal =
        memcmp(lamina__net_weight_block(a->net), lamina__net_weight_block(b->net), bytes) == 0;
    for (int s = 0; s < 2; s++) {
        equal = equal && memcmp(a->slot_data[s], b->slot_data[s], bytes) == 0;
    }
    for (int32_t i = 0; i < lamina__net_n_states(a->net); i++) {
        lamina__net_state x = lamina__net_state_at(a->net, i), y = lamina__net_state_at(b->net, i);
        size_t count = (size_t)lamina__shape_count(&x.state->shape);
        equal = equal && memcmp(x.data, y.data, count * sizeof(float)) == 0;
    }
    return equal;
}

static inline lamina__metrics_row saved_row(const double v[7]) {
    return (lamina__metrics_row){.epoch = (int64_t)v[0],
                                 .step = (int64_t)v[1],
                                 .loss = v[2],
                                 .accuracy = v[3],
                                 .learning_rate = v[4],
                                 .seconds = v[5],
                                 .images_per_second = v[6]};
}

/* What training would hand over. */
static inline lamina__checkpoint saved_checkpoint(void) {
    static lamina__metrics_row train[3], test[1];
    const double train_rows[3][7] = {{1, 10, 2.5, 0.25, 0.01, 1.5, 100},
                                     {2, 20, 1.5, 0.50, 0.01, 1.25, 120},
                                     {3, 30, 0.5, 0.75, 0.005, 1.125, 110}};
    const double test_row[7] = {3, 30, 0.625, 0.7, 0.005, 0.5, 200};
    for (int i = 0; i < 3; i++) {
        train[i] = saved_row(train_rows[i]);
    }
    test[0] = saved_row(test_row);
    test[0].metrics[0] = 0.9;
    test[0].metrics[1] = 0.125;
    return (lamina__checkpoint){
        .config_source = (char *)(uintptr_t) "seed: 1\nnetwork: []\n",
        .config_resolved = (char *)(uintptr_t) "seed: 1 # resolved\n",
        .config_origin = (char *)(uintptr_t) "configs/small.yaml",
        .optimizer = (char *)(uintptr_t) "sgd",
        .progress = {.epoch = 3,
                     .step = 31,
                     .position = 4,
                     .seed = UINT64_MAX,
                     .loss_sum = 0.1,
                     .correct = 2,
                     .seen = 4,
                     .labelled = 3,
                     .best_accuracy = 0.7,
                     .best_loss = 0.25,
                     .best_epoch = 3,
                     .seconds = 3.875,
                     .n_losses = 2,
                     .losses = {0.0625, 0.0375},
                     .loss_weights = {4, 2.5}},
        .data = {{(char *)(uintptr_t) "data/train", 40, 0xfedcba9876543210u},
                 {(char *)(uintptr_t) "data/test", 10, 17}},
        .metrics = {{.rows = train, .count = 3, .capacity = 3},
                    {.rows = test,
                     .count = 1,
                     .capacity = 1,
                     .names = {(char *)(uintptr_t) "top5", (char *)(uintptr_t) "mae"},
                     .n_names = 2}},
    };
}

/* Saves n with both slots; the path is valid until exit. */
static inline char *saved_file(const char *folder, const char *name, const saved_net *n) {
    lamina_error error = {0};
    lamina__checkpoint c = saved_checkpoint();
    char *path = test_path(folder, name);
    if (lamina__checkpoint_save(path, &c, n->net, n->slots, 2, &error) != LAMINA_OK) {
        fprintf(stderr, "cannot save: %s\n", error.message);
        exit(EXIT_FAILURE);
    }
    return path;
}

/* ---- Files and processes ------------------------------------------------------------------- */

static inline int entries_in(const char *folder) {
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    int n = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return n;
}

/* What a child that reads a file found: it is sound; it was refused with a message; or without one.
 * Sanitizers exit with small numbers of their own. */
enum { CHILD_SOUND = 40, CHILD_REFUSED = 41, CHILD_SILENT = 42 };

/* Runs work(path) in a child: what it returned, or -signal. */
static inline int in_child(int (*work)(const char *path), const char *path) {
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(work(path));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        test_stop("fork");
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static inline int verify_work(const char *path) {
    lamina_error error = {0};
    if (lamina__checkpoint_verify(path, &error) == LAMINA_OK) {
        return CHILD_SOUND;
    }
    return error.message[0] != '\0' && error.code < 0 ? CHILD_REFUSED : CHILD_SILENT;
}

#endif
