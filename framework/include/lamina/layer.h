/* lamina/layer.h: write an operator.
 *
 * This is the one layer interface of Lamina. Built-in layers and plugins are the same struct,
 * lamina_layer_type; a plugin is a shared library whose only exported symbol,
 * lamina_plugin_entry_v1(), returns a static list of them. A plugin includes this header alone and
 * links against nothing of Lamina: everything it may call is in lamina_host, at call->host.
 *
 * The idea: a layer DECLARES, the host does the rest. In setup() it says what its outputs, weights,
 * running state, saved values and scratch look like; the host allocates all of it, initialises and
 * updates the weights, writes them to checkpoints, checks the gradients and cuts the batch.
 *
 * Shapes and memory. Logical shapes are N,C,H,W (images) or N,F (flat), always with the samples
 * first. In memory images are channels-last (N,H,W,C); everything else is row-major in its logical
 * order. The strides in lamina_tensor say so explicitly and are the same in every call.
 *
 * The shard. A batch is cut along its samples; each piece (a shard) goes through the whole network
 * on one thread. forward() and backward() are therefore called several times at once, each time
 * with other tensors: `self` is const there, and a layer keeps no other mutable state.
 *
 * Binary contract. ABI major 1: a plugin built with this header runs on every later Lamina 1.x.
 * Structs grow at the end only and begin with struct_size (set it to sizeof the struct); a host
 * reads no further than it. Unknown flag bits are refused. Integers have fixed widths.
 *
 * Errors. Functions return LAMINA_OK (0) or a negative code, best through fail(), which adds the
 * place in the config and the layer's name to the message:
 *     return call->host->fail(call, LAMINA_ERROR_SHAPE, "kernel %d does not fit input %d", k, h);
 */
#ifndef LAMINA_LAYER_H
#define LAMINA_LAYER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAMINA_ABI_MAJOR 1
#define LAMINA_ABI_MINOR 0

/* Every status a function of Lamina can return: X(name, value, meaning). */
#define LAMINA_STATUS_LIST(X)                                                                      \
    X(LAMINA_OK, 0, "success")                                                                     \
    X(LAMINA_ERROR_MEMORY, -1, "out of memory")                                                    \
    X(LAMINA_ERROR_CONFIG, -2, "the config is wrong")                                              \
    X(LAMINA_ERROR_SHAPE, -3, "shapes do not fit")                                                 \
    X(LAMINA_ERROR_IO, -4, "a file cannot be read or written")                                     \
    X(LAMINA_ERROR_DATA, -5, "a data file is damaged or of the wrong kind")                        \
    X(LAMINA_ERROR_PLUGIN, -6, "a plugin cannot be used")                                          \
    X(LAMINA_ERROR_NUMERIC, -7, "a value is not finite")                                           \
    X(LAMINA_ERROR_CHECKPOINT, -8, "a checkpoint cannot be used")                                  \
    X(LAMINA_ERROR_UNSUPPORTED, -9, "not supported here")                                          \
    X(LAMINA_ERROR_INTERRUPTED, -10, "interrupted")                                                \
    X(LAMINA_ERROR_INTERNAL, -11, "a fault in Lamina or in a plugin")                              \
    X(LAMINA_ERROR_USAGE, -12, "used wrongly")                                                     \
    X(LAMINA_ERROR_NOTHING_TO_DO, -13, "nothing to do")

typedef enum lamina_status {
#define LAMINA_STATUS_ENUM(name, value, meaning) name = value,
    LAMINA_STATUS_LIST(LAMINA_STATUS_ENUM)
#undef LAMINA_STATUS_ENUM
} lamina_status;

/* ---- Tensors ---------------------------------------------------------------------------- */

#define LAMINA_MAX_DIMS 8

enum { LAMINA_F32 = 1, LAMINA_I32 = 2, LAMINA_U8 = 3, LAMINA_F64 = 4 /* tests only */ };

typedef struct lamina_shape {
    int32_t dtype; /* LAMINA_F32 unless said otherwise */
    int32_t ndim;
    int64_t dim[LAMINA_MAX_DIMS]; /* logical order: N,C,H,W or N,F; entries from ndim on are 0 */
} lamina_shape;

