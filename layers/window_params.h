/* The rows of a parameter table that describe windows, for layers that have them (window.h reads
 * what they fill), and the filters that convolutions have for windows. `field` is the row's offset
 * in the layer's config, `text` its documentation; a layer without a choice of its own leaves a row
 * out. */
#ifndef LAMINA_LAYERS_WINDOW_PARAMS_H
#define LAMINA_LAYERS_WINDOW_PARAMS_H

#include "layers/window.h"

#define LAMINA__PIXELS(key, field, text, least, most)                                              \
    .name = (key), .doc = (text), .unit = "pixels", .type = LAMINA_INT_LIST, .offset = (field),    \
    .min = (least), .max = 4096, .max_count = (most)

/* k or [height, width] */
#define LAMINA__KERNEL_PARAM(field, text)                                                          \
    { LAMINA__PIXELS("kernel", field, text, 1, 2), .required = 1 }
#define LAMINA__STRIDE_PARAM(field, text)                                                          \
    { LAMINA__PIXELS("stride", field, text, 1, 2), .def = "1" }
/* s, [height, width] or `kernel`, which is the default: windows side by side */
#define LAMINA__POOL_STRIDE_PARAM(field, text)                                                     \
    {                                                                                              \
        LAMINA__PIXELS("stride", field, text, 1, 2), .def = "kernel",                              \
                                                     .choices = LAMINA__REAL_NAME(stride_words)    \
    }
/* p, [height, width], [top, left, bottom, right] or `same` */
#define LAMINA__PADDING_PARAM(field, text)                                                         \
    {                                                                                              \
        LAMINA__PIXELS("padding", field, text, 0, 4), .def = "0",                                  \
                                                      .choices = LAMINA__REAL_NAME(padding_words)  \
    }
#define LAMINA__DILATION_PARAM(field, text)                                                        \
    { LAMINA__PIXELS("dilation", field, text, 1, 2), .def = "1" }
#define LAMINA__CEIL_MODE_PARAM(field)                                                             \
    {                                                                                              \
        .name = "ceil_mode",                                                                       \
        .doc = "Whether a last window that reaches past the end of the image counts.",             \
        .type = LAMINA_BOOL, .offset = (field), .def = "false"                                     \
    }

#define LAMINA__FILTERS_PARAM(field)                                                               \
    {                                                                                              \
        .name = "filters", .doc = "Number of filters, the channels of the output.",                \
        .type = LAMINA_INT, .required = 1, .offset = (field), .min = 1, .max = 1048576             \
    }
#define LAMINA__GROUPS_PARAM(field)                                                                \
    {                                                                                              \
        .name = "groups",                                                                          \
        .doc = "Parts into which the channels are cut; each has its own filters.",                 \
        .type = LAMINA_INT, .offset = (field), .min = 1, .max = 1048576, .def = "1"                \
    }
#define LAMINA__BIAS_PARAM(field)                                                                  \
    {                                                                                              \
        .name = "bias", .doc = "Whether a learned number is added to each output channel.",        \
        .type = LAMINA_BOOL, .offset = (field), .def = "true"                                      \
    }

#endif
