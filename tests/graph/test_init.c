/* Initialisers: the moments that torch.nn.init's formulas give, bounds, orthogonality, the numbers
 * of xavier, he and normal as they have always been; reading, writing, and what is refused. */
#include "net_support.h"

#include "graph/init.h"

/* ---- Drawing ---- */

enum { O = 60, I = 50, K = 9, COUNT = O * I * K };

/* As a 3x3 convolution declares it: fan_in 450, fan_out 540. */
static const lamina_weight conv_weight = {.struct_size = sizeof(lamina_weight),
                                          .name = "weight",
                                          .shape = {LAMINA_F32, 4, {O, I, 3, 3}},
                                          .elements = COUNT};

static bool read_init(const char *text, lamina__init *init, char message[1024]) {
    lamina__diags diags = {0};
    lamina__doc *doc = NULL;
    bool good = lamina__doc_parse(text, strlen(text), "init.yaml", &diags, &doc) == LAMINA_OK &&
                lamina__init_read(doc->root, "w", init, &diags);
    snprintf(message, 1024, "%s", diags.kept > 0 ? diags.text[0] : "");
    lamina__diags_free(&diags);
    lamina__doc_free(doc);
    return good;
}

static void draw(const char *text, const lamina_weight *weight, float *values) {
    const lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_INIT, 2, 3);
    lamina__init init;
    lamina_error error = {0};
    char message[1024];
    CU_ASSERT_FATAL(read_init(text, &init, message));
    TEST_TEXT(message, "");
    CU_ASSERT_EQUAL(lamina__init_weight(weight, &init, stream, values, &error), LAMINA_OK);
}

/* Mean, standard deviation and kurtosis (uniform 1.8, normal 3) of 27000 numbers: the bounds are
 * five standard deviations of each wide, or more. */
static void moments(void) {
    static const struct {
        const char *text;
        double mean, std, kurtosis, most; /* most: no number is further from the mean; 0: none */
    } cases[] = {
        {"{type: uniform}", 0, 0.05 / 1.7320508, 1.8, 0.05},
        {"{type: uniform, range: 2}", 0, 2 / 1.7320508, 1.8, 2},
        {"{type: uniform, range: [-1, 3]}", 1, 2 / 1.7320508, 1.8, 2},
        {"normal", 0, 0.01, 3, 0},
        {"{type: normal, mean: 0.5, std: 0.25}", 0.5, 0.25, 3, 0},
        {"{type: normal, value: 0.3}", 0, 0.3, 3, 0}, /* as it was called */
        /* Cut at 2: variance 1 - 4 phi(2) / (2 Phi(2) - 1), fourth moment likewise. */
        {"{type: truncated_normal, std: 0.5}", 0, 0.5 * 0.8796256610342398, 2.3655697, 1},
        {"{type: trunc_normal, std: 0.02, mean: 1}", 1, 0.02 * 0.8796256610342398, 2.3655697, 0.04},
        {"xavier", 0, 0.04494665749754947, 1.8, 0.07784989441615230}, /* sqrt(2 / 990) */
        {"{type: glorot_uniform, gain: 2}", 0, 0.08989331499509894, 1.8, 0.1556997888323046},
        {"xavier_normal", 0, 0.04494665749754947, 3, 0},
        {"{type: glorot_normal, gain: 0.5}", 0, 0.02247332874877474, 3, 0},
        {"he", 0, 0.06666666666666667, 3, 0}, /* sqrt(2 / 450) */
        {"{type: kaiming_normal, fan: out}", 0, 0.06085806194501846, 3, 0},
        {"{type: he, slope: 1}", 0, 0.04714045207910317, 3, 0}, /* sqrt(1 / 450) */
        {"he_uniform", 0, 0.06666666666666667, 1.8, 0.11547005383792516},
        /* torch.nn.Linear's and Conv2d's own: a = sqrt(5), bound 1 / sqrt(fan_in) */
        {"{type: kaiming_uniform, slope: 2.23606797749979}", 0, 0.02721655269759087, 1.8,
         0.04714045207910317},
        {"{type: he_uniform, fan: out, slope: 0.01}", 0, 0.06085501926, 1.8, 0.10540398525},
    };
    static float values[COUNT];
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        double sum = 0, square = 0, fourth = 0, most = 0;
        draw(cases[k].text, &conv_weight, values);
        for (int64_t i = 0; i < COUNT; i++) {
            const double x = (values[i] - cases[k].mean) / cases[k].std;
            sum += x;
            square += x * x;
            fourth += x * x * x * x;
            most = fmax(most, fabs(values[i] - cases[k].mean));
        }
        CU_ASSERT_DOUBLE_EQUAL(sum / COUNT, 0, 5 / sqrt(COUNT));
        CU_ASSERT_DOUBLE_EQUAL(square / COUNT, 1, 5 * sqrt(2.0 / COUNT));
        CU_ASSERT_DOUBLE_EQUAL(fourth / COUNT, cases[k].kurtosis, 5 * sqrt(96.0 / COUNT));
        if (cases[k].most > 0) { /* and reached, nearly */
            CU_ASSERT(most <= cases[k].most * (1 + 1e-6));
            CU_ASSERT(most > 0.995 * cases[k].most);
        }
    }
}

