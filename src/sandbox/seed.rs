//! Records to begin with: from CSV files, whose columns become standard fields where they are called like one, and custom fields else.

use serde_json::{Map, json};

use super::describe::{Field, Kind, Object};
use super::org::{Org, Within};
use super::standard::number;
use super::store::put;
use super::values::{date, from_text};

/// Where a column is looked for besides under its own name.
const PREFIXES: &[&str] = &["", "Billing", "Mailing"];
/// The most that a text field holds before it is one of long text.
const TEXT_MAX: usize = 255;

/// Creates a user.
pub(super) fn user(org: &mut Org, name: &str, username: &str) -> String {
    let Org { schema, store, clock, .. } = org;
    let Some(object) = schema.object("User") else { return String::new() };
    let id = store.new_id(object);
    let mut row: Vec<_> = object.fields().iter().map(|_| serde_json::Value::Null).collect();
    let stamp = json!(clock.stamp(0));
    for (field, value) in [
        ("Id", json!(id)),
        ("IsDeleted", json!(false)),
        ("Username", json!(username)),
        ("Email", json!(username)),
        ("Name", json!(name)),
        ("IsActive", json!(true)),
        ("CreatedDate", stamp.clone()),
        ("CreatedById", json!(id)),
        ("LastModifiedDate", stamp.clone()),
        ("LastModifiedById", json!(id)),
        ("SystemModstamp", stamp),
    ] {
        if let Some((place, _)) = object.field(field) {
            put(&mut row, place, value);
        }
    }
    store.set(object, &id, Some(row));
    id
}

/// Loads a CSV file with headings, and returns how many records it made.
///
/// # Errors
/// A sentence that names the line, where one cannot be a record.
pub(super) fn load(org: &mut Org, object: &str, text: &str) -> Result<usize, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headings: Vec<String> =
        reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
    let lines: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let known = org.schema.object_mut(object).filter(|object| object.writable);
    let known = known.ok_or_else(|| format!("the sandbox has no object {object}: Account and Contact are there"))?;
    let mut names = Vec::new();
    for (place, heading) in headings.iter().enumerate() {
        let cells: Vec<&str> = lines.iter().filter_map(|line| line.get(place)).map(str::trim).collect();
        names.push(column(known, heading, &cells)?);
    }
    let rights = std::mem::take(&mut org.rights);
    org.permit(rights);
    org.write(Within::default(), true, |writer| {
        let object = writer.schema.object(object).ok_or("no such object")?;
        for (number, line) in lines.iter().enumerate() {
            let mut input = Map::new();
            for (name, cell) in names.iter().zip(line.iter()).filter(|(_, cell)| !cell.trim().is_empty()) {
                if let Some((_, field)) = object.field(name) {
                    input.insert(name.clone(), from_text(field, cell));
                }
            }
            let refused = |refusal: super::exchange::Refusal| {
                format!("record {}: {} ({})", number + 1, refusal.code, refusal.fields.join(", "))
            };
            writer.create(object, &input).map_err(refused)?;
        }
        Ok(lines.len())
    })
}

/// The field of a column; one is added where there is none.
fn column(object: &mut Object, heading: &str, cells: &[&str]) -> Result<String, String> {
    let plain: String = heading.chars().filter(|letter| letter.is_ascii_alphanumeric()).collect();
    let plain = if plain.eq_ignore_ascii_case("address") { "Street".to_owned() } else { plain };
    let named =
        |name: &str| object.field(name).filter(|(_, field)| field.createable).map(|(_, field)| field.name.clone());
    let standard = named(heading).or_else(|| PREFIXES.iter().find_map(|prefix| named(&format!("{prefix}{plain}"))));
    if let Some(name) = standard {
        return Ok(name);
    }
    let name = custom_name(heading).ok_or_else(|| format!("the column '{heading}' cannot be the name of a field"))?;
    if object.field(&name).is_none() {
        object.add(guess(&name, cells));
    }
    Ok(name)
}

