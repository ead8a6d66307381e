/* The windows of max_pool, avg_pool and conv along one axis, over all small sizes: how many there
 * are and what they cover, by PyTorch's formulas, written down here once more. */
#include "layer_checks.h"

#include <math.h>

typedef struct axis {
    int n, kernel, stride, padding, dilation;
    bool ceil_mode;
} axis;

static int floor_div(int a, int b) {
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* pooling_output_shape_pad_lr() of ATen/native/Pool.h. */
static int pooling_out(const axis *a) {
    const int room = a->n + 2 * a->padding - a->dilation * (a->kernel - 1) - 1;
    int out = floor_div(room + (a->ceil_mode ? a->stride - 1 : 0), a->stride) + 1;
    if (a->ceil_mode && (out - 1) * a->stride >= a->n + a->padding) {
        out--;
    }
    return out;
}

/* The reference, forward, on a row of n pixels; NULL where the layer refuses. */
static lamina__rig *run(layer_registries open, const char *type, int n, const char *params) {
    const lamina__type_entry *entry = lamina__registry_find(open.f32, type);
    const lamina__rig_options options = {.kernel = "reference",
                                         .batch = 1,
                                         .shards = 1,
                                         .threads = 1,
                                         .training = 1,
                                         .n_samples = 1,
                                         .samples = {1}};
    const lamina__rig_call call = {.phase = LAMINA_TRAIN};
    char text[256];
    lamina__fault fault;
    lamina__case from;
    lamina__rig *rig = NULL;

    snprintf(text, sizeof text, "{input: [1, 1, 1, %d], params: %s}", n, params);
    CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, text, &from, NULL), LAMINA_OK);
    if (lamina__rig_create(entry, &from, 7, &options, &rig, NULL) == LAMINA_OK) {
        CU_ASSERT_FATAL(lamina__rig_draw(rig, 7, &from) && lamina__rig_forward(rig, &call, &fault));
    }
    lamina__case_free(&from);
    return rig;
}

static double get(const lamina__rig *rig, lamina__role role, int i) {
    return lamina__field_get(lamina__rig_field(rig, role, 0), i);
}

static int out_of(const lamina__rig *rig) {
    return (int)lamina__rig_field(rig, LAMINA__ROLE_OUT, 0)->count;
}

/* Next axis, of all there are; false at the end. */
static bool next(axis *a, int most_dilation) {
    int *const field[] = {&a->padding, &a->stride, &a->kernel, &a->n};
    const int most[] = {((a->kernel - 1) * a->dilation + 1) / 2, 4, 4, 9}, least[] = {0, 1, 1, 1};
    if (!a->ceil_mode) {
        a->ceil_mode = true;
        return true;
    }
    a->ceil_mode = false;
    for (int i = 0; i < 4; i++) {
        if (++*field[i] <= most[i]) {
            return true;
        }
        *field[i] = least[i];
    }
    return ++a->dilation <= most_dilation;
}

/* avg_pool2d of ATen/native/cpu/AvgPoolKernel.cpp. */
static double mean(const lamina__rig *rig, const axis *a, int o, bool include) {
    int begin = o * a->stride - a->padding;
    int end = begin + a->kernel < a->n + a->padding ? begin + a->kernel : a->n + a->padding;
    const int size = end - begin;
    double sum = 0;
    begin = begin > 0 ? begin : 0;
    end = end < a->n ? end : a->n;
    for (int i = begin; i < end; i++) {
        sum += get(rig, LAMINA__ROLE_IN, i);
    }
    return sum / (include ? size : end - begin);
}

