/* conv_transpose: all kernels with each instruction set, over the shapes that break them, and the
 * definition. */
#include "kernel_checks.h"

#include <math.h>

static const layer_case shapes[] = {
    /* odd sizes, 1 channel, 17 channels */
    {"{filters: 3, kernel: 3}", "[2, 3, 5, 7]"},
    {"{filters: 1, kernel: 3}", "[3, 1, 5, 6]"},
    {"{filters: 17, kernel: 3}", "[2, 17, 5, 5]"},
    {"{filters: 16, kernel: 3, padding: 1}", "[2, 33, 7, 5]"},
    {"{filters: 33, kernel: 5, padding: 2}", "[1, 17, 6, 5]"},
    {"{filters: 20, kernel: 5, bias: false}", "[2, 50, 4, 4]"},
    {"{filters: 6, kernel: 5}", "[2, 20, 4, 5]"},
    /* 1x1 filters and images */
    {"{filters: 35, kernel: 1}", "[3, 17, 5, 3]"},
    {"{filters: 4, kernel: 1, stride: 3, output_padding: 2}", "[3, 5, 3, 2]"},
    {"{filters: 17, kernel: 3, padding: 1}", "[3, 16, 1, 1]"},
    {"{filters: 8, kernel: 4}", "[2, 9, 1, 1]"},
    {"{filters: 1, kernel: 7}", "[1, 17, 1, 1]"},
    /* strides: as upsampling is done, with gaps between the windows, with output padding */
    {"{filters: 16, kernel: 2, stride: 2}", "[2, 32, 4, 5]"},
    {"{filters: 17, kernel: 4, stride: 2, padding: 1}", "[1, 17, 5, 4]"},
    {"{filters: 9, kernel: 3, stride: 2, padding: 1, output_padding: 1}", "[2, 16, 4, 3]"},
    {"{filters: 8, kernel: 2, stride: 3}", "[2, 16, 3, 4]"},
    {"{filters: 8, kernel: 2, stride: 3, output_padding: [2, 1]}", "[2, 8, 3, 4]"},
    {"{filters: 12, kernel: [5, 2], stride: [1, 2], padding: [2, 0]}", "[2, 10, 3, 6]"},
    /* few filters: pixels that are whole vectors of taps, and less, and more than a panel */
    {"{filters: 1, kernel: 4, stride: 2, padding: 1}", "[3, 16, 7, 7]"},
    {"{filters: 3, kernel: 3, stride: 2, padding: 1, output_padding: 1}", "[2, 17, 4, 5]"},
    {"{filters: 2, kernel: 7, padding: 3, dilation: [1, 2]}", "[1, 9, 6, 7]"},
    {"{filters: 3, kernel: 5, padding: [0, 1, 3, 2], bias: false}", "[2, 8, 5, 6]"},
    {"{filters: 1, kernel: 3, stride: 2}", "[1, 5, 20, 19]"}, /* several chunks */
    {"{filters: 3, kernel: 2, stride: 2}", "[1, 1, 3, 3]"},
    /* dilation, alone and larger than the stride that output padding then exceeds */
    {"{filters: 17, kernel: 3, dilation: 2, padding: 2}", "[2, 18, 5, 3]"},
    {"{filters: 8, kernel: 3, stride: [2, 3], dilation: [3, 2], padding: 3}", "[2, 8, 4, 5]"},
    {"{filters: 16, kernel: 2, dilation: 3, output_padding: 2}", "[2, 8, 3, 4]"},
    {"{filters: 2, kernel: 2, stride: 2, dilation: 4, output_padding: [3, 0]}", "[2, 3, 3, 4]"},
    /* padding by side, and so much that some inputs are not seen */
    {"{filters: 8, kernel: 4, padding: [0, 1, 2, 3]}", "[2, 9, 4, 5]"},
    {"{filters: 9, kernel: 3, stride: 2, padding: [3, 0, 0, 4]}", "[2, 8, 4, 6]"},
    {"{filters: 2, kernel: 3, padding: 3}", "[1, 8, 6, 7]"},
    /* groups, depthwise */
    {"{filters: 34, kernel: 3, padding: 1, groups: 2}", "[2, 18, 5, 4]"},
    {"{filters: 24, kernel: 2, stride: 2, groups: 3, bias: false}", "[2, 27, 3, 3]"},
    {"{filters: 17, kernel: 4, stride: 2, padding: 1, groups: 17}", "[2, 17, 4, 5]"},
    {"{filters: 5, kernel: 3, groups: 5, dilation: 2}", "[2, 5, 4, 3]"},
    {"{filters: 9, kernel: 3, stride: 2, groups: 9}", "[1, 18, 3, 4]"}, /* two inputs a filter */
    {"{filters: 18, kernel: 2, stride: 2, groups: 9}", "[2, 9, 3, 4]"}, /* two filters an input */
    /* filters packed by prepare(), and chunk after chunk where they are used */
    {"{filters: 72, kernel: 3, stride: 2}", "[2, 208, 2, 2]"},
    {"{filters: 32, kernel: 2, stride: 2}", "[1, 1100, 1, 2]"},
};

