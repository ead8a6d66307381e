/* A rig: memory between guard zones, numbers to compute with, and calls that are watched. */
#include "check/rig.h"

#include "base/alloc.h"
#include "base/text.h"
#include "base/threads.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GUARD  128         /* bytes; keeps the tensor 64-byte aligned */
#define POISON 0x7ffdc0deu /* a NaN as float, twice in a row a NaN as double */
#define STEP   7           /* training steps done before, as the layer is told */

/* What a shard's call is made with; one for each shard, so that shards can run at once. */
typedef struct lamina__rig_io {
    lamina_io io;
    lamina__call call;
    lamina_error error;
    lamina_status status;
    int64_t calls, different; /* while hammering: made, and those with other results */
    lamina_tensor target;     /* of the whole batch */
    double weight_sum;        /* of a loss */
    lamina_tensor view[LAMINA__N_ROLES][LAMINA__MAX_DECLARED];
    const lamina_tensor *list[LAMINA__N_ROLES][LAMINA__MAX_DECLARED];
    void *packed[LAMINA__MAX_DECLARED];
} lamina__rig_io;

/* ---- Fields -------------------------------------------------------------------------------- */

void *lamina__field_data(const lamina__field *field) {
    return field->block + GUARD;
}

static void fill(unsigned char *dst, size_t bytes, uint32_t word) {
    unsigned char pattern[sizeof(word)];
    memcpy(pattern, &word, sizeof(word));
    for (size_t i = 0; i < bytes; i++) {
        dst[i] = pattern[i % sizeof(word)];
    }
}

static void fill_guards(lamina__field *field) {
    fill(field->block, GUARD, field->pattern);
    fill(field->block + GUARD + field->bytes, GUARD, field->pattern);
}

/* 0: untouched; else which side was written: -1 before the tensor, 1 after it. */
static int touched_guard(const lamina__field *field) {
    unsigned char guard[GUARD];
    fill(guard, GUARD, field->pattern);
    if (memcmp(field->block, guard, GUARD) != 0) {
        return -1;
    }
    return memcmp(field->block + GUARD + field->bytes, guard, GUARD) != 0;
}

/* Where logical element `index` lies, in elements. */
static int64_t offset_of(const lamina__field *field, int64_t index) {
    int64_t offset = 0;
    for (int32_t axis = field->view.shape.ndim - 1; axis >= 0; axis--) {
        offset += index % field->view.shape.dim[axis] * field->view.stride[axis];
        index /= field->view.shape.dim[axis];
    }
    return offset;
}

static unsigned char *element(const lamina__field *field, int64_t index) {
    return field->block + GUARD + (size_t)offset_of(field, index) * field->item;
}

double lamina__field_get(const lamina__field *field, int64_t index) {
    const void *at = element(field, index);
    switch (field->view.shape.dtype) {
    case LAMINA_F32:
        return (double)*(const float *)at;
    case LAMINA_F64:
        return *(const double *)at;
    case LAMINA_I32:
        return *(const int32_t *)at;
    default:
        return *(const uint8_t *)at;
    }
}

void lamina__field_set(lamina__field *field, int64_t index, double value) {
    void *at = element(field, index);
    switch (field->view.shape.dtype) {
    case LAMINA_F32:
        *(float *)at = (float)value;
        break;
    case LAMINA_F64:
        *(double *)at = value;
        break;
    case LAMINA_I32:
        *(int32_t *)at = (int32_t)value;
        break;
    default:
        *(uint8_t *)at = (uint8_t)value;
        break;
    }
}

void lamina__field_values(const lamina__field *field, double *dst) {
    for (int64_t i = 0; i < field->count; i++) {
        dst[i] = lamina__field_get(field, i);
    }
}

void lamina__field_zero(lamina__field *field) {
    memset(field->block + GUARD, 0, field->bytes);
}

void lamina__field_poison(lamina__field *field) {
    fill(field->block + GUARD, field->bytes, POISON);
}

bool lamina__field_poisoned(const lamina__field *field, int64_t index) {
    unsigned char poison[8];
    fill(poison, sizeof(poison), POISON);
    return field->item >= 4 && memcmp(element(field, index), poison, field->item) == 0;
}

int64_t lamina__field_per_sample(const lamina__field *field) {
    return field->per_sample ? field->count / field->view.shape.dim[0] : 0;
}

