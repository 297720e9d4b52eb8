//! The matrix of types: values of every type go from each database to each other one and back, the databases say whether they are equal,
//! and `docs/types.md` says what became of them. A value arrives equal, or `check` has told of the loss before, or its record waits in review.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::Connection;

use crate::harness::{Database, Tidelock, is_mariadb};

mod columns;

use columns::{COLUMNS, Case, Column, POSTGRES_TYPES, Shown};

const SYSTEMS: usize = 3;
/// Numbers of the cases of one column.
const STRIDE: usize = 100;
/// What comes back has the number of what went.
const BACK: usize = 100_000;
/// Nobody's session is as plain as ours: what is read must not depend on what a database gives its sessions.
const ODD_SESSIONS: &str = "ALTER DATABASE {} SET timezone = 'Europe/Berlin'; ALTER DATABASE {} SET datestyle = 'German'; \
    ALTER DATABASE {} SET intervalstyle = 'iso_8601'; ALTER DATABASE {} SET bytea_output = 'escape'; \
    ALTER DATABASE {} SET extra_float_digits = 0; ALTER DATABASE {} SET xmlbinary = 'hex'";
const PLAIN_SESSION: &str =
    "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1";

/// The name of a system, by its place among the types of a column.
fn name_of(kind: usize) -> &'static str {
    match kind {
        0 => "PostgreSQL",
        1 if is_mariadb() => "MariaDB",
        1 => "MySQL",
        _ => "SQLite",
    }
}

/// The type of a column in a system; empty where it has none. MySQL has all but two of MariaDB's.
fn type_of(column: &Column, kind: usize) -> &'static str {
    match column.types[kind] {
        "uuid" | "inet6" if kind == 1 && !is_mariadb() => "",
        other => other,
    }
}

/// One system of a pair: its place among the types of a column, and its database.
struct System {
    kind: usize,
    database: Database,
}

impl System {
    async fn new(kind: usize, tidelock: &Tidelock, name: &str) -> Self {
        let database = match kind {
            0 => Database::postgres().await,
            1 => Database::mysql().await,
            _ => Database::sqlite(tidelock.folder.path(), name).await,
        };
        if let Database::Postgres { name, .. } = &database {
            database.execute(POSTGRES_TYPES).await;
            database.execute(&ODD_SESSIONS.replace("{}", name)).await;
        }
        Self { kind, database }
    }

    /// Makes a table with these columns.
    async fn table(&self, name: &str, columns: &[&Column]) {
        let list: Vec<String> =
            columns.iter().map(|one| format!("\"{}\" {}", one.name, type_of(one, self.kind))).collect();
        self.database.execute(&format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, {})", list.join(", "))).await;
    }

    /// Adds every value that the system has, each in a row of its own.
    async fn fill(&self, columns: &[&'static Column]) {
        let mut statements = Vec::new();
        for (id, column, (_, literals)) in cases(columns) {
            if !literals[self.kind].is_empty() {
                let (name, literal) = (column.name, literals[self.kind]);
                statements.push(format!("INSERT INTO a (id, \"{name}\") VALUES ({id}, {literal})"));
            }
        }
        self.database.execute(&statements.join(";\n")).await;
    }

    /// The text by which a column's values are compared.
    fn shown(&self, column: &Column, by_class: bool) -> String {
        let name = format!("\"{}\"", column.name);
        match (column.shown, self.kind) {
            // Its cast to text adds a mask that is not shown.
            (Shown::Text, 0) if column.types[0] == "inet" => {
                format!("CASE WHEN {name} IS NOT NULL THEN encode(convert_to(format('%s', {name}), 'UTF8'), 'hex') END")
            }
            (Shown::Text, 0) => format!("encode(convert_to({name}::text, 'UTF8'), 'hex')"),
            (Shown::Loose, 0) => format!("encode(convert_to({name}, 'UTF8'), 'hex')"),
            (Shown::Text | Shown::Loose, 1) => format!("LOWER(HEX(CONVERT({name} USING utf8mb4)))"),
            (Shown::Loose, _) if by_class => format!("nullif(typeof({name}), 'null') || lower(hex({name}))"),
            (Shown::Bytes, 0) => format!("encode({name}, 'hex')"),
            (Shown::Bytes, 1) => format!("LOWER(HEX({name}))"),
            (Shown::Text | Shown::Loose | Shown::Bytes, _) => {
                format!("CASE WHEN {name} IS NOT NULL THEN lower(hex({name})) END")
            }
            (Shown::Bool, 0) => format!("{name}::int::text"),
            (Shown::Time, 0) if column.types[0] == "timestamptz" => format!("({name} AT TIME ZONE 'UTC')::text"),
            (_, 0) => format!("{name}::text"),
            (Shown::Number, 1) if matches!(column.types[1], "bit(8)" | "year") => format!("CAST({name} + 0 AS CHAR)"),
            // The server prints six digits of a single.
            (Shown::Single, 1) => format!("CAST({name} + 0e0 AS CHAR)"),
            (_, 1) => format!("CAST({name} AS CHAR)"),
            (Shown::Double | Shown::Single, _) => {
                format!("CASE typeof({name}) WHEN 'real' THEN printf('%!.17g', {name}) ELSE CAST({name} AS TEXT) END")
            }
            _ => format!("CAST({name} AS TEXT)"),
        }
    }

    /// What a table has, as texts, by row and column; nulls left out.
    async fn read(&self, table: &str, columns: &[&Column], by_class: bool) -> BTreeMap<usize, String> {
        let list: Vec<String> = columns.iter().map(|one| self.shown(one, by_class)).collect();
        let sql = format!("SELECT {}, {} FROM {table}", self.id(), list.join(", "));
        let rows = match &self.database {
            Database::Postgres { url, .. } => {
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(PLAIN_SESSION).execute(&mut connection).await.unwrap();
                let rows: Vec<sqlx::postgres::PgRow> =
                    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                let value = |row: &sqlx::postgres::PgRow, place| sqlx::Row::get::<Option<String>, _>(row, place);
                rows.iter().map(|row| (0..=columns.len()).map(|place| value(row, place)).collect()).collect()
            }
            database => database.rows(&sql).await,
        };
        let mut read = BTreeMap::new();
        for row in rows {
            let row: Vec<Option<String>> = row;
            let id: usize = row[0].as_ref().unwrap().parse().unwrap();
            if let Some(value) = row.into_iter().skip(1).flatten().next() {
                read.insert(id, value);
            }
        }
        read
    }

    fn id(&self) -> &'static str {
        if self.kind == 1 { "CAST(id AS CHAR)" } else { "CAST(id AS TEXT)" }
    }
}

