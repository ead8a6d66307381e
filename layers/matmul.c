/* C += A B in tiles of C that stay in registers while they are summed over k.
 *
 * The inner loop runs along contiguous columns of B and C, so it becomes vector code without any
 * reordering of sums: float results are the same for every instruction set. */
#include "layers/matmul.h"

enum {
    ROWS = 4,   /* of a tile */
    DEPTH = 256 /* of k at once: what a tile reads of B (DEPTH x 32) stays in the cache */
};

typedef struct product {
    int64_t m, depth;
    const lamina_real *a, *b;
    int64_t a_row, a_col, b_row, ldc;
    lamina_real *c;
} product;

/* One tile of `rows` x `cols`, both constants after inlining. */
static inline __attribute__((always_inline)) void tile(const product *p, int64_t i, int64_t j,
                                                       int rows, int cols) {
    lamina_real sum[ROWS][32];
    const lamina_real *a = p->a + i * p->a_row;
    const lamina_real *b = p->b + j;
    lamina_real *c = p->c + i * p->ldc + j;

    for (int r = 0; r < rows; r++) {
        for (int s = 0; s < cols; s++) {
            sum[r][s] = 0;
        }
    }
    for (int64_t k = 0; k < p->depth; k++, b += p->b_row) {
        for (int r = 0; r < rows; r++) {
            const lamina_real x = a[r * p->a_row + k * p->a_col];
            for (int s = 0; s < cols; s++) {
                sum[r][s] += x * b[s];
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int s = 0; s < cols; s++) {
            c[r * p->ldc + s] += sum[r][s];
        }
    }
}

/* All rows of the columns j .. j+cols-1. */
static inline __attribute__((always_inline)) void strip(const product *p, int64_t j, int cols) {
    int64_t i = 0;
    for (; i + ROWS <= p->m; i += ROWS) {
        tile(p, i, j, ROWS, cols);
    }
    for (; i < p->m; i++) {
        tile(p, i, j, 1, cols);
    }
}

LAMINA__VECTOR_CLONES
static void multiply(int64_t m, int64_t n, int64_t k, lamina__matrix a, lamina__matrix b,
                     lamina_real *c, int64_t ldc) {
    for (int64_t first = 0; first < k; first += DEPTH) {
        const product p = {.m = m,
                           .depth = k - first < DEPTH ? k - first : DEPTH,
                           .a = a.data + first * a.col,
                           .b = b.data + first * b.row,
                           .a_row = a.row,
                           .a_col = a.col,
                           .b_row = b.row,
                           .ldc = ldc,
                           .c = c};
        int64_t j = 0;
        for (; j + 32 <= n; j += 32) {
            strip(&p, j, 32);
        }
        for (; j + 8 <= n; j += 8) {
            strip(&p, j, 8);
        }
        for (; j < n; j++) {
            strip(&p, j, 1);
        }
    }
}

void LAMINA__REAL_NAME(matmul_add)(int64_t m, int64_t n, int64_t k, lamina__matrix a,
                                   lamina__matrix b, lamina_real *c, int64_t ldc) {
    multiply(m, n, k, a, b, c, ldc);
}

void LAMINA__REAL_NAME(transpose)(int64_t rows, int64_t cols, const lamina_real *from,
                                  lamina_real *to) {
    enum { BLOCK = 16 }; /* squares that fit the cache on both sides */
    for (int64_t i0 = 0; i0 < rows; i0 += BLOCK) {
        const int64_t i1 = i0 + BLOCK < rows ? i0 + BLOCK : rows;
        for (int64_t j0 = 0; j0 < cols; j0 += BLOCK) {
            const int64_t j1 = j0 + BLOCK < cols ? j0 + BLOCK : cols;
            for (int64_t j = j0; j < j1; j++) {
                for (int64_t i = i0; i < i1; i++) {
                    to[j * rows + i] = from[i * cols + j];
                }
            }
        }
    }
}
