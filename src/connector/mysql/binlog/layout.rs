//! How rows of a table stand in the log (layer 4, pure): a map gives the columns' types by their places, and their names only where the server
//! is told to (`binlog_row_metadata = FULL`). Of a row the key is cut out; see `decode` for its values.

use super::bytes::{Fields, bit};
use super::events::{Rows, RowsKind};

/// Real types of what a map calls a string.
pub(super) const ENUM: u8 = 247;
pub(super) const SET: u8 = 248;
const STRING: u8 = 254;
const JSON: u8 = 245;
/// Of the parts that may follow a map: the names of the columns.
const NAMES: u8 = 4;

/// A column as a map tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// Type, as a number: that of the values where a string stands for enums and sets.
    pub(super) code: u8,
    /// What the type says beside.
    detail: [u8; 2],
}

/// The columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// In their order; hidden ones come last.
    pub(super) columns: Vec<Stored>,
    /// Their names, where the map tells.
    pub(super) names: Option<Vec<String>>,
}

/// A value of an image: `None` where the image does not have the column, or null.
pub(super) type Cell<'a> = Option<Option<&'a [u8]>>;

impl Layout {
    /// Reads what follows the names in a map.
    pub(super) fn read(mut map: Fields<'_>) -> Option<Self> {
        let count = map.packed()?;
        let codes = map.take(count)?;
        let mut details = Fields(map.counted()?);
        let column = |code: &u8| {
            let mut detail = [0; 2];
            for slot in detail.iter_mut().take(details_of(*code)) {
                *slot = details.byte()?;
            }
            let real = match (*code, detail) {
                (STRING, [real @ (ENUM | SET), _]) => real,
                (code, _) => code,
            };
            Some(Stored { code: real, detail })
        };
        let columns = codes.iter().map(column).collect::<Option<Vec<_>>>()?;
        map.take(count.div_ceil(8))?;
        let mut names = None;
        while let Some(part) = map.byte() {
            let mut content = Fields(map.counted()?);
            if part == NAMES {
                let name = |_| Some(String::from_utf8_lossy(content.counted()?).into_owned());
                names = Some((0..count).map(name).collect::<Option<Vec<_>>>()?);
            }
        }
        Some(Self { columns, names })
    }

    /// Cuts the values of the columns at `places` out of each row: of its first image and, where it was updated, of its second.
    /// `each` is called row by row; `None` where the rows are not what they should be, or `each` says so.
    pub(super) fn rows(
        &self,
        rows: &Rows<'_>,
        places: &[usize],
        mut each: impl FnMut(Vec<Cell<'_>>, Option<Vec<Cell<'_>>>) -> Option<()>,
    ) -> Option<()> {
        if rows.width != self.columns.len() {
            return None;
        }
        let mut images = Fields(&rows.images);
        while !images.0.is_empty() {
            let first = self.image(rows, 0, places, &mut images)?;
            let second = match rows.kind {
                RowsKind::Insert | RowsKind::Delete => None,
                RowsKind::UpdatePartly => {
                    if images.packed()? & 1 == 1 {
                        let documents = self.columns.iter().filter(|column| column.code == JSON).count();
                        images.take(documents.div_ceil(8))?;
                    }
                    Some(self.image(rows, 1, places, &mut images)?)
                }
                RowsKind::Update => Some(self.image(rows, 1, places, &mut images)?),
            };
            each(first, second)?;
        }
        Some(())
    }

    fn image<'a>(
        &self,
        rows: &Rows<'_>,
        which: usize,
        places: &[usize],
        images: &mut Fields<'a>,
    ) -> Option<Vec<Cell<'a>>> {
        let present = (0..rows.width).filter(|column| rows.has(which, *column)).count();
        let nulls = images.take(present.div_ceil(8))?;
        let mut cells = vec![None; places.len()];
        let in_image = self.columns.iter().enumerate().filter(|(column, _)| rows.has(which, *column));
        for (number, (column, stored)) in in_image.enumerate() {
            let value = if bit(nulls, number) { None } else { Some(stored.take(images)?) };
            for (slot, place) in cells.iter_mut().zip(places) {
                if *place == column {
                    *slot = Some(value);
                }
            }
        }
        Some(cells)
    }
}

/// How many bytes a map says of a type, beside its number.
const fn details_of(code: u8) -> usize {
    match code {
        4 | 5 | 17..=19 | 140 | 242 | JSON | 249..=252 | 255 => 1,
        15 | 16 | 141 | 246..=248 | 253 | STRING => 2,
        _ => 0,
    }
}

