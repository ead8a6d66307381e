/* What a kernel of oneDNN primitives is made of; inside this folder only.
 *
 * A kernel has an op for each of its passes; an op has a variant for each number of samples; a
 * variant is one to three steps: the primitive, and for filter gradients, which oneDNN overwrites
 * and Lamina adds up, one reorder per gradient that adds it to where it belongs. A step is a
 * primitive and a table that says which tensor of lamina_io each of its arguments is, so running
 * one is the same for all. */
#ifndef LAMINA_ONEDNN_KERNEL_H
#define LAMINA_ONEDNN_KERNEL_H

#include "onednn/api.h"
#include "onednn/onednn.h"

enum { N_OPS = 3, MAX_STEPS = 3, MAX_ARGS = 5 };

/* Which tensor of lamina_io an argument is. */
typedef enum place {
    PLACE_IN,
    PLACE_OUT,
    PLACE_WEIGHT,
    PLACE_D_OUT,
    PLACE_D_IN,
    PLACE_D_WEIGHT,
    PLACE_PACKED, /* offset bytes into io->packed[index] */
    PLACE_SCRATCH /* offset bytes into io->scratch */
} place;

typedef struct argument {
    int32_t arg; /* DNNL_ARG_... */
    place place;
    int32_t index;
    size_t offset;
    dnnl_memory_t *memory; /* one for each shard */
} argument;

typedef struct step {
    dnnl_primitive_t primitive;
    int32_t n_args;
    argument args[MAX_ARGS];
} step;

typedef struct variant {
    int64_t samples;
    int32_t n_steps;
    step steps[MAX_STEPS];
    size_t scratch_bytes;
} variant;

typedef struct op {
    int32_t n_variants;
    variant *variants;
    int32_t n_packs; /* reorders of filters for prepare(); variants that agree share one */
    step *packs;     /* at most one for each variant */
    int32_t packed;  /* index into io->packed */
    size_t packed_bytes;
} op;

struct lamina__onednn {
    lamina__onednn_spec spec;
    lamina__dnnl dnnl;
    int32_t shards, threads;
    dnnl_stream_t *streams; /* one for each shard */
    op ops[N_OPS];
};

/* The op of a pass. */
int lamina__onednn_op(uint32_t pass);

/* Fails with "oneDNN 2.6.3: cannot make convolution backward_data: unimplemented". */
int32_t lamina__onednn_fail(lamina_call *, const lamina__onednn *, uint32_t pass, dnnl_status_t,
                            const char *what);

/* How many threads OpenMP uses for this thread's work. */
typedef struct lamina__onednn_threads {
    int threads, dynamic;
} lamina__onednn_threads;

/* oneDNN splits work over as many threads as OpenMP says it has, when a primitive is made and when
 * it runs; it waits for ever if the two disagree or fewer come. So both are done between begin()
 * and end(), which put OpenMP on `threads` threads, no fewer, and back to what it was before. */
lamina__onednn_threads lamina__onednn_begin(int threads);
/* Before anything else is asked of oneDNN: which instructions it may use. begin() does it, too. */
void lamina__onednn_settle(void);
void lamina__onednn_end(lamina__onednn_threads before);

/* "convolution", and "backward_data". */
const char *lamina__onednn_operation_name(lamina__onednn_operation);
const char *lamina__onednn_pass_name(uint32_t pass);

#endif
