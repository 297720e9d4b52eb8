//! Logs as MySQL 8 writes them, byte by byte: `tests/live` has MariaDB's own.

use super::*;
use crate::connector::Column;
use crate::connector::mysql::table::MyColumn;
use crate::value::{Kind, Value};

use super::super::decode::Charset;
use super::super::gtid::Gtids;

/// Nobody alters the table here.
struct Unasked;

#[async_trait]
impl Catalogue for Unasked {
    async fn look(&self) -> Result<Option<Seen>, WireError> {
        Ok(None)
    }
}

fn key_column() -> KeyColumn {
    let column = Column {
        name: "id".to_owned(),
        kind: Kind::Int,
        native_type: "int".to_owned(),
        nullable: false,
        has_default: false,
        writable: true,
        keeps: crate::connector::Keeps::default(),
    };
    let column = MyColumn {
        column,
        data_type: "int".to_owned(),
        unsigned: false,
        digits: 0,
        scale: 0,
        fraction: 0,
        length: None,
        members: Vec::new(),
        auto_increment: false,
    };
    KeyColumn { column, charset: Charset::Utf8, choices: Vec::new() }
}

/// A log that is written event by event.
struct Log {
    follower: Follower,
    at: u32,
}

impl Log {
    async fn new() -> Self {
        let followed = Followed {
            table: ("d".to_owned(), "t".to_owned()),
            any_case: false,
            key: vec![key_column()],
            own: "pair@t".to_owned(),
        };
        let file = Arc::new(File { name: "b.000001".to_owned(), made: (0, 0) });
        let begin = LogPosition {
            spot: Spot { file, at: 4 },
            index: 0,
            key: [0].into(),
            form: "int".into(),
            from: None,
            gtid: None,
        };
        let mut log = Self { follower: Follower::new(followed, Box::new(Unasked), begin, false), at: 4 };
        log.turn("b.000001").await;
        log
    }

    /// The next file: an event that stands nowhere, and the first of the file.
    async fn turn(&mut self, name: &str) {
        let rotate = [&4_u64.to_le_bytes()[..], name.as_bytes()].concat();
        self.write(4, 0x20, &rotate).await;
        self.at = 4;
        self.write(15, 0, &[0; 100]).await;
    }

    async fn write(&mut self, code: u8, flags: u16, content: &[u8]) {
        let length = u32::try_from(content.len() + 19).unwrap();
        if flags == 0 {
            self.at += length;
        }
        let next = if flags == 0 { self.at } else { 0 };
        let mut event = 1_000_u32.to_le_bytes().to_vec();
        event.push(code);
        for part in [9, length, next] {
            event.extend_from_slice(&part.to_le_bytes());
        }
        event.extend_from_slice(&flags.to_le_bytes());
        event.extend_from_slice(content);
        self.follower.event(&event).await.unwrap();
    }