int64_t lamina__field_padding(const lamina__field *field) {
    unsigned char *logical = field->copy; /* not in use between calls */
    memset(logical, 0, field->bytes);
    for (int64_t i = 0; i < field->count; i++) {
        memset(logical + (size_t)offset_of(field, i) * field->item, 1, field->item);
    }
    for (size_t i = 0; i < field->bytes; i++) {
        if (!logical[i] && field->block[GUARD + i] != 0) {
            return (int64_t)i;
        }
    }
    return -1;
}

void lamina__field_place(const lamina__field *field, int64_t index, char *dst, size_t size) {
    int64_t at[LAMINA_MAX_DIMS] = {0};
    const int32_t ndim = field->view.shape.ndim;
    for (int32_t axis = ndim - 1; axis >= 0; axis--) {
        at[axis] = index % field->view.shape.dim[axis];
        index /= field->view.shape.dim[axis];
    }
    size_t used = 0;
    for (int32_t axis = 0; axis < ndim && used < size; axis++) {
        used += (size_t)snprintf(dst + used, size - used, "%s%" PRId64 "%s", axis ? ", " : "[",
                                 at[axis], axis == ndim - 1 ? "]" : "");
    }
}

/* ---- Building ------------------------------------------------------------------------------ */

static bool add_memory(lamina__field *field, size_t bytes, int number) {
    field->bytes = bytes;
    field->pattern = 0x7ff80000u | (0x0101u * (uint32_t)(number % 250 + 1));
    field->block = lamina__alloc(bytes + 2 * (size_t)GUARD);
    field->copy = lamina__calloc(1, bytes > 0 ? bytes : 1);
    if (field->block == NULL || field->copy == NULL) {
        return false;
    }
    field->view.data = field->block + GUARD;
    memset(field->block + GUARD, 0, bytes);
    fill_guards(field);
    return true;
}

/* In the double rig every floating tensor is double, whatever dtype the layer gave it. */
static void set_view(const lamina__rig *rig, lamina__field *field, const lamina_tensor *view) {
    field->view = *view;
    int32_t *dtype = &field->view.shape.dtype;
    field->real = *dtype == LAMINA_F32 || *dtype == LAMINA_F64;
    if (field->real) {
        *dtype = rig->f64 ? LAMINA_F64 : LAMINA_F32;
    }
    field->item = lamina__dtype_bytes(*dtype);
    field->count = lamina__shape_count(&field->view.shape);
}

/* Saved tensors and state are row-major, also those with four dimensions. */
static void row_major(lamina_tensor *view, const lamina_shape *shape) {
    lamina__tensor_view(view, shape, NULL);
    int64_t stride = 1;
    for (int32_t i = shape->ndim - 1; i >= 0; i--) {
        view->stride[i] = stride;
        stride *= shape->dim[i];
    }
}

/* One field's label, view and size in bytes. */
static size_t describe(lamina__rig *rig, lamina__role role, int32_t i, lamina__field *field) {
    const lamina__instance *instance = rig->instance;
    const int32_t n_weights = instance->n_weights;
    lamina_tensor view = {0};
    const char *name = NULL;

    switch (role) {
    case LAMINA__ROLE_IN:
    case LAMINA__ROLE_D_IN:
        lamina__tensor_view(&view, &instance->in[i], NULL);
        snprintf(field->label, sizeof(field->label), "%s[%d]",
                 role == LAMINA__ROLE_IN ? "in" : "d_in", (int)i);
        break;
    case LAMINA__ROLE_OUT:
    case LAMINA__ROLE_D_OUT:
        lamina__tensor_view(&view, &instance->out[i], NULL);
        snprintf(field->label, sizeof(field->label), "%s[%d]",
                 role == LAMINA__ROLE_OUT ? "out" : "d_out", (int)i);
        break;
    case LAMINA__ROLE_WEIGHT:
    case LAMINA__ROLE_D_WEIGHT:
        lamina__weight_view(&view, &instance->weights[i % n_weights], NULL);
        snprintf(field->label, sizeof(field->label), "%s \"%.100s\"",
                 role == LAMINA__ROLE_WEIGHT ? "weight" : "d_weight",
                 instance->weights[i % n_weights].name);
        set_view(rig, field, &view);
        return (size_t)instance->weights[i % n_weights].elements * field->item;
    case LAMINA__ROLE_STATE:
        row_major(&view, &instance->states[i].shape);
        name = instance->states[i].name;
        break;
    case LAMINA__ROLE_SAVED:
        row_major(&view, &instance->saved[i].shape);
        name = instance->saved[i].name;
        break;
    case LAMINA__ROLE_PACKED:
        snprintf(field->label, sizeof(field->label), "packed \"%.100s\"", instance->packed[i].name);
        return instance->packed[i].bytes;
    default:
        snprintf(field->label, sizeof(field->label), "scratch");
        return instance->scratch_bytes;
    }
    if (name != NULL) {
        snprintf(field->label, sizeof(field->label), "%s \"%.100s\"",
                 role == LAMINA__ROLE_STATE ? "state" : "saved", name);
    }
    field->per_sample = role != LAMINA__ROLE_STATE;
    set_view(rig, field, &view);
    return (size_t)field->count * field->item;
}

