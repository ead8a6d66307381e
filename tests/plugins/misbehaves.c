/* Operators that take the process with them, for the tests of `lamina plugin check`; and one that
 * does not, to be told apart by --type. */
#include "lamina/layer.h"

#include <stdlib.h>

static int32_t same_shape(void *self, lamina_call *call, const lamina_setup *setup) {
    (void)self;
    return call->host->set_output(call, 0, setup->in[0]);
}

/* y = 2 x */
static int32_t twice(const lamina_io *io, const lamina_tensor *from, const lamina_tensor *to) {
    int64_t n = io->samples;
    for (int32_t i = 1; i < from->shape.ndim; i++) {
        n *= from->shape.dim[i];
    }
    for (int64_t i = 0; to != NULL && i < n; i++) {
        ((float *)to->data)[i] = 2 * ((const float *)from->data)[i];
    }
    return LAMINA_OK;
}

static int32_t forward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return twice(io, io->in[0], io->out[0]);
}

static int32_t backward(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call;
    return twice(io, io->d_out[0], io->d_in[0]);
}

static int32_t crash(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call, (void)io;
    abort();
}

static int32_t leave(const void *self, lamina_call *call, const lamina_io *io) {
    (void)self, (void)call, (void)io;
    exit(0);
}

static const char *const cases[] = {"{input: [3, 7]}", NULL};

#define TYPE(variable, type_name, forward_, backward_, cases_)                                     \
    static const lamina_layer_type variable = {.struct_size = sizeof(variable),                    \
                                               .name = type_name,                                  \
                                               .doc = "For the tests of plugin check.",            \
                                               .min_in = 1,                                        \
                                               .max_in = 1,                                        \
                                               .n_out = 1,                                         \
                                               .setup = same_shape,                                \
                                               .forward = forward_,                                \
                                               .backward = backward_,                              \
                                               .cases = cases_}

TYPE(good, "test.good", forward, backward, cases);
TYPE(crashes, "test.crashes", forward, crash, cases);
TYPE(leaves, "test.leaves", leave, backward, cases);
TYPE(no_cases, "test.no_cases", forward, backward, NULL);

static const lamina_layer_type *const types[] = {&good, &crashes, &leaves, &no_cases, NULL};

static const lamina_plugin plugin = {.struct_size = sizeof(plugin),
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR,
                                     .name = "misbehaves",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
