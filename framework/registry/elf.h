/* Is a file a whole shared library for this process? dlopen maps what the headers promise, and
 * touching what lies behind the end of the file kills the process. */
#ifndef LAMINA_REGISTRY_ELF_H
#define LAMINA_REGISTRY_ELF_H

#include "lamina/lamina.h"

/* Looks at the file `real`. LAMINA_ERROR_PLUGIN, naming it `shown`, when it is none: no regular
 * file, no ELF, for another machine, or shorter than its headers say. */
lamina_status lamina__elf_check(const char *real, const char *shown, lamina_error *error);

#endif
