/* concat: against the double twin along every axis, and the definition. */
#include "layer_checks.h"

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3, 2]]"},
        {"{}", "[[1, 1], [1, 1]]"},
        {"{}", "[[2, 17, 3, 3], [2, 1, 3, 3], [2, 16, 3, 3]]"},
        {"{axis: 2}", "[[2, 3, 1, 4], [2, 3, 2, 4]]"},
        {"{axis: 3}", "[[2, 3, 4, 1], [2, 3, 4, 2], [2, 3, 4, 5]]"},
        {"{axis: 1}", "[[2, 3, 1, 1], [2, 4, 1, 1]]"},
        {"{axis: 1}", "[[2, 3, 4], [2, 2, 4]]"},
        {"{axis: 2}", "[[2, 3, 4], [2, 3, 1]]"},
        {"{axis: 4}", "[[2, 3, 4, 2, 3], [2, 3, 4, 2, 1]]"},
        {"{}", "[[2, 64, 20, 20], [2, 32, 20, 20]]"},
        {"{}", "[[2, 1], [2, 2], [2, 1], [2, 2], [2, 1], [2, 2], [2, 1], [2, 2], [2, 1], [2, 2], "
               "[2, 1], [2, 2], [2, 1], [2, 2], [2, 1], [2, 2]]"},
    };
    LAYER_CHECK("concat", cases);
}

static void axis_case(layer_registries open, int axis, const char *text) {
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "concat", text, &run)) {
        const lamina_shape *first = &lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0)->view.shape;
        const lamina__field *out = lamina__rig_field(run.rig, LAMINA__ROLE_OUT, 0);
        const int64_t *dim = out->view.shape.dim;
        for (int64_t i = 0; i < out->count; i++) {
            int64_t at[4] = {i / dim[3] / dim[2] / dim[1], i / dim[3] / dim[2] % dim[1],
                             i / dim[3] % dim[2], i % dim[3]};
            const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, at[0], at[1], at[2], at[3]);
            const int32_t from = at[axis] >= first->dim[axis];
            at[axis] -= from ? first->dim[axis] : 0;
            wrong += got != layer_at(&run, LAMINA__ROLE_IN, from, at[0], at[1], at[2], at[3]);
        }
        CU_ASSERT_EQUAL(out->count, 2 * 3 * 4 * 5 / first->dim[axis] * (first->dim[axis] + 2));
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
}

static void definition_matches(void) {
    layer_registries open = layer_open();
    axis_case(open, 1, "{input: [[2, 3, 4, 5], [2, 2, 4, 5]], params: {axis: 1}}");
    axis_case(open, 2, "{input: [[2, 3, 4, 5], [2, 3, 2, 5]], params: {axis: 2}}");
    axis_case(open, 3, "{input: [[2, 3, 4, 5], [2, 3, 4, 2]], params: {axis: 3}}");
    layer_close(open);
}

static void own(void) {
    layer_check_own("concat");
}

static void refuses(void) {
    layer_refuses("concat", "{input: [[2, 3, 4, 4], [2, 3, 4, 5]]}",
                  "input 2 is [2, 3, 4, 5] and input 1 is [2, 3, 4, 4]: they may differ along axis "
                  "1 alone");
    layer_refuses("concat", "{input: [[2, 3, 4, 4], [2, 3]]}", "input 2 is [2, 3]");
    layer_refuses("concat", "{input: [[2, 3], [2, 4]], params: {axis: 2}}",
                  "input [2, 3] has no axis 2");
    layer_refuses("concat", "{input: [[2, 3], [2, 4]], params: {axis: 0}}", "axis");
    layer_refuses("concat", "{input: [2, 3]}", "takes 2 to 16 inputs");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the definition", definition_matches},
             {"its own cases", own}, {"refuses bad shapes and parameters", refuses})
