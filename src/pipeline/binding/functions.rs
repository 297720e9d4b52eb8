//! The functions that a pair calls: there, of the right role, with parameters that they take.

use super::Binder;
use crate::config::{FieldMapping, Location, Problem, TransformCall, below};
use crate::plugin::{FunctionRef, Plugins};

/// What is wrong with the parameters of a call by the function's own schema. `at`: where the call stands, whose `params` they are.
pub fn check_params(function: &FunctionRef, at: &Location, plugins: &dyn Plugins) -> Vec<Problem> {
    let problems = plugins.param_problems(function).into_iter().map(|wrong| {
        let at = below(at, &format!("/params{}", wrong.pointer));
        let problem = Problem::error("plugin.invalid_params", &at, format!("\"{}\": {}", function.name, wrong.message));
        match wrong.suggestion {
            Some(suggestion) => problem.suggest(suggestion),
            None => problem,
        }
    });
    problems.collect()
}

impl Binder<'_> {
    /// A function, if it is there and plays that role.
    pub(super) fn function(&mut self, call: &TransformCall, role: &str, otherwise: &Location) -> Option<FunctionRef> {
        let at = if call.at.line == 0 { otherwise } else { &call.at };
        match self.plugins.info(&call.name) {
            Ok(info) if info.role == role => {
                let function = FunctionRef { name: call.name.clone(), params: call.params.clone() };
                let problems = check_params(&function, at, self.plugins);
                let new = problems.into_iter().filter(|problem| !self.problems.contains(problem));
                self.problems.extend(new.collect::<Vec<_>>());
                Some(function)
            }
            Ok(info) => {
                let text = format!("\"{}\" is a {}, not a {}", call.name, info.role, role.replace('-', " "));
                self.problems.push(Problem::error("plugin.wrong_role", at, text));
                None
            }
            Err(error) => {
                self.problems.push(Problem::error(error.code, at, error.message));
                None
            }
        }
    }

    pub(super) fn functions(&mut self, calls: &[TransformCall], mapping: &FieldMapping) -> Vec<FunctionRef> {
        calls.iter().filter_map(|call| self.function(call, "field-transform", &mapping.at)).collect()
    }

    /// What runs target → source: what the mapping says, else the forward functions where all are normalisers, else their inverses.
    pub(super) fn backward(&mut self, mapping: &FieldMapping) -> Vec<FunctionRef> {
        if let Some(calls) = &mapping.reverse {
            return self.functions(calls, mapping);
        }
        let infos: Vec<_> = mapping.forward.iter().filter_map(|call| self.plugins.info(&call.name).ok()).collect();
        if infos.iter().all(|info| info.idempotent) {
            return self.functions(&mapping.forward, mapping);
        }
        let inverse: Option<Vec<TransformCall>> = infos
            .iter()
            .zip(&mapping.forward)
            .rev()
            .map(|(info, call)| {
                if info.idempotent { Some(call.name.clone()) } else { info.reverse.clone() }
                    .map(|name| TransformCall { name, ..call.clone() })
            })
            .collect();
        if let Some(calls) = inverse {
            return self.functions(&calls, mapping);
        }
        let text = format!(
            "\"{}\" flows both ways, but its transformation can neither be repeated nor undone",
            mapping.source
        );
        self.problems.push(
            Problem::error("mapping.not_reversible", &mapping.at, text)
                .suggest("add \"reverse_transformation\", or \"direction\": \"source_to_target\""),
        );
        Vec::new()
    }

    pub(super) fn resolvers(&mut self) -> Vec<FunctionRef> {
        let calls = &self.pair.conflict.resolvers;
        calls.iter().filter_map(|call| self.function(call, "conflict-resolver", &self.pair.at)).collect()
    }

    /// Whether the functions of record transforms, rules and resolvers are there and play their roles.
    pub(super) fn check_roles(&mut self) {
        for one in &self.pair.record_transforms {
            self.function(&one.call, "record-transform", &self.pair.at);
        }
        for rule in &self.pair.validation_rules {
            self.check_rule_functions(rule);
        }
        self.resolvers();
    }
}
