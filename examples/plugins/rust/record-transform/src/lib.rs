//! "Ada" and "Lovelace" become "A. Lovelace": a record transform, two fields in and one out.
use tidelock_plugin::{Failure, Fields, Record, Value, function, plugin};

plugin! {
    roles: [record_transform];
    function("initial_and_name", "short_name from first_name and last_name; null where there is no last name.")
        .example_json("{}", r#"{"first_name":"Ada","last_name":"Lovelace"}"#, r#"{"short_name":"A. Lovelace"}"#)
        .example_json("{}", r#"{"first_name":null,"last_name":"Plato"}"#, r#"{"short_name":"Plato"}"#)
        .example_json("{}", r#"{"first_name":"Ada","last_name":null}"#, r#"{"short_name":null}"#)
        .records(|_| Ok((vec!["first_name".to_owned(), "last_name".to_owned()], short_name)))
}

fn short_name(record: &Record<'_>, out: &mut Fields) -> Result<(), Failure> {
    let given = |field| record.text(field).filter(|text| !text.is_empty());
    match (given("first_name").and_then(|name| name.chars().next()), given("last_name")) {
        (Some(initial), Some(name)) => out.set("short_name", format!("{initial}. {name}")),
        (None, Some(name)) => out.set("short_name", name.to_owned()),
        (_, None) => out.set("short_name", Value::Null),
    }
    Ok(())
}
