//! Scans.

use tidelock::connector::{ScanOrder, Write};
use tidelock::record::{KeyRange, Record};
use tidelock::value::{Kind, Value};

use super::describe::{column_of, every_kind};
use super::values::samples;
use super::{Factory, Opened, TableSpec, person, scan_all, strings};

fn ids(records: &[Record]) -> Vec<i64> {
    records
        .iter()
        .map(|record| match record.get("id") {
            Some(Value::Int(id)) => *id,
            other => panic!("id is {other:?}"),
        })
        .collect()
}

pub async fn by_key_at_every_page_size(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=7).map(|id| person(id, "x", id * 10)).collect()).await;
    for page in [1, 2, 3, 6, 7, 8, 100] {
        let mut found = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), page).await;
        found.sort_by_key(|record| record.get("id").cloned());
        assert_eq!(found, (1..=7).map(|id| person(id, "x", id * 10)).collect::<Vec<_>>(), "page of {page}");
    }
}

pub async fn by_composite_key(factory: &dyn Factory) {
    let spec =
        TableSpec::new().required("a", Kind::Text).required("b", Kind::Int).required("id", Kind::Int).key(&["a", "b"]);
    let opened = Opened::new(factory, &spec).await;
    for (index, (a, b)) in [("x", 1), ("x", 2), ("y", 1), ("", 5), ("x", -3)].iter().enumerate() {
        opened.sql(&format!("INSERT INTO {{t}} VALUES ('{a}', {b}, {index})")).await;
    }
    for page in 1..=6 {
        let mut found = ids(&scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), page).await);
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4], "page of {page}");
    }
}

/// Whatever the key is made of: from behind any record come those that came after it, or, where that cannot be, all.
pub async fn from_behind_a_key(factory: &dyn Factory) {
    let mut resumable = Vec::new();
    let unlike = [Kind::Null, Kind::Boolean, Kind::Time, Kind::Bytes, Kind::Json];
    for kind in factory.kinds().into_iter().filter(|kind| !unlike.contains(kind)) {
        let spec = TableSpec::new().required("a", kind).required("b", Kind::Int).key(&["a", "b"]);
        let opened = Opened::new(factory, &spec).await;
        let records: Vec<Record> = samples(kind)
            .into_iter()
            .filter(|value| !value.is_null())
            .flat_map(|value| [-1, 1].map(|b| Record::of([("a", value.clone()), ("b", Value::Int(b))])))
            .collect();
        let writes: Vec<Write> = records.into_iter().map(|record| Write::Create { record }).collect();
        for write in writes {
            // Some systems refuse some of them.
            drop(opened.target.write(&[write]).await);
        }
        let all = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 3).await;
        assert!(all.len() >= 4, "{kind:?}: {all:?}");
        for (place, record) in all.iter().enumerate() {
            let order = ScanOrder::Key(KeyRange { after: record.key(&strings(&["a", "b"])), until: None });
            let goes_on = opened.target.scan(order.clone()).await.unwrap().resumable();
            let expected = if goes_on { &all[place + 1..] } else { &all[..] };
            assert_eq!(scan_all(&*opened.target, order, 3).await, expected, "{kind:?}, behind {record:?}");
            let (first, last) = (place / 2, record.key(&strings(&["a", "b"])));
            let range = KeyRange { after: all[first].key(&strings(&["a", "b"])), until: last };
            let expected = if goes_on { &all[first + 1..=place.max(first)] } else { &all[..] };
            let found = scan_all(&*opened.target, ScanOrder::Key(range.clone()), 3).await;
            assert_eq!(found, expected, "{kind:?}, {range:?}");
            resumable.push((kind, goes_on));
        }
    }
    for kind in [Kind::Int, Kind::Text] {
        assert!(resumable.contains(&(kind, true)), "{kind:?} at least");
    }
}

pub async fn by_fields_with_duplicates_and_nulls(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    for (id, name, age) in
        [(1, "'b'", "1"), (2, "'a'", "2"), (3, "NULL", "3"), (4, "'b'", "0"), (5, "'B'", "9"), (6, "'b'", "NULL")]
    {
        opened.sql(&format!("INSERT INTO {{t}} (id, name, age) VALUES ({id}, {name}, {age})")).await;
    }
    for as_text in [false, true] {
        for page in [1, 2, 5, 6, 7] {
            let order = ScanOrder::Fields { fields: strings(&["name"]), as_text };
            assert_eq!(
                ids(&scan_all(&*opened.target, order, page).await),
                [5, 2, 1, 4, 6],
                "capitals first, equals by key"
            );
            let order = ScanOrder::Fields { fields: strings(&["name", "age"]), as_text };
            assert_eq!(
                ids(&scan_all(&*opened.target, order, page).await),
                [5, 2, 4, 1],
                "without those that lack an age"
            );
        }
    }
    opened.sql("UPDATE {t} SET age = 10 WHERE id = 2").await;
    let numbers = ScanOrder::Fields { fields: strings(&["age"]), as_text: false };
    assert_eq!(ids(&scan_all(&*opened.target, numbers, 3).await), [4, 1, 3, 5, 2]);
    let texts = ScanOrder::Fields { fields: strings(&["age"]), as_text: true };
    assert_eq!(ids(&scan_all(&*opened.target, texts, 3).await), [4, 1, 2, 3, 5], "10 before 3");
}