static lamina_status add_fields(lamina__rig *rig, lamina_error *error) {
    const lamina__instance *instance = rig->instance;
    const int32_t shards = instance->shards;
    const int32_t counts[LAMINA__N_ROLES] = {
        [LAMINA__ROLE_IN] = instance->n_in,
        [LAMINA__ROLE_OUT] = instance->n_out,
        [LAMINA__ROLE_WEIGHT] = instance->n_weights,
        [LAMINA__ROLE_STATE] = instance->n_states,
        [LAMINA__ROLE_SAVED] = instance->n_saved,
        [LAMINA__ROLE_D_OUT] = instance->n_out,
        [LAMINA__ROLE_D_IN] = instance->n_in,
        [LAMINA__ROLE_D_WEIGHT] = instance->n_weights * shards,
        [LAMINA__ROLE_PACKED] = instance->n_packed,
        [LAMINA__ROLE_SCRATCH] = shards,
    };
    int number = 0;
    for (int role = 0; role < LAMINA__N_ROLES; role++) {
        rig->fields[role] =
            lamina__calloc((size_t)(counts[role] > 0 ? counts[role] : 1), sizeof(lamina__field));
        if (rig->fields[role] == NULL) {
            return lamina__fail_memory(error, "check");
        }
        rig->count[role] = counts[role];
        for (int32_t i = 0; i < counts[role]; i++) {
            lamina__field *field = &rig->fields[role][i];
            size_t bytes = describe(rig, (lamina__role)role, i, field);
            if (!add_memory(field, bytes, number++)) {
                return lamina__fail_memory(error, "check");
            }
            if (role == LAMINA__ROLE_STATE) {
                field->start = lamina__calloc(1, bytes);
                if (field->start == NULL) {
                    return lamina__fail_memory(error, "check");
                }
            }
        }
    }
    rig->io = lamina__calloc((size_t)shards, sizeof(*rig->io));
    return rig->io == NULL ? lamina__fail_memory(error, "check") : LAMINA_OK;
}

lamina_status lamina__rig_create(const lamina__type_entry *entry, const lamina__case *from,
                                 uint64_t seed, const lamina__rig_options *options,
                                 lamina__rig **result, lamina_error *error) {
    const char *wanted[LAMINA__N_PASSES] = {options->kernel, options->kernel, options->kernel};
    const lamina__cut cut = {options->training,  options->shards,  options->threads,
                             options->n_samples, options->samples, 0};
    lamina_shape in[LAMINA__MAX_INPUTS];
    lamina__rig *rig = lamina__calloc(1, sizeof(*rig));
    if (rig == NULL) {
        return lamina__fail_memory(error, "check");
    }
    rig->f64 = options->f64;
    rig->batch = options->batch;
    rig->threads = options->threads;
    for (int32_t i = 0; i < from->n_in; i++) {
        in[i] = from->in[i];
        in[i].dim[0] = options->batch;
        if (rig->f64 && in[i].dtype == LAMINA_F32) {
            in[i].dtype = LAMINA_F64;
        }
    }
    lamina_status status = lamina__instance_create(entry, entry->type->name, NULL, 0, seed,
                                                   from->config, &rig->instance, error);
    if (status == LAMINA_OK) {
        status = lamina__instance_setup(rig->instance, from->n_in, in, &cut, error);
    }
    if (status == LAMINA_OK) {
        status = lamina__instance_bind(rig->instance, wanted, 0, error);
    }
    if (status == LAMINA_OK) {
        status = add_fields(rig, error);
    }
    if (status != LAMINA_OK) {
        lamina__rig_free(rig);
        return status;
    }
    *result = rig;
    return LAMINA_OK;
}

