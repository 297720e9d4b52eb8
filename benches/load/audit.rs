//! `tidelock audit` of equal tables, next to reading both of them with `COPY`.

use crate::systems::Systems;
use crate::{ROUNDS, median, program};

/// How much longer it may take.
const ASKED: f64 = 3.0;

pub(crate) async fn measure(systems: &Systems) {
    systems.empty_targets().await;
    program::forget(systems.folder());
    program::configure(systems.folder(), &program::config(systems, ["postgres"; 2], "one_way", 1));
    program::once(systems.folder(), systems.rows);
    let (mut copies, mut audits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(systems.copy_out_both().await);
        let child = program::spawn(systems.folder(), &["audit", "sync.json", "--json"]);
        let (cost, report) = program::watch(child, systems.folder());
        let matching = report.get(0).unwrap_or(&report)["matching"].clone();
        assert_eq!(matching, systems.rows, "{report}");
        audits.push(cost.seconds);
    }
    let (copy, audit) = (median(copies), median(audits));
    let verdict = if audit / copy <= ASKED { "reached" } else { "MISSED" };
    println!(
        "\nAudit of {} equal rows: {audit:.2} s, {:.2} × the time of reading both with COPY, {copy:.2} s (asked ≤ {ASKED:.1}: {verdict})",
        systems.rows,
        audit / copy
    );
}