/* Fans that a layer declares count, not those of the shape. */
static void declared_fans(void) {
    static float values[COUNT];
    lamina_weight weight = conv_weight;
    double square = 0;
    weight.init.fan_in = 8;
    weight.init.fan_out = 32;
    draw("he", &weight, values);
    for (int64_t i = 0; i < COUNT; i++) {
        square += values[i] * values[i];
    }
    CU_ASSERT_DOUBLE_EQUAL(square / COUNT, 0.25, 0.25 * 5 * sqrt(2.0 / COUNT));
    draw("{type: he, fan: out}", &weight, values);
    square = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        square += values[i] * values[i];
    }
    CU_ASSERT_DOUBLE_EQUAL(square / COUNT, 0.0625, 0.0625 * 5 * sqrt(2.0 / COUNT));
}

/* Bit for bit, as runs of yesterday began. */
static void old_numbers_stay(void) {
    static float got[COUNT], uniform[COUNT], normal[COUNT];
    const lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_INIT, 2, 3);
    static const char *const texts[] = {"xavier", "he", "{type: normal, std: 0.3}"};
    lamina__stream_uniform(stream, 0, uniform, COUNT);
    lamina__stream_normal(stream, 0, normal, COUNT);
    for (int k = 0; k < 3; k++) {
        int64_t different = 0;
        draw(texts[k], &conv_weight, got);
        for (int64_t i = 0; i < COUNT; i++) {
            const float want = k == 0   ? (float)(sqrt(6.0 / 990) * (2.0 * uniform[i] - 1.0))
                               : k == 1 ? (float)(sqrt(2.0 / 450) * normal[i])
                                        : (float)(0.3 * normal[i]);
            different += memcmp(&want, &got[i], sizeof want) != 0;
        }
        CU_ASSERT_EQUAL(different, 0);
    }
}

/* What is within two standard deviations is the normal number itself. */
static void truncated_draws_again(void) {
    static float got[COUNT], normal[COUNT];
    const lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_INIT, 2, 3);
    int64_t wrong = 0, again = 0;
    lamina__stream_normal(stream, 0, normal, COUNT);
    draw("{type: truncated_normal, std: 1}", &conv_weight, got);
    for (int64_t i = 0; i < COUNT; i++) {
        again += fabsf(normal[i]) > 2;
        wrong += fabsf(normal[i]) > 2 ? fabsf(got[i]) > 2 : got[i] != normal[i];
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_DOUBLE_EQUAL((double)again / COUNT, 0.0455, 0.007);
}

