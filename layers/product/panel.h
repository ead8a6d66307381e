/* Panels: the columns of a block product, cut into groups of a few vectors that one block can have.
 * A packed panel is (rows, its vectors), with zeros to fill the last. */
#ifndef LAMINA_LAYERS_PANEL_H
#define LAMINA_LAYERS_PANEL_H

#include "layers/product/product.h"

typedef struct lamina__panel {
    int64_t first;   /* column */
    int32_t vectors; /* wide */
    int32_t last;    /* columns in the last vector */
} lamina__panel;

static inline int64_t lamina__n_panels(const lamina__product_isa *isa, int64_t columns) {
    const int64_t widest = (int64_t)isa->width * isa->vectors;
    return (columns + widest - 1) / widest;
}

/* Panel i of so many columns; they are about equally wide. */
static inline lamina__panel lamina__panel_of(const lamina__product_isa *isa, int64_t columns,
                                             int64_t i) {
    const int64_t vectors = (columns + isa->width - 1) / isa->width;
    const int64_t n = lamina__n_panels(isa, columns);
    const int64_t begin = vectors * i / n, end = vectors * (i + 1) / n;
    const int64_t past = columns - (end - 1) * isa->width;
    return (lamina__panel){.first = begin * isa->width,
                           .vectors = (int32_t)(end - begin),
                           .last = past < isa->width ? (int32_t)past : isa->width};
}

/* `columns` with the last vector filled up. */
static inline int64_t lamina__whole_vectors(const lamina__product_isa *isa, int64_t columns) {
    return (columns + isa->width - 1) / isa->width * isa->width;
}

#endif
