//! Reading by key and by other fields.

use tidelock::record::Key;
use tidelock::value::{Kind, Value};

use super::{Factory, Field, Opened, TableSpec, key, person, strings};

pub async fn fetch_keeps_order_and_marks_what_is_missing(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=5).map(|id| person(id, "x", id)).collect()).await;
    let keys: Vec<Key> = [3, 9, 1, 3, -1, 5].into_iter().map(key).collect();
    let found = opened.target.fetch(&keys).await.unwrap();
    let expected: Vec<_> =
        [Some(3), None, Some(1), Some(3), None, Some(5)].map(|id| id.map(|id| person(id, "x", id))).into();
    assert_eq!(found, expected);
    assert!(opened.target.fetch(&[]).await.unwrap().is_empty());
}

pub async fn fetch_more_than_a_batch(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=1500).map(|id| person(id, "x", id)).collect()).await;
    let keys: Vec<Key> = (1..=3000).rev().map(key).collect();
    let found = opened.target.fetch(&keys).await.unwrap();
    assert_eq!(found.len(), 3000);
    for (id, record) in (1..=3000).rev().zip(found) {
        assert_eq!(record.is_some(), id <= 1500, "{id}");
        assert!(record.is_none_or(|record| record == person(id, "x", id)));
    }
}

pub async fn fetch_applies_the_filter(factory: &dyn Factory) {
    let fixture = factory.create(&TableSpec::people()).await;
    fixture.execute("INSERT INTO {t} (id, name, age) VALUES (1, 'a', 1), (2, 'b', 2)").await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    let mut endpoint = fixture.endpoint();
    endpoint.filter = Some("age > 1".to_owned());
    let side = fixture.connector().open(&endpoint, &schema, super::options(&schema)).await.unwrap();
    assert_eq!(side.target.fetch(&[key(1), key(2)]).await.unwrap(), [None, Some(person(2, "b", 2))]);
    assert_eq!(
        side.target.find(&strings(&["id"]), &[key(1), key(2)]).await.unwrap(),
        [vec![], vec![person(2, "b", 2)]]
    );
}

pub async fn find_none_one_and_many(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create(vec![person(1, "a", 1), person(2, "b", 2), person(3, "b", 3), person(4, "B", 4)]).await;
    opened.sql("INSERT INTO {t} (id, name, age) VALUES (5, NULL, 5)").await;
    let values: Vec<Key> = ["b", "none", "a", "b"].into_iter().map(|name| Key(vec![Field::from(name).0])).collect();
    let mut found = opened.target.find(&strings(&["name"]), &values).await.unwrap();
    for records in &mut found {
        records.sort_by_key(|record| record.get("id").cloned());
    }
    let two = vec![person(2, "b", 2), person(3, "b", 3)];
    assert_eq!(found, [two.clone(), vec![], vec![person(1, "a", 1)], two]);
    let of = |name: &str, age: i64| Key(vec![Field::from(name).0, Value::Int(age)]);
    let several = [of("b", 3), of("b", 1), of("a", 1), Key(vec![Value::Null, Value::Int(5)])];
    let found = opened.target.find(&strings(&["name", "age"]), &several).await.unwrap();
    assert_eq!(found, [vec![person(3, "b", 3)], vec![], vec![person(1, "a", 1)], vec![]]);
    opened.target.find(&strings(&["nowhere"]), &[key(1)]).await.unwrap_err();
}

pub async fn composite_keys(factory: &dyn Factory) {
    let spec =
        TableSpec::new().required("a", Kind::Text).required("b", Kind::Int).column("c", Kind::Text).key(&["a", "b"]);
    let opened = Opened::new(factory, &spec).await;
    opened.sql("INSERT INTO {t} VALUES ('x', 1, 'p'), ('x', 2, 'q'), ('y', 1, 'r')").await;
    let of = |a: &str, b: i64| Key(vec![Field::from(a).0, Value::Int(b)]);
    let found = opened.target.fetch(&[of("y", 1), of("x", 2), of("y", 2), of("x", 1)]).await.unwrap();
    let texts: Vec<_> =
        found.iter().map(|record| record.as_ref().map(|record| record.get("c").unwrap().to_text().unwrap())).collect();
    assert_eq!(texts, [Some("r"), Some("q"), None, Some("p")].map(|text| text.map(str::to_owned)));
}
