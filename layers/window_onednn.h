/* A window's axis in oneDNN's words. */
#ifndef LAMINA_LAYERS_WINDOW_ONEDNN_H
#define LAMINA_LAYERS_WINDOW_ONEDNN_H

#include "layers/window.h"
#include "onednn/onednn.h"

static inline lamina__onednn_axis lamina__onednn_axis_of(const lamina__axis *axis) {
    return (lamina__onednn_axis){.in = axis->in,
                                 .out = axis->out,
                                 .kernel = axis->kernel,
                                 .stride = axis->stride,
                                 .dilation = axis->dilation,
                                 .pad_begin = axis->pad_begin,
                                 .overhang = axis->overhang};
}

#endif
