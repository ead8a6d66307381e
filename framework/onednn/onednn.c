/* Running a kernel of oneDNN primitives, and whether one is worth making. */
#include "onednn/onednn.h"

#include "onednn/kernel.h"
#include "onednn/spec.h"

#include <omp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const char *lamina__onednn_operation_name(lamina__onednn_operation operation) {
    switch (operation) {
    case LAMINA__ONEDNN_CONVOLUTION:
        return "convolution";
    case LAMINA__ONEDNN_SOFTMAX:
        return "softmax";
    default:
        return "pooling";
    }
}

int lamina__onednn_op(uint32_t pass) {
    return pass == LAMINA_PASS_FORWARD ? 0 : pass == LAMINA_PASS_BACKWARD_DATA ? 1 : 2;
}

const char *lamina__onednn_pass_name(uint32_t pass) {
    static const char *const names[N_OPS] = {"forward", "backward_data", "backward_weights"};
    return names[lamina__onednn_op(pass)];
}

int32_t lamina__onednn_fail(lamina_call *call, const lamina__onednn *kernel, uint32_t pass,
                            dnnl_status_t status, const char *what) {
    const int32_t code = status == dnnl_out_of_memory   ? LAMINA_ERROR_MEMORY
                         : status == dnnl_unimplemented ? LAMINA_ERROR_UNSUPPORTED
                                                        : LAMINA_ERROR_INTERNAL;
    return call->host->fail(call, code, "oneDNN %s: cannot %s %s %s: %s", lamina__onednn_version(),
                            what, lamina__onednn_operation_name(kernel->spec.operation),
                            lamina__onednn_pass_name(pass), dnnl_status2str(status));
}

/* On a Zen 5 (AMD) oneDNN 3.7's convolutions by brgemm are wrong for some shapes: in AVX-512 where
 * few channels are left over from whole vectors (tests/onednn: 1x1 with 33 filters, the gradient of
 * one channel), in AVX2 for others (tests/layers/test_conv.c: 35 filters on 1x1). Those without
 * brgemm are right, and so are those of oneDNN 2.6, and of 3.7 on Intel's. So from version 3 on it
 * is held to AVX, which has none, on AMD's processors, unless the user says what it may use. */
static void choose_isa(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd") && dnnl_version()->major >= 3 &&
        getenv("ONEDNN_MAX_CPU_ISA") == NULL && getenv("DNNL_MAX_CPU_ISA") == NULL) {
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx);
    }
#endif
}

void lamina__onednn_settle(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose_isa);
}

lamina__onednn_threads lamina__onednn_begin(int threads) {
    lamina__onednn_settle();
    const lamina__onednn_threads before = {omp_get_max_threads(), omp_get_dynamic()};
    const int limit = omp_get_thread_limit(); /* OMP_THREAD_LIMIT */

    threads = threads < limit ? threads : limit;
    if (before.threads != threads) {
        omp_set_num_threads(threads);
    }
    if (before.dynamic) {
        omp_set_dynamic(0);
    }
    return before;
}

void lamina__onednn_end(lamina__onednn_threads before) {
    if (omp_get_max_threads() != before.threads) {
        omp_set_num_threads(before.threads);
    }
    if (before.dynamic) {
        omp_set_dynamic(1);
    }
}

/* ---- Running ---- */

static void *tensor_data(const lamina_tensor *const *tensors, int32_t index) {
    return tensors != NULL && tensors[index] != NULL ? tensors[index]->data : NULL;
}

/* The argument's address in this call; NULL when it is not wanted. */
static void *address(const op *o, const argument *a, const lamina_io *io) {
    switch (a->place) {
    case PLACE_IN:
        return tensor_data(io->in, a->index);
    case PLACE_OUT:
        return tensor_data(io->out, a->index);
    case PLACE_WEIGHT:
        return tensor_data(io->weight, a->index);
    case PLACE_D_OUT:
        return tensor_data(io->d_out, a->index);
    case PLACE_D_IN:
        return tensor_data(io->d_in, a->index);
    case PLACE_D_WEIGHT:
        return tensor_data(io->d_weight, a->index);
    case PLACE_PACKED:
        return (char *)io->packed[o->packed] + a->offset;
    case PLACE_SCRATCH:
        return (char *)io->scratch + a->offset;
    }
    return NULL;
}

/* Gives the shard's memory object its address. oneDNN 2.x clears the padding of a blocked order
 * each time it is told one, so it is told only what is new. */
static dnnl_status_t set_address(dnnl_memory_t memory, void *data) {
    void *before = NULL;
    dnnl_status_t status = dnnl_memory_get_data_handle(memory, &before);
    return status == dnnl_success && before != data ? dnnl_memory_set_data_handle(memory, data)
                                                    : status;
}

static dnnl_status_t run_step(const lamina__onednn *kernel, const op *o, const step *s,
                              int32_t shard, const lamina_io *io) {
    dnnl_exec_arg_t args[MAX_ARGS];

    for (int32_t i = 0; i < s->n_args; i++) {
        const argument *a = &s->args[i];
        void *data = address(o, a, io);
        if (data == NULL && (a->place == PLACE_D_WEIGHT || a->place == PLACE_D_IN)) {
            return dnnl_success; /* what this step makes is not wanted */
        }
        args[i] = (dnnl_exec_arg_t){a->arg, a->memory[shard]};
        dnnl_status_t status =
            data != NULL ? set_address(args[i].memory, data) : dnnl_invalid_arguments;
        if (status != dnnl_success) {
            return status;
        }
    }
    dnnl_stream_t stream = kernel->streams[shard];
    dnnl_status_t status = dnnl_primitive_execute(s->primitive, stream, s->n_args, args);
    return status == dnnl_success ? dnnl_stream_wait(stream) : status;
}

