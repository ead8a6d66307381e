/* The products of Winograd's convolution, for the instruction set of the file that includes this
 * after layers/vector_<instruction set>.h. They are small and many, so they get more from what they
 * know than block products (layers/product) do: rows and steps are even, and one call does all rows
 * of a point. */
#include "layers/unroll.h"

enum { MOST_VECTORS = LAMINA__WINOGRAD_VECTORS, MOST_ROWS = LAMINA__WINOGRAD_ROWS };

/* Some rows, held in registers. */
INLINE void multiply_rows(const int rows, const int vectors, const lamina__winograd_product *p,
                          const float *a, float *c) {
    const int64_t a_row = p->a_row, a_step = p->a_step, b_step = p->b_step, c_row = p->c_row;
    const float *b = p->b;
    vector sum[MOST_ROWS][MOST_VECTORS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = zero();
        }
    }
    for (int64_t i = p->n; i > 0; i--) {
        vector column[MOST_VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            column[v] = load(b + v * WIDTH);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const vector x = broadcast(a + r * a_row);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = multiply_add(x, column[v], sum[r][v]);
            }
        }
        a += a_step;
        b += b_step;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            float *to = c + r * c_row + v * WIDTH;
            store(to, mask_of(WIDTH), p->add ? plus(sum[r][v], load(to)) : sum[r][v]);
        }
    }
}

typedef void rows_fn(const lamina__winograd_product *, const float *a, float *c);

/* All rows, in blocks of about equally many, at most `most`; block[i] does i + 1. */
INLINE void multiply(const int most, const lamina__winograd_product *p, rows_fn *const block[]) {
    const float *a = p->a;
    float *c = p->c;
    int64_t rows = p->rows;
    for (int64_t left = (rows + most - 1) / most; left > 0; left--) {
        const int64_t count = (rows + left - 1) / left;
        block[count - 1](p, a, c);
        a += count * p->a_row;
        c += count * p->c_row;
        rows -= count;
    }
}

#define MULTIPLY_ROWS(rows, vectors)                                                               \
    TARGET static void multiply_##rows##_##vectors(const lamina__winograd_product *p,              \
                                                   const float *a, float *c) {                     \
        multiply_rows(rows, vectors, p, a, c);                                                     \
    }

/* All for products of so many vectors; the number is the most rows of a block. */
#define MULTIPLY(vectors, most, ...)                                                               \
    TARGET static void multiply_##vectors(const lamina__winograd_product *p) {                     \
        static rows_fn *const block[] = {__VA_ARGS__};                                             \
        multiply(most, p, block);                                                                  \
    }
#define MULTIPLY_4(v)                                                                              \
    MULTIPLY_ROWS(1, v)                                                                            \
    MULTIPLY_ROWS(2, v)                                                                            \
    MULTIPLY_ROWS(3, v)                                                                            \
    MULTIPLY_ROWS(4, v)                                                                            \
    MULTIPLY(v, 4, multiply_1_##v, multiply_2_##v, multiply_3_##v, multiply_4_##v)
#define MULTIPLY_6(v)                                                                              \
    MULTIPLY_ROWS(1, v)                                                                            \
    MULTIPLY_ROWS(2, v)                                                                            \
    MULTIPLY_ROWS(3, v)                                                                            \
    MULTIPLY_ROWS(4, v)                                                                            \
    MULTIPLY_ROWS(5, v)                                                                            \
    MULTIPLY_ROWS(6, v)                                                                            \
    MULTIPLY(v, 6, multiply_1_##v, multiply_2_##v, multiply_3_##v, multiply_4_##v, multiply_5_##v, \
             multiply_6_##v)
#define MULTIPLY_8(v)                                                                              \
    MULTIPLY_ROWS(1, v)                                                                            \
    MULTIPLY_ROWS(2, v)                                                                            \
    MULTIPLY_ROWS(3, v)                                                                            \
    MULTIPLY_ROWS(4, v)                                                                            \
    MULTIPLY_ROWS(5, v)                                                                            \
    MULTIPLY_ROWS(6, v)                                                                            \
    MULTIPLY_ROWS(7, v)                                                                            \
    MULTIPLY_ROWS(8, v)                                                                            \
    MULTIPLY(v, 8, multiply_1_##v, multiply_2_##v, multiply_3_##v, multiply_4_##v, multiply_5_##v, \
             multiply_6_##v, multiply_7_##v, multiply_8_##v)
