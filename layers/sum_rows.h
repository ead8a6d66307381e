/* The sum of many rows of numbers: over the pixels of an image, channel by channel. */
#ifndef LAMINA_LAYERS_SUM_ROWS_H
#define LAMINA_LAYERS_SUM_ROWS_H

#include "layers/real.h"

/* sum[j] += the sum over i < rows of from[i * step + j], for j < columns. Summed in pieces of rows,
 * so rounding errors grow with their number and not with that of the rows. The order depends on
 * rows, columns and whether step is columns, and on nothing else. */
void LAMINA__REAL_NAME(sum_rows)(int64_t rows, int64_t step, int64_t columns,
                                 const lamina_real *from, lamina_real *sum);

#endif
