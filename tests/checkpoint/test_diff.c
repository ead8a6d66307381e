/* checkpoint show and diff: what they say about files whose contents are known. */
#include "saved_support.h"

static saved_net *filled_net(void) {
    saved_net *n = saved_net_make(saved_layers, keeper_type(3, true));
    saved_net_fill(n, 1);
    return n;
}

static char *save_as(const char *folder, const char *name, const saved_net *n,
                     const lamina__checkpoint *c, size_t slots) {
    char *path = test_path(folder, name);
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__checkpoint_save(path, c, n->net, n->slots, slots, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    return path;
}

/* The differences between two files, and what is said of them; the text is valid until exit. */
static size_t diff(const char *a, const char *b, const char **said) {
    lamina__text text = {0};
    lamina_error error = {0};
    size_t differences = 99;
    CU_ASSERT_EQUAL(lamina__checkpoint_diff(a, b, &text, &differences, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    *said = test_keep(false, text.data ? text.data : "");
    lamina__text_free(&text);
    return differences;
}

static void test_same(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    c.progress.seconds = 99; /* wall-clock times do not count */
    c.metrics[1].rows[0].images_per_second++;
    const char *b = save_as(folder, "b.h5", n, &c, 2);
    c.metrics[1].rows[0].images_per_second--;
    CU_ASSERT_EQUAL(diff(a, a, &said), 0);
    TEST_TEXT(said, "");
    CU_ASSERT_EQUAL(diff(a, b, &said), 0);
    TEST_TEXT(said, "");
    saved_net_free(n);
}

static void test_tensors(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    lamina__net_weight bias = lamina__net_weight_at(n->net, 1);
    TEST_TEXT(bias.weight->name, "bias");
    bias.data[1] += 0.5f; /* 125.25 -> 125.75 */
    bias.data[3] = -bias.data[3];
    lamina__net_state_at(n->net, 0).data[2] = 0.0f / 0.0f;
    n->slot_data[1][0] = -0.0f;
    const char *b = save_as(folder, "b.h5", n, &c, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 3);
    TEST_CONTAINS(said, "conv1/bias: 2 of 4 elements differ, the first is number 1; largest "
                        "difference 251, relative 2\n");
    TEST_CONTAINS(said, "keeper/mean (state): 1 of 4 elements differ, the first is number 2; "
                        "largest difference 0, relative 0; 1 with a value that is not finite\n");
    TEST_CONTAINS(said, "conv1/weight (second): 1 of 72 elements differ, the first is number 0");
    saved_net_free(n);
}

static void test_negative_zero_is_a_difference(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    float *mean = lamina__net_state_at(n->net, 0).data;
    mean[0] = 0.0f;
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    mean[0] = -0.0f;
    const char *b = save_as(folder, "b.h5", n, &c, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 1);
    TEST_CONTAINS(said, "keeper/mean (state): 1 of 4 elements differ");
    saved_net_free(n);
}

static void test_progress_and_metrics(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint(), d = saved_checkpoint();
    lamina__metrics_row rows[2] = {c.metrics[0].rows[0], c.metrics[0].rows[1]};
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    d.progress.step = 32;
    d.progress.loss_sum = 0.25;
    d.progress.loss_weights[1] = 3;
    rows[1].loss = 2;
    d.metrics[0] = (lamina__metrics){.rows = rows, .count = 2, .capacity = 2};
    d.optimizer = (char *)(uintptr_t) "adam";
    const char *b = save_as(folder, "b.h5", n, &d, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 6);
    TEST_TEXT(said, "optimizer: \"sgd\" and \"adam\"\n"
                    "progress/step: 31 and 32\n"
                    "progress/loss_sum: 0.1 and 0.25\n"
                    "progress/loss_weights[1]: 2.5 and 3\n"
                    "metrics/train: 3 and 2 rows\n"
                    "metrics/train/loss: 1 of 2 rows differ, the first is number 1; largest "
                    "difference 0.5, relative 0.25\n");
    saved_net_free(n);
}

static void test_one_sided(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    saved_net *other = saved_net_make("- conv: {name: conv1, filters: 3, kernel: 3}\n"
                                      "- linear: {name: fc1, units: 5}\n"
                                      "- softmax_loss: {name: loss}\n",
                                      keeper_type(3, true));
    lamina__checkpoint c = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 1);
    const char *b = save_as(folder, "b.h5", other, &c, 2);
    CU_ASSERT(diff(a, b, &said) > 5);
    TEST_CONTAINS(said, "layers: 6 and 3, not the same names in the same order\n");
    TEST_CONTAINS(said, "conv1/weight: [4, 2, 3, 3] and [3, 2, 3, 3]\n");
    TEST_CONTAINS(said, "keeper/table (state): only in the first file\n");
    TEST_CONTAINS(said, "fc1/bias (second): only in the second file\n");
    TEST_CONTAINS(said, "note: other kernels\n");
    saved_net_free(n);
    saved_net_free(other);
}

static void test_notes_do_not_count(void) {
    const char *folder = test_tmpdir(), *said;
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    c.config_resolved = (char *)(uintptr_t) "seed: 2\n";
    c.data[0].fingerprint = 1;
    const char *b = save_as(folder, "b.h5", n, &c, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 0);
    TEST_TEXT(said, "note: the configs are not the same\nnote: other train data\n");
    saved_net_free(n);
}

static void test_unreadable(void) {
    const char *folder = test_tmpdir();
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    lamina__text text = {0};
    lamina_error error = {0};
    size_t differences = 99;
    CU_ASSERT_EQUAL(
        lamina__checkpoint_diff(a, test_path(folder, "none.h5"), &text, &differences, &error),
        LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "none.h5: cannot be opened");
    CU_ASSERT_EQUAL(differences, 0);
    CU_ASSERT_EQUAL(lamina__checkpoint_show(folder, &text, &error), LAMINA_ERROR_IO);
    lamina__text_free(&text);
    saved_net_free(n);
}

static void test_show(void) {
    const char *folder = test_tmpdir();
    saved_net *n = filled_net();
    lamina__checkpoint c = saved_checkpoint();
    c.data[0].source = (char *)(uintptr_t) "data/\033[31mred";
    const char *path = save_as(folder, "a.h5", n, &c, 2);
    lamina__text text = {0};
    CU_ASSERT_EQUAL(lamina__checkpoint_show(path, &text, NULL), LAMINA_OK);
    static const char *const parts[] = {
        "written by Lamina " LAMINA_VERSION " at 2",
        "kind        training, ",
        ", checksum right\n",
        "progress    epoch 3, step 31, 4 samples into the next epoch, 3.9 s, seed ",
        ", seed 18446744073709551615\n",
        "best        accuracy 0.7000, epoch 3\n",
        "optimizer   sgd (momentum, second)\n",
        "train       data/?[31mred, 40 samples, fingerprint fedcba9876543210\n",
        "plan        1 shard\n",
        "last train  epoch 3: loss 0.5, accuracy 0.7500, learning rate 0.005 (3 rows)\n",
        "  conv1 (conv): reference\n    bias [4]\n    weight [4, 2, 3, 3]\n",
        "    table [2, 3, 2, 2] state\n",
        "276 parameters\n",
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        TEST_CONTAINS(text.data, parts[i]);
    }
    lamina__text_free(&text);
    saved_net_free(n);
}

/* Columns of layers are compared by name, whatever their order. */
static void test_layer_metrics(void) {
    const char *folder = test_tmpdir();
    saved_net *n = saved_net_make(saved_layers, keeper_type(3, true));
    const char *said = NULL;
    lamina__checkpoint c = saved_checkpoint(), d = saved_checkpoint();
    const char *a = save_as(folder, "a.h5", n, &c, 2);
    lamina__metrics_row row = c.metrics[1].rows[0];
    d.metrics[1].rows = &row;
    d.metrics[1].names[0] = c.metrics[1].names[1];
    d.metrics[1].names[1] = c.metrics[1].names[0];
    row.metrics[0] = c.metrics[1].rows[0].metrics[1];
    row.metrics[1] = c.metrics[1].rows[0].metrics[0];
    const char *b = save_as(folder, "b.h5", n, &d, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 0);
    row.metrics[0] = 0.25;
    d.metrics[1].names[1] = (char *)(uintptr_t) "other";
    b = save_as(folder, "b.h5", n, &d, 2);
    CU_ASSERT_EQUAL(diff(a, b, &said), 3);
    TEST_TEXT(said, "metrics/test/mae: 1 of 1 rows differ, the first is number 0; largest "
                    "difference 0.125, relative 0.5\n"
                    "metrics/test/top5: only in the first\n"
                    "metrics/test/other: only in the second\n");
    saved_net_free(n);
}

LAMINA_TESTS({"the same", test_same}, {"tensors", test_tensors},
             {"negative zero is a difference", test_negative_zero_is_a_difference},
             {"progress and metrics", test_progress_and_metrics},
             {"metrics of layers", test_layer_metrics}, {"only in one of them", test_one_sided},
             {"notes do not count", test_notes_do_not_count}, {"unreadable", test_unreadable},
             {"show", test_show})
