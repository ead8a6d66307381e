/* max_pool: every kernel against the double twin, our own with each instruction set, and the
 * definition; ties and NaNs. */
#include "layer_checks.h"

#include <math.h>

static void windows(void) {
    static const layer_case cases[] = {
        {"{kernel: 2}", "[2, 3, 6, 6]"},
        {"{kernel: 2, stride: 2}", "[2, 1, 7, 5]"},
        {"{kernel: 3, stride: 2}", "[2, 17, 7, 7]"}, /* windows overlap: gradients add up */
        {"{kernel: 3, stride: 1, padding: 1}", "[2, 2, 4, 5]"},
        {"{kernel: [3, 2], stride: [1, 2], padding: [1, 0]}", "[2, 3, 5, 6]"},
        {"{kernel: 2, stride: 3}", "[2, 2, 8, 7]"}, /* pixels that no window reads */
        {"{kernel: 1}", "[2, 3, 1, 1]"},
        {"{kernel: 5}", "[1, 4, 5, 5]"},
        {"{kernel: 3, stride: 2, dilation: 2}", "[2, 2, 7, 9]"},
        {"{kernel: 3, stride: 2, padding: same}", "[2, 2, 5, 8]"},
        {"{kernel: 3, padding: [1, 0, 0, 1]}", "[1, 2, 5, 5]"},
        {"{kernel: 2, ceil_mode: true}", "[2, 3, 5, 7]"},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", "[2, 16, 6, 6]"},
        {"{kernel: 3, stride: 2, ceil_mode: true}", "[2, 17, 2, 5]"}, /* larger than the image */
    };
    LAYER_CHECK("max_pool", cases);
}

/* Fewer channels than a vector has, one more than that, whole vectors, and 20 and 50 as in LeNet.
 */
static void check_vector(void *arg) {
    static const char *const kernels[] = {"vector", NULL};
    static const layer_case cases[] = {
        {"{kernel: 2}", "[3, 20, 6, 6]"},
        {"{kernel: 2}", "[1, 50, 8, 8]"},
        {"{kernel: 2}", "[2, 1, 7, 5]"}, /* pixels left over at the right and at the bottom */
        {"{kernel: 2}", "[2, 17, 7, 5]"},
        {"{kernel: 2}", "[2, 9, 4, 5]"},
        {"{kernel: 2}", "[2, 64, 2, 2]"},
        {"{kernel: 1}", "[2, 33, 1, 1]"},
        {"{kernel: [2, 3]}", "[2, 19, 5, 8]"},
        {"{kernel: 3, padding: [1, 0, 0, 1]}", "[1, 18, 5, 5]"},
        {"{kernel: 2, ceil_mode: true}", "[2, 16, 5, 7]"},
        {"{kernel: 3, ceil_mode: true}", "[2, 17, 2, 1]"}, /* windows larger than the image */
        {"{kernel: 3, stride: 2, ceil_mode: true}", "[1, 20, 2, 6]"},
        {"{kernel: 3, stride: 2}", "[2, 17, 7, 7]"},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", "[1, 20, 6, 7]"},
        {"{kernel: 3, stride: 1, padding: 1}", "[2, 24, 4, 5]"},
        {"{kernel: 2, stride: 3}", "[2, 23, 8, 7]"}, /* pixels that no window reads */
        {"{kernel: [3, 2], stride: [1, 2], padding: [1, 0]}", "[2, 31, 5, 6]"},
        {"{kernel: 3, stride: 2, dilation: 2}", "[1, 32, 7, 9]"},
        {"{kernel: 2, stride: 1, dilation: [2, 3]}", "[1, 11, 5, 6]"},
        {"{kernel: 16}", "[1, 16, 16, 17]"}, /* 256 positions, the most in a byte */
    };
    (void)arg;
    layer_check_some("max_pool", kernels, cases, sizeof(cases) / sizeof(cases[0]));
}

static void instruction_sets(void) {
    layer_each_isa(check_vector, NULL);
}

/* A window of more positions than a byte numbers is the reference's. */
static void large_windows(void) {
    static const layer_case cases[] = {{"{kernel: 17, stride: 1}", "[2, 3, 18, 17]"}};
    LAYER_CHECK("max_pool", cases);
}

/* ---- Ties and NaNs: all kernels of ours take the same ---- */

