/* The block products: every block of every instruction set that this processor
 * has, the best one or not, against plain loops. */
#include "layers/product/product.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INNER = 19, OUTER = 3, GAP = 5, WIDEST = 96, LD = WIDEST + GAP };
enum { A_SIZE = 1024, B_SIZE = OUTER * INNER * LD, C_SIZE = LAMINA__PRODUCT_ROWS * LD };

static float a[A_SIZE], b[B_SIZE], bias[LD], c[C_SIZE], want[C_SIZE];

static void fill(float *x, int n, unsigned seed) {
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) / 8388608.0F - 1.0F;
    }
}

/* What the tile asks for, into want[]; b's column j is b_column * j further on. */
static void expect(const lamina__product_tile *tile, int rows, int columns, int64_t b_column) {
    const lamina__product_walk *w = &tile->walk;
    for (int r = 0; r < rows; r++) {
        for (int j = 0; j < columns; j++) {
            double sum = tile->bias != NULL ? (double)tile->bias[j] : 0;
            for (int64_t k = 0; k < w->n[1]; k++) {
                for (int64_t i = 0; i < w->n[0]; i++) {
                    const int64_t at = tile->a_at[r] + k * w->a_step[1] + i * w->a_step[0];
                    sum += (double)tile->a[at] *
                           (double)tile->b[k * w->b_step[1] + i * w->b_step[0] + j * b_column];
                }
            }
            float *to = &want[tile->c_at[r] + j];
            sum += tile->add ? (double)*to : 0;
            *to = tile->relu && sum < 0 ? 0 : (float)sum;
        }
    }
}

/* c[] is want[], outside of the block to the bit. */
static int matches(void) {
    for (int i = 0; i < C_SIZE; i++) {
        if (!(fabs((double)c[i] - (double)want[i]) < 1e-4)) {
            return 0;
        }
    }
    return 1;
}

static void run(lamina__product_fn *fn, const lamina__product_tile *tile, int rows, int columns,
                int64_t b_column) {
    fill(c, C_SIZE, 7);
    memcpy(want, c, sizeof c);
    expect(tile, rows, columns, b_column);
    fn(tile);
    CU_ASSERT(matches());
}

static void check(const lamina__product_isa *isa) {
    int64_t a_at[LAMINA__PRODUCT_ROWS], c_at[LAMINA__PRODUCT_ROWS];
    fill(a, A_SIZE, 1);
    fill(b, B_SIZE, 2);
    fill(bias, LD, 3);
    for (int r = 0; r < LAMINA__PRODUCT_ROWS; r++) {
        a_at[r] = 11 * r;
        c_at[r] = LD * (int64_t)((r + 3) % LAMINA__PRODUCT_ROWS);
    }
    lamina__product_tile tile = {.a = a, .a_at = a_at, .b = b, .c = c, .c_at = c_at};
    for (int rows = 1; rows <= isa->rows; rows++) {
        for (int vectors = 1; vectors <= isa->wide && rows <= isa->most_rows[vectors - 1];
             vectors++) {
            for (int last = 1; last <= isa->width; last++) {
                tile.walk = (lamina__product_walk){
                    .n = {INNER, OUTER}, .a_step = {2, 60}, .b_step = {LD, INNER * LD}};
                tile.last = last;
                tile.add = last % 2;
                tile.b_is_full = last % 3 == 0 || vectors > isa->vectors;
                tile.bias = last % 4 < 2 ? bias : NULL;
                tile.relu = last % 8 < 4;
                run(isa->block[rows - 1][vectors - 1], &tile, rows,
                    (vectors - 1) * isa->width + last, 1);
                tile.walk.n[1] = 1;
                tile.a_row = 11;
                tile.ahead[0] = (lamina__product_ahead){a, last};
                tile.ahead[1] = (lamina__product_ahead){b, 1};
                run(isa->even[rows - 1][vectors - 1], &tile, rows,
                    (vectors - 1) * isa->width + last, 1);
            }
        }
        for (int columns = 1; columns <= LAMINA__PRODUCT_DOTS; columns++) {
            for (int n = 1; n <= 3 * isa->width; n++) {
                tile.walk =
                    (lamina__product_walk){.n = {n, OUTER}, .a_step = {1, 60}, .b_step = {1, LD}};
                tile.b_column = OUTER * LD;
                tile.add = 0;
                tile.bias = n % 2 ? bias : NULL;
                tile.relu = n % 4 < 2;
                run(isa->dot[rows - 1][columns - 1], &tile, rows, columns, tile.b_column);
            }
        }
    }
}

static void check_row_sums(const lamina__product_isa *isa) {
    for (int columns = 1; columns <= WIDEST; columns++) {
        fill(c, C_SIZE, 7);
        memcpy(want, c, sizeof c);
        for (int i = 0; i < 5 * columns; i++) {
            want[i % columns] += b[i];
        }
        isa->sum_rows(5, columns, b, c);
        CU_ASSERT(matches());
    }
}

static void portable(void) {
    check(&lamina__product_portable);
    check_row_sums(&lamina__product_portable);
}

static void avx512(void) {
#if LAMINA__ISA_X86
    if (lamina__isa_of_processor() >= LAMINA__ISA_AVX512) {
        check(&lamina__product_avx512);
        check_row_sums(&lamina__product_avx512);
    }
#endif
}

static void avx2(void) {
#if LAMINA__ISA_X86
    if (lamina__isa_of_processor() >= LAMINA__ISA_AVX2) {
        check(&lamina__product_avx2);
        check_row_sums(&lamina__product_avx2);
    }
#endif
}

/* LAMINA_ISA asks for less, never for more. */
static void forced(void) {
    static const lamina__product_isa *const sets[LAMINA__N_ISAS] = {
        &lamina__product_portable,
#if LAMINA__ISA_X86
        &lamina__product_avx2,
        &lamina__product_avx512
#endif
    };
    const char *before = getenv("LAMINA_ISA");
    for (int isa = 0; isa < LAMINA__N_ISAS; isa++) {
        const int can = isa <= (int)lamina__isa_of_processor();
        CU_ASSERT_EQUAL_FATAL(setenv("LAMINA_ISA", lamina__isa_name((lamina__isa)isa), 1), 0);
        CU_ASSERT_EQUAL(lamina__isa_is_valid(), can);
        CU_ASSERT_PTR_EQUAL(lamina__product_to_use(),
                            sets[can ? isa : (int)lamina__isa_of_processor()]);
    }
    CU_ASSERT_EQUAL_FATAL(setenv("LAMINA_ISA", "fast", 1), 0);
    CU_ASSERT(!lamina__isa_is_valid());
    CU_ASSERT_EQUAL(lamina__isa_to_use(), lamina__isa_of_processor());
    if (before != NULL) {
        setenv("LAMINA_ISA", before, 1);
    } else {
        unsetenv("LAMINA_ISA");
    }
}

LAMINA_TESTS({"portable", portable}, {"AVX-512", avx512}, {"AVX2", avx2}, {"forced", forced})
