/* Parameter tables. Conversion from text is done by small functions that neither allocate nor
 * report, but leave a complaint ("must be >= 1, got 0"); so they serve config values, the defaults
 * in the table, and the check of a plugin's table alike. */
#include "config/params.h"

#include "base/alloc.h"

#include <float.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HUGE_RANGE 1e15 /* a bound beyond this is not worth telling */

typedef struct complaint {
    char text[512];
} complaint;

/* One value before it is stored. */
typedef struct number {
    int64_t whole;
    double real;
} number;

const lamina_param *lamina__table_at(lamina__table table, size_t i) {
    return (const lamina_param *)(const void *)((const char *)table.params + i * table.stride);
}

static void *field_of(const lamina_param *param, void *values) {
    return (char *)values + param->offset;
}

static bool is_list(const lamina_param *param) {
    return param->type == LAMINA_INT_LIST || param->type == LAMINA_REAL_LIST;
}

/* A list of any length: its numbers lie in the document. */
static bool is_long_list(const lamina_param *param) {
    return param->type == LAMINA_REALS;
}

static bool is_whole(const lamina_param *param) {
    return param->type == LAMINA_INT || param->type == LAMINA_INT_LIST;
}

static bool has_range(const lamina_param *param) {
    return param->min != 0 || param->max != 0;
}

/* The range begins above 0, see lamina_param. */
static bool is_above_zero(double min) {
    return min == DBL_MIN;
}

/* ---- Complaints ---------------------------------------------------------------------------- */

static bool complain(complaint *why, const char *fmt, ...) LAMINA_PRINTF(2, 3);

/* Returns false, so that `return complain(...)` reads well. */
static bool complain(complaint *why, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    return false;
}

typedef struct shown {
    char text[72];
} shown;

/* A value as it was written, quoted, and cut when it is long. */
static shown show(const char *text) {
    shown result;
    size_t length = strlen(text), kept = length;
    if (kept > 60) {
        kept = 57;
        while (kept > 0 && ((unsigned char)text[kept] & 0xc0) == 0x80) {
            kept--; /* not in the middle of a UTF-8 character */
        }
    }
    snprintf(result.text, sizeof(result.text), "\"%.*s%s\"", (int)kept, text,
             kept < length ? "..." : "");
    return result;
}

static shown show_node(const lamina__node *node) {
    if (node->kind == LAMINA__NODE_LIST) {
        return (shown){"a list"};
    }
    if (node->kind == LAMINA__NODE_MAP) {
        return (shown){"a map"};
    }
    return node->text[0] == '\0' && !node->quoted ? (shown){"nothing"} : show(node->text);
}

