//! A key is the same value however it comes: from the log, from a change table, from a poll, from a scan. The server is the oracle: what it
//! holds is found by what the log said.

use std::collections::HashSet;
use std::time::Duration;

use tidelock::connector::ScanOrder;
use tidelock::record::{Key, KeyRange};

use crate::postgres::{Opening, drain, with_db};

/// Types of key columns with values, as literals. A primary key has 32 columns at most.
const COLUMNS: [(&str, &[&str]); 31] = [
    ("int2", &["-32768", "32767", "0"]),
    ("int8", &["-9223372036854775808", "9223372036854775807", "9007199254740993"]),
    (
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0.000",
            "1234567890123456789012345678901234567890.12345678901234567890",
            "-1e-30",
            "1e60",
        ],
    ),
    ("numeric(38,10)", &["9999999999999999999999999999.9999999999", "-0.0000000001", "1.5"]),
    ("float4", &["'NaN'", "'Infinity'", "1e-45", "3.4028235e38", "0.1"]),
    ("float8", &["'NaN'", "'-Infinity'", "5e-324", "1.7976931348623157e308", "0.1", "'-0'"]),
    ("bool", &["true", "false"]),
    (
        "text",
        &[
            "''",
            "'\u{1F30A} \u{5E9}\u{5DC}\u{5D5}\u{5DD}'",
            "E'a\\tb\\nc\\\\'",
            "'NULL'",
            "'o''clock \"x\"'",
            "' blanks '",
        ],
    ),
    ("varchar(9)", &["'{1,2}'", "'\u{E9}'", "'e\u{301}'"]),
    ("char(6)", &["'ab'", "'  cd'", "''"]),
    ("name", &["'a name'", "'b'"]),
    ("\"char\"", &["'x'", "'%'"]),
    ("bytea", &["''", "'\\x00'", "'\\xdeadbeef5c27'"]),
    ("uuid", &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'00000000-0000-0000-0000-000000000000'"]),
    ("date", &["'4713-01-01 BC'", "'5874897-12-31'", "'infinity'", "'-infinity'", "'2024-02-29'"]),
    ("time", &["'00:00'", "'24:00'", "'23:59:59.999999'"]),
    ("timetz", &["'12:00+15:59'", "'12:00:00.5-03:30'"]),
    ("timestamp", &["'4714-11-24 00:00 BC'", "'294276-12-31 23:59:59.999999'", "'infinity'", "'2024-03-31 02:30'"]),
    ("timestamptz", &["'2024-03-31 02:30+01'", "'1900-01-01 00:00+00:17:30'", "'-infinity'", "'0044-03-15 12:00 BC'"]),
    ("timestamp(0)", &["'2024-12-31 23:59:59.6'", "'1970-01-01'"]),
    ("interval", &["'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-178000000 years'"]),
    ("mood", &["'glad'", "'so so'"]),
    ("code", &["'x''y'", "'z'"]),
    ("int4[]", &["'{1,NULL,-3}'", "'{}'", "'[2:3]={5,6}'"]),
    ("text[]", &["'{\"a,b\",\"NULL\",NULL,\"q\\\"\"}'", "'{{a,b},{c,d}}'"]),
    ("jsonb", &["'{\"b\": 1.0, \"a\": [null, \"\\u00e9\"]}'", "'\"text\"'", "'12345678901234567890.5'"]),
    ("inet", &["'10.1.2.3'", "'fe80::1/64'"]),
    ("varbit", &["B'0101'", "B''"]),
    ("int4range", &["'[1,5)'", "'empty'", "'(,)'"]),
    ("oid", &["0", "4294967295"]),
    ("int4", &["0"]),
];
const ROWS: usize = 16;

fn names() -> Vec<String> {
    (0..COLUMNS.len()).map(|place| format!("k{place}")).collect()
}

fn row(place: usize) -> String {
    let cells = COLUMNS.iter().enumerate().map(|(column, (_, values))| match column {
        // The last one tells the rows apart.
        30 => place.to_string(),
        _ => values[place % values.len()].to_owned(),
    });
    format!("({})", cells.collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn a_key_is_the_same_however_it_comes() {
    with_db(async |db| {
        let columns: Vec<String> = names().iter().zip(COLUMNS).map(|(name, (kind, _))| format!("{name} {kind}")).collect();
        db.run(&format!(
            "CREATE TYPE mood AS ENUM ('glad', 'so so'); CREATE DOMAIN code AS varchar(9); \
             CREATE TABLE t ({}, moved timestamptz DEFAULT now(), PRIMARY KEY ({}))",
            columns.join(", "),
            names().join(", ")
        ))
        .await;
        let fields: Vec<String> = names().into_iter().chain(["moved".to_owned()]).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let opening = db.table("t", &fields);
        let ways: [Opening; 3] = [
            opening.clone().consumer("log").logical(),
            opening.clone().consumer("triggers"),
            opening.clone().consumer("polls").polling("moved", Duration::ZERO),
        ];
        let mut sides = Vec::new();
        for way in ways {
            let mut side = way.open().await;
            side.source.prepare().await.unwrap();
            let head = side.source.head().await.unwrap();
            sides.push((side, head));
        }
        let rows: Vec<String> = (0..ROWS).map(row).collect();
        db.run(&format!(
            "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'escape'; \
             SET extra_float_digits = 0; INSERT INTO t ({}) VALUES {}",
            names().join(", "),
            rows.join(", ")
        ))
        .await;
        let mut seen: Vec<HashSet<Key>> = Vec::new();
        for (side, head) in &mut sides {
            let (changes, _) = drain(&mut *side.source, head).await;
            seen.push(changes.into_iter().map(|change| change.key).collect());
        }
        let target = &sides[0].0.target;
        let mut scan = target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
        let mut scanned = HashSet::new();
        loop {
            let part = scan.next(100).await.unwrap();
            if part.is_empty() {
                break;
            }
            scanned.extend(part.iter().map(|record| record.key(&names()).unwrap()));
        }
        assert_eq!(scanned.len(), ROWS);
        for (way, keys) in ["log", "triggers", "polls"].into_iter().zip(&seen) {
            assert_eq!(keys, &scanned, "{way}");
        }
        let keys: Vec<Key> = seen[0].iter().cloned().collect();
        let found = target.fetch(&keys).await.unwrap();
        for (key, record) in keys.iter().zip(found) {
            assert_eq!(record.expect("found by the key that the log said").key(&names()).as_ref(), Some(key));
        }
    })
    .await;
}
