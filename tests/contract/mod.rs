//! What every connector must do: one suite, run by `tests/it` against SQLite and by `tests/live` against real servers.
//!
//! A connector's test file implements [`Factory`] and says `crate::contract::contract_tests!(its_factory());`: that makes one test of every check.
//! Nothing here sleeps: states are awaited, with a timeout; that something does *not* arrive is shown by what arrives after it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelock::change::{Change, Op, Position};
use tidelock::config::{CaptureMethod, Endpoint};
use tidelock::connector::change_log::quote;
use tidelock::connector::{Connector, OpenOptions, Schema, Side, Source, Target, Write, WriteOutcome};
use tidelock::record::{Key, Record};
use tidelock::value::{Kind, Value};

pub mod capture;
pub mod describe;
pub mod marks;
pub mod polling;
pub mod read;
pub mod scan;
pub mod upsert;
pub mod values;
pub mod write;

/// Whatever has not happened by then never will.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Makes one test of every check. `$factory` is an expression of a type that implements [`Factory`].
macro_rules! contract_tests {
    ($factory:expr) => {
        $crate::contract::contract_tests! { @each $factory;
            describe::columns_key_and_unique_sets, describe::a_missing_collection_names_near_ones,
            describe::a_collection_without_key_is_refused, describe::a_unique_set_without_nulls_stands_in_for_a_key,
            describe::names_with_capitals_blanks_and_quotes,
            scan::by_key_at_every_page_size, scan::by_composite_key, scan::from_behind_a_key, scan::by_fields_with_duplicates_and_nulls,
            scan::by_field_in_the_order_of_its_values, scan::by_field_in_the_order_of_its_texts, scan::with_a_filter,
            scan::a_dropped_scan_holds_nothing_up, scan::an_empty_collection,
            read::fetch_keeps_order_and_marks_what_is_missing, read::fetch_more_than_a_batch, read::fetch_applies_the_filter,
            read::find_none_one_and_many, read::composite_keys,
            write::create_returns_what_is_stored, write::create_of_an_existing_record_changes_nothing,
            write::a_generated_key_is_returned, write::update_with_a_guard, write::update_without_guard,
            write::update_of_the_key, write::delete_with_a_guard, write::null_and_absent_differ,
            write::a_bad_record_fails_alone, write::outcomes_keep_the_order, write::guards_see_every_difference,
            write::an_empty_batch_is_nothing,
            marks::marks_say_what_was_done_and_which_keys_were_made, marks::a_write_that_is_undone_leaves_no_mark,
            marks::marks_of_others_are_not_seen, marks::old_marks_are_forgotten_with_the_next,
            upsert::counts_inserts_changes_and_equals, upsert::absent_fields_are_left_alone, upsert::many_records,
            upsert::a_bad_record_is_reported, upsert::by_another_unique_set, upsert::delete_by_correlation,
            polling::changes_are_found, polling::an_idle_collection_is_quiet, polling::equal_times_hide_nothing,
            polling::late_commits_are_found, polling::a_replay_delivers_again, polling::every_batch_size,
            values::extremes_come_back, values::what_cannot_be_kept_is_refused, values::keys_of_every_kind,
            values::generated_values_come_back,
        }
        $crate::contract::capture_tests!($factory);
    };
    (@each $factory:expr; $($module:ident::$check:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::contract::$module::$check(&$factory).await;
            }
        )+
    };
}

/// Makes one test of every check of how changes are captured: for a connector's second way to do that.
macro_rules! capture_tests {
    ($factory:expr) => {
        $crate::contract::contract_tests! { @each $factory;
            capture::insert_update_and_delete, capture::a_changed_key_is_two_changes, capture::head_is_behind_what_is_there,
            capture::own_writes_are_left_out, capture::others_writes_are_not, capture::nothing_is_lost_at_any_batch_size,
            capture::prepare_twice_is_once, capture::acknowledged_changes_go_when_nobody_needs_them,
            capture::remove_takes_everything_away, capture::who_comes_back_gets_a_new_incarnation,
            capture::wait_ends_at_a_change, capture::wait_ends_at_its_timeout, capture::change_times_of_others,
            capture::composite_keys_are_captured, capture::many_writers_at_once,
        }
    };
}

pub(crate) use {capture_tests, contract_tests};

/// Makes collections of one system.
#[async_trait]
pub trait Factory: Send + Sync {
    /// A fresh, empty collection.
    async fn create(&self, spec: &TableSpec) -> Box<dyn Fixture>;

    /// Whether the system can store this value in a column of its kind and give it back equal. Where it cannot, writing it must fail.
    fn holds(&self, value: &Value) -> bool;

    /// The kinds that the system has a type of its own for.
    fn kinds(&self) -> Vec<Kind> {
        Kind::ALL.into()
    }

