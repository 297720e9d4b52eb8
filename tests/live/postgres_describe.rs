//! What the catalogue says: names, kinds, keys, defaults.

use tidelock::error::ErrorKind;
use tidelock::value::Kind;

use crate::postgres::{assert_error, describe, with_db};

#[tokio::test]
async fn columns_have_kinds_defaults_and_native_types() {
    with_db(|db| async move {
        db.run(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN age AS int NOT NULL DEFAULT 1 CHECK (value > 0);
             CREATE DOMAIN older AS age;
             CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, b bool NOT NULL, n numeric(10,2), v varchar(5),
               c char(3), j jsonb, u uuid DEFAULT gen_random_uuid(), m mood, a int[], i interval, d age, o older, ts timestamp, tz timestamptz,
               g int GENERATED ALWAYS AS (1 + 1) STORED, gone int); ALTER TABLE t DROP COLUMN gone",
        )
        .await;
        let schema = describe(&db.endpoint("t")).await.unwrap();
        let shown: Vec<(&str, Kind, &str, bool, bool, bool)> = schema
            .columns
            .iter()
            .map(|c| (c.name.as_str(), c.kind, c.native_type.as_str(), c.nullable, c.has_default, c.writable))
            .collect();
        assert_eq!(
            shown,
            [
                ("id", Kind::Int, "integer", false, true, true),
                ("s", Kind::Int, "integer", false, true, true),
                ("b", Kind::Boolean, "boolean", false, false, true),
                ("n", Kind::Decimal, "numeric(10,2)", true, false, true),
                ("v", Kind::Text, "character varying(5)", true, false, true),
                ("c", Kind::Text, "character(3)", true, false, true),
                ("j", Kind::Json, "jsonb", true, false, true),
                ("u", Kind::Uuid, "uuid", true, true, true),
                ("m", Kind::Text, "mood", true, false, true),
                ("a", Kind::Text, "integer[]", true, false, true),
                ("i", Kind::Text, "interval", true, false, true),
                ("d", Kind::Int, "age", false, true, true),
                ("o", Kind::Int, "older", false, true, true),
                ("ts", Kind::Local, "timestamp without time zone", true, false, true),
                ("tz", Kind::Instant, "timestamp with time zone", true, false, true),
                ("g", Kind::Int, "integer", true, false, false),
            ]
        );
        assert_eq!(schema.key, ["id"]);
    })
    .await;
}

#[tokio::test]
async fn names_may_be_quoted_qualified_and_odd() {
    with_db(|db| async move {
        db.run(
            "CREATE SCHEMA \"Sales\"; CREATE TABLE \"Sales\".\"Big Order\" (\"Id\"\"x\" int PRIMARY KEY);
             CREATE TABLE \"a.b\" (k int PRIMARY KEY)",
        )
        .await;
        for name in ["Sales.Big Order", "\"Sales\".\"Big Order\""] {
            assert_eq!(describe(&db.endpoint(name)).await.unwrap().key, ["Id\"x"], "{name}");
        }
        for name in ["a.b", "\"a.b\"", "public.\"a.b\""] {
            assert_eq!(describe(&db.endpoint(name)).await.unwrap().key, ["k"], "{name}");
        }
        let mut endpoint = db.endpoint("Big Order");
        endpoint.credentials.schema = Some("Sales".to_owned());
        assert_eq!(describe(&endpoint).await.unwrap().key, ["Id\"x"]);
    })
    .await;
}

#[tokio::test]
async fn keys_are_primary_or_unique_without_nulls() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE composite (a int, b text, c int, PRIMARY KEY (b, a), UNIQUE (c));
             CREATE TABLE uniq (a int UNIQUE, b int NOT NULL UNIQUE, c int NOT NULL, d int);
             CREATE UNIQUE INDEX ON uniq (c) WHERE d IS NULL; CREATE UNIQUE INDEX ON uniq ((c + 1)); CREATE UNIQUE INDEX ON uniq (c) INCLUDE (d);
             CREATE TABLE parted (a int, b int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
             CREATE TABLE later (a int PRIMARY KEY DEFERRABLE, b int UNIQUE);
             CREATE TABLE keyless (a int UNIQUE, b int)",
        )
        .await;
        let composite = describe(&db.endpoint("composite")).await.unwrap();
        assert_eq!(composite.key, ["b", "a"]);
        assert_eq!(composite.unique, [vec!["b".to_owned(), "a".to_owned()], vec!["c".to_owned()]]);
        let uniq = describe(&db.endpoint("uniq")).await.unwrap();
        assert_eq!(uniq.key, ["b"]);
        assert_eq!(uniq.unique, [["a"], ["b"], ["c"]]);
        assert_eq!(describe(&db.endpoint("parted")).await.unwrap().key, ["a", "b"]);
        let later = describe(&db.endpoint("later")).await.unwrap();
        assert_eq!((later.key, later.unique), (vec!["a".to_owned()], vec![vec!["b".to_owned()]]));
        let error = describe(&db.endpoint("keyless")).await.unwrap_err();
        assert_error(&error, "postgres.no_key", &["public.keyless", "ADD PRIMARY KEY"]);
        assert_eq!(error.kind, ErrorKind::SchemaMismatch);
    })
    .await;
}

#[tokio::test]
async fn a_missing_table_is_answered_with_near_names() {
    with_db(|db| async move {
        db.run("CREATE TABLE customers (id int PRIMARY KEY); CREATE SCHEMA crm; CREATE TABLE crm.customer (id int PRIMARY KEY)").await;
        db.run("CREATE VIEW seen AS SELECT * FROM customers").await;
        let error = describe(&db.endpoint("Customrs")).await.unwrap_err();
        assert_error(&error, "postgres.no_table", &["Customrs", "did you mean customers or crm.customer?", &db.name]);
        let error = describe(&db.endpoint("nothing_like_it")).await.unwrap_err();
        assert!(!error.to_string().contains("did you mean"));
        let error = describe(&db.endpoint("seen")).await.unwrap_err();
        assert_error(&error, "postgres.no_key", &["public.seen is a view", "\"key\""]);
    })
    .await;
}