    async fn statement(&mut self, text: &str) {
        let head = [0_u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        self.write(2, 0, &[&head, &b"d\0"[..], text.as_bytes()].concat()).await;
    }

    async fn begin(&mut self) {
        self.begin_as(0).await;
    }

    /// The same, as a transaction of this number.
    async fn begin_as(&mut self, number: u8) {
        self.write(33, 0, &[&[0; 17][..], &[number, 0, 0, 0, 0, 0, 0, 0]].concat()).await;
        self.statement("BEGIN").await;
    }

    async fn map(&mut self, id: u8, table: &str, types: &[u8], details: &[u8]) {
        let mut content = vec![id, 0, 0, 0, 0, 0, 0, 0, 1, b'd', 0, u8::try_from(table.len()).unwrap()];
        content.extend_from_slice(table.as_bytes());
        content.extend_from_slice(&[0, u8::try_from(types.len()).unwrap()]);
        content.extend_from_slice(types);
        content.push(u8::try_from(details.len()).unwrap());
        content.extend_from_slice(details);
        content.push(0);
        self.write(19, 0, &content).await;
    }

    /// The form of MySQL 8: with room for more in its head.
    async fn rows(&mut self, code: u8, id: u8, present: &[u8], images: &[u8]) {
        let mut content = vec![id, 0, 0, 0, 0, 0, 1, 0, 2, 0];
        content.extend_from_slice(present);
        content.extend_from_slice(images);
        self.write(code, 0, &content).await;
    }

    /// Inserts rows with these keys and no text.
    async fn insert(&mut self, ids: impl IntoIterator<Item = i32>) {
        self.map(7, "t", &[3, 15], &[50, 0]).await;
        let images: Vec<u8> = ids.into_iter().flat_map(|id| [&[0b10][..], &id.to_le_bytes()].concat()).collect();
        self.rows(30, 7, &[2, 0b11], &images).await;
    }

    /// Our mark: the table of readers has it in its last column.
    async fn mark(&mut self, consumer: &str, before: &str, after: &str) {
        self.map(8, READERS, &[15, 254, 252, 15], &[0xb0, 4, 254, 43, 2, 64, 0]).await;
        let image = |said: &str| {
            let mut image = vec![0_u8];
            image.extend_from_slice(&u16::try_from(consumer.len()).unwrap().to_le_bytes());
            image.extend_from_slice(consumer.as_bytes());
            image.extend_from_slice(&[1, b'i', 0, 0, u8::try_from(said.len()).unwrap()]);
            image.extend_from_slice(said.as_bytes());
            image
        };
        self.rows(31, 8, &[4, 0b1111, 0b1111], &[image(before), image(after)].concat()).await;
    }

    async fn commit(&mut self) {
        self.write(16, 0, &[0; 8]).await;
    }

    fn seen(&mut self) -> Vec<(What, LogPosition)> {
        self.follower.take().into_iter().map(|entry| (entry.what, entry.next)).collect()
    }
}

fn upsert(id: i64) -> What {
    What::Upsert(Key(vec![Value::Int(id)]))
}

#[tokio::test]
async fn groups_become_changes_with_the_place_behind_them() {
    let mut log = Log::new().await;
    log.begin().await;
    log.insert([1, -2]).await;
    assert!(log.seen().is_empty(), "not before it is known whose it is");
    log.commit().await;
    let seen = log.seen();
    assert_eq!(seen.iter().map(|(what, _)| what.clone()).collect::<Vec<_>>(), [upsert(1), upsert(-2)]);
    let (first, last) = (&seen[0].1, &seen[1].1);
    assert_eq!((first.index, last.index, last.spot.at), (1, 0, u64::from(log.at)));
    assert_eq!(last.spot.file.made, (9, 1_000));
    assert_eq!(*last, log.follower.reached());
    log.turn("b.000002").await;
    assert_eq!(log.follower.reached().spot.file.name, "b.000002");
    assert!(log.follower.reached_order() > last.spot.order());
}

#[tokio::test]
async fn our_own_are_left_out_where_nothing_else_was_written() {
    let mut log = Log::new().await;
    for (consumer, before, after, own) in [
        ("pair@t", "1:9", "2:2", true),
        ("pair@t", "2:2", "3:1", false),
        ("other@t", "2:2", "3:2", false),
        ("pair@t", "3:2", "3:2", false),
    ] {
        log.begin().await;
        log.insert([1, 2]).await;
        log.mark(consumer, before, after).await;
        log.commit().await;
        assert_eq!(log.seen().is_empty(), own, "{consumer} {before} {after}");
    }
    // More than is kept until the end is known.
    log.begin().await;
    log.insert(0..i32::try_from(WHOLE_MAX).unwrap()).await;
    assert_eq!(log.seen().len(), WHOLE_MAX);
    log.commit().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_said_where_it_stands() {
    let mut log = Log::new().await;
    log.begin().await;
    log.insert([1]).await;
    log.commit().await;
    log.write(33, 0, &[0; 25]).await;
    log.write(26, 0, &[]).await;
    log.write(33, 0, &[0; 25]).await;
    log.statement("TRUNCATE t").await;
    log.begin().await;
    let load = [&[0_u8; 8][..], &[1, 0, 0, 0, 0], &[0; 13], b"d\0LOAD DATA INFILE 'x' INTO TABLE `t`"].concat();
    log.write(18, 0, &load).await;
    log.commit().await;
    let seen: Vec<What> = log.seen().into_iter().map(|(what, _)| what).collect();
    assert!(
        matches!(&seen[..], [first, What::Lost(why), What::Truncated, What::Lost(_)] if *first == upsert(1) && why.contains("lost events")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn prepared_transactions_wait_and_hold_the_place_to_read_from() {
    let mut log = Log::new().await;
    let before = log.follower.reached().spot;
    log.write(33, 0, &[0; 25]).await;
    log.statement("XA START X'61',X'',1").await;
    log.insert([1]).await;
    log.statement("XA END X'61',X'',1").await;
    log.write(38, 0, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a']).await;
    assert!(log.seen().is_empty());
    assert_eq!(log.follower.reached().from, Some(before));
    log.write(33, 0, &[0; 25]).await;
    log.statement("XA COMMIT X'61',X'',1").await;
    assert_eq!(log.seen().into_iter().map(|(what, next)| (what, next.from)).collect::<Vec<_>>(), [(upsert(1), None)]);
}

/// A transaction in one event, which is not compressed: only MySQL itself has one that is.
#[tokio::test]
async fn a_packed_transaction_is_taken_apart() {
    let mut log = Log::new().await;
    log.begin().await;
    let (map, rows) = ([7, 0, 0, 0, 0, 0, 0, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15, 2, 50, 0, 0], |id: u8| {
        [&[7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0b11, 0b10][..], &[id, 0, 0, 0]].concat()
    });
    let event = |code: u8, content: &[u8]| {
        let length = u32::try_from(content.len() + 19).unwrap();
        [&1_000_u32.to_le_bytes()[..], &[code], &9_u32.to_le_bytes(), &length.to_le_bytes(), &[0; 6], content].concat()
    };
    let events =
        [event(19, &map), event(30, &rows(1)), event(19, &map), event(30, &rows(2)), event(16, &[0; 8])].concat();
    log.write(40, 0, &[&[2, 3, 0xfc, 255, 0, 0][..], &events].concat()).await;
    let mut steps = 0;
    while log.follower.is_unpacking() {
        assert_eq!(log.follower.reached_order() < (1, u64::from(log.at)), steps < 5, "not before its end");
        log.follower.unpack().await.unwrap();
        steps += 1;
    }
    let seen = log.seen();
    assert_eq!((seen.len(), steps, seen[1].1.spot.at), (2, 6, u64::from(log.at)));
    assert_eq!((&seen[0].0, &seen[1].0), (&upsert(1), &upsert(2)));
}

#[tokio::test]
async fn what_was_read_from_another_server_is_not_told_again() {
    let server = uuid::Uuid::nil();
    let known = |number: u64, at: u32| {
        let before = Gtids::read(&format!("{server}:1-{}", number - 1), false).unwrap();
        Arc::new(Known { before, last: Some((Gtid::Numbered(server, number), at)) })
    };
    for (at, same) in [(1_000, true), (1_001, false)] {
        let mut log = Log::new().await;
        log.follower.gtids = Some(known(5, at));
        log.follower.seek();
        // One that only this server has; the one that is sought; the next.
        for number in [9, 5, 6] {
            assert_eq!(log.follower.is_seeking(), number != 6);
            log.begin_as(number).await;
            log.insert([i32::from(number)]).await;
            log.commit().await;
        }
        let seen = log.seen();
        let known = seen[seen.len() - 1].1.gtid.clone().unwrap();
        assert_eq!(known.had().to_string(), format!("{server}:1-6:9-9"));
        let what: Vec<What> = seen.into_iter().map(|(what, _)| what).collect();
        if same {
            assert_eq!(what, [upsert(9), upsert(6)]);
        } else {
            assert!(matches!(&what[..], [_, What::Lost(why), _] if why.contains("another of that number")), "{what:?}");
        }
    }
}

#[tokio::test]
async fn ids_are_known_from_the_next_file_on_and_as_long_as_all_have_one() {
    let mut log = Log::new().await;
    log.begin_as(7).await;
    log.commit().await;
    assert_eq!(log.follower.reached().gtid, None, "nobody said what was there before");
    log.turn("b.000002").await;
    log.write(35, 0, &Gtids::read("", false).unwrap().encoded()).await;
    log.begin_as(1).await;
    log.insert([1, 2]).await;
    log.commit().await;
    let had = |position: &LogPosition| position.gtid.as_ref().map(|known| known.had().to_string());
    let seen = log.seen();
    assert_eq!(had(&seen[0].1).as_deref(), Some(""), "in the middle of it, it is not had");
    assert_eq!(had(&seen[1].1), Some(format!("{}:1-1", uuid::Uuid::nil())));
    log.write(34, 0, &[0; 25]).await;
    log.statement("BEGIN").await;
    log.commit().await;
    assert_eq!(log.follower.reached().gtid, None);
}

#[tokio::test]
async fn damaged_events_are_refused() {
    let mut log = Log::new().await;
    log.begin().await;
    log.map(7, "t", &[3, 15], &[50, 0]).await;
    for cut in [3, 5, 11] {
        let whole = [vec![7, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0b11], vec![0b10, 1, 0, 0, 0]].concat();
        let mut event = vec![0; 19];
        event[4] = 30;
        event.extend_from_slice(&whole[..cut]);
        assert!(log.follower.event(&event).await.is_err(), "{cut}");
    }
    assert!(log.follower.event(&[1, 2, 3]).await.is_err());
}

#[test]
fn places_go_on_beyond_what_an_event_can_say() {
    assert_eq!(onwards(100, 200), 200);
    assert_eq!(onwards(0xffff_ff00, 0x10), 0x1_0000_0010);
    assert_eq!(onwards(0x1_0000_0010, 0x20), 0x1_0000_0020);
}
