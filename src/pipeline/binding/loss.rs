//! What a pair cannot carry over as it is (pure): told for each field before anything runs. Of what is left a value arrives equal, or its
//! record is refused and waits in review.

use super::{Binder, FunctionRef};
use crate::change::End;
use crate::config::{FieldMapping, Problem};
use crate::connector::Column;
use crate::value::Kind;

/// Digits of a second that a value carries.
const SECOND_DIGITS: u32 = 6;

impl Binder<'_> {
    /// Tells what is lost of a field that goes over unchanged.
    pub(super) fn losses(
        &mut self,
        (source, target): (&Column, &Column),
        (forward, backward): (&Option<Vec<FunctionRef>>, &Option<Vec<FunctionRef>>),
        mapping: &FieldMapping,
    ) {
        for (from, to, way, end) in [(source, target, forward, End::Source), (target, source, backward, End::Target)] {
            if way.as_ref().is_none_or(|functions| !functions.is_empty()) || mapping.lookup.is_some() {
                continue;
            }
            if mapping.value_map.is_empty() {
                self.bits((from, to), end, mapping);
            }
            for (what, hint) in losses(from, to) {
                let text = format!(
                    "what the {}'s \"{}\" has is not kept whole by \"{}\": {what}",
                    end.name(),
                    from.name,
                    to.name
                );
                self.problems.push(Problem::warning("mapping.loss", &mapping.at, text).suggest(hint));
            }
        }
    }

    /// Bits of one system, which are digits of zero and one, would be read as a number of ten by the other.
    fn bits(&mut self, (from, to): (&Column, &Column), end: End, mapping: &FieldMapping) {
        let is_number = |column: &Column| matches!(column.kind, Kind::Int | Kind::Decimal | Kind::Float);
        let taken = |bits: &Column, other: &Column| bits.keeps.bits && bits.kind == Kind::Text && is_number(other);
        let (bits, other) = if taken(from, to) { (from, to) } else { (to, from) };
        if !taken(bits, other) {
            return;
        }
        let text = format!(
            "\"{}\" ({}) has bits, and \"{}\" ({}) would take their digits for another number",
            bits.name, bits.native_type, other.name, other.native_type
        );
        let hint = "map it to a column of text, or add a transformation";
        let problem = Problem::error("mapping.bits", &mapping.at, text).suggest(hint);
        // Told once where it flows both ways.
        if end == End::Source || !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// What becomes of values of `from` in `to`, and what would keep them.
fn losses(from: &Column, to: &Column) -> Vec<(String, String)> {
    let mut losses = Vec::new();
    let mut lost = |what: String, hint: &str| losses.push((what, hint.to_owned()));
    let is_time = |kind| matches!(kind, Kind::Time | Kind::Instant | Kind::Local);
    let has_time = is_time(from.kind) || from.kind == Kind::Text;
    let digits = from.keeps.second_digits.unwrap_or(SECOND_DIGITS);
    if let Some(kept) = to.keeps.second_digits.filter(|kept| has_time && *kept < digits) {
        let what = match kept {
            0 => "fractions of a second go".to_owned(),
            kept => format!("of the fraction of a second {kept} digits stay"),
        };
        lost(what, &format!("a column that keeps {digits} digits of a second"));
    }
    let has_number = matches!(from.kind, Kind::Decimal | Kind::Float | Kind::Text);
    let scale = from.keeps.rounded_to.or_else(|| scale(&from.native_type).filter(|_| from.kind == Kind::Decimal));
    if let Some(kept) = to.keeps.rounded_to.filter(|kept| has_number && scale.is_none_or(|scale| *kept < scale)) {
        lost(format!("numbers are rounded to {kept} digits after the point"), "a numeric column with as many digits");
    }
    if to.keeps.single && !from.keeps.single && (has_number || from.kind == Kind::Int) {
        lost("numbers are rounded to single precision, about 7 digits".to_owned(), "a column of double precision");
    }
    if to.keeps.no_blanks_at_end && !from.keeps.no_blanks_at_end && from.kind == Kind::Text {
        lost("blanks at the end of a text go".to_owned(), "a varchar or text column");
    }
    if let Some(length) =
        to.keeps.filled_to.filter(|_| from.kind == Kind::Bytes && from.keeps.filled_to != to.keeps.filled_to)
    {
        lost(format!("shorter bytes are filled up with zeros to {length}"), "a varbinary or blob column");
    }
    if to.keeps.json_by_meaning && !from.keeps.json_by_meaning {
        let what = "of equal names in a JSON object only the last stays, and spelling and order are the system's";
        lost(what.to_owned(), "a column that keeps JSON as text, where that matters");
    }
    if to.keeps.set && !from.keeps.set {
        lost(
            "the order of a set's members is that of the column, and a member stands once".to_owned(),
            "a text column, where that matters",
        );
    }
    if matches!((from.kind, to.kind), (Kind::Local, Kind::Instant) | (Kind::Instant, Kind::Local)) {
        let what = "one has a time zone and the other has none; times without one are taken for UTC";
        lost(what.to_owned(), "columns of one sort, where local times are meant");
    }
    if from.keeps.anything && to.kind == Kind::Text {
        lost("a number in a column without a type arrives as its text".to_owned(), "columns of the type that is meant");
    }
    if from.kind == Kind::Text && matches!(to.kind, Kind::Int | Kind::Decimal | Kind::Float) {
        let what = "a text that is a number arrives as that number, without its spelling (leading zeros)";
        lost(what.to_owned(), "a text column, where spelling matters");
    }
    losses
}

/// The digits behind the point of `decimal(10,2)`; none where there are no numbers.
fn scale(native: &str) -> Option<u32> {
    let inside = native.split_once('(')?.1.split_once(')')?.0;
    inside.split_once(',').map_or(Some(0), |(_, scale)| scale.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::Keeps;

    fn column(kind: Kind, native: &str, keeps: Keeps) -> Column {
        Column {
            name: "c".to_owned(),
            kind,
            native_type: native.to_owned(),
            nullable: true,
            has_default: false,
            writable: true,
            keeps,
        }
    }

    #[test]
    fn what_is_narrower_is_told() {
        let plain = Keeps::default();
        let seconds = |digits| Keeps { second_digits: Some(digits), ..plain };
        let rounded = Keeps { rounded_to: Some(2), ..plain };
        let single = Keeps { single: true, ..plain };
        for (from, to, count) in [
            (column(Kind::Local, "", plain), column(Kind::Local, "", seconds(0)), 1),
            (column(Kind::Local, "", seconds(3)), column(Kind::Local, "", seconds(3)), 0),
            (column(Kind::Instant, "", seconds(3)), column(Kind::Local, "", seconds(6)), 1),
            (column(Kind::Decimal, "numeric", plain), column(Kind::Decimal, "", rounded), 1),
            (column(Kind::Decimal, "DECIMAL(10,2)", plain), column(Kind::Decimal, "", rounded), 0),
            (column(Kind::Int, "", plain), column(Kind::Decimal, "", rounded), 0),
            (column(Kind::Float, "", plain), column(Kind::Float, "", single), 1),
            (column(Kind::Float, "", single), column(Kind::Float, "", plain), 0),
            (column(Kind::Text, "", plain), column(Kind::Text, "", Keeps { no_blanks_at_end: true, ..plain }), 1),
            (column(Kind::Bytes, "", plain), column(Kind::Bytes, "", Keeps { filled_to: Some(4), ..plain }), 1),
            (column(Kind::Json, "", plain), column(Kind::Json, "", Keeps { json_by_meaning: true, ..plain }), 1),
            (column(Kind::Text, "", plain), column(Kind::Int, "", plain), 1),
            (column(Kind::Text, "", plain), column(Kind::Text, "", plain), 0),
        ] {
            assert_eq!(losses(&from, &to).len(), count, "{from:?} {to:?}");
        }
    }
}