static const char *const own[] = {"planes",  "direct", "winograd", "depthwise",
                                  "patches", "taps",   NULL};
static kernel_table table = {"conv_transpose", shapes, sizeof shapes / sizeof *shapes, own};

static void against_double(void) {
    layer_each_isa(kernels_against_double, &table);
}

static void same_bits(void) {
    layer_each_isa(kernels_same_bits, &table);
}

/* Each kernel of ours is tried by some case, in all passes that it has. */
static void all_are_tried(void) {
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "conv_transpose");
    for (const char *const *kernel = own; *kernel != NULL; kernel++) {
        uint32_t passes = 0;
        for (size_t i = 0; i < table.n; i++) {
            char text[512];
            lamina__case from;
            snprintf(text, sizeof text, "{input: %s, params: %s}", shapes[i].input,
                     shapes[i].params);
            CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, text, &from, NULL), LAMINA_OK);
            lamina__rig *rig = kernel_run(entry, &from, *kernel, 1, 1);
            for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
                const char *name = lamina__instance_kernel(rig->instance, pass);
                passes |= strcmp(name, *kernel) == 0 ? 1U << pass : 0;
            }
            lamina__rig_free(rig);
            lamina__case_free(&from);
        }
        const lamina_kernel *const *k = entry->type->kernels;
        while (strcmp((*k)->name, *kernel) != 0) {
            k++;
        }
        CU_ASSERT_EQUAL(passes, (*k)->passes);
    }
    layer_close(open);
}

/* ---- The definition ---- */

typedef struct formula_case {
    const char *text;
    int64_t groups, out[2], stride[2], padding[2], dilation[2];
} formula_case;

/* Every input pixel adds its filters to its window: the output at `at`, in logical order. */
static double formula(const layer_run *run, const formula_case *c, const int64_t at[4]) {
    const int64_t out_each = layer_dim(run, LAMINA__ROLE_WEIGHT, 1);
    const int64_t in_each = layer_dim(run, LAMINA__ROLE_WEIGHT, 0) / c->groups;
    const int64_t group = at[1] / out_each;
    double sum = layer_at(run, LAMINA__ROLE_WEIGHT, 1, at[1], 0, 0, 0);
    for (int64_t i = 0; i < in_each * layer_dim(run, LAMINA__ROLE_IN, 2); i++) {
        const int64_t in = group * in_each + i % in_each, y = i / in_each;
        for (int64_t x = 0; x < layer_dim(run, LAMINA__ROLE_IN, 3); x++) {
            for (int64_t u = 0; u < layer_dim(run, LAMINA__ROLE_WEIGHT, 2); u++) {
                for (int64_t v = 0; v < layer_dim(run, LAMINA__ROLE_WEIGHT, 3); v++) {
                    if (y * c->stride[0] + u * c->dilation[0] - c->padding[0] == at[2] &&
                        x * c->stride[1] + v * c->dilation[1] - c->padding[1] == at[3]) {
                        sum += layer_at(run, LAMINA__ROLE_WEIGHT, 0, in, at[1] % out_each, u, v) *
                               layer_at(run, LAMINA__ROLE_IN, 0, at[0], in, y, x);
                    }
                }
            }
        }
    }
    return sum;
}

