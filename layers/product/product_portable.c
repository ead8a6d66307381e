/* The block products for any processor, in the compiler's own vectors of four floats (SSE, NEON,
 * or plain code): blocks of 4 x 8 sums in 8 of 16 registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64

#include <string.h>

#define TARGET
enum { WIDTH = 4, ROWS = 4, VECTORS = 2 };

typedef float vector __attribute__((vector_size(4 * sizeof(float))));
typedef int mask; /* how many of the first elements */

static inline mask mask_of(int n) {
    return n < WIDTH ? n : WIDTH;
}

static inline vector load(const float *from) {
    vector x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline vector load_part(const float *from, mask m) {
    vector x = {0};
    for (int i = 0; i < m; i++) {
        x[i] = from[i];
    }
    return x;
}

static inline void store(float *to, mask m, vector x) {
    if (m == WIDTH) {
        memcpy(to, &x, sizeof x);
        return;
    }
    for (int i = 0; i < m; i++) {
        to[i] = x[i];
    }
}

static inline vector zero(void) {
    return (vector){0};
}

static inline vector broadcast(const float *from) {
    return (vector){*from, *from, *from, *from};
}

static inline vector multiply_add(vector x, vector y, vector sum) {
    return x * y + sum;
}

static inline vector plus(vector x, vector y) {
    return x + y;
}

static inline float sum_of(vector x) {
    return (x[0] + x[2]) + (x[1] + x[3]);
}

#include "layers/product/product_block.h"

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)

const lamina__product_isa lamina__product_portable = {
    .width = WIDTH,
    .rows = ROWS,
    .vectors = VECTORS,
    .block = {{block_1_1, block_1_2},
              {block_2_1, block_2_2},
              {block_3_1, block_3_2},
              {block_4_1, block_4_2}},
    .dot = {{dot_1_1, dot_1_2}, {dot_2_1, dot_2_2}, {dot_3_1, dot_3_2}, {dot_4_1, dot_4_2}},
    .sum_rows = sum_rows};

#endif
