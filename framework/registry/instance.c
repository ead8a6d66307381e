/* The life of an instance: create, setup, bind kernels, run, free. */
#include "registry/instance.h"

#include "base/alloc.h"
#include "base/error.h"
#include "registry/host.h"

#include <string.h>

const char *const lamina__pass_names[LAMINA__N_PASSES] = {"forward", "backward_data",
                                                          "backward_weights"};

void lamina__call_init(lamina__call *call, lamina__instance *instance, lamina_error *error) {
    *call = (lamina__call){.base = {&lamina__host},
                           .instance = instance,
                           .error = error,
                           .threads = instance->threads > 0 ? instance->threads : 1};
}

/* A layer that failed without saying why, or claimed success with a positive number. */
static lamina_status outcome(lamina__call *call, int32_t status, const char *where) {
    if (status == LAMINA_OK) {
        return LAMINA_OK;
    }
    if (call->error != NULL && call->error->code != LAMINA_OK) {
        return (lamina_status)call->error->code;
    }
    return (lamina_status)lamina__host.fail(&call->base, status, "%s failed: %s", where,
                                            lamina_status_meaning(status));
}

/* ---- The kernel that stands for forward() and backward() ---- */

static int32_t plain_run(const void *self, void *kernel, lamina_call *call, uint32_t pass,
                         const lamina_io *io) {
    const lamina__instance *instance = ((const lamina__call *)(const void *)call)->instance;
    (void)kernel;
    return pass == LAMINA_PASS_FORWARD ? instance->type->forward(self, call, io)
                                       : instance->type->backward(self, call, io);
}

static void make_plain(lamina__instance *instance) {
    instance->plain = (lamina_kernel){
        .struct_size = sizeof(lamina_kernel),
        .name = instance->entry->plugin_path != NULL ? "plugin" : "reference",
        .doc = "the layer's own forward() and backward()",
        .passes = LAMINA_PASS_FORWARD | LAMINA_PASS_BACKWARD_DATA | LAMINA_PASS_BACKWARD_WEIGHTS,
        .flags = LAMINA_KERNEL_TOGETHER,
        .run = plain_run,
    };
    instance->plain_list[0] = &instance->plain;
}

const lamina_kernel *const *lamina__instance_kernels(const lamina__instance *instance) {
    return instance->type->kernels != NULL ? instance->type->kernels : instance->plain_list;
}

/* ---- Create and free ---- */

lamina_status lamina__instance_create(const lamina__type_entry *entry, const char *name,
                                      const char *place, int32_t index, uint64_t seed,
                                      const void *config, lamina__instance **result,
                                      lamina_error *error) {
    *result = NULL;
    lamina__instance *instance = lamina__calloc(1, sizeof *instance);
    if (instance == NULL) {
        return lamina__fail_memory(error, name);
    }
    instance->entry = entry;
    instance->type = entry->type;
    instance->index = index;
    instance->seed = seed;
    instance->n_out = entry->type->n_out;
    const size_t size = entry->type->config_size;
    instance->name = lamina__strdup(name);
    instance->place = place != NULL ? lamina__strdup(place) : NULL;
    instance->config = lamina__calloc(size > 0 ? size : 1, 1);
    if (instance->name == NULL || instance->config == NULL ||
        (place != NULL && instance->place == NULL)) {
        lamina__instance_free(instance);
        return lamina__fail_memory(error, name);
    }
    if (size > 0) {
        memcpy(instance->config, config, size);
    }
    instance->self = instance->config;
    make_plain(instance);

    if (entry->type->create != NULL) {
        lamina__call call;
        lamina__call_init(&call, instance, error);
        call.kind = LAMINA__CALL_CREATE;
        instance->self = NULL;
        const lamina_status status = outcome(
            &call, entry->type->create(&call.base, instance->config, &instance->self), "create()");
        if (status != LAMINA_OK) {
            lamina__instance_free(instance);
            return status;
        }
    }
    *result = instance;
    return LAMINA_OK;
}

