/* The table of built-in layers, in builtin.h's order. */
#include "layers/builtin.h"
#include "layers/real.h"

#define LAMINA__DECLARE(name) extern const lamina_layer_type LAMINA__LAYER(name);
LAMINA__BUILTIN_LAYERS(LAMINA__DECLARE)

#define LAMINA__ENTRY(name) &LAMINA__LAYER(name),
const lamina_layer_type *const LAMINA__BUILTIN[] = {LAMINA__BUILTIN_LAYERS(LAMINA__ENTRY) NULL};

#if !LAMINA_LAYERS_F64
const lamina__layer_group lamina__layer_groups[] = {
    {"Convolutions and matrix products", "conv"},
    {"Pooling, enlarging, padding", "max_pool"},
    {"Activations", "relu"},
    {"Normalisation", "batch_norm"},
    {"Softmax", "softmax"},
    {"Dropout", "dropout"},
    {"Several inputs, other shapes", "add"},
    {"Losses", "softmax_loss"},
    {"Metrics", "accuracy"},
    {NULL, NULL},
};
#endif
