//! Creates: keys that the server makes, and how a replay is told of them.

use tidelock::connector::marks::fates;
use tidelock::connector::{Mark, Target, Write, WriteOutcome};
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::postgres::{outcomes, stored, text, with_db};

fn named(name: &str) -> Write {
    Write::Create { record: Record::of([("name", text(name))]) }
}

async fn write(target: &dyn Target, writes: &[Write]) -> Vec<WriteOutcome> {
    target.write(writes).await.unwrap()
}

#[tokio::test]
async fn a_program_that_died_while_it_wrote_is_waited_for() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id bigserial PRIMARY KEY, name text)").await;
        let side = db.table("t", &["id", "name"]).open().await;
        let mark = |number| Mark { run: "run", number, since: 1, first: 0 };
        side.target.write_marked(&[named("a")], Some(mark(1))).await.unwrap();
        // Its transaction is still on its way when the next start asks.
        let mut late = db.connect().await;
        let keep = "BEGIN; INSERT INTO tidelock_marks SELECT consumer, collection, 2, run, first, outcomes FROM tidelock_marks";
        sqlx::raw_sql(keep).execute(&mut late).await.unwrap();
        let target = std::sync::Arc::clone(&side.target);
        let asked = tokio::spawn(async move { target.marks("run", 2).await.unwrap().unwrap() });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tidelock_marks'::regclass";
        while db.number(waits).await == 0 {
            assert!(!asked.is_finished(), "it did not wait");
        }
        sqlx::raw_sql("COMMIT").execute(&mut late).await.unwrap();
        assert_eq!(asked.await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_refused_create_spares_the_others() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text CHECK (name <> 'bad'))").await;
        let side = db.table("t", &["id", "name"]).open().await;
        let done = write(side.target.as_ref(), &[named("a"), named("bad"), named("c")]).await;
        assert_eq!(outcomes(&done), ["applied", "postgres.invalid_record", "applied"]);
        assert!(matches!(stored(&done[2]).get("id"), Some(Value::Uuid(_))));
    })
    .await;
}

#[tokio::test]
async fn defaults_and_given_identities_are_stored() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text DEFAULT 'nameless', n int DEFAULT 5)").await;
        let side = db.table("t", &["id", "name", "n"]).open().await;
        let empty = Write::Create { record: Record::of::<&str>([]) };
        let given = Write::Create { record: Record::of([("id", Value::Int(70)), ("n", Value::Null)]) };
        let done = write(side.target.as_ref(), &[empty.clone(), given]).await;
        assert_eq!(stored(&done[0]).values(), [Value::Int(1), text("nameless"), Value::Int(5)].map(Some));
        assert_eq!(stored(&done[1]).values(), [Value::Int(70), text("nameless"), Value::Null].map(Some));
        let more = write(side.target.as_ref(), &[empty.clone(), empty]).await;
        assert_eq!(stored(&more[1]).values(), [Value::Int(3), text("nameless"), Value::Int(5)].map(Some));
    })
    .await;
}

#[tokio::test]
async fn composite_keys_that_are_made_are_marked() {
    with_db(|db| async move {
        db.run("CREATE TABLE t (a serial, b date DEFAULT '2024-02-29', name text, PRIMARY KEY (b, a))").await;
        let side = db.table("t", &["a", "b", "name"]).open().await;
        let mark = Mark { run: "run", number: 1, since: 1, first: 0 };
        side.target.write_marked(&[named("x")], Some(mark)).await.unwrap();
        let expected = Key(vec![Value::Date(19_782), Value::Int(1)]);
        let kept = side.target.marks("run", 1).await.unwrap().unwrap();
        let made = fates(&kept, 1).unwrap().remove(0).flatten().unwrap();
        assert_eq!(made.key(&["b", "a"]), Some(expected.clone()));
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
        let done = write(side.target.as_ref(), &[named("a"), named("b"), named("a")]).await;
        assert_eq!(outcomes(&done), ["applied", "applied", "changed"]);
        assert_eq!(stored(&done[1]).get("id"), Some(&text("k-b")));
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
        let done = write(side.target.as_ref(), &[named("a"), named("b")]).await;
        assert_eq!(outcomes(&done), ["applied", "applied"]);
        drop(side);
        db.run(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    })
    .await;
}
