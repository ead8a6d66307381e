/* checkpoint: what is saved is loaded again to the bit, in logical order in the file; what does not
 * fit is refused, named, and changes nothing. */
#include "saved_support.h"

#include "onednn/onednn.h"

#include <math.h>

static saved_net *net_with(const char *layers) {
    return saved_net_make(layers, keeper_type(3, true));
}

/* Loads a file into a net with both slots. */
static lamina_status load(const char *path, saved_net *n, lamina_error *error) {
    lamina__checkpoint_file *file;
    lamina__checkpoint c;
    lamina_status status = lamina__checkpoint_open(path, &file, &c, error);
    if (status == LAMINA_OK) {
        status = lamina__checkpoint_load(file, n->net, n->slots, 2, error);
        lamina__checkpoint_close(file);
        lamina__checkpoint_free(&c);
    }
    return status;
}

/* ---- Round trips --------------------------------------------------------------------------- */

static void test_tensors_come_back(void) {
    const char *folder = test_tmpdir();
    saved_net *a = net_with(saved_layers), *b = net_with(saved_layers);
    lamina_error error = {0};
    saved_net_fill(a, 1);
    const char *path = saved_file(folder, "a.h5", a);
    CU_ASSERT_FALSE(saved_net_equal(a, b));
    CU_ASSERT_EQUAL(load(path, b, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    CU_ASSERT(saved_net_equal(a, b)); /* padding too: it stayed 0 */
    CU_ASSERT_EQUAL(lamina__checkpoint_verify(path, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(entries_in(folder), 1);
    saved_net_free(a);
    saved_net_free(b);
}

static void check_progress(const lamina__checkpoint *c) {
    CU_ASSERT_EQUAL(c->progress.epoch, 3);
    CU_ASSERT_EQUAL(c->progress.step, 31);
    CU_ASSERT_EQUAL(c->progress.position, 4);
    CU_ASSERT_EQUAL(c->progress.seed, UINT64_MAX);
    CU_ASSERT_EQUAL(c->progress.loss_sum, 0.1);
    CU_ASSERT_EQUAL(c->progress.correct, 2);
    CU_ASSERT_EQUAL(c->progress.seen, 4);
    CU_ASSERT_EQUAL(c->progress.labelled, 3);
    CU_ASSERT_EQUAL(c->progress.best_accuracy, 0.7);
    CU_ASSERT_EQUAL(c->progress.best_loss, 0.25);
    CU_ASSERT_EQUAL(c->progress.best_epoch, 3);
    CU_ASSERT_EQUAL(c->progress.seconds, 3.875);
    CU_ASSERT_EQUAL(c->progress.n_losses, 2);
    CU_ASSERT(c->progress.losses[0] == 0.0625 && c->progress.losses[1] == 0.0375);
    CU_ASSERT(c->progress.loss_weights[0] == 4 && c->progress.loss_weights[1] == 2.5);
}

static void check_plan(const lamina__checkpoint *c, const saved_net *n) {
    CU_ASSERT_EQUAL(c->plan.shards, lamina__net_shards(n->net));
    CU_ASSERT_EQUAL(c->plan.slices, lamina__net_slices(n->net));
    CU_ASSERT_EQUAL_FATAL(c->plan.count, 6);
    for (int32_t i = 0; i < 6; i++) {
        const lamina__instance *layer = lamina__net_layer(n->net, i);
        TEST_TEXT(c->plan.kernels[i].layer, layer->name);
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            const char *expected = lamina__instance_kernel(layer, pass);
            const char *got = c->plan.kernels[i].kernel[pass];
            CU_ASSERT((expected == NULL) == (got == NULL));
            TEST_TEXT(got ? got : "", expected ? expected : "");
        }
    }
}

static void test_fields_come_back(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    lamina__checkpoint_file *file;
    lamina__checkpoint c, saved = saved_checkpoint();
    const char *path = saved_file(folder, "a.h5", n);
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &file, &c, NULL), LAMINA_OK);
    TEST_TEXT(c.config_source, saved.config_source);
    TEST_TEXT(c.config_resolved, saved.config_resolved);
    TEST_TEXT(c.config_origin, saved.config_origin);
    TEST_TEXT(c.optimizer, "sgd");
    check_progress(&c);
    check_plan(&c, n);
    for (int i = 0; i < 2; i++) {
        TEST_TEXT(c.data[i].source, saved.data[i].source);
        CU_ASSERT_EQUAL(c.data[i].samples, saved.data[i].samples);
        CU_ASSERT_EQUAL(c.data[i].fingerprint, saved.data[i].fingerprint);
        CU_ASSERT_EQUAL_FATAL(c.metrics[i].count, saved.metrics[i].count);
        for (size_t k = 0; k < c.metrics[i].count; k++) { /* the fixed columns */
            CU_ASSERT_EQUAL(memcmp(&c.metrics[i].rows[k], &saved.metrics[i].rows[k],
                                   offsetof(lamina__metrics_row, metrics)),
                            0);
        }
    }
    /* Those of layers come back by name. */
    CU_ASSERT_EQUAL(c.metrics[0].n_names, 0);
    CU_ASSERT_EQUAL_FATAL(c.metrics[1].n_names, 2);
    TEST_TEXT(c.metrics[1].names[0], "mae");
    TEST_TEXT(c.metrics[1].names[1], "top5");
    CU_ASSERT_EQUAL(c.metrics[1].rows[0].metrics[0], 0.125);
    CU_ASSERT_EQUAL(c.metrics[1].rows[0].metrics[1], 0.9);
    CU_ASSERT_EQUAL(c.threads, 1);
    TEST_TEXT(c.isa, lamina__onednn_isa());
    TEST_TEXT(c.onednn_version, lamina__onednn_version());
    TEST_TEXT(c.lamina_version, LAMINA_VERSION);
    CU_ASSERT(c.created != NULL && strlen(c.created) == strlen("2026-01-02T03:04:05Z"));
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&c);
    saved_net_free(n);
}