static void constants(void) {
    static const struct {
        const char *text;
        float value;
    } cases[] = {
        {"zeros", 0}, {"ones", 1}, {"constant", 0}, {"{type: constant, value: -2.5}", -2.5F}};
    static float values[COUNT];
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        int64_t wrong = 0;
        draw(cases[k].text, &conv_weight, values);
        for (int64_t i = 0; i < COUNT; i++) {
            wrong += values[i] != cases[k].value;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

/* ---- Orthogonal ---- */

/* The largest difference of the Gram matrix of the fewer, rows or columns, from gain^2 I. */
static double not_orthogonal(const float *w, int64_t rows, int64_t columns, double gain) {
    const bool wide = rows < columns;
    const int64_t n = wide ? rows : columns, length = wide ? columns : rows;
    double worst = 0;
    for (int64_t a = 0; a < n; a++) {
        for (int64_t b = 0; b < n; b++) {
            double sum = 0;
            for (int64_t i = 0; i < length; i++) {
                sum += wide ? (double)w[a * columns + i] * w[b * columns + i]
                            : (double)w[i * columns + a] * w[i * columns + b];
            }
            worst = fmax(worst, fabs(sum - (a == b ? gain * gain : 0)));
        }
    }
    return worst / (gain * gain);
}

static void orthogonal(void) {
    static const struct {
        int32_t ndim;
        int64_t dim[4], rows, columns;
        double gain;
    } cases[] = {{2, {30, 30}, 30, 30, 1},
                 {2, {40, 17}, 40, 17, 1},
                 {2, {17, 40}, 17, 40, 1.5},
                 {4, {6, 5, 3, 3}, 6, 45, 1},
                 {4, {60, 2, 3, 3}, 60, 18, 0.25},
                 {2, {1, 9}, 1, 9, 2},
                 {2, {9, 1}, 9, 1, 2},
                 {2, {1, 1}, 1, 1, 3}};
    static float w[2000], again[2000];
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        lamina_weight weight = {.struct_size = sizeof weight,
                                .name = "weight",
                                .shape = {.dtype = LAMINA_F32, .ndim = cases[k].ndim}};
        char text[100];
        weight.elements = cases[k].rows * cases[k].columns;
        memcpy(weight.shape.dim, cases[k].dim, sizeof cases[k].dim);
        snprintf(text, sizeof text, "{type: orthogonal, gain: %g}", cases[k].gain);
        draw(text, &weight, w);
        CU_ASSERT(not_orthogonal(w, cases[k].rows, cases[k].columns, cases[k].gain) < 3e-7);
        draw(text, &weight, again);
        CU_ASSERT(memcmp(w, again, (size_t)weight.elements * sizeof *w) == 0);
    }
}

/* Q of A = QR with a positive diagonal is what Gram and Schmidt make of A's columns. */
static void orthogonal_is_of_the_normal_numbers(void) {
    enum { ROWS = 12, COLUMNS = 7 };
    const lamina__stream stream = lamina__stream_make(1, LAMINA__RANDOM_INIT, 2, 3);
    const lamina_weight weight = {.struct_size = sizeof weight,
                                  .name = "weight",
                                  .shape = {LAMINA_F32, 2, {ROWS, COLUMNS}},
                                  .elements = ROWS * COLUMNS};
    float normal[ROWS * COLUMNS], w[ROWS * COLUMNS];
    double q[COLUMNS][ROWS], worst = 0;
    lamina__stream_normal(stream, 0, normal, ROWS * COLUMNS);
    draw("orthogonal", &weight, w);
    for (int c = 0; c < COLUMNS; c++) {
        double norm = 0;
        for (int r = 0; r < ROWS; r++) {
            q[c][r] = normal[r * COLUMNS + c];
        }
        for (int before = 0; before < c; before++) {
            double dot = 0;
            for (int r = 0; r < ROWS; r++) {
                dot += q[before][r] * q[c][r];
            }
            for (int r = 0; r < ROWS; r++) {
                q[c][r] -= dot * q[before][r];
            }
        }
        for (int r = 0; r < ROWS; r++) {
            norm += q[c][r] * q[c][r];
        }
        for (int r = 0; r < ROWS; r++) {
            q[c][r] /= sqrt(norm);
            worst = fmax(worst, fabs(q[c][r] - w[r * COLUMNS + c]));
        }
    }
    CU_ASSERT(worst < 1e-6);
}

/* Columns that are 0, or multiples of another, still give orthogonal ones. */
static void orthogonal_of_anything(void) {
    static const float starts[][12] = {
        {0}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 2, 4, 0, 1, 2, 0, -1, -2, 0, 3, 6}};
    for (size_t k = 0; k < 3; k++) {
        float w[12];
        lamina_error error = {0};
        memcpy(w, starts[k], sizeof w);
        CU_ASSERT_EQUAL(lamina__orthogonalise(w, 4, 3, 1, &error), LAMINA_OK);
        CU_ASSERT(not_orthogonal(w, 4, 3, 1) < 1e-6);
    }
}

/* ---- Reading and writing ---- */

