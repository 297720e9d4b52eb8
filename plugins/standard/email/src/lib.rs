//! E-mail addresses: `format_email` writes them in one way, `email_format` says whether they are any. The rules are in [`address`].

mod address;

use address::{check, normalize};
use tidelock_plugin::{Failure, Param, Text, Value, function, plugin};

plugin! {
    roles: [field_transform, validator];

    function(
        "format_email",
        "Writes an e-mail address in one way: without white space, mailto: or angle brackets around it, the domain in lower case.",
    )
    .param(Param::flag(
        "lowercase",
        "Also writes the part before the @ in lower case. Only the receiving system knows whether it cares; nearly none does.",
    ))
    .idempotent()
    .example(" Ada.Lovelace@Example.ORG ", "Ada.Lovelace@example.org")
    .example("<mailto:ada@example.org>", "ada@example.org")
    .example("jürgen@BÜCHER.example", "jürgen@bücher.example")
    .example_with(r#"{"lowercase":true}"#, "Ada.Lovelace@Example.ORG", "ada.lovelace@example.org")
    .failure("{}", "ada at example.org", "invalid-email")
    .failure("{}", "", "invalid-email")
    .example_json("{}", "null", "null")
    .open(|params| {
        let lowercase = params.flag("lowercase").unwrap_or(false);
        Ok(move |value: &str, out: &mut Text| normalize(value, lowercase, out))
    }),

    function(
        "email_format",
        "Refuses what is no e-mail address: name@domain, both as mail is sent today. No comments, no quoted names, no address literals; \
         white space around it is refused too, as format_email takes it away.",
    )
    .example_json("{}", r#"{"email":"ada@example.org"}"#, "[]")
    .example_json("{}", r#"{"email":"ada+crm@mail.example.co.uk"}"#, "[]")
    .example_json("{}", r#"{"email":null}"#, "[]")
    .example_json("{}", r#"{"email":"ada@example"}"#, r#"[{"field":"email","code":"invalid-email"}]"#)
    .example_json(r#"{"field":"mail"}"#, r#"{"mail":"a..b@example.org"}"#, r#"[{"field":"mail","code":"invalid-email"}]"#)
    .field_validator("email", |_| {
        Ok(|value: &Value<'_>| {
            check(value.as_text().ok_or_else(|| Failure::new("invalid-email", "the value is no text"))?)
        })
    }),
}
