//! Field transforms: one column to one column.

use crate::bindings::transforms::exports::tidelock::plugin::field_transform::{self, Outcome};
use crate::bindings::transforms::tidelock::plugin::types::{Column, Context, PluginError, RowError};
use crate::column::{Bits, Builder, Reader, all_null, bad_column, check_lengths, check_texts};
use crate::declare::Declaration;
use crate::failure::{Failure, call_failure};
use crate::kind::Kind;
use crate::params::{ParamError, Params};
use crate::plugin::{Bind, Component, Function, Plugin, open};
use crate::text::Text;
use crate::value::Value;
use std::marker::PhantomData;

/// A field transform bound to its parameters, over one column.
pub type Apply = Box<dyn Fn(Column) -> Result<Outcome, PluginError>>;

impl Declaration {
    /// From text to text.
    pub fn map(self, transform: impl Fn(&str) -> String + Clone + 'static) -> Function {
        self.write(move |value, out| out.push_str(&transform(value)))
    }

    /// From text to text, or a failure of this value.
    pub fn try_map(self, transform: impl Fn(&str) -> Result<String, Failure> + Clone + 'static) -> Function {
        self.open(move |_| {
            let transform = transform.clone();
            Ok(move |value: &str, out: &mut Text| {
                out.push_str(&transform(value)?);
                Ok(())
            })
        })
    }

    /// Appends the answer to the column's text: the fast way, nothing is allocated per value.
    pub fn write(self, transform: impl Fn(&str, &mut Text) + Clone + 'static) -> Function {
        self.open(move |_| {
            let transform = transform.clone();
            Ok(move |value: &str, out: &mut Text| {
                transform(value, out);
                Ok(())
            })
        })
    }