/* A view; the host owns the memory. */
typedef struct lamina_tensor {
    size_t struct_size;
    lamina_shape shape;
    int64_t stride[LAMINA_MAX_DIMS]; /* in elements, in the order of shape.dim */
    void *data; /* whole tensors are 64-byte aligned, a shard's part of one may not be */
} lamina_tensor;

/* ---- Parameters: the config keys of a layer ----------------------------------------------- */

enum {
    LAMINA_INT = 1,       /* int64_t field */
    LAMINA_REAL = 2,      /* double field */
    LAMINA_BOOL = 3,      /* int32_t field, 0 or 1 */
    LAMINA_ENUM = 4,      /* int32_t field: the index into choices */
    LAMINA_STRING = 5,    /* const char * field, valid while the layer lives */
    LAMINA_INT_LIST = 6,  /* lamina_int_list field */
    LAMINA_REAL_LIST = 7, /* lamina_real_list field */
    LAMINA_REALS = 8      /* lamina_reals field: a number for each of things that may be many */
};

#define LAMINA_MAX_LIST 16

/* `5` or `[5, 3]`, or one of the words in choices. When one value is given, all of value[] holds
 * it, so a kernel of `5` reads as value[0] == value[1] == 5. */
typedef struct lamina_int_list {
    int32_t count; /* as given; 0 when a word was given */
    int32_t word;  /* index into choices, -1 when numbers were given */
    int64_t value[LAMINA_MAX_LIST];
} lamina_int_list;

typedef struct lamina_real_list {
    int32_t count;
    int32_t word;
    double value[LAMINA_MAX_LIST];
} lamina_real_list;

/* `2` or `[1, 0.5, 2]`: as many as were given, valid while the layer lives. */
typedef struct lamina_reals {
    int64_t count;
    const double *value; /* NULL when there is none */
} lamina_reals;

/* One config key: parsed, defaulted and range-checked by the host before create() sees it. */
typedef struct lamina_param {
    const char *name;
    const char *doc;  /* one sentence for help and manual */
    const char *unit; /* "pixels", or NULL */
    int32_t type;     /* LAMINA_INT ... */
    int32_t required; /* 1: no default */
    size_t offset;    /* of the field in the config struct */
    /* Inclusive range of numbers (each element of a list); min == max == 0: no range. A min of
     * DBL_MIN says "above 0". */
    double min, max;
    const char *def; /* default, written as in a config: "1", "same", "[2, 2]"; NULL when required.
                        A STRING's NULL default gives a NULL field; REALS have the default "[]". */
    const char *const *choices; /* NULL-terminated words of an ENUM, or words a list also accepts */
    int32_t max_count; /* lists: the most values accepted, 1..LAMINA_MAX_LIST; REALS: 1 or more */
    int32_t reserved;  /* 0 */
} lamina_param;

/* ---- What a layer declares in setup() ----------------------------------------------------- */

enum {
    LAMINA_INIT_CONSTANT = 1, /* value */
    LAMINA_INIT_NORMAL = 2,   /* mean 0, standard deviation value */
    LAMINA_INIT_XAVIER = 3,  /* uniform in +-sqrt(6 / (fan_in + fan_out)); Glorot and Bengio 2010 */
    LAMINA_INIT_HE = 4,      /* normal, standard deviation sqrt(2 / fan_in); He et al. 2015 */
    LAMINA_INIT_UNIFORM = 5, /* in +-value */
    LAMINA_INIT_TRUNCATED_NORMAL = 6, /* as normal, drawn again beyond two standard deviations */
    LAMINA_INIT_XAVIER_NORMAL = 7,    /* normal, variance 2 / (fan_in + fan_out) */
    LAMINA_INIT_HE_UNIFORM = 8,       /* uniform, variance 2 / fan_in */
    LAMINA_INIT_ORTHOGONAL = 9        /* of the matrix (dim[0], the rest); Saxe et al. 2014 */
};

typedef struct lamina_init {
    int32_t kind;
    int32_t reserved;
    double value;
    int64_t fan_in, fan_out; /* inputs of an output and outputs of an input; for xavier, he */
} lamina_init;

enum { LAMINA_WEIGHT_NO_DECAY = 1u << 0 /* weight decay leaves it alone: biases, norms */ };

