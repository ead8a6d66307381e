/* All kernels of conv with each instruction set, over the shapes that break them: against the
 * double twin with everything that the checker does; and for our own the same bits in a call that
 * several threads share, and in inference. */
#include "layer_checks.h"

#include "layers/conv/conv.h"

typedef struct shape {
    const char *params, *input; /* as a case has them */
} shape;

static const shape shapes[] = {
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
    /* more filters for a channel than a vector has */
    {"{filters: 48, kernel: 3, groups: 2, padding: 1}", "[2, 2, 5, 4]"},
    {"{filters: 64, kernel: 3, groups: 2, padding: 1}", "[2, 2, 5, 4]"},
    {"{filters: 5, kernel: 7, groups: 5, padding: 3}", "[2, 5, 2, 3]"},
    {"{filters: 18, kernel: 1, groups: 18, bias: false}", "[1, 18, 4, 11]"},
    {"{filters: 8, kernel: 3, groups: 8, padding: 3}", "[2, 8, 1, 1]"},
};

/* ---- Against the double twin ---- */

/* Kernels of the type, oneDNN's with the best instruction set only: it does not read LAMINA_ISA. */
static void check_all(void *arg) {
    layer_registries open = layer_open();
    const lamina_kernel *const *k = lamina__registry_find(open.f32, "conv")->type->kernels;
    const char *kernels[16];
    size_t n = 0;
    (void)arg;
    for (; *k != NULL; k++) {
        if (lamina__isa_to_use() == lamina__isa_of_processor() ||
            strcmp((*k)->name, "onednn") != 0) {
            kernels[n++] = (*k)->name;
        }
    }
    kernels[n] = NULL;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char text[512];
        snprintf(text, sizeof text, "{input: %s, params: %s}", shapes[i].input, shapes[i].params);
        layer_check_kernels(open, "conv", text, kernels);
    }
    layer_close(open);
}

static void against_double(void) {
    layer_each_isa(check_all, NULL);
}

/* ---- The same bits ---- */

/* Forward, and backward when it is for training. */
static lamina__rig *run(const lamina__type_entry *entry, const lamina__case *from,
                        const char *kernel, int training, int threads) {
    return layer_rig(
        entry, from,
        (lamina__rig_options){.kernel = kernel, .threads = threads, .training = training},
        (lamina__rig_call){0});
}

static void same(const lamina__rig *got, const lamina__rig *expected, lamina__role role,
                 const char *text, const char *kernel) {
    const lamina__field *a = lamina__rig_field(got, role, 0);
    const lamina__field *b = lamina__rig_field(expected, role, 0);
    int64_t different = 0;
    for (int64_t i = 0; i < a->count; i++) {
        different += lamina__field_get(a, i) != lamina__field_get(b, i);
    }
    if (different > 0) {
        printf("\n      %s, kernel %s, role %d: %lld of %lld numbers differ", text, kernel,
               (int)role, (long long)different, (long long)a->count);
    }
    CU_ASSERT_EQUAL(different, 0);
}

static void check_bits(void *arg) {
    static const char *const own[] = {"planes", "direct", "winograd", "depthwise", "taps"};
    const lamina__type_entry *entry = arg;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char text[512];
        lamina__case from;
        snprintf(text, sizeof text, "{input: %s, params: %s}", shapes[i].input, shapes[i].params);
        CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, text, &from, NULL), LAMINA_OK);
        for (size_t k = 0; k < sizeof own / sizeof *own; k++) {
            lamina__rig *one = run(entry, &from, own[k], 1, 1);
            for (int threads = 2; threads <= 5 && lamina__rig_has_kernel(one, own[k]);
                 threads += 3) {
                lamina__rig *shared = run(entry, &from, own[k], 1, threads);
                if (lamina__rig_has_kernel(shared, own[k])) {
                    same(shared, one, LAMINA__ROLE_OUT, text, own[k]);
                }
                /* Some kernels leave passes to others when threads share a call. */
                for (int pass = 1; pass < LAMINA__N_PASSES; pass++) {
                    const char *name = lamina__instance_kernel(shared->instance, pass);
                    if (name != NULL && strcmp(name, own[k]) == 0 &&
                        strcmp(lamina__instance_kernel(one->instance, pass), own[k]) == 0) {
                        same(shared, one, pass == 1 ? LAMINA__ROLE_D_IN : LAMINA__ROLE_D_WEIGHT,
                             text, own[k]);
                    }
                }
                lamina__rig_free(shared);
            }
            if (lamina__rig_has_kernel(one, own[k])) {
                lamina__rig *inference = run(entry, &from, own[k], 0, 1);
                same(inference, one, LAMINA__ROLE_OUT, text, own[k]);
                lamina__rig_free(inference);
            }
            lamina__rig_free(one);
        }
        lamina__case_free(&from);
    }
}

static void same_bits(void) {
    layer_registries open = layer_open();
    layer_each_isa(check_bits, (void *)(uintptr_t)lamina__registry_find(open.f32, "conv"));
    layer_close(open);
}

LAMINA_TESTS({"every kernel against the double twin", against_double},
             {"threads and inference, the same bits", same_bits})
