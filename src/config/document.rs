//! A configuration file as a tree of nodes that know their place (layer 2): where line, column and pointer come from.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, ast};

use super::raw::Place;
use super::{Location, Problem, codes};

/// What a node is.
#[derive(Debug)]
pub(crate) enum Shape {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<u32>),
    Object(Vec<Member>),
}

/// One key of an object, duplicates included.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_offset: usize,
    pub(crate) node: u32,
}

#[derive(Debug)]
pub(crate) struct Node {
    offset: usize,
    pointer: String,
    pub(crate) shape: Shape,
    /// Whether the text takes something from the environment.
    pub(crate) interpolated: bool,
    /// Whether a problem was reported about it, so that its absence needs no second one.
    pub(crate) broken: bool,
}

/// One file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) file: Arc<str>,
    pub(crate) path: PathBuf,
    text: String,
    line_starts: Vec<usize>,
    pub(crate) nodes: Vec<Node>,
}

impl Document {
    /// The root's number.
    pub(crate) const ROOT: u32 = 0;

    /// Reads the tree of a text. Comments and trailing commas are fine, every other liberty is not.
    pub(crate) fn parse(path: &Path, text: String) -> Result<Self, Problem> {
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file: Arc<str> = path.display().to_string().into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut document = Self { file, path: path.to_owned(), text, line_starts, nodes: Vec::new() };
        let text = document.text.clone();
        let options = ParseOptions {
            allow_comments: true,
            allow_trailing_commas: true,
            allow_loose_object_property_names: false,
            allow_missing_commas: false,
            allow_single_quoted_strings: false,
            allow_hexadecimal_numbers: false,
            allow_unary_plus_numbers: false,
            allow_bare_decimal_point_numbers: false,
            allow_non_finite_numbers: false,
            allow_extended_string_escapes: false,
        };
        match jsonc_parser::parse_to_ast(&text, &CollectOptions::default(), &options) {
            Ok(jsonc_parser::ParseResult { value: Some(value), .. }) => {
                document.add(value, String::new());
                Ok(document)
            }
            Ok(_) => Err(Problem::error(codes::SYNTAX, &document.location(0, ""), "the file is empty")
                .suggest("run `tidelock init`, or start from a file of examples/configs")),
            Err(error) => {
                let Range { start, .. } = error.range();
                let message = format!("not valid JSON: {}", lower_first(&error.kind().to_string()));
                Err(Problem::error(codes::SYNTAX, &document.location(start, ""), message))
            }
        }
    }

    fn add(&mut self, value: ast::Value<'_>, pointer: String) -> u32 {
        let number = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let place = self.nodes.len();
        let offset = value.range().start;
        let node = Node { offset, pointer: pointer.clone(), shape: Shape::Null, interpolated: false, broken: false };
        self.nodes.push(node);
        let shape = match value {
            ast::Value::NullKeyword(_) => Shape::Null,
            ast::Value::BooleanLit(literal) => Shape::Bool(literal.value),
            ast::Value::NumberLit(literal) => Shape::Number(literal.value.to_owned()),
            ast::Value::StringLit(literal) => Shape::String(literal.value.into_owned()),
            ast::Value::Array(array) => {
                let items = array.elements.into_iter().enumerate();
                Shape::Array(items.map(|(index, item)| self.add(item, format!("{pointer}/{index}"))).collect())
            }
            ast::Value::Object(object) => {
                let members = object.properties.into_iter().map(|property| {
                    let key_offset = property.range.start;
                    let key = property.name.into_string();
                    let node = self.add(property.value, format!("{pointer}/{}", escape(&key)));
                    Member { key, key_offset, node }
                });
                Shape::Object(members.collect())
            }
        };
        if let Some(node) = self.nodes.get_mut(place) {
            node.shape = shape;
        }
        number
    }