/* "a, b, c" */
static void list_words(const char *const *words, char *dst, size_t size) {
    size_t used = 0;
    dst[0] = '\0';
    for (size_t i = 0; words[i] != NULL && used < size; i++) {
        int n = snprintf(dst + used, size - used, "%s%s", i ? ", " : "", words[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static size_t count_words(const char *const *words) {
    size_t n = 0;
    while (words != NULL && words[n] != NULL) {
        n++;
    }
    return n;
}

static int32_t find_word(const char *const *words, const char *word) {
    for (int32_t i = 0; words != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

/* `expected ..., got "smae"; did you mean "same"?` */
static bool complain_word(complaint *why, const char *expected, const char *const *words,
                          const char *text) {
    const char *near = lamina__nearest(text, words, count_words(words));
    if (near != NULL) {
        return complain(why, "expected %s, got %s; did you mean \"%s\"?", expected, show(text).text,
                        near);
    }
    return complain(why, "expected %s, got %s", expected, show(text).text);
}

/* ---- Numbers ------------------------------------------------------------------------------- */

static size_t skip_digits(const char *s) {
    return strspn(s, "0123456789");
}

/* [+-] digits. Saturates, and says so, when it is beyond 64 bits. */
static bool parse_whole(const char *text, int64_t *value, bool *saturated) {
    bool negative = text[0] == '-';
    const char *s = text + (text[0] == '-' || text[0] == '+');
    *value = 0;
    *saturated = false;
    if (*s == '\0' || s[skip_digits(s)] != '\0') {
        return false;
    }
    for (; *s != '\0' && !*saturated; s++) {
        int64_t digit = *s - '0';
        *saturated = __builtin_mul_overflow(*value, 10, value) ||
                     __builtin_sub_overflow(*value, digit, value); /* negative: reaches INT64_MIN */
    }
    if (!*saturated && !negative) {
        *saturated = __builtin_sub_overflow(0, *value, value);
    }
    if (*saturated) {
        *value = negative ? INT64_MIN : INT64_MAX;
    }
    return true;
}

/* [+-] digits [. digits] [e [+-] digits], a digit at least before the e; no hex, nan or inf. */
static bool is_real(const char *text) {
    const char *s = text + (text[0] == '-' || text[0] == '+');
    size_t digits = skip_digits(s);
    s += digits;
    if (*s == '.') {
        size_t more = skip_digits(s + 1);
        digits += more;
        s += 1 + more;
    }
    if (digits > 0 && (*s == 'e' || *s == 'E')) {
        s += 1 + (s[1] == '-' || s[1] == '+');
        size_t exponent = skip_digits(s);
        s += exponent;
        digits = exponent;
    }
    return digits > 0 && *s == '\0';
}

/* With a point as the decimal separator, whatever locale the program has set. */
static bool parse_real(const char *text, double *value) {
    if (!is_real(text)) {
        return false;
    }
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c == (locale_t)0) {
        *value = strtod(text, NULL);
        return true;
    }
    *value = strtod_l(text, NULL, c);
    freelocale(c);
    return true;
}

/* "must be >= 1, got 0": names both bounds unless the other one is beyond mention, or it is 0. */
static bool complain_range(complaint *why, double value, double min, double max,
                           const char *min_text, const char *max_text, const char *got) {
    if (value < min && is_above_zero(min)) {
        return complain(why, "must be above 0, got %s", got);
    }
    if (value < min && max >= HUGE_RANGE) {
        return complain(why, "must be >= %s, got %s", min_text, got);
    }
    if (value > max && min <= -HUGE_RANGE) {
        return complain(why, "must be <= %s, got %s", max_text, got);
    }
    if (is_above_zero(min)) {
        return complain(why, "must be above 0 and at most %s, got %s", max_text, got);
    }
    return complain(why, "must be between %s and %s, got %s", min_text, max_text, got);
}

static bool to_whole(const char *text, int64_t min, int64_t max, int64_t *value, complaint *why) {
    bool saturated;
    if (!parse_whole(text, value, &saturated)) {
        return complain(why, "expected a whole number, got %s", show(text).text);
    }
    if (*value < min || *value > max) {
        char min_text[32], max_text[32];
        shown got = show(text);
        got.text[strlen(got.text) - 1] = '\0'; /* a number stands without its quotes */
        snprintf(min_text, sizeof(min_text), "%lld", (long long)min);
        snprintf(max_text, sizeof(max_text), "%lld", (long long)max);
        return complain_range(why, (double)*value, (double)min, (double)max, min_text, max_text,
                              got.text + 1);
    }
    if (saturated) {
        return complain(why, "%s does not fit in 64 bits", show(text).text);
    }
    return true;
}

static bool to_real(const char *text, double *value, complaint *why) {
    if (!parse_real(text, value)) {
        return complain(why, "expected a number, got %s", show(text).text);
    }
    if (!isfinite(*value)) {
        return complain(why, "%s is too large", show(text).text);
    }
    return true;
}

static int64_t bound(double value) {
    return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
}

/* A number, or an element of a list of numbers, in the param's range. */
static bool to_number(const lamina_param *param, const char *text, number *value, complaint *why) {
    bool ranged = has_range(param);
    if (is_whole(param)) {
        return to_whole(text, ranged ? bound(ceil(param->min)) : INT64_MIN,
                        ranged ? bound(floor(param->max)) : INT64_MAX, &value->whole, why);
    }
    if (!to_real(text, &value->real, why)) {
        return false;
    }
    if (ranged && (value->real < param->min || value->real > param->max)) {
        char min_text[32], max_text[32], got[32];
        snprintf(min_text, sizeof(min_text), "%g", param->min);
        snprintf(max_text, sizeof(max_text), "%g", param->max);
        snprintf(got, sizeof(got), "%.9g", value->real);
        return complain_range(why, value->real, param->min, param->max, min_text, max_text, got);
    }
    return true;
}

/* ---- Words --------------------------------------------------------------------------------- */

static bool to_bool(const char *text, int32_t *value, complaint *why) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (int32_t i = 0; i < 6; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    }
    return complain(why, "expected true or false, got %s", show(text).text);
}

static bool to_choice(const lamina_param *param, const char *text, int32_t *value, complaint *why) {
    char words[300], expected[320];
    *value = find_word(param->choices, text);
    if (*value >= 0) {
        return true;
    }
    list_words(param->choices, words, sizeof(words));
    snprintf(expected, sizeof(expected), "one of %s", words);
    return complain_word(why, expected, param->choices, text);
}

/* ---- Lists --------------------------------------------------------------------------------- */

/* All elements, so that one value stands for every direction. */
static void store_all(const lamina_param *param, void *field, number value) {
    if (param->type == LAMINA_INT_LIST) {
        lamina_int_list *list = field;
        for (int i = 0; i < LAMINA_MAX_LIST; i++) {
            list->value[i] = value.whole;
        }
    } else {
        lamina_real_list *list = field;
        for (int i = 0; i < LAMINA_MAX_LIST; i++) {
            list->value[i] = value.real;
        }
    }
}

static void store_element(const lamina_param *param, void *field, size_t i, number value) {
    if (param->type == LAMINA_INT_LIST) {
        ((lamina_int_list *)field)->value[i] = value.whole;
    } else {
        ((lamina_real_list *)field)->value[i] = value.real;
    }
}

static void store_head(const lamina_param *param, void *field, size_t count, int32_t word) {
    if (param->type == LAMINA_INT_LIST) {
        lamina_int_list *list = field;
        list->count = (int32_t)count;
        list->word = word;
    } else {
        lamina_real_list *list = field;
        list->count = (int32_t)count;
        list->word = word;
    }
}

/* A list that was written without brackets: one number, or a word. */
static bool to_short_list(const lamina_param *param, const char *text, void *field,
                          complaint *why) {
    number value = {0, 0};
    int32_t word = find_word(param->choices, text);
    bool numeric = is_real(text);
    if (word < 0 && param->choices != NULL && !numeric) {
        char words[300], expected[360];
        list_words(param->choices, words, sizeof(words));
        snprintf(expected, sizeof(expected), "%s or one of %s",
                 is_whole(param) ? "whole numbers" : "numbers", words);
        return complain_word(why, expected, param->choices, text);
    }
    if (word < 0 && !to_number(param, text, &value, why)) {
        return false;
    }
    store_all(param, field, value);
    store_head(param, field, word < 0, word);
    return true;
}

static bool check_count(const lamina_param *param, size_t count, complaint *why) {
    if (count > (size_t)param->max_count) {
        return complain(why, "expected at most %d value%s, got %zu", (int)param->max_count,
                        param->max_count == 1 ? "" : "s", count);
    }
    /* Only a table whose default is an empty list has a meaning for one. */
    if (count == 0 && (param->def == NULL || strcmp(param->def, "[]") != 0)) {
        return complain(why, "expected at least one value, got an empty list");
    }
    return true;
}

static void begin_list(const lamina_param *param, void *field, size_t count) {
    store_all(param, field, (number){0, 0});
    store_head(param, field, count, -1);
}

static void add_element(const lamina_param *param, void *field, size_t i, size_t count,
                        number value) {
    if (count == 1) {
        store_all(param, field, value);
    } else {
        store_element(param, field, i, value);
    }
}

/* ---- Defaults ------------------------------------------------------------------------------ */

/* "[2, 2]" in a table: numbers alone. */
static bool list_from_text(const lamina_param *param, const char *text, void *field,
                           complaint *why) {
    number values[LAMINA_MAX_LIST];
    size_t count = 0;
    const char *s = text + 1;
    s += strspn(s, " ");
    for (bool more = *s != ']'; more;) {
        char piece[64];
        size_t length = strcspn(s, " ,]");
        if (length == 0 || length >= sizeof(piece) || count == LAMINA_MAX_LIST) {
            return complain(why, "is not a list of numbers");
        }
        memcpy(piece, s, length);
        piece[length] = '\0';
        if (!to_number(param, piece, &values[count++], why)) {
            return false;
        }
        s += length;
        s += strspn(s, " ");
        more = *s == ',';
        s += more;
        s += strspn(s, " ");
    }
    if (strcmp(s, "]") != 0) {
        return complain(why, "is not a list of numbers");
    }
    if (!check_count(param, count, why)) {
        return false;
    }
    begin_list(param, field, count);
    for (size_t i = 0; i < count; i++) {
        add_element(param, field, i, count, values[i]);
    }
    return true;
}

/* One value that is a single word or number. */
static bool value_from_text(const lamina_param *param, const char *text, void *field,
                            complaint *why) {
    number value;
    switch (param->type) {
    case LAMINA_INT:
        if (!to_number(param, text, &value, why)) {
            return false;
        }
        *(int64_t *)field = value.whole;
        return true;
    case LAMINA_REAL:
        if (!to_number(param, text, &value, why)) {
            return false;
        }
        *(double *)field = value.real;
        return true;
    case LAMINA_BOOL:
        return to_bool(text, field, why);
    case LAMINA_ENUM:
        return to_choice(param, text, field, why);
    case LAMINA_STRING:
        *(const char **)field = text;
        return true;
    default:
        return to_short_list(param, text, field, why);
    }
}

static size_t field_size(int32_t type) {
    static const size_t sizes[] = {
        [LAMINA_INT] = sizeof(int64_t),
        [LAMINA_REAL] = sizeof(double),
        [LAMINA_BOOL] = sizeof(int32_t),
        [LAMINA_ENUM] = sizeof(int32_t),
        [LAMINA_STRING] = sizeof(const char *),
        [LAMINA_INT_LIST] = sizeof(lamina_int_list),
        [LAMINA_REAL_LIST] = sizeof(lamina_real_list),
        [LAMINA_REALS] = sizeof(lamina_reals),
    };
    return type >= LAMINA_INT && type <= LAMINA_REALS ? sizes[type] : 0;
}

static bool default_value(const lamina_param *param, void *field, complaint *why) {
    memset(field, 0, field_size(param->type));
    if (is_list(param)) {
        begin_list(param, field, 0);
    }
    if (param->def == NULL || is_long_list(param)) { /* whose default is empty */
        return true;
    }
    if (is_list(param) && param->def[0] == '[') {
        return list_from_text(param, param->def, field, why);
    }
    return value_from_text(param, param->def, field, why);
}

void lamina__params_default(lamina__table table, void *values) {
    complaint ignored; /* lamina__table_check has seen that defaults parse */
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        (void)default_value(param, field_of(param, values), &ignored);
    }
}

/* ---- Is a table sound? --------------------------------------------------------------------- */

static size_t field_alignment(int32_t type) {
    return type == LAMINA_BOOL || type == LAMINA_ENUM      ? _Alignof(int32_t)
           : type == LAMINA_STRING                         ? _Alignof(const char *)
           : type == LAMINA_REALS                          ? _Alignof(lamina_reals)
           : type == LAMINA_INT || type == LAMINA_INT_LIST ? _Alignof(int64_t)
                                                           : _Alignof(double);
}

static bool check_name(const char *name, complaint *why) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz", more[] = "0123456789_";
    size_t length = name ? strlen(name) : 0, i = 0;
    while (i < length && (strchr(letters, name[i]) || (i > 0 && strchr(more, name[i])))) {
        i++;
    }
    if (length == 0 || length > 63 || i < length) {
        return complain(why, "a name is 1 to 63 of a-z, 0-9 and _, a letter first");
    }
    return true;
}

static bool check_field(const lamina_param *param, size_t struct_size, complaint *why) {
    size_t size = field_size(param->type);
    if (size == 0) {
        return complain(why, "unknown type %d", (int)param->type);
    }
    if (param->offset > struct_size || size > struct_size - param->offset) {
        return complain(why,
                        "its field (offset %zu, %zu bytes) is outside the config struct of "
                        "%zu bytes",
                        param->offset, size, struct_size);
    }
    if (param->offset % field_alignment(param->type) != 0) {
        return complain(why, "its field's offset %zu is not aligned", param->offset);
    }
    return true;
}

static bool check_limits(const lamina_param *param, complaint *why) {
    bool numeric = is_list(param) || is_long_list(param) || param->type == LAMINA_INT ||
                   param->type == LAMINA_REAL;
    bool worded = is_list(param) || param->type == LAMINA_ENUM;
    if (isnan(param->min) || isnan(param->max) || param->min > param->max) {
        return complain(why, "min is not below max");
    }
    if (has_range(param) && !numeric) {
        return complain(why, "a range is for numbers");
    }
    if (param->choices != NULL && !worded) {
        return complain(why, "choices are for enums and lists");
    }
    if (param->type == LAMINA_ENUM && count_words(param->choices) == 0) {
        return complain(why, "an enum needs choices");
    }
    if (is_long_list(param) && param->max_count < 1) {
        return complain(why, "max_count must be at least 1, got %d", (int)param->max_count);
    }
    if (is_list(param) && (param->max_count < 1 || param->max_count > LAMINA_MAX_LIST)) {
        return complain(why, "max_count must be between 1 and %d, got %d", LAMINA_MAX_LIST,
                        (int)param->max_count);
    }
    return true;
}

static bool check_default(const lamina_param *param, complaint *why) {
    union {
        int64_t whole;
        double real;
        int32_t word;
        const char *text;
        lamina_int_list whole_list;
        lamina_real_list real_list;
        lamina_reals reals;
    } field;
    complaint inner;
    if (param->required != 0 && param->required != 1) {
        return complain(why, "required must be 0 or 1");
    }
    if (param->required && param->def != NULL) {
        return complain(why, "a required key has no default");
    }
    if (!param->required && param->def == NULL && param->type != LAMINA_STRING) {
        return complain(why, "a default is missing");
    }
    if (is_long_list(param) && param->def != NULL && strcmp(param->def, "[]") != 0) {
        return complain(why, "its default must be \"[]\", got \"%.40s\"", param->def);
    }
    if (!default_value(param, &field, &inner)) {
        return complain(why, "its default \"%.40s\": %.300s", param->def, inner.text);
    }
    return true;
}

/* Against the params before it: no name twice, no field over another. */
static bool check_others(lamina__table table, size_t i, complaint *why) {
    const lamina_param *param = lamina__table_at(table, i);
    for (size_t j = 0; j < i; j++) {
        const lamina_param *other = lamina__table_at(table, j);
        if (strcmp(param->name, other->name) == 0) {
            return complain(why, "the name is there twice");
        }
        if (param->offset < other->offset + field_size(other->type) &&
            other->offset < param->offset + field_size(param->type)) {
            return complain(why, "its field overlaps that of \"%s\"", other->name);
        }
    }
    return true;
}

lamina_status lamina__table_check(lamina__table table, size_t struct_size, lamina_error *error) {
    complaint why;
    if (table.count == 0) {
        return LAMINA_OK;
    }
    if (table.params == NULL || table.stride < sizeof(lamina_param) ||
        table.stride % _Alignof(lamina_param) != 0) {
        return lamina__fail(error, LAMINA_ERROR_PLUGIN,
                            "parameter table: param_stride must be sizeof(lamina_param)");
    }
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        if (!check_name(param->name, &why)) {
            return lamina__fail(error, LAMINA_ERROR_PLUGIN, "parameter %zu: %s", i, why.text);
        }
        bool documented = param->doc != NULL && param->doc[0] != '\0';
        if (!documented) {
            complain(&why, "doc is missing");
        } else if (param->reserved != 0) {
            complain(&why, "reserved must be 0");
        }
        if (!documented || param->reserved != 0 || !check_field(param, struct_size, &why) ||
            !check_limits(param, &why) || !check_default(param, &why) ||
            !check_others(table, i, &why)) {
            return lamina__fail(error, LAMINA_ERROR_PLUGIN, "parameter \"%s\": %s", param->name,
                                why.text);
        }
    }
    return LAMINA_OK;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static const char *expected_kind(const lamina_param *param) {
    switch (param->type) {
    case LAMINA_INT:
        return "a whole number";
    case LAMINA_REAL:
        return "a number";
    case LAMINA_BOOL:
        return "true or false";
    case LAMINA_INT_LIST:
        return "whole numbers";
    case LAMINA_REAL_LIST:
    case LAMINA_REALS:
        return "numbers";
    default:
        return "a word";
    }
}

/* "layer "conv2" (conv): "kernel": must be >= 1, got 0" */
static void report(lamina__diags *diags, const lamina__node *node, const char *subject,
                   const lamina_param *param, const complaint *why) {
    lamina__diag(diags, node, "%s: \"%s\": %s", subject, param->name, why->text);
}

static void read_list(const lamina_param *param, const lamina__node *node, void *field,
                      const char *subject, lamina__diags *diags) {
    complaint why;
    if (!check_count(param, node->count, &why)) {
        report(diags, node, subject, param, &why);
        return;
    }
    begin_list(param, field, node->count);
    for (size_t i = 0; i < node->count; i++) {
        const lamina__node *item = node->items[i];
        number value = {0, 0};
        bool scalar = item->kind == LAMINA__NODE_SCALAR && (item->text[0] || item->quoted);
        if (!scalar) {
            complain(&why, "expected %s, got %s", expected_kind(param), show_node(item).text);
        }
        if (!scalar || !to_number(param, item->text, &value, &why)) {
            report(diags, item, subject, param, &why);
        } else {
            add_element(param, field, i, node->count, value);
        }
    }
}

/* A list, or one number as a list of one, into the document's own room for it. */
static void read_reals(const lamina_param *param, lamina__node *node, lamina_reals *field,
                       const char *subject, lamina__diags *diags) {
    const bool list = node->kind == LAMINA__NODE_LIST;
    const size_t count = list ? node->count : 1;
    double *to = list ? node->numbers : &node->number;
    complaint why;
    if (!check_count(param, count, &why)) {
        report(diags, node, subject, param, &why);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const lamina__node *item = list ? node->items[i] : node;
        number value = {0, 0};
        bool scalar = item->kind == LAMINA__NODE_SCALAR && (item->text[0] || item->quoted);
        if (!scalar) {
            complain(&why, "expected %s, got %s", expected_kind(param), show_node(item).text);
        }
        if (!scalar || !to_number(param, item->text, &value, &why)) {
            report(diags, item, subject, param, &why);
        }
        to[i] = value.real;
    }
    *field = (lamina_reals){(int64_t)count, count > 0 ? to : NULL};
}

/* A value that is null stands for the default; one that was forgotten (`key:`) is an error. */
static void read_value(const lamina_param *param, lamina__node *node, void *values,
                       const char *subject, lamina__diags *diags) {
    void *field = field_of(param, values);
    complaint why;
    if (is_list(param) && node->kind == LAMINA__NODE_LIST) {
        read_list(param, node, field, subject, diags);
        return;
    }
    bool null = lamina__node_is_null(node);
    if (null && node->text[0] != '\0' && !param->required) {
        return;
    }
    if (is_long_list(param) && !null) {
        read_reals(param, node, field, subject, diags);
        return;
    }
    if (null || node->kind != LAMINA__NODE_SCALAR) {
        complain(&why, "expected %s, got %s", expected_kind(param), show_node(node).text);
        report(diags, node, subject, param, &why);
    } else if (!value_from_text(param, node->text, field, &why)) {
        report(diags, node, subject, param, &why);
    }
}

static const lamina_param *find_param(lamina__table table, const char *name) {
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        if (strcmp(param->name, name) == 0) {
            return param;
        }
    }
    return NULL;
}

static void report_unknown(lamina__table table, const lamina__node *key, const char *const *also,
                           const char *subject, lamina__diags *diags) {
    size_t n_also = count_words(also), n = table.count + n_also;
    const char **names = lamina__calloc(n + 1, sizeof(*names));
    if (names == NULL) {
        diags->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = i < table.count ? lamina__table_at(table, i)->name : also[i - table.count];
    }
    const char *near = lamina__nearest(key->text, names, n);
    shown unknown = show(key->text);
    if (near != NULL) {
        lamina__diag(diags, key, "%s: unknown key %s; did you mean \"%s\"?", subject, unknown.text,
                     near);
    } else if (n == 0) {
        lamina__diag(diags, key, "%s: unknown key %s; it has no parameters", subject, unknown.text);
    } else {
        char known[400];
        list_words(names, known, sizeof(known));
        lamina__diag(diags, key, "%s: unknown key %s; there are %s", subject, unknown.text, known);
    }
    lamina__free(names);
}

/* The values of a map. all: keys that are neither the table's nor in `also` are reported. */
static void read_map(lamina__table table, const lamina__node *map, void *values, bool all,
                     const char *const *also, const char *subject, lamina__diags *diags) {
    for (size_t i = 0; i < map->count; i++) {
        const lamina_param *param = find_param(table, map->keys[i]->text);
        if (param != NULL) {
            read_value(param, map->items[i], values, subject, diags);
        } else if (all && find_word(also, map->keys[i]->text) < 0) {
            report_unknown(table, map->keys[i], also, subject, diags);
        }
    }
}

lamina_status lamina__params_read_known(lamina__table table, const lamina__node *map, void *values,
                                        const char *subject, lamina__diags *diags) {
    size_t count_before = diags->count;
    lamina__params_default(table, values);
    if (map != NULL && map->kind == LAMINA__NODE_MAP) {
        read_map(table, map, values, false, NULL, subject, diags);
    }
    return diags->count > count_before ? LAMINA_ERROR_CONFIG : LAMINA_OK;
}

lamina_status lamina__params_read(lamina__table table, const lamina__node *map, void *values,
                                  const char *const *also, const char *subject,
                                  const lamina__node *at, lamina__diags *diags) {
    size_t count_before = diags->count;
    bool null = map == NULL || lamina__node_is_null(map);
    lamina__params_default(table, values);
    if (!null && map->kind != LAMINA__NODE_MAP) {
        return lamina__diag(diags, map, "%s: expected keys with values, {key: value}, got %s",
                            subject, show_node(map).text);
    }
    if (!null) {
        read_map(table, map, values, true, also, subject, diags);
    }
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        if (param->required && (null || lamina__node_get(map, param->name) == NULL)) {
            const lamina__node *place = null && at != NULL ? at : map;
            lamina__diag(diags, place, "%s: the key \"%s\" is missing; it has no default", subject,
                         param->name);
        }
    }
    if (diags->failed) {
        return LAMINA_ERROR_MEMORY;
    }
    return diags->count > count_before ? LAMINA_ERROR_CONFIG : LAMINA_OK;
}

