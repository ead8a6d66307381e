/* For the tests of layers with kernels of our own: a table of cases, all kernels with each
 * instruction set: against the double twin with everything that the checker does; and for our own
 * the same bits in a call that several threads share, and in inference. */
#ifndef LAMINA_TESTS_KERNEL_CHECKS_H
#define LAMINA_TESTS_KERNEL_CHECKS_H

#include "layer_checks.h"

typedef struct kernel_table {
    const char *type;
    const layer_case *cases;
    size_t n;
    const char *const *own; /* names, NULL-terminated */
} kernel_table;

/* ---- Against the double twin ---- */

/* Kernels of the type, oneDNN's with the best instruction set only: it does not read LAMINA_ISA. */
static inline void kernels_against_double(void *arg) {
    const kernel_table *table = arg;
    layer_registries open = layer_open();
    const lamina_kernel *const *k = lamina__registry_find(open.f32, table->type)->type->kernels;
    const char *kernels[16];
    size_t n = 0;
    for (; *k != NULL; k++) {
        if (lamina__isa_to_use() == lamina__isa_of_processor() ||
            strcmp((*k)->name, "onednn") != 0) {
            kernels[n++] = (*k)->name;
        }
    }
    kernels[n] = NULL;
    for (size_t i = 0; i < table->n; i++) {
        char text[512];
        snprintf(text, sizeof text, "{input: %s, params: %s}", table->cases[i].input,
                 table->cases[i].params);
        layer_check_kernels(open, table->type, text, kernels);
    }
    layer_close(open);
}

/* ---- The same bits ---- */

/* Forward, and backward when it is for training. */
static inline lamina__rig *kernel_run(const lamina__type_entry *entry, const lamina__case *from,
                                      const char *kernel, int training, int threads) {
    return layer_rig(
        entry, from,
        (lamina__rig_options){.kernel = kernel, .threads = threads, .training = training},
        (lamina__rig_call){0});
}

static inline void kernel_same(const lamina__rig *got, const lamina__rig *expected,
                               lamina__role role, const char *text, const char *kernel) {
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

static inline void kernel_check_bits(const lamina__type_entry *entry, const lamina__case *from,
                                     const char *kernel, const char *text) {
    lamina__rig *one = kernel_run(entry, from, kernel, 1, 1);
    const bool has = lamina__rig_has_kernel(one, kernel);
    for (int threads = 2; threads <= 5 && has; threads += 3) {
        lamina__rig *shared = kernel_run(entry, from, kernel, 1, threads);
        /* Some kernels leave passes to others when threads share a call. */
        for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
            static const lamina__role results[LAMINA__N_PASSES] = {
                LAMINA__ROLE_OUT, LAMINA__ROLE_D_IN, LAMINA__ROLE_D_WEIGHT};
            const char *name = lamina__instance_kernel(shared->instance, pass);
            if (name != NULL && strcmp(name, kernel) == 0 &&
                strcmp(lamina__instance_kernel(one->instance, pass), kernel) == 0) {
                kernel_same(shared, one, results[pass], text, kernel);
            }
        }
        lamina__rig_free(shared);
    }
    if (has && strcmp(lamina__instance_kernel(one->instance, 0), kernel) == 0) {
        lamina__rig *inference = kernel_run(entry, from, kernel, 0, 1);
        kernel_same(inference, one, LAMINA__ROLE_OUT, text, kernel);
        lamina__rig_free(inference);
    }
    lamina__rig_free(one);
}

static inline void kernels_same_bits(void *arg) {
    const kernel_table *table = arg;
    layer_registries open = layer_open();
    const lamina__type_entry *entry = lamina__registry_find(open.f32, table->type);
    for (size_t i = 0; i < table->n; i++) {
        char text[512];
        lamina__case from;
        snprintf(text, sizeof text, "{input: %s, params: %s}", table->cases[i].input,
                 table->cases[i].params);
        CU_ASSERT_EQUAL_FATAL(lamina__case_read(entry, text, &from, NULL), LAMINA_OK);
        for (const char *const *own = table->own; *own != NULL; own++) {
            kernel_check_bits(entry, &from, *own, text);
        }
        lamina__case_free(&from);
    }
    layer_close(open);
}

#endif
