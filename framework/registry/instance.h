/* An instance: one layer of one network. It runs the layer's create() and setup(), keeps what they
 * declare, and calls its kernels. It is the host side of lamina/layer.h: the functions of
 * lamina_host are here. Memory for tensors is its user's business: the graph's executor puts it in
 * an arena, the checker between guard zones. */
#ifndef LAMINA_REGISTRY_INSTANCE_H
#define LAMINA_REGISTRY_INSTANCE_H

#include "base/philox.h"
#include "registry/registry.h"

#include <stdbool.h>

#define LAMINA__MAX_INPUTS   16
#define LAMINA__MAX_OUTPUTS  8
#define LAMINA__MAX_DECLARED 16 /* weights, states, saved, packed: of each at most so many */
#define LAMINA__N_PASSES     3

extern const char *const lamina__pass_names[LAMINA__N_PASSES]; /* "forward", "backward_data", ... */

typedef struct lamina__saved {
    char *name;
    lamina_shape shape;
} lamina__saved;

typedef struct lamina__state {
    char *name;
    lamina_shape shape;
    double fill;
} lamina__state;

typedef struct lamina__packed {
    char *name;
    size_t bytes;
} lamina__packed;

/* A kernel with at least one pass of this layer. */
typedef struct lamina__bound_kernel {
    const lamina_kernel *kernel;
    void *state;     /* what its create() made */
    uint32_t passes; /* LAMINA_PASS_... it was given */
} lamina__bound_kernel;

typedef struct lamina__instance {
    const lamina__type_entry *entry;
    const lamina_layer_type *type; /* entry->type, as far as this host knows the struct */
    char *name;                    /* "conv1" */
    char *place;                   /* "lenet.yaml:31:5"; NULL: no config */
    int32_t index;                 /* in the network; keys its random numbers */
    uint64_t seed;
    void *config;
    void *self;

    int32_t n_in, n_out;
    lamina_shape in[LAMINA__MAX_INPUTS]; /* dim[0]: the batch */
    lamina_shape out[LAMINA__MAX_OUTPUTS];
    int32_t shards, threads;
    int32_t training;
    int64_t *samples;
    int32_t n_samples;
    int32_t calls; /* of a stage, at most; 0: it is not called in stages */

    int32_t n_weights, n_states, n_saved, n_packed;
    lamina_weight weights[LAMINA__MAX_DECLARED]; /* name owned; elements, order filled in */
    lamina__state states[LAMINA__MAX_DECLARED];
    lamina__saved saved[LAMINA__MAX_DECLARED];
    lamina__packed packed[LAMINA__MAX_DECLARED];
    size_t scratch_bytes, shared_bytes;
    double multiply_adds; /* forward, one sample */
    bool ignores_label;   /* samples with ignored_label count nothing */
    int64_t ignored_label;

    /* The only layer that reads out[0], when it works in place; NULL */
    const struct lamina__instance *next;
    int32_t fuses;          /* 1: the forward kernel does the forward pass of that layer, too, */
    int32_t fuses_backward; /* 1: and its backward kernel the backward pass */

    lamina_kernel plain; /* stands for forward and backward of a type without kernels */
    const lamina_kernel *plain_list[2];
    int32_t n_bound;
    lamina__bound_kernel bound[LAMINA__N_PASSES];
    int32_t pass_kernel[LAMINA__N_PASSES]; /* index into bound, -1: none */

    void **memory; /* blocks from host->alloc */
    size_t n_memory, memory_capacity;
} lamina__instance;

/* What a layer may do in a call beside computing. */
typedef enum lamina__call_kind {
    LAMINA__CALL_RUN = 0, /* prepare(), forward(), backward() */
    LAMINA__CALL_CREATE,  /* allocate */
    LAMINA__CALL_SETUP,   /* allocate, declare anything */
    LAMINA__CALL_KERNEL   /* a kernel's create(): allocate, declare saved, scratch, packed */
} lamina__call_kind;

/* One call into a layer: what stands behind the lamina_call a layer sees. A caller keeps one for
 * each instance and shard, so that errors of shards that run at once do not mix. */
typedef struct lamina__call {
    lamina_call base; /* first: a lamina_call * is a lamina__call * */
    lamina__instance *instance;
    lamina_error *error; /* where fail() writes */
    lamina__call_kind kind;
    int32_t threads; /* for parallel_for */
    int32_t openmp;  /* 1: on OpenMP's threads; a kernel of the net's opens regions itself */
    int64_t step;    /* for uniform */
} lamina__call;

