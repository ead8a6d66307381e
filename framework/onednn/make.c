/* Making a kernel of oneDNN primitives: for each pass and number of samples the primitive, its
 * memory objects, and the reorders it needs before or after; then declaring what the host must
 * allocate. Nothing is made later than here. */
#include "base/alloc.h"
#include "onednn/kernel.h"
#include "onednn/spec.h"

#define ALIGNMENT 64 /* bytes, of everything in scratch and packed memory */

static size_t take(size_t *total, size_t bytes) {
    const size_t offset = *total;
    *total += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

static size_t md_bytes(lamina__md_ref md) {
    return md != NULL ? dnnl_memory_desc_get_size(md) : 0;
}

/* Adds an argument with a memory object for each shard, without an address yet. */
static dnnl_status_t add_arg(const lamina__onednn *kernel, step *s, int32_t arg, lamina__md_ref md,
                             place where, int32_t index, size_t offset) {
    argument *a = &s->args[s->n_args++];
    dnnl_status_t status = dnnl_success;

    *a = (argument){.arg = arg, .place = where, .index = index, .offset = offset};
    a->memory = lamina__calloc((size_t)kernel->shards, sizeof(*a->memory));
    if (a->memory == NULL) {
        return dnnl_out_of_memory;
    }
    for (int32_t i = 0; i < kernel->shards && status == dnnl_success; i++) {
        status = dnnl_memory_create(&a->memory[i], md, kernel->dnnl.engine, DNNL_MEMORY_NONE);
    }
    return status;
}

static lamina__md_ref arg_md(const_dnnl_primitive_desc_t pd, int32_t arg) {
    return dnnl_primitive_desc_query_md(pd, dnnl_query_exec_arg_md, arg);
}

/* The order of memory is the one pd has for the argument. */
static dnnl_status_t add_pd_arg(const lamina__onednn *kernel, step *s,
                                const_dnnl_primitive_desc_t pd, int32_t arg, place where,
                                int32_t index) {
    return add_arg(kernel, s, arg, arg_md(pd, arg), where, index, 0);
}

static dnnl_status_t add_scratch_arg(const lamina__onednn *kernel, variant *v, step *s, int32_t arg,
                                     lamina__md_ref md) {
    const size_t offset = take(&v->scratch_bytes, md_bytes(md));
    return add_arg(kernel, s, arg, md, PLACE_SCRATCH, 0, offset);
}

/* Begins the next step of v with pd's primitive and, if it wants one, its scratchpad. */
static dnnl_status_t add_step(const lamina__onednn *kernel, variant *v,
                              const_dnnl_primitive_desc_t pd, step **s) {
    lamina__md_ref pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    *s = &v->steps[v->n_steps++];
    dnnl_status_t status = dnnl_primitive_create(&(*s)->primitive, pd);
    return status == dnnl_success && md_bytes(pad) > 0
               ? add_scratch_arg(kernel, v, *s, DNNL_ARG_SCRATCHPAD, pad)
               : status;
}

/* The reorder of stored filters to the order `md`, made for the one thread prepare() runs on. */
static dnnl_status_t add_pack(lamina__onednn *kernel, op *o, lamina__md_ref stored,
                              lamina__md_ref md, size_t *offset) {
    dnnl_primitive_desc_t pd = NULL;
    step *s = &o->packs[o->n_packs++];
    const lamina__onednn_threads before = lamina__onednn_begin(1);
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&pd, stored, kernel->dnnl.engine, md,
                                                              kernel->dnnl.engine, NULL);

    if (status == dnnl_success) {
        status = dnnl_primitive_create(&s->primitive, pd);
    }
    lamina__onednn_end(before);
    if (status == dnnl_success) {
        status = add_arg(kernel, s, DNNL_ARG_FROM, stored, PLACE_WEIGHT, 0, 0);
    }
    if (status == dnnl_success) {
        *offset = take(&o->packed_bytes, md_bytes(md));
        status = add_arg(kernel, s, DNNL_ARG_TO, md, PLACE_PACKED, o->packed, *offset);
    }
    if (pd != NULL) {
        dnnl_primitive_desc_destroy(pd);
    }
    return status;
}