/// Letters, digits and single underscores, with a letter in front.
fn custom_name(heading: &str) -> Option<String> {
    let heading = heading.strip_suffix("__c").unwrap_or(heading);
    let words: Vec<&str> =
        heading.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = words.join("_");
    name.starts_with(|first: char| first.is_ascii_alphabetic()).then(|| format!("{name}__c"))
}

/// The narrowest type that takes every value of a column.
fn guess(name: &str, cells: &[&str]) -> Field {
    let filled: Vec<&str> = cells.iter().copied().filter(|cell| !cell.is_empty()).collect();
    let all = |test: &dyn Fn(&str) -> bool| !filled.is_empty() && filled.iter().all(|cell| test(cell));
    let mut sorted = filled.clone();
    sorted.sort_unstable_by_key(|cell| cell.to_lowercase());
    let distinct = sorted.windows(2).all(|pair| matches!(pair, [one, two] if one.to_lowercase() != two.to_lowercase()));
    let longest = filled.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    if name.to_ascii_lowercase().ends_with("id__c") && distinct && filled.len() == cells.len() && longest <= TEXT_MAX {
        let mut key = Field::new(name, Kind::String, TEXT_MAX);
        (key.external_id, key.unique) = (true, true);
        return key;
    }
    if all(&|cell| cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false")) {
        return Field::new(name, Kind::Boolean, 0);
    }
    // Not what begins with zeros or a sign: a code, or a telephone number.
    let is_number = |cell: &str| {
        let digits = cell.trim_start_matches('-');
        let coded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        !coded
            && digits.len() <= 15
            && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && digits.parse::<f64>().is_ok()
    };
    if all(&is_number) {
        let scale = filled
            .iter()
            .filter_map(|cell| cell.split_once('.'))
            .map(|(_, fraction)| fraction.len())
            .max()
            .unwrap_or(0);
        return number(name, Kind::Double, 18_usize.saturating_sub(scale), scale);
    }
    if all(&|cell| cell.len() == 10 && date(cell).is_some()) {
        return Field::new(name, Kind::Date, 0);
    }
    if longest > TEXT_MAX { Field::new(name, Kind::Textarea, 32_768) } else { Field::new(name, Kind::String, TEXT_MAX) }
}

#[cfg(test)]
mod tests {
    use super::super::faults::Script;
    use super::*;

    fn org() -> Org {
        Org::new("http://127.0.0.1:1".to_owned(), 1000, Script::default())
    }

    #[test]
    fn columns_become_fields() {
        let mut org = org();
        let text = "id,last_name,address,postal_code,grade,vip,since,Account Code\n\
                    1,King,1 Main St,007,1.25,true,2026-01-31,0042\n\
                    2,Li,,, 3,false,,17\n";
        assert_eq!(load(&mut org, "Contact", text), Ok(2));
        let contact = org.schema.object("contact").unwrap();
        let kind = |name: &str| contact.field(name).map(|(_, field)| (field.kind, field.digits.1, field.unique));
        assert_eq!(kind("id__c"), Some((Kind::String, 0, true)));
        assert_eq!(kind("grade__c"), Some((Kind::Double, 2, false)));
        assert_eq!(kind("vip__c"), Some((Kind::Boolean, 0, false)));
        assert_eq!(kind("since__c"), Some((Kind::Date, 0, false)));
        assert_eq!(kind("Account_Code__c"), Some((Kind::String, 0, false)));
        let street = contact.field("MailingStreet").unwrap().0;
        let (_, row) = org.store.rows(contact).next().unwrap();
        assert_eq!(super::super::store::at(row, street), &json!("1 Main St"));
    }

    #[test]
    fn what_cannot_be_loaded_is_said_with_its_record() {
        let mut org = org();
        assert_eq!(
            load(&mut org, "Account", "Name\nAcme\n\" \"\n"),
            Err("record 2: REQUIRED_FIELD_MISSING (Name)".to_owned())
        );
        assert!(load(&mut org, "Lead", "Name\nx\n").unwrap_err().contains("no object Lead"));
        assert!(load(&mut org, "User", "Name\nx\n").is_err());
        assert!(load(&mut org, "Account", "Name,%\nx,y\n").unwrap_err().contains("'%'"));
    }
}
