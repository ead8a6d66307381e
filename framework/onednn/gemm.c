/* oneDNN's matrix product, and what is there to say about the library itself. */
#include "onednn/api.h"
#include "onednn/kernel.h"
#include "onednn/onednn.h"

#include <stdio.h>
#include <string.h>

int32_t lamina__onednn_sgemm(lamina_call *call, const lamina__onednn_product *p, int32_t threads) {
    const lamina__onednn_threads before = lamina__onednn_begin(threads);

    dnnl_status_t status =
        dnnl_sgemm(p->a_transposed ? 'T' : 'N', p->b_transposed ? 'T' : 'N', p->m, p->n, p->k, 1.0f,
                   p->a, p->a_row, p->b, p->b_row, p->beta, p->c, p->c_row);
    lamina__onednn_end(before);
    if (status == dnnl_success) {
        return LAMINA_OK;
    }
    return call->host->fail(
        call, status == dnnl_out_of_memory ? LAMINA_ERROR_MEMORY : LAMINA_ERROR_INTERNAL,
        "oneDNN's matrix product %lld x %lld x %lld failed: %s", (long long)p->m, (long long)p->n,
        (long long)p->k, dnnl_status2str(status));
}

const char *lamina__onednn_version(void) {
    static _Thread_local char text[32];
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, sizeof(text), "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}

const char *lamina__onednn_isa(void) {
    static const char prefix[] = "cpu_isa_";
    lamina__onednn_settle();
    const char *name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 ? name + sizeof(prefix) - 1 : name;
}