/* Filters for s: as stored, if that is the order pd wants, else a packed copy. */
static dnnl_status_t add_filters(lamina__onednn *kernel, op *o, step *s,
                                 const_dnnl_primitive_desc_t pd) {
    lamina__md_ref wanted = arg_md(pd, DNNL_ARG_WEIGHTS);
    lamina__md stored = NULL;
    size_t offset = 0;
    dnnl_status_t status = lamina__spec_filters(&kernel->spec, &stored);

    if (status != dnnl_success) {
        return status;
    }
    if (dnnl_memory_desc_equal(stored, wanted)) {
        status = add_arg(kernel, s, DNNL_ARG_WEIGHTS, wanted, PLACE_WEIGHT, 0, 0);
        goto done;
    }
    int found = 0;
    for (int32_t i = 0; i < o->n_packs && !found; i++) {
        lamina__md_ref have = NULL;
        dnnl_memory_get_memory_desc(o->packs[i].args[1].memory[0], &have);
        found = have != NULL && dnnl_memory_desc_equal(have, wanted);
        offset = o->packs[i].args[1].offset;
    }
    if (!found) {
        status = add_pack(kernel, o, stored, wanted, &offset);
    }
    if (status == dnnl_success) {
        status = add_arg(kernel, s, DNNL_ARG_WEIGHTS, wanted, PLACE_PACKED, o->packed, offset);
    }
done:
    lamina__md_free(stored);
    return status;
}

/* The step that adds the gradient in scratch at args[from] of the first step to d_weight[index]. */
static dnnl_status_t add_sum(const lamina__onednn *kernel, variant *v, int32_t from,
                             lamina__md_ref stored, int32_t index) {
    const argument *gradient = &v->steps[0].args[from];
    dnnl_primitive_desc_t pd = NULL;
    lamina__md_ref md = NULL;
    step *s = NULL;
    dnnl_status_t status = dnnl_memory_get_memory_desc(gradient->memory[0], &md);

    if (status == dnnl_success) {
        status = dnnl_reorder_primitive_desc_create(&pd, md, kernel->dnnl.engine, stored,
                                                    kernel->dnnl.engine, kernel->dnnl.add_attr);
    }
    if (status == dnnl_success) {
        status = add_step(kernel, v, pd, &s);
    }
    if (status == dnnl_success) {
        status = add_arg(kernel, s, DNNL_ARG_FROM, md, PLACE_SCRATCH, 0, gradient->offset);
    }
    if (status == dnnl_success) {
        status = add_arg(kernel, s, DNNL_ARG_TO, stored, PLACE_D_WEIGHT, index, 0);
    }
    if (pd != NULL) {
        dnnl_primitive_desc_destroy(pd);
    }
    return status;
}

static dnnl_status_t bind_weight_gradients(lamina__onednn *kernel, variant *v, step *s,
                                           const_dnnl_primitive_desc_t pd) {
    const int32_t first = s->n_args;
    lamina__md stored = NULL;
    dnnl_status_t status = lamina__spec_filters(&kernel->spec, &stored);

    if (status == dnnl_success) {
        status =
            add_scratch_arg(kernel, v, s, DNNL_ARG_DIFF_WEIGHTS, arg_md(pd, DNNL_ARG_DIFF_WEIGHTS));
    }
    if (status == dnnl_success && kernel->spec.bias) {
        status = add_scratch_arg(kernel, v, s, DNNL_ARG_DIFF_BIAS, arg_md(pd, DNNL_ARG_DIFF_BIAS));
    }
    if (status == dnnl_success) {
        status = add_sum(kernel, v, first, stored, 0);
    }
    if (status == dnnl_success && kernel->spec.bias) {
        status = add_sum(kernel, v, first + 1, arg_md(pd, DNNL_ARG_DIFF_BIAS), 1);
    }
    lamina__md_free(stored);
    return status;
}

