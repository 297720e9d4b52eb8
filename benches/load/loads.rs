//! Initial loads into empty, indexed tables.

use crate::program::{self, Cost};
use crate::systems::Systems;
use crate::{ROUNDS, median, ratio};

/// What a load is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Copy,
    LoadData,
    Loop,
}

const ANCHORS: [(Anchor, &str); 3] = [
    (Anchor::Copy, "COPY, binary, one pipe, PostgreSQL → PostgreSQL"),
    (Anchor::LoadData, "LOAD DATA of a file, MariaDB"),
    (Anchor::Loop, "a plain loop over a prepared statement, SQLite"),
];

struct Case {
    name: &'static str,
    systems: [&'static str; 2],
    sync_type: &'static str,
    parallelism: u32,
    anchor: Anchor,
    asked: Option<f64>,
}

fn cases() -> Vec<Case> {
    let one_way = |name, systems, parallelism, anchor, asked| Case {
        name,
        systems,
        sync_type: "one_way",
        parallelism,
        anchor,
        asked,
    };
    let both_ways =
        |name, systems, anchor| Case { sync_type: "bidirectional", ..one_way(name, systems, 1, anchor, None) };
    let (postgres, sqlite) = ("postgres", "sqlite");
    vec![
        one_way("PostgreSQL → PostgreSQL, one writer", [postgres; 2], 1, Anchor::Copy, Some(0.6)),
        one_way("PostgreSQL → PostgreSQL, two writers", [postgres; 2], 2, Anchor::Copy, Some(1.0)),
        one_way("SQLite → PostgreSQL", [sqlite, postgres], 1, Anchor::Copy, None),
        one_way("PostgreSQL → MariaDB", [postgres, "mysql"], 1, Anchor::LoadData, Some(0.5)),
        one_way("PostgreSQL → SQLite", [postgres, sqlite], 1, Anchor::Loop, Some(0.8)),
        both_ways("PostgreSQL ↔ PostgreSQL", [postgres; 2], Anchor::Copy),
        both_ways("SQLite ↔ PostgreSQL", [sqlite, postgres], Anchor::Copy),
        both_ways("PostgreSQL ↔ MariaDB", [postgres, "mysql"], Anchor::LoadData),
    ]
}

pub(crate) async fn measure(systems: &Systems) {
    let (cases, rows) = (cases(), systems.rows);
    let mut anchors: [Vec<f64>; 3] = Default::default();
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        systems.empty_targets().await;
        anchors[0].push(systems.copy_pipe("clients").await);
        anchors[1].push(systems.load_data().await);
        anchors[2].push(systems.sqlite_loop().await);
        for (case, costs) in cases.iter().zip(&mut costs) {
            systems.empty_targets().await;
            program::forget(systems.folder());
            let config = program::config(systems, case.systems, case.sync_type, case.parallelism);
            program::configure(systems.folder(), &config);
            costs.push(program::once(systems.folder(), rows));
        }
    }
    println!(
        "\nInitial loads of {rows} rows, title_case on, medians of {ROUNDS} interleaved rounds (start of the process included)"
    );
    let anchors = anchors.map(median);
    for ((_, name), seconds) in ANCHORS.iter().zip(anchors) {
        println!("  {name:<50} {seconds:6.2} s {:>8.0} rows/s", f64::from(rows) / seconds);
    }
    for (case, costs) in cases.iter().zip(costs) {
        let place = ANCHORS.iter().position(|(anchor, _)| *anchor == case.anchor).unwrap();
        let seconds = median(costs.iter().map(|cost| cost.seconds).collect());
        let line = ratio(case.name, (seconds, anchors[place]), rows, case.asked);
        let peak = costs.iter().map(|cost| cost.peak_kb).max().unwrap() / 1024;
        let state = costs.iter().map(|cost| cost.state_bytes).max().unwrap() / u64::from(rows);
        println!("  {line}  peak {peak} MB, {state} bytes of state a row");
    }
}
