/* A linear layer with mse_loss, trained by sgd's steps through a network, reaches the solution of
 * the normal equations: docs/mathematics.md. */
#include "graph/net_support.h"
#include "train/optimizer.h"

/* Y = X W^T + 1 b^T with FEATURES + 1 unknowns for each output: the last is the bias, whose column
 * of X is 1. */
enum { SAMPLES = 10, FEATURES = 3, UNKNOWNS = 4, OUTPUTS = 2, STEPS = 1500 };

typedef struct problem {
    float x[SAMPLES * FEATURES], y[SAMPLES * OUTPUTS];
    double solution[OUTPUTS][UNKNOWNS]; /* (X^T X)^-1 X^T Y, transposed */
} problem;

static double column(const problem *p, int n, int j) {
    return j < FEATURES ? (double)p->x[n * FEATURES + j] : 1;
}

/* The inverse of a, by Gauss and Jordan; a ends as the identity. */
static void invert(double a[UNKNOWNS][UNKNOWNS], double inverse[UNKNOWNS][UNKNOWNS]) {
    for (int i = 0; i < UNKNOWNS * UNKNOWNS; i++) {
        inverse[i / UNKNOWNS][i % UNKNOWNS] = i / UNKNOWNS == i % UNKNOWNS;
    }
    for (int k = 0; k < UNKNOWNS; k++) {
        const double pivot = a[k][k];
        CU_ASSERT_FATAL(pivot > 1e-3);
        for (int j = 0; j < UNKNOWNS; j++) {
            a[k][j] /= pivot;
            inverse[k][j] /= pivot;
        }
        for (int i = 0; i < UNKNOWNS; i++) {
            const double factor = i == k ? 0 : a[i][k];
            for (int j = 0; j < UNKNOWNS; j++) {
                a[i][j] -= factor * a[k][j];
                inverse[i][j] -= factor * inverse[k][j];
            }
        }
    }
}

static void pose(problem *p) {
    double gram[UNKNOWNS][UNKNOWNS] = {{0}}, inverse[UNKNOWNS][UNKNOWNS];
    lamina__stream_normal(lamina__stream_make(8, LAMINA__RANDOM_CHECK, 0, 0), 0, p->x,
                          SAMPLES * FEATURES);
    lamina__stream_normal(lamina__stream_make(9, LAMINA__RANDOM_CHECK, 0, 0), 0, p->y,
                          SAMPLES * OUTPUTS);
    for (int n = 0; n < SAMPLES; n++) { /* columns that lean to each other and to that of ones */
        p->x[n * FEATURES + 1] += 0.7f * p->x[n * FEATURES];
        p->x[n * FEATURES + 2] += 0.5f;
        for (int i = 0; i < UNKNOWNS * UNKNOWNS; i++) {
            gram[i / UNKNOWNS][i % UNKNOWNS] +=
                column(p, n, i / UNKNOWNS) * column(p, n, i % UNKNOWNS);
        }
    }
    CU_ASSERT(fabs(gram[0][1]) > 1);
    CU_ASSERT(fabs(gram[2][3]) > 1);
    invert(gram, inverse);
    for (int o = 0; o < OUTPUTS; o++) {
        for (int i = 0; i < UNKNOWNS; i++) {
            p->solution[o][i] = 0;
            for (int j = 0; j < UNKNOWNS; j++) {
                for (int n = 0; n < SAMPLES; n++) {
                    p->solution[o][i] +=
                        inverse[i][j] * column(p, n, j) * (double)p->y[n * OUTPUTS + o];
                }
            }
        }
    }
}

/* How far the net's weights are from it, all together (so a NaN is not lost). */
static double distance_of(const test_net *t, const problem *p) {
    double sum = 0;
    for (int32_t w = 0; w < 2; w++) {
        float values[OUTPUTS * FEATURES];
        lamina_tensor view;
        const lamina__net_weight weight = lamina__net_weight_at(t->net, w);
        lamina__weight_view(&view, weight.weight, weight.data);
        lamina__tensor_to_logical(&view, values);
        for (int i = 0; i < (w == 0 ? OUTPUTS * FEATURES : OUTPUTS); i++) {
            const double want =
                w == 0 ? p->solution[i / FEATURES][i % FEATURES] : p->solution[i][FEATURES];
            sum += fabs((double)values[i] - want);
        }
    }
    return sum;
}

static void descend(const char *text, double rate, int threads, int shards) {
    static problem p;
    static test_batch b;
    lamina__diags diags = {0};
    lamina__optimizer_config config = {0};
    lamina__optimizer *optimizer = NULL;
    lamina__doc *doc = NULL;
    lamina_error error = {0};
    const lamina__net_options options = {.channels = FEATURES,
                                         .height = 1,
                                         .width = 1,
                                         .batch = SAMPLES,
                                         .threads = threads,
                                         .shards = shards,
                                         .training = true,
                                         .seed = 3,
                                         .target = {LAMINA_F32, 2, {SAMPLES, OUTPUTS}}};
    pose(&p);
    memcpy(b.images, p.x, sizeof(p.x));
    b.batch = (lamina__batch){.images = b.images, .numbers = p.y, .samples = SAMPLES};
    test_net t = test_net_make("- linear: {name: fit, units: 2}\n- mse_loss\n", &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_EQUAL_FATAL(t.status, LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__doc_parse(text, strlen(text), "sgd.yaml", &diags, &doc),
                          LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__optimizer_read(doc->root, &config, &diags), LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__optimizer_create(&config, t.net, &optimizer, &error), LAMINA_OK);
    CU_ASSERT(distance_of(&t, &p) > 0.1);
    for (int64_t step = 0; step < STEPS; step++) {
        lamina__result result = {0};
        lamina__optimizer_begin(optimizer, step, rate);
        CU_ASSERT_EQUAL_FATAL(lamina__net_train_step(t.net, &b.batch, step,
                                                     lamina__optimizer_update, optimizer, &result,
                                                     &error),
                              LAMINA_OK);
    }
    const double distance = distance_of(&t, &p);
    if (!(distance < 1e-4)) {
        printf("\n      %s: distance %g", text, distance);
    }
    CU_ASSERT(distance < 1e-4);
    lamina__optimizer_free(optimizer);
    lamina__optimizer_config_free(&config);
    lamina__doc_free(doc);
    lamina__diags_free(&diags);
    test_net_free(&t);
}

static void plain(void) {
    descend("{type: sgd, learning_rate: 0.1}", 0.1, 1, 1);
    descend("{type: sgd, learning_rate: 0.1}", 0.1, 2, 2);
}

static void with_momentum(void) {
    descend("{type: sgd, learning_rate: 0.02, momentum: 0.9}", 0.02, 1, 1);
    descend("{type: sgd, learning_rate: 0.02, momentum: 0.9, nesterov: true}", 0.02, 1, 1);
}

LAMINA_TESTS({"sgd's steps end at (X^T X)^-1 X^T Y", plain}, {"and with momentum", with_momentum})
