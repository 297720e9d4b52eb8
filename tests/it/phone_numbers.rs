//! `format_phone` against libphonenumber's own example numbers of every region, in the spellings that people use.
//!
//! The answers are those of the package `phonenumbers`, written by `tests/data/phone_numbers.py`.

use std::collections::BTreeMap;

use tidelock::plugin::Catalogue;

use crate::plugin::{call, start};

const FIXTURE: &str = include_str!("../data/phone_numbers.tsv");

#[tokio::test]
async fn format_phone_agrees_with_libphonenumber_in_every_region() {
    let mut by_region: BTreeMap<&str, Vec<(String, Option<&str>)>> = BTreeMap::new();
    for line in FIXTURE.lines().filter(|line| !line.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [region, text, e164] = cells[..] else { panic!("three columns: {line}") };
        let text = serde_json::from_str(text).unwrap();
        by_region.entry(region).or_default().push((text, Some(e164).filter(|e164| !e164.is_empty())));
    }
    let dir = tempfile::tempdir().unwrap();
    let set = start(dir.path()).await.snapshot();
    let (mut different, mut valid, mut invalid) = (Vec::new(), 0, 0);
    for (region, rows) in &by_region {
        let params = if region.is_empty() { "{}".to_owned() } else { format!(r#"{{"region":"{region}"}}"#) };
        let texts: Vec<Option<&str>> = rows.iter().map(|(text, _)| Some(text.as_str())).collect();
        let answers = call(set.as_ref(), "format_phone", &params, &texts).await.unwrap();
        for ((text, expected), answer) in rows.iter().zip(answers) {
            let expected = expected.map_or(Err("invalid-phone".to_owned()), |e164| Ok(Some(e164.to_owned())));
            *if expected.is_ok() { &mut valid } else { &mut invalid } += 1;
            if answer != expected {
                different.push(format!("{region} {text:?}: {answer:?}, libphonenumber {expected:?}"));
            }
        }
    }
    assert!(by_region.len() > 245 && valid > 4_000 && invalid > 800, "{} {valid} {invalid}", by_region.len());
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n"));
}
