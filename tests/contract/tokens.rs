//! Creates whose keys the system makes, and what a replay finds of them.

use tidelock::connector::{Write, WriteOutcome};
use tidelock::record::{Key, Record};

use super::{Factory, Field, Opened, TableSpec};

fn create(name: &str, token: &str) -> Write {
    Write::Create { record: Record::of([("name", Field::from(name).0)]), token: Some(token.to_owned()) }
}

async fn key_of(opened: &Opened, write: Write) -> Key {
    match super::write::one(opened, write).await {
        WriteOutcome::Applied { key, stored } => {
            assert_eq!(stored.expect("stored").key(&["id"]), Some(key.clone()));
            key
        }
        other => panic!("{other:?}"),
    }
}

pub async fn a_token_finds_the_record_again(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    assert!(opened.target.pending_creates().await.unwrap().is_empty());
    let first = key_of(&opened, create("Ann", "t1")).await;
    assert_eq!(key_of(&opened, create("Ann", "t1")).await, first, "the replay creates nothing");
    let second = key_of(&opened, create("Ann", "t2")).await;
    assert_ne!(first, second);
    let mut pending = opened.target.pending_creates().await.unwrap();
    pending.sort();
    assert_eq!(pending, [("t1".to_owned(), first.clone()), ("t2".to_owned(), second)]);
    // Deleted by a user meanwhile: still not created twice.
    opened.sql("DELETE FROM {t}").await;
    match super::write::one(&opened, create("Ann", "t1")).await {
        WriteOutcome::Applied { key, stored: None } => assert_eq!(key, first),
        other => panic!("{other:?}"),
    }
}

pub async fn tokens_of_others_are_not_seen(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    let other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    let ours = key_of(&opened, create("Ann", "t1")).await;
    assert!(other.target.pending_creates().await.unwrap().is_empty());
    let outcomes = other.target.write(&[create("Bob", "t1")]).await.unwrap();
    assert!(matches!(&outcomes[..], [WriteOutcome::Applied { key, .. }] if *key != ours), "{outcomes:?}");
    other.target.forget_creates(&["t1".to_owned()]).await.unwrap();
    assert_eq!(opened.target.pending_creates().await.unwrap(), [("t1".to_owned(), ours)]);
}

pub async fn forgotten_tokens_are_gone(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    opened.target.forget_creates(&["never".to_owned()]).await.unwrap();
    for token in ["t1", "t2", "t3"] {
        key_of(&opened, create("Ann", token)).await;
    }
    opened.target.forget_creates(&["t1".to_owned(), "t3".to_owned(), "never".to_owned()]).await.unwrap();
    let pending: Vec<String> =
        opened.target.pending_creates().await.unwrap().into_iter().map(|(token, _)| token).collect();
    assert_eq!(pending, ["t2"]);
}
