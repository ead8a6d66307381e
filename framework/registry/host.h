/* The functions a layer may call, as one struct; lamina__call_init hands it out. */
#ifndef LAMINA_REGISTRY_HOST_H
#define LAMINA_REGISTRY_HOST_H

#include "registry/instance.h"

extern const lamina_host lamina__host;

#endif
