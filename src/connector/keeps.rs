//! What a column makes of values that it takes (layer 3): the catalogue tells it, so that a loss is known before anything runs.

/// What becomes of a value on its way into a column, and is no refusal. The default keeps every value as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeps {
    /// Digits of a second's fraction that are kept; `None`: all six.
    pub second_digits: Option<u32>,
    /// Digits behind the point that a number is rounded to; `None`: it is not rounded (but perhaps refused).
    pub rounded_to: Option<u32>,
    /// Numbers are kept as IEEE 754 singles.
    pub single: bool,
    /// Blanks at the end of a text are not.
    pub no_blanks_at_end: bool,
    /// Shorter bytes are filled up with zeros to this length.
    pub filled_to: Option<usize>,
    /// JSON is kept as what it means: without spelling and order, and of equal names in an object with the last.
    pub json_by_meaning: bool,
    /// Bits: as a number in one system, as a text of zeros and ones in another.
    pub bits: bool,
    /// It has no type: a number stays a number beside texts.
    pub anything: bool,
    /// Its values are a set: their order does not count.
    pub set: bool,
}
