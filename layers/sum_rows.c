/* The sum of many rows of numbers: sum_rows.h. Rows that are narrow and dense are taken several at
 * a time, as one wide row whose parts are added at the end: else little of a vector were used. */
#include "layers/sum_rows.h"

#include <string.h>

enum { WIDE = 256, PIECE = 128 }; /* columns, and rows, that are summed by themselves */

/* part[j] = the sum of so many rows, four at a time, which need not wait for each other. */
LAMINA__VECTOR_CLONES
static void sum_piece(int64_t rows, int64_t step, int64_t columns, const lamina_real *from,
                      lamina_real *restrict part) {
    int64_t i = 0;
    memset(part, 0, (size_t)columns * sizeof *part);
    for (; i + 4 <= rows; i += 4) {
        const lamina_real *a = from + i * step, *b = a + step, *c = b + step, *d = c + step;
        for (int64_t j = 0; j < columns; j++) {
            part[j] += (a[j] + b[j]) + (c[j] + d[j]);
        }
    }
    for (; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            part[j] += from[i * step + j];
        }
    }
}

void LAMINA__REAL_NAME(sum_rows)(int64_t rows, int64_t step, int64_t columns,
                                 const lamina_real *from, lamina_real *sum) {
    const int64_t together = step == columns && columns <= WIDE / 2 ? WIDE / columns : 1;
    const int64_t wide = together * columns, n = rows / together;
    lamina_real part[WIDE];

    for (int64_t j = 0; j < wide; j += WIDE) {
        const int64_t count = wide - j < WIDE ? wide - j : WIDE;
        for (int64_t i = 0; i < n; i += PIECE) {
            sum_piece(n - i < PIECE ? n - i : PIECE, step * together, count,
                      from + i * step * together + j, part);
            for (int64_t k = 0; k < count; k++) {
                sum[(j + k) % columns] += part[k];
            }
        }
    }
    for (int64_t i = n * together; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            sum[j] += from[i * step + j];
        }
    }
}
