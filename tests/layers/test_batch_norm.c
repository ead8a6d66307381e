/* batch_norm: every kernel against the double twin, in both phases; normalised values and running
 * statistics against the formula, also far from 0; the same bits with any number of threads. */
#include "layer_checks.h"

#include <math.h>

static const char *const kernel_names[] = {"blocks", "reference"};
#define N_KERNELS (sizeof kernel_names / sizeof *kernel_names)

/* Two values of a channel become 1 and -1 whatever they were, so their gradient is what rounding
 * left, unless eps counts. */
static const layer_case every_case[] = {
    {"{}", "[5, 7]"},
    {"{}", "[7, 1]"},
    {"{}", "[40, 40]"},
    {"{eps: 0.5}", "[2, 9]"},
    {"{}", "[2, 3, 5, 4]"},
    {"{}", "[1, 1, 3, 3]"},
    {"{}", "[3, 17, 3, 3]"},
    {"{}", "[8, 17, 1, 1]"},
    {"{}", "[1, 16, 8, 8]"},
    {"{}", "[4, 64, 9, 7]"},
    {"{}", "[2, 300, 3, 2]"},
    {"{}", "[9, 16, 16, 16]"},
    {"{affine: false}", "[6, 5]"},
    {"{affine: false}", "[2, 6, 5, 3]"},
    {"{eps: 0.1, momentum: 1}", "[3, 4, 5, 5]"},
    {"{eps: 0, momentum: 0}", "[3, 33, 4, 4]"},
};

static void shapes(void) {
    LAYER_CHECK("batch_norm", every_case);
}

/* backward() too: what a frozen layer does in training. */
static void shapes_in_eval(void) {
    layer_registries open = layer_open();
    for (size_t i = 0; i < sizeof every_case / sizeof *every_case; i++) {
        char text[256];
        snprintf(text, sizeof text, "{input: %s, params: %s, phase: eval}", every_case[i].input,
                 every_case[i].params);
        layer_check_text(open, "batch_norm", text);
    }
    layer_check_text(open, "batch_norm", "{input: [1, 5], phase: eval}");
    layer_check_text(open, "batch_norm", "{input: [1, 5, 1, 1], phase: eval}");
    layer_close(open);
}

static double largest(double worst, double error) {
    return isnan(error) || error > worst ? error : worst;
}

/* What the layer is to give for channel c of a rig that has been through forward(). */
typedef struct channel {
    double mean, variance, unbiased; /* of the batch */
    int64_t values;
} channel;

static double in_at(const lamina__rig *rig, lamina__role role, int64_t n, int64_t c, int64_t pixel,
                    int64_t pixels) {
    const lamina__field *field = lamina__rig_field(rig, role, 0);
    return lamina__field_get(field, (n * field->view.shape.dim[1] + c) * pixels + pixel);
}

static channel channel_of(const lamina__rig *rig, int64_t c, int64_t pixels) {
    channel k = {.values = rig->batch * pixels};
    for (int64_t i = 0; i < k.values; i++) {
        k.mean += in_at(rig, LAMINA__ROLE_IN, i / pixels, c, i % pixels, pixels);
    }
    k.mean /= (double)k.values;
    for (int64_t i = 0; i < k.values; i++) {
        const double x = in_at(rig, LAMINA__ROLE_IN, i / pixels, c, i % pixels, pixels);
        k.variance += (x - k.mean) * (x - k.mean);
    }
    k.unbiased = k.variance / (double)(k.values - 1);
    k.variance /= (double)k.values;
    return k;
}

static double state_at(const lamina__rig *rig, int32_t i, int64_t c) {
    return lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_STATE, i), c);
}

static double state_before(const lamina__rig *rig, int32_t i, int64_t c) {
    return (double)((const float *)lamina__rig_field(rig, LAMINA__ROLE_STATE, i)->start)[c];
}

/* The largest error of the outputs, and that of the running statistics, as parts of what they are
 * made of. */
