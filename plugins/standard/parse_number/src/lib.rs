//! `parse_number`: a number as people write it becomes a decimal. How is in [`number`].

mod number;

use number::{Decimal, blank, read};
use tidelock_plugin::{Failure, Kind, Param, Value, function, plugin};

plugin! {
    function(
        "parse_number",
        "Reads a number with thousands separators, a currency sign or code, and a minus in front, behind, or as parentheses, into a decimal of \
         any length; no digit is lost. Blank text becomes null. What is a number already stays as it is.",
    )
    .param(Param::choice(
        "decimal",
        &[".", ","],
        "What stands before the decimals: . by default. The other one, spaces, apostrophes and _ separate thousands.",
    ))
    .inputs(&[Kind::Text, Kind::Decimal, Kind::Int, Kind::Float])
    .output(Kind::Decimal)
    .idempotent()
    .example("$ 1,234.50", "1234.5")
    .example("(1 234)", "-1234")
    .example("12,34,567.8", "1234567.8")
    .example("123456789012345678901234567890.000000001", "123456789012345678901234567890.000000001")
    .example_with(r#"{"decimal":","}"#, "1.234,50 €", "1234.5")
    .example_with(r#"{"decimal":","}"#, "CHF 1'234,5-", "-1234.5")
    .example_json("{}", "1234", r#""1234""#)
    .example_json("{}", r#"" ""#, "null")
    .failure("{}", "1,5", "invalid-number")
    .failure("{}", "12 pieces", "invalid-number")
    .example_json("{}", "null", "null")
    .values(|params| {
        let comma = params.text("decimal") == Some(",");
        let (point, other) = if comma { (',', '.') } else { ('.', ',') };
        Ok(move |value: &Value<'_>| parse(value, point, other))
    })
}

/// The decimal of a value. Only text is in somebody's spelling.
fn parse(value: &Value<'_>, point: char, other: char) -> Result<Value<'static>, Failure> {
    let decimal = |text: Option<String>| match text {
        Some(text) => Ok(Value::Decimal(text.into())),
        None => Err(Failure::new(
            "invalid-number",
            "the value is not a number, or its separators do not stand where thousands are; see the parameter \"decimal\"",
        )),
    };
    match value {
        Value::Text(text) if blank(text) => Ok(Value::Null),
        Value::Text(text) => decimal(read(text, point, other)),
        // The host's own spelling; not-a-number and infinities are numbers to a double only.
        Value::Decimal(text) => decimal(Decimal::read(text, '.').map(Decimal::canonical)),
        other => decimal(other.to_text().and_then(|text| Decimal::read(&text, '.').map(Decimal::canonical))),
    }
}

#[cfg(test)]
mod tests {
    use super::TidelockPlugin;
    use tidelock_plugin::Value;
    use tidelock_plugin::testing::transform;

    #[test]
    fn numbers_stay_what_they_are_whatever_the_separator() {
        for params in ["{}", r#"{"decimal":","}"#] {
            for (value, text) in [
                (Value::Decimal("-0.50".into()), "-0.5"),
                (Value::Decimal("1E+3".into()), "1000"),
                (Value::Int(i64::MIN), "-9223372036854775808"),
                (Value::Float(1e21), "1000000000000000000000"),
                (Value::Float(-0.1), "-0.1"),
            ] {
                let decimal = Value::Decimal(text.into());
                assert_eq!(transform::<TidelockPlugin>("parse_number", params, &value), Ok(decimal.clone()));
                assert_eq!(transform::<TidelockPlugin>("parse_number", params, &decimal), Ok(decimal));
            }
            let nan = transform::<TidelockPlugin>("parse_number", params, &Value::Float(f64::NAN));
            assert_eq!(nan, Err("invalid-number".to_owned()));
        }
    }
}
