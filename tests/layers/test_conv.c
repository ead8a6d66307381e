/* conv: every kernel against the double twin, over the shapes that break convolutions. */
#include "layer_checks.h"

static void sizes(void) {
    static const layer_case cases[] = {
        {"{filters: 3, kernel: 3}", "[2, 3, 7, 7]"},
        {"{filters: 1, kernel: 3}", "[2, 1, 5, 6]"},
        {"{filters: 17, kernel: 3}", "[2, 17, 5, 5]"},
        {"{filters: 16, kernel: 3, padding: 1}", "[2, 16, 6, 6]"},
        {"{filters: 5, kernel: 5}", "[1, 1, 12, 11]"},
        {"{filters: 4, kernel: 1}", "[3, 5, 3, 2]"},
        {"{filters: 4, kernel: 1}", "[3, 2, 1, 1]"},
        {"{filters: 2, kernel: 3, padding: 1}", "[1, 3, 1, 1]"},
        {"{filters: 3, kernel: [4, 5]}", "[2, 2, 4, 5]"},
        {"{filters: 20, kernel: 5}", "[2, 1, 9, 9]"},
        {"{filters: 7, kernel: 2}", "[9, 3, 4, 3]"},
    };
    LAYER_CHECK("conv", cases);
}

static void windows(void) {
    static const layer_case cases[] = {
        {"{filters: 3, kernel: 3, stride: 2}", "[2, 3, 7, 8]"},
        {"{filters: 3, kernel: 2, stride: 3}", "[2, 2, 8, 7]"}, /* pixels that no window reads */
        {"{filters: 3, kernel: 3, dilation: 2}", "[2, 2, 7, 6]"},
        {"{filters: 3, kernel: [3, 1], dilation: [2, 1], stride: [1, 2]}", "[2, 2, 7, 5]"},
        {"{filters: 2, kernel: [1, 5], padding: [0, 2]}", "[2, 2, 4, 6]"},
        {"{filters: 2, kernel: [5, 2], stride: [2, 1], padding: [2, 1]}", "[2, 3, 6, 5]"},
        {"{filters: 2, kernel: 3, padding: [0, 1, 2, 0]}", "[2, 3, 5, 5]"},
        {"{filters: 3, kernel: 4, padding: same}", "[1, 2, 7, 6]"},
        {"{filters: 3, kernel: 3, stride: 2, padding: same}", "[2, 2, 6, 7]"},
        {"{filters: 2, kernel: 3, padding: 3}", "[2, 2, 3, 3]"}, /* windows that see only zeros */
        {"{filters: 3, kernel: 3, bias: false}", "[2, 3, 5, 5]"},
    };
    LAYER_CHECK("conv", cases);
}

static void groups(void) {
    static const layer_case cases[] = {
        {"{filters: 6, kernel: 3, groups: 2, padding: 1}", "[2, 4, 5, 5]"},
        {"{filters: 6, kernel: 3, groups: 3, bias: false}", "[2, 3, 5, 4]"},
        {"{filters: 5, kernel: 3, groups: 5, padding: 1}", "[2, 5, 6, 5]"},   /* depthwise */
        {"{filters: 17, kernel: 3, groups: 17, stride: 2}", "[2, 17, 7, 7]"}, /* depthwise */
        {"{filters: 8, kernel: 1, groups: 4}", "[3, 4, 3, 3]"},
    };
    LAYER_CHECK("conv", cases);
}

static void own(void) {
    layer_check_own("conv");
}

static void refuses(void) {
    layer_refuses("conv", "{input: [2, 3], params: {filters: 2, kernel: 3}}", "image");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 7}}", "7");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, groups: 2}}",
                  "groups 2 must divide");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2}}", "kernel");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 0, kernel: 3}}", "filters");
    layer_refuses("conv", "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, strides: 2}}",
                  "did you mean \"stride\"");
}

LAMINA_TESTS({"sizes", sizes}, {"strides, dilation, padding", windows}, {"groups", groups},
             {"its own cases", own}, {"refuses bad shapes and parameters", refuses})
