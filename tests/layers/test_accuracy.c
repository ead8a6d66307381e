/* accuracy: against its double twin, and against sorting. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{}", "[[3, 7], [3]]"},          {"{}", "[1, 1]"},        {"{}", "[3, 5, 1, 1]"},
        {"{top: 5}", "[20, 300]"},        {"{top: 3}", "[40, 7]"}, {"{ignore_label: 2}", "[9, 4]"},
        {"{ignore_label: 99}", "[9, 4]"},
    };
    LAYER_CHECK("accuracy", cases);
}

/* Ties go to the lower class; a NaN makes a sample wrong. */
static void known_ranks(void) {
    static const struct {
        double scores[4];
        int label, rank; /* 0: the largest; 9: never right */
    } cases[] = {
        {{1, 2, 3, 4}, 3, 0},   {{1, 2, 3, 4}, 0, 3},    {{5, 5, 5, 5}, 0, 0},
        {{5, 5, 5, 5}, 2, 2},   {{1, 7, 7, 2}, 2, 1},    {{-1, -2, -3, -4}, 1, 1},
        {{1, NAN, 3, 4}, 3, 9}, {{0, -0.0, 1, 0}, 1, 2},
    };
    enum { N = sizeof cases / sizeof cases[0] };
    for (int top = 1; top <= 4; top++) {
        layer_registries open = layer_open();
        const lamina__rig_call call = {.phase = LAMINA_EVAL};
        lamina__fault fault;
        layer_run run;
        char text[64];
        snprintf(text, sizeof text, "{input: [%d, 4], params: {top: %d}}", (int)N, top);
        if (layer_forward(open, "accuracy", text, &run)) {
            for (int64_t n = 0; n < N; n++) {
                lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 1), n,
                                  cases[n].label);
                for (int64_t k = 0; k < 4; k++) {
                    lamina__field_set(lamina__rig_field(run.rig, LAMINA__ROLE_IN, 0), 4 * n + k,
                                      cases[n].scores[k]);
                }
            }
            CU_ASSERT(lamina__rig_forward(run.rig, &call, &fault));
            for (int64_t n = 0; n < N; n++) {
                CU_ASSERT_EQUAL(layer_at(&run, LAMINA__ROLE_OUT, 0, n, 0, 0, 0),
                                cases[n].rank < top ? 1 : 0);
            }
        }
        layer_run_free(&run);
        layer_close(open);
    }
}

static void own(void) {
    layer_check_own("accuracy");
}

static void refuses(void) {
    layer_refuses("accuracy", "{input: [2, 3, 4]}", "needs one score for each class");
    layer_refuses("accuracy", "{input: [2, 3], params: {top: 4}}", "top 4 of 3 classes");
    layer_refuses("accuracy", "{input: [2, 3], params: {top: 0}}", "top");
    layer_refuses("accuracy", "{input: [2, 3], target: values}", "one label for each of the 2");
}

LAMINA_TESTS({"shapes", shapes}, {"known ranks", known_ranks}, {"its own cases", own},
             {"refuses what does not fit", refuses})
