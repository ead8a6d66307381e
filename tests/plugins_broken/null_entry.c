/* The entry function returns nothing. */
#include "broken.h"

const lamina_plugin *lamina_plugin_entry_v1(void) {
    return NULL;
}