/* A weight: learned, float32, in checkpoints under its logical shape.
 *
 * Its stored order may differ from its logical order: when order_ndim is not 0, the logical
 * elements in row-major order are those of a tensor with dimensions order_dim (same number of
 * elements as shape) and, in memory, strides order_stride, inside `elements` floats. So a linear
 * layer on images declares shape (O, C*H*W) with order_dim (O,C,H,W) and the strides of (O,H,W,C).
 * Padding floats are 0 at the start; gradients for them must be left 0. */
typedef struct lamina_weight {
    size_t struct_size;
    const char *name; /* "weight", "bias"; copied */
    lamina_shape shape;
    lamina_init init; /* the default; the config may say otherwise */
    uint32_t flags;   /* LAMINA_WEIGHT_... */
    int32_t order_ndim;
    int64_t order_dim[LAMINA_MAX_DIMS], order_stride[LAMINA_MAX_DIMS];
    int64_t elements; /* floats to allocate; 0: exactly as many as shape has */
} lamina_weight;

/* What setup() is told. */
typedef struct lamina_setup {
    size_t struct_size;
    int32_t n_in;
    int32_t training;              /* 0: backward will never be called */
    const lamina_shape *const *in; /* dim[0] is the whole batch */
    int32_t shards;  /* how many calls can run at once (lamina_io.shard counts them) */
    int32_t threads; /* threads that one call may use through parallel_for */
    int32_t n_samples, reserved;
    const int64_t *samples; /* every number of samples a call can have, largest first */
    /* A kernel's create(): the forward pass is to do that of a layer of this type, too, which
     * follows it in place; NULL: of none. */
    const char *fused;
    const void *fused_config; /* that layer's config struct; NULL when its type has no parameters */
    /* Not 0: the layer is called in stages (LAMINA_KERNEL_STAGES), by so many calls of a stage at
     * most; `samples`, `shards` and `threads` are those of SUM and APPLY. */
    int32_t calls;
    int32_t more_reserved;
} lamina_setup;

/* ---- The host ------------------------------------------------------------------------------ */

typedef struct lamina_host lamina_host;

/* Where a call comes from: the host's functions, and behind them what only the host knows. Valid
 * for the one call it was passed to. */
typedef struct lamina_call {
    const lamina_host *host;
} lamina_call;

typedef int32_t lamina_range_fn(void *arg, int64_t begin, int64_t end, int32_t thread);

enum { LAMINA_LOG_DEBUG = 0, LAMINA_LOG_INFO = 1, LAMINA_LOG_WARNING = 2, LAMINA_LOG_ERROR = 3 };

#if defined(__GNUC__)
#define LAMINA_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define LAMINA_PRINTF(fmt, args)
#endif

struct lamina_host {
    size_t struct_size;
    uint32_t abi_minor, reserved;
    const char *version; /* of Lamina, "0.1.0" */

    /* Any time. Returns code, so that `return host->fail(...)` reads well. */
    int32_t (*fail)(lamina_call *, int32_t code, const char *fmt, ...) LAMINA_PRINTF(3, 4);
    void (*log)(lamina_call *, int32_t level, const char *fmt, ...) LAMINA_PRINTF(3, 4);

    /* create() and a kernel's create(): memory that lives until destroy(), 64-byte aligned,
     * zeroed. NULL when there is none left. */
    void *(*alloc)(lamina_call *, size_t bytes);
    void (*free)(lamina_call *, void *);

    /* setup() alone: declare. The functions that return an index return it (>= 0, counted from 0 in
     * the order of the calls) or a negative status. dim[0] of outputs and saved tensors is the
     * batch.
     */
    int32_t (*set_output)(lamina_call *, int32_t index, const lamina_shape *);
    int32_t (*add_weight)(lamina_call *, const lamina_weight *);
    /* Running statistics: float32, kept in checkpoints, filled with `fill` at the start. There is
     * one for all shards, so only a type with LAMINA_COUPLES_BATCH has any, and it writes to them
     * in LAMINA_TRAIN only. */
    int32_t (*add_state)(lamina_call *, const char *name, const lamina_shape *, double fill);
    /* Multiply-adds of one forward pass over one sample, for summaries and GFLOP/s; 0 if not said.
     */
    int32_t (*set_multiply_adds)(lamina_call *, double per_sample);

