// Hides all but the last characters of a text: a field transform, one text per value.

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/simple_transform_plugin.h"

#define NAME "last_four"

// The bindings' names are long; these are the same types.
typedef simple_transform_plugin_string_t text_t;
typedef simple_transform_plugin_option_string_t optional_text_t;
typedef exports_tidelock_plugin_simple_transform_result_option_string_failure_t answer_t;
typedef exports_tidelock_plugin_meta_example_t example_t;

// How many characters stay.
#define KEPT 4

// What is returned is freed by the bindings after the call, so every text and list is a copy of its own.
static text_t text(const char *literal) {
    text_t copy;
    simple_transform_plugin_string_dup(&copy, literal);
    return copy;
}

static void *list_of(size_t count, size_t size) {
    void *list = calloc(count == 0 ? 1 : count, size);
    if (list == NULL) abort();
    return list;
}

// The first byte of a character in UTF-8 is not a continuation (10xxxxxx).
static bool begins_character(uint8_t byte) { return (byte & 0xc0) != 0x80; }

// Every character but the last four becomes a `*`; a text of four or fewer stays hidden altogether.
static text_t masked(const text_t *value) {
    size_t characters = 0;
    for (size_t i = 0; i < value->len; i++) characters += begins_character(value->ptr[i]);
    size_t hidden = characters > KEPT ? characters - KEPT : characters;

    text_t out = {.ptr = list_of(value->len, 1), .len = 0};
    size_t seen = 0;
    for (size_t i = 0; i < value->len; i++) {
        seen += begins_character(value->ptr[i]);
        if (seen > hidden) {
            out.ptr[out.len++] = value->ptr[i];
        } else if (begins_character(value->ptr[i])) {
            out.ptr[out.len++] = '*';
        }
    }
    return out;
}

static answer_t answer(const optional_text_t *value) {
    answer_t answer = {.is_err = false};
    if (value->is_some) answer.val.ok = (optional_text_t){.is_some = true, .val = masked(&value->val)};
    return answer;
}

bool exports_tidelock_plugin_simple_transform_apply(
    exports_tidelock_plugin_simple_transform_context_t *ctx, text_t *function, text_t *params,
    exports_tidelock_plugin_simple_transform_kind_t kind, simple_transform_plugin_list_option_string_t *values,
    exports_tidelock_plugin_simple_transform_list_result_option_string_failure_t *ret,
    exports_tidelock_plugin_simple_transform_plugin_error_t *err) {
    (void)kind, (void)err;
    ret->len = values->len;
    ret->ptr = list_of(values->len, sizeof(answer_t));
    for (size_t i = 0; i < values->len; i++) ret->ptr[i] = answer(&values->ptr[i]);

    // The arguments are ours to free.
    exports_tidelock_plugin_simple_transform_context_free(ctx);
    simple_transform_plugin_string_free(function);
    simple_transform_plugin_string_free(params);
    simple_transform_plugin_list_option_string_free(values);
    return true;
}

void exports_tidelock_plugin_meta_describe(exports_tidelock_plugin_meta_plugin_info_t *ret) {
    static const char *const examples[][2] = {
        {"\"4111 1111 1111 1234\"", "\"***************1234\""},
        {"\"Zo\u00eb Zoë\"", "\"*** Zoë\""},
        {"\"1234\"", "\"****\""},
        {"null", "null"},
    };
    size_t count = sizeof(examples) / sizeof(examples[0]);
    example_t *listed = list_of(count, sizeof(example_t));
    for (size_t i = 0; i < count; i++) {
        listed[i] = (example_t){.params = text("{}"), .input = text(examples[i][0]), .output = text(examples[i][1])};
    }
    text_t *inputs = list_of(1, sizeof(text_t));
    inputs[0] = text("text");
    exports_tidelock_plugin_meta_function_info_t *function = list_of(1, sizeof(*function));
    *function = (exports_tidelock_plugin_meta_function_info_t){
        .name = text(NAME),
        .doc = text("Hides all characters but the last four."),
        .role = text("field-transform"),
        .inputs = {.ptr = inputs, .len = 1},
        .output = text("text"),
        .deterministic = true,
        .idempotent = true,
        .reverse = text(""),
        .params_schema = text("{\"type\":\"object\",\"additionalProperties\":false}"),
        .examples = {.ptr = listed, .len = count},
    };
    *ret = (exports_tidelock_plugin_meta_plugin_info_t){
        .name = text(NAME),
        .version = text("0.1.0"),
        .functions = {.ptr = function, .len = 1},
        .extra = text("{}"),
    };
}
