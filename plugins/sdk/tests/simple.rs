//! The easy interface through the SDK: any kind, null included.

use tidelock_plugin::{Failure, Param, SimplePlugin, function, simple_plugin, testing};

simple_plugin! {
    function("or_else", "Another value in place of null.")
        .param(Param::text("value", "What to put there.").required())
        .example_json(r#"{"value":"0.00"}"#, "null", r#""0.00""#)
        .example_json(r#"{"value":"0.00"}"#, r#""1.50""#, r#""1.50""#)
        .failure(r#"{"value":"x"}"#, "-", "refused")
        .failure("{}", "1", "invalid-params")
        .simple(&[], "same", |params, value| match value {
            Some("-") => Err(Failure::new("refused", "a dash is no value")),
            Some(text) => Ok(Some(text.to_owned())),
            None => Ok(params.text("value").map(str::to_owned)),
        })
}

#[test]
fn the_macro_takes_name_and_licence_from_the_crate() {
    assert_eq!(TidelockPlugin::NAME, "tidelock-plugin");
    assert_eq!(TidelockPlugin::LICENSE, "Apache-2.0");
    testing::assert_simple_examples::<TidelockPlugin>();
}
