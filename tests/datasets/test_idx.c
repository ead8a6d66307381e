/* The idx reader: what it reads, and that no file, however damaged, gets past its checks. */
#include "base/alloc.h"
#include "data/source.h"
#include "support.h"

#include <sys/stat.h>
#include <zlib.h>

extern const lamina__reader lamina__idx_reader;

#define MAX_FILE 4096

static char *folder;

/* ---- Making files -------------------------------------------------------------------------- */

typedef struct bytes {
    size_t size;
    uint8_t data[MAX_FILE];
} bytes;

/* An IDX file with the elements 0, step, 2 * step, ... modulo 256. */
static bytes make_idx(int type, int ndim, const uint32_t *dim, int step) {
    bytes file = {0};
    size_t elements = 1;
    file.data[2] = (uint8_t)type;
    file.data[3] = (uint8_t)ndim;
    file.size = 4;
    for (int i = 0; i < ndim; i++) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            file.data[file.size++] = (uint8_t)(dim[i] >> shift);
        }
        elements *= dim[i];
    }
    for (size_t i = 0; i < elements && file.size < MAX_FILE; i++) {
        file.data[file.size++] = (uint8_t)(i * (size_t)step);
    }
    return file;
}

#define SAMPLES 6

/* Six images of 4 x 5 and labels 0, 1, ... 5. */
static bytes good_images(void) {
    return make_idx(8, 3, (const uint32_t[]){SAMPLES, 4, 5}, 7);
}

static bytes good_labels(void) {
    return make_idx(8, 1, (const uint32_t[]){SAMPLES}, 1);
}

static char *write_file(const char *name, const bytes *file) {
    return test_write_bytes(folder, name, file->data, file->size);
}

