//! Names of people in one field or in two: `split_name` and `merge_name`. The rules are in [`person`].

mod person;

use person::{merge, split};
use tidelock_plugin::{Failure, Fields, Param, Params, Record, Value, function, plugin};

/// The parameters of both functions, and the fields where they say nothing.
const FIELDS: [&str; 3] = ["full_name", "first_name", "last_name"];

plugin! {
    roles: [record_transform];

    function(
        "split_name",
        "One field to two: first and last name. Last, First is understood; particles (van, de, ...) and endings (Jr., III) belong to the \
         last name; a single word is a last name. White space is tidied up.",
    )
    .param(Param::text("full_name", "The field that has the whole name; full_name by default."))
    .param(Param::text("first_name", "The field that takes the first name; first_name by default."))
    .param(Param::text("last_name", "The field that takes the last name; last_name by default."))
    .example_json("{}", r#"{"full_name":"Ada King Lovelace"}"#, r#"{"first_name":"Ada King","last_name":"Lovelace"}"#)
    .example_json("{}", r#"{"full_name":"van Beethoven, Ludwig"}"#, r#"{"first_name":"Ludwig","last_name":"van Beethoven"}"#)
    .example_json("{}", r#"{"full_name":" Martin Luther  King Jr. "}"#, r#"{"first_name":"Martin Luther","last_name":"King Jr."}"#)
    .example_json("{}", r#"{"full_name":"Plato"}"#, r#"{"first_name":null,"last_name":"Plato"}"#)
    .example_json("{}", r#"{"full_name":null}"#, r#"{"first_name":null,"last_name":null}"#)
    .example_json("{}", r#"{"id":1}"#, "{}")
    .example_json(
        r#"{"full_name":"name","first_name":"given","last_name":"family"}"#,
        r#"{"name":"Ada Lovelace"}"#,
        r#"{"given":"Ada","family":"Lovelace"}"#,
    )
    .records(|params| {
        let [full, first, last] = names(params);
        let fields = vec![full.clone()];
        Ok((fields, move |record: &Record<'_>, out: &mut Fields| {
            if record.get(&full).is_some() {
                let name = record.text(&full).unwrap_or_default();
                let (given, family) = split(&name);
                out.set(&first, or_null(&given));
                out.set(&last, or_null(&family));
            }
            Ok::<(), Failure>(())
        }))
    }),

    function(
        "merge_name",
        "Two fields to one: first and last name with a space between them. The other direction of split_name.",
    )
    .param(Param::text("full_name", "The field that takes the whole name; full_name by default."))
    .param(Param::text("first_name", "The field that has the first name; first_name by default."))
    .param(Param::text("last_name", "The field that has the last name; last_name by default."))
    .example_json("{}", r#"{"first_name":"Ada","last_name":"Lovelace"}"#, r#"{"full_name":"Ada Lovelace"}"#)
    .example_json("{}", r#"{"first_name":null,"last_name":"Plato"}"#, r#"{"full_name":"Plato"}"#)
    .example_json("{}", r#"{"first_name":" ","last_name":null}"#, r#"{"full_name":null}"#)
    .example_json("{}", r#"{"id":1}"#, "{}")
    .example_json(
        r#"{"full_name":"name","first_name":"given","last_name":"family"}"#,
        r#"{"given":"Ada","family":"Lovelace"}"#,
        r#"{"name":"Ada Lovelace"}"#,
    )
    .records(|params| {
        let [full, first, last] = names(params);
        let fields = vec![first.clone(), last.clone()];
        Ok((fields, move |record: &Record<'_>, out: &mut Fields| {
            if record.get(&first).is_some() || record.get(&last).is_some() {
                let part = |name: &str| record.text(name).unwrap_or_default();
                out.set(&full, or_null(&merge(&part(&first), &part(&last))));
            }
            Ok::<(), Failure>(())
        }))
    }),
}

/// The names of the fields, in the order of [`FIELDS`].
fn names(params: &Params) -> [String; 3] {
    FIELDS.map(|field| params.text(field).unwrap_or(field).to_owned())
}

fn or_null(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Null } else { Value::from(text) }
}
