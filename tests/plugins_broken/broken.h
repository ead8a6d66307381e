/* What the plugins in this folder share. Each breaks the contract of lamina/layer.h in one way,
 * named by its file; the tests prove that Lamina notices. */
#ifndef LAMINA_TESTS_BROKEN_H
#define LAMINA_TESTS_BROKEN_H

#include "lamina/layer.h"

/* Elements of this call in input 0. */
static inline int64_t elements(const lamina_io *io) {
    int64_t n = io->samples;
    for (int32_t i = 1; i < io->in[0]->shape.ndim; i++) {
        n *= io->in[0]->shape.dim[i];
    }
    return n;
}

/* One output, shaped as the input. */
static inline int32_t same_shape(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* y = x^2 and its gradient: what most of them compute. */
static inline int32_t square(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data;
    float *y = io->out[0]->data;
    (void)self, (void)call;
    for (int64_t i = 0, n = elements(io); i < n; i++) {
        y[i] = x[i] * x[i];
    }
    return LAMINA_OK;
}

static inline int32_t square_backward(const void *self, lamina_call *call, const lamina_io *io) {
    const float *x = io->in[0]->data, *dy = io->d_out[0]->data;
    (void)self, (void)call;
    if (io->d_in[0] != NULL) {
        float *dx = io->d_in[0]->data;
        for (int64_t i = 0, n = elements(io); i < n; i++) {
            dx[i] = 2 * x[i] * dy[i];
        }
    }
    return LAMINA_OK;
}

/* A plugin of one type; the dots are further members of lamina_layer_type. */
#define BROKEN_PLUGIN(type_name, ...)                                                              \
    static const char *const cases[] = {"{input: [3, 7]}", "{input: [2, 3, 4, 2]}", NULL};         \
    static const lamina_layer_type type = {.struct_size = sizeof type,                             \
                                           .name = type_name,                                      \
                                           .doc = "Breaks the contract, for the tests.",           \
                                           .min_in = 1,                                            \
                                           .max_in = 1,                                            \
                                           .n_out = 1,                                             \
                                           .cases = cases,                                         \
                                           __VA_ARGS__};                                           \
    static const lamina_layer_type *const types[] = {&type, NULL};                                 \
    static const lamina_plugin plugin = {.struct_size = sizeof plugin,                             \
                                         .abi_major = LAMINA_ABI_MAJOR,                            \
                                         .abi_minor = LAMINA_ABI_MINOR,                            \
                                         .name = "broken",                                         \
                                         .version = "1.0",                                         \
                                         .types = types};                                          \
    const lamina_plugin *lamina_plugin_entry_v1(void) {                                            \
        return &plugin;                                                                            \
    }

#endif