static void check_formula(const char *text, const char *kernel, int32_t training, double eps,
                          double momentum, double out_tolerance, double state_tolerance) {
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "batch_norm");
    lamina__case from;
    CU_ASSERT_FATAL(lamina__case_read(entry, text, &from, NULL) == LAMINA_OK);
    lamina__rig *rig = layer_rig(
        entry, &from,
        (lamina__rig_options){.kernel = kernel, .shards = 1, .threads = 1, .training = training},
        (lamina__rig_call){0});
    const lamina_shape *shape = &from.in[0];
    const int64_t pixels = shape->ndim == 4 ? shape->dim[2] * shape->dim[3] : 1;
    double out = 0, state = 0;
    for (int64_t c = 0; c < shape->dim[1]; c++) {
        const channel k = channel_of(rig, c, pixels);
        const double weight = lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_WEIGHT, 0), c);
        const double bias = lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_WEIGHT, 1), c);
        const double running[2] = {state_before(rig, 0, c), state_before(rig, 1, c)};
        const double mean = training ? k.mean : running[0];
        const double deviation = sqrt((training ? k.variance : running[1]) + eps);
        for (int64_t i = 0; i < k.values; i++) {
            const double x = in_at(rig, LAMINA__ROLE_IN, i / pixels, c, i % pixels, pixels);
            const double y = in_at(rig, LAMINA__ROLE_OUT, i / pixels, c, i % pixels, pixels);
            const double want = weight * (x - mean) / deviation + bias;
            out = largest(out, fabs(y - want) / (fabs(want) + 1));
        }
        const double part = training ? momentum : 0, batch[2] = {k.mean, k.unbiased};
        for (int i = 0; i < 2; i++) {
            const double want = (1 - part) * running[i] + part * batch[i];
            state = largest(state, fabs(state_at(rig, i, c) - want) / (fabs(want) + 0.1));
        }
    }
    if (!(out < out_tolerance && state < state_tolerance) || getenv("LAMINA_TEST_VERBOSE")) {
        printf("\n      %s %s, %s: output %.3g, state %.3g", text, kernel,
               training ? "training" : "evaluating", out, state);
    }
    CU_ASSERT(out < out_tolerance);
    CU_ASSERT(state < state_tolerance);
    lamina__rig_free(rig);
    lamina__case_free(&from);
    layer_close(open);
}

static void formula_matches(void) {
    for (size_t k = 0; k < N_KERNELS; k++) {
        for (int training = 0; training < 2; training++) {
            check_formula("{input: [4, 5, 3, 2]}", kernel_names[k], training, 1e-5, 0.1, 1e-6,
                          1e-6);
            check_formula("{input: [16, 16, 16, 16]}", kernel_names[k], training, 1e-5, 0.1, 1e-6,
                          1e-6);
            check_formula("{input: [6, 13], params: {eps: 0.1, momentum: 0.7}}", kernel_names[k],
                          training, 0.1, 0.7, 1e-6, 1e-6);
        }
    }
}

/* Values of 10000 that differ by 1 or so. A float there is a thousandth from the next; what the
 * layer makes of them is as exact as ever, and so is the variance it keeps. */
static void far_from_zero(void) {
    for (size_t k = 0; k < N_KERNELS; k++) {
        check_formula("{input: [16, 16, 16, 16], range: [9998.3, 10001.7], params: {momentum: 1}}",
                      kernel_names[k], 1, 1e-5, 1, 1e-6, 1e-6);
        check_formula("{input: [64, 3, 9, 7], range: [9998.3, 10001.7], params: {momentum: 1}}",
                      kernel_names[k], 1, 1e-5, 1, 1e-6, 1e-6);
        check_formula("{input: [50, 70], range: [-10001.7, -9998.3], params: {momentum: 1}}",
                      kernel_names[k], 1, 1e-5, 1, 1e-6, 1e-6);
    }
    layer_registries open = layer_open();
    layer_check_text(open, "batch_norm", "{input: [4, 3, 5, 4], range: [998, 1002]}");
    layer_close(open);
}

static int differs(const lamina__rig *a, const lamina__rig *b, lamina__role role, int32_t i) {
    const lamina__field *x = lamina__rig_field(a, role, i), *y = lamina__rig_field(b, role, i);
    return memcmp(lamina__field_data(x), lamina__field_data(y), x->bytes) != 0;
}

