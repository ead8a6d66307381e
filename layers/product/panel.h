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

enum {
    LAMINA__ROWS_AHEAD = 2048
}; /* floats that a block fetches of the next one's rows, at most */

static inline int64_t lamina__ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Panel i of n for so many columns, in vectors of so many; they are about equally wide. */
static inline lamina__panel lamina__panel_of_n(int32_t width, int64_t columns, int64_t i,
                                               int64_t n) {
    const int64_t vectors = lamina__ceil_div(columns, width);
    const int64_t begin = vectors * i / n, end = vectors * (i + 1) / n;
    const int64_t past = columns - (end - 1) * width;
    return (lamina__panel){.first = begin * width,
                           .vectors = (int32_t)(end - begin),
                           .last = past < width ? (int32_t)past : width};
}

static inline int64_t lamina__n_panels(const lamina__product_isa *isa, int64_t columns) {
    return lamina__ceil_div(columns, (int64_t)isa->width * isa->vectors);
}

static inline lamina__panel lamina__panel_of(const lamina__product_isa *isa, int64_t columns,
                                             int64_t i) {
    return lamina__panel_of_n(isa->width, columns, i, lamina__n_panels(isa, columns));
}

/* `columns` with the last vector filled up. */
static inline int64_t lamina__whole_vectors(const lamina__product_isa *isa, int64_t columns) {
    return lamina__ceil_div(columns, isa->width) * isa->width;
}

/* Blocks of even rows fetch the rows after the `count` that they read, where these lie in one piece
 * and the first-level cache holds both. */
static inline void lamina__fetch_rows(int64_t count, int is_last, lamina__product_tile *tile) {
    const int is_far = !is_last && count * tile->a_row <= LAMINA__ROWS_AHEAD;
    tile->ahead[0].at = tile->ahead[1].at = is_far ? tile->a + tile->a_at[count] : tile->b;
    tile->ahead[0].step = is_far ? count : 0;
    tile->ahead[1].step = 0;
}

/* All rows times `wide` vectors (fn: isa->block or even, where tile->a_row is set) or columns
 * (isa->dot), in blocks of about equally many rows. */
static inline void lamina__product_rows(const lamina__product_isa *isa,
                                        const lamina__product_table fn, int64_t wide, int64_t rows,
                                        const int64_t *a_at, const int64_t *c_at,
                                        lamina__product_tile *tile) {
    int64_t first = 0;
    for (int64_t left = lamina__ceil_div(rows, isa->most_rows[wide - 1]); left > 0; left--) {
        const int64_t count = (rows - first + left - 1) / left;
        tile->a_at = a_at + first;
        tile->c_at = c_at + first;
        if (tile->a_row > 0) {
            lamina__fetch_rows(count, left == 1, tile);
        }
        fn[count - 1][wide - 1](tile);
        first += count;
    }
}

#endif
