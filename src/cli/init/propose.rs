//! Which fields of two collections are likely to mean the same (pure): by their names' words and by their kinds.

use std::collections::BTreeSet;

use crate::connector::{Column, Schema};
use crate::value::Kind;

/// A likely pair of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposal {
    /// Source's field.
    pub(super) source: String,
    /// Target's field.
    pub(super) target: String,
    /// Said where one of them cannot be written.
    pub(super) direction: Option<&'static str>,
}

/// What is proposed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposals {
    /// The fields whose equal values mean the same record; `None` where no column of the target is likely to be it.
    pub(super) key: Option<(String, String)>,
    /// The others.
    pub(super) fields: Vec<Proposal>,
}

/// Words that name systems in the name of a column which holds the other system's key: `sf_id`, `crm_id`.
const FOREIGN: &[&str] = &["sf", "sfdc", "salesforce", "external", "crm", "remote", "source", "foreign"];

/// Proposes a key and mappings between a source `collection` and a target.
pub(super) fn propose(collection: &str, source: &Schema, target: &Schema) -> Proposals {
    let key = key(collection, source, target);
    let taken = |name: &String, of: fn(&(String, String)) -> &String| key.as_ref().is_some_and(|key| of(key) == name);
    // A key that the target makes for itself means nothing elsewhere.
    let own = |column: &&Column| !(target.key == [column.name.clone()] && column.has_default);
    let sources: Vec<&Column> = source.columns.iter().filter(|column| !taken(&column.name, |key| &key.0)).collect();
    let targets: Vec<&Column> =
        target.columns.iter().filter(own).filter(|column| !taken(&column.name, |key| &key.1)).collect();
    let mut likely: Vec<(u32, &Column, &Column)> = Vec::new();
    for one in &sources {
        for other in &targets {
            let score = likeness(collection, &one.name, &other.name);
            if score > 0 && fits(one.kind, other.kind) && (one.writable || other.writable) {
                likely.push((score, one, other));
            }
        }
    }
    likely.sort_by_key(|(score, _, _)| std::cmp::Reverse(*score));
    let (mut used, mut fields) = (BTreeSet::new(), Vec::new());
    for (_, one, other) in likely {
        if used.contains(&(true, &one.name)) || used.contains(&(false, &other.name)) {
            continue;
        }
        used.extend([(true, &one.name), (false, &other.name)]);
        let direction = match (one.writable, other.writable) {
            (false, _) => Some("source_to_target"),
            (true, false) => Some("target_to_source"),
            (true, true) => None,
        };
        fields.push(Proposal { source: one.name.clone(), target: other.name.clone(), direction });
    }
    // In the order of the target's columns, as a person would write them.
    fields.sort_by_key(|field| target.columns.iter().position(|column| column.name == field.target));
    Proposals { key, fields }
}

/// The source's key, and the target's column for it.
fn key(collection: &str, source: &Schema, target: &Schema) -> Option<(String, String)> {
    let [own] = source.key.as_slice() else { return None };
    let kind = source.column(own)?.kind;
    let score = |column: &&Column| {
        if !fits(kind, column.kind) || !column.writable {
            return 0;
        }
        let words = words(&column.name);
        let is_id = words.last().is_some_and(|word| word == "id");
        let foreign = words.iter().any(|word| FOREIGN.contains(&word.as_str()));
        let unique = target.is_unique(std::slice::from_ref(&column.name));
        let generated = target.key == [column.name.clone()] && column.has_default;
        match (is_id && foreign, is_id && names(collection, &words), column.name.eq_ignore_ascii_case(own)) {
            _ if generated => 0,
            (true, _, _) => 8 + u32::from(unique),
            (_, true, _) => 6 + u32::from(unique),
            (_, _, true) => 4 + u32::from(unique),
            (false, false, false) => 0,
        }
    };
    let best = target.columns.iter().max_by_key(score).filter(|column| score(column) > 0)?;
    Some((own.clone(), best.name.clone()))
}

fn names(collection: &str, words: &[String]) -> bool {
    let of: Vec<String> = self::words(collection);
    of.iter().all(|word| words.iter().any(|other| other == word || *other == format!("{word}s")))
}

