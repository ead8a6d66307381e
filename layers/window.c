/* The geometry of windows that slide over an image: from config values to numbers of pixels. */
#include "layers/window.h"

#include <inttypes.h>
#include <stdio.h>

const char *const LAMINA__REAL_NAME(padding_words)[] = {"same", NULL};
const char *const LAMINA__REAL_NAME(stride_words)[] = {"kernel", NULL};

static int32_t fail_count(lamina_call *call, const char *key, const char *forms, int32_t count) {
    return call->host->fail(call, LAMINA_ERROR_CONFIG, "%s must be %s, not a list of %d", key,
                            forms, (int)count);
}

/* Lists of one value fill both axes, lists of two are [height, width]. */
static int32_t check_counts(lamina_call *call, const lamina__window_config *config) {
    const int32_t pads = config->padding->word == 0 ? 1 : config->padding->count;
    if (config->kernel->count > 2) {
        return fail_count(call, "kernel", "one number or [height, width]", config->kernel->count);
    }
    if (config->stride->count > 2) {
        return fail_count(call, "stride", "one number or [height, width]", config->stride->count);
    }
    if (config->dilation->count > 2) {
        return fail_count(call, "dilation", "one number or [height, width]",
                          config->dilation->count);
    }
    if (pads == 3 || pads > 4) {
        return fail_count(call, "padding",
                          "one number, [height, width] or [top, left, bottom, right]", pads);
    }
    return LAMINA_OK;
}

/* What the config says of axis i, 0: y, 1: x. */
static void configure(const lamina__window_config *config, int i, lamina__axis *axis) {
    axis->kernel = config->kernel->value[i];
    axis->stride = config->stride->word == 0 ? axis->kernel : config->stride->value[i];
    axis->dilation = config->dilation->value[i];
    axis->extent = (axis->kernel - 1) * axis->dilation + 1;
    axis->pad_begin = config->padding->value[i];
    axis->pad_end = config->padding->value[config->padding->count == 4 ? 2 + i : i];
}

/* Padding that makes out = ceil(in / stride), the smaller half first. */
static void pad_same(lamina__axis *axis) {
    const int64_t out = (axis->in - 1) / axis->stride + 1;
    int64_t total = (out - 1) * axis->stride + axis->extent - axis->in;
    total = total > 0 ? total : 0;
    axis->pad_begin = total / 2;
    axis->pad_end = total - total / 2;
}

/* Pixels that a window can move by inside the padded image; negative: it does not fit. */
static int64_t room_of(const lamina__axis *axis) {
    return axis->in + axis->pad_begin + axis->pad_end - axis->extent;
}

/* With ceil_mode one window is let pass the end by less than a stride, though it is the first. */
static int32_t fits(const lamina__axis *axis, int32_t ceil_mode) {
    return room_of(axis) + (ceil_mode ? axis->stride - 1 : 0) >= 0;
}

/* out = floor or ceil of (in + padding - extent) / stride, + 1. */
static void count_windows(lamina__axis *axis, int32_t ceil_mode) {
    const int64_t room = room_of(axis);
    axis->out = room < 0 ? 1 : room / axis->stride + 1;
    if (ceil_mode && room > 0 && room % axis->stride != 0 &&
        axis->out * axis->stride < axis->in + axis->pad_begin) {
        axis->out++; /* the window after the last whole one begins inside, before the far padding */
    }
    const int64_t reach = (axis->out - 1) * axis->stride - axis->pad_begin + axis->extent;
    axis->overhang = reach > axis->in ? reach - axis->in : 0;
}

/* "kernel 7 does not fit input 5x5; use padding" */
static int32_t fail_to_fit(lamina_call *call, const lamina__window *window) {
    const lamina__axis *y = &window->y, *x = &window->x;
    const int padded = y->pad_begin + y->pad_end + x->pad_begin + x->pad_end > 0;
    char kernel[64], dilated[64] = "";

    if (y->kernel == x->kernel) {
        snprintf(kernel, sizeof kernel, "%" PRId64, y->kernel);
    } else {
        snprintf(kernel, sizeof kernel, "%" PRId64 "x%" PRId64, y->kernel, x->kernel);
    }
    if (y->dilation > 1 || x->dilation > 1) {
        snprintf(dilated, sizeof dilated, " (dilated to %" PRId64 "x%" PRId64 ")", y->extent,
                 x->extent);
    }
    return call->host->fail(call, LAMINA_ERROR_SHAPE,
                            "kernel %s%s does not fit input %" PRId64 "x%" PRId64 "%s; use %s",
                            kernel, dilated, y->in, x->in, padded ? " with its padding" : "",
                            padded ? "more padding" : "padding");
}

int32_t LAMINA__REAL_NAME(window_setup)(lamina_call *call, const lamina__window_config *config,
                                        const lamina_shape *in, lamina__window *window) {
    int32_t status = check_counts(call, config);
    if (status != LAMINA_OK) {
        return status;
    }
    lamina__axis *const axes[2] = {&window->y, &window->x};

    for (int i = 0; i < 2; i++) {
        lamina__axis *axis = axes[i];
        axis->in = in->dim[2 + i];
        configure(config, i, axis);
        if (config->padding->word == 0) {
            pad_same(axis);
        }
        const int64_t most = axis->pad_begin > axis->pad_end ? axis->pad_begin : axis->pad_end;
        if (config->half_padding && most > axis->extent / 2) {
            return call->host->fail(call, LAMINA_ERROR_CONFIG,
                                    "padding %" PRId64 " is more than half the kernel, %" PRId64
                                    "%s",
                                    most, axis->kernel, axis->dilation > 1 ? ", dilated" : "");
        }
    }
    for (int i = 0; i < 2; i++) {
        if (!fits(axes[i], config->ceil_mode)) {
            return fail_to_fit(call, window);
        }
        count_windows(axes[i], config->ceil_mode);
    }
    return LAMINA_OK;
}

int32_t LAMINA__REAL_NAME(window_setup_transposed)(lamina_call *call,
                                                   const lamina__window_config *config,
                                                   const lamina_int_list *output_padding,
                                                   const lamina_shape *in, lamina__window *window) {
    lamina__axis *const axes[2] = {&window->y, &window->x};
    int32_t status = check_counts(call, config);

    for (int i = 0; status == LAMINA_OK && i < 2; i++) {
        lamina__axis *axis = axes[i];
        const int64_t more = output_padding->value[i];
        axis->out = in->dim[2 + i];
        configure(config, i, axis);
        if (more >= axis->stride && more >= axis->dilation) {
            status = call->host->fail(
                call, LAMINA_ERROR_CONFIG,
                "output_padding %" PRId64 " must be smaller than the stride or the dilation", more);
        }
        const int64_t reach = (axis->out - 1) * axis->stride + axis->extent;
        axis->in = reach - axis->pad_begin - axis->pad_end + more;
        axis->overhang = axis->pad_end > more ? axis->pad_end - more : 0;
    }
    if (status == LAMINA_OK && (window->y.in < 1 || window->x.in < 1)) {
        status = call->host->fail(call, LAMINA_ERROR_SHAPE,
                                  "padding cuts away all of the output of input %" PRId64
                                  "x%" PRId64 "; use less padding or a larger kernel",
                                  window->y.out, window->x.out);
    }
    return status;
}
