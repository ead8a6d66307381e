/* relu: against the double twin, in place too, the definition, and NaNs. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"}, {"{}", "[1, 1]"},  {"{}", "[2, 3, 5, 4]"},  {"{}", "[2, 17, 3, 3]"},
        {"{}", "[6]"},    {"{}", "[2, 64]"}, {"{}", "[2, 16, 8, 8]"}, {"{}", "[2, 3, 4]"},
    };
    LAYER_CHECK("relu", cases);
}

static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    int64_t wrong = 0, positive = 0;
    if (layer_forward(open, "relu", "{input: [2, 3, 5, 4]}", &run)) {
        const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        for (int64_t i = 0; i < in->count; i++) {
            const double x = lamina__field_get(in, i);
            wrong += lamina__field_get(out, i) != (x > 0 ? x : 0);
            positive += x > 0;
        }
        CU_ASSERT(positive > 30 && positive < 90); /* the draw has both sides */
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

/* Forward, and backward where the output is one. */
static void nan_stays_nan(void) {
    layer_registries open = layer_open();
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina__fault fault;
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "relu", "{input: [1, 37]}", &run)) {
        lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        for (int64_t i = 0; i < in->count; i += 3) {
            lamina__field_set(in, i, NAN);
            lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_D_OUT, 0), i, NAN);
        }
        CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
        CU_ASSERT(lamina__rig_backward(run.rig, &call, &fault));
        for (int64_t i = 0; i < in->count; i++) {
            wrong += isnan(layer_at(&run, LAMINA__ROLE_OUT, 0, 0, i, 0, 0)) != (i % 3 == 0);
            wrong += isnan(layer_at(&run, LAMINA__ROLE_D_IN, 0, 0, i, 0, 0)) != (i % 3 == 0);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("relu");
}

static void refuses(void) {
    layer_refuses("relu", "{input: [2, 3], params: {slope: 2}}", "slope");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches},
             {"a NaN stays a NaN", nan_stays_nan}, {"its own cases", own},
             {"refuses unknown parameters", refuses})
