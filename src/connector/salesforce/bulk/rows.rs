//! Records as CSV files for jobs (layer 4), and the files of results, whose lines come in an order of their own: each is told by the cell that
//! names it.

use std::collections::HashMap;

use super::super::catalogue::{Field, Object};
use super::super::errors::Reason;
use super::super::{ids, values};
use crate::record::Record;

/// Bytes of one file; the org takes 150 MB of it in base64.
pub(super) const FILE_MAX: usize = 100_000_000;

/// A record to load.
#[derive(Debug, Clone)]
pub(in super::super) struct Row<'a> {
    pub(in super::super) record: &'a Record,
    /// What it is upserted by, where the record itself does not hold that.
    pub(in super::super) name: Option<String>,
}

impl Row<'_> {
    fn name(&self, by: &Field) -> Option<String> {
        self.name.clone().or_else(|| values::cell(by, self.record.get(&by.name)?))
    }
}

/// A file, and the rows that are in it: places by the cell that names them.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) places: HashMap<String, usize>,
}

/// Writes rows into files of at most about `bytes_max`. Rows that a file cannot hold are left out: those with a text that means null in it.
pub(super) fn files(object: &Object, by: &Field, rows: &[Row<'_>], bytes_max: usize) -> Vec<File> {
    let columns = columns(object, by, rows);
    let headings: Vec<&str> =
        std::iter::once(by).chain(columns.iter().copied()).map(|field| field.name.as_str()).collect();
    let mut files: Vec<File> = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let Some((name, line)) = line(by, &columns, row) else { continue };
        if files.last().is_none_or(|file| file.bytes.len() + line.len() > bytes_max) {
            let bytes = encoded(&headings).unwrap_or_default();
            files.push(File { bytes, places: HashMap::new() });
        }
        if let Some(file) = files.last_mut() {
            file.bytes.extend(line);
            file.places.insert(name, place);
        }
    }
    files
}

/// The fields that any of the rows holds, but for the one that names them.
fn columns<'o>(object: &'o Object, by: &Field, rows: &[Row<'_>]) -> Vec<&'o Field> {
    let held = |name: &str| rows.iter().any(|row| row.record.get(name).is_some());
    object.fields.iter().filter(|field| field.name != by.name && field.name != "Id" && held(&field.name)).collect()
}

/// `None` for a row that no cells can hold.
fn line(by: &Field, columns: &[&Field], row: &Row<'_>) -> Option<(String, Vec<u8>)> {
    let name = row.name(by)?;
    // An empty cell leaves the field alone.
    let cell =
        |field: &&Field| row.record.get(&field.name).map_or(Some(String::new()), |value| values::cell(field, value));
    let cells = std::iter::once(Some(name.clone())).chain(columns.iter().map(cell)).collect::<Option<Vec<_>>>()?;
    Some((name, encoded(&cells)?))
}

fn encoded<S: AsRef<[u8]>>(cells: &[S]) -> Option<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    writer.write_record(cells).ok()?;
    writer.into_inner().ok()
}

