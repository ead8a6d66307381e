/* The host side of lamina/layer.h: the functions a layer may call. Declarations are collected in
 * the instance; a declaration outside setup() or a kernel's create() is an error of the layer. */
#include "registry/host.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static lamina__call *call_of(lamina_call *call) {
    return (lamina__call *)(void *)call;
}

/* ---- Any time ---- */

static void add_place(const lamina__instance *instance, lamina_error *error) {
    snprintf(error->layer, sizeof error->layer, "%s", instance->name);
    if (strcmp(instance->name, instance->type->name) == 0) {
        lamina__error_prefix(error, "layer \"%s\"", instance->name);
    } else {
        lamina__error_prefix(error, "layer \"%s\" (%s)", instance->name, instance->type->name);
    }
}

/* The first failure of a call counts. Threads of one parallel_for may fail together. */
static int32_t host_fail(lamina_call *call, int32_t code, const char *fmt, ...) {
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    const lamina__call *c = call_of(call);
    if (code >= 0) {
        code = LAMINA_ERROR_INTERNAL;
    }
    pthread_mutex_lock(&one_at_a_time);
    if (c->error != NULL && c->error->code == LAMINA_OK) {
        va_list args;
        va_start(args, fmt);
        lamina__fail_va(c->error, (lamina_status)code, fmt, args);
        va_end(args);
        add_place(c->instance, c->error);
    }
    pthread_mutex_unlock(&one_at_a_time);
    return code;
}

static void host_log(lamina_call *call, int32_t level, const char *fmt, ...) {
    char message[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    lamina__log(level, "layer \"%s\": %s", call_of(call)->instance->name, message);
}

/* ---- create(): memory ---- */

/* More than there is may be given all the same, and the process killed when it uses it. */
static bool is_there(size_t bytes) {
    const size_t large = (size_t)1 << 24; /* less is not worth asking */
    return bytes < large || (int64_t)bytes <= lamina__memory_available();
}

static void *host_alloc(lamina_call *call, size_t bytes) {
    lamina__instance *instance = call_of(call)->instance;
    void *items = instance->memory;
    if (call_of(call)->kind == LAMINA__CALL_RUN) {
        host_fail(call, LAMINA_ERROR_INTERNAL, "memory is allocated in a step; declare scratch");
        return NULL;
    }
    if (!is_there(bytes) || lamina__grow(&items, &instance->memory_capacity, instance->n_memory + 1,
                                         sizeof *instance->memory) != 0) {
        return NULL;
    }
    instance->memory = items;
    void *block = lamina__calloc(bytes > 0 ? bytes : 1, 1);
    if (block != NULL) {
        instance->memory[instance->n_memory++] = block;
    }
    return block;
}

static void host_free(lamina_call *call, void *block) {
    lamina__instance *instance = call_of(call)->instance;
    for (size_t i = 0; i < instance->n_memory; i++) {
        if (instance->memory[i] == block) {
            instance->memory[i] = instance->memory[--instance->n_memory];
            lamina__free(block);
            return;
        }
    }
}

/* ---- setup(): declarations ---- */

/* No tensor has more elements, or spans more floats, than this; products below it cannot overflow.
 */
#define MAX_ELEMENTS ((int64_t)1 << 40)

/* Dimensions positive, product at most MAX_ELEMENTS. */
static int32_t check_shape(lamina_call *call, const char *what, const lamina_shape *shape) {
    if (shape->ndim < 1 || shape->ndim > LAMINA_MAX_DIMS) {
        return host_fail(call, LAMINA_ERROR_SHAPE, "%s has %d dimensions; 1 to %d can be", what,
                         (int)shape->ndim, LAMINA_MAX_DIMS);
    }
    if (shape->dtype < LAMINA_F32 || shape->dtype > LAMINA_F64) {
        return host_fail(call, LAMINA_ERROR_SHAPE, "%s has the unknown element type %d", what,
                         (int)shape->dtype);
    }
    int64_t count = 1;
    for (int32_t i = 0; i < shape->ndim; i++) {
        if (shape->dim[i] < 1) {
            return host_fail(call, LAMINA_ERROR_SHAPE, "%s has dimension %d of size %lld", what,
                             (int)i, (long long)shape->dim[i]);
        }
        if (shape->dim[i] > MAX_ELEMENTS / count) {
            return host_fail(call, LAMINA_ERROR_SHAPE, "%s has too many elements", what);
        }
        count *= shape->dim[i];
    }
    return LAMINA_OK;
}

/* Weights, state and outputs are declared in setup(); a kernel comes later and may add only what
 * it computes with. */
static int32_t check_declaring(lamina_call *call, const char *what, bool kernel_too) {
    const lamina__call_kind kind = call_of(call)->kind;
    if (kind == LAMINA__CALL_SETUP || (kernel_too && kind == LAMINA__CALL_KERNEL)) {
        return LAMINA_OK;
    }
    return host_fail(call, LAMINA_ERROR_INTERNAL, "%s is declared outside setup()%s", what,
                     kernel_too ? " and a kernel's create()" : "");
}

/* A name that becomes part of a path in checkpoints: not empty, no '/', not taken. */
static int32_t check_name(lamina_call *call, const char *what, const char *name, int32_t count) {
    if (name == NULL || name[0] == '\0' || strchr(name, '/') != NULL || strlen(name) > 100) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "a %s needs a name without '/'", what);
    }
    if (count >= LAMINA__MAX_DECLARED) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "more than %d of %s", LAMINA__MAX_DECLARED,
                         what);
    }
    return LAMINA_OK;
}

