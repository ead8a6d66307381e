/* A rig: one layer with memory for everything it declares, each tensor between two guard zones, so
 * that the checker sees what a call wrote, what it left, and what it should not have touched.
 *
 *     | guard: 128 bytes of the tensor's own pattern | the tensor | guard |
 *
 * Pattern and poison are NaNs whether read as float or as double, and every tensor has its own
 * pattern: a layer that reads past a tensor computes NaNs, and one that copies past its end is seen
 * too. The layer may be the real one (float) or its twin compiled in double; numbers are set and
 * read as double, by logical index, in both. */
#ifndef LAMINA_CHECK_RIG_H
#define LAMINA_CHECK_RIG_H

#include "check/case.h"

#include <stdbool.h>

#define LAMINA__RIG_SHARDS 3

typedef enum lamina__role {
    LAMINA__ROLE_IN,
    LAMINA__ROLE_OUT,
    LAMINA__ROLE_WEIGHT,
    LAMINA__ROLE_STATE,
    LAMINA__ROLE_SAVED,
    LAMINA__ROLE_D_OUT,
    LAMINA__ROLE_D_IN,
    LAMINA__ROLE_D_WEIGHT, /* one for each shard: index shard * n_weights + weight */
    LAMINA__ROLE_PACKED,
    LAMINA__ROLE_SCRATCH, /* one for each shard */
    LAMINA__N_ROLES
} lamina__role;

/* One tensor, or one block of plain bytes. */
typedef struct lamina__field {
    char label[128];      /* "d_weight \"bias\"" */
    lamina_tensor view;   /* of the whole batch, logical order */
    bool per_sample;      /* dim[0] is the batch: shards get a part */
    bool real;            /* floating point, of `item` bytes */
    size_t item;          /* bytes of an element */
    int64_t count;        /* logical elements; 0 for plain bytes */
    size_t bytes;         /* between the guards */
    uint32_t pattern;     /* of the guards */
    unsigned char *block; /* guard, bytes, guard */
    unsigned char *copy;  /* `bytes` long: contents before a call */
    unsigned char *start; /* state: as drawn */
} lamina__field;

typedef struct lamina__rig {
    lamina__instance *instance;
    bool f64;
    int32_t threads; /* for parallel_for */
    int64_t batch;   /* the largest */
    lamina__field *fields[LAMINA__N_ROLES];
    int32_t count[LAMINA__N_ROLES];
    struct lamina__rig_io *io; /* one for each shard */
} lamina__rig;

typedef struct lamina__rig_options {
    const char *kernel; /* for every pass it can run; NULL: those that come first */
    int64_t batch;
    bool f64; /* the layer computes in double */
    int32_t shards, threads, training;
    int32_t n_samples;
    int64_t samples[16]; /* every number of samples that a call will have, largest first */
} lamina__rig_options;

/* How a call is made. Zeroed and given a phase: the whole batch in one call. */
typedef struct lamina__rig_call {
    int32_t phase;
    int64_t batch; /* samples; 0: the rig's */
    int32_t shards;
    int64_t cut[LAMINA__RIG_SHARDS];   /* samples of each; shards 0: one call for all */
    int32_t one;                       /* not 0: shard one-1 alone */
    uint32_t skip_d_in, skip_d_weight; /* bit i: entry i is NULL */
    bool in_place;
    bool quick; /* no poison, no check of guards and constants */
} lamina__rig_call;

/* A fault that a guard or a constant showed, or an error that the layer returned. */
typedef struct lamina__fault {
    char text[512]; /* "" when there is none */
} lamina__fault;

/* The layer's own refusal of config or shapes comes back as error. */
lamina_status lamina__rig_create(const lamina__type_entry *, const lamina__case *, uint64_t seed,
                                 const lamina__rig_options *, lamina__rig **, lamina_error *);
void lamina__rig_free(lamina__rig *);

/* Does the wanted kernel run any pass here? */
bool lamina__rig_has_kernel(const lamina__rig *, const char *kernel);

/* Inputs (a shuffled grid of distinct values, none near 0), weights, state, d_out: all exact in
 * float, and the same for every rig of this layer, seed and batch. d_weight becomes 0.
 * False: out of memory. */
bool lamina__rig_draw(lamina__rig *, uint64_t seed, const lamina__case *);

/* Both return false and fill `fault` when something was wrong. forward() starts from the state as
 * drawn, poisons what it must write, and prepares the weights first. backward() poisons d_in and
 * leaves d_weight, to which it adds. */
bool lamina__rig_forward(lamina__rig *, const lamina__rig_call *, lamina__fault *);
bool lamina__rig_backward(lamina__rig *, const lamina__rig_call *, lamina__fault *);

/* All shards at once, again and again for some time of the processor: forward() or, when
 * `backward`, backward() from d_weight 0. Counts the calls, and those after which out, or d_in and
 * d_weight, differ in a bit from what they hold now. False: a call failed. */
bool lamina__rig_hammer(lamina__rig *, const lamina__rig_call *, double seconds, bool backward,
                        int64_t *calls, int64_t *different, lamina__fault *);

static inline lamina__field *lamina__rig_field(const lamina__rig *rig, lamina__role role,
                                               int32_t i) {
    return &rig->fields[role][i];
}
static inline lamina__field *lamina__rig_d_weight(const lamina__rig *rig, int32_t shard,
                                                  int32_t weight) {
    return &rig->fields[LAMINA__ROLE_D_WEIGHT][shard * rig->count[LAMINA__ROLE_WEIGHT] + weight];
}

/* ---- Fields, by logical index (row-major in view.shape) ---- */

double lamina__field_get(const lamina__field *, int64_t index);
void lamina__field_set(lamina__field *, int64_t index, double value);
void lamina__field_values(const lamina__field *, double *dst); /* all of them */
void lamina__field_zero(lamina__field *);
void lamina__field_poison(lamina__field *);
bool lamina__field_poisoned(const lamina__field *, int64_t index); /* never written */
void *lamina__field_data(const lamina__field *);
/* Elements of one sample, 0 when the field is not cut by samples. */
int64_t lamina__field_per_sample(const lamina__field *);
/* The first byte outside the logical elements that is not 0 (padding of weights), or -1. */
int64_t lamina__field_padding(const lamina__field *);
/* "[1, 2, 0, 3]" */
void lamina__field_place(const lamina__field *, int64_t index, char *dst, size_t size);

#endif
