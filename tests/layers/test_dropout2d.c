/* dropout2d: against the double twin, in place too; a channel is kept or not as a whole, how many
 * are, by the place in the batch, and evaluation changes nothing. */
#include "layer_checks.h"

#include "base/philox.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[3, 7, 2, 3]"},         {"{}", "[1, 1, 1, 1]"},          {"{}", "[2, 17, 3, 3]"},
        {"{p: 0.1}", "[4, 70, 1, 1]"},  {"{p: 0}", "[3, 2, 2, 2]"},      {"{p: 1}", "[3, 2, 2, 2]"},
        {"{p: 0.3}", "[3, 300, 2, 1]"}, {"{p: 0.3}", "[2, 64, 20, 20]"},
    };
    LAYER_CHECK("dropout2d", cases);
}

/* Channel n*C + c of the batch is kept when that number of the layer's stream is not below p; all
 * of its pixels grow alike. The rig is the network's layer 0 after 7 steps. */
static void share_case(layer_registries open, double p) {
    const lamina__stream stream = lamina__stream_make(7, LAMINA__RANDOM_LAYER, 0, 7);
    enum { CHANNELS = 500, PIXELS = 6 };
    float uniform[3 * CHANNELS];
    char text[128];
    layer_run run;
    int64_t wrong = 0, kept = 0;
    lamina__stream_uniform(stream, 0, uniform, 3 * CHANNELS);
    snprintf(text, sizeof text, "{input: [3, %d, 2, 3], params: {p: %g}, range: [1, 2]}", CHANNELS,
             p);
    if (layer_forward(open, "dropout2d", text, &run)) {
        const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        for (int64_t i = 0; i < in->count; i++) {
            const double x = lamina__field_get(in, i), y = lamina__field_get(out, i);
            kept += y != 0;
            wrong += (y != 0) != (uniform[i / PIXELS] >= (float)p);
            wrong += y != 0 && !(fabs(y * (1 - p) / x - 1) < 1e-6);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(fabs((double)kept / PIXELS - 3 * CHANNELS * (1 - p)) <=
              5 * sqrt(3 * CHANNELS * p * (1 - p)));
    layer_run_free(&run);
}

static void keeps_its_share(void) {
    layer_registries open = layer_open();
    share_case(open, 0);
    share_case(open, 0.25);
    share_case(open, 0.5);
    share_case(open, 1);
    layer_close(open);
}

static void evaluation_changes_nothing(void) {
    layer_check_evaluation_keeps("dropout2d", "{input: [3, 7, 4, 4]}");
}

static void own(void) {
    layer_check_own("dropout2d");
}

static void refuses(void) {
    layer_refuses("dropout2d", "{input: [2, 3]}", "needs images (N, C, H, W), got [2, 3]; dropout");
    layer_refuses("dropout2d", "{input: [2, 3, 1, 1], params: {p: 2}}", "p");
}

LAMINA_TESTS({"shapes", shapes}, {"keeps its share", keeps_its_share},
             {"evaluation changes nothing", evaluation_changes_nothing}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
