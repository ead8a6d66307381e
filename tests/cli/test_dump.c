/* lamina dump, against the formulas: what it writes is one training step, and in logical order.
 * Every layer is computed here once more, in double, from the dumped tensors and O,I,H,W weights.
 */
#include "support.h"

#include <hdf5.h>
#include <math.h>
#include <sys/wait.h>

static const char config[] =
    "seed: 3\n"
    "data:\n"
    "  train: {type: synthetic, samples: 20, channels: 2, height: 8, width: 7, classes: 3}\n"
    "network:\n"
    "  - conv: {name: conv1, filters: 3, kernel: 3}\n"
    "  - relu: {name: relu1}\n"
    "  - linear: {name: fc1, units: 3}\n"
    "  - softmax_loss: {name: loss1}\n"
    "train:\n"
    "  epochs: 1\n"
    "  batch: 5\n"
    "  optimizer: {type: sgd, learning_rate: 0.1, momentum: 0.9, weight_decay: 0.01}\n"
    "  schedule: {type: inverse, gamma: 1, power: 1}\n";

enum { N = 5, C = 2, H = 8, W = 7, O = 3, K = 3, OH = 6, OW = 5, F = 3 };

static char *folder, *dump_path;

/* A dataset of exactly these dimensions; NaN everywhere when it is not so. */
static float *dataset(const char *path, const char *name, int ndim, const hsize_t *dim) {
    hsize_t found[8] = {0};
    size_t count = 1;
    for (int i = 0; i < ndim; i++) {
        count *= dim[i];
    }
    float *data = calloc(count, sizeof(float));
    for (size_t i = 0; i < count; i++) {
        data[i] = NAN;
    }
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t set = file >= 0 ? H5Dopen2(file, name, H5P_DEFAULT) : -1;
    hid_t space = set >= 0 ? H5Dget_space(set) : -1;
    bool same = space >= 0 && H5Sget_simple_extent_ndims(space) == ndim &&
                H5Sget_simple_extent_dims(space, found, NULL) == ndim &&
                memcmp(found, dim, (size_t)ndim * sizeof(*dim)) == 0;
    CU_ASSERT(same);
    if (same) {
        CU_ASSERT(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    } else {
        printf("\n      %s: not there, or of other dimensions", name);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (set >= 0) {
        H5Dclose(set);
    }
    if (file >= 0) {
        H5Fclose(file);
    }
    return data;
}

#define DATASET(name, ...)                                                                         \
    dataset(dump_path, name, (int)(sizeof((hsize_t[]){__VA_ARGS__}) / sizeof(hsize_t)),            \
            (const hsize_t[]){__VA_ARGS__})

static void close_to(const float *actual, const double *expected, size_t n, const char *what) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double error = fabs(actual[i] - expected[i]) / (1 + fabs(expected[i]));
        worst = error <= worst ? worst : error; /* NaN stays */
    }
    CU_ASSERT(worst < 1e-5);
    if (!(worst < 1e-5)) {
        printf("\n      %s: off by %g", what, worst);
    }
}