/* How a network is cut, as setup() is told. */
typedef struct lamina__cut {
    int32_t training, shards, threads, n_samples;
    const int64_t *samples; /* largest first */
    int32_t calls;          /* of a stage, at most; 0: the layer is not called in stages */
} lamina__cut;

/* config: values of the type's parameter table; copied (strings in it must outlive the instance).
 */
lamina_status lamina__instance_create(const lamina__type_entry *, const char *name,
                                      const char *place, int32_t index, uint64_t seed,
                                      const void *config, lamina__instance **, lamina_error *);
void lamina__instance_free(lamina__instance *);

/* setup(): in[i].dim[0] is the batch. Checks what was declared: outputs all set, sizes positive and
 * without overflow, names unique and without '/'. */
lamina_status lamina__instance_setup(lamina__instance *, int32_t n_in, const lamina_shape *in,
                                     const lamina__cut *, lamina_error *);

/* After setup() and before bind(): there are only these of the numbers of samples, largest first,
 * and so many calls of a stage. */
void lamina__instance_narrow(lamina__instance *, const int64_t *samples, int32_t n_samples,
                             int32_t calls);

/* Would bind() with these kernels make it one that is called in stages? */
bool lamina__type_has_stages(const lamina_layer_type *, const char *forward_kernel);

/* Picks a kernel for each pass and creates them. wanted[pass]: a kernel's name, or NULL or "auto":
 * the first that applies. `strict`: an error when the wanted one does not exist or apply, instead
 * of auto. */
lamina_status lamina__instance_bind(lamina__instance *, const char *const wanted[LAMINA__N_PASSES],
                                    int strict, lamina_error *);
/* The name of the kernel that has a pass, or NULL. */
const char *lamina__instance_kernel(const lamina__instance *, int pass);

/* Does one of its kernels open OpenMP regions of its own? After bind(). */
bool lamina__instance_opens_regions(const lamina__instance *);

/* The kernels worth timing for a pass, in order of preference: those that apply, a last resort, and
 * what opens OpenMP regions, only where nothing else does. A TOGETHER kernel is a candidate of the
 * forward pass and stands for all. Fills at most `max`, returns how many; 0 when this layer has no
 * such pass. After setup(). */
int32_t lamina__instance_candidates(const lamina__instance *, int pass, const lamina_kernel **list,
                                    int32_t max);

/* The kernels of a type as a NULL-terminated list; a type with forward() has the one. */
const lamina_kernel *const *lamina__instance_kernels(const lamina__instance *);

void lamina__call_init(lamina__call *, lamina__instance *, lamina_error *error);

/* All of it; io->parts is 1. */
lamina_status lamina__instance_prepare(lamina__instance *, lamina__call *, const lamina_io *);
/* Part io->part of io->parts, for kernels that share the work; the others' too if it is `theirs`.
 */
lamina_status lamina__instance_prepare_part(lamina__instance *, lamina__call *, const lamina_io *,
                                            bool theirs);
int lamina__instance_has_prepare(const lamina__instance *);
lamina_status lamina__instance_forward(const lamina__instance *, lamina__call *, const lamina_io *);
/* Is there anything to do in a pass, 0 .. LAMINA__N_PASSES - 1? A type without kernels does all of
 * its backward() in 1, backward_data. */
bool lamina__instance_has_pass(const lamina__instance *, int pass, const lamina_io *);
lamina_status lamina__instance_pass(const lamina__instance *, lamina__call *, int pass,
                                    const lamina_io *);
/* Backward-weights first, then backward-data (d_in may be d_out's memory). */
lamina_status lamina__instance_backward(const lamina__instance *, lamina__call *,
                                        const lamina_io *);

/* ---- Tensors: views and orders ---- */

/* Row-major strides; channels-last for 4-D shapes. */
void lamina__tensor_view(lamina_tensor *, const lamina_shape *, void *data);
/* A weight's view in its stored order: shape is order_dim, or shape itself; stride as declared. */
void lamina__weight_view(lamina_tensor *, const lamina_weight *, void *data);
size_t lamina__dtype_bytes(int32_t dtype);

/* Between logical row-major order and the stored order. 4-D F32 tensors N,C,H,W, and weights. */
void lamina__tensor_to_logical(const lamina_tensor *, float *dst);
void lamina__tensor_from_logical(const lamina_tensor *, const float *src);

#endif