static bool usable_scalar(const lamina__node *node, const char *expected, complaint *why) {
    if (node->kind != LAMINA__NODE_SCALAR || lamina__node_is_null(node)) {
        return complain(why, "expected %s, got %s", expected, show_node(node).text);
    }
    return true;
}

lamina_status lamina__read_int(const lamina__node *node, int64_t min, int64_t max,
                               const char *subject, int64_t *value, lamina__diags *diags) {
    complaint why;
    int64_t result;
    if (!usable_scalar(node, "a whole number", &why) ||
        !to_whole(node->text, min, max, &result, &why)) {
        return lamina__diag(diags, node, "%s: %s", subject, why.text);
    }
    *value = result;
    return LAMINA_OK;
}

lamina_status lamina__read_real(const lamina__node *node, const char *subject, double *value,
                                lamina__diags *diags) {
    complaint why;
    double result;
    if (!usable_scalar(node, "a number", &why) || !to_real(node->text, &result, &why)) {
        return lamina__diag(diags, node, "%s: %s", subject, why.text);
    }
    *value = result;
    return LAMINA_OK;
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* " >= 1", " 1 to 10", " > 0", " > 0, <= 10" */
static void add_range(const lamina_param *param, lamina__text *text) {
    if (!has_range(param) || (param->min <= -HUGE_RANGE && param->max >= HUGE_RANGE)) {
        return;
    }
    if (is_above_zero(param->min)) {
        lamina__text_add(text, " > 0");
        if (param->max < HUGE_RANGE) {
            lamina__text_add(text, ", <= ");
            lamina__text_add_double(text, param->max, false);
        }
    } else if (param->max >= HUGE_RANGE) {
        lamina__text_add(text, " >= ");
        lamina__text_add_double(text, param->min, false);
    } else if (param->min <= -HUGE_RANGE) {
        lamina__text_add(text, " <= ");
        lamina__text_add_double(text, param->max, false);
    } else {
        lamina__text_add(text, " ");
        lamina__text_add_double(text, param->min, false);
        lamina__text_add(text, " to ");
        lamina__text_add_double(text, param->max, false);
    }
}

static void add_choices(const lamina_param *param, lamina__text *text) {
    lamina__text_add(text, "one of ");
    for (size_t i = 0; i < count_words(param->choices); i++) {
        lamina__text_add(text, "%s%s", i ? ", " : "", param->choices[i]);
    }
}

void lamina__param_type_text(const lamina_param *param, lamina__text *text) {
    const char *element = is_whole(param) ? "int" : "real";
    switch (param->type) {
    case LAMINA_INT:
    case LAMINA_REAL:
        lamina__text_add(text, "%s", element);
        add_range(param, text);
        break;
    case LAMINA_BOOL:
        lamina__text_add(text, "true or false");
        break;
    case LAMINA_ENUM:
        add_choices(param, text);
        break;
    case LAMINA_STRING:
        lamina__text_add(text, "text");
        break;
    case LAMINA_REALS:
        lamina__text_add(text, "list of real");
        add_range(param, text);
        break;
    default:
        lamina__text_add(text, "list of up to %d %s", (int)param->max_count, element);
        add_range(param, text);
        if (param->choices != NULL) {
            lamina__text_add(text, ", or ");
            add_choices(param, text);
        }
    }
}

static void add_choice(const lamina_param *param, int32_t index, lamina__text *text) {
    bool known = index >= 0 && (size_t)index < count_words(param->choices);
    lamina__yaml_add_scalar(text, known ? param->choices[index] : "");
}

static void add_list(const lamina_param *param, const void *field, lamina__text *text) {
    const lamina_int_list *whole = param->type == LAMINA_INT_LIST ? field : NULL;
    const lamina_real_list *real = whole == NULL ? field : NULL;
    int32_t count = whole ? whole->count : real->count, word = whole ? whole->word : real->word;
    if (word >= 0) {
        add_choice(param, word, text);
        return;
    }
    lamina__text_add(text, count == 1 ? "" : "[");
    for (int32_t i = 0; i < count && i < LAMINA_MAX_LIST; i++) {
        lamina__text_add(text, i ? ", " : "");
        if (whole != NULL) {
            lamina__text_add(text, "%lld", (long long)whole->value[i]);
        } else {
            lamina__text_add_double(text, real->value[i], false);
        }
    }
    lamina__text_add(text, count == 1 ? "" : "]");
}

static void add_reals(const lamina_reals *list, lamina__text *text) {
    lamina__text_add(text, list->count == 1 ? "" : "[");
    for (int64_t i = 0; i < list->count; i++) {
        lamina__text_add(text, i ? ", " : "");
        lamina__text_add_double(text, list->value[i], false);
    }
    lamina__text_add(text, list->count == 1 ? "" : "]");
}

void lamina__param_value_text(const lamina_param *param, const void *values, lamina__text *text) {
    const void *field = (const char *)values + param->offset;
    const char *string;
    switch (param->type) {
    case LAMINA_INT:
        lamina__text_add(text, "%lld", (long long)*(const int64_t *)field);
        break;
    case LAMINA_REAL:
        lamina__text_add_double(text, *(const double *)field, false);
        break;
    case LAMINA_BOOL:
        lamina__text_add(text, *(const int32_t *)field ? "true" : "false");
        break;
    case LAMINA_ENUM:
        add_choice(param, *(const int32_t *)field, text);
        break;
    case LAMINA_STRING:
        string = *(const char *const *)field;
        if (string == NULL) {
            lamina__text_add(text, "null");
        } else {
            lamina__yaml_add_scalar(text, string);
        }
        break;
    case LAMINA_REALS:
        add_reals(field, text);
        break;
    default:
        add_list(param, field, text);
    }
}

void lamina__params_write(lamina__table table, const void *values, lamina__text *text) {
    bool first = true;
    for (size_t i = 0; i < table.count; i++) {
        const lamina_param *param = lamina__table_at(table, i);
        const void *field = (const char *)values + param->offset;
        if (param->type == LAMINA_STRING && *(const char *const *)field == NULL) {
            continue;
        }
        lamina__text_add(text, "%s%s: ", first ? "" : ", ", param->name);
        lamina__param_value_text(param, values, text);
        first = false;
    }
}