static void written_reads_back(void) {
    static const struct {
        const char *text, *written;
    } cases[] = {
        {"zeros", "{type: constant, value: 0}"},
        {"{type: ones}", "{type: constant, value: 1}"},
        {"{type: constant, value: 0.1}", "{type: constant, value: 0.1}"},
        {"{type: uniform, range: [-1, 0.5]}", "{type: uniform, range: [-1, 0.5]}"},
        {"{type: uniform, range: 0.25}", "{type: uniform, range: 0.25}"},
        {"uniform", "{type: uniform, range: 0.05}"},
        {"{type: normal, value: 0.125}", "{type: normal, mean: 0, std: 0.125}"},
        {"{type: truncated_normal, std: 0.02}", "{type: truncated_normal, mean: 0, std: 0.02}"},
        {"glorot", "{type: xavier, gain: 1}"},
        {"{type: xavier_normal, gain: 1.5}", "{type: xavier_normal, gain: 1.5}"},
        {"{type: kaiming, fan: out}", "{type: he, fan: out, slope: 0}"},
        {"{type: kaiming_uniform, slope: 0.01}", "{type: he_uniform, fan: in, slope: 0.01}"},
        {"orthogonal", "{type: orthogonal, gain: 1}"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        lamina__init once, again;
        lamina__text text = {0}, second = {0};
        char message[1024];
        CU_ASSERT(read_init(cases[k].text, &once, message));
        lamina__init_write(&once, &text);
        TEST_TEXT(text.data, cases[k].written);
        CU_ASSERT(read_init(text.data, &again, message));
        lamina__init_write(&again, &second);
        TEST_TEXT(second.data, cases[k].written);
        lamina__text_free(&text);
        lamina__text_free(&second);
    }
}

static void errors(void) {
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"kaimin", "init.yaml:1:1: error: w: unknown initialiser \"kaimin\"; did you mean "
                   "\"kaiming\"?; there are constant, zeros, ones, uniform, normal, "
                   "truncated_normal, xavier, xavier_normal, he, he_uniform, orthogonal"},
        {"{type: ortogonal}", "did you mean \"orthogonal\"?"},
        {"sparse", "unknown initialiser \"sparse\"; there are constant"},
        {"{value: 3}", "an initialiser is a word, or {type: normal, std: 0.01}"},
        {"[he]", "an initialiser is a word"},
        {"{type: [he]}", "an initialiser is a word"},
        {"{type: he, mode: in}", "w: initialiser he: unknown key \"mode\""},
        {"{type: he, fan: both}", "fan"},
        {"{type: he, slop: 1}", "did you mean \"slope\"?"},
        {"{type: zeros, value: 0}", "unknown key \"value\""},
        {"{type: normal, std: -1}", "std"},
        {"{type: normal, mean: 1e39}", "mean"},
        {"{type: normal, value: 1e39}", "value is the standard deviation, 0 or a float32 above"},
        {"{type: normal, value: -1}", "value is the standard deviation"},
        {"{type: constant, value: 1e39}", "value"},
        {"{type: constant, value: -1e39}", "value"},
        {"{type: uniform, range: 1e39}", "range"},
        {"{type: uniform, range: [-1e39, 0]}", "range"},
        {"{type: normal, value: wide}", "wide"},
        {"{type: uniform, range: [1, -1]}", "range begins with the lower number"},
        {"{type: uniform, range: [1, 2, 3]}", "range"},
        {"{type: xavier, gain: -1}", "gain"},
        {"{type: xavier, value: 1}", "unknown key \"value\""},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        lamina__init init;
        char message[1024];
        CU_ASSERT(!read_init(cases[k].text, &init, message));
        TEST_CONTAINS(message, cases[k].message);
    }
}

/* ---- In a network ---- */

static lamina__net_options options_for(void) {
    return (lamina__net_options){.channels = 2,
                                 .height = 6,
                                 .width = 6,
                                 .batch = 4,
                                 .classes = 5,
                                 .threads = 1,
                                 .training = true,
                                 .kernels = "reference",
                                 .seed = 7};
}