void lamina__rig_free(lamina__rig *rig) {
    if (rig == NULL) {
        return;
    }
    for (int role = 0; role < LAMINA__N_ROLES; role++) {
        for (int32_t i = 0; i < rig->count[role]; i++) {
            lamina__free(rig->fields[role][i].block);
            lamina__free(rig->fields[role][i].copy);
            lamina__free(rig->fields[role][i].start);
        }
        lamina__free(rig->fields[role]);
    }
    lamina__free(rig->io);
    lamina__instance_free(rig->instance);
    lamina__free(rig);
}

bool lamina__rig_has_kernel(const lamina__rig *rig, const char *kernel) {
    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        const char *name = lamina__instance_kernel(rig->instance, pass);
        if (name != NULL && strcmp(name, kernel) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- Numbers to compute with --------------------------------------------------------------- */

static double uniform(lamina__stream stream, int64_t index) {
    float value;
    lamina__stream_uniform(stream, (uint64_t)index, &value, 1);
    return (double)value;
}

/* Values low .. high on a grid, each once, shuffled: ties and zeros, where functions have kinks,
 * are as far away as they can be. The grids of different inputs do not meet either. */
static bool draw_grid(lamina__field *field, lamina__stream stream, int32_t input, double low,
                      double high) {
    int64_t *order = lamina__calloc((size_t)field->count, sizeof(*order));
    if (order == NULL) {
        return false;
    }
    const double shift = 0.3 + 0.17 * (input % 3); /* never 0.5: that is 0 in the middle */
    lamina__stream_permutation(stream, order, field->count);
    for (int64_t i = 0; i < field->count; i++) {
        double part = ((double)order[i] + shift) / (double)field->count;
        part = 0.04 + 0.92 * part; /* so that steps to the side stay in the range */
        lamina__field_set(field, i, (double)(float)(low + (high - low) * part));
    }
    lamina__free(order);
    return true;
}

static void draw_labels(lamina__field *field, lamina__stream stream, int64_t classes) {
    for (int64_t i = 0; i < field->count; i++) {
        uint64_t label = lamina__stream_below(stream, (uint64_t)i, (uint64_t)classes);
        lamina__field_set(field, i, i == 0 ? (double)(classes - 1) : (double)label);
    }
}

/* Weights in the size their initialiser would give them, but never all alike. */
static void draw_weight(lamina__field *field, lamina__stream stream, const lamina_init *init) {
    const bool constant = init->kind == LAMINA_INIT_CONSTANT;
    double size = 0.5;
    if (!constant && init->fan_in > 0) {
        size = fmin(1.0, 1.5 / sqrt((double)init->fan_in));
    }
    for (int64_t i = 0; i < field->count; i++) {
        double value = (constant ? init->value : 0.0) + size * (2.0 * uniform(stream, i) - 1.0);
        lamina__field_set(field, i, (double)(float)value);
    }
}

static void draw_state(lamina__field *field, lamina__stream stream, double start) {
    for (int64_t i = 0; i < field->count; i++) {
        lamina__field_set(field, i,
                          (double)(float)(start + 0.25 * (2.0 * uniform(stream, i) - 1.0)));
    }
    memcpy(field->start, lamina__field_data(field), field->bytes);
}

/* The projection: +- 0.5 .. 1.5, so that every output counts. */
static void draw_projection(lamina__field *field, lamina__stream stream) {
    for (int64_t i = 0; i < field->count; i++) {
        double value = 2.0 * uniform(stream, i) - 1.0;
        lamina__field_set(field, i, (double)(float)(value < 0 ? value - 0.5 : value + 0.5));
    }
}

bool lamina__rig_draw(lamina__rig *rig, uint64_t seed, const lamina__case *from) {
    const lamina__instance *instance = rig->instance;
    for (int role = 0; role < LAMINA__N_ROLES; role++) {
        for (int32_t i = 0; i < rig->count[role]; i++) {
            lamina__field *field = &rig->fields[role][i];
            lamina__stream stream =
                lamina__stream_make(seed, LAMINA__RANDOM_CHECK, (uint64_t)role, (uint64_t)i);
            if (role == LAMINA__ROLE_IN && field->real) {
                const bool target = i == 1 && lamina__has_target(instance->type);
                if (!draw_grid(field, stream, i, target ? from->target_low : from->low,
                               target ? from->target_high : from->high)) {
                    return false;
                }
            } else if (role == LAMINA__ROLE_IN) {
                draw_labels(field, stream, instance->in[0].ndim > 1 ? instance->in[0].dim[1] : 2);
            } else if (role == LAMINA__ROLE_WEIGHT) {
                draw_weight(field, stream, &instance->weights[i].init);
            } else if (role == LAMINA__ROLE_STATE) {
                draw_state(field, stream, instance->states[i].fill);
            } else if (role == LAMINA__ROLE_D_OUT && field->real) {
                draw_projection(field, stream);
            } else if (role == LAMINA__ROLE_D_WEIGHT) {
                lamina__field_zero(field);
            }
        }
    }
    return true;
}

/* ---- Calls --------------------------------------------------------------------------------- */

static int32_t shards_of(const lamina__rig_call *call) {
    return call->shards > 0 ? call->shards : 1;
}

static int64_t batch_of(const lamina__rig *rig, const lamina__rig_call *call) {
    return call->batch > 0 ? call->batch : rig->batch;
}

static int64_t samples_of(const lamina__rig *rig, const lamina__rig_call *call, int32_t shard) {
    return call->shards > 0 ? call->cut[shard] : batch_of(rig, call);
}

/* Is entry i of a role left out of this call? */
static bool left_out(const lamina__rig_call *call, const lamina__field *field, int role, int32_t i,
                     bool backward) {
    switch (role) {
    case LAMINA__ROLE_D_OUT:
        return !backward;
    case LAMINA__ROLE_D_IN:
        return !backward || !field->real || (call->skip_d_in >> i & 1) != 0;
    case LAMINA__ROLE_D_WEIGHT:
        return !backward || (call->skip_d_weight >> i & 1) != 0;
    default:
        return false;
    }
}

/* The tensors of one shard. */
static void fill_io(lamina__rig *rig, const lamina__rig_call *call, int32_t shard, bool backward) {
    lamina__rig_io *io = &rig->io[shard];
    int64_t first = 0;
    for (int32_t s = 0; s < shard; s++) {
        first += samples_of(rig, call, s);
    }
    for (int role = 0; role <= LAMINA__ROLE_D_WEIGHT; role++) {
        int32_t n = rig->count[role];
        n = role == LAMINA__ROLE_D_WEIGHT ? rig->count[LAMINA__ROLE_WEIGHT] : n;
        for (int32_t i = 0; i < n; i++) {
            const lamina__field *field = role == LAMINA__ROLE_D_WEIGHT
                                             ? lamina__rig_d_weight(rig, shard, i)
                                             : &rig->fields[role][i];
            lamina_tensor *view = &io->view[role][i];
            *view = field->view;
            if (call->in_place && i == 0 && role == LAMINA__ROLE_OUT) {
                view->data = rig->fields[LAMINA__ROLE_IN][0].view.data;
            }
            if (call->in_place && i == 0 && role == LAMINA__ROLE_D_IN) {
                view->data = rig->fields[LAMINA__ROLE_D_OUT][0].view.data;
            }
            if (field->per_sample) {
                view->data = (unsigned char *)view->data +
                             (size_t)(first * lamina__field_per_sample(field)) * field->item;
                view->shape.dim[0] = samples_of(rig, call, shard);
            }
            io->list[role][i] = left_out(call, field, role, i, backward) ? NULL : view;
        }
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_PACKED]; i++) {
        io->packed[i] = lamina__field_data(&rig->fields[LAMINA__ROLE_PACKED][i]);
    }
    const uint32_t flags = rig->instance->type->flags;
    /* Values stand for what another layer gives, as there are gradients by them. */
    const bool has_target = lamina__has_target(rig->instance->type) &&
                            rig->fields[LAMINA__ROLE_IN][1].view.shape.dtype == LAMINA_I32;
    if (has_target) {
        io->target = rig->fields[LAMINA__ROLE_IN][1].view;
        io->target.shape.dim[0] = batch_of(rig, call);
    }
    io->io = (lamina_io){
        .struct_size = sizeof(lamina_io),
        .phase = call->phase,
        .shard = shard,
        .first_sample = first,
        .samples = samples_of(rig, call, shard),
        .batch = batch_of(rig, call),
        .step = STEP,
        .in = io->list[LAMINA__ROLE_IN],
        .out = io->list[LAMINA__ROLE_OUT],
        .weight = io->list[LAMINA__ROLE_WEIGHT],
        .state = io->list[LAMINA__ROLE_STATE],
        .saved = io->list[LAMINA__ROLE_SAVED],
        .d_out = io->list[LAMINA__ROLE_D_OUT],
        .d_in = io->list[LAMINA__ROLE_D_IN],
        .d_weight = io->list[LAMINA__ROLE_D_WEIGHT],
        .packed = io->packed,
        .scratch = lamina__field_data(&rig->fields[LAMINA__ROLE_SCRATCH][shard]),
        .parts = 1,
        .target = has_target ? &io->target : NULL,
        .weight_sum = (flags & LAMINA_IS_LOSS) != 0 ? &io->weight_sum : NULL,
    };
    io->weight_sum = (double)batch_of(rig, call);
    io->error = (lamina_error){0};
    lamina__call_init(&io->call, rig->instance, &io->error);
    io->call.step = STEP;
    io->status = LAMINA_OK;
    io->calls = io->different = 0;
}

typedef struct run {
    lamina__rig *rig;
    const lamina__rig_call *call;
    int step; /* 0 prepare, 1 forward, 2 backward */
    /* Of hammering: */
    double seconds;      /* of processor time that each thread takes */
    atomic_int *hammers; /* threads that have not taken it yet */
} run;

/* In parts, which only kernels that can share the work see; the others do all of it in the first.
 */
static void prepare_in_parts(lamina__instance *instance, lamina__rig_io *io) {
    enum { PARTS = 3 };
    lamina_io part = io->io;
    part.parts = PARTS;
    for (part.part = 0; io->status == LAMINA_OK && part.part < PARTS; part.part++) {
        io->status = lamina__instance_prepare_part(instance, &io->call, &part, part.part == 0);
    }
}

static void run_shard(const run *job, int32_t shard) {
    lamina__rig_io *io = &job->rig->io[shard];
    lamina__instance *instance = job->rig->instance;
    if (job->step == 0) {
        prepare_in_parts(instance, io);
    } else if (job->step == 1) {
        io->status = lamina__instance_forward(instance, &io->call, &io->io);
    } else {
        io->status = lamina__instance_backward(instance, &io->call, &io->io);
    }
}

static void run_thread(void *arg, int thread, int threads) {
    const run *job = arg;
    const int32_t one = job->step == 0 ? 1 : job->call->one;
    for (int32_t s = thread; s < shards_of(job->call); s += threads) {
        if (one == 0 || one == s + 1) {
            run_shard(job, s);
        }
    }
}

/* Every call of a loss has the whole batch's labels, so all say the same of their weights. */
static bool weights_agree(const run *job, const char *what, lamina__fault *fault) {
    const int32_t one = job->call->one;
    const double first = job->rig->io[one > 0 ? one - 1 : 0].weight_sum;
    for (int32_t s = 0; s < shards_of(job->call); s++) {
        const double sum = job->rig->io[s].weight_sum;
        if ((one == 0 || one == s + 1) && (!isfinite(sum) || sum < 0 || sum != first)) {
            snprintf(fault->text, sizeof(fault->text),
                     "%s: weight_sum is %g in the call of shard %d, %g in another; it must be "
                     "that of the whole batch, 0 or more",
                     what, sum, (int)s, first);
            return false;
        }
    }
    return true;
}

/* Every shard of a call on a thread of its own; a layer that was told of several threads for one
 * call makes its own parallel region, so it is called outside of any. */
static bool run_all(const run *job, const char *what, lamina__fault *fault) {
    const bool alone = job->step == 0 || job->call->one != 0;
    if (job->rig->threads > 1) {
        unsigned mode = lamina__flush_denormals();
        run_shard(job, 0);
        lamina__restore_denormals(mode);
    } else {
        run copy = *job;
        lamina__parallel(alone ? 1 : shards_of(job->call), run_thread, &copy);
    }
    for (int32_t s = 0; s < shards_of(job->call); s++) {
        const lamina__rig_io *io = &job->rig->io[s];
        if (io->status != LAMINA_OK) {
            snprintf(fault->text, sizeof(fault->text), "%s failed: %.400s", what,
                     io->error.message);
            return false;
        }
    }
    return job->step != 1 || weights_agree(job, what, fault);
}

/* ---- Watching ------------------------------------------------------------------------------ */

static void remember(lamina__rig *rig, int role) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        lamina__field *field = &rig->fields[role][i];
        memcpy(field->copy, lamina__field_data(field), field->bytes);
    }
}