/* Sums are cut by sizes, not by threads. */
static void threads_change_nothing(void) {
    static const char *const texts[] = {"{input: [9, 16, 16, 16]}", "{input: [5, 3, 31, 17]}",
                                        "{input: [4, 64, 9, 7]}",   "{input: [300, 200]}",
                                        "{input: [7, 17, 40, 40]}", "{input: [7, 17, 3, 3]}"};
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "batch_norm");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < N_KERNELS; k++) {
            static const int32_t threads[] = {1, 2, 5};
            lamina__rig *rigs[3];
            lamina__case from;
            CU_ASSERT_FATAL(lamina__case_read(entry, texts[i], &from, NULL) == LAMINA_OK);
            for (int t = 0; t < 3; t++) {
                rigs[t] =
                    layer_rig(entry, &from,
                              (lamina__rig_options){
                                  .kernel = kernel_names[k], .threads = threads[t], .training = 1},
                              (lamina__rig_call){0});
            }
            int different = 0;
            for (int t = 1; t < 3; t++) {
                different += differs(rigs[0], rigs[t], LAMINA__ROLE_OUT, 0);
                different += differs(rigs[0], rigs[t], LAMINA__ROLE_D_IN, 0);
                for (int32_t w = 0; w < 2; w++) {
                    different += differs(rigs[0], rigs[t], LAMINA__ROLE_D_WEIGHT, w);
                    different += differs(rigs[0], rigs[t], LAMINA__ROLE_STATE, w);
                }
            }
            CU_ASSERT_EQUAL(different, 0);
            for (int t = 0; t < 3; t++) {
                lamina__rig_free(rigs[t]);
            }
            lamina__case_free(&from);
        }
    }
    layer_close(open);
}

/* A channel with a NaN becomes NaN, no other does. */
static void nan_makes_nan(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN, .quick = true};
    lamina__fault fault;
    layer_run run;
    if (layer_forward(open, "batch_norm", "{input: [3, 4, 5, 2]}", &run)) {
        lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), 1 * 40 + 2 * 10 + 3, NAN);
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        int64_t wrong = 0;
        for (int64_t i = 0; i < 120; i++) {
            const double y =
                layer_at(&run, LAMINA__ROLE_OUT, 0, i / 40, i / 10 % 4, i / 2 % 5, i % 2);
            wrong += (i / 10 % 4 == 2) != isnan(y);
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("batch_norm");
}

static void refuses(void) {
    layer_refuses("batch_norm", "{input: [2, 3, 4]}", "needs images (N, C, H, W) or features");
    layer_refuses("batch_norm", "{input: [2, 3], params: {momentum: 1.5}}", "momentum");
    layer_refuses("batch_norm", "{input: [2, 3], params: {eps: -1}}", "eps");
}

/* One value of a channel is its own mean. */
static void refuses_one_value(void) {
    static const char *const texts[] = {"{input: [1, 3]}", "{input: [1, 3, 1, 1]}"};
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "batch_norm");
    for (size_t i = 0; i < 2 * N_KERNELS; i++) {
        const lamina__rig_options options = {.kernel = kernel_names[i / 2],
                                             .batch = 1,
                                             .shards = 1,
                                             .threads = 1,
                                             .training = 1,
                                             .n_samples = 1,
                                             .samples = {1}};
        const lamina__rig_call train = {.phase = LAMINA_TRAIN}, eval = {.phase = LAMINA_EVAL};
        lamina__fault fault;
        lamina__case from;
        lamina__rig *rig = NULL;
        CU_ASSERT_FATAL(lamina__case_read(entry, texts[i % 2], &from, NULL) == LAMINA_OK);
        CU_ASSERT_FATAL(lamina__rig_create(entry, &from, 7, &options, &rig, NULL) == LAMINA_OK);
        CU_ASSERT(lamina__rig_draw(rig, 7, &from));
        CU_ASSERT(!lamina__rig_forward(rig, &train, &fault));
        TEST_CONTAINS(fault.text, "more than one value for each channel");
        CU_ASSERT(lamina__rig_forward(rig, &eval, &fault));
        lamina__rig_free(rig);
        lamina__case_free(&from);
    }
    layer_close(open);
}

LAMINA_TESTS({"shapes", shapes}, {"shapes, evaluating", shapes_in_eval},
             {"matches the formula", formula_matches}, {"far from 0", far_from_zero},
             {"threads change nothing", threads_change_nothing}, {"NaN makes NaN", nan_makes_nan},
             {"its own cases", own}, {"refuses what it cannot do", refuses},
             {"refuses one value in training", refuses_one_value})
