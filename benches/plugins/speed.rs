//! One rule, run in every way there is, in one interleaved run; results are compared before anything is timed.

use std::time::Duration;

use tidelock::plugin::{Catalogue, Plugins, ValueError};
use tidelock::value::Value;
use tokio::runtime::Runtime;

use crate::peers::Peers;
use crate::sandbox::{Column, RowError, Sandbox};
use crate::{context, cpu_time, function, guest, median, minimum, native, start};

const ROWS: u32 = 1_000;
const ROUNDS: usize = 21;

/// What a value became: a text, null, or an error's code.
type Answer = Result<Option<String>, ()>;

/// One way to run the rule over the batch: how long it took, and what came out.
struct Case<'a> {
    name: &'static str,
    /// Batches of one round: slow ones do with fewer.
    batches: usize,
    run: Box<dyn FnMut() -> (Duration, Vec<Answer>) + 'a>,
}

pub(crate) fn measure(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    for name in ["us_phone", "us_phone_simple"] {
        std::fs::write(folder.path().join(name).with_extension("wasm"), guest(name)).unwrap();
    }
    let script = std::env::var_os("TIDELOCK_BENCH_QUICKJS");
    if let Some(path) = &script {
        std::fs::copy(path, folder.path().join("us_phone_quickjs.wasm")).unwrap();
    }
    let catalog = runtime.block_on(start(folder.path(), cache.path()));
    let set = catalog.snapshot();
    let values = native::values(ROWS);
    let mut peers = Peers::start(&values);
    let mut cases = natives(&values);
    cases.push(hosted("plugin, columnar, through the host", 40, runtime, &*set, "us_phone/us_phone", &values));
    cases.push(hosted("plugin, simple, through the host", 20, runtime, &*set, "us_phone_simple/us_phone", &values));
    if script.is_some() {
        let name = "us_phone_quickjs/us_phone";
        cases.push(hosted("plugin, QuickJS, through the host", 1, runtime, &*set, name, &values));
    }
    check(&mut cases);
    let mut costs: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut peer_costs: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..ROUNDS {
        for (case, costs) in cases.iter_mut().zip(&mut costs) {
            let total: Duration = (0..case.batches).map(|_| (case.run)().0).sum();
            costs.push(per_value(total, case.batches));
        }
        if let Some(peers) = &mut peers {
            peers.round(&mut peer_costs);
        }
    }
    let named = cases.iter().map(|case| case.name.to_owned()).zip(costs);
    report(&named.chain(peer_costs).collect::<Vec<_>>());
    if script.is_none() {
        println!("QuickJS: not measured; TIDELOCK_BENCH_QUICKJS names no component");
    }
    if peers.is_none() {
        println!("Lua, Rhai: not measured; TIDELOCK_BENCH_PEERS names no program (benches/peers)");
    }
}

fn per_value(total: Duration, batches: usize) -> f64 {
    total.as_secs_f64() * 1e9 / (batches as f64 * f64::from(ROWS))
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = cpu_time();
    let result = work();
    (cpu_time() - began, result)
}

fn natives(values: &[Option<String>]) -> Vec<Case<'_>> {
    let mut sandbox = Sandbox::new(&guest("us_phone"), "us_phone");
    let column = native::column(values);
    let columns = column.clone();
    vec![
        Case {
            name: "native, columnar, the same rule",
            batches: 80,
            run: Box::new(move || {
                let input = column.clone();
                let (time, (output, errors)) = timed(|| native::columnar(input));
                (time, answers(&output, &errors))
            }),
        },
        Case {
            name: "native, rows, as one writes it",
            batches: 80,
            run: Box::new(move || {
                let input = values.to_vec();
                let (time, rows) = timed(|| native::rows(input));
                (time, rows.into_iter().map(|row| row.map_err(drop)).collect())
            }),
        },
        Case {
            name: "plugin, columnar, the call alone",
            batches: 80,
            run: Box::new(move || {
                // As for the native one. Without, what the texts of the last batch's failures leave to the allocator was done in this one's time only.
                let input = columns.clone();
                let (time, (output, errors)) = timed(|| sandbox.call(input));
                (time, answers(&output, &errors))
            }),
        },
    ]
}

fn hosted<'a>(
    name: &'static str,
    batches: usize,
    runtime: &'a Runtime,
    set: &'a dyn Plugins,
    called: &str,
    values: &[Option<String>],
) -> Case<'a> {
    let (function, context) = (function(called), context("bench"));
    let input: Vec<Value> = values.iter().cloned().map(|value| value.map_or(Value::Null, Value::Text)).collect();
    let answer = |row: Result<Value, ValueError>| match row {
        Ok(Value::Text(text)) => Ok(Some(text)),
        Ok(_) => Ok(None),
        Err(_) => Err(()),
    };
    Case {
        name,
        batches,
        run: Box::new(move || {
            let input = input.clone();
            let (time, rows) = timed(|| runtime.block_on(set.transform(&function, &context, input)).unwrap());
            (time, rows.into_iter().map(answer).collect())
        }),
    }
}

fn answers(column: &Column, errors: &[RowError]) -> Vec<Answer> {
    let text = |row: usize| {
        let bytes = &column.data[column.offsets[row] as usize..column.offsets[row + 1] as usize];
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let answer = |row: usize| {
        if errors.iter().any(|error| error.row as usize == row) {
            return Err(());
        }
        let present = column.validity.is_empty() || column.validity[row / 8] >> (row % 8) & 1 == 1;
        Ok(present.then(|| text(row)))
    };
    (0..column.rows as usize).map(answer).collect()
}

/// Every way gives the same; the first runs also warm up.
fn check(cases: &mut [Case<'_>]) {
    let results: Vec<_> = cases.iter_mut().map(|case| (case.name, (case.run)().1)).collect();
    for (name, result) in &results {
        assert_eq!(result, &results[0].1, "{name} gives other results");
    }
    let failed = results[0].1.iter().filter(|answer| answer.is_err()).count();
    assert!((30..100).contains(&failed), "{failed} values fail");
}

fn report(costs: &[(String, Vec<f64>)]) {
    let (columnar, rows) = (minimum(&costs[0].1), minimum(&costs[1].1));
    println!("\nOne rule for phone numbers, batches of {ROWS} values, CPU time per value, {ROUNDS} interleaved rounds");
    println!("{:<38} {:>9} {:>9} {:>12} {:>8}", "", "min", "median", "× columnar", "× rows");
    for (name, costs) in costs {
        let least = minimum(costs);
        println!(
            "{name:<38} {least:>6.0} ns {:>6.0} ns {:>12.2} {:>8.2}",
            median(costs),
            least / columnar,
            least / rows
        );
    }
}
