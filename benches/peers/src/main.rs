//! Runs the rule of `plugins/testing/us_phone` as scripts. First line in: `{"values", "expected"}`; for each further line one batch of
//! each script runs, and `[["name", nanoseconds per value], …]` is written.

use std::io::BufRead;
use std::time::Duration;

/// Runs one value.
type Run = Box<dyn Fn(&str) -> String>;

fn lua() -> Run {
    // The engine stays for as long as the program runs.
    let lua = Box::leak(Box::new(mlua::Lua::new()));
    let rule: mlua::Function = lua.load(include_str!("us_phone.lua")).eval().expect("the script is sound");
    Box::new(move |value| rule.call::<String>(value).expect("the script runs"))
}

fn rhai() -> Run {
    let engine = rhai::Engine::new();
    let script = engine.compile(include_str!("us_phone.rhai")).expect("the script is sound");
    let run = move |value: &str| {
        let mut scope = rhai::Scope::new();
        engine.call_fn::<String>(&mut scope, &script, "us_phone", (value.to_owned(),)).expect("the script runs")
    };
    Box::new(run)
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn main() {
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let given: serde_json::Value = serde_json::from_str(&lines.next().expect("values")).expect("JSON");
    let texts = |name: &str| -> Vec<Option<String>> { serde_json::from_value(given[name].clone()).expect("texts") };
    let (values, expected) = (texts("values"), texts("expected"));
    let scripts: [(&str, Run); 2] = [("Lua 5.4 (mlua), a call per value", lua()), ("Rhai, a call per value", rhai())];
    for (name, run) in &scripts {
        for (value, expected) in values.iter().zip(&expected) {
            assert_eq!(value.as_deref().map(run), *expected, "{name}: {value:?}");
        }
    }
    for _ in lines {
        let costs: Vec<(String, f64)> = scripts
            .iter()
            .map(|(name, run)| {
                let began = cpu_time();
                let results: Vec<Option<String>> = values.iter().map(|value| value.as_deref().map(run)).collect();
                let took = cpu_time() - began;
                assert_eq!(results.len(), values.len());
                ((*name).to_owned(), took.as_secs_f64() * 1e9 / values.len() as f64)
            })
            .collect();
        println!("{}", serde_json::json!(costs));
    }
}
