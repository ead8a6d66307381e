/* struct_size is not that of lamina_plugin. */
#include "broken.h"

static const lamina_plugin plugin = {.struct_size = 16, .abi_major = 1};

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return &plugin;
}