static void avg_pool(void) {
    layer_registries open = layer_open();
    axis a = {1, 1, 1, 0, 1, false};
    int refused = 0, computed = 0;
    do {
        for (int include = 0; include < 2; include++) {
            char params[160];
            snprintf(params, sizeof params,
                     "{kernel: [1, %d], stride: [1, %d], padding: [0, %d], ceil_mode: %s, "
                     "count_include_pad: %s}",
                     a.kernel, a.stride, a.padding, a.ceil_mode ? "true" : "false",
                     include ? "true" : "false");
            lamina__rig *rig = run(open, "avg_pool", a.n, params);
            const int out = pooling_out(&a);
            CU_ASSERT_EQUAL(rig != NULL, out >= 1);
            CU_ASSERT_EQUAL(rig != NULL ? out_of(rig) : out, out);
            for (int o = 0; rig != NULL && o < out; o++) {
                CU_ASSERT(fabs(get(rig, LAMINA__ROLE_OUT, o) - mean(rig, &a, o, include)) < 1e-6);
            }
            *(rig != NULL ? &computed : &refused) += 1;
            lamina__rig_free(rig);
        }
    } while (next(&a, 1));
    CU_ASSERT(computed > 500 && refused > 50);
    layer_close(open);
}

/* max_pool2d of ATen/native/cpu/MaxPoolKernel.cpp; NaN: no pixel of the window is in the image. */
static double largest(const lamina__rig *rig, const axis *a, int o) {
    double y = NAN;
    for (int k = 0; k < a->kernel; k++) {
        const int at = o * a->stride - a->padding + k * a->dilation;
        if (at >= 0 && at < a->n) {
            y = fmax(y, get(rig, LAMINA__ROLE_IN, at));
        }
    }
    return y;
}

static void max_pool(void) {
    layer_registries open = layer_open();
    axis a = {1, 1, 1, 0, 1, false};
    int refused = 0, empty = 0, computed = 0;
    do {
        char params[160];
        snprintf(params, sizeof params,
                 "{kernel: [1, %d], stride: [1, %d], padding: [0, %d], dilation: [1, %d], "
                 "ceil_mode: %s}",
                 a.kernel, a.stride, a.padding, a.dilation, a.ceil_mode ? "true" : "false");
        lamina__rig *rig = run(open, "max_pool", a.n, params);
        const int out = pooling_out(&a);
        CU_ASSERT_EQUAL(rig != NULL ? out_of(rig) : out, out);
        for (int o = 0; rig != NULL && o < out; o++) {
            CU_ASSERT_EQUAL(get(rig, LAMINA__ROLE_OUT, o), largest(rig, &a, o));
        }
        if (rig == NULL && out >= 1) { /* PyTorch makes minus infinity of padding, we do not */
            CU_ASSERT(a.dilation > 1 && a.padding > 0);
            empty++;
        } else {
            *(rig != NULL ? &computed : &refused) += 1;
        }
        lamina__rig_free(rig);
    } while (next(&a, 3));
    CU_ASSERT(computed > 1000 && refused > 100 && empty < computed / 20);
    layer_close(open);
}

/* padding: same, as PyTorch has it for stride 1: the output is as large as the input, padding
 * dilation * (kernel - 1) pixels, the odd one at the end. */
static void same(void) {
    layer_registries open = layer_open();
    axis a = {1, 1, 1, 0, 1, true};
    do {
        char params[160];
        snprintf(params, sizeof params,
                 "{filters: 1, kernel: [1, %d], dilation: [1, %d], padding: same, bias: false}",
                 a.kernel, a.dilation);
        lamina__rig *rig = a.stride == 1 && a.padding == 0 ? run(open, "conv", a.n, params) : NULL;
        CU_ASSERT(rig == NULL || out_of(rig) == a.n);
        for (int o = 0; rig != NULL && o < a.n; o++) {
            double sum = 0;
            for (int k = 0; k < a.kernel; k++) {
                const int at = o - a.dilation * (a.kernel - 1) / 2 + k * a.dilation;
                sum += at >= 0 && at < a.n
                           ? get(rig, LAMINA__ROLE_IN, at) * get(rig, LAMINA__ROLE_WEIGHT, k)
                           : 0;
            }
            CU_ASSERT(fabs(sum - get(rig, LAMINA__ROLE_OUT, o)) < 1e-5);
        }
        lamina__rig_free(rig);
    } while (next(&a, 3));
    layer_close(open);
}

LAMINA_TESTS({"avg_pool", avg_pool}, {"max_pool", max_pool}, {"conv, padding: same", same})
