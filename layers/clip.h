/* clip's parameters, for whoever does its work along with its own. */
#ifndef LAMINA_LAYERS_CLIP_H
#define LAMINA_LAYERS_CLIP_H

typedef struct lamina__clip_config {
    double min, max;
} lamina__clip_config;

#endif
