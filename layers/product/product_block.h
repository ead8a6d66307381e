/* The block products of product.h, for the instruction set of the file that includes this. It has
 * defined
 *   TARGET                         the attribute that turns the instructions on
 *   vector, mask                   a vector of WIDTH floats; which of its elements are meant
 *   mask_of(n)                     the first n
 *   load, load_part, store, zero, broadcast, multiply_add, plus, sum_of
 *   ROWS, VECTORS                  the largest block that fits the registers
 * which all but the last line of are in layers/vector_<instruction set>.h. */
#include "layers/unroll.h"

/* The sums of a block. `partial`: b ends inside its last vector. */
INLINE void walk(const int rows, const int vectors, const int partial,
                 const lamina__product_tile *tile, const float *const a[ROWS],
                 vector sum[ROWS][VECTORS]) {
    const lamina__product_walk walk = tile->walk;
    const mask last = mask_of(tile->last);

    int64_t k = 0;
    do {
        for (int64_t j = 0; j < walk.n[1]; j++) {
            int64_t at = k * walk.a_step[2] + j * walk.a_step[1];
            const float *b = tile->b + k * walk.b_step[2] + j * walk.b_step[1];
            for (int64_t i = 0; i < walk.n[0]; i++) {
                vector column[VECTORS];
                UNROLL
                for (int v = 0; v < vectors; v++) {
                    column[v] = partial && v == vectors - 1 ? load_part(b + v * WIDTH, last)
                                                            : load(b + v * WIDTH);
                }
                UNROLL
                for (int r = 0; r < rows; r++) {
                    const vector x = broadcast(a[r] + at);
                    UNROLL
                    for (int v = 0; v < vectors; v++) {
                        sum[r][v] = multiply_add(x, column[v], sum[r][v]);
                    }
                }
                at += walk.a_step[0];
                b += walk.b_step[0];
            }
        }
    } while (++k < walk.n[2]);
}

INLINE void block(const int rows, const int vectors, const lamina__product_tile *tile) {
    const mask all = mask_of(WIDTH), last = mask_of(tile->last);
    const float *a[ROWS];
    vector sum[ROWS][VECTORS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        a[r] = tile->a + tile->a_at[r];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = zero();
        }
    }
    if (tile->fetch) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                __builtin_prefetch(tile->c + tile->c_at[r] + v * WIDTH, 1);
            }
        }
    }
    if (tile->b_is_full || tile->last == WIDTH) {
        walk(rows, vectors, 0, tile, a, sum);
    } else {
        walk(rows, vectors, 1, tile, a, sum);
    }
    if (tile->bias != NULL) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const vector bias = load_part(tile->bias + v * WIDTH, v < vectors - 1 ? all : last);
            UNROLL
            for (int r = 0; r < rows; r++) {
                sum[r][v] = plus(sum[r][v], bias);
            }
        }
    }
    /* Row after row: rows that are added to may overlap. */
    if (tile->add) {
        UNROLL
        for (int r = 0; r < rows; r++) {
            float *c = tile->c + tile->c_at[r];
            UNROLL
            for (int v = 0; v < vectors; v++) {
                const mask m = v < vectors - 1 ? all : last;
                const vector y = plus(sum[r][v], load_part(c + v * WIDTH, m));
                store(c + v * WIDTH, m, tile->relu ? positive(y) : y);
            }
        }
    } else {
        UNROLL
        for (int r = 0; r < rows; r++) {
            float *c = tile->c + tile->c_at[r];
            UNROLL
            for (int v = 0; v < vectors; v++) {
                const vector y = tile->relu ? positive(sum[r][v]) : sum[r][v];
                store(c + v * WIDTH, v < vectors - 1 ? all : last, y);
            }
        }
    }
}

INLINE void dot(const int rows, const int columns, const lamina__product_tile *tile) {
    const lamina__product_walk walk = tile->walk;
    const int64_t whole = walk.n[0] / WIDTH * WIDTH;
    const mask all = mask_of(WIDTH), rest = mask_of((int)(walk.n[0] - whole));
    const float *a[ROWS];
    vector sum[ROWS][LAMINA__PRODUCT_DOTS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        a[r] = tile->a + tile->a_at[r];
        UNROLL
        for (int v = 0; v < columns; v++) {
            sum[r][v] = zero();
        }
    }
    for (int64_t j = 0; j < walk.n[1]; j++) {
        const int64_t at = j * walk.a_step[1];
        const float *b = tile->b + j * walk.b_step[1];
        for (int64_t i = 0; i < walk.n[0]; i += WIDTH) {
            const mask m = i < whole ? all : rest;
            vector column[LAMINA__PRODUCT_DOTS];
            UNROLL
            for (int v = 0; v < columns; v++) {
                column[v] = load_part(b + v * tile->b_column + i, m);
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                const vector x = load_part(a[r] + at + i, m);
                UNROLL
                for (int v = 0; v < columns; v++) {
                    sum[r][v] = multiply_add(x, column[v], sum[r][v]);
                }
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < columns; v++) {
            const float bias = tile->bias != NULL ? tile->bias[v] : 0.0F;
            const float y = sum_of(sum[r][v]) + bias;
            tile->c[tile->c_at[r] + v] = tile->relu && y < 0 ? 0 : y;
        }
    }
}

TARGET static void sum_rows(int64_t rows, int64_t columns, const float *from, float *sum) {
    for (int64_t j = 0; j < columns; j += WIDTH) {
        const mask m = mask_of(columns - j < WIDTH ? (int)(columns - j) : WIDTH);
        vector part[4] = {zero(), zero(), zero(), zero()}; /* additions need not wait */
        int64_t i = 0;
        for (; i + 4 <= rows; i += 4) {
            UNROLL
            for (int k = 0; k < 4; k++) {
                part[k] = plus(part[k], load_part(from + (i + k) * columns + j, m));
            }
        }
        for (; i < rows; i++) {
            part[0] = plus(part[0], load_part(from + i * columns + j, m));
        }
        const vector all = plus(plus(part[0], part[1]), plus(part[2], part[3]));
        store(sum + j, m, plus(load_part(sum + j, m), all));
    }
}

/* The blocks' sizes are constants inside each of these, so their sums stay in registers. */
#define BLOCK(rows, vectors)                                                                       \
    TARGET static void block_##rows##_##vectors(const lamina__product_tile *tile) {                \
        block(rows, vectors, tile);                                                                \
    }
#define DOT(rows, columns)                                                                         \
    TARGET static void dot_##rows##_##columns(const lamina__product_tile *tile) {                  \
        dot(rows, columns, tile);                                                                  \
    }