/// Every case with the number of its row.
fn cases<'a>(columns: &'a [&'static Column]) -> impl Iterator<Item = (usize, &'static Column, &'static Case)> + 'a {
    columns.iter().flat_map(|column| {
        let place = COLUMNS.iter().position(|one| one.name == column.name).unwrap();
        column.cases.iter().enumerate().map(move |(index, case)| (place * STRIDE + index + 1, *column, case))
    })
}

/// Whether two texts are the same value, asked of PostgreSQL where they differ.
async fn equal(oracle: &mut sqlx::PgConnection, shown: Shown, a: &str, b: &str) -> bool {
    let (a, b) = if shown == Shown::Time { (iso(a), iso(b)) } else { (a.to_owned(), b.to_owned()) };
    let kind = match shown {
        _ if a == b => return true,
        Shown::Number | Shown::Bool => "numeric",
        Shown::Double => "float8",
        Shown::Single => "float4",
        Shown::Json => "jsonb",
        Shown::Time => "timestamptz",
        Shown::Bytes | Shown::Text | Shown::Loose => return false,
    };
    // What no single is was kept as a double.
    for kind in [kind, "float8"].into_iter().take(if shown == Shown::Single { 2 } else { 1 }) {
        let sql = format!("SELECT $1::text::{kind} = $2::text::{kind}");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(&a).bind(&b);
        if let Ok(equal) = query.fetch_one(&mut *oracle).await {
            return equal;
        }
    }
    false
}

/// ISO 8601 in one spelling, for texts of databases that are all ISO 8601.
fn iso(text: &str) -> String {
    let text = text.replacen('T', " ", 1);
    let text = text.trim_end_matches('Z');
    if text.contains('.') && !text.contains('+') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Equal,
    Declared,
    Refused,
}

/// What is told of one pair before and after it runs.
struct Told {
    /// Fields of which `check` tells that something is lost: from the source, from the target.
    losses: [BTreeSet<String>; 2],
    /// Rows that wait in review.
    reviews: BTreeSet<usize>,
}

fn losses(checked: &Value) -> [BTreeSet<String>; 2] {
    let mut losses = [BTreeSet::new(), BTreeSet::new()];
    for problem in checked["problems"].as_array().unwrap() {
        if problem["code"] == "mapping.loss" {
            let message = problem["message"].as_str().unwrap();
            let field = message.split('"').nth(1).unwrap().to_owned();
            losses[usize::from(message.contains("the target's"))].insert(field);
        }
    }
    losses
}

fn reviews(tidelock: &Tidelock) -> BTreeSet<usize> {
    let listed = tidelock.run(&["review", "list", "--json"]);
    let key = |line: &Value| line["key"].as_str().unwrap().trim_matches(['(', ')']).parse().unwrap();
    listed.lines.iter().filter(|line| line["key"].is_string()).map(key).collect()
}

fn configure(
    tidelock: &Tidelock,
    (from, to): (&System, &System),
    columns: &[&Column],
    (target, both_ways): (&str, bool),
    more: &Value,
) {
    let mut mappings: Vec<Value> = columns.iter().map(|one| json!({"source": one.name, "target": one.name})).collect();
    mappings.push(json!({"source": "id", "target": "id"}));
    let mut config = json!({
        "connection_name": target, "source": from.database.endpoint("from", "a"), "target": to.database.endpoint("to", target),
        "sync_type": if both_ways { "bidirectional" } else { "one_way" }, "field_mappings": mappings,
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    tidelock.configure(&config);
}

/// Runs to the end, which is not a good one where something was refused.
fn run(tidelock: &Tidelock) {
    let ran = tidelock.run(&["run", "sync.json", "--once", "--json"]);
    assert!(ran.code <= 1, "{:?}\n{}", ran.lines, ran.errors);
}

/// The fate of each value of `original`, given what arrived; fails where one is lost or changed without a word.
async fn fates(
    (original, arrived, back): (&BTreeMap<usize, String>, &BTreeMap<usize, String>, usize),
    columns: &[&'static Column],
    (told, end): (&Told, usize),
    what: &str,
) -> BTreeMap<usize, Fate> {
    let mut oracle = sqlx::PgConnection::connect(&std::env::var("TIDELOCK_TEST_POSTGRES").unwrap()).await.unwrap();
    sqlx::raw_sql(PLAIN_SESSION).execute(&mut oracle).await.unwrap();
    let (mut fates, mut silent) = (BTreeMap::new(), Vec::new());
    for (id, column, (label, _)) in cases(columns) {
        let Some(before) = original.get(&id) else { continue };
        let fate = match arrived.get(&(id + back)) {
            Some(after) if equal(&mut oracle, column.shown, before, after).await => Fate::Equal,
            Some(_) if told.losses[end].contains(column.name) => Fate::Declared,
            None if told.reviews.contains(&(id + back)) => Fate::Refused,
            other => {
                silent.push(format!("{} {:?} ({label}): {before} became {other:?}", column.name, column.types));
                continue;
            }
        };
        fates.insert(id, fate);
    }
    assert!(silent.is_empty(), "{what}: changed without a word:\n{}", silent.join("\n"));
    fates
}

/// Carries all values from one system to another and back, by a pair that goes both ways; then over once more by one that goes one way. Gives
/// for each column what its cell in the documentation says.
async fn pair(kinds: (usize, usize), settings: [&Value; 2]) -> BTreeMap<&'static str, String> {
    let what = format!("{} → {}", name_of(kinds.0), name_of(kinds.1));
    let tidelock = Tidelock::new();
    let (from, to) = (System::new(kinds.0, &tidelock, "from.db").await, System::new(kinds.1, &tidelock, "to.db").await);
    let paired = |one: &&Column| !type_of(one, kinds.0).is_empty() && !type_of(one, kinds.1).is_empty();
    let columns: Vec<&'static Column> = COLUMNS.iter().filter(paired).collect();
    from.table("a", &columns).await;
    to.table("b", &columns).await;
    to.table("c", &columns).await;
    from.fill(&columns).await;
    let by_class = kinds == (2, 2);
    let original = from.read("a", &columns, by_class).await;

    configure(&tidelock, (&from, &to), &columns, ("c", false), settings[0]);
    let checked = tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    assert_eq!(checked.code, 0, "{what}: {:?}\n{}", checked.lines, checked.errors);
    run(&tidelock);
    let told = Told { losses: losses(&checked.lines[0]), reviews: reviews(&tidelock) };
    let copied = to.read("c", &columns, by_class).await;
    let copied = fates((&original, &copied, 0), &columns, (&told, 0), &format!("{what}, a copy")).await;

    let tidelock = Tidelock::new();
    configure(&tidelock, (&from, &to), &columns, ("b", true), settings[1]);
    let checked = tidelock.run(&["check", "sync.json", "--connect", "--json"]);
    run(&tidelock);
    let mut told = Told { losses: losses(&checked.lines[0]), reviews: reviews(&tidelock) };
    let arrived = to.read("b", &columns, by_class).await;
    let forward = fates((&original, &arrived, 0), &columns, (&told, 0), &what).await;
    assert_eq!(copied, forward, "{what}: a copy does the same");

    let maker = Tidelock::new();
    configure(&maker, (&from, &to), &columns, ("d", false), &json!({"create_target": true}));
    let checked = maker.run(&["check", "sync.json", "--connect", "--json"]);
    run(&maker);
    let told_made = Told { losses: losses(&checked.lines[0]), reviews: reviews(&maker) };
    let made = to.read("d", &columns, by_class).await;
    fates((&original, &made, 0), &columns, (&told_made, 0), &format!("{what}, into a table that was made")).await;

    let names: Vec<String> = columns.iter().map(|one| format!("\"{}\"", one.name)).collect();
    let names = names.join(", ");
    to.database.execute(&format!("INSERT INTO b (id, {names}) SELECT id + {BACK}, {names} FROM b")).await;
    run(&tidelock);
    told.reviews = reviews(&tidelock);
    let returned = from.read("a", &columns, by_class).await;
    let went: BTreeMap<usize, String> =
        original.iter().filter(|(id, _)| forward[*id] == Fate::Equal).map(|(id, text)| (*id, text.clone())).collect();
    let backward = fates((&went, &returned, BACK), &columns, (&told, 1), &format!("{what} and back")).await;
    columns.iter().map(|column| (column.name, cell(column, &forward, &backward))).collect()
}

/// What a cell of the documentation says of a column.
fn cell(column: &'static Column, forward: &BTreeMap<usize, Fate>, backward: &BTreeMap<usize, Fate>) -> String {
    let labels = |fates: &BTreeMap<usize, Fate>, wanted: Fate| {
        let found = cases(&[column])
            .filter(|(id, ..)| fates.get(id) == Some(&wanted))
            .map(|(.., case)| case.0)
            .collect::<Vec<_>>();
        found.join(", ")
    };
    let mut parts = Vec::new();
    if !labels(forward, Fate::Equal).is_empty() {
        parts.push("equal".to_owned());
    }
    for (word, fates, fate) in [
        ("told", forward, Fate::Declared),
        ("refused", forward, Fate::Refused),
        ("told on the way back", backward, Fate::Declared),
        ("refused on the way back", backward, Fate::Refused),
    ] {
        let labels = labels(fates, fate);
        if !labels.is_empty() {
            parts.push(format!("{word}: {labels}"));
        }
    }
    parts.join("; ")
}

/// All that goes out from one system, held against its table in the documentation.
async fn from(kind: usize) {
    let none = json!({});
    let mut cells: Vec<BTreeMap<&str, String>> = Vec::new();
    let others: Vec<usize> = (0..SYSTEMS).filter(|to| is_mariadb() || kind == 1 || *to == 1).collect();
    for to in &others {
        cells.push(pair((kind, *to), [&none, &none]).await);
    }
    // The documentation has the tables of the others with MariaDB; its text says what is otherwise.
    if !is_mariadb() && kind != 1 {
        return;
    }
    let mut lines = vec![format!(
        "| {} | → {} |",
        name_of(kind),
        others.iter().map(|to| name_of(*to)).collect::<Vec<_>>().join(" | → ")
    )];
    lines.push(format!("|---|{}", "---|".repeat(others.len())));
    let name = |column: &Column, kind: usize| match type_of(column, kind).trim() {
        "" => "no type".to_owned(),
        name => format!("`{}`", name.replace('|', "\\|")),
    };
    for column in COLUMNS.iter().filter(|column| !type_of(column, kind).is_empty()) {
        let cells = others.iter().map(|to| match cells[*to].get(column.name) {
            Some(cell) => format!("{}: {cell}", name(column, *to)),
            None => String::new(),
        });
        lines.push(format!("| {} | {} |", name(column, kind), cells.collect::<Vec<_>>().join(" | ")));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/types.md");
    let text = std::fs::read_to_string(path).unwrap();
    if !is_mariadb() {
        assert_eq!(lines, as_mysql(&text));
        return;
    }
    let (begin, end) = (format!("<!-- from {} -->\n", name_of(kind)), format!("\n<!-- end of {} -->", name_of(kind)));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (now, after) = rest.split_once(&end).unwrap();
    let table = lines.join("\n");
    if std::env::var_os("TIDELOCK_BLESS").is_some() {
        std::fs::write(path, format!("{before}{begin}{table}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(now, table, "docs/types.md says otherwise; TIDELOCK_BLESS=1 writes it anew");
}

/// What the documentation says of MariaDB, as it is for MySQL: without the types that MySQL does not have.
fn as_mysql(text: &str) -> Vec<String> {
    let (_, rest) = text.split_once("<!-- from MariaDB -->\n").unwrap();
    let (table, _) = rest.split_once("\n<!-- end of MariaDB -->").unwrap();
    let own = table.lines().filter(|line| !line.starts_with("| `uuid`") && !line.starts_with("| `inet6`"));
    own.map(|line| line.replace("MariaDB", "MySQL")).collect()
}

#[tokio::test]
async fn from_postgres() {
    from(0).await;
}

#[tokio::test]
async fn from_mysql() {
    from(1).await;
}

#[tokio::test]
async fn from_sqlite() {
    from(2).await;
}

#[tokio::test]
async fn other_ways_of_seeing_changes_read_the_same_values() {
    let by = |method: &str| json!({"performance_settings": {"change_detection": method}});
    pair((0, 1), [&by("logical_replication"), &by("logical_replication")]).await;
}
