//! One acyclic automaton for the numbers of all plans. As every pattern is of bounded length, equal tails are one node,
//! whatever country they belong to.

use crate::pattern::{ANY, Part};
use std::collections::HashMap;

/// Longest national number.
pub const DIGITS_MAX: usize = 17;

/// What a pattern says when the digits that were read fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// They fit what all numbers of the region at this index have in common.
    General(usize),
    /// They are a number of some type in the region, where their count is one of these (bits; 0 = any).
    Type(usize, u32),
    /// They begin as the region's numbers do, whatever follows.
    Leading(usize),
}

enum State {
    Digit(u16, usize),
    Fork(Vec<usize>),
    Says(Word),
}

/// Whether so many digits, of which these words hold, are accepted.
pub type Decide<'a> = &'a dyn Fn(usize, &[Word]) -> bool;

type Node = ([u32; 10], bool);

/// The automaton under construction: node 0 accepts nothing.
pub struct Automaton {
    states: Vec<State>,
    nodes: Vec<Node>,
    known: HashMap<Node, u32>,
}

impl Automaton {
    pub fn new() -> Self {
        let nothing = ([0; 10], false);
        Self { states: Vec::new(), nodes: vec![nothing], known: HashMap::from([(nothing, 0)]) }
    }

    /// Every node: the node after each digit, and whether the digits that led here are accepted.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node from which the digits are read that `decide` accepts by what the patterns say.
    pub fn root(&mut self, patterns: &[(&Part, Word)], decide: Decide) -> u32 {
        self.states.clear();
        let mut starts = Vec::new();
        for &(pattern, word) in patterns {
            let end = self.state(State::Says(word));
            starts.push(self.compile(pattern, end));
            if matches!(word, Word::Leading(_)) {
                let on = self.state(State::Digit(ANY, end));
                let says = std::mem::replace(&mut self.states[end], State::Fork(Vec::new()));
                let says = self.state(says);
                self.states[end] = State::Fork(vec![says, on]);
            }
        }
        let first = self.closure(starts);
        self.node(0, first, decide, &mut HashMap::new())
    }

    fn state(&mut self, state: State) -> usize {
        self.states.push(state);
        self.states.len() - 1
    }

    fn compile(&mut self, part: &Part, next: usize) -> usize {
        match part {
            Part::Digit(set) => self.state(State::Digit(*set, next)),
            Part::Sequence(parts) => parts.iter().rev().fold(next, |next, part| self.compile(part, next)),
            Part::Either(options) => {
                let options = options.iter().map(|option| self.compile(option, next)).collect();
                self.state(State::Fork(options))
            }
            Part::Repeat(part, least, most) => {
                let mut start = next;
                for _ in *least..*most {
                    let more = self.compile(part, start);
                    start = self.state(State::Fork(vec![more, next]));
                }
                (0..*least).fold(start, |start, _| self.compile(part, start))
            }
            Part::Capture(part) => self.compile(part, next),
            Part::End => panic!("no plan's numbers have an end mark"),
        }
    }

    /// The states that read a digit or say something, reachable without a digit; sorted.
    fn closure(&self, mut todo: Vec<usize>) -> Vec<usize> {
        let mut reached = Vec::new();
        while let Some(state) = todo.pop() {
            match &self.states[state] {
                State::Fork(options) => todo.extend(options),
                State::Digit(..) | State::Says(_) => reached.push(state),
            }
        }
        reached.sort_unstable();
        reached.dedup();
        reached
    }

    fn node(
        &mut self,
        length: usize,
        states: Vec<usize>,
        decide: Decide,
        seen: &mut HashMap<(usize, Vec<usize>), u32>,
    ) -> u32 {
        let key = (length, states);
        if let Some(node) = seen.get(&key) {
            return *node;
        }
        let words = key.1.iter().filter_map(|state| match self.states[*state] {
            State::Says(word) => Some(word),
            _ => None,
        });
        let accepts = decide(length, &words.collect::<Vec<_>>());
        let mut next = [0; 10];
        for digit in 0..if length < DIGITS_MAX { 10 } else { 0 } {
            let after = key.1.iter().filter_map(|state| match self.states[*state] {
                State::Digit(set, next) if set & (1 << digit) != 0 => Some(next),
                _ => None,
            });
            let after = self.closure(after.collect());
            next[digit] = if after.is_empty() { 0 } else { self.node(length + 1, after, decide, seen) };
        }
        let fresh = u32::try_from(self.nodes.len()).expect("few nodes");
        let node = *self.known.entry((next, accepts)).or_insert(fresh);
        if node == fresh {
            self.nodes.push((next, accepts));
        }
        seen.insert(key, node);
        node
    }
}
