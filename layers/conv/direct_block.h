/* The block products of direct.h, for the instruction set of the file that includes this. It has
 * defined
 *   TARGET                         the attribute that turns the instructions on
 *   vector, mask                   a vector of WIDTH floats; which of its elements are meant
 *   mask_of(n)                     the first n
 *   load, store, zero, broadcast, multiply_add, plus, sum_of
 *   ROWS, VECTORS                  the largest block that fits the registers
 */
#define INLINE static inline __attribute__((always_inline)) TARGET

INLINE void block(const int rows, const int vectors, const lamina__direct_tile *tile) {
    const lamina__direct_walk walk = tile->walk;
    const mask all = mask_of(WIDTH), last = mask_of(tile->last);
    const float *a[ROWS];
    vector sum[ROWS][VECTORS];

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        a[r] = tile->a + tile->a_at[r];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            sum[r][v] = zero();
        }
    }
    for (int64_t k = 0; k < walk.n[2]; k++) {
        for (int64_t j = 0; j < walk.n[1]; j++) {
            int64_t at = k * walk.a_step[2] + j * walk.a_step[1];
            const float *b = tile->b + k * walk.b_step[2] + j * walk.b_step[1];
            for (int64_t i = 0; i < walk.n[0]; i++) {
                vector column[VECTORS];
#pragma GCC unroll 3
                for (int v = 0; v < vectors; v++) {
                    column[v] = load(b + v * WIDTH, v < vectors - 1 ? all : last);
                }
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) {
                    const vector x = broadcast(a[r] + at);
#pragma GCC unroll 3
                    for (int v = 0; v < vectors; v++) {
                        sum[r][v] = multiply_add(x, column[v], sum[r][v]);
                    }
                }
                at += walk.a_step[0];
                b += walk.b_step[0];
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        float *c = tile->c + tile->c_at[r];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; v++) {
            const mask m = v < vectors - 1 ? all : last;
            vector s = sum[r][v];
            if (tile->bias != NULL) {
                s = plus(s, load(tile->bias + v * WIDTH, m));
            }
            if (tile->add) {
                s = plus(s, load(c + v * WIDTH, m));
            }
            store(c + v * WIDTH, m, s);
        }
    }
}

INLINE void dot(const int rows, const lamina__direct_tile *tile) {
    const lamina__direct_walk walk = tile->walk;
    const int64_t whole = walk.n[0] / WIDTH * WIDTH;
    const mask all = mask_of(WIDTH), rest = mask_of((int)(walk.n[0] - whole));
    vector sum[ROWS];

#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        sum[r] = zero();
    }
    for (int64_t k = 0; k < walk.n[2]; k++) {
        for (int64_t j = 0; j < walk.n[1]; j++) {
            const float *a = tile->a + k * walk.a_step[2] + j * walk.a_step[1];
            const float *b = tile->b + k * walk.b_step[2] + j * walk.b_step[1];
            for (int64_t i = 0; i < walk.n[0]; i += WIDTH) {
                const mask m = i < whole ? all : rest;
                const vector column = load(b + i, m);
#pragma GCC unroll 8
                for (int r = 0; r < rows; r++) {
                    sum[r] = multiply_add(load(a + tile->a_at[r] + i, m), column, sum[r]);
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++) {
        float *c = tile->c + tile->c_at[r];
        const float s = sum_of(sum[r]) + (tile->bias != NULL ? *tile->bias : 0.0F);
        *c = tile->add ? *c + s : s;
    }
}

TARGET static void sum_rows(int64_t rows, int64_t columns, const float *from, float *sum) {
    for (int64_t j = 0; j < columns; j += WIDTH) {
        const mask m = mask_of(columns - j < WIDTH ? (int)(columns - j) : WIDTH);
        vector even = zero(), odd = zero();
        int64_t i = 0;
        for (; i + 1 < rows; i += 2) {
            even = plus(even, load(from + i * columns + j, m));
            odd = plus(odd, load(from + (i + 1) * columns + j, m));
        }
        if (i < rows) {
            even = plus(even, load(from + i * columns + j, m));
        }
        store(sum + j, m, plus(load(sum + j, m), plus(even, odd)));
    }
}

/* The blocks' sizes are constants inside each of these, so their sums stay in registers. */
#define BLOCK(rows, vectors)                                                                       \
    TARGET static void block_##rows##_##vectors(const lamina__direct_tile *tile) {                 \
        block(rows, vectors, tile);                                                                \
    }
#define DOT(rows)                                                                                  \
    TARGET static void dot_##rows(const lamina__direct_tile *tile) {                               \
        dot(rows, tile);                                                                           \
    }
