/* The parameter that dropout and dropout2d have in common. */
#ifndef LAMINA_LAYERS_DROPOUT_H
#define LAMINA_LAYERS_DROPOUT_H

#include "lamina/layer.h"

#define LAMINA__DROPOUT_P_PARAM(field, text)                                                       \
    {                                                                                              \
        .name = "p", .doc = (text), .type = LAMINA_REAL, .offset = (field), .min = 0, .max = 1,    \
        .def = "0.5"                                                                               \
    }

#endif
