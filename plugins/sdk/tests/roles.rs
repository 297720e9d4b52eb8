//! A plugin of every role, as somebody would write it with the SDK.

use tidelock_plugin::{
    Choice, Conflict, ContestedField, Failure, Fields, Kind, Param, Plugin, Record, Value, Violations, function,
    plugin, testing,
};

plugin! {
    roles: [field_transform, record_transform, validator, conflict_resolver];

    function("length", "How many characters a text has; null has none.")
        .output(Kind::Int)
        .nulls()
        .example_json("{}", r#""añb""#, "3")
        .example_json("{}", "null", "0")
        .values(|_| {
            Ok(|value: &Value<'_>| {
                let length = value.as_text().map_or(0, |text| text.chars().count());
                i64::try_from(length).map(Value::Int).map_err(|_| Failure::new("too-long", "more than 2^63 characters"))
            })
        }),

    function("weekday", "The day of the week, Monday = 1.")
        .inputs(&[Kind::Date, Kind::Local])
        .output(Kind::Int)
        .example_json("{}", r#""2026-11-25""#, "3")
        .example_json("{}", r#""2026-11-25T23:59:59""#, "3")
        .example_json("{}", r#""soon""#, r#"{"error":"wrong-kind"}"#)
        .values(|_| Ok(|value: &Value<'_>| Ok(Value::Int(weekday(value)))))
,
    function("total", "Adds two numbers, and leaves out what has neither.")
        .param(Param::text("into", "The field that takes the sum.").required())
        .example_json(r#"{"into":"sum"}"#, r#"{"a":1,"b":2,"c":3}"#, r#"{"sum":3}"#)
        .example_json(r#"{"into":"sum"}"#, r#"{"a":1}"#, r#"{"sum":1}"#)
        .example_json(r#"{"into":"sum"}"#, r#"{"a":null}"#, r#"{"sum":null}"#)
        .example_json(r#"{"into":"sum"}"#, "{}", "{}")
        .failure_json(r#"{"into":"sum"}"#, r#"{"a":9223372036854775807,"b":1}"#, "too-large")
        .failure_json("{}", "{}", "invalid-params")
        .records(|params| {
            let into = params.text("into").unwrap_or_default().to_owned();
            let fields = vec!["a".to_owned(), "b".to_owned()];
            Ok((fields, move |record: &Record<'_>, out: &mut Fields| total(record, &into, out)))
        }),

    function("needs_name_or_mail", "Refuses a record without any way to tell who it is.")
        .example_json("{}", r#"{"name":"Ada"}"#, "[]")
        .example_json("{}", r#"{"name":"","mail":null}"#, r#"[{"field":"","code":"unknown-person"},{"field":"name","code":"empty"}]"#)
        .validator(|_| Ok((vec!["name".to_owned(), "mail".to_owned()], known_person))),

    function("positive", "Refuses numbers below one.")
        .example_json(r#"{"field":"n"}"#, r#"{"n":1}"#, "[]")
        .example_json(r#"{"field":"n"}"#, r#"{"n":null}"#, "[]")
        .example_json("{}", r#"{"count":0,"n":5}"#, r#"[{"field":"count","code":"not-positive"}]"#)
        .field_validator("count", |_| {
            Ok(|value: &Value<'_>| match value {
                Value::Int(number) if *number < 1 => Err(Failure::new("not-positive", "below one")),
                _ => Ok(()),
            })
        }),

    function("longest", "Takes the longer text; a person decides where both are as long.")
        .example_json("{}", r#"{"base":null,"source":{"a":"long"},"target":{"a":"x"}}"#, r#"{"a":"long"}"#)
        .example_json("{}", r#"{"base":{"a":"b"},"source":{"a":"x","b":1},"target":{"a":"yy","b":1}}"#, r#"{"a":"yy"}"#)
        .example_json("{}", r#"{"base":{"a":"b"},"source":{"a":"x"},"target":{"a":"y"}}"#, r#""review""#)
        .field_resolver(|_| Ok(longest)),

    function("newest", "Takes the side that changed last; of the sum of both, where nobody knows.")
        .example_json(
            "{}",
            r#"{"base":{"n":1},"source":{"n":2},"target":{"n":3},"source_modified":"2026-01-02T00:00:00Z","target_modified":"2026-01-01T00:00:00Z"}"#,
            r#"{"n":2}"#,
        )
        .example_json("{}", r#"{"base":{"n":1},"source":{"n":2},"target":{"n":3}}"#, r#"{"n":5}"#)
        .example_json("{}", r#"{"base":{"n":"a"},"source":{"n":"b"},"target":{"n":"c"}}"#, r#""review""#)
        .resolver(|_| Ok((Vec::new(), newest))),
}

fn weekday(value: &Value<'_>) -> i64 {
    let days = match value {
        Value::Date(days) => i64::from(*days),
        Value::Local(micros) => micros.div_euclid(tidelock_plugin::calendar::MICROS_PER_DAY),
        _ => 0,
    };
    (days + 3).rem_euclid(7) + 1
}

fn total(record: &Record<'_>, into: &str, out: &mut Fields) -> Result<(), Failure> {
    let values: Vec<Value<'_>> = ["a", "b"].iter().filter_map(|name| record.get(name)).collect();
    let numbers: Vec<i64> = values.iter().filter_map(|v| if let Value::Int(n) = v { Some(*n) } else { None }).collect();
    let sum = numbers.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number));
    let sum = sum.ok_or_else(|| Failure::new("too-large", "the sum has more than 64 bits"))?;
    match (values.is_empty(), numbers.is_empty()) {
        (true, _) => out.skip(),
        (false, true) => out.set(into, Value::Null),
        (false, false) => out.set(into, sum),
    }
    Ok(())
}

fn known_person(record: &Record<'_>, violations: &mut Violations) {
    let given = |name: &str| record.text(name).is_some_and(|text| !text.is_empty());
    if !given("name") && !given("mail") {
        violations.add_record(Failure::new("unknown-person", "neither name nor mail"));
        violations.add("name", Failure::new("empty", "there is no name"));
    }
}

fn longest(field: &ContestedField<'_>) -> Result<Choice, Failure> {
    let length = |value: &Option<Value<'_>>| value.as_ref().and_then(Value::as_text).map_or(0, str::len);
    match length(&field.source).cmp(&length(&field.target)) {
        std::cmp::Ordering::Greater => Ok(Choice::Source),
        std::cmp::Ordering::Less => Ok(Choice::Target),
        std::cmp::Ordering::Equal => Err(Failure::new("undecided", "both are as long")),
    }
}

fn newest(conflict: &Conflict<'_>) -> Vec<(String, Choice)> {
    let times = conflict.source_modified().zip(conflict.target_modified());
    let choice = |field: ContestedField<'_>| {
        let choice = match (times, field.source, field.target) {
            (Some((source, target)), _, _) if source >= target => Choice::Source,
            (Some(_), _, _) => Choice::Target,
            (None, Some(Value::Int(source)), Some(Value::Int(target))) => Choice::Custom(Value::Int(source + target)),
            // Of another kind than the field.
            (None, _, _) => Choice::Custom(Value::Boolean(true)),
        };
        (field.name.to_owned(), choice)
    };
    conflict.fields().map(choice).collect()
}

#[test]
fn the_macro_takes_name_and_licence_from_the_crate() {
    assert_eq!(TidelockPlugin::NAME, "tidelock-plugin");
    assert_eq!(TidelockPlugin::LICENSE, "Apache-2.0");
    assert_eq!(TidelockPlugin::ROLES.len(), 4);
}

#[test]
fn a_function_is_called_in_its_own_role_only() {
    assert_eq!(testing::call::<TidelockPlugin>("positive", "{}", Some("a")), Err("wrong-role".to_owned()));
    assert_eq!(testing::call::<TidelockPlugin>("nothing", "{}", None), Err("unknown-function".to_owned()));
    assert_eq!(testing::call::<TidelockPlugin>("length", r#"{"x":1}"#, None), Err("invalid-params".to_owned()));
}
