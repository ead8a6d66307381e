/* checkpoint: files that were cut, flipped or made to mislead are refused with a message, and never
 * crash: each is read in a process of its own. */
#include "saved_support.h"

static char *sound_file(const char *folder, const char *name) {
    saved_net *n = saved_net_make(saved_layers, keeper_type(3, true));
    saved_net_fill(n, 1);
    char *path = saved_file(folder, name, n);
    saved_net_free(n);
    return path;
}

/* Opening a file says `part`. */
static void check_message(const char *path, const char *part) {
    lamina__checkpoint_file *file;
    lamina__checkpoint c;
    lamina_error error = {0};
    uint64_t live = lamina__alloc_count().live;
    CU_ASSERT(lamina__checkpoint_open(path, &file, &c, &error) < 0);
    CU_ASSERT_PTR_NULL(file);
    TEST_CONTAINS(error.message, part);
    CU_ASSERT_EQUAL(lamina__alloc_count().live, live);
}

/* ---- No checkpoint at all ------------------------------------------------------------------ */

static void test_other_files(void) {
    const char *folder = test_tmpdir();
    check_message(test_path(folder, "none.h5"), "none.h5: cannot be opened: No such file");
    check_message(folder, "is a folder, not a checkpoint");
    check_message("/dev/null", "is no regular file, not a checkpoint");
    check_message(test_write(folder, "empty", ""), "empty: is empty");
    check_message(test_write(folder, "text", "seed: 1\n"), "text: is no checkpoint");
    check_message(test_write(folder, "zip", "PK\3\4 something that is longer than a magic number"),
                  "is no checkpoint (no HDF5 file)");
    check_message(test_write(folder, "magic", "\x89HDF\r\n\x1a\n"), "is damaged: ");
}

