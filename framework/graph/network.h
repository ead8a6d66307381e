/* The network as the config describes it: layers in order, each with its type, parameters and
 * inputs; read and checked, but without shapes or memory. */
#ifndef LAMINA_GRAPH_NETWORK_H
#define LAMINA_GRAPH_NETWORK_H

#include "graph/init.h"
#include "registry/instance.h"
#include "registry/keys.h"

enum { LAMINA__FROM_DATA = -1, LAMINA__FROM_TARGET = -2 };

/* `init: {weight: he}`: an initialiser the config gives for one weight. */
typedef struct lamina__init_override {
    char *weight;
    lamina__init init;
    const lamina__node *node;
} lamina__init_override;

typedef struct lamina__layer_spec {
    const lamina__type_entry *entry;
    char *name;
    const lamina__node *node; /* the entry in the config */
    char *place;              /* "lenet.yaml:31:5" */
    void *config;             /* values of the type's parameter table */
    int32_t n_from;
    int32_t from[LAMINA__MAX_INPUTS];        /* layer indices, or LAMINA__FROM_... */
    int32_t from_output[LAMINA__MAX_INPUTS]; /* which of that layer's outputs; `from: cut:1` */
    const char *kernels;                     /* wanted kernel, or NULL */
    lamina__init_override init[LAMINA__MAX_DECLARED];
    int32_t n_init;
    lamina__layer_keys keys;
    int32_t owner; /* the layer whose weights it uses: itself, or the one it shares those of */
} lamina__layer_spec;

typedef struct lamina__network {
    lamina__layer_spec *layers;
    size_t count, capacity;
} lamina__network;

/* Reads `network:`. Keys that every layer has, beside its own parameters, are those of
 * registry/keys.h. A layer's input is the one before it, leaving out losses and metrics; these get
 * the data's target as their last input unless `from` names one more. All errors are reported. */
lamina_status lamina__network_read(const lamina__node *list, const lamina__registry *,
                                   lamina__network *, lamina__diags *);
void lamina__network_free(lamina__network *);

/* "  - conv: {name: conv1, from: [data], filters: 20, ...}" for each layer: the resolved config. */
void lamina__network_write(const lamina__network *, lamina__text *);

#endif
