//! Refuses records whose dates are in the wrong order: a validator over two fields.
use tidelock_plugin::{Failure, Param, Record, Violations, function, plugin};

plugin! {
    roles: [validator];
    function("date_order", "Refuses records that end before they begin. Dates are compared as texts: year, month, day.")
        .param(Param::text("first", "The earlier date's field; starts_on by default."))
        .param(Param::text("last", "The later date's field; ends_on by default."))
        .example_json("{}", r#"{"starts_on":"2026-01-31","ends_on":"2026-02-01"}"#, "[]")
        .example_json("{}", r#"{"starts_on":"2026-01-31","ends_on":null}"#, "[]")
        .example_json(
            r#"{"first":"a","last":"b"}"#,
            r#"{"a":"2026-02-01","b":"2026-01-31"}"#,
            r#"[{"field":"b","code":"before-start"}]"#,
        )
        .validator(|params| {
            let first = params.text("first").unwrap_or("starts_on").to_owned();
            let last = params.text("last").unwrap_or("ends_on").to_owned();
            let fields = vec![first.clone(), last.clone()];
            Ok((fields, move |record: &Record<'_>, violations: &mut Violations| {
                if let (Some(begin), Some(end)) = (record.text(&first), record.text(&last))
                    && end < begin
                {
                    violations.add(&last, Failure::new("before-start", "it ends before it begins"));
                }
            }))
        })
}