static int32_t check_batch(lamina_call *call, const char *what, const lamina_shape *shape) {
    const lamina__instance *instance = call_of(call)->instance;
    int32_t status = check_shape(call, what, shape);
    if (status == LAMINA_OK && shape->dim[0] != instance->in[0].dim[0]) {
        status = host_fail(call, LAMINA_ERROR_SHAPE, "%s has %lld samples for a batch of %lld",
                           what, (long long)shape->dim[0], (long long)instance->in[0].dim[0]);
    }
    return status;
}

static int32_t host_set_output(lamina_call *call, int32_t index, const lamina_shape *shape) {
    lamina__instance *instance = call_of(call)->instance;
    int32_t status = check_declaring(call, "an output", false);
    if (status != LAMINA_OK) {
        return status;
    }
    if (index < 0 || index >= instance->n_out) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "output %d of %d is declared", (int)index,
                         (int)instance->n_out);
    }
    status = check_batch(call, "the output", shape);
    if (status == LAMINA_OK) {
        instance->out[index] = *shape;
    }
    return status;
}

/* One past where the last element in a stored order lies; -1 for an order that makes no sense. */
static int64_t order_extent(const lamina_weight *weight) {
    int64_t count = 1, last = 0;
    if (weight->order_ndim < 0 || weight->order_ndim > LAMINA_MAX_DIMS) {
        return -1;
    }
    for (int32_t i = 0; i < weight->order_ndim; i++) {
        const int64_t dim = weight->order_dim[i], stride = weight->order_stride[i];
        if (dim < 1 || stride < 1 || dim > MAX_ELEMENTS / count ||
            (dim > 1 && stride > (MAX_ELEMENTS - last) / (dim - 1))) {
            return -1;
        }
        count *= dim;
        last += (dim - 1) * stride;
    }
    return count == lamina__shape_count(&weight->shape) ? last + 1 : -1;
}

/* A copy in this host's own layout; what an older plugin's struct does not have yet is 0. */
static int32_t copy_weight(lamina_call *call, const lamina_weight *given, lamina_weight *weight) {
    const size_t first_version = offsetof(lamina_weight, elements) + sizeof given->elements;
    if (given->struct_size < first_version) {
        return host_fail(call, LAMINA_ERROR_PLUGIN,
                         "a weight's struct_size is %zu; set it to sizeof(lamina_weight)",
                         given->struct_size);
    }
    *weight = (lamina_weight){0};
    memcpy(weight, given,
           given->struct_size < sizeof *weight ? given->struct_size : sizeof *weight);
    weight->struct_size = sizeof *weight;
    return LAMINA_OK;
}