static double worst_of(const layer_run *run, const formula_case *c) {
    double worst = 0;
    int64_t at[4];
    for (at[0] = 0; at[0] < layer_dim(run, LAMINA__ROLE_OUT, 0); at[0]++) {
        for (at[1] = 0; at[1] < layer_dim(run, LAMINA__ROLE_OUT, 1); at[1]++) {
            for (at[2] = 0; at[2] < c->out[0]; at[2]++) {
                for (at[3] = 0; at[3] < c->out[1]; at[3]++) {
                    const double got =
                        layer_at(run, LAMINA__ROLE_OUT, 0, at[0], at[1], at[2], at[3]);
                    worst = fmax(worst, fabs(got - formula(run, c, at)));
                }
            }
        }
    }
    return worst;
}

/* Sizes by PyTorch's formula: (in - 1) stride - 2 padding + dilation (kernel - 1) +
 * output_padding + 1. */
static void formula_matches(void) {
    static const formula_case cases[] = {
        {"{input: [2, 3, 4, 5], params: {filters: 4, kernel: 3}}",
         1,
         {6, 7},
         {1, 1},
         {0, 0},
         {1, 1}},
        {"{input: [2, 4, 3, 5], params: {filters: 6, kernel: [3, 2], stride: [2, 3], "
         "padding: [1, 0], groups: 2, dilation: [1, 2], output_padding: [1, 2]}}",
         2,
         {6, 17},
         {2, 3},
         {1, 0},
         {1, 2}},
        {"{input: [1, 2, 3, 3], params: {filters: 3, kernel: 4, padding: [0, 1, 2, 3]}}",
         1,
         {4, 2},
         {1, 1},
         {0, 1},
         {1, 1}},
    };
    layer_registries open = layer_open();
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        layer_run run;
        if (layer_forward(open, "conv_transpose", cases[k].text, &run)) {
            CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), cases[k].out[0]);
            CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), cases[k].out[1]);
            CU_ASSERT(worst_of(&run, &cases[k]) < 1e-5);
        }
        layer_run_free(&run);
    }
    layer_close(open);
}

static void own_cases(void) {
    layer_check_own("conv_transpose");
}

static void refuses(void) {
    static const char type[] = "conv_transpose";
    layer_refuses(type, "{input: [2, 3], params: {filters: 2, kernel: 3}}", "image");
    layer_refuses(type, "{input: [2, 3, 1, 5], params: {filters: 2, kernel: 3, padding: 2}}",
                  "padding cuts away all of the output of input 1x5");
    layer_refuses(type, "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, groups: 2}}",
                  "groups 2 must divide the 3 input channels and the 2 filters");
    layer_refuses(type,
                  "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, stride: 2, "
                  "output_padding: 2}}",
                  "output_padding 2 must be smaller");
    layer_refuses(type, "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, padding: same}}",
                  "padding");
    layer_refuses(type,
                  "{input: [2, 3, 5, 5], params: {filters: 2, kernel: 3, "
                  "padding: [1, 2, 3]}}",
                  "[top, left, bottom, right]");
    layer_refuses(type, "{input: [2, 3, 5, 5], params: {filters: 2}}", "kernel");
}

LAMINA_TESTS({"every kernel against the double twin", against_double},
             {"threads and inference, the same bits", same_bits},
             {"every kernel is tried", all_are_tried}, {"matches the formula", formula_matches},
             {"its own cases", own_cases}, {"refuses bad shapes and parameters", refuses})
