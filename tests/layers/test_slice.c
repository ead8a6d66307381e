/* slice: against the double twin along every axis, Python's way of counting, and the definition. */
#include "layer_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{begin: 2, end: 5}", "[3, 7]"},
        {"{}", "[3, 7]"},
        {"{end: 1}", "[1, 1]"},
        {"{begin: -1}", "[2, 17, 3, 3]"},
        {"{end: -1}", "[2, 17, 3, 3]"},
        {"{begin: 1, end: 16}", "[2, 17, 3, 3]"},
        {"{axis: 2, begin: 1, end: 2}", "[2, 3, 4, 5]"},
        {"{axis: 3, begin: -2, end: -1}", "[2, 3, 4, 5]"},
        {"{axis: 2, begin: 1}", "[2, 3, 4]"},
        {"{axis: 4, begin: 1}", "[2, 3, 4, 2, 3]"},
        {"{begin: 8, end: 40}", "[2, 64, 20, 20]"},
    };
    LAYER_CHECK("slice", cases);
}

/* Is it places first .. first+length-1 of the axis, of 2, 6, 5, 7? */
static void slice_case(layer_registries open, const char *params, int axis, int64_t first,
                       int64_t length) {
    char text[256];
    layer_run run;
    int64_t wrong = 0;
    snprintf(text, sizeof text, "{input: [2, 6, 5, 7], params: %s}", params);
    if (layer_forward(open, "slice", text, &run)) {
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        const int64_t *dim = out->view.shape.dim;
        CU_ASSERT_EQUAL(dim[axis], length);
        for (int64_t i = 0; i < out->count; i++) {
            int64_t at[4] = {i / dim[3] / dim[2] / dim[1], i / dim[3] / dim[2] % dim[1],
                             i / dim[3] % dim[2], i % dim[3]};
            const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, at[0], at[1], at[2], at[3]);
            at[axis] += first;
            wrong += got != layer_at(&run, LAMINA__ROLE_IN, 0, at[0], at[1], at[2], at[3]);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
}

static void definition_matches(void) {
    layer_registries open = layer_open();
    slice_case(open, "{}", 1, 0, 6);
    slice_case(open, "{begin: 1, end: 3}", 1, 1, 2);
    slice_case(open, "{begin: -2}", 1, 4, 2);
    slice_case(open, "{begin: -3, end: -1}", 1, 3, 2);
    slice_case(open, "{end: -4}", 1, 0, 2);
    slice_case(open, "{begin: 2, end: end}", 1, 2, 4);
    slice_case(open, "{axis: 2, begin: 1, end: 4}", 2, 1, 3);
    slice_case(open, "{axis: 3, begin: 6}", 3, 6, 1);
    slice_case(open, "{axis: 3, begin: -7, end: 7}", 3, 0, 7);
    layer_close(open);
}

static void own(void) {
    layer_check_own("slice");
}

static void refuses(void) {
    layer_refuses("slice", "{input: [2, 6], params: {begin: 3, end: 3}}",
                  "begin 3 and end 3 leave nothing");
    layer_refuses("slice", "{input: [2, 6], params: {begin: 6}}", "of the 6 places along axis 1");
    layer_refuses("slice", "{input: [2, 6], params: {end: 7}}", "begin 0 and end 7");
    layer_refuses("slice", "{input: [2, 6], params: {begin: -7}}", "begin -7");
    layer_refuses("slice", "{input: [2, 6], params: {begin: 4, end: -3}}", "end -3");
    layer_refuses("slice", "{input: [2, 6], params: {axis: 2}}", "input [2, 6] has no axis 2");
    layer_refuses("slice", "{input: [2, 6], params: {end: last}}", "end");
    layer_refuses("slice", "{input: [2, 6], params: {begin: 9223372036854775807}}", "begin");
    layer_refuses("slice", "{input: [2, 6], params: {end: -9223372036854775807}}", "leave nothing");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the definition", definition_matches},
             {"its own cases", own}, {"refuses bad shapes and parameters", refuses})