/* By weight, and, as a short form, of the one called "weight". */
static void networks_follow(void) {
    const lamina__net_options options = options_for();
    test_net t =
        test_net_make("- conv: {filters: 4, kernel: 3, init: {type: constant, value: 0.5}}\n"
                      "- prelu: {shared: false, init: zeros}\n"
                      "- linear: {units: 5, init: {weight: orthogonal, bias: ones}}\n"
                      "- softmax_loss\n",
                      &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 0).data[7], 0.5F);
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 1).data[3], 0);
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 2).data[3], 0);
    CU_ASSERT(not_orthogonal(lamina__net_weight_at(t.net, 3).data, 5, 64, 1) < 1e-6);
    CU_ASSERT_EQUAL(lamina__net_weight_at(t.net, 4).data[4], 1);
    lamina__text text = {0};
    lamina__network_write(&t.network, &text);
    TEST_CONTAINS(text.data, "init: {weight: {type: constant, value: 0.5}}");
    TEST_CONTAINS(text.data, "init: {weight: {type: orthogonal, gain: 1}, bias: {type: constant, "
                             "value: 1}}");
    lamina__text_free(&text);
    test_net_free(&t);
    test_net wrong = test_net_make("- linear: {units: 5, init: {bias: orthogonal}}\n"
                                   "- softmax_loss\n",
                                   &options);
    TEST_CONTAINS(test_net_error(&wrong), "net.yaml:1:29: error: layer \"linear1\" (linear): the "
                                          "weight \"bias\": orthogonal needs a weight of two");
    test_net_free(&wrong);
    test_net large = test_net_make("- linear: {units: 5, init: {type: normal, std: 3e38}}\n"
                                   "- softmax_loss\n",
                                   &options);
    TEST_CONTAINS(test_net_error(&large),
                  "layer \"linear1\" (linear): initial values of the weight "
                  "\"weight\" are too large for float32");
    test_net_free(&large);
}

/* What a layer declares, of each kind. */
static int32_t declared_kind;

static int32_t declares_setup(void *self, lamina_call *call, const lamina_setup *setup) {
    const lamina_weight weight = {.struct_size = sizeof weight,
                                  .name = "weight",
                                  .shape = {LAMINA_F32, 2, {100, 100}},
                                  .init = {.kind = declared_kind, .value = 0.3}};
    (void)self;
    const int32_t status = call->host->add_weight(call, &weight);
    return status < 0 ? status : call->host->set_output(call, 0, setup->in[0]);
}

static const lamina_layer_type declares_type = {
    .struct_size = sizeof(lamina_layer_type),
    .name = "test_declares",
    .doc = "has a weight",
    .state_version = 1,
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .param_stride = sizeof(lamina_param),
    .setup = declares_setup,
    .forward = noise_forward,
    .backward = noise_backward,
};
static const lamina_layer_type *const more_types[] = {&declares_type, NULL};

static void layers_declare(void) {
    static const double expected[] = {0.3,       0.3,       0.3, 0.1,       0.1414214,
                                      0.1732051, 0.2638877, 0.1, 0.1414214, 0.1};
    const lamina__net_options options = options_for();
    test_more_types = more_types;
    for (declared_kind = 0; declared_kind <= LAMINA_INIT_ORTHOGONAL; declared_kind++) {
        test_net t =
            test_net_make("- test_declares\n- linear: {units: 5}\n- softmax_loss\n", &options);
        CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
        double square = 0;
        for (int64_t i = 0; i < 10000; i++) {
            square += pow(lamina__net_weight_at(t.net, 0).data[i], 2);
        }
        CU_ASSERT_DOUBLE_EQUAL(sqrt(square / 10000) / expected[declared_kind], 1, 0.03);
        test_net_free(&t);
    }
    test_net t = test_net_make("- test_declares\n- linear: {units: 5}\n- softmax_loss\n", &options);
    TEST_CONTAINS(test_net_error(&t), "weight \"weight\" has initialiser 10, which Lamina ");
    test_net_free(&t);
    test_more_types = NULL;
}

LAMINA_TESTS({"moments and bounds", moments}, {"declared fans count", declared_fans},
             {"old numbers stay", old_numbers_stay},
             {"a truncated normal number is drawn again", truncated_draws_again},
             {"constants", constants}, {"orthogonal", orthogonal},
             {"orthogonal: Gram and Schmidt say the same", orthogonal_is_of_the_normal_numbers},
             {"orthogonal: of any numbers", orthogonal_of_anything},
             {"what is written reads back", written_reads_back}, {"errors", errors},
             {"in a network", networks_follow}, {"what layers declare", layers_declare})
