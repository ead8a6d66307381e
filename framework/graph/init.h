/* Initialisers: how a weight's first values are drawn. `init: he`, or `init: {weight: {type: he,
 * fan: out}, bias: zeros}`. One table has their names, their keys and what a layer's own
 * declaration stands for; numbers are drawn by logical index, so a weight starts with the same
 * values whatever order it is stored in. The formulas are in docs/mathematics.md. */
#ifndef LAMINA_GRAPH_INIT_H
#define LAMINA_GRAPH_INIT_H

#include "base/philox.h"
#include "config/params.h"

/* What an initialiser's keys are read into; each kind uses some of them. */
typedef struct lamina__init {
    int32_t kind;           /* LAMINA_INIT_... */
    int32_t fan;            /* he: 0 fan_in, 1 fan_out */
    double value;           /* constant */
    double mean, std;       /* normal, truncated_normal */
    double gain;            /* xavier, orthogonal: a factor */
    double slope;           /* he: of the rectifier behind, for negative values */
    lamina_real_list range; /* uniform: [low, high], or one number: from minus to plus that */
} lamina__init;

typedef struct lamina__init_type {
    int32_t kind;
    const char *names[5]; /* NULL-terminated; the first is the one that is written */
    const char *doc;
    lamina__table keys;
    double value; /* of a constant without keys */
} lamina__init_type;

/* The last one's kind is 0. */
extern const lamina__init_type lamina__init_types[];

/* A word, or a map with `type` and that type's keys. False: something was reported. */
bool lamina__init_read(const lamina__node *, const char *subject, lamina__init *, lamina__diags *);
/* "{type: he, fan: in, slope: 0}" */
void lamina__init_write(const lamina__init *, lamina__text *);
/* What a layer declared. */
lamina__init lamina__init_declared(const lamina_init *);

/* Why the initialiser cannot be used for a weight of this shape, or NULL. */
const char *lamina__init_refuses(const lamina__init *, const lamina_shape *);

/* The first values of `weight`, in its stored order in `data`. */
lamina_status lamina__init_weight(const lamina_weight *weight, const lamina__init *, lamina__stream,
                                  float *data, lamina_error *error);

/* orthogonal.c: turns random numbers (rows, columns) into a matrix whose rows or columns, whichever
 * are fewer, are orthogonal and `gain` long. */
lamina_status lamina__orthogonalise(float *values, int64_t rows, int64_t columns, double gain,
                                    lamina_error *error);

#endif