    pub(crate) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(number).ok()?)
    }

    pub(crate) fn node_mut(&mut self, number: u32) -> Option<&mut Node> {
        self.nodes.get_mut(usize::try_from(number).ok()?)
    }

    /// The value of a key of an object; of duplicates the first.
    pub(crate) fn member(&self, object: u32, key: &str) -> Option<&Member> {
        match &self.node(object)?.shape {
            Shape::Object(members) => members.iter().find(|member| member.key == key),
            Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::String(_) | Shape::Array(_) => None,
        }
    }

    /// The item of an array.
    pub(crate) fn item(&self, array: u32, index: usize) -> Option<u32> {
        match &self.node(array)?.shape {
            Shape::Array(items) => items.get(index).copied(),
            Shape::Null | Shape::Bool(_) | Shape::Number(_) | Shape::String(_) | Shape::Object(_) => None,
        }
    }

    /// Where a node stands.
    pub(crate) fn at(&self, number: u32) -> Location {
        self.node(number).map_or_else(|| self.location(0, ""), |node| self.location(node.offset, &node.pointer))
    }

    /// Where the value of a pointer stands, or the nearest one around it.
    pub(crate) fn at_pointer(&self, pointer: &str) -> Location {
        let mut wanted = pointer;
        loop {
            if let Some(node) = self.nodes.iter().find(|node| node.pointer == wanted) {
                return self.location(node.offset, &node.pointer);
            }
            match wanted.rsplit_once('/') {
                Some((around, _)) => wanted = around,
                None => return self.location(0, ""),
            }
        }
    }

    /// Where the key of a member stands.
    pub(crate) fn at_key(&self, object: u32, member: &Member) -> Location {
        let pointer = self.node(object).map_or("", |node| node.pointer.as_str());
        self.location(member.key_offset, &format!("{pointer}/{}", escape(&member.key)))
    }

    fn location(&self, offset: usize, pointer: &str) -> Location {
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Location {
            file: Arc::clone(&self.file),
            line: number(line),
            column: number(before + 1),
            pointer: pointer.to_owned(),
        }
    }
}

/// Every file that was read.
#[derive(Debug, Default)]
pub(crate) struct Documents(pub(crate) Vec<Document>);

impl Documents {
    pub(crate) fn document(&self, place: Place) -> Option<&Document> {
        self.0.get(usize::try_from(place.file).ok()?)
    }

    /// Where an object stands.
    pub(crate) fn at(&self, place: Place) -> Location {
        self.document(place).map(|document| document.at(place.node)).unwrap_or_default()
    }

    /// The place of the value at a path of keys and indices below an object.
    pub(crate) fn below(&self, place: Place, path: &[Step<'_>]) -> Option<Place> {
        let document = self.document(place)?;
        let node = path.iter().try_fold(place.node, |node, step| match step {
            Step::Key(key) => document.member(node, key).map(|member| member.node),
            Step::Item(index) => document.item(node, *index),
        })?;
        Some(Place { file: place.file, node })
    }

    /// A path that stands in a file: relative to the file's folder.
    pub(crate) fn path(&self, place: Place, path: impl AsRef<Path>) -> PathBuf {
        let folder = self.document(place).and_then(|document| document.path.parent()).unwrap_or(Path::new(""));
        let mut joined = PathBuf::new();
        for component in folder.join(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if matches!(joined.components().next_back(), Some(Component::Normal(_))) => {
                    joined.pop();
                }
                Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                    joined.push(component);
                }
            }
        }
        joined
    }
}

/// One step into a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// A key as a part of a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_escape_pointers() {
        let text = "// é\n{\"a/b\": [1, {\"é~\": \"ü\", \"x\": 2}],}";
        let document = Document::parse(Path::new("f.json"), text.to_owned()).unwrap();
        let array = document.member(Document::ROOT, "a/b").unwrap();
        let object = document.item(array.node, 1).unwrap();
        let x = document.at(document.member(object, "x").unwrap().node);
        assert_eq!((x.line, x.column, x.pointer.as_str()), (2, 30, "/a~1b/1/x"));
        let tilde = document.member(object, "é~").unwrap();
        assert_eq!(document.at_key(object, tilde).pointer, "/a~1b/1/é~0");
        assert_eq!(document.at_key(object, tilde).column, 14);
    }

    #[test]
    fn liberties_beyond_comments_and_trailing_commas_are_refused() {
        for text in ["", "{a: 1}", "{\"a\": 1 \"b\": 2}", "{'a': 1}", "[0x10]", "[+1]", "[.5]", "{} {}", "{\"a\": \"\n"]
        {
            let problem = Document::parse(Path::new("f.json"), text.to_owned()).unwrap_err();
            assert_eq!(problem.code, codes::SYNTAX, "{text}");
            assert!(problem.at.line >= 1, "{text}");
        }
    }
}