    /* setup() and a kernel's create(). */
    /* Kept from forward to backward, laid out like any tensor of that shape, uninitialised. */
    int32_t (*add_saved)(lamina_call *, const char *name, const lamina_shape *);
    /* Bytes of scratch for one call; the largest request of all counts. Uninitialised. */
    int32_t (*add_scratch)(lamina_call *, size_t bytes);
    /* Written by prepare(), read by every shard: weights repacked for a kernel. */
    int32_t (*add_packed)(lamina_call *, const char *name, size_t bytes);

    /* prepare(), forward() and backward(). Runs fn over [0, n) in pieces of at least `grain`, on
     * as many threads as setup said; returns the first error. `thread` numbers them from 0. */
    int32_t (*parallel_for)(lamina_call *, int64_t n, int64_t grain, lamina_range_fn *, void *arg);
    /* Uniform numbers in [0, 1), numbers first .. first+n-1 of this layer's stream for this step:
     * a function of (seed, layer, step, index) alone, so number elements across the whole batch
     * and the cut into shards does not matter. */
    void (*uniform)(lamina_call *, uint64_t first, float *dst, size_t n);

    /* setup() of a loss or metric alone: samples with this label count nothing. The host leaves
     * them out of the accuracy and of a metric's mean, and lets the label be one that has no score.
     */
    int32_t (*set_ignored_label)(lamina_call *, int64_t label);

    /* create() of a kernel that is called in stages: bytes of lamina_io.shared. */
    int32_t (*add_shared)(lamina_call *, size_t bytes);
};

/* ---- A call -------------------------------------------------------------------------------- */

enum { LAMINA_TRAIN = 1, LAMINA_EVAL = 2 };

/* The stages of a pass, see LAMINA_KERNEL_STAGES. */
enum { LAMINA_STAGE_ALL = 0, LAMINA_STAGE_SUM, LAMINA_STAGE_JOIN, LAMINA_STAGE_APPLY };

/* Arrays have one entry for each declared thing, in the order of declaration. */
typedef struct lamina_io {
    size_t struct_size;
    int32_t phase; /* LAMINA_TRAIN or LAMINA_EVAL */
    int32_t shard; /* 0 .. shards-1; one shard's samples may come in several calls, one by one */
    int64_t first_sample; /* of this call, in the batch */
    int64_t samples;      /* in this call */
    int64_t batch;        /* samples in the whole batch */
    int64_t step;         /* training steps done before this one */
    const lamina_tensor *const *in;
    const lamina_tensor *const *out;
    const lamina_tensor *const *weight; /* in its stored order: use data with your own strides */
    const lamina_tensor *const *state;
    const lamina_tensor *const *saved;
    const lamina_tensor *const *d_out;    /* backward: gradient of the loss by each output */
    const lamina_tensor *const *d_in;     /* to overwrite; NULL entry: not wanted */
    const lamina_tensor *const *d_weight; /* to add to, stored as the weight; NULL entry: frozen */
    void *const *packed;
    void *scratch;
    int32_t part, parts; /* prepare() of a kernel with LAMINA_KERNEL_SHARES_PREPARE; else 0 and 1 */
    /* 1: forward() of this step is repeated to have out[] again, to the same bits; saved[] holds
     * what it did the first time, running state is left alone. A type with state sees it only with
     * LAMINA_REPEATS. */
    int32_t again;
    int32_t stage; /* LAMINA_STAGE_...: of the pass; ALL unless the layer is called in stages */
    /* Of a loss or metric whose target is the data's: the target of the whole batch, where in[1]
     * has that of this call's samples; else NULL. So a loss that divides by something of all
     * samples, such as the sum of their labels' weights, computes it in every call, all alike. */
    const lamina_tensor *target;
    /* Of a loss. One whose mean is weighted puts here what the weights of the batch's samples add
     * up to, the same in every call of forward(): the mean over several batches counts each of them
     * by it, and 0 says that the batch counts nothing. The number of the batch's samples stands
     * here before. NULL for other layers. */
    double *weight_sum;
    /* Of a layer called in stages: memory that all its calls share, from SUM of the forward pass to
     * APPLY of the backward pass; and in SUM, which call of how many this is, counted by samples;
     * call c has the samples from batch c / calls up to batch (c + 1) / calls. In JOIN: of how many
     * calls SUM was; there may be others forward than backward. */
    void *shared;
    int32_t call, calls;
} lamina_io;

