/* All kernels of conv with each instruction set, over the shapes that break them. */
#include "kernel_checks.h"

#include "layers/conv/conv.h"

static const layer_case shapes[] = {
    /* odd sizes, 1 channel, 17 channels */
    {"{filters: 20, kernel: 3}", "[3, 1, 9, 7]"},
    {"{filters: 33, kernel: 3, padding: 1}", "[2, 17, 5, 9]"},
    {"{filters: 17, kernel: 5}", "[1, 17, 7, 11]"},
    {"{filters: 50, kernel: 5, padding: 1, bias: false}", "[2, 20, 6, 5]"},
    {"{filters: 16, kernel: [4, 2], padding: [0, 1, 2, 0]}", "[2, 9, 7, 5]"},
    /* strides and dilation */
    {"{filters: 17, kernel: 3, stride: 2, padding: 1}", "[2, 17, 7, 8]"},
    {"{filters: 9, kernel: 2, stride: 3}", "[2, 16, 8, 7]"},
    {"{filters: 17, kernel: 3, dilation: 2, padding: 2}", "[2, 18, 7, 5]"},
    {"{filters: 8, kernel: 3, stride: [2, 3], dilation: [3, 2], padding: 3}", "[2, 8, 9, 8]"},
    /* 1x1 windows and images, kernels larger than the image */
    {"{filters: 35, kernel: 1}", "[3, 17, 5, 3]"},
    {"{filters: 17, kernel: 1, stride: 2}", "[1, 33, 5, 6]"},
    {"{filters: 96, kernel: 1}", "[3, 16, 9, 8]"},
    {"{filters: 24, kernel: 1, bias: false}", "[2, 100, 7, 11]"},
    {"{filters: 18, kernel: 1, padding: 1}", "[2, 9, 1, 1]"},
    {"{filters: 17, kernel: 3, padding: 1}", "[3, 16, 1, 1]"},
    {"{filters: 8, kernel: 7, padding: 4}", "[2, 9, 2, 3]"},
    {"{filters: 8, kernel: 5, padding: 5}", "[1, 8, 1, 2]"}, /* windows that see only zeros */
    /* few channels: strides, dilation, padding beyond the window */
    {"{filters: 20, kernel: 3, stride: 4, padding: [5, 5, 0, 0]}", "[2, 1, 1, 1]"},
    {"{filters: 18, kernel: [2, 5], stride: [3, 1], dilation: [2, 1], padding: [7, 6]}",
     "[3, 3, 3, 9]"},
    /* groups */
    {"{filters: 34, kernel: 3, padding: 1, groups: 2}", "[2, 18, 5, 4]"},
    {"{filters: 24, kernel: 1, groups: 3, bias: false}", "[2, 27, 3, 3]"},
    {"{filters: 16, kernel: 3, groups: 4, stride: 2}", "[1, 64, 6, 7]"},
    /* depthwise, with one and with several filters for each channel */
    {"{filters: 17, kernel: 3, groups: 17, padding: 1}", "[2, 17, 9, 8]"},
    {"{filters: 33, kernel: 3, groups: 33, padding: 1, stride: 2}", "[1, 33, 7, 20]"},
    {"{filters: 40, kernel: 5, groups: 20, padding: 2}", "[2, 20, 6, 5]"},
    {"{filters: 51, kernel: 3, groups: 17, padding: 2, dilation: 2}", "[2, 17, 5, 6]"},
    {"{filters: 16, kernel: [1, 3], groups: 16, stride: [3, 2], padding: [0, 2]}", "[3, 16, 7, 5]"},
    /* three taps in a row over widths that are cut into all numbers of pixels */
    {"{filters: 35, kernel: 3, groups: 35, padding: 1}", "[2, 35, 4, 15]"},
    {"{filters: 16, kernel: 3, groups: 16, padding: 1, stride: 2}", "[2, 16, 6, 29]"},
    {"{filters: 18, kernel: [2, 3], groups: 9, padding: [0, 1, 1, 0], stride: [2, 1]}",
     "[2, 9, 5, 6]"},
    {"{filters: 17, kernel: 3, groups: 17, padding: 1}", "[2, 17, 1, 1]"},
    {"{filters: 17, kernel: 3, groups: 17, padding: 1, stride: [2, 1]}", "[1, 17, 6, 14]"},
    /* more filters for a channel than a vector has */
    {"{filters: 48, kernel: 3, groups: 2, padding: 1}", "[2, 2, 5, 4]"},
    {"{filters: 64, kernel: 3, groups: 2, padding: 1}", "[2, 2, 5, 4]"},
    {"{filters: 5, kernel: 7, groups: 5, padding: 3}", "[2, 5, 2, 3]"},
    {"{filters: 18, kernel: 1, groups: 18, bias: false}", "[1, 18, 4, 11]"},
    {"{filters: 8, kernel: 3, groups: 8, padding: 3}", "[2, 8, 1, 1]"},
};

static const char *const own[] = {"planes", "direct", "winograd", "depthwise", "taps", NULL};
static kernel_table table = {"conv", shapes, sizeof shapes / sizeof *shapes, own};

static void against_double(void) {
    layer_each_isa(kernels_against_double, &table);
}

static void same_bits(void) {
    layer_each_isa(kernels_same_bits, &table);
}

/* oneDNN takes seconds to say whether it has a kernel for a huge filter. */
static void large_filters(void) {
    const lamina_setup setup = {.struct_size = sizeof setup, .threads = 1};
    lamina__conv conv = {.in_channels = 1, .out_channels = 2, .groups = 1};
    const lamina__axis small = {.in = 8, .out = 6, .kernel = 3, .stride = 1, .dilation = 1},
                       large = {.in = 300, .out = 44, .kernel = 257, .stride = 1, .dilation = 1};
    conv.window = (lamina__window){.y = large, .x = small};
    CU_ASSERT(!lamina__conv_onednn.applies(&conv, &setup, LAMINA_PASS_FORWARD));
    conv.window = (lamina__window){.y = small, .x = large};
    CU_ASSERT(!lamina__conv_onednn.applies(&conv, &setup, LAMINA_PASS_FORWARD));
}

LAMINA_TESTS({"every kernel against the double twin", against_double},
             {"large filters are not oneDNN's", large_filters},
             {"threads and inference, the same bits", same_bits})