/* A file as an earlier version wrote it: without what came later. */
static void test_earlier_files(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    lamina__checkpoint_file *file;
    lamina__checkpoint c, now = saved_checkpoint();
    lamina_error error = {0};
    now.metrics[1].n_names = 0;
    const char *path = test_path(folder, "a.h5");
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_save(path, &now, n->net, n->slots, 2, &error),
                          LAMINA_OK);
    hid_t made = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    CU_ASSERT_FATAL(made >= 0);
    CU_ASSERT(H5Adelete_by_name(made, "/progress", "labelled", H5P_DEFAULT) >= 0);
    CU_ASSERT(H5Adelete_by_name(made, "/progress", "best_loss", H5P_DEFAULT) >= 0);
    CU_ASSERT(H5Ldelete(made, "/progress/losses", H5P_DEFAULT) >= 0);
    CU_ASSERT(H5Ldelete(made, "/progress/loss_weights", H5P_DEFAULT) >= 0);
    CU_ASSERT(H5Lexists(made, "/metrics/test/layers", H5P_DEFAULT) == 0);
    H5Fclose(made);
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &file, &c, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(c.progress.seen, 4);
    CU_ASSERT_EQUAL(c.progress.labelled, 4); /* each had a label */
    CU_ASSERT(isnan(c.progress.best_loss));
    /* However many losses the net has, their mean is what it was. */
    CU_ASSERT_EQUAL(c.progress.n_losses, 0);
    for (int32_t losses = 1; losses <= 2; losses++) {
        CU_ASSERT_EQUAL(lamina__mean_loss(c.progress.loss_sum, c.progress.seen, losses,
                                          c.progress.losses, c.progress.loss_weights),
                        0.1 / 4);
        CU_ASSERT_EQUAL(c.progress.losses[losses - 1], losses == 1 ? 0.1 : 0);
    }
    CU_ASSERT_EQUAL(c.progress.best_accuracy, 0.7);
    CU_ASSERT_EQUAL(c.metrics[1].n_names, 0);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&c);
    saved_net_free(n);
}

static void test_empty_and_large_texts(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    const char *path = test_path(folder, "a.h5");
    lamina__checkpoint_file *file;
    lamina__checkpoint c = saved_checkpoint(), back;
    char *large = malloc(300001); /* no attribute could hold it */
    for (int i = 0; i < 300000; i++) {
        large[i] = (char)(' ' + i % 94);
    }
    large[300000] = '\0';
    c.config_source = large;
    c.config_resolved = NULL;
    c.config_origin = (char *)(uintptr_t) "";
    c.data[1].source = NULL;
    c.metrics[0].count = c.metrics[1].count = 0;
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_save(path, &c, n->net, NULL, 0, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &file, &back, NULL), LAMINA_OK);
    TEST_TEXT(back.config_source, large);
    TEST_TEXT(back.config_resolved, "");
    TEST_TEXT(back.config_origin, "");
    CU_ASSERT_PTR_NULL(back.data[1].source);
    CU_ASSERT_EQUAL(back.metrics[0].count, 0);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&back);
    free(large);
    saved_net_free(n);
}

