//! Calls a function of any role with JSON texts: the forms of `meta.example` of the contract, for `tidelock plugin call`.

use super::bindings::Role;
use super::run::{Rows, complete, unknown};
use super::{CallContext, Contested, FunctionRef, PluginError, PluginSet, Plugins, ValueError, json};

impl PluginSet {
    /// Calls the function with one input per text, a value, record or conflict as its role takes it. One JSON text each on one line;
    /// a text that is no such input is an error of its own (`plugin.bad_json`).
    ///
    /// # Errors
    /// As [`Plugins::transform`].
    pub async fn call_json(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        texts: &[String],
    ) -> Result<Vec<Result<String, ValueError>>, PluginError> {
        let target = self.target(function)?;
        let described = &target.function()?.function;
        match described.role {
            Role::FieldTransform => {
                let inputs = Inputs::read(texts, |text| json::read(text, &described.inputs));
                let rows = self.transform(function, context, inputs.good).await?;
                Ok(inputs.places.answers(rows, |_, value| json::write(value)))
            }
            Role::RecordTransform => {
                let inputs = Inputs::read(texts, json::read_record);
                let rows = self.reshape(function, context, inputs.good).await?;
                Ok(inputs.places.answers(rows, |_, reshaped| json::write_reshaped(reshaped)))
            }
            Role::Validator => {
                let inputs = Inputs::read(texts, json::read_record);
                let rows = self.validate(function, context, inputs.good).await?;
                Ok(inputs.places.answers(rows, |_, violations| json::write_violations(violations)))
            }
            Role::ConflictResolver => {
                let inputs = Inputs::read(texts, json::read_conflict);
                let given: Vec<Contested> = inputs.good.clone();
                let rows = self.resolve(function, context, inputs.good).await?;
                let write = |index: usize, resolution: &_| {
                    given.get(index).map(|conflict| json::write_resolution(conflict, resolution)).unwrap_or_default()
                };
                Ok(inputs.places.answers(rows, write))
            }
        }
    }
}

/// The inputs that could be read, and where they stood.
struct Inputs<T> {
    good: Vec<T>,
    places: Places,
}

/// For each text: whether it became an input, or what is wrong with it.
struct Places(Vec<Result<(), ValueError>>);

impl<T> Inputs<T> {
    fn read<E: std::fmt::Display>(texts: &[String], read: impl Fn(&str) -> Result<T, E>) -> Self {
        let mut good = Vec::with_capacity(texts.len());
        let place = |text: &String| match read(text) {
            Ok(input) => {
                good.push(input);
                Ok(())
            }
            Err(error) => Err(ValueError {
                code: "plugin.bad_json".to_owned(),
                message: format!("the input is not JSON of the function's role: {error}"),
            }),
        };
        let places = Places(texts.iter().map(place).collect());
        Self { good, places }
    }
}

impl Places {
    fn answers<T>(self, rows: Rows<T>, write: impl Fn(usize, &T) -> String) -> Rows<String> {
        let mut rows = rows.into_iter().enumerate();
        let mut answers = unknown(self.0.len());
        for (slot, place) in answers.iter_mut().zip(self.0) {
            *slot = match place {
                Ok(()) => rows.next().map(|(index, row)| row.map(|answer| write(index, &answer))),
                Err(error) => Some(Err(error)),
            };
        }
        complete(answers)
    }
}