/* ---- Kernels ------------------------------------------------------------------------------- */

enum {
    LAMINA_PASS_FORWARD = 1u << 0,
    LAMINA_PASS_BACKWARD_DATA = 1u << 1,   /* d_in */
    LAMINA_PASS_BACKWARD_WEIGHTS = 1u << 2 /* d_weight */
};

enum {
    /* All its passes or none: what its forward saves only its own backward can read. */
    LAMINA_KERNEL_TOGETHER = 1u << 0,
    /* A plain reference: not worth timing where another kernel applies. A host that does not know
     * the bit refuses the kernel, so it is for built-in layers. */
    LAMINA_KERNEL_LAST_RESORT = 1u << 1,
    /* With several threads in a call it opens OpenMP regions of its own, so all regions of such a
     * net are OpenMP's, which cost more. For built-in layers, likewise. */
    LAMINA_KERNEL_OPENS_REGIONS = 1u << 2,
    /* prepare() does part io->part of io->parts of its work; it is called for all parts, at once
     * and each with scratch of its own. Without it the whole is done in one call. For built-in
     * layers, likewise. */
    LAMINA_KERNEL_SHARES_PREPARE = 1u << 3,
    /* With LAMINA_KERNEL_TOGETHER: what it fuses it does backward, too. Its d_out is then the
     * gradient of the fused layer's output, whose backward() is not called. For built-in layers,
     * likewise. */
    LAMINA_KERNEL_FUSES_BACKWARD = 1u << 4,
    /* Of a type with LAMINA_COUPLES_BATCH, with LAMINA_KERNEL_TOGETHER and without applies(): all
     * that couples the batch are sums over it, so it need not be called on the whole batch. Each
     * pass comes in three stages: SUM reads some samples, in calls by shard or slice like those of
     * other layers; JOIN, when all of them are over, is one call on one thread, with the views of
     * the whole batch, and makes of the sums what the samples have to know of each other; APPLY,
     * by shard or slice again, writes. Backward, where d_in[0] is wanted the stages are called for
     * BACKWARD_DATA and do both passes, else for BACKWARD_WEIGHTS. With io->again forward comes as
     * APPLY alone. A host may still call it on the whole batch, with stage ALL. For built-in
     * layers, likewise. */
    LAMINA_KERNEL_STAGES = 1u << 5
};

/* One way to compute a layer. A layer with several lists them in order of preference, the plain-C
 * reference last; the plan picks one for each pass. For each layer and kernel that got a pass,
 * create() is called once, after setup(), with all the passes it got. */
typedef struct lamina_kernel {
    size_t struct_size;
    const char *name; /* "onednn", "reference" */
    const char *doc;
    uint32_t passes; /* those it implements */
    uint32_t flags;  /* LAMINA_KERNEL_... */
    /* 1: it can run `pass` on these shapes and this processor. NULL: always. */
    int32_t (*applies)(const void *self, const lamina_setup *, uint32_t pass);
    /* Optional: make what the passes need; declare saved, scratch, packed (indices continue those
     * of setup()). *kernel starts NULL. */
    int32_t (*create)(const void *self, lamina_call *, const lamina_setup *, uint32_t passes,
                      void **kernel);
    /* Optional: once after the weights changed, before any shard runs: fill io->packed. */
    int32_t (*prepare)(const void *self, void *kernel, lamina_call *, const lamina_io *);
    /* One pass over one shard. */
    int32_t (*run)(const void *self, void *kernel, lamina_call *, uint32_t pass, const lamina_io *);
    void (*destroy)(void *kernel); /* optional; memory from host->alloc is freed by the host */
    /* How many times the rounding error of plain sums its results may have, for whoever checks it;
     * 0: once. */
    double rounding;
    /* Types whose forward() the forward pass can do along with its own, such as "relu",
     * NULL-terminated; NULL: none. setup->fused says at create() whether it is to, and
     * setup->fused_config with which parameters. Their backward() is called as ever, unless
     * LAMINA_KERNEL_FUSES_BACKWARD says otherwise. */
    const char *const *fuses;
} lamina_kernel;

/* ---- Layer types --------------------------------------------------------------------------- */

