/* Two types, the second not sound: none of them may be taken. */
#include "broken.h"

static const lamina_layer_type good = {.struct_size = sizeof good,
                                       .name = "test.good",
                                       .doc = "Squares.",
                                       .flags = LAMINA_NEEDS_INPUT,
                                       .min_in = 1,
                                       .max_in = 1,
                                       .n_out = 1,
                                       .setup = same_shape,
                                       .forward = square,
                                       .backward = square_backward};
static const lamina_layer_type bad = {.struct_size = sizeof bad,
                                      .name = "test.bad",
                                      .doc = "Has no setup.",
                                      .min_in = 1,
                                      .max_in = 1,
                                      .n_out = 1,
                                      .forward = square,
                                      .backward = square_backward};
static const lamina_layer_type *const types[] = {&good, &bad, NULL};
static const lamina_plugin plugin = {.struct_size = sizeof plugin,
                                     .abi_major = LAMINA_ABI_MAJOR,
                                     .abi_minor = LAMINA_ABI_MINOR,
                                     .name = "second_is_bad",
                                     .version = "1.0",
                                     .types = types};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