    /// Whether a column of this kind can be (part of) a primary key.
    fn can_be_key(&self, kind: Kind) -> bool {
        !matches!(kind, Kind::Null | Kind::Json)
    }
}

/// One collection.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The connector under test.
    fn connector(&self) -> Arc<dyn Connector>;

    /// How the collection is reached.
    fn endpoint(&self) -> Endpoint;

    /// How changes are captured.
    fn capture(&self) -> CaptureMethod {
        CaptureMethod::DatabaseTriggers
    }

    /// Runs SQL as a user of the system would, beside the connector. `{t}` stands for the table. Panics where it fails.
    async fn execute(&self, sql: &str);

    /// How many changes the system keeps for its consumers; `None` where that cannot be told.
    async fn kept_changes(&self) -> Option<u64>;

    /// Names of the objects (tables, triggers, functions) that the connector created.
    async fn tracking_objects(&self) -> Vec<String>;
}

/// A column to make.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Name.
    pub name: String,
    /// Kind; the factory picks the type.
    pub kind: Kind,
    /// `NOT NULL`.
    pub required: bool,
    /// `DEFAULT` expression, the same in every SQL.
    pub default: Option<String>,
}

/// A table to make.
#[derive(Debug, Clone, Default)]
pub struct TableSpec {
    /// Columns in order.
    pub columns: Vec<ColumnSpec>,
    /// Primary key.
    pub key: Vec<String>,
    /// The system makes the key (one column of kind Int).
    pub generated_key: bool,
    /// Further unique constraints.
    pub unique: Vec<Vec<String>>,
}

impl TableSpec {
    /// `CREATE TABLE` in standard SQL: `declared` names the system's types, and `generated` makes it generate a key.
    pub fn create_sql(&self, table: &str, declared: impl Fn(Kind) -> &'static str, generated: &str) -> String {
        let quoted = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
        let column = |column: &ColumnSpec| {
            let mut sql = format!("{} {}", quote(&column.name), declared(column.kind));
            if column.required {
                sql.push_str(" NOT NULL");
            }
            if self.generated_key && self.key.contains(&column.name) {
                sql.push_str(generated);
            }
            if let Some(default) = &column.default {
                sql.push_str(&format!(" DEFAULT {default}"));
            }
            sql
        };
        let mut parts: Vec<String> = self.columns.iter().map(column).collect();
        if !self.key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", quoted(&self.key)));
        }
        parts.extend(self.unique.iter().map(|set| format!("UNIQUE ({})", quoted(set))));
        format!("CREATE TABLE {} ({})", quote(table), parts.join(", "))
    }

    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column that may be null.
    #[must_use]
    pub fn column(mut self, name: &str, kind: Kind) -> Self {
        self.columns.push(ColumnSpec { name: name.to_owned(), kind, required: false, default: None });
        self
    }

    /// Adds a `NOT NULL` column.
    #[must_use]
    pub fn required(mut self, name: &str, kind: Kind) -> Self {
        self.columns.push(ColumnSpec { name: name.to_owned(), kind, required: true, default: None });
        self
    }

    /// Adds a column with a default.
    #[must_use]
    pub fn with_default(mut self, name: &str, kind: Kind, default: &str) -> Self {
        self.columns.push(ColumnSpec {
            name: name.to_owned(),
            kind,
            required: false,
            default: Some(default.to_owned()),
        });
        self
    }

    /// Sets the primary key.
    #[must_use]
    pub fn key(mut self, names: &[&str]) -> Self {
        self.key = strings(names);
        self
    }

    /// Adds a unique constraint.
    #[must_use]
    pub fn unique(mut self, names: &[&str]) -> Self {
        self.unique.push(strings(names));
        self
    }

    /// Lets the system make the key.
    #[must_use]
    pub fn generated(mut self) -> Self {
        self.generated_key = true;
        self
    }

    /// `id` (key), `name`, `age`.
    pub fn people() -> Self {
        Self::new().required("id", Kind::Int).column("name", Kind::Text).column("age", Kind::Int).key(&["id"])
    }
}

/// Owned strings.
pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A fixture that was described and opened.
pub struct Opened {
    /// The fixture.
    pub fixture: Box<dyn Fixture>,
    /// What `describe` said.
    pub schema: Schema,
    /// Source half.
    pub source: Box<dyn Source>,
    /// Target half.
    pub target: Arc<dyn Target>,
}

/// The options that most checks use: every field, correlation by key.
pub fn options(schema: &Schema) -> OpenOptions {
    OpenOptions {
        fields: schema.columns.iter().map(|column| column.name.clone()).collect(),
        correlation: schema.key.clone(),
        consumer: "state.pair-1".to_owned(),
        capture: CaptureMethod::DatabaseTriggers,
        updated_at: None,
        looks: false,
        images: false,
        overlap: Duration::ZERO,
    }
}

impl Opened {
    /// Makes a collection and opens it with the usual options.
    pub async fn new(factory: &dyn Factory, spec: &TableSpec) -> Self {
        Self::with(factory.create(spec).await, |_| ()).await
    }