static void poison_role(lamina__rig *rig, int role) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        lamina__field_poison(&rig->fields[role][i]);
    }
}

/* All guards; what was touched is put back, so that the next call is judged by itself. */
static bool guards_hold(lamina__rig *rig, const char *what, lamina__fault *fault) {
    bool hold = true;
    for (int role = 0; role < LAMINA__N_ROLES; role++) {
        for (int32_t i = 0; i < rig->count[role]; i++) {
            lamina__field *field = &rig->fields[role][i];
            int side = touched_guard(field);
            if (side == 0) {
                continue;
            }
            if (hold) {
                snprintf(fault->text, sizeof(fault->text), "%s wrote outside %s: %s its %zu bytes",
                         what, field->label, side < 0 ? "before" : "behind", field->bytes);
            }
            hold = false;
            fill_guards(field);
        }
    }
    return hold;
}

/* Is a role as it was remembered? In place, in[0] and d_out[0] are there to be written. */
static bool unchanged(lamina__rig *rig, int role, bool in_place, const char *what,
                      lamina__fault *fault) {
    for (int32_t i = 0; i < rig->count[role]; i++) {
        const lamina__field *field = &rig->fields[role][i];
        if (in_place && i == 0 && (role == LAMINA__ROLE_IN || role == LAMINA__ROLE_D_OUT)) {
            continue;
        }
        if (memcmp(field->copy, lamina__field_data(field), field->bytes) != 0) {
            snprintf(fault->text, sizeof(fault->text), "%s changed %s, which it may only read",
                     what, field->label);
            return false;
        }
    }
    return true;
}

