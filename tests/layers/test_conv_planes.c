/* Convolution of few channels: each instruction set against the double twin, and several threads in
 * a call. */
#include "layer_checks.h"

/* Channels 1 to 4; filters that fill vectors, leave some over or are all left over, for vectors of
 * 4, 8 and 16; windows whose rows are runs of 3, 5 and 7 taps and others; rows of pixels that leave
 * part of a block or of a vector over; images hardly larger than the window. */
static const layer_case shapes_to_check[] = {
    {"{filters: 20, kernel: 5}", "[3, 1, 28, 28]"},
    {"{filters: 20, kernel: 5}", "[1, 1, 6, 5]"},
    {"{filters: 17, kernel: 3}", "[2, 1, 9, 19]"},
    {"{filters: 50, kernel: 5, padding: 2}", "[1, 3, 7, 11]"},
    {"{filters: 32, kernel: 3, padding: same}", "[2, 1, 13, 16]"},
    {"{filters: 64, kernel: 3, padding: same}", "[1, 3, 4, 33]"},
    {"{filters: 48, kernel: 7, padding: 3}", "[1, 3, 8, 9]"},
    {"{filters: 23, kernel: 7, bias: false}", "[2, 2, 9, 15]"},
    {"{filters: 6, kernel: 5}", "[2, 1, 14, 21]"},
    {"{filters: 5, kernel: 3, padding: 1}", "[2, 4, 3, 7]"},
    {"{filters: 11, kernel: [3, 5], padding: [1, 0, 0, 3]}", "[2, 3, 5, 8]"},
    {"{filters: 19, kernel: [1, 7], padding: 3}", "[1, 1, 1, 1]"},
    {"{filters: 22, kernel: [5, 3], stride: [2, 1], dilation: [2, 1]}", "[2, 2, 13, 18]"},
    {"{filters: 33, kernel: 3, padding: 3}", "[2, 1, 2, 2]"},
    /* forward alone: windows with rows of other widths, or whose taps are not side by side */
    {"{filters: 24, kernel: 7, stride: 2, padding: 3}", "[1, 3, 15, 30]"},
    {"{filters: 18, kernel: 4, stride: 3, padding: same}", "[2, 2, 11, 25]"},
    {"{filters: 20, kernel: [2, 3], dilation: 2, stride: [1, 3]}", "[2, 3, 6, 29]"},
    {"{filters: 40, kernel: 11, stride: 4, padding: 2}", "[1, 3, 20, 23]"},
};

static void check_shapes(void *arg) {
    static const char *const kernels[] = {"planes", NULL};
    (void)arg;
    layer_check_some("conv", kernels, shapes_to_check,
                     sizeof shapes_to_check / sizeof *shapes_to_check);
}

static void shapes(void) {
    layer_each_isa(check_shapes, NULL);
}

/* ---- Threads ---- */

/* Forward and the filters' gradients of a call that may use so many threads. */
static lamina__rig *run(const lamina__type_entry *entry, const lamina__case *from, int threads) {
    lamina__rig *rig = layer_rig(
        entry, from, (lamina__rig_options){.kernel = "planes", .threads = threads, .training = 1},
        (lamina__rig_call){.skip_d_in = 1});
    CU_ASSERT(lamina__rig_has_kernel(rig, "planes"));
    return rig;
}

static void same_bits(const lamina__rig *a, const lamina__rig *b, lamina__role role, int32_t i) {
    const lamina__field *x = lamina__rig_field(a, role, i), *y = lamina__rig_field(b, role, i);
    CU_ASSERT_EQUAL(x->bytes, y->bytes);
    CU_ASSERT_EQUAL(memcmp(lamina__field_data(x), lamina__field_data(y), x->bytes), 0);
}

static void check_threads(void *arg) {
    static const char *const texts[] = {
        "{input: [3, 1, 15, 16], params: {filters: 20, kernel: 5}}",
        "{input: [2, 3, 9, 7], params: {filters: 37, kernel: 3, padding: same}}",
    };
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "conv");

    (void)arg;
    for (int k = 0; k < (int)(sizeof texts / sizeof *texts); k++) {
        lamina__case from;
        CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, texts[k], &from, NULL), LAMINA_OK);
        lamina__rig *one = run(entry, &from, 1);
        for (int threads = 2; threads <= 4; threads++) {
            lamina__rig *more = run(entry, &from, threads);
            same_bits(more, one, LAMINA__ROLE_OUT, 0);
            same_bits(more, one, LAMINA__ROLE_D_WEIGHT, 0);
            same_bits(more, one, LAMINA__ROLE_D_WEIGHT, 1);
            lamina__rig_free(more);
        }
        lamina__rig_free(one);
        lamina__case_free(&from);
    }
    layer_close(open);
}

static void threads(void) {
    layer_each_isa(check_threads, NULL);
}

LAMINA_TESTS({"shapes, with each instruction set", shapes}, {"threads change no bit", threads})
