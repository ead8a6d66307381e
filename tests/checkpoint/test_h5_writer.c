/* checkpoint/h5_writer: float32 datasets under made-up paths come back with HDF5's own functions.
 */
#include "saved_support.h"

static void check_dataset(hid_t file, const char *name, int ndim, const hsize_t *dim,
                          const float *expected, size_t count) {
    hsize_t found[LAMINA_MAX_DIMS] = {0};
    float values[64] = {0};
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    CU_ASSERT_FATAL(dataset >= 0);
    hid_t space = H5Dget_space(dataset), type = H5Dget_type(dataset);
    CU_ASSERT_EQUAL(H5Sget_simple_extent_ndims(space), ndim);
    H5Sget_simple_extent_dims(space, found, NULL);
    CU_ASSERT_EQUAL(memcmp(found, dim, (size_t)ndim * sizeof(*dim)), 0);
    CU_ASSERT(H5Tequal(type, H5T_IEEE_F32LE) > 0);
    CU_ASSERT(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    CU_ASSERT_EQUAL(memcmp(values, expected, count * sizeof(float)), 0);
    H5Tclose(type);
    H5Sclose(space);
    H5Dclose(dataset);
}

static void test_datasets(void) {
    const char *path = test_path(test_tmpdir(), "dump.h5");
    const lamina_shape four = {LAMINA_F32, 4, {2, 3, 1, 2}}, scalar = {LAMINA_F32, 0, {0}};
    const hsize_t dim[4] = {2, 3, 1, 2};
    const float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1e-42f}, loss = 2.5f;
    lamina_error error = {0};
    lamina__h5_writer *writer;
    CU_ASSERT_EQUAL_FATAL(lamina__h5_create(&writer, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/layers/a b/output", &four, values, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/layers/a b/d_output", &four, values, &error),
                    LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/loss", &scalar, &loss, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_write(writer, path, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/more", &scalar, &loss, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_write(writer, path, &error), LAMINA_OK); /* a second time */
    lamina__h5_free(writer);
    TEST_TEXT(error.message, "");

    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    CU_ASSERT_FATAL(file >= 0);
    check_dataset(file, "/layers/a b/output", 4, dim, values, 12);
    check_dataset(file, "/layers/a b/d_output", 4, dim, values, 12);
    check_dataset(file, "/loss", 0, dim, &loss, 1);
    check_dataset(file, "/more", 0, dim, &loss, 1);
    H5Fclose(file);
}

static void test_two_at_once(void) {
    const char *folder = test_tmpdir();
    const lamina_shape one = {LAMINA_F32, 1, {1}};
    const hsize_t dim = 1;
    lamina__h5_writer *writers[2];
    for (int i = 0; i < 2; i++) {
        const float value = (float)i;
        CU_ASSERT_EQUAL_FATAL(lamina__h5_create(&writers[i], NULL), LAMINA_OK);
        CU_ASSERT_EQUAL(lamina__h5_add(writers[i], "/value", &one, &value, NULL), LAMINA_OK);
    }
    for (int i = 0; i < 2; i++) {
        const float value = (float)i;
        const char *path = test_path(folder, "x.h5");
        CU_ASSERT_EQUAL(lamina__h5_write(writers[i], path, NULL), LAMINA_OK);
        hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
        check_dataset(file, "/value", 1, &dim, &value, 1);
        H5Fclose(file);
        lamina__h5_free(writers[i]);
    }
}

static void test_failure_stays(void) {
    const char *folder = test_tmpdir();
    const lamina_shape one = {LAMINA_F32, 1, {1}};
    const float value = 1;
    lamina_error error = {0};
    lamina__h5_writer *writer;
    CU_ASSERT_EQUAL_FATAL(lamina__h5_create(&writer, NULL), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/a", &one, &value, &error), LAMINA_OK);
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/a", &one, &value, &error), LAMINA_ERROR_IO);
    TEST_CONTAINS(error.message, "/a: ");
    TEST_CONTAINS(error.message, "exists");
    CU_ASSERT_EQUAL(lamina__h5_add(writer, "/b", &one, &value, &error), LAMINA_ERROR_IO);
    CU_ASSERT_EQUAL(lamina__h5_write(writer, test_path(folder, "x.h5"), &error), LAMINA_ERROR_IO);
    CU_ASSERT_EQUAL(entries_in(folder), 0);
    lamina__h5_free(writer);
    lamina__h5_free(NULL);
}

LAMINA_TESTS({"datasets", test_datasets}, {"two at once", test_two_at_once},
             {"a failure stays", test_failure_stays})