/* Runs lamina with the arguments; its exit status. */
static int lamina(const char *arguments) {
    char command[4096];
    snprintf(command, sizeof(command), "cd '%s' && '%s/../lamina' %s >out 2>err", folder,
             TEST_PLUGIN_DIR, arguments);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool make_dump(const char *arguments) {
    folder = test_tmpdir();
    dump_path = test_path(folder, "d.h5");
    test_write(folder, "d.yaml", config);
    bool made = lamina(arguments) == 0;
    CU_ASSERT(made);
    if (!made) {
        printf("\n      %s", test_read(test_path(folder, "err"), NULL));
    }
    return made;
}

/* y[o] = b[o] + sum over c, ky, kx of x[c] w[o][c]; then relu. */
static void test_forward(void) {
    CU_ASSERT_FATAL(make_dump("dump d.yaml -o d.h5"));
    float *x = DATASET("/input", N, C, H, W), *w = DATASET("/weights/conv1/weight", O, C, K, K),
          *b = DATASET("/weights/conv1/bias", O),
          *y = DATASET("/layers/conv1/output", N, O, OH, OW),
          *r = DATASET("/layers/relu1/output", N, O, OH, OW);
    double conv[N * O * OH * OW], relu[N * O * OH * OW];
    for (int i = 0; i < N * O * OH * OW; i++) {
        int n = i / (O * OH * OW), o = i / (OH * OW) % O, oy = i / OW % OH, ox = i % OW;
        conv[i] = b[o];
        for (int k = 0; k < C * K * K; k++) {
            int c = k / (K * K), ky = k / K % K, kx = k % K;
            conv[i] += (double)x[((n * C + c) * H + oy + ky) * W + ox + kx] *
                       w[((o * C + c) * K + ky) * K + kx];
        }
        relu[i] = fmax(conv[i], 0);
    }
    close_to(y, conv, N * O * OH * OW, "conv1");
    close_to(r, relu, N * O * OH * OW, "relu1");

    enum { IN = O * OH * OW }; /* flattened in C,H,W order */
    float *fw = DATASET("/weights/fc1/weight", F, IN), *fb = DATASET("/weights/fc1/bias", F),
          *scores = DATASET("/layers/fc1/output", N, F);
    double linear[N * F];
    for (int i = 0; i < N * F; i++) {
        linear[i] = fb[i % F];
        for (int k = 0; k < IN; k++) {
            linear[i] += (double)r[i / F * IN + k] * fw[i % F * IN + k];
        }
    }
    close_to(scores, linear, N * F, "fc1");
    free(x), free(w), free(b), free(y), free(r), free(fw), free(fb), free(scores);
}

/* Loss, its gradient (softmax - onehot) / N, and the linear layer's gradients. */
static void test_backward(void) {
    CU_ASSERT_FATAL(make_dump("dump d.yaml --threads 2 -o d.h5"));
    enum { IN = O * OH * OW };
    float *scores = DATASET("/layers/fc1/output", N, F), *labels = DATASET("/labels", N),
          *losses = DATASET("/layers/loss1/output", N), *loss = DATASET("/loss", 1),
          *d = DATASET("/layers/fc1/d_output", N, F),
          *r = DATASET("/layers/relu1/output", N, O, OH, OW),
          *dw = DATASET("/gradients/fc1/weight", F, IN), *db = DATASET("/gradients/fc1/bias", F);
    double expected_losses[N], expected_d[N * F], mean = 0, expected_w[F * IN] = {0},
                                                  expected_b[F] = {0};
    for (int n = 0; n < N; n++) {
        double sum = 0;
        for (int k = 0; k < F; k++) {
            sum += exp(scores[n * F + k]);
        }
        int label = (int)labels[n];
        CU_ASSERT_FATAL(label >= 0 && label < F);
        expected_losses[n] = log(sum) - scores[n * F + label];
        mean += expected_losses[n] / N;
        for (int k = 0; k < F; k++) {
            expected_d[n * F + k] = (exp(scores[n * F + k]) / sum - (k == label)) / N;
            expected_b[k] += expected_d[n * F + k];
            for (int i = 0; i < IN; i++) {
                expected_w[k * IN + i] += expected_d[n * F + k] * r[n * IN + i];
            }
        }
    }
    close_to(losses, expected_losses, N, "losses");
    close_to(loss, &mean, 1, "loss");
    close_to(d, expected_d, N * F, "d_output of fc1");
    close_to(dw, expected_w, F * IN, "gradient of fc1's weight");
    close_to(db, expected_b, F, "gradient of fc1's bias");
    free(scores), free(labels), free(losses), free(loss), free(d), free(r), free(dw), free(db);
}

/* updated = w - rate * (momentum * v + g + decay * w). slot: in a checkpoint, NULL for v = 0. */
static void check_update(const char *name, double rate, double decay, const char *checkpoint,
                         int ndim, const hsize_t *dim) {
    static const char *const groups[] = {"weights", "gradients", "updated"};
    char path[128];
    float *part[3], *v = NULL;
    size_t n = 1;
    for (int i = 0; i < ndim; i++) {
        n *= dim[i];
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "/%s/%s", groups[i], name);
        part[i] = dataset(dump_path, path, ndim, dim);
    }
    if (checkpoint != NULL) {
        snprintf(path, sizeof(path), "/optimizer/%s/momentum", name);
        v = dataset(checkpoint, path, ndim, dim);
    }
    double *expected = calloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++) {
        double step = part[1][i] + decay * part[0][i] + (v ? 0.9 * v[i] : 0);
        expected[i] = part[0][i] - rate * step;
    }
    close_to(part[2], expected, n, name);
    CU_ASSERT(memcmp(part[0], part[2], n * sizeof(float)) != 0);
    for (int i = 0; i < 3; i++) {
        free(part[i]);
    }
    free(v);
    free(expected);
}

#define CHECK_UPDATE(name, rate, decay, checkpoint, ...)                                           \
    check_update(name, rate, decay, checkpoint,                                                    \
                 (int)(sizeof((hsize_t[]){__VA_ARGS__}) / sizeof(hsize_t)),                        \
                 (const hsize_t[]){__VA_ARGS__})

static void check_updates(double rate, const char *checkpoint) {
    CHECK_UPDATE("conv1/weight", rate, 0.01, checkpoint, O, C, K, K);
    CHECK_UPDATE("conv1/bias", rate, 0, checkpoint, O);
    CHECK_UPDATE("fc1/weight", rate, 0.01, checkpoint, F, O * OH * OW);
    CHECK_UPDATE("fc1/bias", rate, 0, checkpoint, F);
}

static void test_update(void) {
    CU_ASSERT_FATAL(make_dump("dump d.yaml -o d.h5"));
    check_updates(0.1, NULL);
}

/* From a checkpoint: its weights, its momentum, and the learning rate of its step. */
static void test_checkpoint(void) {
    CU_ASSERT_FATAL(make_dump("train d.yaml --out run --set train.max_steps=3"));
    CU_ASSERT_EQUAL(lamina("dump d.yaml -o d.h5 --checkpoint run/checkpoints/last.h5"), 0);
    check_updates(0.1 / 4, test_path(folder, "run/checkpoints/last.h5"));
}

static void test_wrong(void) {
    CU_ASSERT_FATAL(make_dump("dump d.yaml -o d.h5"));
    CU_ASSERT_EQUAL(lamina("dump d.yaml"), 2);
    CU_ASSERT_EQUAL(lamina("dump d.yaml -o no/such/folder.h5"), 1);
    CU_ASSERT_EQUAL(lamina("dump d.yaml -o d.h5 --checkpoint d.yaml"), 1);
    CU_ASSERT_EQUAL(lamina("dump none.yaml -o d.h5"), 2);
}

LAMINA_TESTS({"forward", test_forward}, {"backward", test_backward}, {"update", test_update},
             {"from a checkpoint", test_checkpoint}, {"wrong usage", test_wrong})
