//! What the catalogue says.

use tidelock::error::ErrorKind;
use tidelock::value::Kind;

use super::{Factory, TableSpec, strings};

/// A table with a column of every kind, `id` first.
pub fn every_kind(factory: &dyn Factory) -> TableSpec {
    factory.kinds().iter().fold(TableSpec::new().required("id", Kind::Int).key(&["id"]), |spec, kind| {
        spec.column(&column_of(*kind), *kind)
    })
}

/// The name of that kind's column.
pub fn column_of(kind: Kind) -> String {
    format!("f_{}", format!("{kind:?}").to_lowercase())
}

pub async fn columns_key_and_unique_sets(factory: &dyn Factory) {
    let spec = every_kind(factory)
        .with_default("tier", Kind::Text, "'basic'")
        .required("email", Kind::Text)
        .unique(&["email"]);
    let fixture = factory.create(&spec).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    assert_eq!(schema.columns.len(), spec.columns.len());
    for (column, wanted) in schema.columns.iter().zip(&spec.columns) {
        assert_eq!((&column.name, column.kind), (&wanted.name, wanted.kind));
        assert_eq!(column.nullable, !wanted.required, "{}", column.name);
        assert_eq!(column.writable, true);
    }
    assert_eq!(schema.key, strings(&["id"]));
    assert!(schema.is_unique(&strings(&["id"])));
    assert!(schema.is_unique(&strings(&["email"])));
    assert!(!schema.is_unique(&strings(&["tier"])));
    assert!(schema.column("tier").unwrap().has_default);
    assert!(!schema.column("email").unwrap().has_default);
    let composite = TableSpec::new().required("b", Kind::Int).required("a", Kind::Text).key(&["a", "b"]);
    let fixture = factory.create(&composite).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    assert_eq!(schema.key, strings(&["a", "b"]), "in the key's order");
    let generated = TableSpec::people().generated();
    let fixture = factory.create(&generated).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    assert!(schema.column("id").unwrap().has_default, "the system makes it");
}

pub async fn a_missing_collection_names_near_ones(factory: &dyn Factory) {
    let fixture = factory.create(&TableSpec::people()).await;
    let mut endpoint = fixture.endpoint();
    let right = endpoint.collection.clone();
    endpoint.collection.push('x');
    let error = fixture.connector().describe(&endpoint).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    assert!(error.message.contains(&right), "{error}");
    assert!(error.message.contains(&endpoint.collection), "{error}");
}

pub async fn a_collection_without_key_is_refused(factory: &dyn Factory) {
    let fixture = factory.create(&TableSpec::new().column("a", Kind::Int).column("b", Kind::Text).unique(&["a"])).await;
    let error = fixture.connector().describe(&fixture.endpoint()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    assert!(error.message.contains("key"), "{error}");
}

pub async fn a_unique_set_without_nulls_stands_in_for_a_key(factory: &dyn Factory) {
    let spec = TableSpec::new().required("a", Kind::Int).column("b", Kind::Text).unique(&["b"]).unique(&["a"]);
    let fixture = factory.create(&spec).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    assert_eq!(schema.key, strings(&["a"]));
}

pub async fn names_with_capitals_blanks_and_quotes(factory: &dyn Factory) {
    let spec = TableSpec::new()
        .required("The \"Key\"", Kind::Int)
        .column("First Name", Kind::Text)
        .column("select", Kind::Text)
        .column("it's", Kind::Text)
        .key(&["The \"Key\""]);
    let mut opened = super::Opened::new(factory, &spec).await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} VALUES (1, 'a', 'b', 'c')").await;
    let changes = super::read_through(&mut *opened.source, &mut position, 10, &super::key(1)).await;
    assert_eq!(changes.len(), 1);
    let record = opened.get(1).await.unwrap();
    for (name, value) in [("First Name", "a"), ("select", "b"), ("it's", "c")] {
        assert_eq!(record.get(name).unwrap(), &super::Field::from(value).0);
    }
}
