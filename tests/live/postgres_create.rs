//! Creates: keys that the server makes, and tokens that make a replay find what is there.

use tidelock::connector::{Target, Write, WriteOutcome};
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::postgres::{key, outcomes, stored, text, with_db};

fn tokened(name: &str, token: &str) -> Write {
    Write::Create { record: Record::of([("name", text(name))]), token: Some(token.to_owned()) }
}

async fn write(target: &dyn Target, writes: &[Write]) -> Vec<WriteOutcome> {
    target.write(writes).await.unwrap()
}

#[tokio::test]
async fn a_token_that_was_used_returns_the_record_it_made() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id bigserial PRIMARY KEY, name text UNIQUE)").await;
        let opening = db.table("t", &["id", "name"]);
        let side = opening.open().await;
        assert!(side.target.pending_creates().await.unwrap().is_empty());
        side.target.forget_creates(&["none".to_owned()]).await.unwrap();
        let done =
            write(side.target.as_ref(), &[tokened("a", "one"), tokened("b", "two"), tokened("a", "three")]).await;
        assert_eq!(outcomes(&done), ["applied", "applied", "changed"]);
        assert_eq!(stored(&done[0]).get("id"), Some(&Value::Int(1)));
        let again = write(side.target.as_ref(), &[tokened("a", "one"), tokened("c", "four")]).await;
        assert_eq!(stored(&again[0]).key(&["id"]), Some(key(1)));
        assert_eq!(db.number("SELECT count(*) FROM t").await, 3);

        let mut pending = side.target.pending_creates().await.unwrap();
        pending.sort();
        let four = stored(&again[1]).key(&["id"]).unwrap();
        assert_eq!(pending, [("four".to_owned(), four), ("one".to_owned(), key(1)), ("two".to_owned(), key(2))]);
        let stranger = opening.clone().consumer("other").open().await;
        assert!(stranger.target.pending_creates().await.unwrap().is_empty());
        side.target.forget_creates(&["one".to_owned(), "four".to_owned()]).await.unwrap();
        assert_eq!(side.target.pending_creates().await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_record_that_was_made_and_deleted_is_not_made_again() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text)").await;
        let side = db.table("t", &["id", "name"]).open().await;
        write(side.target.as_ref(), &[tokened("a", "one")]).await;
        db.run("DELETE FROM t").await;
        let done = write(side.target.as_ref(), &[tokened("a", "one"), tokened("b", "two")]).await;
        assert!(matches!(&done[0], WriteOutcome::Applied { key: of, stored: None } if *of == key(1)));
        assert_eq!(stored(&done[1]).key(&["id"]), Some(key(2)));
        assert_eq!(side.target.pending_creates().await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_refused_create_leaves_no_token_and_spares_the_others() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text CHECK (name <> 'bad'))").await;
        let side = db.table("t", &["id", "name"]).open().await;
        let done = write(side.target.as_ref(), &[tokened("a", "1"), tokened("bad", "2"), tokened("c", "3")]).await;
        assert_eq!(outcomes(&done), ["applied", "postgres.invalid_record", "applied"]);
        let pending = side.target.pending_creates().await.unwrap();
        assert_eq!(pending.iter().map(|(token, _)| token.as_str()).collect::<Vec<_>>(), ["1", "3"]);
        assert!(matches!(pending[0].1.0[0], Value::Uuid(_)));
    })
    .await;
}

#[tokio::test]
async fn defaults_and_given_identities_are_stored() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text DEFAULT 'nameless', n int DEFAULT 5)").await;
        let side = db.table("t", &["id", "name", "n"]).open().await;
        let empty = Write::Create { record: Record::of::<&str>([]), token: None };
        let given = Write::Create { record: Record::of([("id", Value::Int(70)), ("n", Value::Null)]), token: None };
        let done = write(side.target.as_ref(), &[empty.clone(), given]).await;
        assert_eq!(stored(&done[0]).values(), [Value::Int(1), text("nameless"), Value::Int(5)].map(Some));
        assert_eq!(stored(&done[1]).values(), [Value::Int(70), text("nameless"), Value::Null].map(Some));
        let more = write(side.target.as_ref(), &[empty.clone(), empty]).await;
        assert_eq!(stored(&more[1]).values(), [Value::Int(3), text("nameless"), Value::Int(5)].map(Some));
    })
    .await;
}

#[tokio::test]
async fn composite_keys_are_kept_under_their_token() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (a serial, b date DEFAULT '2024-02-29', name text, PRIMARY KEY (b, a))").await;
        let side = db.table("t", &["a", "b", "name"]).open().await;
        write(side.target.as_ref(), &[tokened("x", "one")]).await;
        let expected = Key(vec![Value::Date(19_782), Value::Int(1)]);
        assert_eq!(side.target.pending_creates().await.unwrap(), [("one".to_owned(), expected.clone())]);
        assert!(side.target.fetch(&[expected]).await.unwrap()[0].is_some());
    })
    .await;
}

#[tokio::test]
async fn keys_that_a_trigger_makes_are_told_to_their_records() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE t (id text PRIMARY KEY DEFAULT 'x', name text);
             CREATE FUNCTION keyed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := 'k-' || NEW.name; RETURN NEW; END $$;
             CREATE TRIGGER keyed BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION keyed()",
        )
        .await;
        let side = db.table("t", &["id", "name"]).open().await;
        let done = write(side.target.as_ref(), &[tokened("a", "1"), tokened("b", "2"), tokened("a", "3")]).await;
        assert_eq!(outcomes(&done), ["applied", "applied", "changed"]);
        assert_eq!(stored(&done[1]).get("id"), Some(&text("k-b")));
        let pending = side.target.pending_creates().await.unwrap();
        assert_eq!(pending.len(), 2);
        assert_eq!(pending[1], ("2".to_owned(), Key(vec![text("k-b")])));
    })
    .await;
}

#[tokio::test]
async fn an_identity_whose_sequence_we_may_not_use_is_made_one_by_one() {
    with_db(|db| async move {
        let role = format!("{}_maker", db.name);
        db.run(&format!(
            "CREATE TABLE t (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text); CREATE ROLE {role} LOGIN PASSWORD 'pw';
             GRANT SELECT, INSERT ON t TO {role}; GRANT USAGE, CREATE ON SCHEMA public TO {role}"
        ))
        .await;
        let mut opening = db.table("t", &["id", "name"]);
        opening.endpoint.credentials.user = Some(role.clone());
        opening.endpoint.credentials.password = Some(tidelock::config::Secret::new("pw"));
        let side = opening.open().await;
        let done = write(side.target.as_ref(), &[tokened("a", "1"), tokened("b", "2")]).await;
        assert_eq!(outcomes(&done), ["applied", "applied"]);
        drop(side);
        db.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}