static bool roles_unchanged(lamina__rig *rig, const int *roles, size_t n, bool in_place,
                            const char *what, lamina__fault *fault) {
    for (size_t i = 0; i < n; i++) {
        if (!unchanged(rig, roles[i], in_place, what, fault)) {
            return false;
        }
    }
    return true;
}

static bool prepare(lamina__rig *rig, const lamina__rig_call *call, lamina__fault *fault) {
    if (!lamina__instance_has_prepare(rig->instance)) {
        return true;
    }
    const run job = {.rig = rig, .call = call, .step = 0};
    if (!call->quick) {
        poison_role(rig, LAMINA__ROLE_PACKED);
    }
    return run_all(&job, "prepare()", fault) &&
           (call->quick || guards_hold(rig, "prepare()", fault));
}

bool lamina__rig_forward(lamina__rig *rig, const lamina__rig_call *call, lamina__fault *fault) {
    static const int constant[] = {LAMINA__ROLE_IN, LAMINA__ROLE_WEIGHT, LAMINA__ROLE_PACKED,
                                   LAMINA__ROLE_STATE};
    /* Training updates the state, but only of a layer that sees the whole batch at once. */
    const bool updates =
        call->phase == LAMINA_TRAIN && (rig->instance->type->flags & LAMINA_COUPLES_BATCH) != 0;
    const size_t n_constant = updates ? 3 : 4;
    const run job = {.rig = rig, .call = call, .step = 1};

    fault->text[0] = '\0';
    for (int32_t s = 0; s < shards_of(call); s++) {
        fill_io(rig, call, s, false);
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_STATE]; i++) {
        lamina__field *field = &rig->fields[LAMINA__ROLE_STATE][i];
        memcpy(lamina__field_data(field), field->start, field->bytes);
    }
    remember(rig, LAMINA__ROLE_WEIGHT);
    if (!prepare(rig, call, fault)) {
        return false;
    }
    if (call->quick) {
        return run_all(&job, "forward()", fault);
    }
    for (size_t i = 0; i < n_constant; i++) {
        if (constant[i] != LAMINA__ROLE_WEIGHT) {
            remember(rig, constant[i]);
        }
    }
    if (call->one == 0) { /* one by one, the shards' parts stay side by side */
        poison_role(rig, LAMINA__ROLE_OUT);
        poison_role(rig, LAMINA__ROLE_SAVED);
    }
    poison_role(rig, LAMINA__ROLE_SCRATCH);
    return run_all(&job, "forward()", fault) && guards_hold(rig, "forward()", fault) &&
           roles_unchanged(rig, constant, n_constant, call->in_place, "forward()", fault);
}

