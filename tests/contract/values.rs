//! Values on their way into the system and back.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tidelock::connector::{Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, Record};
use tidelock::value::{Kind, Value};

use super::describe::{column_of, every_kind};
use super::{Factory, Opened, TableSpec, assert_same, shown, write};

const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

fn texts(texts: &[&str], make: impl Fn(String) -> Value) -> Vec<Value> {
    texts.iter().map(|text| make((*text).to_owned())).collect()
}

/// Values of a kind, its extremes among them, all different.
pub fn samples(kind: Kind) -> Vec<Value> {
    let noon = 43_200_000_000;
    let days = |make: fn(i64) -> Value| {
        [-719_162, -1, 0, 1, 19_876, 2_932_896]
            .into_iter()
            .map(|day: i64| make(day * MICROS_PER_DAY))
            .chain([noon, noon + 1, noon + 500_000, noon + 123_456, -1].map(make))
            .collect()
    };
    match kind {
        Kind::Null => vec![Value::Null],
        Kind::Boolean => vec![Value::Boolean(false), Value::Boolean(true)],
        Kind::Int => [i64::MIN, -1, 0, 1, 9, 10, 1 << 53, (1 << 53) + 1, i64::MAX].map(Value::Int).into(),
        Kind::Float => [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            0.0,
            5e-324,
            0.1,
            1.0 / 3.0,
            2.0,
            10.0,
            1e15,
            1e22,
            9_007_199_254_740_993.0,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(Value::Float)
        .into(),
        Kind::Decimal => texts(
            &[
                "-99999999999999999999.99",
                "-0.01",
                "0",
                "0.1",
                "0.3",
                "1.5",
                "2",
                "10",
                "123456789012345",
                "9223372036854775807",
                "9223372036854775808",
                "0.123456789012345678901234567890",
                "12345678901234567890123456789.123456789",
                "NaN",
            ],
            Value::Decimal,
        ),
        Kind::Text => texts(
            &[
                "",
                " ",
                "a",
                "A",
                "ä",
                "a\u{308}",
                "😀",
                "007",
                "1e3",
                "it's \"quoted\"",
                "line\nbreak\ttab\\",
                "null",
                "NULL",
                "a\0b",
                "\u{feff}x",
            ],
            Value::Text,
        ),
        Kind::Bytes => vec![vec![], vec![0], vec![0, 0], vec![0xff, 0, 0x80], b"text".to_vec()]
            .into_iter()
            .map(Value::Bytes)
            .collect(),
        Kind::Date => [*DAYS.start(), -1, 0, 1, 19_876, *DAYS.end()].map(Value::Date).into(),
        Kind::Time => [0, 1, 500_000, noon, MICROS_PER_DAY - 1_000_000, MICROS_PER_DAY - 1].map(Value::Time).into(),
        Kind::Instant => days(Value::Instant),
        Kind::Local => days(Value::Local),
        Kind::Json => texts(
            &["{}", "[]", "null", "true", "\"text\"", "12", "1.5", "{\"a\":[1,2,{\"b\":null}],\"ü\":\"😀\"}", "\"12\""],
            Value::Json,
        ),
        Kind::Uuid => vec![Value::Uuid([0; 16]), Value::Uuid([0xff; 16]), Value::Uuid(*b"0123456789abcdef")],
    }
}

fn any_value(kind: Kind) -> BoxedStrategy<Value> {
    let micros = (i64::from(*DAYS.start()) * MICROS_PER_DAY)..=(i64::from(*DAYS.end()) * MICROS_PER_DAY);
    match kind {
        Kind::Null => Just(Value::Null).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Kind::Int => any::<i64>().prop_map(Value::Int).boxed(),
        Kind::Float => any::<f64>().prop_map(Value::Float).boxed(),
        Kind::Decimal => (any::<i64>(), 0_usize..15)
            .prop_map(|(digits, scale)| {
                let (sign, digits) = (
                    if digits < 0 { "-" } else { "" },
                    format!("{:0>16}", digits.unsigned_abs() % 1_000_000_000_000_000),
                );
                let (whole, fraction) = digits.split_at(16 - scale);
                Value::Decimal(format!("{sign}{whole}.{fraction}0"))
            })
            .boxed(),
        Kind::Text => any::<String>().prop_map(Value::Text).boxed(),
        Kind::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        Kind::Date => DAYS.prop_map(Value::Date).boxed(),
        Kind::Time => (0..MICROS_PER_DAY).prop_map(Value::Time).boxed(),
        Kind::Instant => micros.prop_map(Value::Instant).boxed(),
        Kind::Local => micros.prop_map(Value::Local).boxed(),
        Kind::Json => any::<(String, i32, bool, Vec<f32>)>()
            .prop_filter("JSON has no NaN", |(.., floats)| floats.iter().all(|float| float.is_finite()))
            .prop_map(|(text, int, flag, floats)| {
                // U+0000 in JSON is beyond what some systems store; the text samples have it.
                let text = text.replace('\0', "");
                Value::Json(serde_json::json!({"t": text, "i": int, "f": flag, "l": floats}).to_string())
            })
            .boxed(),
        Kind::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
    }
}

/// Writes values by create, update and upsert, and reads each back three times.
async fn come_back(opened: &Opened, kind: Kind, values: &[Value], next_id: &mut i64) {
    let column = column_of(kind);
    let mut upserts = Vec::new();
    for value in values {
        *next_id += 2;
        let record = |id: i64| Record::of([("id".to_owned(), Value::Int(id)), (column.clone(), value.clone())]);
        let stored = match write::one(opened, write::create(record(*next_id))).await {
            WriteOutcome::Applied { stored, .. } => stored.unwrap(),
            other => panic!("{}: {other:?}", shown(value)),
        };
        assert_same(stored.get(&column), Some(value), "as it was created");
        let fetched = opened.get(*next_id).await.unwrap();
        assert_same(fetched.get(&column), Some(value), "as it is read");
        upserts.push(record(*next_id));
        upserts.push(record(*next_id + 1));
    }
    let upserted = opened.target.upsert(&upserts).await.unwrap();
    let half = upserts.len() as u64 / 2;
    assert_eq!((upserted.written, upserted.unchanged), (half, half), "{kind:?}: half of them were there, equal");
    let keys: Vec<Key> = upserts.iter().map(|record| record.key(&["id"]).unwrap()).collect();
    for (fetched, written) in opened.target.fetch(&keys).await.unwrap().into_iter().zip(&upserts) {
        assert_same(fetched.unwrap().get(&column), written.get(&column), "as it was upserted");
    }
    assert_eq!(
        opened.target.upsert(&upserts).await.unwrap().written,
        0,
        "{kind:?}: a second time there is nothing to do"
    );
}

pub async fn extremes_come_back(factory: &dyn Factory) {
    let opened = Opened::new(factory, &every_kind(factory)).await;
    let mut id = 0;
    for kind in factory.kinds() {
        let values: Vec<Value> =
            samples(kind).into_iter().filter(|value| factory.holds(value)).chain([Value::Null]).collect();
        assert!(values.len() > 2, "{kind:?}");
        come_back(&opened, kind, &values, &mut id).await;
    }
}

pub async fn generated_values_come_back(factory: &dyn Factory) {
    let opened = Opened::new(factory, &every_kind(factory)).await;
    let mut runner = TestRunner::deterministic();
    let mut id = 0;
    for kind in factory.kinds() {
        let values: Vec<Value> = (0..40)
            .map(|_| any_value(kind).new_tree(&mut runner).unwrap().current())
            .filter(|value| factory.holds(value))
            .collect();
        come_back(&opened, kind, &values, &mut id).await;
    }
}

pub async fn what_cannot_be_kept_is_refused(factory: &dyn Factory) {
    let opened = Opened::new(factory, &every_kind(factory)).await;
    let far = [
        Value::Date(i32::MAX),
        Value::Date(i32::MIN),
        Value::Instant(i64::MAX),
        Value::Local(i64::MIN),
        Value::Time(-1),
    ];
    let all = factory.kinds().into_iter().flat_map(samples).chain(far).filter(|value| !factory.holds(value));
    for (id, value) in (1..).zip(all) {
        let column = column_of(value.kind());
        let record = Record::of([("id".to_owned(), Value::Int(id)), (column.clone(), value.clone())]);
        let outcomes = write::write_halving(&opened, &[Write::Create { record: record.clone() }]).await;
        match &outcomes[..] {
            [WriteOutcome::Failed(error)] => {
                assert_eq!(error.kind, ErrorKind::InvalidRecord, "{error}");
                let text = value.to_text().unwrap();
                assert!(text.len() < 3 || !error.to_string().contains(&text), "the message must not show the value");
            }
            other => panic!("{} cannot be kept, yet: {other:?}", shown(&value)),
        }
        let error = opened.target.upsert(&[record]).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidRecord, "{error}");
        assert_eq!(opened.get(id).await, None);
    }
}

