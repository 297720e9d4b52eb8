//! Resolvers that keep what both sides did: `merge_text` and `merge_tags`.

mod lines;
mod tags;

use lines::merge_lines;
use tags::merge_tags;
use tidelock_plugin::{Choice, ContestedField, Failure, Param, ParamError, Value, function, plugin};

plugin! {
    roles: [conflict_resolver];

    function(
        "merge_text",
        "Merges texts by line, as version control does: what one side changed is taken. Where both changed the same lines or lines next to \
         each other, or nothing was agreed before, a person decides.",
    )
    .example_json(
        "{}",
        r#"{"base":{"notes":"one\ntwo\nthree"},"source":{"notes":"one!\ntwo\nthree"},"target":{"notes":"one\ntwo\nthree\nfour"}}"#,
        r#"{"notes":"one!\ntwo\nthree\nfour"}"#,
    )
    .example_json(
        "{}",
        r#"{"base":{"notes":"one"},"source":{"notes":"ONE"},"target":{"notes":"1"}}"#,
        r#""review""#,
    )
    .example_json("{}", r#"{"base":null,"source":{"notes":"one"},"target":{"notes":"two"}}"#, r#""review""#)
    .example_json("{}", r#"{"base":{"n":1},"source":{"n":2},"target":{"n":3}}"#, r#""review""#)
    .field_resolver(|_| Ok(text_choice)),

    function(
        "merge_tags",
        "Merges lists of tags: what one side added is added, what one side removed is removed. Without anything agreed before, all tags are \
         kept. The target's order comes first; null and empty are a list without tags.",
    )
    .param(Param::text("separator", "What stands between tags; a comma by default. White space around tags does not count."))
    .example_json(
        "{}",
        r#"{"base":{"tags":"red, blue"},"source":{"tags":"red, blue, new"},"target":{"tags":"blue, hot"}}"#,
        r#"{"tags":"blue, hot, new"}"#,
    )
    .example_json(
        r#"{"separator":";"}"#,
        r#"{"base":null,"source":{"tags":"b;a"},"target":{"tags":"a;c"}}"#,
        r#"{"tags":"a;c;b"}"#,
    )
    .example_json("{}", r#"{"base":{"tags":"a,b"},"source":{"tags":"a"},"target":{"tags":null}}"#, r#"{"tags":null}"#)
    .example_json("{}", r#"{"base":{"n":1},"source":{"n":2},"target":{"n":3}}"#, r#""review""#)
    .field_resolver(|params| {
        let separator = params.text("separator").unwrap_or(",").trim().to_owned();
        if separator.is_empty() {
            return Err(ParamError::new("separator", "expected something other than white space, such as \",\" or \";\""));
        }
        Ok(move |field: &ContestedField<'_>| tags_choice(field, &separator))
    }),
}

fn text_choice(field: &ContestedField<'_>) -> Result<Choice, Failure> {
    let text = |value: &Option<Value<'_>>| value.as_ref().and_then(Value::as_text).map(str::to_owned);
    let sides = text(&field.base).zip(text(&field.source)).zip(text(&field.target));
    let ((base, source), target) = sides.ok_or_else(|| review("one side has no text, or nothing was agreed before"))?;
    let merged = merge_lines(&base, &source, &target).ok_or_else(|| review("both sides changed the same lines"))?;
    Ok(chosen(field, merged))
}

fn tags_choice(field: &ContestedField<'_>, separator: &str) -> Result<Choice, Failure> {
    let list = |value: &Option<Value<'_>>| match value {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::Text(text)) => Ok(text.clone().into_owned()),
        Some(_) => Err(review("the field is no text")),
    };
    let merged = merge_tags(&list(&field.base)?, &list(&field.source)?, &list(&field.target)?, separator);
    let nulls = [&field.source, &field.target].iter().any(|side| matches!(side, Some(Value::Null)));
    if merged.is_empty() && nulls { Ok(Choice::Custom(Value::Null)) } else { Ok(chosen(field, merged)) }
}

/// A side where it already says this, else the text.
fn chosen(field: &ContestedField<'_>, merged: String) -> Choice {
    let says = |side: &Option<Value<'_>>| side.as_ref().and_then(Value::as_text) == Some(merged.as_str());
    if says(&field.target) {
        Choice::Target
    } else if says(&field.source) {
        Choice::Source
    } else {
        Choice::Custom(Value::from(merged))
    }
}

fn review(reason: &str) -> Failure {
    Failure::new("review", reason)
}
