/* dropout: against the double twin, in place too; how many are kept, by how much they grow, that
 * evaluation changes nothing, and that what is kept depends on the place in the batch, the step and
 * p alone. */
#include "layer_checks.h"

#include "base/philox.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7]"},           {"{}", "[1, 1]"},           {"{}", "[6]"},
        {"{}", "[2, 17, 3, 3]"},    {"{p: 0.1}", "[4, 512]"},   {"{p: 0.9}", "[4, 515]"},
        {"{p: 0}", "[3, 7]"},       {"{p: 1}", "[3, 7]"},       {"{p: 0.3}", "[2, 3, 4, 5, 2]"},
        {"{p: 0.3}", "[3, 20001]"}, {"{p: 0.25}", "[5, 1023]"},
    };
    LAYER_CHECK("dropout", cases);
}

/* Of 40000 numbers 1 - p are kept, give or take five standard deviations, and grow by 1/(1-p). */
static void kept_case(layer_registries open, double p) {
    char text[128];
    layer_run run;
    int64_t kept = 0, wrong = 0;
    snprintf(text, sizeof text, "{input: [4, 10000], params: {p: %g}, range: [1, 2]}", p);
    if (layer_forward(open, "dropout", text, &run)) {
        const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        for (int64_t i = 0; i < in->count; i++) {
            const double x = lamina__field_get(in, i), y = lamina__field_get(out, i);
            kept += y != 0;
            wrong += y != 0 && !(fabs(y * (1 - p) / x - 1) < 1e-6);
        }
        CU_ASSERT_EQUAL(in->count, 40000);
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(fabs((double)kept - 40000 * (1 - p)) <= 5 * sqrt(40000 * p * (1 - p)));
    layer_run_free(&run);
}

static void keeps_its_share(void) {
    layer_registries open = layer_open();
    kept_case(open, 0);
    kept_case(open, 0.1);
    kept_case(open, 0.5);
    kept_case(open, 0.875);
    kept_case(open, 1);
    layer_close(open);
}

/* Number i of the batch is kept when number i of the layer's stream is not below p. The rig is the
 * network's layer 0 after 7 steps. */
static void place_decides(void) {
    layer_registries open = layer_open();
    const lamina__stream stream = lamina__stream_make(7, LAMINA__RANDOM_LAYER, 0, 7);
    float uniform[3 * 1500];
    layer_run run;
    int64_t wrong = 0;
    lamina__stream_uniform(stream, 0, uniform, 3 * 1500);
    if (layer_forward(open, "dropout", "{input: [3, 1500], params: {p: 0.25}, range: [1, 2]}",
                      &run)) {
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        for (int64_t i = 0; i < out->count; i++) {
            wrong += (lamina__field_get(out, i) != 0) != (uniform[i] >= 0.25F);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void evaluation_changes_nothing(void) {
    layer_check_evaluation_keeps("dropout", "{input: [3, 700]}");
}

static void own(void) {
    layer_check_own("dropout");
}

static void refuses(void) {
    layer_refuses("dropout", "{input: [2, 3], params: {p: 1.5}}", "p");
    layer_refuses("dropout", "{input: [2, 3], params: {p: -0.1}}", "p");
    layer_refuses("dropout", "{input: [2, 3], params: {rate: 0.1}}", "rate");
}

LAMINA_TESTS({"shapes", shapes}, {"keeps its share", keeps_its_share},
             {"the place decides", place_decides},
             {"evaluation changes nothing", evaluation_changes_nothing}, {"its own cases", own},
             {"refuses bad parameters", refuses})
