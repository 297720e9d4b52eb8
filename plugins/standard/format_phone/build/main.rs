//! Turns `numbering_plans.tsv` into tables: one automaton for the numbers of all countries, and small programs for the prefixes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a build that cannot go on stops; the input is in the repository"
)]

mod automaton;
mod pattern;
mod program;

use automaton::{Automaton, Word};
use pattern::{Part, parse};
use program::Programs;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

const SOURCE: &str = "numbering_plans.tsv";

/// One row: a region's plan, with the columns of the file.
struct Plan<'a> {
    region: &'a str,
    code: u16,
    idd: &'a str,
    prefix: &'a str,
    transform: &'a str,
    leading: Option<Part>,
    lengths: u32,
    local_lengths: u32,
    general: Option<Part>,
    types: Vec<(u32, Part)>,
}

fn main() {
    println!("cargo:rerun-if-changed={SOURCE}");
    println!("cargo:rerun-if-changed=build");
    let text = std::fs::read_to_string(SOURCE).unwrap();
    let plans: Vec<Plan> = text.lines().filter(|line| !line.starts_with('#')).map(plan).collect();
    let mut by_code: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans.iter().enumerate() {
        by_code.entry(plan.code).or_default().push(index);
    }
    let (mut automaton, mut programs, mut source) = (Automaton::new(), Programs::default(), String::new());
    writeln!(source, "pub static PLANS: [Plan; {}] = [", plans.len()).unwrap();
    for plan in &plans {
        let general = plan.general.iter().map(|general| (general, Word::General(0))).collect::<Vec<_>>();
        let general = automaton.root(&general, &|_, words| !words.is_empty());
        writeln!(
            source,
            "    Plan {{ region: {:?}, code: {}, idd: {}, prefix: {}, transform: {:?}, general: {general}, lengths: {:#x}, local_lengths: {:#x} }},",
            plan.region,
            plan.code,
            programs.add(plan.idd),
            programs.add(plan.prefix),
            plan.transform,
            plan.lengths,
            plan.local_lengths
        )
        .unwrap();
    }
    writeln!(source, "];\npub static CODES: [Code; {}] = [", by_code.len()).unwrap();
    for (code, members) in &by_code {
        let valid = valid_numbers(&mut automaton, &plans, members);
        writeln!(source, "    Code {{ code: {code}, main: {}, valid: {valid} }},", members[0]).unwrap();
    }
    writeln!(source, "];\npub static STEPS: [Step; {}] = [", programs.steps().len()).unwrap();
    for step in programs.steps() {
        writeln!(source, "    {},", step.source()).unwrap();
    }
    source.push_str("];\n");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(Path::new(&out).join("tables.rs"), source).unwrap();
    std::fs::write(Path::new(&out).join("nodes.bin"), packed(&automaton)).unwrap();
}

/// The node from which the valid national numbers of a calling code are read. As libphonenumber has it: the first region of
/// the code that the number belongs to, by its leading digits or by a type, must know its type.
fn valid_numbers(automaton: &mut Automaton, plans: &[Plan], members: &[usize]) -> u32 {
    let mut patterns = Vec::new();
    for &index in members {
        let plan = &plans[index];
        patterns.extend(plan.general.iter().map(|general| (general, Word::General(index))));
        patterns.extend(plan.types.iter().map(|(lengths, kind)| (kind, Word::Type(index, *lengths))));
        patterns.extend(plan.leading.iter().map(|leading| (leading, Word::Leading(index))));
    }
    automaton.root(&patterns, &|length, words| {
        let fits = |lengths: u32| lengths == 0 || lengths & (1 << length) != 0;
        for &index in members {
            let general = words.contains(&Word::General(index)) && fits(plans[index].lengths);
            let mut types = words.iter();
            let typed = general
                && types.any(|word| matches!(word, Word::Type(region, lengths) if *region == index && fits(*lengths)));
            if typed || (members.len() > 1 && words.contains(&Word::Leading(index))) {
                return typed;
            }
        }
        false
    })
}

fn plan(line: &str) -> Plan<'_> {
    let mut cells = line.split('\t');
    let mut next = || cells.next().expect("a full row");
    let (region, code, idd, prefix, transform, leading) = (next(), next(), next(), next(), next(), next());
    let (lengths, local_lengths, general) = (next(), next(), next());
    let types = cells.map(|cell| {
        let (lengths, kind) = cell.split_once('=').expect("lengths=pattern");
        (bits(lengths), parse(kind))
    });
    Plan {
        region,
        code: code.parse().expect("a calling code"),
        idd,
        prefix,
        transform,
        leading: (!leading.is_empty()).then(|| parse(leading)),
        lengths: bits(lengths),
        local_lengths: bits(local_lengths),
        general: (!general.is_empty()).then(|| parse(general)),
        types: types.collect(),
    }
}

fn bits(lengths: &str) -> u32 {
    let lengths = lengths.split(',').filter(|length| !length.is_empty());
    lengths.fold(0, |bits, length| bits | 1 << length.parse::<u32>().expect("a length"))
}

/// Ten entries of two bytes per node: twice the next node's index, plus one where it accepts.
fn packed(automaton: &Automaton) -> Vec<u8> {
    let nodes = automaton.nodes();
    let entry = |next: &u32| {
        let accepts = nodes[usize::try_from(*next).unwrap()].1;
        u16::try_from(next * 2 + u32::from(accepts)).expect("at most 32,767 nodes").to_le_bytes()
    };
    nodes.iter().flat_map(|(next, _)| next.iter().flat_map(entry)).collect()
}
