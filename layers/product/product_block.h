/* The block products of product.h, for the instruction set of the file that includes this. It has
 * defined
 *   TARGET                         the attribute that turns the instructions on
 *   vector, mask                   a vector of WIDTH floats; which of its elements are meant
 *   mask_of(n)                     the first n
 *   load, load_part, store, zero, broadcast, multiply_add, plus, sum_of
 *   multiply_add_half              the same, of which only the first half of the elements is used
 *   HAS_HALVES                     1: that is faster
 *   ROWS, VECTORS                  the most rows and the most vectors of a block
 *   NARROW                         up to so many vectors, b may end inside its last one
 * which all but the last line of are in layers/vector_<instruction set>.h. */
#include "layers/unroll.h"

/* How much of its last vector b fills; of half a vector only half is computed. */
enum { WHOLE, PART, HALF };

INLINE vector column_of(const int vectors, const int part, const int v, const float *b, mask last) {
    return v < vectors - 1 || part == WHOLE ? load(b + v * WIDTH) : load_part(b + v * WIDTH, last);
}

INLINE vector multiply_add_to(const int vectors, const int part, const int v, vector x,
                              vector column, vector sum) {
    return v == vectors - 1 && part == HALF ? multiply_add_half(x, column, sum)
                                            : multiply_add(x, column, sum);
}

/* One i of the walk. Whichever are fewer, rows of a or vectors of b, are in registers while the
 * others go by. */
INLINE void step(const int rows, const int vectors, const int part, const float *const a[ROWS],
                 int64_t at, const float *b, mask last, vector sum[ROWS][VECTORS]) {
    vector x[ROWS], column[VECTORS];
    if (rows >= vectors) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            column[v] = column_of(vectors, part, v, b, last);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            x[r] = broadcast(a[r] + at);
            UNROLL
            for (int v = 0; v < vectors; v++) {
                sum[r][v] = multiply_add_to(vectors, part, v, x[r], column[v], sum[r][v]);
            }
        }
        return;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        x[r] = broadcast(a[r] + at);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        column[v] = column_of(vectors, part, v, b, last);
        UNROLL
        for (int r = 0; r < rows; r++) {
            sum[r][v] = multiply_add_to(vectors, part, v, x[r], column[v], sum[r][v]);
        }
    }
}

/* The sums of a block. */
INLINE void walk(const int rows, const int vectors, const int part,
                 const lamina__product_tile *tile, vector sum[ROWS][VECTORS]) {
    const lamina__product_walk walk = tile->walk;
    const mask last = mask_of(tile->last);
    const float *a[ROWS];

    UNROLL
    for (int r = 0; r < rows; r++) {
        a[r] = tile->a + tile->a_at[r];
    }

    int64_t k = 0;
    do {
        for (int64_t j = 0; j < walk.n[1]; j++) {
            int64_t at = k * walk.a_step[2] + j * walk.a_step[1];
            const float *b = tile->b + k * walk.b_step[2] + j * walk.b_step[1];
            for (int64_t i = 0; i < walk.n[0]; i++) {
                step(rows, vectors, part, a, at, b, last, sum);
                at += walk.a_step[0];
                b += walk.b_step[0];
            }
        }
    } while (++k < walk.n[2]);
}

/* The same for one loop and evenly spaced rows, while what is read next is fetched. */
INLINE void walk_even(const int rows, const int vectors, const int part,
                      const lamina__product_tile *tile, vector sum[ROWS][VECTORS]) {
    const int64_t a_step = tile->walk.a_step[0], b_step = tile->walk.b_step[0];
    const int64_t a_row = tile->a_row, first_step = tile->ahead[0].step, half = first_step / 2;
    const int64_t second_step = tile->ahead[1].step;
    const mask last = mask_of(tile->last);
    const float *b = tile->b, *first = tile->ahead[0].at, *second = tile->ahead[1].at;
    const float *third[(ROWS + 2) / 3]; /* every third row: few enough for the registers */

    UNROLL
    for (int r = 0; r < rows; r += 3) {
        third[r / 3] = tile->a + tile->a_at[0] + r * a_row;
    }
    for (int64_t left = tile->walk.n[0]; left > 0; left--) {
        const float *a[ROWS];
        __builtin_prefetch(first);
        __builtin_prefetch(first + half);
        __builtin_prefetch(second);
        first += first_step;
        second += second_step;
        UNROLL
        for (int r = 0; r < rows; r++) {
            a[r] = third[r / 3] + r % 3 * a_row;
        }
        step(rows, vectors, part, a, 0, b, last, sum);
        UNROLL
        for (int r = 0; r < rows; r += 3) {
            third[r / 3] += a_step;
        }
        b += b_step;
    }
}

/* Either, for what b fills of its last vector. */
INLINE void walk_any(const int rows, const int vectors, const int part, const int is_even,
                     const lamina__product_tile *tile, vector sum[ROWS][VECTORS]) {
    if (is_even) {
        walk_even(rows, vectors, part, tile, sum);
    } else {
        walk(rows, vectors, part, tile, sum);
    }
}

INLINE void block(const int rows, const int vectors, const int is_even,
                  const lamina__product_tile *tile) {
    const mask all = mask_of(WIDTH), last = mask_of(tile->last);
    vector sum[ROWS][VECTORS];

    UNROLL
    for (int r = 0; r < rows; r++) {
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
    if (HAS_HALVES && vectors < NARROW && tile->last <= WIDTH / 2) {
        walk_any(rows, vectors, HALF, is_even, tile, sum);
    } else if (vectors > NARROW || tile->b_is_full || tile->last == WIDTH) {
        walk_any(rows, vectors, WHOLE, is_even, tile, sum);
    } else {
        walk_any(rows, vectors, PART, is_even, tile, sum);
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
        block(rows, vectors, 0, tile);                                                             \
    }                                                                                              \
    TARGET static void even_##rows##_##vectors(const lamina__product_tile *tile) {                 \
        block(rows, vectors, 1, tile);                                                             \
    }
#define DOT(rows, columns)                                                                         \
    TARGET static void dot_##rows##_##columns(const lamina__product_tile *tile) {                  \
        dot(rows, columns, tile);                                                                  \
    }
