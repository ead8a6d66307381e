/* Source specs: from `data.train: {...}` to an opened source and back to the resolved config. */
#include "base/alloc.h"
#include "data/source.h"
#include "support.h"

typedef struct parsed {
    lamina__doc *doc;
    lamina__diags diags;
    lamina__source_spec spec;
    lamina_status status;
} parsed;

static parsed parse(const char *yaml) {
    parsed p = {0};
    CU_ASSERT_FATAL(lamina__doc_parse(yaml, strlen(yaml), "c.yaml", &p.diags, &p.doc) == LAMINA_OK);
    p.status = lamina__source_read_spec(p.doc->root, "train", &p.spec, &p.diags);
    return p;
}

static void release(parsed *p) {
    lamina__source_spec_free(&p->spec);
    lamina__diags_free(&p->diags);
    lamina__doc_free(p->doc);
}

static void test_synthetic(void) {
    uint64_t live = lamina__alloc_count().live;
    parsed p = parse("{type: synthetic, samples: 12, height: 5, width: 4, channels: 3}");
    lamina__source *source = NULL;
    lamina_error error = {0};
    lamina__text text = {0};
    CU_ASSERT_EQUAL(p.status, LAMINA_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(p.spec.reader);
    TEST_TEXT(p.spec.reader->name, "synthetic");
    CU_ASSERT_EQUAL(lamina__source_open(&p.spec, &source, &error), LAMINA_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_EQUAL(source->count, 12);
    CU_ASSERT_EQUAL(source->channels, 3);
    CU_ASSERT_EQUAL(source->height, 5);
    CU_ASSERT_EQUAL(source->width, 4);
    lamina__source_close(source);
    lamina__source_close(NULL);

    /* What is written reads back as the same. */
    lamina__source_spec_write(&p.spec, &text);
    TEST_TEXT(text.data, "{type: synthetic, samples: 12, first: 0, channels: 3, height: 5, "
                         "width: 4, classes: 10, seed: 1, targets: 0}");
    parsed again = parse(text.data);
    CU_ASSERT_EQUAL(again.status, LAMINA_OK);
    CU_ASSERT(again.spec.config != NULL &&
              memcmp(again.spec.config, p.spec.config, p.spec.reader->config_size) == 0);
    release(&again);
    lamina__text_free(&text);
    release(&p);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void test_idx(void) {
    parsed p = parse("{type: idx, images: 'a, b', labels: l}");
    lamina__source *source = NULL;
    lamina_error error = {0};
    lamina__text text = {0};
    CU_ASSERT_EQUAL(p.status, LAMINA_OK);
    lamina__source_spec_write(&p.spec, &text);
    parsed again = parse(text.data);
    CU_ASSERT_EQUAL(again.status, LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__source_open(&again.spec, &source, &error), LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "there is no such file");
    release(&again);
    lamina__text_free(&text);
    release(&p);
}

static void test_not_given(void) {
    lamina__source_spec spec = {.config = &spec};
    lamina__diags diags = {0};
    CU_ASSERT_EQUAL(lamina__source_read_spec(NULL, "test", &spec, &diags), LAMINA_OK);
    CU_ASSERT_PTR_NULL(spec.reader);
    CU_ASSERT_PTR_NULL(spec.config);
    lamina__source_spec_free(&spec);
    parsed p = parse("~");
    CU_ASSERT_EQUAL(p.status, LAMINA_OK);
    CU_ASSERT_PTR_NULL(p.spec.reader);
    release(&p);
}

static void refuse(const char *yaml, const char *message) {
    uint64_t live = lamina__alloc_count().live;
    parsed p = parse(yaml);
    CU_ASSERT_EQUAL(p.status, LAMINA_ERROR_CONFIG);
    CU_ASSERT_EQUAL(p.diags.count, 1);
    CU_ASSERT_PTR_NULL(p.spec.reader);
    TEST_CONTAINS(p.diags.text[0], message);
    release(&p);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void test_refused(void) {
    refuse("{type: idxx, images: a, labels: b}",
           "c.yaml:1:8: error: data.train: unknown type \"idxx\"; did you mean \"idx\"?");
    refuse("{type: parquet}", "unknown type \"parquet\"; it is one of idx, synthetic");
    refuse("{images: a}", "the key \"type\" is missing; it is one of idx, synthetic");
    refuse("{type: [idx]}", "it is one of idx, synthetic");
    refuse("idx", "expected a map like {type: idx, images: ..., labels: ...}");
    refuse("[idx]", "expected a map");
    refuse("{type: idx, images: a}",
           "data.train (idx): needs \"labels\" or, for regression, \"targets\"");
    refuse("{type: idx, images: a, labels: b, targets: c}", "and not both");
    refuse("{type: idx, images: a, labels: b, label: c}", "did you mean \"labels\"");
    refuse("{type: synthetic, samples: 0}", "samples");
    refuse("{type: synthetic, classes: 1e9}", "classes");
}

static void test_out_of_memory(void) {
    const char *yaml = "{type: synthetic, samples: 12}";
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__doc *doc = NULL;
        lamina__diags diags = {0};
        lamina__source_spec spec = {0};
        CU_ASSERT_FATAL(lamina__doc_parse(yaml, strlen(yaml), "c.yaml", &diags, &doc) == LAMINA_OK);
        test_fail_allocation(k);
        lamina_status status = lamina__source_read_spec(doc->root, "train", &spec, &diags);
        long failed = test_fail_allocation(0);
        CU_ASSERT(failed ? status != LAMINA_OK && diags.failed : status == LAMINA_OK);
        CU_ASSERT(failed ? spec.config == NULL : spec.config != NULL);
        lamina__source_spec_free(&spec);
        lamina__diags_free(&diags);
        lamina__doc_free(doc);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        if (!failed) {
            CU_ASSERT(k > 1);
            break;
        }
    }
}

LAMINA_TESTS({"synthetic, there and back", test_synthetic}, {"idx, there and back", test_idx},
             {"a split that is not given", test_not_given}, {"what is refused", test_refused},
             {"every allocation fails once", test_out_of_memory})
