/* Made for the next major version of the layer interface: another entry symbol. */
#include "broken.h"

LAMINA_EXPORT const lamina_plugin *lamina_plugin_entry_v2(void);

const lamina_plugin *lamina_plugin_entry_v2(void) {
    return NULL;
}
