/* The table of the keys that every layer has. */
#include "registry/keys.h"

#include <float.h>

static const char share_doc[] = "Use the weights of this layer above instead of own ones.";
static const char frozen_doc[] =
    "Whether training leaves its weights and running statistics as they are.";
static const char rate_doc[] = "Times the optimizer's learning rate, for this layer's weights.";
static const char decay_doc[] = "Times the optimizer's weight decay, for this layer's weights.";

static const char loss_doc[] =
    "Of a loss: what it is multiplied by in the network's loss, the sum of all.";

static const lamina_param params[] = {
    {.name = "share",
     .doc = share_doc,
     .type = LAMINA_STRING,
     .offset = offsetof(lamina__layer_keys, share)},
    {.name = "frozen",
     .doc = frozen_doc,
     .type = LAMINA_BOOL,
     .offset = offsetof(lamina__layer_keys, frozen),
     .def = "false"},
    {.name = "learning_rate_scale",
     .doc = rate_doc,
     .type = LAMINA_REAL,
     .offset = offsetof(lamina__layer_keys, learning_rate_scale),
     .def = "1",
     .min = 0,
     .max = FLT_MAX},
    {.name = "weight_decay_scale",
     .doc = decay_doc,
     .type = LAMINA_REAL,
     .offset = offsetof(lamina__layer_keys, weight_decay_scale),
     .def = "1",
     .min = 0,
     .max = FLT_MAX},
    {.name = "loss_weight",
     .doc = loss_doc,
     .type = LAMINA_REAL,
     .offset = offsetof(lamina__layer_keys, loss_weight),
     .def = "1",
     .min = 0,
     .max = FLT_MAX},
};

lamina__table lamina__layer_key_table(void) {
    return LAMINA__TABLE(params);
}

const lamina__common_key lamina__common_keys[] = {
    {"name", "What the layer is called; default: its type and a number."},
    {"from", "Names of the layers it takes its input from; default: the one before."},
    {"kernels", "Kernel to compute with: auto, reference, or one of the layer's own."},
    {"init",
     "Initial values of weights, such as he, or {weight: {type: he, fan: out}, bias: zeros}."},
    {"share", share_doc},
    {"frozen", frozen_doc},
    {"learning_rate_scale", rate_doc},
    {"weight_decay_scale", decay_doc},
    {"loss_weight", loss_doc},
    {NULL, NULL}};