static void test_same_state_same_bytes(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    size_t length[2] = {0};
    const char *bytes[2];
    for (int i = 0; i < 2; i++) { /* twice, should a second begin in between */
        for (int attempt = 0; attempt < 2; attempt++) {
            bytes[0] = test_read(saved_file(folder, "a.h5", n), &length[0]);
            bytes[1] = test_read(saved_file(folder, "b.h5", n), &length[1]);
            if (length[0] == length[1] && memcmp(bytes[0], bytes[1], length[0]) == 0) {
                break;
            }
        }
        CU_ASSERT(length[0] == length[1] && memcmp(bytes[0], bytes[1], length[0]) == 0);
        saved_net_fill(n, 5);
    }
    saved_net_free(n);
}

/* ---- Logical order ------------------------------------------------------------------------- */

static void check_stored(const lamina__checkpoint_file *file, lamina__stored_kind kind,
                         const char *layer, const char *name, const char *slot, const char *shape,
                         float start) {
    char text[100];
    const lamina__stored_tensor *t = lamina__stored_find(file, kind, layer, name, slot);
    CU_ASSERT_PTR_NOT_NULL_FATAL(t);
    TEST_TEXT(lamina__shape_text(&t->shape, text, sizeof(text)), shape);
    size_t count = (size_t)lamina__shape_count(&t->shape), wrong = 0;
    float *values = calloc(count, sizeof(float));
    CU_ASSERT_EQUAL(lamina__stored_read(file, t, values, NULL), LAMINA_OK);
    for (size_t i = 0; i < count; i++) {
        wrong += values[i] != (start + (float)i) / 8;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    free(values);
}

/* saved_net_fill numbers the elements in logical order, so the file has them in a row. */
static void test_logical_order(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    lamina__checkpoint_file *f;
    lamina__checkpoint c;
    saved_net_fill(n, 1);
    const char *path = saved_file(folder, "a.h5", n);
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &f, &c, NULL), LAMINA_OK);
    check_stored(f, LAMINA__STORED_WEIGHT, "conv1", "weight", NULL, "[4, 2, 3, 3]", 1);
    check_stored(f, LAMINA__STORED_WEIGHT, "conv1", "bias", NULL, "[4]", 1001);
    check_stored(f, LAMINA__STORED_WEIGHT, "keeper", "scale", NULL, "[3, 5]", 2001);
    check_stored(f, LAMINA__STORED_WEIGHT, "fc1", "weight", NULL, "[5, 36]", 3001);
    check_stored(f, LAMINA__STORED_SLOT, "fc1", "weight", "momentum", "[5, 36]", 103001);
    check_stored(f, LAMINA__STORED_SLOT, "keeper", "scale", "second", "[3, 5]", 202001);
    check_stored(f, LAMINA__STORED_STATE, "keeper", "mean", NULL, "[4]", 50001);
    check_stored(f, LAMINA__STORED_STATE, "keeper", "table", NULL, "[2, 3, 2, 2]", 50101);
    CU_ASSERT_EQUAL(f->n_layers, 6);
    CU_ASSERT_EQUAL(f->n_tensors, 5 + 2 + 10);
    lamina__checkpoint_close(f);
    lamina__checkpoint_free(&c);
    saved_net_free(n);
}

/* ---- What does not fit --------------------------------------------------------------------- */

/* Loading `path` into a net of `layers` fails with a message that has both parts; the net stays. */
static void check_refused(const char *path, const char *layers, const char *part,
                          const char *part2) {
    saved_net *n = net_with(layers), *same = net_with(layers);
    lamina_error error = {0};
    saved_net_fill(n, 3);
    saved_net_fill(same, 3);
    CU_ASSERT_EQUAL(load(path, n, &error), LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "does not fit the network: ");
    TEST_CONTAINS(error.message, part);
    TEST_CONTAINS(error.message, part2);
    CU_ASSERT(saved_net_equal(n, same));
    saved_net_free(n);
    saved_net_free(same);
}

static void test_mismatches_are_listed(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    const char *path = saved_file(folder, "a.h5", n);
    check_refused(path,
                  "- conv: {name: conv1, filters: 6, kernel: 3}\n- max_pool: {name: pool1, kernel: "
                  "2}\n- test_keeper: {name: keeper}\n- relu: {name: relu1}\n- linear: {name: fc1, "
                  "units: 5}\n- softmax_loss: {name: loss}\n",
                  "conv1/weight: file [4, 2, 3, 3], network [6, 2, 3, 3]; ",
                  "conv1/weight (momentum): file [4, 2, 3, 3], network [6, 2, 3, 3]");
    check_refused(path,
                  "- conv: {name: conv1, filters: 4, kernel: 3}\n- max_pool: {name: pool1, kernel: "
                  "2}\n- relu: {name: relu1}\n- linear: {name: fc2, units: 5}\n"
                  "- softmax_loss: {name: loss}\n",
                  "only in the network: fc2/weight [5, 36]",
                  "only in the file: keeper/scale [3, 5]");
    check_refused(path,
                  "- conv: {name: conv1, filters: 4, kernel: 3}\n- max_pool: {name: pool1, kernel: "
                  "2}\n- conv: {name: keeper, filters: 4, kernel: 1}\n- relu: {name: relu1}\n"
                  "- linear: {name: fc1, units: 5}\n- softmax_loss: {name: loss}\n",
                  "keeper: a test_keeper in the file, a conv in the network",
                  "only in the file: keeper/mean (state) [4]");
    saved_net_free(n);
}

