/* pad: against the double twin and finite differences, and all modes by their definitions. */
#include "layer_checks.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{padding: 1}", "[2, 3, 5, 7]"},
        {"{padding: 0}", "[2, 3, 4, 5]"},
        {"{padding: [0, 3]}", "[2, 1, 5, 4]"},
        {"{padding: [2, 0], value: 3.5}", "[1, 17, 3, 3]"},
        {"{padding: [0, 1, 2, 3], value: -1}", "[2, 33, 4, 3]"},
        {"{padding: [5, 0, 0, 9]}", "[2, 2, 1, 1]"},
        {"{padding: 1, mode: reflect}", "[2, 3, 5, 7]"},
        {"{padding: 0, mode: reflect}", "[2, 3, 1, 1]"},
        {"{padding: [4, 3], mode: reflect}", "[2, 17, 5, 4]"},
        {"{padding: [0, 1, 2, 3], mode: reflect}", "[1, 33, 3, 4]"},
        {"{padding: 1, mode: reflect}", "[2, 1, 2, 2]"},
        {"{padding: 1, mode: replicate}", "[2, 3, 5, 7]"},
        {"{padding: [3, 7], mode: replicate}", "[1, 17, 2, 3]"},
        {"{padding: [0, 1, 2, 3], mode: replicate}", "[2, 33, 3, 4]"},
        {"{padding: [2, 0, 1, 3], mode: replicate}", "[3, 5, 1, 1]"},
    };
    LAYER_CHECK("pad", cases);
}

/* ---- The definition ---- */

enum { N = 2, C = 3, H = 4, W = 5, TOP = 1, LEFT = 2, BOTTOM = 3, RIGHT = 4 };

/* Walks from pixel p, outside or not, to the pixel of an axis of n that it is a copy of: mirrored
 * at the edges as often as it takes, or back to the edge. */
static int64_t source(int mode, int64_t n, int64_t p) {
    while (p < 0 || p >= n) {
        p = mode == 2 ? (p < 0 ? p + 1 : p - 1) : p < 0 ? -p : 2 * (n - 1) - p;
    }
    return p;
}

static void formula_matches(void) {
    static const char *const modes[] = {"constant, value: 0.75", "reflect", "replicate"};
    static const int64_t sides[3][4] = {{TOP, LEFT, BOTTOM, RIGHT}, {3, 3, 3, 3}, {2, 1, 2, 1}};
    static const char *const paddings[] = {"[1, 2, 3, 4]", "3", "[2, 1]"};
    layer_registries open = layer_open();
    for (int k = 0; k < 9; k++) {
        const int mode = k % 3;
        const int64_t *side = sides[k / 3];
        const int64_t oh = side[0] + H + side[2], ow = side[1] + W + side[3];
        char text[256];
        layer_run run;
        int64_t wrong = 0;
        snprintf(text, sizeof text, "{input: [2, 3, 4, 5], params: {padding: %s, mode: %s}}",
                 paddings[k / 3], modes[mode]);
        if (layer_forward(open, "pad", text, &run)) {
            CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), oh);
            CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), ow);
            for (int64_t i = 0; i < N * C * oh * ow; i++) {
                const int64_t n = i / (C * oh * ow), c = i / (oh * ow) % C;
                const int64_t y = i / ow % oh - side[0], x = i % ow - side[1];
                const bool inside = y >= 0 && y < H && x >= 0 && x < W;
                const double expected = mode == 0 && !inside
                                            ? 0.75
                                            : layer_at(&run, LAMINA__ROLE_IN, 0, n, c,
                                                       source(mode, H, y), source(mode, W, x));
                wrong +=
                    layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, y + side[0], x + side[1]) != expected;
            }
        }
        CU_ASSERT_EQUAL(wrong, 0);
        layer_run_free(&run);
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("pad");
}

static void refuses(void) {
    layer_refuses("pad", "{input: [2, 3], params: {padding: 2}}", "image");
    layer_refuses("pad", "{input: [2, 3, 4, 4], params: {padding: -1}}", "padding");
    layer_refuses("pad", "{input: [2, 3, 4, 4], params: {}}", "padding");
    layer_refuses("pad", "{input: [2, 3, 4, 4], params: {padding: [1, 2, 3]}}",
                  "[top, left, bottom, right]");
    layer_refuses("pad", "{input: [2, 3, 4, 5], params: {padding: [4, 1], mode: reflect}}",
                  "4x5 can be mirrored by fewer pixels");
    layer_refuses("pad", "{input: [2, 3, 4, 5], params: {padding: 1, mode: circular}}",
                  "replicate");
    layer_refuses("pad", "{input: [2, 3, 4, 5], params: {padding: 1, mode: reflect, value: 1}}",
                  "value means nothing in mode reflect");
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