/* Forward and backward of one kernel over few different values, among them NaN and both zeros. */
static void run_coarse(layer_registries open, const char *text, const char *kernel,
                       layer_run *run) {
    static const float values[] = {-1, 0, 1, -0.0F, 2, NAN, -INFINITY};
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "max_pool");
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    lamina_error error = {0};
    lamina__fault fault;
    *run = (layer_run){0};
    CU_ASSERT_FATAL(lamina__case_read(entry, text, &run->from, &error) == LAMINA_OK);
    const int64_t batch = run->from.in[0].dim[0];
    const lamina__rig_options options = {.kernel = kernel,
                                         .batch = batch,
                                         .shards = 1,
                                         .threads = 1,
                                         .training = 1,
                                         .n_samples = 1,
                                         .samples = {batch}};
    CU_ASSERT_FATAL(lamina__rig_create(entry, &run->from, 7, &options, &run->rig, &error) ==
                    LAMINA_OK);
    CU_ASSERT_FATAL(lamina__rig_draw(run->rig, 7, &run->from));
    CU_ASSERT(lamina__rig_has_kernel(run->rig, kernel));
    lamina__field *in = lamina__rig_field(run->rig, LAMINA__ROLE_IN, 0);
    unsigned seed = 1;
    for (int64_t i = 0; i < in->count; i++) {
        seed = seed * 1664525U + 1013904223U;
        lamina__field_set(in, i, (double)values[(seed >> 24) % 7]);
    }
    CU_ASSERT(lamina__rig_forward(run->rig, &call, &fault));
    CU_ASSERT(lamina__rig_backward(run->rig, &call, &fault));
}

static int64_t different_bytes(const layer_run *a, const layer_run *b, lamina__role role) {
    const lamina__field *x = lamina__rig_field(a->rig, role, 0),
                        *y = lamina__rig_field(b->rig, role, 0);
    const unsigned char *p = lamina__field_data(x), *q = lamina__field_data(y);
    int64_t n = 0;
    for (size_t i = 0; i < x->bytes; i++) {
        n += p[i] != q[i];
    }
    return n;
}

/* The outputs' signs of zero and the inputs that get the gradients show which one was taken. */
static void compare_coarse(void *arg) {
    static const char *const cases[] = {
        "{input: [2, 20, 8, 8], params: {kernel: 2}}",
        "{input: [2, 37, 9, 9], params: {kernel: 3, stride: 2}}",
        "{input: [2, 8, 9, 9], params: {kernel: [1, 5], padding: [0, 2]}}",
        "{input: [2, 3, 6, 6], params: {kernel: 2, stride: 1}}",
    };
    layer_registries open = layer_open();
    (void)arg;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        layer_run reference, vector;
        run_coarse(open, cases[i], "reference", &reference);
        run_coarse(open, cases[i], "vector", &vector);
        CU_ASSERT_EQUAL(different_bytes(&vector, &reference, LAMINA__ROLE_OUT), 0);
        CU_ASSERT_EQUAL(different_bytes(&vector, &reference, LAMINA__ROLE_D_IN), 0);
        layer_run_free(&vector);
        layer_run_free(&reference);
    }
    layer_close(open);
}

static void ties_and_nans(void) {
    layer_each_isa(compare_coarse, NULL);
}

/* kernel 3, stride 2, padding 1 with ceil_mode: 6 -> ceil((6 + 2 - 3) / 2) + 1 = 4 windows. */
static void formula_matches(void) {
    layer_registries open = layer_open();
    layer_run run;
    int64_t wrong = 0;
    if (layer_forward(open, "max_pool",
                      "{input: [2, 3, 6, 6], params: {kernel: 3, stride: 2, padding: 1, "
                      "ceil_mode: true}}",
                      &run)) {
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), 4);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), 4);
        for (int64_t i = 0; i < 2 * 3 * 4 * 4; i++) {
            const int64_t n = i / 48, c = i / 16 % 3, oy = i / 4 % 4, ox = i % 4;
            double max = -INFINITY;
            for (int64_t w = 0; w < 9; w++) {
                const int64_t y = oy * 2 - 1 + w / 3, x = ox * 2 - 1 + w % 3;
                if (y >= 0 && y < 6 && x >= 0 && x < 6) {
                    max = fmax(max, layer_at(&run, LAMINA__ROLE_IN, 0, n, c, y, x));
                }
            }
            wrong += max != layer_at(&run, LAMINA__ROLE_OUT, 0, n, c, oy, ox);
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
    layer_run_free(&run);
    layer_close(open);
}

static void own(void) {
    layer_check_own("max_pool");
}

static void refuses(void) {
    layer_refuses("max_pool", "{input: [2, 3], params: {kernel: 2}}", "image");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {kernel: 5}}", "kernel 5");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {kernel: 2, padding: 2}}",
                  "more than half the kernel");
    layer_refuses("max_pool", "{input: [2, 3, 4, 4], params: {}}", "kernel");
}

LAMINA_TESTS({"windows", windows}, {"instruction sets", instruction_sets},
             {"large windows", large_windows}, {"ties and NaNs", ties_and_nans},
             {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
