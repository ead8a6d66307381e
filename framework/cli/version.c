/* lamina version */
#include "cli/cli.h"

#include "base/alloc.h"

#include <stdio.h>

static int run(const lamina__command *command, int argc, char **argv) {
    lamina__words arguments = {0};
    int result = lamina__options_parse(command, NULL, 0, argc, argv, &arguments);
    lamina__free(arguments.items);
    if (result >= 0) {
        return result;
    }
    printf("lamina %s (plugin interface %d.%d)\n", lamina_version(), LAMINA_ABI_MAJOR,
           LAMINA_ABI_MINOR);
    return LAMINA__EXIT_DONE;
}

const lamina__command lamina__version_command = {
    .name = "version",
    .arguments = "",
    .summary = "print the version",
    .run = run,
};
