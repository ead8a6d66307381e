/* The block products for any processor, in the compiler's own vectors of four floats (SSE, NEON,
 * or plain code): blocks of 4 x 8 sums in 8 of 16 registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include "layers/vector_portable.h"

enum { ROWS = 4, VECTORS = 2, NARROW = VECTORS, HAS_HALVES = 0 };

static inline vector multiply_add_half(vector x, vector y, vector sum) {
    return multiply_add(x, y, sum);
}

#include "layers/product/product_block.h"

static void transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
    for (int i = 0; i < WIDTH; i++) {
        for (int j = 0; j < WIDTH; j++) {
            to[j * to_row + i] = from[i * from_row + j];
        }
    }
}

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)

#define TABLE_OF(kind)                                                                             \
    {                                                                                              \
        {kind##_1_1, kind##_1_2}, {kind##_2_1, kind##_2_2}, {kind##_3_1, kind##_3_2}, {            \
            kind##_4_1, kind##_4_2                                                                 \
        }                                                                                          \
    }

const lamina__product_isa lamina__product_portable = {
    .width = WIDTH,
    .rows = ROWS,
    .vectors = VECTORS,
    .wide = VECTORS,
    .most_rows = {ROWS, ROWS},
    .block = TABLE_OF(block),
    .even = TABLE_OF(even),
    .dot = {{dot_1_1, dot_1_2}, {dot_2_1, dot_2_2}, {dot_3_1, dot_3_2}, {dot_4_1, dot_4_2}},
    .sum_rows = sum_rows,
    .transpose = transpose};

#endif