void lamina__instance_free(lamina__instance *instance) {
    if (instance == NULL) {
        return;
    }
    for (int32_t i = 0; i < instance->n_bound; i++) {
        if (instance->bound[i].kernel->destroy != NULL && instance->bound[i].state != NULL) {
            instance->bound[i].kernel->destroy(instance->bound[i].state);
        }
    }
    if (instance->type->destroy != NULL && instance->self != NULL) {
        instance->type->destroy(instance->self);
    }
    for (int32_t i = 0; i < instance->n_weights; i++) {
        lamina__free((void *)(uintptr_t)instance->weights[i].name);
    }
    for (int32_t i = 0; i < instance->n_states; i++) {
        lamina__free(instance->states[i].name);
    }
    for (int32_t i = 0; i < instance->n_saved; i++) {
        lamina__free(instance->saved[i].name);
    }
    for (int32_t i = 0; i < instance->n_packed; i++) {
        lamina__free(instance->packed[i].name);
    }
    for (size_t i = 0; i < instance->n_memory; i++) {
        lamina__free(instance->memory[i]);
    }
    lamina__free(instance->memory);
    lamina__free(instance->samples);
    lamina__free(instance->config);
    lamina__free(instance->place);
    lamina__free(instance->name);
    lamina__free(instance);
}

/* ---- Setup ---- */

/* What setup() and the kernels are told; in[] is the caller's. */
static lamina_setup setup_of(const lamina__instance *instance, const lamina_shape **in) {
    for (int32_t i = 0; i < instance->n_in; i++) {
        in[i] = &instance->in[i];
    }
    return (lamina_setup){.struct_size = sizeof(lamina_setup),
                          .n_in = instance->n_in,
                          .training = instance->training,
                          .in = in,
                          .shards = instance->shards,
                          .threads = instance->threads,
                          .n_samples = instance->n_samples,
                          .samples = instance->samples,
                          .calls = instance->calls};
}

lamina_status lamina__instance_setup(lamina__instance *instance, int32_t n_in,
                                     const lamina_shape *in, const lamina__cut *cut,
                                     lamina_error *error) {
    instance->samples = lamina__calloc((size_t)cut->n_samples, sizeof *instance->samples);
    if (instance->samples == NULL) {
        return lamina__fail_memory(error, instance->name);
    }
    memcpy(instance->samples, cut->samples, (size_t)cut->n_samples * sizeof *instance->samples);
    instance->n_samples = cut->n_samples;
    instance->shards = cut->shards;
    instance->threads = cut->threads;
    instance->training = cut->training;
    instance->calls = cut->calls;
    instance->n_in = n_in;
    memcpy(instance->in, in, (size_t)n_in * sizeof *in);

    const lamina_shape *shapes[LAMINA__MAX_INPUTS];
    const lamina_setup setup = setup_of(instance, shapes);
    lamina__call call;
    lamina__call_init(&call, instance, error);
    call.kind = LAMINA__CALL_SETUP;
    const lamina_status status =
        outcome(&call, instance->type->setup(instance->self, &call.base, &setup), "setup()");
    if (status != LAMINA_OK) {
        return status;
    }
    for (int32_t i = 0; i < instance->n_out; i++) {
        if (instance->out[i].ndim == 0) {
            return (lamina_status)lamina__host.fail(&call.base, LAMINA_ERROR_INTERNAL,
                                                    "setup() did not declare output %d", (int)i);
        }
    }
    const bool loss = (instance->type->flags & LAMINA_IS_LOSS) != 0;
    if ((loss || (instance->type->flags & LAMINA_IS_METRIC) != 0) &&
        (instance->out[0].ndim != 1 || instance->out[0].dtype == LAMINA_I32)) {
        return (lamina_status)lamina__host.fail(&call.base, LAMINA_ERROR_INTERNAL,
                                                "a %s's output has the shape (N): one for a sample",
                                                loss ? "loss" : "metric");
    }
    return LAMINA_OK;
}