enum {
    LAMINA_NEEDS_INPUT = 1u << 0,  /* backward reads in[] */
    LAMINA_NEEDS_OUTPUT = 1u << 1, /* backward reads out[] */
    /* in[0] is the prediction, in[1] the target; out[0] has shape N: the loss of each sample. The
     * host trains on the mean over the batch. The target is int32 labels of shape N, each below the
     * number of values that in[0] has for a sample (the host has checked it); with LAMINA_ANY_DTYPE
     * it may also be float32 numbers, the data's or another layer's output. */
    LAMINA_IS_LOSS = 1u << 2,
    /* out[0] may be the memory of in[0], and d_in[0] that of d_out[0]. */
    LAMINA_IN_PLACE = 1u << 3,
    LAMINA_NO_BACKWARD = 1u << 4,
    LAMINA_USES_RANDOM = 1u << 5,
    /* Called once on the whole batch, on one thread, and spreads its work with parallel_for; in
     * stages, if its kernel has LAMINA_KERNEL_STAGES. */
    LAMINA_COUPLES_BATCH = 1u << 6,
    /* Looks at the element type of its inputs itself. Without it the host gives float32 only (and a
     * loss its labels as int32). */
    LAMINA_ANY_DTYPE = 1u << 7,
    /* Inputs and output as those of a loss, but something to look at: out[0] is a value for each
     * sample, of which the host reports the mean. Runs in evaluation only, and goes with
     * LAMINA_NO_BACKWARD. */
    LAMINA_IS_METRIC = 1u << 8,
    /* Has state, and its forward() looks at io->again. */
    LAMINA_REPEATS = 1u << 9
};
#define LAMINA_ALL_FLAGS 0x3ffu

typedef struct lamina_layer_type {
    size_t struct_size;
    const char *name; /* built-in: "conv"; plugin: "vendor.name" */
    const char *doc;  /* one sentence */
    uint32_t flags;
    uint32_t state_version; /* of what add_state declares; 1 at first */
    int32_t min_in, max_in; /* number of inputs; a loss or metric counts its target */
    int32_t n_out;
    int32_t reserved;
    size_t config_size;            /* of the struct the params fill */
    size_t n_params, param_stride; /* param_stride: sizeof(lamina_param) */
    const lamina_param *params;

    /* Optional: check the config as a whole, make *self. When NULL, self is the config itself. The
     * config struct stays valid as long as self. */
    int32_t (*create)(lamina_call *, const void *config, void **self);
    /* Check the inputs' shapes, declare everything. Called once for each network; it may write to
     * self. */
    int32_t (*setup)(void *self, lamina_call *, const lamina_setup *);

    /* Either forward and backward ... */
    int32_t (*forward)(const void *self, lamina_call *, const lamina_io *);
    int32_t (*backward)(const void *self, lamina_call *, const lamina_io *);
    /* ... or a list of kernels, in order of preference. */
    const lamina_kernel *const *kernels; /* NULL-terminated */

    void (*destroy)(void *self); /* optional; memory from host->alloc is freed by the host */
    /* Optional: state in a checkpoint has an older state_version; may change io->state in place. */
    int32_t (*migrate)(const void *self, lamina_call *, const lamina_io *, uint32_t from_version);
    /* NULL-terminated inputs for `lamina plugin check`, one YAML mapping each:
     * "{input: [2, 3, 5, 4], params: {beta: 1.5}}"; several inputs: "input: [[2, 3], [2, 3]]". */
    const char *const *cases;
} lamina_layer_type;

/* ---- Plugins ------------------------------------------------------------------------------- */

typedef struct lamina_plugin {
    size_t struct_size;
    uint32_t abi_major,
        abi_minor; /* LAMINA_ABI_MAJOR, LAMINA_ABI_MINOR of the header it was built with */
    const char *name, *version;            /* of the plugin */
    const lamina_layer_type *const *types; /* NULL-terminated */
} lamina_plugin;

#if defined(__GNUC__)
#define LAMINA_EXPORT __attribute__((visibility("default")))
#else
#define LAMINA_EXPORT
#endif

/* A plugin's only exported symbol; returns static data. */
LAMINA_EXPORT const lamina_plugin *lamina_plugin_entry_v1(void);

#ifdef __cplusplus
}
#endif
#endif