bool lamina__rig_backward(lamina__rig *rig, const lamina__rig_call *call, lamina__fault *fault) {
    static const int constant[] = {LAMINA__ROLE_IN,    LAMINA__ROLE_OUT,   LAMINA__ROLE_WEIGHT,
                                   LAMINA__ROLE_STATE, LAMINA__ROLE_SAVED, LAMINA__ROLE_D_OUT,
                                   LAMINA__ROLE_PACKED};
    const size_t n_constant = sizeof(constant) / sizeof(constant[0]);
    const run job = {.rig = rig, .call = call, .step = 2};

    fault->text[0] = '\0';
    for (int32_t s = 0; s < shards_of(call); s++) {
        fill_io(rig, call, s, true);
    }
    if (call->quick) {
        return run_all(&job, "backward()", fault);
    }
    for (size_t i = 0; i < n_constant; i++) {
        remember(rig, constant[i]);
    }
    if (call->one == 0) {
        poison_role(rig, LAMINA__ROLE_D_IN);
    }
    poison_role(rig, LAMINA__ROLE_SCRATCH);
    return run_all(&job, "backward()", fault) && guards_hold(rig, "backward()", fault) &&
           roles_unchanged(rig, constant, n_constant, call->in_place, "backward()", fault);
}

/* ---- Hammering ----------------------------------------------------------------------------- */