void lamina__instance_narrow(lamina__instance *instance, const int64_t *samples, int32_t n_samples,
                             int32_t calls) {
    const int32_t n = n_samples < instance->n_samples ? n_samples : instance->n_samples;
    memcpy(instance->samples, samples, (size_t)n * sizeof *samples);
    instance->n_samples = n;
    instance->calls = calls;
}

/* ---- Kernels ---- */

bool lamina__type_has_stages(const lamina_layer_type *type, const char *forward_kernel) {
    const lamina_kernel *const *kernels = type->kernels;
    int i = 0;
    if (kernels == NULL || (type->flags & LAMINA_COUPLES_BATCH) == 0) {
        return false;
    }
    while (forward_kernel != NULL && kernels[i] != NULL &&
           strcmp(kernels[i]->name, forward_kernel) != 0) {
        i++;
    }
    return ((kernels[i] != NULL ? kernels[i] : kernels[0])->flags & LAMINA_KERNEL_STAGES) != 0;
}

static bool can_run(const lamina__instance *instance, const lamina_kernel *kernel,
                    const lamina_setup *setup, uint32_t pass) {
    return (kernel->passes & pass) != 0 &&
           (kernel->applies == NULL || kernel->applies(instance->self, setup, pass));
}

/* The passes this layer is asked for: backward only when training, weights only when it has any. */
static uint32_t wanted_passes(const lamina__instance *instance) {
    uint32_t passes = LAMINA_PASS_FORWARD;
    if (instance->training && (instance->type->flags & LAMINA_NO_BACKWARD) == 0) {
        passes |= LAMINA_PASS_BACKWARD_DATA;
        if (instance->n_weights > 0) {
            passes |= LAMINA_PASS_BACKWARD_WEIGHTS;
        }
    }
    return passes;
}

static bool fits(const lamina__instance *instance, const lamina_kernel *kernel,
                 const lamina_setup *setup, uint32_t pass, uint32_t passes) {
    if ((kernel->flags & LAMINA_KERNEL_TOGETHER) == 0) {
        return can_run(instance, kernel, setup, pass);
    }
    for (int i = 0; i < LAMINA__N_PASSES; i++) {
        if ((passes & (1u << i)) != 0 && !can_run(instance, kernel, setup, 1u << i)) {
            return false;
        }
    }
    return true;
}

static bool is_candidate(const lamina__instance *instance, const lamina_kernel *kernel,
                         const lamina_setup *setup, int pass, uint32_t passes) {
    return (pass == 0 || (kernel->flags & LAMINA_KERNEL_TOGETHER) == 0) &&
           fits(instance, kernel, setup, 1u << pass, passes);
}

/* Not to be timed where another kernel applies. */
static bool is_last_resort(const lamina__instance *instance, const lamina_kernel *kernel) {
    return (kernel->flags & LAMINA_KERNEL_LAST_RESORT) != 0 ||
           (instance->threads > 1 && (kernel->flags & LAMINA_KERNEL_OPENS_REGIONS) != 0);
}

bool lamina__instance_opens_regions(const lamina__instance *instance) {
    bool opens = false;
    for (int32_t k = 0; k < instance->n_bound; k++) {
        opens = opens || (instance->bound[k].kernel->flags & LAMINA_KERNEL_OPENS_REGIONS) != 0;
    }
    return opens && instance->threads > 1;
}

int32_t lamina__instance_candidates(const lamina__instance *instance, int pass,
                                    const lamina_kernel **list, int32_t max) {
    const lamina_shape *shapes[LAMINA__MAX_INPUTS];
    const lamina_setup setup = setup_of(instance, shapes);
    const uint32_t passes = wanted_passes(instance);
    const lamina_kernel *const *kernels = lamina__instance_kernels(instance);
    int32_t n = 0;
    if ((passes & (1u << pass)) == 0) {
        return 0;
    }
    for (int resorts = 0; resorts < 2 && n == 0; resorts++) {
        for (int i = 0; kernels[i] != NULL && n < max; i++) {
            if (is_last_resort(instance, kernels[i]) == (resorts == 1) &&
                is_candidate(instance, kernels[i], &setup, pass, passes)) {
                list[n++] = kernels[i];
            }
        }
    }
    return n;
}