static bytes gzip(const bytes *plain) {
    bytes packed = {0};
    z_stream z = {0};
    CU_ASSERT_FATAL(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (uint8_t *)plain->data;
    z.avail_in = (unsigned)plain->size;
    z.next_out = packed.data;
    z.avail_out = MAX_FILE;
    CU_ASSERT_FATAL(deflate(&z, Z_FINISH) == Z_STREAM_END);
    packed.size = MAX_FILE - z.avail_out;
    deflateEnd(&z);
    return packed;
}

/* ---- Opening them -------------------------------------------------------------------------- */

static void *field(void *config, const char *name) {
    for (size_t i = 0; i < lamina__idx_reader.n_params; i++) {
        if (strcmp(lamina__idx_reader.params[i].name, name) == 0) {
            return (char *)config + lamina__idx_reader.params[i].offset;
        }
    }
    CU_FAIL_FATAL("no such parameter");
    return NULL;
}

/* Of the field `layout`, as its choices are listed. */
enum { NCHW, NHWC };

static lamina_status open_some(const char *images, const char *labels, int64_t samples,
                               lamina__source **source, lamina_error *error) {
    _Alignas(16) char config[64] = {0};
    CU_ASSERT_FATAL(lamina__idx_reader.config_size <= sizeof(config));
    *(const char **)field(config, "images") = images;
    *(const char **)field(config, "labels") = labels;
    *(int64_t *)field(config, "samples") = samples;
    return lamina__idx_reader.open(config, source, error);
}

/* Expects `status`, a message with `part`, and nothing left behind. */
static void refuse(const char *images, const char *labels, lamina_status status, const char *part) {
    lamina__source *source = (lamina__source *)1;
    lamina_error error = {0};
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT_EQUAL(open_some(images, labels, 0, &source, &error), status);
    CU_ASSERT_PTR_NULL(source);
    CU_ASSERT_EQUAL(error.code, status);
    TEST_CONTAINS(error.message, part);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static lamina__source *open_good(const char *images, const char *labels) {
    lamina__source *source = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(open_some(images, labels, 0, &source, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    return source;
}

static lamina__source *open_layout(const char *images, const char *labels, int32_t layout) {
    _Alignas(16) char config[64] = {0};
    lamina__source *source = NULL;
    lamina_error error = {0};
    *(const char **)field(config, "images") = images;
    *(const char **)field(config, "labels") = labels;
    *(int32_t *)field(config, "layout") = layout;
    CU_ASSERT_EQUAL(lamina__idx_reader.open(config, &source, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    return source;
}

static void begin(void) {
    if (folder == NULL) {
        folder = test_tmpdir();
    }
}

static char *images_path, *labels_path;

static void begin_with_files(void) {
    begin();
    bytes images = good_images(), labels = good_labels();
    images_path = write_file("images", &images);
    labels_path = write_file("labels", &labels);
}

/* ---- Tests --------------------------------------------------------------------------------- */

static void check_contents(const lamina__source *source, const bytes *images) {
    CU_ASSERT_EQUAL(source->count, SAMPLES);
    CU_ASSERT_EQUAL(source->channels, 1);
    CU_ASSERT_EQUAL(source->height, 4);
    CU_ASSERT_EQUAL(source->width, 5);
    CU_ASSERT_EQUAL(source->classes, SAMPLES);
    for (int i = 0; i < SAMPLES; i++) {
        uint8_t buffer[20];
        const uint8_t *pixels = source->sample(source, i, buffer);
        CU_ASSERT_EQUAL(source->labels[i], i);
        CU_ASSERT(memcmp(pixels, images->data + 16 + 20 * i, 20) == 0);
    }
}

static void test_plain_and_gzip(void) {
    begin_with_files();
    bytes images = good_images(), labels = good_labels();
    bytes packed_images = gzip(&images), packed_labels = gzip(&labels);
    /* The kind is in the bytes, not in the name. */
    char *images_gz = write_file("packed.bin", &packed_images);
    char *labels_gz = write_file("labels.gz", &packed_labels);
    char *plain_gz = write_file("plain.gz", &images);
    const char *pairs[][2] = {
        {images_path, labels_path}, {images_gz, labels_gz}, {plain_gz, labels_gz}};
    uint64_t fingerprint = 0, live = lamina__alloc_count().live;
    for (size_t i = 0; i < 3; i++) {
        lamina__source *source = open_good(pairs[i][0], pairs[i][1]);
        if (source != NULL) {
            check_contents(source, &images);
            TEST_TEXT(source->description, pairs[i][0]);
            CU_ASSERT(i == 0 || source->fingerprint == fingerprint);
            fingerprint = source->fingerprint;
        }
        lamina__source_close(source);
    }
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void test_gz_is_found(void) {
    begin_with_files();
    bytes images = good_images(), packed = gzip(&images);
    write_file("only.gz", &packed);
    lamina__source *source = open_good(test_path(folder, "only"), labels_path);
    if (source != NULL) {
        check_contents(source, &images);
        TEST_TEXT(source->description, test_path(folder, "only.gz"));
    }
    lamina__source_close(source);
}

static void test_gzip_members(void) {
    begin_with_files();
    bytes images = good_images(), halves[2] = {{0}, {0}}, joined = {0};
    halves[0].size = 50;
    memcpy(halves[0].data, images.data, 50);
    halves[1].size = images.size - 50;
    memcpy(halves[1].data, images.data + 50, images.size - 50);
    for (int i = 0; i < 2; i++) {
        bytes packed = gzip(&halves[i]);
        memcpy(joined.data + joined.size, packed.data, packed.size);
        joined.size += packed.size;
    }
    lamina__source *source = open_good(write_file("members", &joined), labels_path);
    if (source != NULL) {
        check_contents(source, &images);
    }
    lamina__source_close(source);
}

static void test_channels(void) {
    begin_with_files();
    bytes planar = make_idx(8, 4, (const uint32_t[]){SAMPLES, 3, 2, 5}, 1);
    lamina__source *source = open_good(write_file("rgb", &planar), labels_path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_EQUAL(source->channels, 3);
    CU_ASSERT_EQUAL(source->height, 2);
    CU_ASSERT_EQUAL(source->width, 5);
    for (int n = 0; n < SAMPLES; n++) {
        const uint8_t *pixels = source->sample(source, n, NULL);
        for (int i = 0; i < 30; i++) {
            int c = i % 3, yx = i / 3;
            CU_ASSERT_EQUAL(pixels[i], (uint8_t)(30 * n + 10 * c + yx));
        }
    }
    lamina__source_close(source);
}

/* N,H,W,C: the same images as from N,C,H,W; the layout says nothing about N,H,W. */
static void test_channels_last(void) {
    begin_with_files();
    const uint32_t dim[] = {SAMPLES, 2, 5, 3};
    bytes file = make_idx(8, 4, dim, 1);
    bytes planar = make_idx(8, 4, (const uint32_t[]){SAMPLES, 3, 2, 5}, 0);
    for (size_t i = 0; i < (size_t)SAMPLES * 30; i++) {
        size_t c = i % 3, yx = i / 3 % 10, n = i / 30;
        planar.data[20 + 30 * n + 10 * c + yx] = file.data[20 + i];
    }
    lamina__source *other = open_good(write_file("planar", &planar), labels_path);
    lamina__source *source = open_layout(write_file("rgb", &file), labels_path, NHWC);
    CU_ASSERT_EQUAL(source->channels, 3);
    CU_ASSERT_EQUAL(source->height, 2);
    CU_ASSERT_EQUAL(source->width, 5);
    for (int n = 0; n < SAMPLES; n++) {
        const uint8_t *pixels = source->sample(source, n, NULL);
        CU_ASSERT(memcmp(pixels, file.data + 20 + (size_t)n * 30, 30) == 0);
    }
    CU_ASSERT(other != NULL && other->fingerprint == source->fingerprint);
    lamina__source_close(other);
    lamina__source_close(source);
    bytes grey = good_images();
    source = open_layout(images_path, labels_path, NHWC);
    check_contents(source, &grey);
    lamina__source_close(source);
}

static void test_first_samples(void) {
    begin_with_files();
    lamina__source *source = NULL, *all = open_good(images_path, labels_path);
    lamina_error error = {0};
    CU_ASSERT_EQUAL(open_some(images_path, labels_path, 2, &source, &error), LAMINA_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_EQUAL(source->count, 2);
    CU_ASSERT_EQUAL(source->classes, 2);
    CU_ASSERT(all != NULL && source->fingerprint != all->fingerprint);
    lamina__source_close(source);
    lamina__source_close(all);
    CU_ASSERT_EQUAL(open_some(images_path, labels_path, SAMPLES + 1, &source, &error),
                    LAMINA_ERROR_CONFIG);
    TEST_CONTAINS(error.message, "samples: 7 are wanted but");
}

static void test_fingerprint(void) {
    begin_with_files();
    lamina__source *before = open_good(images_path, labels_path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(before);
    bytes original = good_images();
    for (size_t i = 16; i < original.size; i++) {
        bytes changed = original;
        changed.data[i] ^= 0x80;
        if (i + 8 < changed.size) {
            changed.data[i + 8] ^= 0x80; /* would cancel in a hash without mixing */
        }
        lamina__source *after = open_good(write_file("changed", &changed), labels_path);
        CU_ASSERT(after != NULL && after->fingerprint != before->fingerprint);
        lamina__source_close(after);
    }
    bytes labels = good_labels();
    labels.data[8] = 1;
    lamina__source *after = open_good(images_path, write_file("changed", &labels));
    CU_ASSERT(after != NULL && after->fingerprint != before->fingerprint);
    lamina__source_close(after);
    lamina__source_close(before);
}

static void test_cut_everywhere(void) {
    begin_with_files();
    bytes images = good_images(), labels = good_labels();
    for (size_t size = 0; size < images.size; size++) {
        bytes cut = images;
        cut.size = size;
        refuse(write_file("cut", &cut), labels_path, LAMINA_ERROR_DATA,
               size == 0   ? "cut: is empty; get the file again"
               : size < 16 ? "cut: ends inside its header"
                           : "is cut short: its header says 6 x 4 x 5 bytes, more");
    }
    for (size_t size = 0; size < labels.size; size++) {
        bytes cut = labels;
        cut.size = size;
        refuse(images_path, write_file("cut", &cut), LAMINA_ERROR_DATA, "cut: ");
    }
    images.data[images.size++] = 0;
    refuse(write_file("long", &images), labels_path, LAMINA_ERROR_DATA,
           "long: is longer than the 120 bytes (6 x 4 x 5)");
}

static void test_damaged_gzip(void) {
    begin_with_files();
    bytes images = good_images(), packed = gzip(&images);
    for (size_t size = 2; size < packed.size; size++) {
        bytes cut = packed;
        cut.size = size;
        refuse(write_file("cut", &cut), labels_path, LAMINA_ERROR_DATA,
               "the compressed data is cut short");
    }
    for (size_t i = packed.size - 8; i < packed.size; i++) { /* CRC and length */
        bytes changed = packed;
        changed.data[i] ^= 1;
        refuse(write_file("bad", &changed), labels_path, LAMINA_ERROR_DATA,
               "the compressed data is damaged (incorrect");
    }
    bytes longer = packed;
    longer.data[longer.size++] = 'x';
    refuse(write_file("long", &longer), labels_path, LAMINA_ERROR_DATA,
           "something that is not gzip follows");
    images.size -= 1;
    packed = gzip(&images);
    refuse(write_file("short", &packed), labels_path, LAMINA_ERROR_DATA,
           "is cut short: 119 of 120 bytes (6 x 4 x 5) follow the header");
    images.size += 2;
    packed = gzip(&images);
    refuse(write_file("long", &packed), labels_path, LAMINA_ERROR_DATA, "is longer than the 120");
}

/* Any bit of the compressed file may be wrong: an error or, where the bit means nothing (parts of
 * gzip's header, padding), the same data; never a crash or other pixels. */
static void test_any_gzip_byte(void) {
    begin_with_files();
    bytes images = good_images(), packed = gzip(&images);
    for (size_t i = 2; i < packed.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes changed = packed;
            lamina__source *source = NULL;
            lamina_error error = {0};
            changed.data[i] ^= (uint8_t)(1 << bit);
            lamina_status status =
                open_some(write_file("bad", &changed), labels_path, 0, &source, &error);
            if (status == LAMINA_OK) {
                check_contents(source, &images);
            } else {
                CU_ASSERT_EQUAL(status, LAMINA_ERROR_DATA);
            }
            lamina__source_close(source);
        }
    }
}

static void test_wrong_headers(void) {
    begin_with_files();
    static const uint32_t dim[] = {SAMPLES, 4, 5, 1};
    bytes floats = make_idx(0x0d, 3, dim, 1), deep = make_idx(8, 2, dim, 1);
    bytes unknown = make_idx(7, 3, dim, 1), text = {.size = 40, .data = "<html>not found"};
    refuse(write_file("floats", &floats), labels_path, LAMINA_ERROR_DATA,
           "holds 32-bit floating-point numbers (type 0x0d); convert it to unsigned bytes");
    refuse(write_file("unknown", &unknown), labels_path, LAMINA_ERROR_DATA, "of an unknown type");
    refuse(write_file("deep", &deep), labels_path, LAMINA_ERROR_DATA,
           "has 2 dimensions where images have 3");
    refuse(write_file("text", &text), labels_path, LAMINA_ERROR_DATA,
           "is no IDX file: it begins with 0x3c68746d, not with 0x00000803");
    refuse(labels_path, labels_path, LAMINA_ERROR_DATA, "`images` and `labels` may be swapped");
    refuse(images_path, images_path, LAMINA_ERROR_DATA, "`images` and `labels` may be swapped");
    for (int i = 0; i < 3; i++) {
        uint32_t zero[] = {SAMPLES, 4, 5};
        zero[i] = 0;
        bytes file = make_idx(8, 3, zero, 1);
        refuse(write_file("zero", &file), labels_path, LAMINA_ERROR_DATA, "is 0, so there is no");
    }
    bytes seven = make_idx(8, 1, (const uint32_t[]){7}, 1);
    refuse(images_path, write_file("seven", &seven), LAMINA_ERROR_DATA,
           "the two belong to different sets");
}

/* Sizes that overflow or that no such file can hold are refused before anything is allocated. */
static void test_huge(void) {
    begin_with_files();
    static const uint32_t dims[][4] = {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                                       {0x10000, 0x10000, 0x10000, 0x10000}, /* 2^64 */
                                       {0x80000000, 2, 0x80000000, 4},
                                       {0xffffffff, 1, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        bytes file = {.size = 20, .data = {0, 0, 8, 4}};
        for (int byte = 0; byte < 16; byte++) {
            file.data[4 + byte] = (uint8_t)(dims[i][byte / 4] >> (24 - 8 * (byte % 4)));
        }
        bytes packed = gzip(&file);
        char *plain = write_file("huge", &file), *gz = write_file("huge.gz", &packed);
        uint64_t peak = lamina__alloc_count().peak_bytes;
        refuse(plain, labels_path, LAMINA_ERROR_DATA, "can hold");
        refuse(gz, labels_path, LAMINA_ERROR_DATA, "can hold");
        CU_ASSERT(lamina__alloc_count().peak_bytes < peak + (1 << 20));
    }
}

static void test_what_is_no_file(void) {
    begin_with_files();
    char *fifo = test_path(folder, "fifo"), *loop = test_path(folder, "loop");
    refuse(test_path(folder, "missing"), labels_path, LAMINA_ERROR_IO,
           "missing: there is no such file, with .gz or without");
    refuse("no/mnist/images", labels_path, LAMINA_ERROR_IO, "datasets/fetch.sh mnist");
    refuse("no/fashion-mnist/images", labels_path, LAMINA_ERROR_IO,
           "datasets/fetch.sh fashion-mnist");
    refuse("no/cifar10/images", labels_path, LAMINA_ERROR_IO, "datasets/fetch.sh cifar10");
    refuse(folder, labels_path, LAMINA_ERROR_IO, "is a folder");
    CU_ASSERT_FATAL(mkfifo(fifo, 0600) == 0 && symlink(loop, loop) == 0);
    refuse(fifo, labels_path, LAMINA_ERROR_IO, "is no regular file"); /* and does not wait */
    refuse(loop, labels_path, LAMINA_ERROR_IO, "cannot open");
    refuse("/dev/zero", labels_path, LAMINA_ERROR_IO, "is no regular file");
}

static void test_out_of_memory(void) {
    begin_with_files();
    bytes rgb = make_idx(8, 4, (const uint32_t[]){SAMPLES, 3, 2, 5}, 1), packed = gzip(&rgb);
    char *images = write_file("rgb.gz", &packed);
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__source *source = NULL;
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status = open_some(images, labels_path, 0, &source, &error);
        long failed = test_fail_allocation(0);
        lamina__source_close(source);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        CU_ASSERT_EQUAL(status, failed ? LAMINA_ERROR_MEMORY : LAMINA_OK);
        if (!failed) {
            CU_ASSERT(k > 8);
            break;
        }
        TEST_CONTAINS(error.message, "out of memory");
    }
}

/* ---- Targets ------------------------------------------------------------------------------- */

/* Floats (or doubles) i / 4 - 1 for i = 0, 1, ..., big-endian. */
static bytes make_numbers(int type, int ndim, const uint32_t *dim) {
    bytes file = make_idx(type, ndim, dim, 0);
    size_t elements = 1;
    for (int i = 0; i < ndim; i++) {
        elements *= dim[i];
    }
    file.size = 4 + 4 * (size_t)ndim;
    for (size_t i = 0; i < elements; i++) {
        const double wide = (double)i / 4 - 1;
        const float narrow = (float)wide;
        uint64_t bits = 0;
        uint32_t half;
        memcpy(&half, &narrow, sizeof(half));
        memcpy(&bits, &wide, sizeof(bits));
        bits = type == 0x0d ? (uint64_t)half << 32 : bits;
        for (int k = 0; k < (type == 0x0d ? 4 : 8); k++) {
            file.data[file.size++] = (uint8_t)(bits >> (56 - 8 * k));
        }
    }
    return file;
}

static lamina_status open_targets(const char *targets, int32_t layout, lamina__source **source,
                                  lamina_error *error) {
    _Alignas(16) char config[64] = {0};
    *(int32_t *)field(config, "layout") = layout;
    *(const char **)field(config, "images") = images_path;
    *(const char **)field(config, "targets") = targets;
    return lamina__idx_reader.open(config, source, error);
}

static lamina__source *open_numbers_as(const bytes *file, int32_t layout) {
    lamina__source *source = NULL;
    lamina_error error = {0};
    CU_ASSERT_EQUAL(open_targets(write_file("targets", file), layout, &source, &error), LAMINA_OK);
    TEST_TEXT(error.message, "");
    CU_ASSERT_PTR_NOT_NULL_FATAL(source);
    CU_ASSERT_PTR_NULL(source->labels);
    CU_ASSERT_EQUAL(source->classes, 0);
    CU_ASSERT_EQUAL(source->target.dim[0], SAMPLES);
    return source;
}

static lamina__source *open_numbers(const bytes *file) {
    return open_numbers_as(file, NCHW);
}

static void test_targets(void) {
    begin_with_files();
    static const int types[] = {0x0d, 0x0e};
    const uint32_t flat[] = {SAMPLES, 3}, one[] = {SAMPLES}, image[] = {SAMPLES, 2, 2, 3};
    for (int k = 0; k < 2; k++) {
        float to[12];
        bytes file = make_numbers(types[k], 2, flat), packed = gzip(&file);
        for (int zipped = 0; zipped < 2; zipped++) {
            lamina__source *source = open_numbers(zipped ? &packed : &file);
            CU_ASSERT_EQUAL(source->target.ndim, 2);
            CU_ASSERT_EQUAL(lamina__source_numbers(source), 3);
            source->numbers(source, 4, NULL, to);
            for (int i = 0; i < 3; i++) {
                CU_ASSERT_EQUAL(to[i], (float)((12 + i) / 4.0 - 1));
            }
            lamina__source_close(source);
        }
        /* A number for each: (N, 1). */
        file = make_numbers(types[k], 1, one);
        lamina__source *source = open_numbers(&file);
        CU_ASSERT(source->target.ndim == 2 && source->target.dim[1] == 1);
        source->numbers(source, 5, NULL, to);
        CU_ASSERT_EQUAL(to[0], 0.25F);
        lamina__source_close(source);
        /* Images are channels-last, as all tensors are. */
        file = make_numbers(types[k], 4, image);
        source = open_numbers(&file);
        CU_ASSERT_EQUAL(source->target.ndim, 4);
        source->numbers(source, 1, NULL, to);
        for (int i = 0; i < 12; i++) {
            const int c = i % 2, yx = i / 2;
            CU_ASSERT_EQUAL(to[i], (float)((12 + 6 * c + yx) / 4.0 - 1));
        }
        lamina__source_close(source);
        source = open_numbers_as(&file, NHWC); /* and N,C,H,W to the network */
        CU_ASSERT(source->target.ndim == 4 && source->target.dim[1] == 3);
        CU_ASSERT(source->target.dim[2] == 2 && source->target.dim[3] == 2);
        source->numbers(source, 1, NULL, to);
        for (int i = 0; i < 12; i++) {
            CU_ASSERT_EQUAL(to[i], (float)((12 + i) / 4.0 - 1));
        }
        lamina__source_close(source);
    }
    float to[1];
    bytes whole = make_idx(8, 1, one, 50);
    lamina__source *source = open_numbers(&whole);
    source->numbers(source, 5, NULL, to);
    CU_ASSERT_EQUAL(to[0], 250); /* as it is */
    lamina__source_close(source);
}

/* Every byte of the targets is in the fingerprint. */
static void test_targets_fingerprint(void) {
    begin_with_files();
    const uint32_t flat[] = {SAMPLES, 2};
    const bytes file = make_numbers(0x0d, 2, flat);
    lamina__source *before = open_numbers(&file);
    for (size_t i = 12; i < file.size; i++) {
        bytes changed = file;
        changed.data[i] ^= 1;
        lamina__source *after = open_numbers(&changed);
        CU_ASSERT(after->fingerprint != before->fingerprint);
        lamina__source_close(after);
    }
    lamina__source_close(before);
    /* The same bytes and shape in another layout are other numbers. */
    const bytes cube = make_numbers(0x0d, 4, (const uint32_t[]){SAMPLES, 2, 2, 2});
    lamina__source *planes = open_numbers_as(&cube, NCHW), *last = open_numbers_as(&cube, NHWC);
    CU_ASSERT(planes->fingerprint != last->fingerprint);
    lamina__source_close(last);
    lamina__source_close(planes);
}

static void refuse_targets(const bytes *file, const char *part) {
    lamina__source *source = NULL;
    lamina_error error = {0};
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT_EQUAL(open_targets(write_file("targets", file), NCHW, &source, &error),
                    LAMINA_ERROR_DATA);
    CU_ASSERT_PTR_NULL(source);
    TEST_CONTAINS(error.message, part);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

static void test_wrong_targets(void) {
    begin_with_files();
    const uint32_t flat[] = {SAMPLES, 3}, seven[] = {7, 3};
    bytes file = make_idx(0x0b, 2, flat, 1);
    refuse_targets(&file, "holds 16-bit integers (type 0x0b); convert them to floats (type 0x0d)");
    file = make_idx(0x0d, 9, (const uint32_t[]){6, 1, 1, 1, 1, 1, 1, 1, 1}, 1);
    refuse_targets(&file, "has 9 dimensions where targets have 1 to 8");
    file = make_numbers(0x0d, 2, seven);
    refuse_targets(&file, "has 7 targets; the two belong to different sets");
    file = make_numbers(0x0d, 2, flat);
    file.size--;
    refuse_targets(&file, "is cut short: its header says 6 x 3 x 4 bytes");
    file.size += 2;
    refuse_targets(&file, "is longer than the 72 bytes (6 x 3 x 4)");
    file = make_numbers(0x0d, 2, flat);
    file.data[12 + 4 * 4] = 0x7f; /* 0x7f800000: infinity */
    file.data[13 + 4 * 4] = 0x80;
    file.data[14 + 4 * 4] = file.data[15 + 4 * 4] = 0;
    refuse_targets(&file, "number 1 of sample 1 (both from 0) is inf; targets must be finite");
    file = make_numbers(0x0e, 2, flat);
    file.data[12] = 0x7f; /* 1.6e+308 is no float */
    file.data[13] = 0xec;
    refuse_targets(&file, "number 0 of sample 0");
    bytes text = {.size = 40, .data = "<html>not found"};
    refuse_targets(&text, "is no IDX file");
}

static void test_targets_out_of_memory(void) {
    begin_with_files();
    const uint32_t image[] = {SAMPLES, 2, 2, 3};
    bytes file = make_numbers(0x0d, 4, image);
    char *path = write_file("targets", &file);
    uint64_t live = lamina__alloc_count().live;
    for (long k = 1;; k++) {
        lamina__source *source = NULL;
        lamina_error error = {0};
        test_fail_allocation(k);
        lamina_status status = open_targets(path, NCHW, &source, &error);
        long failed = test_fail_allocation(0);
        lamina__source_close(source);
        CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
        CU_ASSERT_EQUAL(status, failed ? LAMINA_ERROR_MEMORY : LAMINA_OK);
        if (!failed) {
            CU_ASSERT(k > 6);
            break;
        }
    }
}

LAMINA_TESTS({"plain and gzip read alike", test_plain_and_gzip},
             {"finds the file with .gz appended", test_gz_is_found},
             {"gzip in several members", test_gzip_members},
             {"N,C,H,W becomes channels-last", test_channels},
             {"N,H,W,C stays channels-last", test_channels_last},
             {"the first samples alone", test_first_samples},
             {"fingerprint sees every byte", test_fingerprint},
             {"cut at every byte", test_cut_everywhere}, {"damaged gzip", test_damaged_gzip},
             {"any bit of a gzip file flipped", test_any_gzip_byte},
             {"wrong headers", test_wrong_headers}, {"huge sizes allocate nothing", test_huge},
             {"folders, pipes, links to nowhere", test_what_is_no_file},
             {"every allocation fails once", test_out_of_memory}, {"targets", test_targets},
             {"fingerprint of targets", test_targets_fingerprint},
             {"wrong targets", test_wrong_targets},
             {"every allocation for targets fails once", test_targets_out_of_memory})
