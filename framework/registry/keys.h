/* The keys that a layer of any type has in a config, beside its type's own parameters. */
#ifndef LAMINA_REGISTRY_KEYS_H
#define LAMINA_REGISTRY_KEYS_H

#include "config/params.h"

/* Those that are read by a table. */
typedef struct lamina__layer_keys {
    const char *share;          /* name of the layer whose weights it uses; NULL: it has its own */
    int32_t frozen;             /* 1: weights and running state stay as they are */
    double learning_rate_scale; /* of its weights: times the optimizer's */
    double weight_decay_scale;
    double loss_weight; /* of a loss: its part in the network's */
} lamina__layer_keys;

lamina__table lamina__layer_key_table(void);

/* All of them in the order in which help lists them; {NULL} ends the list. */
typedef struct lamina__common_key {
    const char *name, *doc;
} lamina__common_key;

extern const lamina__common_key lamina__common_keys[];

#endif
