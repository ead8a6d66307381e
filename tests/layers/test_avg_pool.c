/* avg_pool: every kernel against the double twin, and the definition with both ways to count. */
#include "layer_checks.h"

#include <math.h>

static void windows(void) {
    static const layer_case cases[] = {
        {"{kernel: 2}", "[2, 3, 6, 6]"},
        {"{kernel: 2, stride: 2}", "[2, 1, 7, 5]"},
        {"{kernel: 3, stride: 2}", "[2, 17, 7, 7]"},
        {"{kernel: 3, stride: 1, padding: 1}", "[2, 2, 4, 5]"},
        {"{kernel: 3, stride: 1, padding: 1, count_include_pad: false}", "[2, 2, 4, 5]"},
        {"{kernel: [3, 2], stride: [1, 2], padding: [1, 0]}", "[2, 3, 5, 6]"},
        {"{kernel: 2, stride: 3}", "[2, 2, 8, 7]"},
        {"{kernel: 1}", "[2, 3, 1, 1]"},
        {"{kernel: 4}", "[1, 5, 4, 4]"},
        {"{kernel: 3, stride: 2, padding: same}", "[2, 2, 5, 8]"},
        {"{kernel: 3, padding: [1, 0, 0, 1], count_include_pad: false}", "[1, 2, 5, 5]"},
        {"{kernel: 2, ceil_mode: true}", "[2, 3, 5, 7]"},
        {"{kernel: 2, ceil_mode: true, count_include_pad: false}", "[2, 3, 5, 7]"},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", "[2, 16, 6, 6]"},
        {"{kernel: 3, stride: 2, ceil_mode: true}", "[2, 17, 2, 5]"}, /* larger than the image */
        {"{kernel: 4, stride: 3, ceil_mode: true, count_include_pad: false}", "[1, 3, 2, 3]"},
    };
    LAYER_CHECK("avg_pool", cases);
}

/* One image size, and what the windows are, the same along both axes. padding: before and after. */
typedef struct window_case {
    const char *params;
    int64_t size, kernel, stride, before, after, out;
    bool count_include_pad;
} window_case;

/* The mean with the divisor counted one position at a time: those inside the image, or also those
 * in the padding, but never those behind it, which ceil_mode's last windows have. */
static void formula_case(layer_registries open, const window_case *c) {
    layer_run run;
    double worst = 0;
    char text[256];
    snprintf(text, sizeof(text), "{input: [2, 3, %d, %d], params: %s}", (int)c->size, (int)c->size,
             c->params);
    if (layer_forward(open, "avg_pool", text, &run)) {
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), c->out);
        CU_ASSERT_EQUAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), c->out);
        for (int64_t i = 0; i < 2 * 3 * c->out * c->out; i++) {
            const int64_t ox = i % c->out, oy = i / c->out % c->out;
            const int64_t channel = i / (c->out * c->out) % 3, n = i / (c->out * c->out * 3);
            double sum = 0;
            int divisor = 0;
            for (int64_t w = 0; w < c->kernel * c->kernel; w++) {
                const int64_t y = oy * c->stride - c->before + w / c->kernel;
                const int64_t x = ox * c->stride - c->before + w % c->kernel;
                const bool inside = y >= 0 && y < c->size && x >= 0 && x < c->size;
                const bool padded = y >= -c->before && y < c->size + c->after && x >= -c->before &&
                                    x < c->size + c->after;
                sum += inside ? layer_at(&run, LAMINA__ROLE_IN, 0, n, channel, y, x) : 0;
                divisor += c->count_include_pad ? padded : inside;
            }
            const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, n, channel, oy, ox);
            const double error = fabs(sum / divisor - got);
            worst = error <= worst || isnan(worst) ? worst : error; /* a NaN stays */
        }
    }
    if (!(worst < 1e-6)) {
        printf("\n      %s: worst %g", text, worst);
    }
    CU_ASSERT(worst < 1e-6);
    layer_run_free(&run);
}

static void formula_matches(void) {
    static const window_case cases[] = {
        {"{kernel: 3, stride: 2, padding: 1}", 5, 3, 2, 1, 1, 3, true},
        {"{kernel: 3, stride: 2, padding: 1, count_include_pad: false}", 5, 3, 2, 1, 1, 3, false},
        /* windows that stick out of the image, of the padding, and of a side without any */
        {"{kernel: 2, ceil_mode: true}", 5, 2, 2, 0, 0, 3, true},
        {"{kernel: 2, ceil_mode: true, count_include_pad: false}", 5, 2, 2, 0, 0, 3, false},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true}", 6, 3, 2, 1, 1, 4, true},
        {"{kernel: 3, stride: 2, padding: 1, ceil_mode: true, count_include_pad: false}", 6, 3, 2,
         1, 1, 4, false},
        {"{kernel: 4, stride: 3, padding: [2, 2, 0, 0], ceil_mode: true}", 6, 4, 3, 2, 0, 3, true},
        {"{kernel: 4, stride: 3, padding: [2, 2, 0, 0], ceil_mode: true, "
         "count_include_pad: false}",
         6, 4, 3, 2, 0, 3, false},
        {"{kernel: 4, stride: 3, ceil_mode: true}", 3, 4, 3, 0, 0, 1, true}, /* larger than it */
    };
    layer_registries open = layer_open();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        formula_case(open, &cases[i]);
    }
    layer_close(open);
}

/* The divisors themselves, by the gradient of ones: 5 pixels, kernel 2, ceil_mode; the windows at 4
 * have one position in the image in each direction. */
static void divisors(void) {
    static const double share[3] = {2, 2, 1};
    static const char *const counting[] = {"true", "false"};
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, "avg_pool");
    for (int k = 0; k < 2; k++) {
        char text[256];
        lamina__case from;
        lamina_error error = {0};
        snprintf(text, sizeof(text),
                 "{input: [1, 1, 5, 5], params: {kernel: 2, ceil_mode: true, "
                 "count_include_pad: %s}}",
                 counting[k]);
        CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, text, &from, &error), LAMINA_OK);
        lamina__rig *rig = layer_rig(
            entry, &from, (lamina__rig_options){.kernel = "reference", .threads = 1, .training = 1},
            (lamina__rig_call){0});
        const lamina__field *d_out = lamina__rig_field(rig, LAMINA__ROLE_D_OUT, 0);
        const lamina__field *d_in = lamina__rig_field(rig, LAMINA__ROLE_D_IN, 0);
        for (int64_t i = 0; i < 25; i++) {
            const int64_t oy = i / 5 / 2, ox = i % 5 / 2;
            CU_ASSERT_DOUBLE_EQUAL(lamina__field_get(d_in, i),
                                   lamina__field_get(d_out, oy * 3 + ox) / (share[oy] * share[ox]),
                                   1e-6);
        }
        lamina__rig_free(rig);
        lamina__case_free(&from);
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("avg_pool");
}

static void refuses(void) {
    layer_refuses("avg_pool", "{input: [2, 3], params: {kernel: 2}}", "image");
    layer_refuses("avg_pool", "{input: [2, 3, 4, 4], params: {kernel: 5}}", "kernel 5");
    layer_refuses("avg_pool",
                  "{input: [2, 3, 4, 4], params: {kernel: 2, count_include_pad: maybe}}",
                  "count_include_pad");
}

LAMINA_TESTS({"windows", windows}, {"matches the formula", formula_matches},
             {"divisors of windows that stick out", divisors}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses})
