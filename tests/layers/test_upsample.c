/* upsample: against the double twin and finite differences, and both modes by their definitions. */
#include "layer_checks.h"

#include "base/alloc.h"

#include <math.h>

static void shapes(void) {
    static const layer_case cases[] = {
        {"{scale: 2}", "[2, 3, 5, 7]"},
        {"{scale: 3}", "[2, 1, 5, 4]"},
        {"{scale: 2}", "[1, 17, 3, 3]"},
        {"{scale: [1, 4]}", "[2, 33, 4, 3]"},
        {"{scale: [3, 1]}", "[2, 2, 4, 3]"},
        {"{scale: 1}", "[2, 3, 4, 5]"},
        {"{scale: 7}", "[3, 5, 1, 1]"},
        {"{scale: 2, mode: bilinear}", "[2, 3, 5, 7]"},
        {"{scale: 3, mode: bilinear}", "[2, 1, 5, 4]"},
        {"{scale: 2, mode: bilinear}", "[1, 17, 3, 3]"},
        {"{scale: [1, 4], mode: bilinear}", "[2, 33, 4, 3]"},
        {"{scale: [5, 2], mode: bilinear}", "[2, 16, 1, 6]"},
        {"{scale: 1, mode: bilinear}", "[2, 3, 4, 5]"},
        {"{scale: 4, mode: bilinear}", "[3, 5, 1, 1]"},
        {"{scale: 2, mode: bilinear, align_corners: true}", "[2, 3, 5, 7]"},
        {"{scale: 3, mode: bilinear, align_corners: true}", "[1, 17, 2, 4]"},
        {"{scale: [1, 2], mode: bilinear, align_corners: true}", "[2, 8, 3, 1]"},
        {"{scale: 4, mode: bilinear, align_corners: true}", "[3, 5, 1, 1]"},
        {"{scale: 1, mode: bilinear, align_corners: true}", "[2, 3, 1, 5]"},
    };
    LAYER_CHECK("upsample", cases);
}

/* ---- The definition ---- */

enum { H = 4, W = 5 };

/* Pixel o of an axis of n pixels enlarged s times lies so far from pixel p, if less than 1: its
 * weight. PyTorch's formula, area_pixel_compute_source_index(). */
static double weight_of(int mode, int64_t n, int64_t s, int64_t o, int64_t p) {
    double at = 0;
    if (mode == 0) {
        return o / s == p ? 1 : 0;
    }
    if (mode == 1) {
        at = fmax(0, ((double)o + 0.5) / (double)s - 0.5);
    } else if (s * n > 1) {
        at = (double)o * (double)(n - 1) / (double)(s * n - 1);
    }
    at = fmin(at, (double)(n - 1)); /* past the last pixel's centre it is that pixel */
    return fmax(0, 1 - fabs(at - (double)p));
}

static void formula_matches(void) {
    static const char *const modes[] = {"nearest", "bilinear", "bilinear, align_corners: true"};
    layer_registries open = layer_open();
    for (int mode = 0; mode < 3; mode++) {
        for (int64_t s = 1; s <= 4; s++) {
            char text[256];
            layer_run run;
            double worst = 0;
            snprintf(text, sizeof text, "{input: [2, 3, 4, 5], params: {scale: [%d, 3], mode: %s}}",
                     (int)s, modes[mode]);
            if (layer_forward(open, "upsample", text, &run)) {
                CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 2), H * s);
                CU_ASSERT_EQUAL_FATAL(layer_dim(&run, LAMINA__ROLE_OUT, 3), W * 3);
                for (int64_t i = 0; i < 2 * 3 * H * s * W * 3; i++) {
                    const int64_t ox = i % (W * 3), oy = i / (W * 3) % (H * s);
                    const int64_t nc = i / (W * 3 * H * s);
                    double sum = 0;
                    for (int64_t p = 0; p < H * W; p++) {
                        sum += weight_of(mode, H, s, oy, p / W) * weight_of(mode, W, 3, ox, p % W) *
                               layer_at(&run, LAMINA__ROLE_IN, 0, nc / 3, nc % 3, p / W, p % W);
                    }
                    const double got = layer_at(&run, LAMINA__ROLE_OUT, 0, nc / 3, nc % 3, oy, ox);
                    worst = fmax(worst, fabs(got - sum));
                }
            }
            CU_ASSERT(worst <= (mode == 0 ? 0 : 1e-6));
            layer_run_free(&run);
        }
    }
    layer_close(open);
}

static void own(void) {
    layer_check_own("upsample");
}

static void refuses(void) {
    layer_refuses("upsample", "{input: [2, 3], params: {scale: 2}}", "image");
    layer_refuses("upsample", "{input: [2, 3, 4, 4], params: {scale: 0}}", "scale");
    layer_refuses("upsample", "{input: [2, 3, 4, 4], params: {}}", "scale");
    layer_refuses("upsample", "{input: [2, 3, 4, 4], params: {scale: 2, mode: cubic}}", "bilinear");
    layer_refuses("upsample", "{input: [2, 3, 4, 4], params: {scale: 2, align_corners: true}}",
                  "mode: bilinear");
}

/* Two enlargements in a row can be beyond any memory: nothing is made for one that is refused. */
static void refuses_at_once(void) {
    const uint64_t before = lamina__alloc_count().peak_bytes;
    layer_refuses("upsample", "{input: [8, 1, 8192, 1], params: {scale: 1024}}",
                  "an image of 8388608x1024 is too large: an axis has at most 4194304 pixels");
    layer_refuses("upsample", "{input: [64, 64, 32, 32], params: {scale: 1024}}",
                  "too many elements");
    CU_ASSERT(lamina__alloc_count().peak_bytes - before < 1000000);
}

LAMINA_TESTS({"shapes", shapes}, {"matches the formula", formula_matches}, {"its own cases", own},
             {"refuses bad shapes and parameters", refuses},
             {"refuses too large images at once", refuses_at_once})
