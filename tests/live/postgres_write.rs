//! Guarded writes: what is applied, what changed under our hands, what is refused, and that nothing else is touched.

use sqlx::Connection;
use tidelock::connector::{Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::postgres::{Db, Opening, assert_error, drain, key, outcomes, shown, stored, text, with_db};

async fn people(db: &Db) -> Opening {
    db.run(
        "CREATE TABLE people (id int PRIMARY KEY, name text, age int CHECK (age >= 0), email text UNIQUE, j json, note varchar(5));
         INSERT INTO people VALUES (1, 'Ann', 30, 'ann@x', '{\"a\":1}', NULL), (2, 'Bob', NULL, 'bob@x', NULL, 'n'), (3, 'Cy', 5, NULL, NULL, NULL)",
    )
    .await;
    db.table("people", &["id", "name", "age", "email", "j", "note"])
}

fn update(id: i64, fields: &[(&str, Value)], guard: Option<&[(&str, Value)]>) -> Write {
    let record = |fields: &[(&str, Value)]| Record::of(fields.iter().cloned());
    Write::Update { key: key(id), fields: record(fields), guard: guard.map(record) }
}

fn create(fields: &[(&str, Value)]) -> Write {
    Write::Create { record: Record::of(fields.iter().cloned()) }
}

#[tokio::test]
async fn an_update_is_applied_only_where_its_guard_holds() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let guard: [(&str, Value); 4] =
            [("name", text("Bob")), ("age", Value::Null), ("j", Value::Null), ("note", text("n"))];
        let done = side
            .target
            .write(&[
                update(
                    1,
                    &[("name", text("Anna"))],
                    Some(&[("j", Value::Json("{\"a\":1}".into())), ("age", Value::Int(30))]),
                ),
                update(2, &[("age", Value::Int(7)), ("note", Value::Null)], Some(&guard)),
                update(3, &[("name", text("C"))], Some(&[("name", text("not so"))])),
                update(4, &[("name", text("nobody"))], None),
                update(3, &[("age", Value::Int(6))], Some(&[("email", Value::Null)])),
            ])
            .await
            .unwrap();
        assert_eq!(outcomes(&done), ["applied", "applied", "changed", "changed", "applied"]);
        assert_eq!(stored(&done[0]).get("name"), Some(&text("Anna")));
        assert_eq!(stored(&done[0]).get("j"), Some(&Value::Json("{\"a\":1}".into())));
        assert_eq!(stored(&done[1]).values().len(), 6);
        let all =
            db.text("SELECT string_agg(name || coalesce(age::text, '-'), ' ' ORDER BY id) FROM people").await.unwrap();
        assert_eq!(all, "Anna30 Bob7 Cy6");
    })
    .await;
}

#[tokio::test]
async fn a_guard_sees_what_another_commits_meanwhile() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let mut other = db.connect().await;
        let mut transaction = other.begin().await.unwrap();
        sqlx::query("UPDATE people SET age = 31 WHERE id = 1").execute(&mut *transaction).await.unwrap();
        let target = std::sync::Arc::clone(&side.target);
        let waiting = tokio::spawn(async move {
            target.write(&[update(1, &[("age", Value::Int(99))], Some(&[("age", Value::Int(30))]))]).await.unwrap()
        });
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        transaction.commit().await.unwrap();
        assert_eq!(outcomes(&waiting.await.unwrap()), ["changed"]);
        assert_eq!(db.number("SELECT age::bigint FROM people WHERE id = 1").await, 31);
    })
    .await;
}

#[tokio::test]
async fn a_delete_is_applied_where_the_guard_holds_or_the_record_is_gone() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let delete = |id, guard: Option<(&str, Value)>| Write::Delete {
            key: key(id),
            guard: guard.map(|field| Record::of([field])),
        };
        let done = side
            .target
            .write(&[
                delete(1, Some(("name", text("Ann")))),
                delete(2, Some(("name", text("not so")))),
                delete(3, None),
                delete(9, Some(("name", text("x")))),
                delete(9_000_000_000, None),
            ])
            .await
            .unwrap();
        assert_eq!(outcomes(&done), ["applied", "changed", "applied", "applied", "applied"]);
        assert!(matches!(&done[0], WriteOutcome::Applied { stored: None, key: of } if *of == key(1)));
        assert_eq!(db.text("SELECT string_agg(id::text, ' ') FROM people").await.unwrap(), "2");
    })
    .await;
}

#[tokio::test]
async fn a_refused_record_fails_alone_and_its_message_has_no_values() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let mut writes: Vec<Write> =
            (10..40).map(|id| create(&[("id", Value::Int(id)), ("name", text("ok"))])).collect();
        writes[7] = create(&[("id", Value::Int(17)), ("age", Value::Int(-12_345))]);
        writes[8] = create(&[("id", Value::Int(18)), ("note", text("secret too long"))]);
        writes[9] = create(&[("id", Value::Int(19)), ("name", text("a\0b"))]);
        writes.push(create(&[("id", Value::Int(50)), ("email", text("ann@x"))]));
        writes.push(create(&[("id", Value::Int(1)), ("name", text("taken"))]));
        writes.push(update(2, &[("email", text("ann@x"))], None));
        writes.push(update(3, &[("age", text("hunter2"))], None));
        writes.push(update(1, &[("name", text("fine"))], None));
        let done = side.target.write(&writes).await.unwrap();
        let codes = outcomes(&done);
        assert_eq!(
            (codes[7], codes[8], codes[9]),
            ("postgres.invalid_record", "postgres.invalid_record", "postgres.nul_character")
        );
        assert_eq!(
            codes[30..],
            ["changed", "changed", "postgres.invalid_record", "postgres.invalid_record", "applied"]
        );
        assert_eq!(codes.iter().filter(|code| **code == "applied").count(), 28);
        assert_eq!(db.number("SELECT count(*) FROM people").await, 30);
        let failed = |index: usize| match &done[index] {
            WriteOutcome::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        assert_error(failed(7), "postgres.invalid_record", &["record 17", "people_age_check", "public.people"]);
        assert_error(failed(32), "postgres.invalid_record", &["record 2", "people_email_key"]);
        assert_error(failed(33), "postgres.invalid_record", &["record 3", "type integer"]);
        for index in [7, 8, 9, 32, 33] {
            let said = failed(index).to_string();
            assert!(
                !said.contains("12345")
                    && !said.contains("secret")
                    && !said.contains("ann@x")
                    && !said.contains("hunter2"),
                "{said}"
            );
            assert_eq!(failed(index).kind, ErrorKind::InvalidRecord);
        }
    })
    .await;
}

