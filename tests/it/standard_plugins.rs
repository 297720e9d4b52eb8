//! The standard plugins as they are embedded and as they are built again: what they do, and that the files are those of the lock.
//!
//! Their rules in detail are tested beside their sources (`cargo test` in `plugins/`), their examples by the host at every load.

use std::collections::BTreeSet;
use std::path::Path;

use tidelock::plugin::{CallContext, Catalogue, Plugins};
use tidelock::value::{Kind, Value};

use crate::plugin::{call, function, hex, read, start, with_guests};

/// Every plugin with its functions.
pub(crate) const STANDARD: [(&str, &[&str]); 11] = [
    ("email", &["email_format", "format_email"]),
    ("format_phone", &["format_phone"]),
    ("iso8601", &["iso8601"]),
    ("lowercase", &["lowercase"]),
    ("merge", &["merge_tags", "merge_text"]),
    ("names", &["merge_name", "split_name"]),
    ("parse_number", &["parse_number"]),
    ("text", &["default_if_empty", "mask", "normalize_space", "null_if_empty", "slug", "truncate"]),
    ("title_case", &["title_case"]),
    ("trim", &["trim"]),
    ("uppercase", &["uppercase"]),
];

/// Function, parameters, input, text or code.
type Row = (&'static str, &'static str, Option<&'static str>, Result<Option<&'static str>, &'static str>);

/// What standard plugins must do, built by whom ever.
const TABLE: [Row; 29] = [
    ("format_phone", r#"{"region":"US"}"#, Some("(415) 555-2671"), Ok(Some("+14155552671"))),
    ("format_phone", r#"{"region":"DE"}"#, Some("030 901820"), Ok(Some("+4930901820"))),
    ("format_phone", r#"{"region":"GB"}"#, Some("020 7946 0018"), Ok(Some("+442079460018"))),
    ("format_phone", r#"{"region":"US"}"#, Some("+49 30 901820"), Ok(Some("+4930901820"))),
    ("format_phone", "{}", Some("+1 415 555 2671"), Ok(Some("+14155552671"))),
    ("format_phone", r#"{"region":"US"}"#, Some("+14155552671"), Ok(Some("+14155552671"))),
    ("format_phone", r#"{"region":"US"}"#, Some("call me"), Err("invalid-phone")),
    ("format_phone", r#"{"region":"US"}"#, Some("12"), Err("invalid-phone")),
    ("format_phone", r#"{"region":"US"}"#, None, Ok(None)),
    ("trim", "{}", Some("\u{a0} Ann \t\n"), Ok(Some("Ann"))),
    ("lowercase", "{}", Some("ÄRGER"), Ok(Some("ärger"))),
    ("uppercase", "{}", Some("straße"), Ok(Some("STRASSE"))),
    ("title_case", "{}", Some("MARY-ANN O'BRIEN"), Ok(Some("Mary-Ann O'Brien"))),
    ("title_case", "{}", None, Ok(None)),
    ("format_email", "{}", Some(" Ann.Lee@Example.COM\n"), Ok(Some("Ann.Lee@example.com"))),
    ("format_email", r#"{"lowercase":true}"#, Some("Ann@Example.COM"), Ok(Some("ann@example.com"))),
    ("format_email", "{}", Some("ann@example"), Err("invalid-email")),
    ("parse_number", r#"{"decimal":","}"#, Some("-1.234.567,80 €"), Ok(Some("-1234567.8"))),
    ("parse_number", "{}", Some("9007199254740993.10"), Ok(Some("9007199254740993.1"))),
    ("parse_number", "{}", Some("1,5"), Err("invalid-number")),
    ("iso8601", r#"{"day_first":true}"#, Some("05/06/2024"), Ok(Some("2024-06-05"))),
    ("iso8601", "{}", Some("Mon, 5 Feb 2024 23:30:00 -0100"), Ok(Some("2024-02-06T00:30:00Z"))),
    ("iso8601", "{}", Some("05/06/2024"), Err("ambiguous-date")),
    ("iso8601", "{}", Some("30 Feb 2024"), Err("invalid-date")),
    ("normalize_space", "{}", Some(" a \n b "), Ok(Some("a b"))),
    ("null_if_empty", "{}", Some(" \t"), Ok(None)),
    ("truncate", r#"{"length":3}"#, Some("añbc"), Ok(Some("añb"))),
    ("mask", r#"{"keep":2}"#, Some("AB-1234"), Ok(Some("**-**34"))),
    ("slug", "{}", Some("Ünïted Nations!"), Ok(Some("united-nations"))),
];

async fn check_table(plugins: &dyn Plugins) {
    for (name, params, input, expected) in TABLE {
        let answers = call(plugins, name, params, &[None, input, None]).await.unwrap();
        let expected = expected.map(|text| text.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(answers, [Ok(None), expected, Ok(None)], "{name} {params} {input:?}");
    }
}

#[tokio::test]
async fn standard_plugins_do_what_they_say() {
    let (_dir, catalog) = with_guests(&[]).await;
    let found: BTreeSet<_> = catalog.functions().into_iter().map(|info| (info.plugin, info.name)).collect();
    let expected = STANDARD.iter().flat_map(|(plugin, names)| names.iter().map(|name| (*plugin, *name)));
    assert_eq!(found, expected.map(|(plugin, name)| (plugin.to_owned(), name.to_owned())).collect());
    let set = catalog.snapshot();
    check_table(set.as_ref()).await;
    let info = set.info("format_phone").unwrap();
    assert!(info.idempotent && info.role == "field-transform" && info.digest.len() == 64);
}

#[tokio::test]
async fn numbers_become_decimals_and_null_can_become_a_text() {
    let (_dir, catalog) = with_guests(&[]).await;
    let set = catalog.snapshot();
    let input =
        vec![Value::Text("1,000.50".into()), Value::Int(5), Value::Float(0.1), Value::Null, Value::Text(" ".into())];
    let rows = set.transform(&function("parse_number", "{}"), &CallContext::none(), input).await.unwrap();
    let rows: Vec<Value> = rows.into_iter().map(Result::unwrap).collect();
    let decimal = |text: &str| Value::Decimal(text.to_owned());
    assert_eq!(rows, [decimal("1000.5"), decimal("5"), decimal("0.1"), Value::Null, Value::Null]);
    assert_eq!(rows[0].kind(), Kind::Decimal);
    let answers = call(set.as_ref(), "default_if_empty", r#"{"value":"x"}"#, &[None, Some(" "), Some("a")]).await;
    assert_eq!(answers.unwrap(), ["x", "x", "a"].map(|text| Ok(Some(text.to_owned()))));
}

/// One of several functions of a standard plugin is replaced by a file of the function's name; another file that only has it is not
/// preferred.
#[tokio::test]
async fn a_file_replaces_the_standard_function_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy("plugins/built/email.wasm", dir.path().join("format_email.wasm")).unwrap();
    let plugins = start(dir.path()).await.snapshot();
    assert_eq!(plugins.info("format_email").unwrap().plugin, "format_email");
    assert_eq!(plugins.info("email/format_email").unwrap().plugin, "email");
    assert_eq!(plugins.info("email_format").unwrap_err().code, "plugin.ambiguous");
}

#[tokio::test]
async fn rebuilt_plugins_do_the_same_as_the_committed_ones() {
    let Some(rebuilt) = tidelock::config::environment("TIDELOCK_REBUILT_DIR") else { return };
    // As `plugins/build --rebuild-check` leaves them.
    let rebuilt = Path::new(&rebuilt).join("plugins/built");
    let catalog = start(&rebuilt).await;
    assert!(catalog.failures().is_empty(), "{:?}", catalog.failures());
    check_table(catalog.snapshot().as_ref()).await;
    let (_dir, committed) = with_guests(&[]).await;
    for (plugin, names) in STANDARD {
        let file = hex(&std::fs::read(rebuilt.join(format!("{plugin}.wasm"))).unwrap());
        for name in names {
            assert_eq!(file, catalog.snapshot().info(name).unwrap().digest, "{name} was used");
        }
    }
    let values: Vec<Option<&str>> = TABLE.iter().map(|row| row.2).collect();
    for (name, params, ..) in TABLE {
        let ours = call(committed.snapshot().as_ref(), name, params, &values).await;
        assert_eq!(call(catalog.snapshot().as_ref(), name, params, &values).await, ours, "{name}");
    }
}

#[test]
fn committed_components_are_those_of_the_lock_file() {
    let lock: serde_json::Value = serde_json::from_slice(&read("plugins/built/plugins.lock")).unwrap();
    let components = lock["components"].as_array().unwrap();
    for component in components {
        let path = component["file"].as_str().unwrap();
        assert_eq!(hex(&read(path)), component["sha256"], "{path}");
    }
    for (plugin, _) in STANDARD {
        let path = format!("plugins/built/{plugin}.wasm");
        assert!(
            components.iter().any(|component| component["file"] == path.as_str()),
            "{path} is not in the lock file"
        );
    }
}

#[test]
fn the_documentation_names_every_function_of_every_plugin() {
    let page = String::from_utf8(read("docs/plugins.md")).unwrap();
    for (plugin, names) in STANDARD {
        for name in names {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            assert!(
                row.is_some_and(|row| row.contains(&format!("`{plugin}`"))),
                "docs/plugins.md lacks {plugin}/{name}"
            );
        }
    }
}
