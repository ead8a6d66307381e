/* Views of tensors, and the way between logical order and the order in memory. */
#include "base/text.h"
#include "registry/instance.h"

size_t lamina__dtype_bytes(int32_t dtype) {
    switch (dtype) {
    case LAMINA_U8:
        return 1;
    case LAMINA_F64:
        return 8;
    default:
        return 4;
    }
}

/* Strides of a dense tensor whose dimensions lie in memory in the order axes[0] (outermost) ... */
static void dense_strides(lamina_tensor *tensor, const int *axes) {
    int64_t stride = 1;
    for (int32_t i = tensor->shape.ndim - 1; i >= 0; i--) {
        tensor->stride[axes[i]] = stride;
        stride *= tensor->shape.dim[axes[i]];
    }
}

void lamina__tensor_view(lamina_tensor *tensor, const lamina_shape *shape, void *data) {
    static const int row_major[LAMINA_MAX_DIMS] = {0, 1, 2, 3, 4, 5, 6, 7};
    static const int channels_last[4] = {0, 2, 3, 1};
    *tensor = (lamina_tensor){.struct_size = sizeof *tensor, .shape = *shape, .data = data};
    dense_strides(tensor, shape->ndim == 4 ? channels_last : row_major);
}

void lamina__weight_view(lamina_tensor *tensor, const lamina_weight *weight, void *data) {
    static const int row_major[LAMINA_MAX_DIMS] = {0, 1, 2, 3, 4, 5, 6, 7};
    *tensor = (lamina_tensor){.struct_size = sizeof *tensor, .shape = weight->shape, .data = data};
    if (weight->order_ndim == 0) {
        dense_strides(tensor, row_major);
        return;
    }
    tensor->shape.ndim = weight->order_ndim;
    for (int32_t i = 0; i < LAMINA_MAX_DIMS; i++) {
        tensor->shape.dim[i] = i < weight->order_ndim ? weight->order_dim[i] : 0;
        tensor->stride[i] = i < weight->order_ndim ? weight->order_stride[i] : 0;
    }
}

/* Walks the tensor in logical row-major order and copies one way or the other. */
static void convert(const lamina_tensor *tensor, float *logical, int to_logical) {
    const int32_t ndim = tensor->shape.ndim;
    int64_t index[LAMINA_MAX_DIMS] = {0};
    const int64_t count = lamina__shape_count(&tensor->shape);
    float *data = tensor->data;
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        if (to_logical) {
            logical[i] = data[at];
        } else {
            data[at] = logical[i];
        }
        for (int32_t axis = ndim - 1; axis >= 0; axis--) {
            at += tensor->stride[axis];
            if (++index[axis] < tensor->shape.dim[axis]) {
                break;
            }
            at -= tensor->stride[axis] * tensor->shape.dim[axis];
            index[axis] = 0;
        }
    }
}

void lamina__tensor_to_logical(const lamina_tensor *tensor, float *dst) {
    convert(tensor, dst, 1);
}

void lamina__tensor_from_logical(const lamina_tensor *tensor, const float *src) {
    /* convert() writes to the tensor only; src is read. */
    convert(tensor, (float *)(uintptr_t)src, 0);
}