static void test_other_hdf5(void) {
    const char *folder = test_tmpdir();
    const char *path = test_path(folder, "dump.h5");
    const lamina_shape shape = {LAMINA_F32, 1, {3}};
    const float values[3] = {1, 2, 3};
    lamina__h5_writer *writer;
    CU_ASSERT_EQUAL_FATAL(lamina__h5_create(&writer, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/a/b/c", &shape, values, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_write(writer, path, NULL), LAMINA_OK);
    lamina__h5_free(writer);
    check_message(path, "is an HDF5 file, but no checkpoint of Lamina");
}

/* ---- Cut and flipped ----------------------------------------------------------------------- */

static void check_bytes(const char *folder, const char *bytes, size_t length, int expected) {
    const char *path = test_path(folder, "damaged.h5");
    FILE *file = fopen(path, "wb");
    CU_ASSERT_FATAL(file != NULL && fwrite(bytes, 1, length, file) == length);
    fclose(file);
    int result = in_child(verify_work, path);
    if (result != expected) {
        printf("\n      got %d for %zu bytes", result, length);
        CU_FAIL("a damaged file was not refused cleanly");
    }
}

static void test_every_kind_of_cut(void) {
    const char *folder = test_tmpdir();
    size_t length;
    const char *bytes = test_read(sound_file(folder, "a.h5"), &length);
    check_bytes(folder, bytes, length, CHILD_SOUND);
    for (size_t i = 0; i < 120; i++) { /* all around the beginning and the end, and in between */
        check_bytes(folder, bytes, i, CHILD_REFUSED);
        check_bytes(folder, bytes, length - 1 - i, CHILD_REFUSED);
        check_bytes(folder, bytes, (i + 1) * length / 122, CHILD_REFUSED);
    }
}

/* With the checksum line: every flipped bit is seen, before HDF5 reads a byte. */
static void test_flips_are_seen(void) {
    const char *folder = test_tmpdir();
    size_t length;
    char *bytes = test_read(sound_file(folder, "a.h5"), &length);
    for (size_t i = 0; i < 300; i++) {
        size_t at = i < 50 ? length - 1 - i : i * 2654435761u % length;
        char flip = (char)(1 << i % 8);
        bytes[at] = (char)(bytes[at] ^ flip);
        check_bytes(folder, bytes, length, CHILD_REFUSED);
        bytes[at] = (char)(bytes[at] ^ flip);
    }
}

/* Reads everything, finite or not, with or without a checksum line. */
static int load_work(const char *path) {
    lamina__checkpoint_file *file;
    lamina__checkpoint c;
    lamina_error error = {0};
    int result = CHILD_SOUND;
    if (lamina__checkpoint_open(path, &file, &c, &error) != LAMINA_OK) {
        return error.message[0] != '\0' ? CHILD_REFUSED : CHILD_SILENT;
    }
    for (size_t i = 0; i < file->n_tensors && result == CHILD_SOUND; i++) {
        const lamina__stored_tensor *t = &file->tensors[i];
        float *values = lamina__alloc((size_t)lamina__shape_count(&t->shape) * sizeof(float));
        if (lamina__stored_read(file, t, values, &error) != LAMINA_OK) {
            result = error.message[0] != '\0' ? CHILD_REFUSED : CHILD_SILENT;
        }
        lamina__free(values);
    }
    lamina__checkpoint_close(file);
    lamina__checkpoint_free(&c);
    return result;
}

/* Without it HDF5's own checks must do: a flip may go unnoticed, but nothing crashes. */
static void test_flips_without_checksum(void) {
    const char *folder = test_tmpdir();
    size_t length;
    char *bytes = test_read(sound_file(folder, "a.h5"), &length);
    const char *path = test_path(folder, "damaged.h5");
    length -= LAMINA__SEAL_LENGTH;
    for (size_t i = 0; i < 600; i++) {
        size_t at = i < 200 ? i : i * 2654435761u % length;
        char was = bytes[at];
        bytes[at] = (char)(i % 3 == 0 ? ~was : was ^ (char)(1 << i % 8));
        FILE *file = fopen(path, "wb");
        CU_ASSERT_FATAL(file != NULL && fwrite(bytes, 1, length, file) == length);
        fclose(file);
        int result = in_child(load_work, path);
        if (result != CHILD_SOUND && result != CHILD_REFUSED) {
            printf("\n      got %d for byte %zu", result, at);
            CU_FAIL("a damaged file was not refused cleanly");
        }
        bytes[at] = was;
    }
}

static void test_flip_in_tensor_data(void) {
    const char *folder = test_tmpdir();
    size_t length, at = 0;
    const float value = (1 + 7) / 8.f; /* conv1/weight, element 7; a whole number */
    char *bytes = test_read(sound_file(folder, "a.h5"), &length);
    while (at + 4 < length && memcmp(bytes + at, &value, 4) != 0) {
        at++;
    }
    CU_ASSERT_FATAL(at + 4 < length);
    bytes[at] ^= 1;
    const char *path = test_write_bytes(folder, "b.h5", bytes, length);
    check_message(path, "b.h5: is damaged: its checksum does not fit");
}

/* ---- Made to mislead ----------------------------------------------------------------------- */

/* What a change() does to an open file; the checksum line goes with it. */
typedef struct change {
    const char *what;
    void (*apply)(hid_t file);
    const char *message; /* NULL: the file stays good */
} change;

static void set_attribute(hid_t file, const char *object, const char *name, hid_t type,
                          const void *value) {
    hid_t o = H5Oopen(file, object, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    if (H5Aexists(o, name) > 0) {
        H5Adelete(o, name);
    }
    hid_t attribute = H5Acreate2(o, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    CU_ASSERT_FATAL(attribute >= 0 && H5Awrite(attribute, type, value) >= 0);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Oclose(o);
}

static void set_int(hid_t file, const char *object, const char *name, int64_t value) {
    set_attribute(file, object, name, H5T_NATIVE_INT64, &value);
}

static void set_text(hid_t file, const char *object, const char *name, const char *text) {
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE); /* as h5py writes text */
    set_attribute(file, object, name, type, &text);
    H5Tclose(type);
}

static void remove_attribute(hid_t file, const char *object, const char *name) {
    CU_ASSERT(H5Adelete_by_name(file, object, name, H5P_DEFAULT) >= 0);
}

static void put_dataset(hid_t file, const char *name, hid_t type, int ndim, const hsize_t *dim,
                        hid_t plist, const void *values) {
    H5Ldelete(file, name, H5P_DEFAULT);
    hid_t space = ndim > 0 ? H5Screate_simple(ndim, dim, NULL) : H5Screate(H5S_SCALAR);
    hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    CU_ASSERT_FATAL(dataset >= 0);
    if (values != NULL) {
        CU_ASSERT(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    }
    H5Dclose(dataset);
    H5Sclose(space);
}

static const float ten_floats[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static const hsize_t ten = 10, four = 4, huge[3] = {1 << 30, 1 << 30, 1 << 30};

static void newer_version(hid_t f) {
    set_int(f, "/", "version", 2);
}
static void zero_version(hid_t f) {
    set_int(f, "/", "version", 0);
}
static void text_version(hid_t f) {
    set_text(f, "/", "version", "1");
}
static void other_format(hid_t f) {
    set_text(f, "/", "format", "keras\033[2J");
}
static void no_format(hid_t f) {
    remove_attribute(f, "/", "format");
}
static void not_complete(hid_t f) {
    remove_attribute(f, "/", "complete");
}
static void complete_zero(hid_t f) {
    set_int(f, "/", "complete", 0);
}
static void other_kind(hid_t f) {
    set_text(f, "/", "kind", "everything");
}
static void variable_texts(hid_t f) {
    set_text(f, "/", "format", "lamina");
    set_text(f, "/", "kind", "training");
    set_text(f, "/optimizer", "type", "");
}
static void number_for_text(hid_t f) {
    set_int(f, "/", "kind", 1);
}
static void negative_epoch(hid_t f) {
    set_int(f, "/progress", "epoch", -1);
}
static void unsigned_epoch(hid_t f) {
    const uint64_t value = UINT64_MAX;
    set_attribute(f, "/progress", "epoch", H5T_NATIVE_UINT64, &value);
}
static void real_epoch(hid_t f) {
    const double value = 3;
    set_attribute(f, "/progress", "epoch", H5T_NATIVE_DOUBLE, &value);
}
static void missing_step(hid_t f) {
    remove_attribute(f, "/progress", "step");
}
static void other_step(hid_t f) {
    set_int(f, "/optimizer", "step", 7);
}
static void more_labels_than_seen(hid_t f) {
    set_int(f, "/progress", "labelled", 5);
}

/* In the place of a list of reals. */
static void put_reals(hid_t file, const char *name, hsize_t count, const double *values) {
    put_dataset(file, name, H5T_NATIVE_DOUBLE, 1, &count, H5P_DEFAULT, values);
}

static void fewer_loss_weights(hid_t f) {
    put_reals(f, "/progress/loss_weights", 1, (const double[]){1});
}

static void no_loss_weights(hid_t f) {
    H5Ldelete(f, "/progress/loss_weights", H5P_DEFAULT);
}

static void too_many_losses(hid_t f) {
    static const double many[LAMINA__MAX_LOSSES + 1];
    put_reals(f, "/progress/losses", LAMINA__MAX_LOSSES + 1, many);
    put_reals(f, "/progress/loss_weights", LAMINA__MAX_LOSSES + 1, many);
}

static void negative_loss_weight(hid_t f) {
    put_reals(f, "/progress/loss_weights", 2, (const double[]){4, -1});
}

static void more_correct_than_seen(hid_t f) {
    set_int(f, "/progress", "correct", 5);
}
static void position_behind_the_end(hid_t f) {
    set_int(f, "/progress", "position", 41);
}
static void no_samples(hid_t f) {
    set_int(f, "/data/train", "samples", 0);
}
static void many_shards(hid_t f) {
    set_int(f, "/plan", "shards", 1025);
}
static void no_slices(hid_t f) {
    set_int(f, "/plan", "slices", 0);
}
/* As files were written before there were slices. */
static void no_word_of_slices(hid_t f) {
    remove_attribute(f, "/plan", "slices");
}
static void no_progress(hid_t f) {
    H5Ldelete(f, "/progress", H5P_DEFAULT);
}
static void no_config(hid_t f) {
    H5Ldelete(f, "/config", H5P_DEFAULT);
}
static void array_attribute(hid_t f) {
    const hsize_t two = 2;
    const int64_t values[2] = {1, 2};
    hid_t o = H5Oopen(f, "/progress", H5P_DEFAULT), space = H5Screate_simple(1, &two, NULL);
    H5Adelete(o, "epoch");
    hid_t a = H5Acreate2(o, "epoch", H5T_NATIVE_INT64, space, H5P_DEFAULT, H5P_DEFAULT);
    H5Awrite(a, H5T_NATIVE_INT64, values);
    H5Aclose(a);
    H5Sclose(space);
    H5Oclose(o);
}
static void uneven_columns(hid_t f) {
    const double values[10] = {0};
    put_dataset(f, "/metrics/train/loss", H5T_NATIVE_DOUBLE, 1, &ten, H5P_DEFAULT, values);
}
static void column_of_floats(hid_t f) {
    const double values[3] = {1, 2, 3};
    const hsize_t three = 3;
    put_dataset(f, "/metrics/train/step", H5T_NATIVE_DOUBLE, 1, &three, H5P_DEFAULT, values);
}
static void uneven_layer_column(hid_t f) {
    const double values[10] = {0};
    put_dataset(f, "/metrics/test/layers/mae", H5T_NATIVE_DOUBLE, 1, &ten, H5P_DEFAULT, values);
}
static void many_layer_columns(hid_t f) {
    const double value = 0;
    const hsize_t one = 1;
    for (int i = 0; i < 15; i++) {
        char name[64];
        snprintf(name, sizeof(name), "/metrics/test/layers/more%d", i);
        put_dataset(f, name, H5T_NATIVE_DOUBLE, 1, &one, H5P_DEFAULT, &value);
    }
}
static void dataset_for_layers(hid_t f) {
    H5Ldelete(f, "/metrics/test/layers", H5P_DEFAULT);
    put_dataset(f, "/metrics/test/layers", H5T_NATIVE_FLOAT, 1, &ten, H5P_DEFAULT, ten_floats);
}
static void no_layer_columns(hid_t f) { /* as a file from before there were metrics */
    H5Ldelete(f, "/metrics/test/layers", H5P_DEFAULT);
}
static void group_for_dataset(hid_t f) {
    H5Ldelete(f, "/model/layers", H5P_DEFAULT);
    H5Gclose(H5Gcreate2(f, "/model/layers", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}
static void dataset_for_group(hid_t f) {
    H5Ldelete(f, "/metrics", H5P_DEFAULT);
    put_dataset(f, "/metrics", H5T_NATIVE_FLOAT, 1, &ten, H5P_DEFAULT, ten_floats);
}
static void layer_twice(hid_t f) {
    const char names[4][6] = {"conv1", "pool1", "conv1", "fc1"};
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 6);
    put_dataset(f, "/model/layers", type, 1, &four, H5P_DEFAULT, names);
    H5Tclose(type);
}
static void layer_with_slash(hid_t f) {
    const char name[] = "../x";
    const hsize_t one = 1;
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, sizeof(name));
    put_dataset(f, "/model/layers", type, 1, &one, H5P_DEFAULT, name);
    H5Tclose(type);
}
static void layer_missing(hid_t f) {
    H5Ldelete(f, "/model/relu1", H5P_DEFAULT);
}
static void soft_link(hid_t f) {
    H5Ldelete(f, "/model/conv1/weights/bias", H5P_DEFAULT);
    H5Lcreate_soft("/optimizer/conv1/bias/momentum", f, "/model/conv1/weights/bias", H5P_DEFAULT,
                   H5P_DEFAULT);
}
static void external_link(hid_t f) {
    H5Ldelete(f, "/model/conv1/weights", H5P_DEFAULT);
    H5Lcreate_external("/etc/passwd", "/", f, "/model/conv1/weights", H5P_DEFAULT, H5P_DEFAULT);
}
static void external_data(hid_t f) {
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(plist, "/etc/passwd", 0, 40);
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 1, &ten, plist, NULL);
    H5Pclose(plist);
}
static void chunked_huge(hid_t f) {
    const hsize_t chunk[3] = {1024, 1024, 1};
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 3, chunk);
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 3, huge, plist, NULL);
    H5Pclose(plist);
}
static void chunked(hid_t f) {
    hid_t plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, &ten);
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 1, &ten, plist, ten_floats);
    H5Pclose(plist);
}
static void never_written(hid_t f) {
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 1, &four, H5P_DEFAULT, NULL);
}
static void doubles_for_floats(hid_t f) {
    const double values[4] = {0};
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_DOUBLE, 1, &four, H5P_DEFAULT, values);
}
static void text_for_floats(hid_t f) {
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    put_dataset(f, "/model/conv1/weights/bias", type, 1, &ten, H5P_DEFAULT, ten_floats);
    H5Tclose(type);
}
static void empty_weight(hid_t f) {
    const hsize_t none = 0;
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 1, &none, H5P_DEFAULT, NULL);
}
static void nine_dimensions(hid_t f) {
    const hsize_t dims[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    put_dataset(f, "/model/conv1/weights/bias", H5T_NATIVE_FLOAT, 9, dims, H5P_DEFAULT, ten_floats);
}
static void slot_of_other_shape(hid_t f) {
    put_dataset(f, "/optimizer/conv1/bias/momentum", H5T_NATIVE_FLOAT, 1, &ten, H5P_DEFAULT,
                ten_floats);
}
static void slot_of_no_weight(hid_t f) {
    H5Ldelete(f, "/model/conv1/weights/bias", H5P_DEFAULT);
}
static void same_data_everywhere(hid_t f) { /* more tensors than the file has room for */
    char name[64];
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "/model/fc1/weights/copy%d", i);
        H5Lcreate_hard(f, "/model/fc1/weights/weight", f, name, H5P_DEFAULT, H5P_DEFAULT);
    }
}
static void narrow_plan(hid_t f) {
    const hsize_t dims[2] = {2, 2};
    const char cells[4][4] = {"a", "b", "c", "d"};
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, 4);
    put_dataset(f, "/plan/kernels", type, 2, dims, H5P_DEFAULT, cells);
    H5Tclose(type);
}
static void negative_state_version(hid_t f) {
    set_int(f, "/model/keeper", "state_version", -2);
}
static void extras(hid_t f) { /* whoever wants may add things beside */
    H5Gclose(H5Gcreate2(f, "/mine", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(H5Gcreate2(f, "/model/notes", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    set_text(f, "/", "comment", "mine");
    set_int(f, "/progress", "mood", 3);
}

static void bare_weights(hid_t f) { /* as made with h5py out of another framework's weights */
    static const char *const rest[] = {"/optimizer", "/progress", "/data",
                                       "/plan",      "/metrics",  "/run"};
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        H5Ldelete(f, rest[i], H5P_DEFAULT);
    }
    set_text(f, "/", "kind", "weights");
}

static const change changes[] = {
    {"a newer version", newer_version, "written by a newer Lamina: version 2; this is 1"},
    {"version 0", zero_version, "/version: is 0, which cannot be"},
    {"version as text", text_version, "/version: is no integer"},
    {"another format", other_format, "/format: is \"keras?[2J\", not \"lamina\""},
    {"no format", no_format, "but no checkpoint of Lamina"},
    {"not complete", not_complete, "was not written to its end"},
    {"complete=0", complete_zero, "was not written to its end"},
    {"another kind", other_kind, "/kind: is \"everything\"; it must be"},
    {"number for text", number_for_text, "/kind: is no text"},
    {"variable-length text", variable_texts, NULL},
    {"negative epoch", negative_epoch, "/progress/epoch: is -1, which cannot be"},
    {"epoch too large", unsigned_epoch, NULL /* read as the largest int64 */},
    {"real epoch", real_epoch, "/progress/epoch: is no integer"},
    {"two epochs", array_attribute, "/progress/epoch: has 2 values instead of one"},
    {"missing step", missing_step, "/progress/step: this attribute is missing"},
    {"another step", other_step, "/optimizer/step: is 7, but /progress/step is 31"},
    {"more correct than seen", more_correct_than_seen, "/progress/correct: is 5, of 3"},
    {"fewer loss weights", fewer_loss_weights,
     "/progress/losses: has 2 numbers, and loss_weights 1; they must have one for each loss"},
    {"no loss weights", no_loss_weights, "/progress/loss_weights"},
    {"too many losses", too_many_losses, "/progress/losses: has 17 numbers"},
    {"negative loss weight", negative_loss_weight, "/progress/loss_weights: has -1 in it"},
    {"more labels than seen", more_labels_than_seen, "/progress/labelled: is 5, of 4"},
    {"position behind the end", position_behind_the_end,
     "position 41 is behind the last of the 40"},
    {"no samples", no_samples, "/data/train/samples: is 0"},
    {"many shards", many_shards, "/plan/shards: is 1025, which cannot be"},
    {"no slices", no_slices, "/plan/slices: is 0, which cannot be"},
    {"no progress", no_progress, "/progress: this group is missing"},
    {"no config", no_config, "/config: this group is missing"},
    {"uneven columns", uneven_columns, "/metrics/train/loss: has 10 values, its neighbours have 3"},
    {"column of floats", column_of_floats, "/metrics/train/step: is no dataset of integers"},
    {"uneven column of a layer", uneven_layer_column,
     "/metrics/test/layers/mae: has 10 values, its neighbours have 1"},
    {"many columns of layers", many_layer_columns,
     "/metrics/test/layers: has 17 columns; there are at most 16"},
    {"dataset for columns of layers", dataset_for_layers, "/metrics/test/layers: is no group"},
    {"no columns of layers", no_layer_columns, NULL},
    {"group for dataset", group_for_dataset, "/model/layers: is no dataset"},
    {"dataset for group", dataset_for_group, "/metrics: is no group"},
    {"layer twice", layer_twice, "/model/layers: names \"conv1\" twice"},
    {"layer with a slash", layer_with_slash, "/model/layers: \"../x\" is no layer's name"},
    {"layer missing", layer_missing, "/model/relu1: this group is missing"},
    {"soft link", soft_link, "/model/conv1/weights/bias: is a link to elsewhere"},
    {"external link", external_link, "/model/conv1/weights: is a link to elsewhere"},
    {"external data", external_data,
     "/model/conv1/weights/bias: is stored in chunks, compressed or"},
    {"huge", chunked_huge, "/model/conv1/weights/bias: says it is larger than the whole file"},
    {"chunked", chunked, "/model/conv1/weights/bias: is stored in chunks"},
    {"never written", never_written, "/model/conv1/weights/bias: has no data"},
    {"doubles", doubles_for_floats, "/model/conv1/weights/bias: is no dataset of float32"},
    {"text for floats", text_for_floats, "/model/conv1/weights/bias: is no dataset of float32"},
    {"empty weight", empty_weight, "/model/conv1/weights/bias: is empty"},
    {"nine dimensions", nine_dimensions, "has 9 dimensions; Lamina knows up to 8"},
    {"slot of another shape", slot_of_other_shape, "momentum has not the shape of its weight"},
    {"slot of no weight", slot_of_no_weight, "/optimizer/conv1/bias: belongs to no weight"},
    {"same data everywhere", same_data_everywhere, "the tensors together are larger than the file"},
    {"narrow plan", narrow_plan, "/plan/kernels: has 2 columns instead of 4"},
    {"negative state version", negative_state_version, "/state_version: is -2"},
    {"no word of slices", no_word_of_slices, NULL},
    {"extras", extras, NULL},
    {"bare weights", bare_weights, NULL},
};

static void test_misleading_files(void) {
    const char *folder = test_tmpdir();
    size_t length;
    const char *bytes = test_read(sound_file(folder, "a.h5"), &length);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const char *path = test_write_bytes(folder, "b.h5", bytes, length);
        hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
        CU_ASSERT_FATAL(file >= 0);
        changes[i].apply(file);
        CU_ASSERT(H5Fclose(file) >= 0);
        int result = in_child(load_work, path);
        bool good = result == (changes[i].message == NULL ? CHILD_SOUND : CHILD_REFUSED);
        if (!good) {
            printf("\n      %s: got %d", changes[i].what, result);
            CU_FAIL("not as expected");
        } else if (changes[i].message != NULL) {
            check_message(path, changes[i].message);
        }
    }
}

/* Anyone may change a file with h5py; it can be loaded, but not verified. */
static void test_changed_by_another_program(void) {
    const char *folder = test_tmpdir();
    const char *path = sound_file(folder, "a.h5");
    lamina_error error = {0};
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    extras(file);
    H5Fclose(file);
    CU_ASSERT_EQUAL(load_work(path), CHILD_SOUND);
    CU_ASSERT_EQUAL(lamina__checkpoint_verify(path, &error), LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "can be read, but has no checksum line at its end");
}

static void test_values_that_are_not_finite(void) {
    const char *folder = test_tmpdir();
    saved_net *n = saved_net_make(saved_layers, keeper_type(3, true));
    lamina_error error = {0};
    lamina__net_state_at(n->net, 0).data[2] = 1.0f / 0.0f;
    const char *path = saved_file(folder, "a.h5", n);
    CU_ASSERT_EQUAL(lamina__checkpoint_verify(path, &error), LAMINA_ERROR_CHECKPOINT);
    TEST_CONTAINS(error.message, "keeper/mean (state): 1 of 4 values are not finite, the first is "
                                 "number 2 (from 0)");
    saved_net_free(n);
}

LAMINA_TESTS({"other files", test_other_files}, {"other HDF5 files", test_other_hdf5},
             {"every kind of cut", test_every_kind_of_cut},
             {"flipped bits are seen", test_flips_are_seen},
             {"flipped bits without checksum", test_flips_without_checksum},
             {"flipped bit in tensor data", test_flip_in_tensor_data},
             {"misleading files", test_misleading_files},
             {"changed by another program", test_changed_by_another_program},
             {"values that are not finite", test_values_that_are_not_finite})