impl Stored {
    /// The bytes of a value, without its length.
    fn take<'a>(&self, image: &mut Fields<'a>) -> Option<&'a [u8]> {
        let [first, second] = self.detail;
        let length = match self.code {
            1 | 13 => 1,
            2 => 2,
            9..=11 | 14 => 3,
            3 | 4 | 7 => 4,
            5 | 8 | 12 => 8,
            17 => 4 + fraction_bytes(first),
            18 => 5 + fraction_bytes(first),
            19 => 3 + fraction_bytes(first),
            16 => usize::from(second) + usize::from(first > 0),
            246 => decimal_bytes(first, second),
            ENUM | SET => usize::from(second),
            // The bits of the type that are set in all of them stand for the high bits of the length.
            STRING | 253 => {
                let high = usize::from((first & 0x30) ^ 0x30) << 4;
                image.size(if high | usize::from(second) > 255 { 2 } else { 1 })?
            }
            15 | 141 => image.size(if u16::from_le_bytes(self.detail) > 255 { 2 } else { 1 })?,
            140 | 242 | JSON | 249..=252 | 255 => image.size(usize::from(first))?,
            _ => return None,
        };
        image.take(length)
    }

    /// Digits of a decimal, and those after the point; of a time, those of its fraction come first.
    pub(super) const fn detail(&self) -> [u8; 2] {
        self.detail
    }
}

/// Two digits a byte.
pub(super) fn fraction_bytes(digits: u8) -> usize {
    usize::from(digits).div_ceil(2)
}

/// Bytes for so many digits fewer than nine.
pub(super) const DIGIT_BYTES: [usize; 9] = [0, 1, 1, 2, 2, 3, 3, 4, 4];

fn decimal_bytes(digits: u8, scale: u8) -> usize {
    let part = |digits: usize| digits / 9 * 4 + DIGIT_BYTES.get(digits % 9).copied().unwrap_or_default();
    part(usize::from(digits.saturating_sub(scale))) + part(usize::from(scale))
}

/// The type, as a number, that values of a catalogue's type have in the log; several where the server may use one of old, or MariaDB's.
pub(super) fn codes(data_type: &str) -> &'static [u8] {
    match data_type {
        "tinyint" => &[1],
        "smallint" => &[2],
        "mediumint" => &[9],
        "int" => &[3],
        "bigint" => &[8],
        "float" => &[4],
        "double" => &[5],
        "decimal" => &[246],
        "year" => &[13],
        "date" => &[10, 14],
        "time" => &[19, 11],
        "timestamp" => &[17, 7],
        "datetime" => &[18, 12],
        "bit" => &[16],
        "char" | "binary" | "uuid" | "inet4" | "inet6" => &[STRING],
        "enum" => &[ENUM],
        "set" => &[SET],
        "varchar" | "varbinary" => &[15, 141, 253],
        "tinytext" | "text" | "mediumtext" | "longtext" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            &[252, 140]
        }
        "json" => &[JSON, 252],
        // Geometries and what is still to come.
        _ => &[255, 242, 252, STRING],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    #[test]
    fn a_map_is_read_with_and_without_names() {
        // int, varchar(300), enum of one byte; the second may be null; charset of a later part is skipped.
        let map = [3, 3, 15, 254, 4, 0x2c, 0x01, 247, 1, 0b010, 7, 1, 8, 4, 6, 1, b'a', 1, b'b', 1, b'c'];
        let layout = Layout::read(Fields(&map)).unwrap();
        assert_eq!(layout.columns.iter().map(|column| column.code).collect::<Vec<_>>(), [3, 15, ENUM]);
        assert_eq!(layout.names.unwrap(), ["a", "b", "c"]);
        assert_eq!(Layout::read(Fields(&map[..10])).unwrap().names, None);
        for length in 0..10 {
            assert!(Layout::read(Fields(&map[..length])).is_none(), "{length}");
        }
    }

    #[test]
    fn columns_that_an_image_lacks_and_documents_told_in_part_are_passed_over() {
        // An int, a document, a char(5).
        let layout = Layout::read(Fields(&[3, 3, 245, 254, 3, 4, 254, 5, 0])).unwrap();
        let images = [
            &[0_u8, 7, 0, 0, 0][..],
            // Options: partly; the bits of the documents; nulls; the document's part; the text.
            &[1, 1, 0, 2, 0, 0, 0, 9, 9, 1, b'x'],
        ]
        .concat();
        let rows = Rows {
            id: 1,
            kind: RowsKind::UpdatePartly,
            width: 3,
            present: [&[0b001], &[0b110]],
            images: Cow::Owned(images),
            last: true,
        };
        let mut found = Vec::new();
        let owned = |cells: Vec<Cell<'_>>| {
            cells.into_iter().map(|cell| cell.map(|value| value.map(<[u8]>::to_vec))).collect::<Vec<_>>()
        };
        layout
            .rows(&rows, &[0, 2], |first, second| {
                found.push((owned(first), second.map(owned)));
                Some(())
            })
            .unwrap();
        let first = vec![Some(Some(vec![7, 0, 0, 0])), None];
        assert_eq!(found, [(first, Some(vec![None, Some(Some(b"x".to_vec()))]))]);
    }

    #[test]
    fn decimals_take_nine_digits_in_four_bytes() {
        assert_eq!(decimal_bytes(10, 2), 5);
        assert_eq!(decimal_bytes(65, 30), 14 + 16);
        assert_eq!(decimal_bytes(1, 0), 1);
    }
}
