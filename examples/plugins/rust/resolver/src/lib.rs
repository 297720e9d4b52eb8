//! Keeps the longer of two texts: a conflict resolver, asked about every contested field.
use tidelock_plugin::{Choice, ContestedField, Failure, Value, function, plugin};

plugin! {
    roles: [conflict_resolver];
    function("longer_text", "Keeps the longer text, for notes that both sides add to; of two as long, a person decides.")
        .example_json(
            "{}",
            r#"{"base":{"note":"Call"},"source":{"note":"Call on Monday"},"target":{"note":"Call him"}}"#,
            r#"{"note":"Call on Monday"}"#,
        )
        .example_json("{}", r#"{"base":{"note":"a"},"source":{"note":"b"},"target":{"note":"c"}}"#, r#""review""#)
        .field_resolver(|_| Ok(longer))
}

fn longer(field: &ContestedField<'_>) -> Result<Choice, Failure> {
    let length = |side: &Option<Value<'_>>| side.as_ref().and_then(Value::as_text).map_or(0, |text| text.chars().count());
    match length(&field.source).cmp(&length(&field.target)) {
        std::cmp::Ordering::Greater => Ok(Choice::Source),
        std::cmp::Ordering::Less => Ok(Choice::Target),
        std::cmp::Ordering::Equal => Err(Failure::new("as-long", "both texts are as long")),
    }
}
