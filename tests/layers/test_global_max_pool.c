/* global_max_pool: against the double twin and finite differences; the definition, with equal
 * values and NaNs. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[2, 3, 5, 7]"},  {"{}", "[3, 1, 4, 4]"},   {"{}", "[2, 17, 7, 7]"},
        {"{}", "[1, 16, 1, 1]"}, {"{}", "[2, 33, 1, 9]"},  {"{}", "[1, 63, 3, 2]"},
        {"{}", "[2, 64, 2, 2]"}, {"{}", "[1, 65, 2, 3]"},  {"{}", "[2, 150, 3, 1]"},
        {"{}", "[1, 2, 17, 9]"}, {"{}", "[1, 128, 5, 4]"},
    };
    LAYER_CHECK("global_max_pool", cases);
}

/* What PyTorch takes of the pixels one after the other: the first of equals, the last NaN. */
static int64_t largest(const double *x, int64_t n) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++) {
        at = x[i] > x[at] || isnan(x[i]) ? i : at;
    }
    return at;
}

/* Few different values, so that there are equal ones, and in some channels NaNs. */
static void equals_and_nans(void) {
    enum { BATCH = 3, CHANNELS = 70, PIXELS = 12 };
    static const double values[] = {-2, 1, -1, 2, -INFINITY, 0, 2, NAN};
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "global_max_pool");
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    const lamina__rig_options options = {.batch = BATCH,
                                         .shards = 1,
                                         .threads = 1,
                                         .training = 1,
                                         .n_samples = 1,
                                         .samples = {BATCH}};
    lamina__fault fault;
    lamina__case from;
    lamina__rig *rig = NULL;
    int64_t wrong = 0, nans = 0;

    CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, "{input: [3, 70, 3, 4]}", &from, NULL),
                          LAMINA_OK);
    CU_ASSERT_EQUAL_FATAL(lamina__rig_create(entry, &from, 7, &options, &rig, NULL), LAMINA_OK);
    CU_ASSERT_FATAL(lamina__rig_draw(rig, 7, &from));
    lamina__field *in = lamina__rig_field(rig, LAMINA__ROLE_IN, 0);
    unsigned seed = 1;
    for (int64_t i = 0; i < in->count; i++) {
        seed = seed * 1664525U + 1013904223U;
        lamina__field_set(in, i, values[(seed >> 24) % (i / PIXELS % 3 == 0 ? 8 : 7)]);
    }
    CU_ASSERT(lamina__rig_forward(rig, &call, &fault));
    CU_ASSERT(lamina__rig_backward(rig, &call, &fault));
    for (int64_t nc = 0; nc < BATCH * CHANNELS; nc++) {
        double x[PIXELS];
        for (int64_t p = 0; p < PIXELS; p++) {
            x[p] = lamina__field_get(in, nc * PIXELS + p);
        }
        const int64_t at = largest(x, PIXELS);
        const double y = lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_OUT, 0), nc);
        const double dy = lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_D_OUT, 0), nc);
        nans += isnan(y) ? 1 : 0;
        wrong += isnan(x[at]) ? !isnan(y) : y != x[at];
        for (int64_t p = 0; p < PIXELS; p++) {
            const double dx =
                lamina__field_get(lamina__rig_field(rig, LAMINA__ROLE_D_IN, 0), nc * PIXELS + p);
            wrong += dx != (p == at ? dy : 0);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(nans > 0 && nans < BATCH * CHANNELS);
    lamina__rig_free(rig);
    lamina__case_free(&from);
    layer_close(open);
}

static void own(void) {
    layer_check_own("global_max_pool");
}

static void refuses(void) {
    layer_refuses("global_max_pool", "{input: [2, 3]}", "image");
    layer_refuses("global_max_pool", "{input: [2, 3, 4, 4], params: {kernel: 2}}", "kernel");
}

LAMINA_TESTS({"shapes", shapes}, {"equal values and NaNs", equals_and_nans}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