/* The kernel for a pass. A TOGETHER kernel chosen for the forward pass takes all others; one that
 * is not chosen there takes none. */
static const lamina_kernel *choose(const lamina__instance *instance, const lamina_setup *setup,
                                   int pass, uint32_t passes, const char *name,
                                   const lamina_kernel *forward) {
    if (forward != NULL && (forward->flags & LAMINA_KERNEL_TOGETHER) != 0) {
        return forward;
    }
    const lamina_kernel *const *kernels = lamina__instance_kernels(instance);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; kernels[i] != NULL; i++) {
            const bool named = name != NULL && strcmp(kernels[i]->name, name) == 0;
            if (round == 0 && !named) {
                continue;
            }
            if (forward != NULL && (kernels[i]->flags & LAMINA_KERNEL_TOGETHER) != 0) {
                continue;
            }
            if (fits(instance, kernels[i], setup, 1u << pass, passes)) {
                return kernels[i];
            }
        }
    }
    return NULL;
}

static void assign(lamina__instance *instance, int pass, const lamina_kernel *kernel) {
    int32_t k = 0;
    while (k < instance->n_bound && instance->bound[k].kernel != kernel) {
        k++;
    }
    if (k == instance->n_bound) {
        instance->bound[instance->n_bound++] = (lamina__bound_kernel){.kernel = kernel};
    }
    instance->bound[k].passes |= 1u << pass;
    instance->pass_kernel[pass] = k;
}

/* A kernel that has the forward pass and can do the next layer's, too. */
static bool can_fuse(const lamina__instance *instance, const lamina__bound_kernel *bound) {
    const char *const *type = bound->kernel->fuses;
    if (instance->next == NULL || type == NULL || (bound->passes & LAMINA_PASS_FORWARD) == 0) {
        return false;
    }
    while (*type != NULL && strcmp(*type, instance->next->type->name) != 0) {
        type++;
    }
    return *type != NULL;
}

lamina_status lamina__instance_bind(lamina__instance *instance,
                                    const char *const wanted[LAMINA__N_PASSES], int strict,
                                    lamina_error *error) {
    const lamina_shape *shapes[LAMINA__MAX_INPUTS];
    lamina_setup setup = setup_of(instance, shapes);
    const uint32_t passes = wanted_passes(instance);
    const lamina_kernel *forward = NULL;
    lamina__call call;
    lamina__call_init(&call, instance, error);

    for (int pass = 0; pass < LAMINA__N_PASSES; pass++) {
        instance->pass_kernel[pass] = -1;
        if ((passes & (1u << pass)) == 0) {
            continue;
        }
        const char *name = wanted != NULL ? wanted[pass] : NULL;
        if (name != NULL && strcmp(name, "auto") == 0) {
            name = NULL;
        }
        const lamina_kernel *kernel = choose(instance, &setup, pass, passes, name, forward);
        if (kernel == NULL || (strict && name != NULL && strcmp(kernel->name, name) != 0)) {
            return (lamina_status)lamina__host.fail(
                &call.base, LAMINA_ERROR_UNSUPPORTED,
                "no kernel%s%s can do the pass %s for these shapes on this machine",
                name != NULL ? " " : "", name != NULL ? name : "", lamina__pass_names[pass]);
        }
        if (pass == 0) {
            forward = kernel;
        }
        assign(instance, pass, kernel);
    }

    call.kind = LAMINA__CALL_KERNEL;
    for (int32_t k = 0; k < instance->n_bound; k++) {
        lamina__bound_kernel *bound = &instance->bound[k];
        if (bound->kernel->create == NULL) {
            continue;
        }
        setup.fused = setup.fused_config = NULL;
        if (can_fuse(instance, bound)) {
            setup.fused = instance->next->type->name;
            setup.fused_config = instance->next->config;
            const uint32_t both = LAMINA_KERNEL_TOGETHER | LAMINA_KERNEL_FUSES_BACKWARD;
            instance->fuses = 1;
            instance->fuses_backward = (bound->kernel->flags & both) == both;
        }
        const int32_t made =
            bound->kernel->create(instance->self, &call.base, &setup, bound->passes, &bound->state);
        const lamina_status status = outcome(&call, made, "a kernel's create()");
        if (status != LAMINA_OK) {
            return status;
        }
    }
    return LAMINA_OK;
}