    /// Reads the parameters once and returns the closure that appends each answer, or fails. Decimals and JSON are texts too, where
    /// [`inputs`](Self::inputs) and [`output`](Self::output) name them.
    pub fn open<T>(self, open: impl Fn(&Params) -> Result<T, ParamError> + 'static) -> Function
    where
        T: Fn(&str, &mut Text) -> Result<(), Failure> + 'static,
    {
        let (inputs, output) = (self.inputs.clone(), self.output);
        let bind = move |params: &Params| {
            let (transform, inputs) = (open(params)?, inputs.clone());
            Ok(Box::new(move |input| map_text(input, &inputs, output, &transform)) as Apply)
        };
        Function { declaration: self, bind: Bind::FieldTransform(Box::new(bind)) }
    }

    /// From any kind to any kind, as [`inputs`](Self::inputs) and [`output`](Self::output) say. Reads the parameters once and
    /// returns the closure that makes each answer, or fails. Null stays null unless [`nulls`](Self::nulls) was said.
    pub fn values<T>(self, open: impl Fn(&Params) -> Result<T, ParamError> + 'static) -> Function
    where
        T: Fn(&Value<'_>) -> Result<Value<'static>, Failure> + 'static,
    {
        let (inputs, output, nulls) = (self.inputs.clone(), self.output, self.nulls);
        let bind = move |params: &Params| {
            let (transform, inputs) = (open(params)?, inputs.clone());
            Ok(Box::new(move |input| {
                map_values(input, &inputs, output, |value| match value {
                    Value::Null if !nulls => Ok(Value::Null),
                    value => transform(value),
                })
            }) as Apply)
        };
        Function { declaration: self, bind: Bind::FieldTransform(Box::new(bind)) }
    }
}

/// Runs `transform` on every value that is not null; it appends its answer to the text it is given.
///
/// # Errors
/// `wrong-kind` and `bad-column` when the host's column is not what was declared, `output-too-large` beyond 4 GiB.
fn map_text(
    input: Column,
    inputs: &[Kind],
    output: Option<Kind>,
    transform: impl Fn(&str, &mut Text) -> Result<(), Failure>,
) -> Result<Outcome, PluginError> {
    let kind = kind_of(&input, inputs)?;
    let output = output.unwrap_or(kind);
    if kind == Kind::Null {
        return Ok(Outcome { output: all_null(input.rows, output), errors: Vec::new() });
    }
    if !kind.is_textual() || !output.is_textual() {
        return Err(call_failure("wrong-kind", "a function of texts was declared for kinds that are none"));
    }
    check_lengths(&input, kind)?;
    let Column { rows, validity, mut offsets, data, .. } = input;
    let mut present = Bits { rows, bits: validity };
    let mut out = Text::with_capacity(data.len() + data.len() / 4 + 64);
    let errors = map_each(&data, &mut offsets, &mut present, &mut out, transform)?;
    let output = Column { rows, kind: output.code(), validity: present.bits, offsets, data: out.into_bytes() };
    Ok(Outcome { output, errors })
}

/// The loop of [`map_text`]. A function of its own, as what else it held would take the registers from it; for the same reason it keeps few values from
/// turn to turn. Vectors, which every engine has, make it two percent faster.
#[inline(never)]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
#[allow(
    unsafe_code,
    reason = "that every value is a text is known before the first one; to look again costs 5 % of a short function"
)]
fn map_each(
    data: &[u8],
    offsets: &mut [u32],
    present: &mut Bits,
    out: &mut Text,
    transform: impl Fn(&str, &mut Text) -> Result<(), Failure>,
) -> Result<Vec<RowError>, PluginError> {
    check_texts(data, offsets)?;
    // The input's offsets become the output's.
    let ends = offsets.get_mut(1..).unwrap_or_default();
    let (mut errors, mut start, mut row) = (Vec::new(), 0, 0);
    let mut set = present.byte(0);
    while let Some(end) = ends.get_mut(row) {
        let value = data.get(start..*end as usize).ok_or_else(|| bad_column("its offsets fall"))?;
        // SAFETY: `check_texts` found that the data is UTF-8, and that at every offset a character begins or the data ends. The first value begins at 0,
        // the others where the one before ends.
        let value = unsafe { std::str::from_utf8_unchecked(value) };
        start = *end as usize;
        if set & 1 == 1 {
            let before = out.len();
            if let Err(failure) = transform(value, out) {
                out.rewind(before);
                refuse(row, failure, present, &mut errors);
            }
        }
        row += 1;
        set = if row.is_multiple_of(8) { present.byte(row / 8) } else { set >> 1 };
        *end = u32::try_from(out.len()).map_err(|_| too_large())?;
    }
    Ok(errors)
}

#[cold]
fn too_large() -> PluginError {
    call_failure("output-too-large", "the output column is larger than 4 GiB")
}

/// A row that failed.
#[cold]
#[inline(never)]
fn refuse(row: usize, failure: Failure, present: &mut Bits, errors: &mut Vec<RowError>) {
    // The rows of a column are counted in 32 bits.
    let row = u32::try_from(row).unwrap_or(u32::MAX);
    present.clear(row);
    if errors.is_empty() {
        // Where one value fails others do: they get their room at once.
        errors.reserve(64);
    }
    errors.push(failure.at(row));
}

/// Runs `transform` on every value, null included.
///
/// # Errors
/// As [`map_text`]; `wrong-output` where a value is not of the kind that was declared.
fn map_values(
    input: Column,
    inputs: &[Kind],
    output: Option<Kind>,
    transform: impl Fn(&Value<'_>) -> Result<Value<'static>, Failure>,
) -> Result<Outcome, PluginError> {
    let kind = kind_of(&input, inputs)?;
    let output = output.unwrap_or(kind);
    let reader = Reader::new(input)?;
    let mut builder = Builder::new(output);
    let mut errors = Vec::new();
    for row in 0..reader.rows() {
        let answer = transform(&reader.value(row)).unwrap_or_else(|failure| {
            errors.push(failure.at(row));
            Value::Null
        });
        builder.push(&answer).map_err(|kind| {
            let (declared, kind) = (output.name(), kind.name());
            call_failure("wrong-output", format!("the function declares {declared} and returned {kind}"))
        })?;
    }
    Ok(Outcome { output: builder.finish(), errors })
}

/// The input's kind, where it is null or one of those that were declared.
fn kind_of(input: &Column, inputs: &[Kind]) -> Result<Kind, PluginError> {
    let kind = Kind::of_code(input.kind).ok_or_else(|| bad_column("its kind is not known"))?;
    if kind == Kind::Null || inputs.is_empty() || inputs.contains(&kind) {
        return Ok(kind);
    }
    let wanted = inputs.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Err(call_failure("wrong-kind", format!("expected a column of {wanted}, got one of {}", kind.name())))
}

impl<P: Plugin> field_transform::Guest for Component<P> {
    type Transform = Opened<P>;
}

/// The resource `transform`.
pub struct Opened<P> {
    apply: Apply,
    plugin: PhantomData<P>,
}

/// Binds a field transform of a plugin to its parameters.
pub(crate) fn open_field_transform<P: Plugin>(function: &str, params: &str) -> Result<Apply, PluginError> {
    open::<P, Apply>(function, params, |bind| match bind {
        Bind::FieldTransform(bind) => Some(bind),
        _ => None,
    })
}

impl<P: Plugin> field_transform::GuestTransform for Opened<P> {
    fn open(function: String, params: String) -> Result<field_transform::Transform, PluginError> {
        let apply = open_field_transform::<P>(&function, &params)?;
        Ok(field_transform::Transform::new(Self { apply, plugin: PhantomData }))
    }

    fn apply(&self, _: Context, input: Column) -> Result<Outcome, PluginError> {
        (self.apply)(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::column_of;

    fn shout(value: &str, out: &mut Text) -> Result<(), Failure> {
        out.push_str(value);
        out.push('!');
        if value == "bad" { Err(Failure::new("refused", "not this one")) } else { Ok(()) }
    }

    fn shouted(input: Column) -> Result<Outcome, PluginError> {
        map_text(input, &[Kind::Text], Some(Kind::Text), shout)
    }

    fn texts(values: &[Option<&str>]) -> Column {
        column_of(&values.iter().map(|&value| Value::from(value)).collect::<Vec<_>>())
    }

    #[test]
    fn nulls_stay_null_and_failures_become_null() {
        let outcome = shouted(texts(&[Some("a"), None, Some("bad"), Some("é")])).unwrap();
        assert_eq!(outcome.output.data, "a!é!".as_bytes());
        assert_eq!(outcome.output.offsets, [0, 2, 2, 2, 5]);
        assert_eq!(outcome.output.validity, [0b1001]);
        assert_eq!(outcome.errors.len(), 1);
        assert_eq!((outcome.errors[0].row, outcome.errors[0].code.as_str()), (2, "refused"));
    }

    #[test]
    fn a_missing_bitmap_means_no_nulls_until_a_row_fails() {
        let mut input = texts(&[Some("a"); 9]);
        input.validity = Vec::new();
        assert!(shouted(input).unwrap().output.validity.is_empty());

        let mut input = texts(&[Some("bad"), Some("b")]);
        input.validity = Vec::new();
        assert_eq!(shouted(input).unwrap().output.validity, [0xfe]);
    }

    #[test]
    fn no_rows_and_columns_without_data_are_fine() {
        let none = Column { rows: 0, kind: 5, validity: vec![], offsets: vec![0], data: vec![] };
        assert_eq!(shouted(none).unwrap().output.offsets, [0]);
        let null = Column { kind: 0, rows: 9, validity: vec![], offsets: vec![], data: vec![] };
        let outcome = shouted(null).unwrap();
        assert_eq!((outcome.output.kind, outcome.output.validity.len()), (5, 2));
    }

    #[test]
    fn a_column_that_breaks_the_contract_is_refused() {
        let broken: [fn(&mut Column); 8] = [
            |c| c.kind = 2,
            |c| c.validity = vec![1, 1],
            |c| c.offsets = vec![0],
            |c| c.offsets[0] = 1,
            |c| c.offsets[2] = 99,
            |c| c.offsets[1] = 5,
            |c| c.offsets[1] = 1,
            |c| c.data[0] = 0xff,
        ];
        for (case, break_it) in broken.iter().enumerate() {
            let mut input = texts(&[Some("é"), Some("é")]);
            break_it(&mut input);
            let code = if case == 0 { "wrong-kind" } else { "bad-column" };
            assert_eq!(shouted(input).unwrap_err().code, code, "case {case}");
        }
    }

    #[test]
    fn columns_in_ascii_are_checked_too() {
        let broken: [fn(&mut Column); 3] = [|c| c.offsets[1] = 99, |c| c.offsets[2] = 1, |c| c.data[0] = 0xff];
        for (case, break_it) in broken.iter().enumerate() {
            let mut input = texts(&[Some("ab"), Some("cd"), Some("ef")]);
            break_it(&mut input);
            assert_eq!(shouted(input).unwrap_err().code, "bad-column", "case {case}");
        }
    }

    #[test]
    fn every_row_keeps_its_place_among_nulls_and_failures() {
        let value = |row: usize| match row % 7 {
            2 => None,
            1 | 5 => Some("bad"),
            _ => Some(["a", "é", ""][row % 3]),
        };
        for rows in 0..40 {
            let given: Vec<_> = (0..rows).map(value).collect();
            let outcome = shouted(texts(&given)).unwrap();
            let failed: Vec<usize> = outcome.errors.iter().map(|error| error.row as usize).collect();
            assert_eq!(failed, (0..rows).filter(|row| given[*row] == Some("bad")).collect::<Vec<_>>());
            let reader = Reader::new(outcome.output).unwrap();
            for (row, given) in (0..).zip(&given) {
                let expected = given.filter(|text| *text != "bad").map(|text| format!("{text}!"));
                assert_eq!(reader.value(row), Value::from(expected.as_deref()), "row {row} of {rows}");
            }
        }
    }

    #[test]
    fn values_of_one_kind_become_values_of_another() {
        let length = |value: &Value<'_>| match value.as_text() {
            Some("") => Err(Failure::new("empty", "there is nothing")),
            text => Ok(Value::from(text.and_then(|text| i64::try_from(text.len()).ok()))),
        };
        let input = texts(&[Some("abc"), Some(""), None]);
        let outcome = map_values(input, &[Kind::Text], Some(Kind::Int), length).unwrap();
        let reader = Reader::new(outcome.output).unwrap();
        assert_eq!((reader.kind(), reader.value(0), reader.value(1)), (Kind::Int, Value::Int(3), Value::Null));
        assert_eq!(outcome.errors.len(), 1);
        let wrong = map_values(texts(&[Some("abc")]), &[], Some(Kind::Date), length);
        assert_eq!(wrong.unwrap_err().code, "wrong-output");
    }
}
