//! Small functions over text: `normalize_space`, `null_if_empty`, `default_if_empty`, `truncate`, `mask`, `slug`.

mod slug;

use tidelock_plugin::{Param, ParamError, Text, Value, function, plugin};

plugin! {
    function("normalize_space", "Removes white space at both ends and writes one space for every run of it inside, line breaks included.")
        .idempotent()
        .example("  Ada \t King\u{a0}\r\nLovelace ", "Ada King Lovelace")
        .example(" ", "")
        .example_json("{}", "null", "null")
        .write(|value, out| {
            for (at, word) in value.split_whitespace().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(word);
            }
        }),

    function("null_if_empty", "Makes null of text without anything but white space; other text stays as it is.")
        .idempotent()
        .example("Ada", "Ada")
        .example(" Ada ", " Ada ")
        .example_json("{}", r#"" ""#, "null")
        .example_json("{}", r#""""#, "null")
        .example_json("{}", "null", "null")
        .values(|_| Ok(|value: &Value<'_>| {
            Ok(if is_blank(value) { Value::Null } else { value.clone().into_owned() })
        })),

    function("default_if_empty", "Puts a text in place of null and of text without anything but white space.")
        .param(Param::text("value", "What to put there.").required())
        .nulls()
        .idempotent()
        .example_with(r#"{"value":"unknown"}"#, "Ada", "Ada")
        .example_with(r#"{"value":"unknown"}"#, " ", "unknown")
        .example_json(r#"{"value":"unknown"}"#, "null", r#""unknown""#)
        .failure("{}", "Ada", "invalid-params")
        .values(|params| {
            let default = params.text("value").unwrap_or_default().to_owned();
            Ok(move |value: &Value<'_>| {
                Ok(if is_blank(value) { Value::from(default.clone()) } else { value.clone().into_owned() })
            })
        }),

    function("truncate", "Cuts a text after so many characters, and white space before the cut.")
        .param(Param::integer("length", "How many characters to keep.").required())
        .param(Param::text("ending", "What to put behind a text that was cut, such as \"…\"; it counts as well."))
        .idempotent()
        .example_with(r#"{"length":5}"#, "Ada Lovelace", "Ada L")
        .example_with(r#"{"length":4}"#, "Ada Lovelace", "Ada")
        .example_with(r#"{"length":7,"ending":"…"}"#, "Ada Lovelace", "Ada Lo…")
        .example_with(r#"{"length":5}"#, "añb", "añb")
        .failure(r#"{"length":-1}"#, "Ada", "invalid-params")
        .failure(r#"{"length":1,"ending":"..."}"#, "Ada", "invalid-params")
        .example_json(r#"{"length":5}"#, "null", "null")
        .open(|params| {
            let length = params.integer("length").and_then(|length| usize::try_from(length).ok());
            let length = length.ok_or_else(|| ParamError::new("length", "expected 0 or more"))?;
            let ending = params.text("ending").unwrap_or_default().to_owned();
            let kept = length.checked_sub(ending.chars().count());
            let kept = kept.ok_or_else(|| ParamError::new("ending", "longer than \"length\""))?;
            Ok(move |value: &str, out: &mut Text| {
                truncate(value, length, kept, &ending, out);
                Ok(())
            })
        }),

    function("mask", "Writes * for every letter and digit but the last few: 4111 1111 1111 1234 becomes **** **** **** 1234.")
        .param(Param::integer("keep", "How many letters and digits to keep at the end; 4 by default."))
        .idempotent()
        .example("4111 1111 1111 1234", "**** **** **** 1234")
        .example("DE89-3704", "****-3704")
        .example("123", "123")
        .example_with(r#"{"keep":0}"#, "Ada 1", "*** *")
        .failure(r#"{"keep":-1}"#, "Ada", "invalid-params")
        .example_json("{}", "null", "null")
        .open(|params| {
            let keep = usize::try_from(params.integer("keep").unwrap_or(4));
            let keep = keep.map_err(|_| ParamError::new("keep", "expected 0 or more"))?;
            Ok(move |value: &str, out: &mut Text| {
                mask(value, keep, out);
                Ok(())
            })
        }),

    function(
        "slug",
        "Writes a text as it can stand in an address: small letters and digits with hyphens between them, accents of Latin letters removed.",
    )
    .idempotent()
    .example("  Crème Brûlée & Café! ", "creme-brulee-cafe")
    .example("Straße No. 5", "strasse-no-5")
    .example("Łódź", "lodz")
    .example("東京 Tower", "東京-tower")
    .example("---", "")
    .example_json("{}", "null", "null")
    .write(slug::slug),
}

fn is_blank(value: &Value<'_>) -> bool {
    value.as_text().is_none_or(|text| text.trim().is_empty())
}

/// Appends a text of at most `length` characters: itself, or its first `kept` and the ending.
fn truncate(value: &str, length: usize, kept: usize, ending: &str, out: &mut Text) {
    if value.char_indices().nth(length).is_none() {
        out.push_str(value);
        return;
    }
    let end = value.char_indices().nth(kept).map_or(value.len(), |(at, _)| at);
    out.push_str(value.get(..end).unwrap_or_default().trim_end());
    out.push_str(ending);
}

/// Appends a text of which the last `keep` letters and digits can be read.
fn mask(value: &str, keep: usize, out: &mut Text) {
    let hidden = value.chars().filter(|c| c.is_alphanumeric()).count().saturating_sub(keep);
    let mut seen = 0;
    for character in value.chars() {
        seen += usize::from(character.is_alphanumeric());
        out.push(if character.is_alphanumeric() && seen <= hidden { '*' } else { character });
    }
}

#[cfg(test)]
mod tests {
    use super::TidelockPlugin;
    use tidelock_plugin::testing::call;

    #[test]
    fn twice_is_once_for_every_character_in_every_place() {
        let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]) || c.is_whitespace();
        let functions = [
            ("normalize_space", "{}"),
            ("truncate", r#"{"length":2}"#),
            ("truncate", r#"{"length":3,"ending":" …"}"#),
            ("mask", r#"{"keep":1}"#),
            ("slug", "{}"),
        ];
        for character in ('\0'..=char::MAX).filter(|c| *c < '\u{900}' || cased(c)) {
            let text = format!("{character}a{character} {character}");
            for (name, params) in functions {
                let once = call::<TidelockPlugin>(name, params, Some(&text)).unwrap();
                assert_eq!(call::<TidelockPlugin>(name, params, once.as_deref()), Ok(once), "{name} of {text:?}");
            }
        }
    }

    #[test]
    fn nothing_that_is_hidden_can_be_read() {
        for text in ["12", "1234", "12345", "ab-cd-ef", "ÄÖÜ ßé", ""] {
            let masked = call::<TidelockPlugin>("mask", r#"{"keep":2}"#, Some(text)).unwrap().unwrap();
            let readable = masked.chars().filter(|c| c.is_alphanumeric()).count();
            assert_eq!(readable, text.chars().filter(|c| c.is_alphanumeric()).count().min(2), "{text}");
            assert_eq!(masked.chars().count(), text.chars().count());
        }
    }
}
