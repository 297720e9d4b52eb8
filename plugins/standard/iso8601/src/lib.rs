//! `iso8601`: dates and times in many spellings become ISO 8601 text. How they are read is in [`read`], what is written in
//! [`moment`].

mod moment;
mod read;

use moment::{As, Style, offset};
use read::read;
use tidelock_plugin::{Param, ParamError, Params, Text, function, plugin};

plugin! {
    function(
        "iso8601",
        "Writes a date or time as ISO 8601: 2024-02-29, 2024-02-29T13:37:00 without a zone, 2024-02-29T13:37:00Z with one (always in UTC). \
         Reads year first, day or month first, month names in English, 12 and 24 hours, offsets. Two-digit years from 69 on are of the 1900s. \
         Blank text becomes empty.",
    )
    .param(Param::flag(
        "day_first",
        "Whether 03/04/2024 is the 3rd of April (true) or the 4th of March (false). Without it a date that can be read both ways fails.",
    ))
    .param(Param::text(
        "zone",
        "UTC offset of values that name none, such as \"+02:00\" or \"Z\"; a time without a zone then becomes one with.",
    ))
    .param(Param::choice(
        "as",
        &["date", "local", "instant"],
        "What to write whatever the value has: the day alone, a time without a zone, a time in UTC. A value with an offset becomes a date \
         or local time of the parameter \"zone\", else of its own offset.",
    ))
    .idempotent()
    .example("2024-02-29 13:37", "2024-02-29T13:37:00")
    .example("29 Feb 2024", "2024-02-29")
    .example("February 29th, 2024 1:37 pm", "2024-02-29T13:37:00")
    .example("Thu, 29 Feb 2024 13:37:00 +0100", "2024-02-29T12:37:00Z")
    .example("20240229T133700.250Z", "2024-02-29T13:37:00.25Z")
    .example("29.2.24", "2024-02-29")
    .example_with(r#"{"day_first":true}"#, "03/04/2024", "2024-04-03")
    .example_with(r#"{"day_first":false}"#, "03/04/2024", "2024-03-04")
    .example_with(r#"{"zone":"+02:00"}"#, "2024-02-29 13:37", "2024-02-29T11:37:00Z")
    .example_with(r#"{"as":"date"}"#, "2024-02-29T23:30:00-05:00", "2024-02-29")
    .example_with(r#"{"as":"date","zone":"Z"}"#, "2024-02-29T23:30:00-05:00", "2024-03-01")
    .example_with(r#"{"as":"instant","zone":"+01:00"}"#, "2024-03-01", "2024-02-29T23:00:00Z")
    .failure("{}", "03/04/2024", "ambiguous-date")
    .failure("{}", "2023-02-29", "invalid-date")
    .failure("{}", "tomorrow", "invalid-date")
    .failure(r#"{"as":"instant"}"#, "2024-02-29 13:37", "no-zone")
    .failure(r#"{"zone":"Europe/Paris"}"#, "2024-02-29", "invalid-params")
    .example("", "")
    .example_json("{}", "null", "null")
    .open(|params| {
        let (style, day_first) = (style(params)?, params.flag("day_first"));
        Ok(move |value: &str, out: &mut Text| {
            if !value.trim().is_empty() {
                style.write(&read(value, day_first)?, out)?;
            }
            Ok(())
        })
    })
}

fn style(params: &Params) -> Result<Style, ParamError> {
    let zone = params.text("zone").map(|text| {
        offset(text).ok_or_else(|| ParamError::new("zone", "expected an offset from UTC such as \"+02:00\", or \"Z\""))
    });
    let as_kind = match params.text("as") {
        Some("date") => As::Date,
        Some("local") => As::Local,
        Some("instant") => As::Instant,
        _ => As::Written,
    };
    Ok(Style { as_kind, zone: zone.transpose()? })
}