/// How alike two names are; 0: not at all.
fn likeness(collection: &str, source: &str, target: &str) -> u32 {
    let (one, other) = (words(source), words(target));
    if one == other {
        return 100;
    }
    // `account_name` of an account is its name.
    let object = words(collection);
    let rest: Vec<String> = other.iter().filter(|word| !object.contains(word)).cloned().collect();
    if rest == one {
        return 90;
    }
    let (short, long) = if one.len() <= other.len() { (&one, &other) } else { (&other, &one) };
    if short.is_empty() || !long.starts_with(short) {
        return 0;
    }
    let more = u32::try_from(long.len() - short.len()).unwrap_or(u32::MAX);
    // One more word says what sort of thing it is: `industry_type`, `LastModifiedDate`.
    if more == 1 { 70 + u32::try_from(short.len().min(9)).unwrap_or(9) } else { 0 }
}

/// `LastModifiedDate`, `last_modified_date` and `Last_Modified_Date__c` are the same words.
fn words(name: &str) -> Vec<String> {
    let name = name.strip_suffix("__c").unwrap_or(name);
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let begins = letter.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit());
        if !letter.is_alphanumeric() || begins {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether values of one kind are likely to be meant for the other.
fn fits(source: Kind, target: Kind) -> bool {
    let group = |kind| match kind {
        Kind::Int | Kind::Float | Kind::Decimal => 1,
        Kind::Text | Kind::Uuid => 2,
        Kind::Date | Kind::Instant | Kind::Local => 3,
        Kind::Boolean => 4,
        Kind::Time => 5,
        Kind::Bytes => 6,
        Kind::Json => 7,
        Kind::Null => 8,
    };
    group(source) == group(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind, writable: bool) -> Column {
        let native_type = String::new();
        Column {
            name: name.to_owned(),
            kind,
            native_type,
            nullable: true,
            has_default: false,
            writable,
            keeps: Default::default(),
        }
    }

    fn schema(columns: Vec<Column>, key: &str, unique: &[&str]) -> Schema {
        let sets = std::iter::once(key).chain(unique.iter().copied()).map(|name| vec![name.to_owned()]);
        Schema { columns, key: vec![key.to_owned()], unique: sets.collect(), view: false }
    }

    #[test]
    fn the_articles_table_is_mapped_as_in_the_article() {
        let text = |name| column(name, Kind::Text, true);
        let account = schema(
            vec![
                column("Id", Kind::Text, false),
                text("Name"),
                text("Type"),
                text("Industry"),
                column("AnnualRevenue", Kind::Decimal, true),
                column("CreatedDate", Kind::Instant, false),
                column("LastModifiedDate", Kind::Instant, false),
                column("LastActivityDate", Kind::Date, false),
            ],
            "Id",
            &[],
        );
        let mut id = column("id", Kind::Int, true);
        id.has_default = true;
        let accounts = schema(
            vec![
                id,
                text("sf_id"),
                text("account_name"),
                text("industry_type"),
                column("annual_revenue", Kind::Decimal, true),
                column("last_modified", Kind::Local, true),
                column("last_sync", Kind::Local, true),
            ],
            "id",
            &["sf_id"],
        );
        let proposals = propose("Account", &account, &accounts);
        assert_eq!(proposals.key, Some(("Id".to_owned(), "sf_id".to_owned())));
        let fields: Vec<_> =
            proposals.fields.iter().map(|field| (&*field.source, &*field.target, field.direction)).collect();
        let expected = [
            ("Name", "account_name", None),
            ("Industry", "industry_type", None),
            ("AnnualRevenue", "annual_revenue", None),
            ("LastModifiedDate", "last_modified", Some("source_to_target")),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn kinds_that_do_not_fit_and_names_that_are_strange_are_left_alone() {
        let source = schema(vec![column("id", Kind::Int, true), column("phone", Kind::Text, true)], "id", &[]);
        let target = schema(vec![column("nr", Kind::Int, true), column("phone", Kind::Bytes, true)], "nr", &[]);
        assert_eq!(propose("people", &source, &target), Proposals { key: None, fields: Vec::new() });
        assert_eq!(words("Last_Modified_Date__c"), words("lastModifiedDate"));
    }
}