static void test_long_lists_are_cut(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    const char *path = saved_file(folder, "a.h5", n);
    lamina__text layers = {0};
    for (int i = 0; i < 40; i++) {
        lamina__text_add(&layers, "- conv: {name: another_convolution_%d, filters: 2, kernel: 1}\n",
                         i);
    }
    lamina__text_add(&layers, "- linear: {name: fc9, units: 5}\n- softmax_loss\n");
    check_refused(path, layers.data, "only in the network: another_convolution_0/weight", " more");
    lamina__text_free(&layers);
    saved_net_free(n);
}

static void test_slots_must_fit(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    const char *path = test_path(folder, "a.h5");
    lamina_error error = {0};
    lamina__checkpoint c = saved_checkpoint();
    CU_ASSERT_EQUAL(lamina__checkpoint_save(path, &c, n->net, n->slots, 1, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(load(path, n, &error), LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "only in the network: conv1/weight (second) [4, 2, 3, 3]");
    c.optimizer = NULL;
    CU_ASSERT_EQUAL(lamina__checkpoint_save(path, &c, n->net, NULL, 0, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(load(path, n, &error), LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "holds weights only");
    saved_net_free(n);
}

static void test_weights_alone(void) {
    const char *folder = test_tmpdir();
    saved_net *a = net_with(saved_layers), *b = net_with(saved_layers);
    lamina__checkpoint_file *file;
    lamina__checkpoint c;
    size_t bytes = (size_t)lamina__net_weight_floats(a->net) * sizeof(float);
    saved_net_fill(a, 9);
    const char *path = saved_file(folder, "a.h5", a); /* with slots: they are left where they are */
    CU_ASSERT_EQUAL_FATAL(lamina__checkpoint_open(path, &file, &c, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__checkpoint_load(file, b->net, NULL, 0, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(
        memcmp(lamina__net_weight_block(a->net), lamina__net_weight_block(b->net), bytes), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a->slot_data[0], b->slot_data[0], bytes), 0);
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&c);
    saved_net_free(a);
    saved_net_free(b);
}

/* ---- Versions of a layer's state ----------------------------------------------------------- */

static void check_version(uint32_t file_version, uint32_t net_version, bool migrates,
                          const char *message) {
    const char *folder = test_tmpdir();
    saved_net *a = saved_net_make(saved_layers, keeper_type(file_version, true));
    saved_net *b = saved_net_make(saved_layers, keeper_type(net_version, migrates));
    lamina_error error = {0};
    saved_net_fill(a, 1);
    saved_net_fill(b, 2);
    const char *path = saved_file(folder, "a.h5", a);
    lamina_status status = load(path, b, &error);
    if (message != NULL) {
        CU_ASSERT_EQUAL(status, LAMINA_ERROR_CHECKPOINT);
        TEST_CONTAINS(error.message, message);
        saved_net_fill(a, 2);
        CU_ASSERT(saved_net_equal(a, b)); /* nothing was loaded */
    } else {
        CU_ASSERT_EQUAL(status, LAMINA_OK);
        const float *mean = lamina__net_state_at(b->net, 0).data;
        const float *before = lamina__net_state_at(a->net, 0).data;
        for (int i = 0; i < 4; i++) {
            CU_ASSERT_EQUAL(mean[i], file_version < net_version ? -before[i] : before[i]);
        }
    }
    saved_net_free(a);
    saved_net_free(b);
}

static void test_state_versions(void) {
    check_version(3, 3, false, NULL);
    check_version(2, 3, true, NULL);
    check_version(1, 3, true, "version 1 is too old");
    check_version(2, 3, false,
                  "keeper (test_keeper): its state is of the older version 2; this test_keeper "
                  "reads version 3");
    check_version(4, 3, true,
                  "keeper (test_keeper): its state is of the newer version 4; this test_keeper "
                  "reads version 3");
}

static void test_layer_that_cannot_be_stored(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with("- linear: {name: fc1, units: 5}\n- softmax_loss: {name: loss}\n");
    lamina__checkpoint c = saved_checkpoint();
    lamina_error error = {0};
    lamina__instance *layer = (lamina__instance *)(uintptr_t)lamina__net_layer(n->net, 0);
    char *name = layer->name;
    layer->name = (char *)(uintptr_t) "layers";
    CU_ASSERT_EQUAL(
        lamina__checkpoint_save(test_path(folder, "a.h5"), &c, n->net, n->slots, 2, &error),
        LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "a layer named \"layers\" cannot be stored");
    CU_ASSERT_EQUAL(entries_in(folder), 0);
    layer->name = name;
    saved_net_free(n);
}

/* ---- Memory -------------------------------------------------------------------------------- */

/* Fails every allocation in turn: a clean error, nothing lost, the file and the net as before. */
static void test_allocation_failures_saving(void) {
    const char *folder = test_tmpdir();
    saved_net *n = net_with(saved_layers);
    const char *path = test_write(folder, "a.h5", "old");
    lamina__checkpoint c = saved_checkpoint();
    lamina_status status = LAMINA_ERROR_MEMORY;
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1; status != LAMINA_OK && k < 10000; k++) {
        lamina_error error = {0};
        test_fail_allocation(k);
        status = lamina__checkpoint_save(path, &c, n->net, n->slots, 2, &error);
        test_fail_allocation(0);
        if (status != LAMINA_OK) {
            CU_ASSERT_EQUAL(status, LAMINA_ERROR_MEMORY);
            TEST_CONTAINS(error.message, "out of memory");
            TEST_TEXT(test_read(path, NULL), "old");
        }
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        CU_ASSERT_EQUAL(entries_in(folder), 1);
    }
    CU_ASSERT_EQUAL(lamina__checkpoint_verify(path, NULL), LAMINA_OK);
    saved_net_free(n);
}

enum { WAY_LOAD, WAY_SHOW, WAY_DIFF, WAY_VERIFY, N_WAYS };

static lamina_status read_one_way(int way, const char *path, saved_net *n, lamina_error *error) {
    size_t differences = 0;
    lamina__text text = {0};
    lamina_status status = LAMINA_OK;
    switch (way) {
    case WAY_LOAD:
        status = load(path, n, error);
        break;
    case WAY_SHOW:
        status = lamina__checkpoint_show(path, &text, error);
        break;
    case WAY_DIFF:
        status = lamina__checkpoint_diff(path, path, &text, &differences, error);
        break;
    case WAY_VERIFY:
        status = lamina__checkpoint_verify(path, error);
        break;
    }
    lamina__text_free(&text);
    return status;
}

static void sweep_reading(int way, const char *path, saved_net *n) {
    lamina_status status = LAMINA_ERROR_MEMORY;
    uint64_t live = lamina__alloc_count().live;
    long k = 1;
    for (; status != LAMINA_OK && k < 10000; k++) {
        lamina_error error = {0};
        test_fail_allocation(k);
        status = read_one_way(way, path, n, &error);
        test_fail_allocation(0);
        if (status != LAMINA_OK) {
            CU_ASSERT_EQUAL(status, LAMINA_ERROR_MEMORY);
            TEST_CONTAINS(error.message, "memory");
        }
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
    }
    CU_ASSERT_EQUAL(status, LAMINA_OK);
    CU_ASSERT(k > 50);
}

static void test_allocation_failures_reading(void) {
    const char *folder = test_tmpdir();
    saved_net *a = net_with(saved_layers), *b = net_with(saved_layers);
    const char *path = saved_file(folder, "a.h5", a);
    for (int way = 0; way < N_WAYS; way++) {
        sweep_reading(way, path, b);
    }
    saved_net_free(a);
    saved_net_free(b);
}

LAMINA_TESTS({"tensors come back", test_tensors_come_back},
             {"fields come back", test_fields_come_back},
             {"files of an earlier version", test_earlier_files},
             {"empty and large texts", test_empty_and_large_texts},
             {"same state, same bytes", test_same_state_same_bytes},
             {"logical order in the file", test_logical_order},
             {"mismatches are listed", test_mismatches_are_listed},
             {"long lists are cut", test_long_lists_are_cut},
             {"slots must fit", test_slots_must_fit}, {"weights alone", test_weights_alone},
             {"state versions", test_state_versions},
             {"a layer that cannot be stored", test_layer_that_cannot_be_stored},
             {"allocation failures when saving", test_allocation_failures_saving},
             {"allocation failures when reading", test_allocation_failures_reading})
