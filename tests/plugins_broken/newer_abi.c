/* Needs a host with the next minor version of the layer interface. */
#include "broken.h"

static const lamina_layer_type type = {.struct_size = sizeof type,
                                       .name = "test.newer_abi",
                                       .doc = "Needs a newer host.",
                                       .min_in = 1,
                                       .max_in = 1,
                                       .n_out = 1,
                                       .setup = same_shape,
                                       .forward = square,
                                       .backward = square_backward};
static const lamina_layer_type *const types[] = {&type, NULL};
static const lamina_plugin plugin = {.struct_size = sizeof plugin,
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR + 1,
                                     .name = "newer_abi",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
