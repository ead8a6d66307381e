/* The block products for AVX-512: blocks of 8 x 48 sums in 24 of 32 registers. */
#include "layers/product/product.h"
#include "layers/real.h"

#if !LAMINA_LAYERS_F64 && LAMINA__ISA_X86

#include "layers/vector_avx512.h"

enum { ROWS = 8, VECTORS = 3 };

#include "layers/product/product_block.h"

#define ROW_OF_BLOCKS(rows) BLOCK(rows, 1) BLOCK(rows, 2) BLOCK(rows, 3) DOT(rows, 1) DOT(rows, 2)
ROW_OF_BLOCKS(1)
ROW_OF_BLOCKS(2)
ROW_OF_BLOCKS(3)
ROW_OF_BLOCKS(4)
ROW_OF_BLOCKS(5)
ROW_OF_BLOCKS(6)
ROW_OF_BLOCKS(7)
ROW_OF_BLOCKS(8)

const lamina__product_isa lamina__product_avx512 = {.width = WIDTH,
                                                    .rows = ROWS,
                                                    .vectors = VECTORS,
                                                    .block = {{block_1_1, block_1_2, block_1_3},
                                                              {block_2_1, block_2_2, block_2_3},
                                                              {block_3_1, block_3_2, block_3_3},
                                                              {block_4_1, block_4_2, block_4_3},
                                                              {block_5_1, block_5_2, block_5_3},
                                                              {block_6_1, block_6_2, block_6_3},
                                                              {block_7_1, block_7_2, block_7_3},
                                                              {block_8_1, block_8_2, block_8_3}},
                                                    .dot = {{dot_1_1, dot_1_2},
                                                            {dot_2_1, dot_2_2},
                                                            {dot_3_1, dot_3_2},
                                                            {dot_4_1, dot_4_2},
                                                            {dot_5_1, dot_5_2},
                                                            {dot_6_1, dot_6_2},
                                                            {dot_7_1, dot_7_2},
                                                            {dot_8_1, dot_8_2}},
                                                    .sum_rows = sum_rows};

#endif