const char *lamina__instance_kernel(const lamina__instance *instance, int pass) {
    const int32_t k = instance->pass_kernel[pass];
    return k < 0 || k >= instance->n_bound ? NULL : instance->bound[k].kernel->name;
}

/* ---- Run ---- */

int lamina__instance_has_prepare(const lamina__instance *instance) {
    for (int32_t k = 0; k < instance->n_bound; k++) {
        if (instance->bound[k].kernel->prepare != NULL) {
            return 1;
        }
    }
    return 0;
}

lamina_status lamina__instance_prepare(lamina__instance *instance, lamina__call *call,
                                       const lamina_io *io) {
    return lamina__instance_prepare_part(instance, call, io, true);
}

lamina_status lamina__instance_prepare_part(lamina__instance *instance, lamina__call *call,
                                            const lamina_io *io, bool theirs) {
    for (int32_t k = 0; k < instance->n_bound; k++) {
        const lamina__bound_kernel *bound = &instance->bound[k];
        const bool shares = (bound->kernel->flags & LAMINA_KERNEL_SHARES_PREPARE) != 0;
        if (bound->kernel->prepare == NULL || (!shares && !theirs)) {
            continue;
        }
        const lamina_status status =
            outcome(call, bound->kernel->prepare(instance->self, bound->state, &call->base, io),
                    "prepare()");
        if (status != LAMINA_OK) {
            return status;
        }
    }
    return LAMINA_OK;
}

static bool any(const lamina_tensor *const *tensors, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        if (tensors[i] != NULL) {
            return true;
        }
    }
    return false;
}

bool lamina__instance_has_pass(const lamina__instance *instance, int pass, const lamina_io *io) {
    if (pass == 0) {
        return true;
    }
    if (instance->type->kernels == NULL) {
        return pass == 1;
    }
    return pass == 1 ? any(io->d_in, instance->n_in)
                     : instance->pass_kernel[2] >= 0 && any(io->d_weight, instance->n_weights);
}

lamina_status lamina__instance_pass(const lamina__instance *instance, lamina__call *call, int pass,
                                    const lamina_io *io) {
    const lamina__bound_kernel *bound = &instance->bound[instance->pass_kernel[pass]];
    const int32_t status =
        bound->kernel->run(instance->self, bound->state, &call->base, 1u << pass, io);
    return status == LAMINA_OK ? LAMINA_OK : outcome(call, status, lamina__pass_names[pass]);
}

lamina_status lamina__instance_forward(const lamina__instance *instance, lamina__call *call,
                                       const lamina_io *io) {
    return lamina__instance_pass(instance, call, 0, io);
}

lamina_status lamina__instance_backward(const lamina__instance *instance, lamina__call *call,
                                        const lamina_io *io) {
    lamina_status status = LAMINA_OK;
    for (int pass = LAMINA__N_PASSES - 1; status == LAMINA_OK && pass > 0; pass--) {
        if (lamina__instance_has_pass(instance, pass, io)) {
            status = lamina__instance_pass(instance, call, pass, io);
        }
    }
    return status;
}