/* Connects the arguments of the variant's first step. */
static dnnl_status_t bind_forward(lamina__onednn *kernel, op *o, step *s,
                                  const_dnnl_primitive_desc_t pd) {
    dnnl_status_t status = add_pd_arg(kernel, s, pd, DNNL_ARG_SRC, PLACE_IN, 0);
    if (status == dnnl_success) {
        status = add_pd_arg(kernel, s, pd, DNNL_ARG_DST, PLACE_OUT, 0);
    }
    if (status == dnnl_success && kernel->spec.operation == LAMINA__ONEDNN_CONVOLUTION) {
        status = add_filters(kernel, o, s, pd);
        if (status == dnnl_success && kernel->spec.bias) {
            status = add_pd_arg(kernel, s, pd, DNNL_ARG_BIAS, PLACE_WEIGHT, 1);
        }
    }
    return status;
}

static dnnl_status_t bind_backward_data(lamina__onednn *kernel, op *o, step *s,
                                        const_dnnl_primitive_desc_t pd) {
    dnnl_status_t status = add_pd_arg(kernel, s, pd, DNNL_ARG_DIFF_DST, PLACE_D_OUT, 0);
    if (status == dnnl_success) {
        status = add_pd_arg(kernel, s, pd, DNNL_ARG_DIFF_SRC, PLACE_D_IN, 0);
    }
    if (status == dnnl_success && kernel->spec.operation == LAMINA__ONEDNN_CONVOLUTION) {
        status = add_filters(kernel, o, s, pd);
    }
    if (status == dnnl_success && kernel->spec.operation == LAMINA__ONEDNN_SOFTMAX) {
        status = add_pd_arg(kernel, s, pd, DNNL_ARG_DST, PLACE_OUT, 0);
    }
    return status;
}

static dnnl_status_t make_variant(lamina__onednn *kernel, uint32_t pass, int training, op *o,
                                  variant *v) {
    dnnl_primitive_desc_t pd = NULL;
    step *s = NULL;
    dnnl_status_t status =
        lamina__spec_pd(&kernel->dnnl, &kernel->spec, pass, v->samples, training, &pd);

    if (status == dnnl_success) {
        status = add_step(kernel, v, pd, &s);
    }
    if (status != dnnl_success) {
        goto done;
    }
    switch (pass) {
    case LAMINA_PASS_FORWARD:
        status = bind_forward(kernel, o, s, pd);
        break;
    case LAMINA_PASS_BACKWARD_DATA:
        status = bind_backward_data(kernel, o, s, pd);
        break;
    default:
        status = add_pd_arg(kernel, s, pd, DNNL_ARG_SRC, PLACE_IN, 0);
        if (status == dnnl_success) {
            status = add_pd_arg(kernel, s, pd, DNNL_ARG_DIFF_DST, PLACE_D_OUT, 0);
        }
        if (status == dnnl_success) {
            status = bind_weight_gradients(kernel, v, s, pd);
        }
        break;
    }
done:
    if (pd != NULL) {
        dnnl_primitive_desc_destroy(pd);
    }
    return status;
}

static dnnl_status_t make_op(lamina__onednn *kernel, const lamina_setup *setup, uint32_t pass,
                             int training) {
    op *o = &kernel->ops[lamina__onednn_op(pass)];
    dnnl_status_t status = dnnl_success;

    o->variants = lamina__calloc((size_t)setup->n_samples, sizeof(*o->variants));
    o->packs = lamina__calloc((size_t)setup->n_samples, sizeof(*o->packs));
    if (o->variants == NULL || o->packs == NULL) {
        return dnnl_out_of_memory;
    }
    for (int32_t i = 0; i < setup->n_samples && status == dnnl_success; i++) {
        variant *v = &o->variants[o->n_variants++];
        v->samples = setup->samples[i];
        status = make_variant(kernel, pass, training, o, v);
    }
    return status;
}

/* ---- Declaring ---- */

static int32_t declare(lamina_call *call, lamina__onednn *kernel) {
    size_t scratch = 0;
    int32_t index = 0;

    for (int pass = 0; pass < N_OPS && index >= 0; pass++) {
        op *o = &kernel->ops[pass];
        for (int32_t i = 0; i < o->n_variants; i++) {
            const size_t bytes = o->variants[i].scratch_bytes;
            scratch = bytes > scratch ? bytes : scratch;
        }
        if (o->packed_bytes > 0) {
            const char *name = pass == 0 ? "onednn_forward" : "onednn_backward_data";
            index = call->host->add_packed(call, name, o->packed_bytes);
            o->packed = index;
        }
    }
    return index < 0 ? index : scratch > 0 ? call->host->add_scratch(call, scratch) : LAMINA_OK;
}