/// Fills a table with samples of every kind; gives back what was stored.
async fn filled(factory: &dyn Factory) -> Opened {
    let opened = Opened::new(factory, &every_kind(factory)).await;
    let mut id = 0;
    let mut records = Vec::new();
    for kind in factory.kinds() {
        for value in samples(kind).into_iter().filter(|value| factory.holds(value)) {
            id += 1;
            records.push(Record::of([("id".to_owned(), Value::Int(id)), (column_of(kind), value)]));
        }
    }
    opened.create(records).await;
    opened
}

pub async fn by_field_in_the_order_of_its_values(factory: &dyn Factory) {
    let opened = filled(factory).await;
    for kind in factory.kinds() {
        let order = ScanOrder::Fields { fields: vec![column_of(kind)], as_text: false };
        let found = scan_all(&*opened.target, order, 4).await;
        let values: Vec<Value> = found.iter().map(|record| record.get(&column_of(kind)).unwrap().clone()).collect();
        let mut sorted = values.clone();
        match kind {
            // Documents have no order but that of their text.
            Kind::Json => sorted.sort_by_key(Value::to_text),
            _ => sorted.sort(),
        }
        assert!(values.len() > 1, "{kind:?}");
        assert_eq!(values, sorted, "{kind:?}");
    }
}

pub async fn by_field_in_the_order_of_its_texts(factory: &dyn Factory) {
    let opened = filled(factory).await;
    for kind in factory.kinds() {
        let order = ScanOrder::Fields { fields: vec![column_of(kind)], as_text: true };
        let found = scan_all(&*opened.target, order, 4).await;
        let texts: Vec<String> =
            found.iter().map(|record| record.get(&column_of(kind)).unwrap().to_text().unwrap()).collect();
        let mut sorted = texts.clone();
        sorted.sort();
        assert!(texts.len() > 1, "{kind:?}");
        assert_eq!(texts, sorted, "{kind:?}");
    }
}

pub async fn with_a_filter(factory: &dyn Factory) {
    let fixture = factory.create(&TableSpec::people()).await;
    fixture
        .execute("INSERT INTO {t} (id, name, age) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (4, 'd', NULL)")
        .await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    let mut endpoint = fixture.endpoint();
    endpoint.filter = Some("age > 1 OR name = 'a' -- with a comment".to_owned());
    let side = fixture.connector().open(&endpoint, &schema, super::options(&schema)).await.unwrap();
    for order in [ScanOrder::Key(KeyRange::ALL), ScanOrder::Fields { fields: strings(&["name"]), as_text: false }] {
        for page in [1, 2, 3, 4] {
            let mut found = ids(&scan_all(&*side.target, order.clone(), page).await);
            found.sort_unstable();
            assert_eq!(found, [1, 2, 3]);
        }
    }
    endpoint.filter = Some("nonsense = 1".to_owned());
    let error = fixture
        .connector()
        .open(&endpoint, &schema, super::options(&schema))
        .await
        .err()
        .expect("a filter that is wrong");
    assert_eq!(error.kind, tidelock::error::ErrorKind::SchemaMismatch);
    assert!(error.message.contains("filter"), "{error}");
}

pub async fn a_dropped_scan_holds_nothing_up(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=2000).map(|id| person(id, "x", id)).collect()).await;
    for order in [ScanOrder::Key(KeyRange::ALL), ScanOrder::Fields { fields: strings(&["name"]), as_text: false }] {
        let mut scan = opened.target.scan(order).await.unwrap();
        assert_eq!(scan.next(3).await.unwrap().len(), 3);
        // While it runs, others write.
        opened.sql("UPDATE {t} SET age = age + 1").await;
        drop(scan);
        opened.sql("UPDATE {t} SET age = age - 1").await;
    }
    assert_eq!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 700).await.len(), 2000);
}

pub async fn an_empty_collection(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    assert!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 10).await.is_empty());
    let order = ScanOrder::Fields { fields: strings(&["name"]), as_text: true };
    assert!(scan_all(&*opened.target, order, 10).await.is_empty());
}
