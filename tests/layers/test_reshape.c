/* reshape: against the double twin between shapes of every kind, and that logical order stays. */
#include "layer_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{shape: [3, 2, 2]}", "[2, 12]"},
        {"{shape: [-1]}", "[2, 3, 5, 4]"},
        {"{shape: [3, 2, 10]}", "[2, 3, 5, 4]"},
        {"{shape: [4, 3, 5]}", "[2, 3, 5, 4]"},
        {"{shape: [4, -1]}", "[2, 3, 5, 4]"},
        {"{shape: [3, 20]}", "[2, 3, 5, 4]"},
        {"{shape: [1, 6, 10]}", "[2, 3, 5, 4]"},
        {"{shape: [60, 1, 1]}", "[2, 3, 5, 4]"},
        {"{shape: [3, 4, 5]}", "[2, 60]"},
        {"{shape: 60}", "[2, 60]"},
        {"{shape: [2, 3, 2, 5]}", "[2, 60]"},
        {"{shape: [5, 3, 4]}", "[2, 2, 3, 2, 5]"},
        {"{shape: [17, 16, -1]}", "[2, 4352]"},
        {"{shape: [16, 17, 16]}", "[2, 4352]"},
        {"{shape: [1]}", "[2]"},
        {"{shape: [64, 20, 20]}", "[2, 20, 64, 20]"},
        {"{shape: [2, 30, 40]}", "[2, 40, 6, 10]"},
    };
    LAYER_CHECK("reshape", cases);
}

/* Field by logical index: the same number under both shapes. */
static void order_matches(void) {
    static const char *const texts[] = {"{input: [2, 6, 5, 4], params: {shape: [8, 3, 5]}}",
                                        "{input: [2, 6, 5, 4], params: {shape: [6, 2, -1]}}",
                                        "{input: [2, 6, 5, 4], params: {shape: [-1]}}",
                                        "{input: [2, 120], params: {shape: [6, 5, 4]}}",
                                        "{input: [2, 6, 5, 4], params: {shape: [10, 12]}}",
                                        "{input: [2, 2, 3, 4, 5], params: {shape: [-1, 3, 4]}}"};
    layer_registries open = layer_open();
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        layer_run run;
        int64_t wrong = 0;
        if (layer_forward(open, "reshape", texts[t], &run)) {
            const lamina__field *in = lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0);
            const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
            CU_ASSERT_EQUAL(in->count, 240);
            CU_ASSERT_EQUAL(out->count, 240);
            for (int64_t i = 0; i < in->count; i++) {
                wrong += lamina__field_get(in, i) != lamina__field_get(out, i);
            }
        }
        CU_ASSERT_EQUAL(wrong, 0);
        layer_run_free(&run);
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("reshape");
}

static void refuses(void) {
    layer_refuses("reshape", "{input: [2, 3, 4, 2], params: {shape: [5, 5]}}",
                  "the sizes in shape make 25 numbers, a sample of the input [2, 3, 4, 2] has 24");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: [-1, 5]}}",
                  "make 5 numbers times what -1 stands for");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: [-1, -1]}}", "shape has -1 twice");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: [0, 24]}}", "shape has 0");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: [-2, 12]}}", "shape has -2");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: [4294967296, 4294967296]}}",
                  "the sizes in shape");
    layer_refuses("reshape", "{input: [2, 24], params: {}}", "shape");
    layer_refuses("reshape", "{input: [2, 24], params: {shape: []}}", "shape");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the logical order", order_matches},
             {"its own cases", own}, {"refuses bad shapes and parameters", refuses})