/// The lines of a file of results, each with the place of its row. `None` where the file is not of the documented form, or speaks of a row that was
/// not sent.
fn results<T>(
    bytes: &[u8],
    by: &Field,
    file: &File,
    own: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<Vec<(usize, T)>> {
    let mut reader = csv::Reader::from_reader(bytes);
    let headings = reader.headers().ok()?.clone();
    let column = |name: &str| headings.iter().position(|heading| heading.eq_ignore_ascii_case(name));
    // Where there is no line, the headings may be missing, too.
    let (own, name) = (column(own), column(&by.name));
    let result = |line: csv::Result<csv::StringRecord>| {
        let line = line.ok()?;
        Some((*file.places.get(line.get(name?)?)?, read(line.get(own?)?)?))
    };
    reader.records().map(result).collect()
}

/// Ids of the rows that were written.
pub(super) fn succeeded(bytes: &[u8], by: &Field, file: &File) -> Option<Vec<(usize, String)>> {
    results(bytes, by, file, "sf__Id", ids::long)
}

/// Why rows were refused.
pub(super) fn failed(bytes: &[u8], by: &Field, file: &File) -> Option<Vec<(usize, Reason)>> {
    results(bytes, by, file, "sf__Error", |text| Some(Reason::of_cell(text)))
}

#[cfg(test)]
mod tests {
    use super::super::super::catalogue::tests::field;
    use super::*;
    use crate::value::Value;

    fn named(name: &str, native_type: &str) -> Field {
        field(serde_json::json!({
            "name": name, "type": native_type, "length": 255, "scale": 2, "precision": 18, "nillable": true, "defaultedOnCreate": false,
            "createable": true, "updateable": true, "unique": true, "externalId": true, "filterable": true,
        }))
    }

    fn object() -> Object {
        let fields =
            vec![named("Id", "id"), named("Name", "string"), named("Ext__c", "string"), named("Revenue", "currency")];
        Object { name: "Account".to_owned(), fields }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn whatever_a_text_holds_comes_out_of_the_file_as_it_went_in() {
        let (object, by) = (object(), named("Ext__c", "string"));
        let texts = ["a,b", "say \"hi\"", "two\nlines", "cr\r\nlf", "#N/A ", "=1+1", "naïve, 数"];
        let records: Vec<Record> =
            texts.iter().map(|name| Record::of([("Name", text(name)), ("Revenue", Value::Null)])).collect();
        let row = |(place, record)| Row { record, name: Some(format!("t:{place}")) };
        let rows: Vec<Row<'_>> = records.iter().enumerate().map(row).collect();
        let files = files(&object, &by, &rows, FILE_MAX);
        assert_eq!(files.len(), 1);
        let read: Vec<csv::StringRecord> =
            csv::Reader::from_reader(files[0].bytes.as_slice()).records().map(Result::unwrap).collect();
        // The trimmed `#N/A` means null in a cell, so that row goes another way.
        let expected: Vec<&&str> = texts.iter().filter(|name| name.trim() != "#N/A").collect();
        assert_eq!(read.len(), expected.len());
        for (line, name) in read.iter().zip(expected) {
            assert_eq!((&line[1], &line[2]), (*name, "#N/A"), "{line:?}");
        }
        assert_eq!(files[0].bytes.iter().filter(|byte| **byte == b'\r').count(), 1, "the line ends of the file are LF");
    }

    #[test]
    fn files_are_cut_where_they_are_full_and_absent_fields_are_left_alone() {
        let (object, by) = (object(), named("Ext__c", "string"));
        let records = [
            Record::of([("Ext__c", text("1")), ("Name", text("one"))]),
            Record::of([("Ext__c", text("2")), ("Revenue", Value::Decimal("1.5".to_owned()))]),
            Record::of([("Id", text("001D000000IRt53IAD")), ("Ext__c", text("3")), ("Name", Value::Null)]),
        ];
        let rows: Vec<Row<'_>> = records.iter().map(|record| Row { record, name: None }).collect();
        let files = files(&object, &by, &rows, 40);
        let texts: Vec<&str> = files.iter().map(|file| std::str::from_utf8(&file.bytes).unwrap()).collect();
        assert_eq!(texts, ["Ext__c,Name,Revenue\n1,one,\n2,,1.5\n", "Ext__c,Name,Revenue\n3,#N/A,\n"]);
        assert_eq!((files[0].places["2"], files[1].places["3"]), (1, 2));
    }

    #[test]
    fn results_come_in_any_order_and_strangers_are_refused() {
        let by = named("Ext__c", "string");
        let file = File { bytes: Vec::new(), places: HashMap::from([("a".to_owned(), 0), ("b,\"".to_owned(), 7)]) };
        let done = b"\"sf__Id\",\"sf__Created\",\"Ext__c\"\n\"001D000000IRt53\",\"true\",\"b,\"\"\"\n";
        assert_eq!(succeeded(done, &by, &file), Some(vec![(7, "001D000000IRt53IAD".to_owned())]));
        let refused = b"sf__Id,sf__Error,Ext__c\r\n,\"STRING_TOO_LONG:Name: data value too large: x:y:Name --\",a\r\n";
        let failed = failed(refused, &by, &file).unwrap();
        assert_eq!((failed[0].0, failed[0].1.to_string().as_str()), (0, "STRING_TOO_LONG (Name)"));
        assert_eq!(succeeded(b"sf__Id,Ext__c\n001D000000IRt53,c\n", &by, &file), None);
        assert_eq!(succeeded(b"sf__Id,Ext__c\nnone,a\n", &by, &file), None);
        assert_eq!(succeeded(b"Ext__c\na\n", &by, &file), None);
        for nothing in [&b""[..], b"\n", b"sf__Id,sf__Created\n"] {
            assert_eq!(succeeded(nothing, &by, &file), Some(Vec::new()));
        }
    }
}
