//! A collection, or a column, that is yet to be made: what a pair needs, in no system's language (layer 3). Each connector says it in
//! its own (`create.rs`).

use super::{Column, Keeps, Schema};
use crate::value::Kind;

/// A column that is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// The column that its values come from unchanged: type of its system, and the system's own name of the column's type.
    pub like: Option<(String, String)>,
    /// Whether null is refused.
    pub not_null: bool,
}

impl NewColumn {
    /// The type of the column that it is like, where that is one of the same system.
    pub fn native(&self, system_type: &str) -> Option<&str> {
        self.like.as_ref().filter(|(system, _)| system == system_type).map(|(_, native)| native.as_str())
    }

    /// Digits of a decimal, and how many of them stand behind the point, where that is known.
    pub fn digits(&self) -> Option<(u32, u32)> {
        let (_, native) = self.like.as_ref()?;
        let native = native.to_ascii_lowercase();
        if native.starts_with("bigint") {
            // Unsigned: up to 18446744073709551615.
            return Some((20, 0));
        }
        let named = ["decimal", "numeric"].iter().any(|name| native.starts_with(name));
        let numbers = numbers(&native);
        match (named, numbers.as_slice()) {
            (true, [digits]) => Some((*digits, 0)),
            (true, [digits, scale]) if scale <= digits => Some((*digits, *scale)),
            _ => None,
        }
    }

    /// The most characters of a text, where the system that it comes from holds to that.
    pub fn length(&self) -> Option<u32> {
        let (system, native) = self.like.as_ref()?;
        let native = native.to_ascii_lowercase();
        // SQLite stores any length, whatever the type says.
        let held = system != "sqlite" && (native.starts_with("char") || native.starts_with("varchar"));
        match numbers(&native).as_slice() {
            [length] if held => Some(*length),
            _ => None,
        }
    }
}

/// The numbers in the parentheses of a type: `numeric(10,2)`.
fn numbers(native: &str) -> Vec<u32> {
    let inside = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
    inside.into_iter().flat_map(|text| text.split(',')).filter_map(|part| part.trim().parse().ok()).collect()
}

/// A collection that is yet to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    /// A key of its own that the system generates, in front of the other columns.
    pub generated_key: Option<String>,
    /// The other columns.
    pub columns: Vec<NewColumn>,
    /// Primary key, where the system generates none.
    pub key: Vec<String>,
    /// Other field sets whose values do not repeat.
    pub unique: Vec<Vec<String>>,
    /// Field sets that records are looked up by.
    pub indexes: Vec<Vec<String>>,
}

impl Blueprint {
    /// What the catalogue will say, given what each column is called and read as in the system, and what it makes of its values.
    pub fn schema(&self, type_of: impl Fn(&NewColumn) -> (String, Kind, Keeps), generated_type: &str) -> Schema {
        let generated = self.generated_key.iter().map(|name| Column {
            name: name.clone(),
            kind: Kind::Int,
            native_type: generated_type.to_owned(),
            nullable: false,
            has_default: true,
            writable: true,
            keeps: Keeps::default(),
        });
        let columns = self.columns.iter().map(|column| {
            let (native_type, kind, keeps) = type_of(column);
            Column {
                name: column.name.clone(),
                kind,
                native_type,
                nullable: !column.not_null,
                has_default: false,
                writable: true,
                keeps,
            }
        });
        let key = self.primary();
        let unique = std::iter::once(key.clone()).chain(self.unique.iter().cloned()).collect();
        Schema { columns: generated.chain(columns).collect(), key, unique, view: false }
    }

    /// The fields of the primary key.
    pub fn primary(&self) -> Vec<String> {
        self.generated_key.as_ref().map_or_else(|| self.key.clone(), |name| vec![name.clone()])
    }

    /// Whether the column is part of a key or an index.
    pub fn is_indexed(&self, name: &str) -> bool {
        let mut sets = std::iter::once(&self.key).chain(&self.unique).chain(&self.indexes);
        sets.any(|set| set.iter().any(|field| field == name))
    }

    /// How many fields the widest key or index has.
    pub fn widest_index(&self) -> usize {
        std::iter::once(&self.key).chain(&self.unique).chain(&self.indexes).map(Vec::len).max().unwrap_or(1)
    }
}

/// How a collection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// The statements, in the system's own language.
    pub statements: Vec<String>,
    /// What the catalogue will say.
    pub schema: Schema,
}

/// Columns of each index (`None`: an expression), in order, from rows of an index's name and one of its columns that stand together.
pub fn columns_by_index(rows: impl IntoIterator<Item = (String, Option<String>)>) -> Vec<Vec<Option<String>>> {
    let mut indexes: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for (index, column) in rows {
        match indexes.last_mut().filter(|(name, _)| *name == index) {
            Some((_, columns)) => columns.push(column),
            None => indexes.push((index, vec![column])),
        }
    }
    indexes.into_iter().map(|(_, columns)| columns).collect()
}

/// Those of `wanted` that no index can look up.
pub fn without_index<'a>(
    wanted: &'a [Vec<String>],
    indexes: &[Vec<Option<String>>],
) -> impl Iterator<Item = &'a Vec<String>> {
    wanted.iter().filter(|fields| !indexes.iter().any(|index| begins_with(index, fields)))
}

/// Whether an index over these columns (`None`: an expression) can look these fields up, in whatever order they stand.
fn begins_with(index: &[Option<String>], fields: &[String]) -> bool {
    let front = index.get(..fields.len()).unwrap_or_default();
    front.len() == fields.len() && front.iter().all(|name| name.as_ref().is_some_and(|name| fields.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(system: &str, native: &str) -> NewColumn {
        let like = Some((system.to_owned(), native.to_owned()));
        NewColumn { name: "a".to_owned(), kind: Kind::Decimal, like, not_null: false }
    }

    #[test]
    fn types_tell_digits_and_lengths() {
        assert_eq!(like("postgres", "numeric(10,2)").digits(), Some((10, 2)));
        assert_eq!(like("mysql", "decimal(8,0) unsigned").digits(), Some((8, 0)));
        assert_eq!(like("mysql", "bigint(20) unsigned").digits(), Some((20, 0)));
        assert_eq!(like("postgres", "numeric").digits(), None);
        assert_eq!(like("postgres", "numeric(3,5)").digits(), None, "more behind the point than there are");
        assert_eq!(like("postgres", "character varying(40)").length(), Some(40));
        assert_eq!(like("mysql", "varchar(40)").length(), Some(40));
        assert_eq!(like("sqlite", "VARCHAR(40)").length(), None, "which SQLite does not hold to");
        assert_eq!(like("mysql", "int(11)").length(), None);
    }

    #[test]
    fn an_index_serves_what_it_begins_with() {
        let index = ["b", "a", "c"].map(|name| Some(name.to_owned()));
        let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(begins_with(&index, &fields(&["a", "b"])));
        assert!(begins_with(&index, &fields(&["b"])));
        assert!(!begins_with(&index, &fields(&["a"])));
        assert!(!begins_with(&[None, Some("a".to_owned())], &fields(&["a"])), "an expression comes first");
        assert!(!begins_with(&index[..1], &fields(&["a", "b"])));
    }
}