pub async fn keys_of_every_kind(factory: &dyn Factory) {
    for kind in factory.kinds().into_iter().filter(|kind| factory.can_be_key(*kind)) {
        let spec = TableSpec::new().required("k", kind).column("v", Kind::Int).key(&["k"]);
        let mut opened = Opened::new(factory, &spec).await;
        let position = opened.start().await;
        let values: Vec<Value> = samples(kind).into_iter().filter(|value| factory.holds(value)).collect();
        let other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
        let records: Vec<Record> =
            values.iter().zip(0..).map(|(value, v)| Record::of([("k", value.clone()), ("v", Value::Int(v))])).collect();
        assert_eq!(other.target.upsert(&records).await.unwrap().written, values.len() as u64, "{kind:?}");
        let keys: Vec<Key> = values.iter().map(|value| Key(vec![value.clone()])).collect();
        let found = opened.target.fetch(&keys).await.unwrap();
        for (record, value) in found.iter().zip(&values) {
            let record = record.as_ref().unwrap_or_else(|| panic!("{} is not found", shown(value)));
            assert_same(record.get("k"), Some(value), "as a key");
        }
        let mut at = position.clone();
        let changes = super::read_until(&mut *opened.source, &mut at, 3, |changes| changes.len() >= keys.len()).await;
        let changed: Vec<Key> = changes.into_iter().map(|change| change.key).collect();
        assert!(changed == keys, "{kind:?}: the stream's keys are not those that records are found by: {changed:?}");
        assert_eq!(opened.target.delete_by_correlation(&keys).await.unwrap(), keys.len() as u64, "{kind:?}");
    }
}
