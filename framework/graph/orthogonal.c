/* Random orthogonal matrices: Q of the QR decomposition of a matrix of independent normal numbers,
 * each column turned so that the diagonal of R is positive, which makes Q uniformly distributed
 * (Mezzadri 2007) and the same as torch.nn.init.orthogonal_ makes of the same numbers. By
 * Householder's reflections (1958), in double. */
#include "graph/init.h"

#include "base/alloc.h"
#include "base/clones.h"
#include "base/error.h"

#include <math.h>

/* A (length, n), length >= n, column after column: column j's lower part, from row j on, becomes
 * the vector v of the reflection I - scale v v^T, which turns it into a multiple of the unit
 * vector. */
typedef struct reflections {
    int64_t length, n;
    double *column; /* n of them */
    double *scale;  /* n; 0: the identity */
    double *sign;   /* n: of R's diagonal */
} reflections;

/* In LANES sums, so that their order does not depend on the processor's vectors. */
LAMINA__VECTOR_CLONES
static double dot(const double *restrict a, const double *restrict b, int64_t n) {
    enum { LANES = 8 };
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += a[i + l] * b[i + l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    for (; i < n; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

LAMINA__VECTOR_CLONES
static void add_scaled(double *restrict a, double factor, const double *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        a[i] += factor * b[i];
    }
}

/* Reflects rows j.. of a column by reflection j. */
static void reflect(const reflections *r, int64_t j, double *column) {
    const double *v = r->column + j * r->length + j;
    const int64_t n = r->length - j;
    add_scaled(column + j, -r->scale[j] * dot(v, column + j, n), v, n);
}

static void decompose(reflections *r) {
    for (int64_t j = 0; j < r->n; j++) {
        double *v = r->column + j * r->length + j;
        const double norm = sqrt(dot(v, v, r->length - j));
        const double diagonal = v[0] > 0 ? -norm : norm; /* of R; away from v[0] */
        r->sign[j] = diagonal < 0 ? -1 : 1;
        v[0] -= diagonal;
        /* |v|^2 = 2 norm (norm + |v[0]| as it was) */
        r->scale[j] = norm > 0 ? 1 / (norm * fabs(v[0])) : 0;
        for (int64_t k = j + 1; k < r->n; k++) {
            reflect(r, j, r->column + k * r->length);
        }
    }
}

/* Column k of Q: the reflections one after the other, the last first, on the unit vector k. Those
 * after k do not touch it. */
static void make_column(const reflections *r, int64_t k, double *q) {
    for (int64_t i = 0; i < r->length; i++) {
        q[i] = i == k ? r->sign[k] : 0;
    }
    for (int64_t j = k; j >= 0; j--) {
        reflect(r, j, q);
    }
}

lamina_status lamina__orthogonalise(float *values, int64_t rows, int64_t columns, double gain,
                                    lamina_error *error) {
    const bool wide = rows < columns; /* then the rows become orthogonal */
    reflections r = {.length = wide ? columns : rows, .n = wide ? rows : columns};
    const int64_t across = wide ? 1 : columns, along = wide ? columns : 1;
    lamina_status status = LAMINA_OK;
    r.column = lamina__calloc((size_t)(r.length * r.n), sizeof *r.column);
    r.scale = lamina__calloc((size_t)r.n, sizeof *r.scale);
    r.sign = lamina__calloc((size_t)r.n, sizeof *r.sign);
    double *q = lamina__calloc((size_t)r.length, sizeof *q);
    if (r.column == NULL || r.scale == NULL || r.sign == NULL || q == NULL) {
        status = lamina__fail_memory(error, "an orthogonal weight");
        goto done;
    }
    for (int64_t k = 0; k < r.n; k++) {
        for (int64_t i = 0; i < r.length; i++) {
            r.column[k * r.length + i] = values[i * across + k * along];
        }
    }
    decompose(&r);
    for (int64_t k = 0; k < r.n; k++) {
        make_column(&r, k, q);
        for (int64_t i = 0; i < r.length; i++) {
            values[i * across + k * along] = (float)(gain * q[i]);
        }
    }
done:
    lamina__free(r.column);
    lamina__free(r.scale);
    lamina__free(r.sign);
    lamina__free(q);
    return status;
}
