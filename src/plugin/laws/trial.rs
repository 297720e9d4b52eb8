//! The guest side of trying laws: bounded in time and in failed runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Answer, Trial, Tried, Untried};
use crate::plugin::CallContext;
use crate::plugin::describe::Function;
use crate::plugin::host::Host;
use crate::plugin::instance::{CallFailure, Entry, Image, Instance};
use crate::plugin::limits::{FaultKind, guest_error, split_deadline};
use crate::plugin::run::Work;
use crate::plugin::transform::Values;
use crate::value::{Kind, Value};

/// For all laws of a plugin. A component made of Rust needs milliseconds; an interpreter that needs longer is tried in part.
const TIME_MAX: Duration = Duration::from_secs(1);
/// Failed runs per plugin: each costs an instance.
const FAULTS_MAX: usize = 64;

/// Instances that are thrown away afterwards.
pub(in crate::plugin) struct Guests<'a> {
    host: &'a Host,
    image: &'a Image,
    instance: Option<Instance>,
    until: Instant,
    faults: usize,
}

impl<'a> Guests<'a> {
    pub(in crate::plugin) fn new(host: &'a Host, image: &'a Image) -> Self {
        Self { host, image, instance: None, until: Instant::now() + TIME_MAX, faults: 0 }
    }

    /// Runs the values; where that fails, each half, so that a value that traps is an error of its own and hides no other.
    fn run(&mut self, function: &Function, params: &Arc<str>, kind: Kind, values: &[Value]) -> Tried {
        let entry = Entry {
            function: &Arc::from(function.info.name.as_str()),
            params,
            context: &CallContext::none(),
            deadline: split_deadline(&self.host.limits, values.len()),
        };
        let work = Values::new(function, kind, values.to_vec());
        let fault = match work.call(self.instance()?, &entry, 0..values.len()) {
            Ok(rows) => return Ok(rows.into_iter().map(|row| row.map_err(|error| error.code)).collect()),
            Err(CallFailure::Refused(error)) if !error.retryable => {
                return Ok(values.iter().map(|_| refused(&error.code)).collect());
            }
            Err(CallFailure::NotOpened(error)) => return Err(Untried::NotOpened(guest_error(&error.code, "").code)),
            Err(CallFailure::Fault(fault)) => fault,
            Err(CallFailure::Refused(_) | CallFailure::Unusable(_) | CallFailure::NoRoom) => {
                self.instance = None;
                return Err(Untried::Unknown);
            }
        };
        self.instance = None;
        self.faults += 1;
        if fault.kind == FaultKind::Deadline || self.faults > FAULTS_MAX {
            return Err(Untried::Unknown);
        }
        if values.len() == 1 {
            return Ok(vec![Err(fault.into_value_error().code)]);
        }
        let (left, right) = values.split_at(values.len() / 2);
        let mut answers = self.run(function, params, kind, left)?;
        answers.extend(self.run(function, params, kind, right)?);
        Ok(answers)
    }

    fn instance(&mut self) -> Result<&mut Instance, Untried> {
        if Instant::now() > self.until {
            return Err(Untried::Unknown);
        }
        match &mut self.instance {
            Some(instance) => Ok(instance),
            none => Ok(none.insert(self.host.instantiate(self.image).map_err(|_| Untried::Unknown)?)),
        }
    }
}

fn refused(code: &str) -> Answer {
    Err(guest_error(code, "").code)
}

impl Trial for Guests<'_> {
    fn apply(&mut self, function: &Function, params: &Arc<str>, kind: Kind, values: &[Value]) -> Tried {
        self.run(function, params, kind, values)
    }

    fn fresh(&mut self) {
        self.instance = None;
    }
}
