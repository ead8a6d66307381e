/* A network that does not fit into memory is refused before anything is allocated, and its largest
 * part is named. */
#include "graph/net_impl.h"
#include "net_support.h"

static lamina__net_options options_for(int64_t side, bool training, bool shapes_only) {
    return (lamina__net_options){.channels = 1,
                                 .height = side,
                                 .width = side,
                                 .batch = 64,
                                 .classes = 10,
                                 .threads = 2,
                                 .training = training,
                                 .shapes_only = shapes_only,
                                 .kernels = "reference",
                                 .seed = 1};
}

/* What a plan needs and what it has is compared to the byte. */
static void compared_with_what_is_left(void) {
    const lamina__net_options options = options_for(28, true, true);
    test_net t = test_net_make("- conv: {name: c, filters: 8, kernel: 5}\n"
                               "- linear: {name: last, units: 10}\n"
                               "- softmax_loss\n",
                               &options);
    TEST_TEXT(test_net_error(&t), "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(t.net);
    const lamina__memory memory = lamina__net_memory(t.net);
    const int64_t needed = (int64_t)(2 * memory.weights + memory.gradients + memory.activations +
                                     memory.packed); /* twice: momentum */
    lamina_error error = {0};
    CU_ASSERT_EQUAL(lamina__net_check_memory(t.net, needed, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_check_memory(t.net, INT64_MAX, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__net_check_memory(t.net, needed - 1, &error), LAMINA_ERROR_MEMORY);
    TEST_CONTAINS(error.message, "the network needs ");
    CU_ASSERT_EQUAL(lamina__net_check_memory(t.net, 0, &error), LAMINA_ERROR_MEMORY);
    TEST_CONTAINS(error.message,
                  " MB, 0.0 MB are available; the largest part is c's output (1.2 MB)"
                  ": use a smaller batch, or fewer filters or units");
    test_net_free(&t);
}

/* More than any machine has: 2^40 floats, nearly. Refused, whatever malloc would have said. */
static void too_large(void) {
    static const struct {
        const char *layers, *message;
        bool training;
    } cases[] = {
        {"- conv: {name: wide, filters: 262144, kernel: 1}\n- relu\n"
         "- max_pool: {kernel: 255}\n- linear: {units: 10}\n- softmax_loss\n",
         "the largest part is wide's output (4363.8 GB): use a smaller batch, or fewer filters or "
         "units",
         true},
        {"- linear: {name: big, units: 16777216}\n- linear: {units: 10}\n- softmax_loss\n",
         "the largest part is big's weights and their gradients (17455.3 GB): use fewer filters or "
         "units, or fewer threads",
         true},
        {"- linear: {name: big, units: 16777216}\n- linear: {units: 10}\n- softmax_loss\n",
         "the largest part is big's weights (4363.8 GB): use fewer filters or units", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t peak = lamina__alloc_count().peak_bytes;
        const lamina__net_options options = options_for(255, cases[i].training, false);
        test_net t = test_net_make(cases[i].layers, &options);
        CU_ASSERT_EQUAL(t.status, LAMINA_ERROR_MEMORY);
        CU_ASSERT_PTR_NULL(t.net);
        TEST_CONTAINS(test_net_error(&t), "error: the network needs ");
        TEST_CONTAINS(test_net_error(&t), cases[i].message);
        test_net_free(&t);
        CU_ASSERT(lamina__alloc_count().peak_bytes < peak + 100000000);
    }
}

LAMINA_TESTS({"compared with what is left", compared_with_what_is_left}, {"too large", too_large})
