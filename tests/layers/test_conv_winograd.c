/* Winograd's convolution: each of its tilings and instruction sets against the double twin, and how
 * exact it is. */
#include "layer_checks.h"

/* 3x3: tiles of 4 where images are small, of 6 else; 5x5: tiles of 6 and 8. Images smaller than a
 * tile, one pixel more or less than whole tiles, padding from none to more than the filter, tails
 * of channels and filters; enough tiles for several groups. */
static const layer_case shapes_to_check[] = {
    {"{filters: 8, kernel: 3, padding: 1}", "[2, 8, 1, 1]"},
    {"{filters: 17, kernel: 3, padding: 1}", "[3, 9, 2, 2]"},
    {"{filters: 33, kernel: 3, padding: 1}", "[2, 17, 4, 4]"},
    {"{filters: 16, kernel: 3}", "[1, 16, 6, 7]"},
    {"{filters: 10, kernel: 3, padding: 1, bias: false}", "[1, 18, 9, 13]"},
    {"{filters: 9, kernel: 3, padding: [0, 2, 1, 0]}", "[2, 8, 5, 6]"},
    {"{filters: 8, kernel: 3, padding: 4}", "[2, 8, 3, 3]"},
    {"{filters: 18, kernel: 5}", "[2, 10, 12, 12]"},
    {"{filters: 8, kernel: 5, padding: same}", "[2, 10, 7, 6]"},
    {"{filters: 18, kernel: 5, padding: 4}", "[1, 8, 1, 2]"},
};

static void check_shapes(void *arg) {
    (void)arg;
    LAYER_CHECK("conv", shapes_to_check);
}

static void shapes(void) {
    layer_each_isa(check_shapes, NULL);
}

/* ---- Accuracy ---- */

/* Forward and backward of one kernel, or of the double twin. */
static lamina__rig *run(const lamina__type_entry *entry, const lamina__case *from,
                        const char *kernel, bool f64, int threads) {
    return layer_rig(
        entry, from,
        (lamina__rig_options){.kernel = kernel, .f64 = f64, .threads = threads, .training = 1},
        (lamina__rig_call){0});
}

/* The largest error as a part of the root mean square of the values. */
static double error_of(const lamina__rig *got, const lamina__rig *expected, lamina__role role,
                       int index) {
    const lamina__field *a = lamina__rig_field(got, role, index);
    const lamina__field *b = lamina__rig_field(expected, role, index);
    double worst = 0, squares = 0;
    for (int64_t i = 0; i < a->count; i++) {
        const double want = lamina__field_get(b, i);
        worst = fmax(worst, fabs(lamina__field_get(a, i) - want));
        squares += want * want;
    }
    return worst / sqrt(squares / (double)a->count);
}

/* What is written in conv_winograd.c, for each tiling, and with several threads the same bits; the
 * second and third have more than one group of tiles, and in the third the sums of filters'
 * gradients are turned around. Largest errors of forward, data, weights and bias, as parts of the
 * values' root mean square. */
static void accurate(void) {
    static const struct {
        const char *text;
        double bound;
    } measured[] = {
        {"{input: [4, 64, 2, 2], params: {filters: 64, kernel: 3, padding: 1}}", 3e-6},
        {"{input: [4, 64, 16, 16], params: {filters: 64, kernel: 3, padding: 1}}", 6e-5},
        {"{input: [12, 20, 12, 12], params: {filters: 50, kernel: 5}}", 5e-5},
        /* Filters so large that they are transformed block by block. */
        {"{input: [3, 200, 2, 2], params: {filters: 190, kernel: 3, padding: 1}}", 3e-6},
        {"{input: [2, 136, 9, 8], params: {filters: 130, kernel: 5}}", 5e-5},
        {"{input: [2, 136, 7, 8], params: {filters: 150, kernel: 3, padding: 1}}", 6e-5},
    };
    static const struct {
        lamina__role role;
        int index;
    } fields[] = {{LAMINA__ROLE_OUT, 0},
                  {LAMINA__ROLE_D_IN, 0},
                  {LAMINA__ROLE_D_WEIGHT, 0},
                  {LAMINA__ROLE_D_WEIGHT, 1}};
    layer_registries open = layer_open();
    for (int k = 0; k < (int)(sizeof measured / sizeof *measured); k++) {
        lamina__case from;
        const lamina__type_entry *entry = lamina__registry_find(open.f32, "conv");
        CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, measured[k].text, &from, NULL), LAMINA_OK);
        lamina__rig *got = run(entry, &from, "winograd", false, 1);
        lamina__rig *plain = run(entry, &from, "reference", false, 1);
        lamina__rig *truth =
            run(lamina__registry_find(open.f64, "conv"), &from, "reference", true, 1);
        lamina__rig *shared = run(entry, &from, "winograd", false, 3);
        CU_ASSERT(lamina__rig_has_kernel(got, "winograd"));
        for (int r = 0; r < (int)(sizeof fields / sizeof *fields); r++) {
            const lamina__role role = fields[r].role;
            const double error = error_of(got, truth, role, fields[r].index);
            if (getenv("LAMINA_TEST_VERBOSE")) {
                printf("\n      %s pass %d: %.2g, plain float %.2g", measured[k].text, r, error,
                       error_of(plain, truth, role, fields[r].index));
            }
            CU_ASSERT(error < measured[k].bound);
            CU_ASSERT_EQUAL(error_of(shared, got, role, fields[r].index), 0);
        }
        lamina__rig_free(got);
        lamina__rig_free(shared);
        lamina__rig_free(plain);
        lamina__rig_free(truth);
        lamina__case_free(&from);
    }
    layer_close(open);
}

LAMINA_TESTS({"shapes, with each instruction set", shapes}, {"accurate", accurate})