#[tokio::test]
async fn writes_of_one_key_keep_their_order_and_deletes_make_room() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let done = side
            .target
            .write(&[
                create(&[("id", Value::Int(20)), ("email", text("ann@x"))]),
                Write::Delete { key: key(1), guard: None },
                create(&[("id", Value::Int(1)), ("name", text("again"))]),
                update(1, &[("name", text("twice"))], None),
            ])
            .await
            .unwrap();
        assert_eq!(outcomes(&done), ["applied"; 4]);
        assert_eq!(db.text("SELECT name FROM people WHERE id = 1").await.unwrap(), "twice");
    })
    .await;
}

#[tokio::test]
async fn what_the_database_makes_of_a_value_is_returned() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE n (id int PRIMARY KEY, name text, at timestamptz(0), price numeric(6,2), total numeric GENERATED ALWAYS AS (price * 2) STORED);
             CREATE FUNCTION trimmed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := trim(NEW.name); RETURN NEW; END $$;
             CREATE TRIGGER trimmed BEFORE INSERT OR UPDATE ON n FOR EACH ROW EXECUTE FUNCTION trimmed()",
        )
        .await;
        let side = db.table("n", &["id", "name", "at", "price", "total"]).open().await;
        let done = side
            .target
            .write(&[create(&[
                ("id", Value::Int(1)),
                ("name", text(" x ")),
                ("at", Value::Instant(1_600_000)),
                ("price", Value::Decimal("1.005".into())),
            ])])
            .await
            .unwrap();
        let expected = [
            Value::Int(1),
            text("x"),
            Value::Instant(2_000_000),
            Value::Decimal("1.01".into()),
            Value::Decimal("2.02".into()),
        ];
        assert_eq!(stored(&done[0]).values(), expected.map(Some));
    })
    .await;
}

#[tokio::test]
async fn a_key_that_the_database_alters_is_still_told_to_its_record() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE k (code text PRIMARY KEY, v int);
             CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.code := lower(NEW.code); RETURN NEW; END $$;
             CREATE TRIGGER lowered BEFORE INSERT ON k FOR EACH ROW EXECUTE FUNCTION lowered()",
        )
        .await;
        let side = db.table("k", &["code", "v"]).open().await;
        let done = side.target.write(&["A", "B", "A"].map(|code| create(&[("code", text(code)), ("v", Value::Int(1))]))).await.unwrap();
        assert_eq!(outcomes(&done), ["applied", "applied", "changed"]);
        assert_eq!(stored(&done[1]).key(&["code"]), Some(Key(vec![text("b")])));
    })
    .await;
}

#[tokio::test]
async fn a_deadlock_is_tried_again() {
    with_db(|db| async move {
        let side = people(&db).await.open().await;
        let mut other = db.connect().await;
        sqlx::raw_sql("SET deadlock_timeout = '10s'").execute(&mut other).await.unwrap();
        let mut transaction = other.begin().await.unwrap();
        sqlx::query("UPDATE people SET note = 'o' WHERE id = 2").execute(&mut *transaction).await.unwrap();
        let target = std::sync::Arc::clone(&side.target);
        let ours = tokio::spawn(async move {
            target
                .write(&[
                    update(1, &[("name", text("x"))], None),
                    update(2, &[("name", text("x")), ("age", Value::Int(1))], None),
                ])
                .await
        });
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        sqlx::query("UPDATE people SET note = 'o' WHERE id = 1").execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(outcomes(&ours.await.unwrap().unwrap()), ["applied", "applied"]);
        assert_eq!(db.number("SELECT count(*) FROM people WHERE name = 'x' AND note = 'o'").await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_constraint_that_is_checked_at_commit_refuses_the_batch() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE parent (id int PRIMARY KEY);
             CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
        )
        .await;
        let side = db.table("child", &["id", "parent"]).open().await;
        let error =
            side.target.write(&[create(&[("id", Value::Int(1)), ("parent", Value::Int(7))])]).await.unwrap_err();
        assert_error(&error, "postgres.invalid_record", &["child_parent_fkey"]);
        assert_eq!(db.number("SELECT count(*) FROM child").await, 0);
    })
    .await;
}

#[tokio::test]
async fn deletes_by_correlation_are_counted_and_carry_the_origin() {
    with_db(|db| async move {
        let mut side = people(&db).await.correlation(&["email"]).open().await;
        side.source.prepare().await.unwrap();
        let head = side.source.head().await.unwrap();
        let emails = ["ann@x", "nobody@x", "bo\0b"].map(|email| Key(vec![text(email)]));
        assert_eq!(side.target.delete_by_correlation(&emails).await.unwrap(), 1);
        db.run("DELETE FROM people WHERE id = 2").await;
        assert_eq!(shown(&drain(side.source.as_mut(), &head).await.0), "D2");
    })
    .await;
}
