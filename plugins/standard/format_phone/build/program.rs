//! Small programs for the patterns of prefixes, where it matters which alternative is taken and what was captured.

use crate::pattern::{Part, parse};
use std::collections::HashMap;

/// One step, written into the tables as `src/plan.rs` defines it.
pub enum Step {
    /// Reads one digit of a set.
    Digit(u16),
    /// Goes on at the first, or, where that fails, at the second.
    Either(u16, u16),
    Jump(u16),
    /// Keeps the position: 0 and 1 are begin and end of the first capture, 2 and 3 of the second.
    Keep(u8),
    /// Only at the end of the digits.
    End,
    Done,
}

impl Step {
    /// The step as Rust source.
    pub fn source(&self) -> String {
        match self {
            Self::Digit(set) => format!("Step::Digit({set:#x})"),
            Self::Either(first, second) => format!("Step::Either({first}, {second})"),
            Self::Jump(to) => format!("Step::Jump({to})"),
            Self::Keep(slot) => format!("Step::Keep({slot})"),
            Self::End => "Step::End".to_owned(),
            Self::Done => "Step::Done".to_owned(),
        }
    }
}

/// The programs of all prefixes, one after the other.
#[derive(Default)]
pub struct Programs {
    steps: Vec<Step>,
    known: HashMap<String, u16>,
}

impl Programs {
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Where the program of a pattern begins; `None` for no pattern, as Rust source.
    pub fn add(&mut self, pattern: &str) -> String {
        if pattern.is_empty() {
            return "None".to_owned();
        }
        let start = self.here();
        let start = *self.known.entry(pattern.to_owned()).or_insert(start);
        if start == self.here() {
            self.write(&parse(pattern), &mut 0);
            self.steps.push(Step::Done);
        }
        format!("Some({start})")
    }

    fn here(&self) -> u16 {
        u16::try_from(self.steps.len()).expect("few steps")
    }

    fn write(&mut self, part: &Part, captures: &mut u8) {
        match part {
            Part::Digit(set) => self.steps.push(Step::Digit(*set)),
            Part::End => self.steps.push(Step::End),
            Part::Sequence(parts) => parts.iter().for_each(|part| self.write(part, captures)),
            Part::Capture(part) => {
                let slot = 2 * *captures;
                *captures += 1;
                self.steps.push(Step::Keep(slot));
                self.write(part, captures);
                self.steps.push(Step::Keep(slot + 1));
            }
            Part::Either(options) => self.either(options, captures),
            Part::Repeat(part, least, most) => {
                assert!(*most <= 1 || !part.captures(), "a repeated capture");
                (0..*least).for_each(|_| self.write(part, captures));
                let mut forks = Vec::new();
                for _ in *least..*most {
                    forks.push(self.steps.len());
                    self.steps.push(Step::Done);
                    self.write(part, captures);
                }
                for fork in forks {
                    self.steps[fork] = Step::Either(u16::try_from(fork + 1).expect("few steps"), self.here());
                }
            }
        }
    }

    fn either(&mut self, options: &[Part], captures: &mut u8) {
        let mut jumps = Vec::new();
        for (index, option) in options.iter().enumerate() {
            if index + 1 == options.len() {
                self.write(option, captures);
                continue;
            }
            let fork = self.steps.len();
            self.steps.push(Step::Done);
            self.write(option, captures);
            jumps.push(self.steps.len());
            self.steps.push(Step::Done);
            self.steps[fork] = Step::Either(u16::try_from(fork + 1).expect("few steps"), self.here());
        }
        for jump in jumps {
            self.steps[jump] = Step::Jump(self.here());
        }
    }
}

impl Part {
    fn captures(&self) -> bool {
        match self {
            Self::Capture(_) => true,
            Self::Digit(_) | Self::End => false,
            Self::Repeat(part, ..) => part.captures(),
            Self::Sequence(parts) | Self::Either(parts) => parts.iter().any(Self::captures),
        }
    }
}
