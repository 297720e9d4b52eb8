//! `format_phone`: a phone number of any region, in one format. How is in [`phone`].

#[cfg(test)]
mod agreement;
mod phone;
mod plan;
mod read;

use phone::{FORMATS, Style};
use tidelock_plugin::{Param, Text, function, plugin};

plugin! {
    function(
        "format_phone",
        "Checks a phone number against its country's numbering plan and writes it in one format. Extensions are kept, but \
         for e164, which has no place for them.",
    )
    .param(Param::text(
        "region",
        "Two-letter ISO 3166 code of the country where numbers without a country code are at home. Without it, \
         only numbers with a + and a country code are read.",
    ))
    .param(Param::choice(
        "format",
        &FORMATS,
        "e164 is the default. national needs a region; a number from elsewhere is then written as international.",
    ))
    .idempotent()
    .example("+1 (425) 555-0123", "+14255550123")
    .example_with(r#"{"region":"US"}"#, "(206) 342-8631", "+12063428631")
    .example_with(r#"{"region":"DE"}"#, "0711 2842222", "+497112842222")
    .example_with(r#"{"format":"international"}"#, "+442079460958", "+44 20 7946 0958")
    .example_with(r#"{"region":"US","format":"national"}"#, "+12063428631", "(206) 342-8631")
    .example_with(r#"{"region":"US","format":"rfc3966"}"#, "206-342-8631 ext. 7", "tel:+1-206-342-8631;ext=7")
    .failure("{}", "(206) 342-8631", "invalid-phone")
    .failure(r#"{"region":"US"}"#, "12", "invalid-phone")
    .failure(r#"{"format":"national"}"#, "+12063428631", "invalid-params")
    .example_json("{}", "null", "null")
    .open(|params| {
        let style = Style::from_params(params)?;
        Ok(move |value: &str, out: &mut Text| style.write(value, out))
    })
}
