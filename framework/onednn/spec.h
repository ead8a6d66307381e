/* From a layer's spec to oneDNN's primitive descriptor; inside this folder only. */
#ifndef LAMINA_ONEDNN_SPEC_H
#define LAMINA_ONEDNN_SPEC_H

#include "onednn/api.h"
#include "onednn/onednn.h"

/* Engine and attributes; close is fine after a failed open, and on zeroes. */
dnnl_status_t lamina__dnnl_open(lamina__dnnl *);
void lamina__dnnl_close(lamina__dnnl *);

/* The primitive of `pass` for a call of `samples`. `training`: backward will follow, so that
 * forward makes what backward needs. */
dnnl_status_t lamina__spec_pd(const lamina__dnnl *, const lamina__onednn_spec *, uint32_t pass,
                              int64_t samples, int training, dnnl_primitive_desc_t *pd);

/* The filters as the layer stores them, O,KH,KW,I/groups. */
dnnl_status_t lamina__spec_filters(const lamina__onednn_spec *, lamina__md *);

#endif