static bool field_unchanged(const lamina__field *field, const lamina_tensor *part, size_t bytes) {
    const unsigned char *data = part->data;
    return memcmp(data, field->copy + (data - (field->block + GUARD)), bytes) == 0;
}

/* Do a shard's results hold what was remembered of them? */
static bool results_unchanged(const lamina__rig *rig, int32_t shard, bool backward) {
    const int role = backward ? LAMINA__ROLE_D_IN : LAMINA__ROLE_OUT;
    bool same = true;
    for (int32_t i = 0; i < rig->count[role] && same; i++) {
        const lamina_tensor *part = rig->io[shard].list[role][i];
        const lamina__field *field = &rig->fields[role][i];
        same =
            part == NULL ||
            field_unchanged(field, part, (size_t)lamina__shape_count(&part->shape) * field->item);
    }
    for (int32_t i = 0; i < rig->count[LAMINA__ROLE_WEIGHT] && same && backward; i++) {
        const lamina__field *field = lamina__rig_d_weight(rig, shard, i);
        same = field_unchanged(field, &field->view, field->bytes);
    }
    return same;
}

/* Of the processor, by this thread. */
static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* No waiting for each other between the calls: that would keep the shards in step. For some time of
 * the processor, and until all have had it: on a busy machine, or with one processor, threads meet
 * only where one is put aside in mid-call for another. */
static void hammer_thread(void *arg, int thread, int threads) {
    const run *job = arg;
    const bool backward = job->step == 2;
    bool busy = true;
    atomic_fetch_add(job->hammers, 1);
    lamina__barrier();
    const double end = thread_seconds() + job->seconds;
    do {
        for (int32_t s = thread; s < shards_of(job->call); s += threads) {
            lamina__rig_io *io = &job->rig->io[s];
            for (int32_t i = 0; i < job->rig->count[LAMINA__ROLE_WEIGHT] && backward; i++) {
                lamina__field_zero(lamina__rig_d_weight(job->rig, s, i));
            }
            if (io->status == LAMINA_OK) {
                run_shard(job, s);
                io->different += !results_unchanged(job->rig, s, backward);
                io->calls++;
            }
        }
        if (busy && thread_seconds() >= end) {
            busy = false;
            atomic_fetch_sub(job->hammers, 1);
        }
    } while (atomic_load(job->hammers) > 0);
}

bool lamina__rig_hammer(lamina__rig *rig, const lamina__rig_call *call, double seconds,
                        bool backward, int64_t *calls, int64_t *different, lamina__fault *fault) {
    atomic_int hammers = 0;
    run job = {rig, call, backward ? 2 : 1, seconds, &hammers};
    fault->text[0] = '\0';
    remember(rig, LAMINA__ROLE_OUT);
    remember(rig, LAMINA__ROLE_D_IN);
    remember(rig, LAMINA__ROLE_D_WEIGHT);
    for (int32_t s = 0; s < shards_of(call); s++) {
        fill_io(rig, call, s, backward);
    }
    lamina__parallel(shards_of(call), hammer_thread, &job);
    *calls = *different = 0;
    for (int32_t s = 0; s < shards_of(call); s++) {
        *calls += rig->io[s].calls;
        *different += rig->io[s].different;
        if (rig->io[s].status != LAMINA_OK) {
            snprintf(fault->text, sizeof(fault->text), "%s failed: %.400s",
                     backward ? "backward()" : "forward()", rig->io[s].error.message);
            return false;
        }
    }
    return guards_hold(rig, backward ? "backward()" : "forward()", fault);
}