static int32_t check_weight(lamina_call *call, lamina_weight *weight) {
    const lamina__instance *instance = call_of(call)->instance;
    int32_t status = check_name(call, "weight", weight->name, instance->n_weights);
    if (status == LAMINA_OK) {
        status = check_shape(call, weight->name, &weight->shape);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    for (int32_t i = 0; i < instance->n_weights; i++) {
        if (strcmp(instance->weights[i].name, weight->name) == 0) {
            return host_fail(call, LAMINA_ERROR_INTERNAL, "weight \"%s\" is declared twice",
                             weight->name);
        }
    }
    if ((weight->flags & ~(uint32_t)LAMINA_WEIGHT_NO_DECAY) != 0) {
        return host_fail(call, LAMINA_ERROR_PLUGIN, "weight \"%s\" has flags unknown to Lamina %s",
                         weight->name, LAMINA_VERSION);
    }
    if (weight->init.kind < 0 || weight->init.kind > LAMINA_INIT_ORTHOGONAL) {
        return host_fail(call, LAMINA_ERROR_PLUGIN,
                         "weight \"%s\" has initialiser %d, which Lamina %s does not know",
                         weight->name, (int)weight->init.kind, LAMINA_VERSION);
    }
    const int64_t extent =
        weight->order_ndim != 0 ? order_extent(weight) : lamina__shape_count(&weight->shape);
    if (weight->elements == 0) {
        weight->elements = extent;
    }
    if (extent < 0 || weight->elements < extent || weight->elements > MAX_ELEMENTS) {
        return host_fail(call, LAMINA_ERROR_INTERNAL,
                         "the stored order of weight \"%s\" does not hold its elements",
                         weight->name);
    }
    return LAMINA_OK;
}

static int32_t host_add_weight(lamina_call *call, const lamina_weight *given) {
    lamina__instance *instance = call_of(call)->instance;
    lamina_weight weight;
    int32_t status = check_declaring(call, "a weight", false);
    if (status == LAMINA_OK) {
        status = copy_weight(call, given, &weight);
    }
    if (status == LAMINA_OK) {
        status = check_weight(call, &weight);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    weight.name = lamina__strdup(weight.name);
    if (weight.name == NULL) {
        return host_fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    instance->weights[instance->n_weights] = weight;
    return instance->n_weights++;
}

static int32_t host_add_state(lamina_call *call, const char *name, const lamina_shape *shape,
                              double fill) {
    lamina__instance *instance = call_of(call)->instance;
    const int32_t index = instance->n_states;
    int32_t status = check_declaring(call, "state", false);
    if (status == LAMINA_OK && (instance->type->flags & LAMINA_COUPLES_BATCH) == 0) {
        status = host_fail(call, LAMINA_ERROR_PLUGIN,
                           "only a type with LAMINA_COUPLES_BATCH has state: shards run at once");
    }
    if (status == LAMINA_OK) {
        status = check_name(call, "state", name, index);
    }
    if (status == LAMINA_OK) {
        status = check_shape(call, name, shape);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    for (int32_t i = 0; i < index; i++) {
        if (strcmp(instance->states[i].name, name) == 0) {
            return host_fail(call, LAMINA_ERROR_INTERNAL, "state \"%s\" is declared twice", name);
        }
    }
    char *copy = lamina__strdup(name);
    if (copy == NULL) {
        return host_fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    instance->states[instance->n_states++] = (lamina__state){copy, *shape, fill};
    return index;
}

static int32_t host_set_multiply_adds(lamina_call *call, double per_sample) {
    const int32_t status = check_declaring(call, "the number of multiply-adds", false);
    if (status == LAMINA_OK) {
        call_of(call)->instance->multiply_adds = per_sample >= 0 ? per_sample : 0;
    }
    return status;
}

static int32_t host_set_ignored_label(lamina_call *call, int64_t label) {
    lamina__instance *instance = call_of(call)->instance;
    int32_t status = check_declaring(call, "an ignored label", false);
    if (status == LAMINA_OK && !lamina__has_target(instance->type)) {
        status =
            host_fail(call, LAMINA_ERROR_INTERNAL, "only a loss or a metric can ignore a label");
    }
    if (status == LAMINA_OK) {
        instance->ignores_label = true;
        instance->ignored_label = label;
    }
    return status;
}

static int32_t host_add_saved(lamina_call *call, const char *name, const lamina_shape *shape) {
    lamina__instance *instance = call_of(call)->instance;
    const int32_t index = instance->n_saved;
    int32_t status = check_declaring(call, "a saved tensor", true);
    if (status == LAMINA_OK) {
        status = check_name(call, "saved tensor", name, index);
    }
    if (status == LAMINA_OK) {
        status = check_batch(call, name, shape);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    char *copy = lamina__strdup(name);
    if (copy == NULL) {
        return host_fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    instance->saved[instance->n_saved++] = (lamina__saved){copy, *shape};
    return index;
}

static int32_t host_add_scratch(lamina_call *call, size_t bytes) {
    lamina__instance *instance = call_of(call)->instance;
    const int32_t status = check_declaring(call, "scratch", true);
    if (status == LAMINA_OK && bytes > ((size_t)1 << 42)) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "%zu bytes of scratch are declared", bytes);
    }
    if (status == LAMINA_OK && bytes > instance->scratch_bytes) {
        instance->scratch_bytes = bytes;
    }
    return status;
}

static int32_t host_add_packed(lamina_call *call, const char *name, size_t bytes) {
    lamina__instance *instance = call_of(call)->instance;
    const int32_t index = instance->n_packed;
    int32_t status = check_declaring(call, "packed weights", true);
    if (status == LAMINA_OK) {
        status = check_name(call, "packed weights", name, index);
    }
    if (status != LAMINA_OK) {
        return status;
    }
    if (bytes > ((size_t)1 << 42)) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "%zu bytes of packed weights", bytes);
    }
    char *copy = lamina__strdup(name);
    if (copy == NULL) {
        return host_fail(call, LAMINA_ERROR_MEMORY, "out of memory");
    }
    instance->packed[instance->n_packed++] = (lamina__packed){copy, bytes};
    return index;
}

static int32_t host_add_shared(lamina_call *call, size_t bytes) {
    lamina__instance *instance = call_of(call)->instance;
    const int32_t status = check_declaring(call, "shared memory", true);
    if (status == LAMINA_OK && (bytes > ((size_t)1 << 42) || instance->calls == 0)) {
        return host_fail(call, LAMINA_ERROR_INTERNAL, "%zu bytes of shared memory are declared%s",
                         bytes, instance->calls == 0 ? " by a layer not called in stages" : "");
    }
    if (status == LAMINA_OK) {
        instance->shared_bytes += bytes;
    }
    return status;
}

/* ---- prepare(), forward(), backward() ---- */

typedef struct range_work {
    lamina_range_fn *fn;
    void *arg;
    int64_t n, grain;
    int32_t status; /* the first error; written with an atomic compare-and-swap */
} range_work;

static void range_thread(void *arg, int thread, int threads) {
    range_work *work = arg;
    int64_t pieces = work->n / work->grain;
    if (pieces < 1) {
        pieces = 1;
    }
    if (pieces > threads) {
        pieces = threads;
    }
    if (thread >= pieces) {
        return;
    }
    const int64_t begin = work->n * thread / pieces, end = work->n * (thread + 1) / pieces;
    const int32_t status = work->fn(work->arg, begin, end, thread);
    int32_t expected = LAMINA_OK;
    if (status != LAMINA_OK) {
        __atomic_compare_exchange_n(&work->status, &expected, status, 0, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
}

static int32_t host_parallel_for(lamina_call *call, int64_t n, int64_t grain, lamina_range_fn *fn,
                                 void *arg) {
    if (n <= 0) {
        return LAMINA_OK;
    }
    range_work work = {fn, arg, n, grain > 0 ? grain : 1, LAMINA_OK};
    const int32_t threads = call_of(call)->threads;
    if (threads <= 1 || n <= work.grain) {
        return fn(arg, 0, n, 0);
    }
    (call_of(call)->openmp ? lamina__parallel_openmp : lamina__parallel)(threads, range_thread,
                                                                         &work);
    return work.status;
}

static void host_uniform(lamina_call *call, uint64_t first, float *dst, size_t n) {
    const lamina__call *c = call_of(call);
    const lamina__stream stream = lamina__stream_make(
        c->instance->seed, LAMINA__RANDOM_LAYER, (uint64_t)c->instance->index, (uint64_t)c->step);
    lamina__stream_uniform(stream, first, dst, n);
}

const lamina_host lamina__host = {
    .struct_size = sizeof(lamina_host),
    .abi_minor = LAMINA_ABI_MINOR,
    .version = LAMINA_VERSION,
    .fail = host_fail,
    .log = host_log,
    .alloc = host_alloc,
    .free = host_free,
    .set_output = host_set_output,
    .add_weight = host_add_weight,
    .add_state = host_add_state,
    .set_multiply_adds = host_set_multiply_adds,
    .add_saved = host_add_saved,
    .add_scratch = host_add_scratch,
    .add_packed = host_add_packed,
    .parallel_for = host_parallel_for,
    .uniform = host_uniform,
    .set_ignored_label = host_set_ignored_label,
    .add_shared = host_add_shared,
};