static dnnl_status_t make_streams(lamina__onednn *kernel) {
    dnnl_status_t status = dnnl_success;
    kernel->streams = lamina__calloc((size_t)kernel->shards, sizeof(*kernel->streams));
    if (kernel->streams == NULL) {
        return dnnl_out_of_memory;
    }
    for (int32_t i = 0; i < kernel->shards && status == dnnl_success; i++) {
        status =
            dnnl_stream_create(&kernel->streams[i], kernel->dnnl.engine, dnnl_stream_default_flags);
    }
    return status;
}

int32_t lamina__onednn_create(lamina_call *call, const lamina__onednn_spec *spec,
                              const lamina_setup *setup, uint32_t passes, void **result) {
    const int training = (passes & LAMINA_PASS_BACKWARD_DATA) != 0;
    const lamina__onednn_threads before = lamina__onednn_begin(setup->threads);
    lamina__onednn *kernel = lamina__calloc(1, sizeof(*kernel));
    int32_t code = LAMINA_OK;

    *result = NULL;
    if (kernel == NULL) {
        code = call->host->fail(call, LAMINA_ERROR_MEMORY, "out of memory (a oneDNN kernel)");
        goto done;
    }
    kernel->spec = *spec;
    kernel->shards = setup->shards;
    kernel->threads = setup->threads;
    dnnl_status_t status = lamina__dnnl_open(&kernel->dnnl);
    if (status == dnnl_success) {
        status = make_streams(kernel);
    }
    if (status != dnnl_success) {
        code = lamina__onednn_fail(call, kernel, passes, status, "start");
        goto done;
    }
    for (uint32_t pass = LAMINA_PASS_FORWARD; pass <= LAMINA_PASS_BACKWARD_WEIGHTS; pass <<= 1) {
        status = (passes & pass) != 0 ? make_op(kernel, setup, pass, training) : dnnl_success;
        if (status != dnnl_success) {
            code = lamina__onednn_fail(call, kernel, pass, status, "make");
            goto done;
        }
    }
    code = declare(call, kernel);
done:
    lamina__onednn_end(before);
    if (code != LAMINA_OK) {
        lamina__onednn_destroy(kernel);
        kernel = NULL;
    }
    *result = kernel;
    return code;
}

static void free_step(const lamina__onednn *kernel, step *s) {
    for (int32_t i = 0; i < s->n_args; i++) {
        for (int32_t shard = 0; s->args[i].memory != NULL && shard < kernel->shards; shard++) {
            dnnl_memory_destroy(s->args[i].memory[shard]);
        }
        lamina__free(s->args[i].memory);
    }
    if (s->primitive != NULL) {
        dnnl_primitive_destroy(s->primitive);
    }
}

static void free_op(const lamina__onednn *kernel, op *o) {
    for (int32_t i = 0; i < o->n_variants; i++) {
        for (int32_t j = 0; j < o->variants[i].n_steps; j++) {
            free_step(kernel, &o->variants[i].steps[j]);
        }
    }
    for (int32_t i = 0; i < o->n_packs; i++) {
        free_step(kernel, &o->packs[i]);
    }
    lamina__free(o->variants);
    lamina__free(o->packs);
}

void lamina__onednn_destroy(void *state) {
    lamina__onednn *kernel = state;
    if (kernel == NULL) {
        return;
    }
    for (int pass = 0; pass < N_OPS; pass++) {
        free_op(kernel, &kernel->ops[pass]);
    }
    for (int32_t i = 0; kernel->streams != NULL && i < kernel->shards; i++) {
        if (kernel->streams[i] != NULL) {
            dnnl_stream_destroy(kernel->streams[i]);
        }
    }
    lamina__free(kernel->streams);
    lamina__dnnl_close(&kernel->dnnl);
    lamina__free(kernel);
}