/* Tells every shard's memory objects where the packed filters are while no shard runs: in oneDNN
 * 2.x that writes (see set_address). */
static dnnl_status_t publish(const lamina__onednn *kernel, const op *o, const lamina_io *io) {
    dnnl_status_t status = dnnl_success;
    for (int32_t i = 0; i < o->n_variants; i++) {
        const step *s = &o->variants[i].steps[0];
        for (int32_t j = 0; j < s->n_args; j++) {
            const argument *a = &s->args[j];
            for (int32_t k = 0; a->place == PLACE_PACKED && k < kernel->shards; k++) {
                if (status == dnnl_success) {
                    status = set_address(a->memory[k], address(o, a, io));
                }
            }
        }
    }
    return status;
}

int32_t lamina__onednn_prepare(const void *self, void *state, lamina_call *call,
                               const lamina_io *io) {
    const lamina__onednn *kernel = state;
    const lamina__onednn_threads before = lamina__onednn_begin(1);
    dnnl_status_t status = dnnl_success;
    uint32_t pass = LAMINA_PASS_FORWARD;

    (void)self;
    for (; pass <= LAMINA_PASS_BACKWARD_DATA && status == dnnl_success; pass <<= 1) {
        const op *o = &kernel->ops[lamina__onednn_op(pass)];
        status = publish(kernel, o, io);
        for (int32_t i = 0; i < o->n_packs && status == dnnl_success; i++) {
            status = run_step(kernel, o, &o->packs[i], 0, io);
        }
    }
    lamina__onednn_end(before);
    return status == dnnl_success
               ? LAMINA_OK
               : lamina__onednn_fail(call, kernel, pass >> 1, status, "pack filters for");
}

/* Whether nothing that the pass makes is wanted. */
static int unwanted(const lamina__onednn *kernel, uint32_t pass, const lamina_io *io) {
    switch (pass) {
    case LAMINA_PASS_BACKWARD_DATA:
        return tensor_data(io->d_in, 0) == NULL;
    case LAMINA_PASS_BACKWARD_WEIGHTS:
        return tensor_data(io->d_weight, 0) == NULL &&
               (!kernel->spec.bias || tensor_data(io->d_weight, 1) == NULL);
    default:
        return 0;
    }
}

int32_t lamina__onednn_run(const void *self, void *state, lamina_call *call, uint32_t pass,
                           const lamina_io *io) {
    const lamina__onednn *kernel = state;
    const op *o = &kernel->ops[lamina__onednn_op(pass)];
    const variant *v = NULL;

    (void)self;
    if (unwanted(kernel, pass, io)) {
        return LAMINA_OK;
    }
    for (int32_t i = 0; i < o->n_variants && v == NULL; i++) {
        v = o->variants[i].samples == io->samples ? &o->variants[i] : NULL;
    }
    if (v == NULL || io->shard < 0 || io->shard >= kernel->shards) {
        return call->host->fail(
            call, LAMINA_ERROR_INTERNAL, "oneDNN %s %s was not made for %lld samples in shard %d",
            lamina__onednn_operation_name(kernel->spec.operation), lamina__onednn_pass_name(pass),
            (long long)io->samples, (int)io->shard);
    }
    const lamina__onednn_threads before = lamina__onednn_begin(kernel->threads);
    dnnl_status_t status = dnnl_success;
    for (int32_t i = 0; i < v->n_steps && status == dnnl_success; i++) {
        status = run_step(kernel, o, &v->steps[i], io->shard, io);
    }
    lamina__onednn_end(before);
    return status == dnnl_success ? LAMINA_OK
                                  : lamina__onednn_fail(call, kernel, pass, status, "run");
}

/* ---- Choosing ---- */

/* oneDNN falls back to plain loops, named "ref:any" and the like: ours are better. */
static int is_optimized(const_dnnl_primitive_desc_t pd) {
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success &&
           name != NULL && strstr(name, "ref") == NULL;
}

int32_t lamina__onednn_applies(const lamina__onednn_spec *spec, const lamina_setup *setup,
                               uint32_t pass) {
    lamina__dnnl dnnl;
    const lamina__onednn_threads before = lamina__onednn_begin(setup->threads);
    int32_t applies = lamina__dnnl_open(&dnnl) == dnnl_success;

    for (int32_t i = 0; i < setup->n_samples && applies; i++) {
        dnnl_primitive_desc_t pd = NULL;
        applies = lamina__spec_pd(&dnnl, spec, pass, setup->samples[i], setup->training, &pd) ==
                      dnnl_success &&
                  is_optimized(pd);
        if (pd != NULL) {
            dnnl_primitive_desc_destroy(pd);
        }
    }
    lamina__dnnl_close(&dnnl);
    lamina__onednn_end(before);
    return applies;
}