    /// Opens a collection with options of its own.
    pub async fn with(fixture: Box<dyn Fixture>, change: impl FnOnce(&mut OpenOptions)) -> Self {
        let schema = fixture.connector().describe(&fixture.endpoint()).await.expect("describe");
        let mut options = options(&schema);
        options.capture = fixture.capture();
        change(&mut options);
        let side = fixture.connector().open(&fixture.endpoint(), &schema, options).await.expect("open");
        Self { fixture, schema, source: side.source, target: side.target }
    }

    /// Opens the same collection once more.
    pub async fn again(&self, change: impl FnOnce(&mut OpenOptions)) -> Side {
        let mut options = options(&self.schema);
        options.capture = self.fixture.capture();
        change(&mut options);
        self.fixture.connector().open(&self.fixture.endpoint(), &self.schema, options).await.expect("open again")
    }

    /// Runs SQL as a user would.
    pub async fn sql(&self, sql: &str) {
        self.fixture.execute(sql).await;
    }

    /// Creates records and expects them all to be applied.
    pub async fn create(&self, records: Vec<Record>) {
        let writes: Vec<Write> = records.into_iter().map(|record| Write::Create { record }).collect();
        for outcome in self.target.write(&writes).await.expect("write") {
            assert!(matches!(outcome, WriteOutcome::Applied { .. }), "{outcome:?}");
        }
    }

    /// The record of a key of one value.
    pub async fn get(&self, key: impl Into<Field>) -> Option<Record> {
        let mut records = self.target.fetch(&[Key(vec![key.into().0])]).await.expect("fetch");
        assert_eq!(records.len(), 1);
        records.pop().flatten()
    }

    /// Prepares the source; the position behind everything that is there.
    pub async fn start(&mut self) -> Position {
        self.source.prepare().await.expect("prepare");
        self.source.head().await.expect("head")
    }
}

/// A value that a Rust literal stands for.
pub struct Field(pub Value);

impl From<i64> for Field {
    fn from(value: i64) -> Self {
        Self(Value::Int(value))
    }
}

impl From<&str> for Field {
    fn from(value: &str) -> Self {
        Self(Value::Text(value.to_owned()))
    }
}

impl From<Value> for Field {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

/// A record of `id`, `name`, `age`.
pub fn person(id: i64, name: &str, age: i64) -> Record {
    Record::of([("id", Value::Int(id)), ("name", Value::Text(name.to_owned())), ("age", Value::Int(age))])
}

/// A key of one integer.
pub fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

/// A change as most checks compare it.
pub fn brief(change: &Change) -> (Key, Op) {
    (change.key.clone(), change.op)
}

/// Reads changes until `enough` says so; moves `position` along. Panics after [`TIMEOUT`].
pub async fn read_until(
    source: &mut dyn Source,
    position: &mut Position,
    max: usize,
    enough: impl Fn(&[Change]) -> bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let reading = async {
        while !enough(&changes) {
            let batch = source.next_batch(position, max).await?;
            *position = batch.through;
            let idle = batch.changes.is_empty() && !batch.more;
            changes.extend(batch.changes);
            if idle && !enough(&changes) {
                source.wait(Duration::from_secs(1)).await?;
            }
        }
        tidelock::error::Result::<()>::Ok(())
    };
    match tokio::time::timeout(TIMEOUT, reading).await {
        Ok(read) => read.expect("next_batch"),
        Err(_) => panic!("not enough changes in {TIMEOUT:?}: {:?}", changes.iter().map(brief).collect::<Vec<_>>()),
    }
    changes
}

/// Reads all changes up to that of `last`, which was the last to be made.
pub async fn read_through(source: &mut dyn Source, position: &mut Position, max: usize, last: &Key) -> Vec<Change> {
    read_until(source, position, max, |changes| changes.last().is_some_and(|change| change.key == *last)).await
}

/// A value for a failure's message: `Debug` shows kinds only.
pub fn shown(value: &Value) -> String {
    format!("{:?}({})", value.kind(), value.to_text().unwrap_or_default())
}

/// Both are equal; shows their values where they are not.
#[track_caller]
pub fn assert_same(left: Option<&Value>, right: Option<&Value>, what: &str) {
    assert!(left == right, "{what}: {:?} is not {:?}", left.map(shown), right.map(shown));
}

/// Everything that a scan gives, page by page.
pub async fn scan_all(target: &dyn Target, order: tidelock::connector::ScanOrder, page: usize) -> Vec<Record> {
    let mut scan = target.scan(order).await.expect("scan");
    let mut records = Vec::new();
    loop {
        let next = scan.next(page).await.expect("next");
        assert!(next.len() <= page, "a page of {} where {page} were asked for", next.len());
        if next.is_empty() {
            return records;
        }
        records.extend(next);
    }
}
