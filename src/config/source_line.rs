//! Looks into a file once more for a problem that is found after loading (layer 2): the place below another place, and the line
//! that a problem points at, for people, with secrets blotted out (I12).

use std::fs;
use std::path::Path;

use super::document::Document;
use super::{Location, nearest};

/// Names of keys whose values are never shown; what contains or resembles one counts too.
const SECRET_WORDS: &[&str] = &["password", "passphrase", "secret", "token", "webhook", "credential"];

/// The text of the line, each character of a secret as `*`. `None` where the file cannot be read any more.
pub fn source_line(at: &Location) -> Option<String> {
    let text = fs::read_to_string(&*at.file).ok()?;
    let index = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    blot(text).lines().nth(index).map(str::to_owned)
}

/// The place of what stands below a place, by JSON pointer, or of the nearest thing around it. The place itself where the file
/// cannot be read any more.
pub fn below(at: &Location, pointer: &str) -> Location {
    let text = fs::read_to_string(&*at.file).ok();
    let document = text.and_then(|text| Document::parse(Path::new(&*at.file), text).ok());
    document.map_or_else(|| at.clone(), |document| document.at_pointer(&format!("{}{pointer}", at.pointer)))
}

/// The text with every secret blotted out. Works on broken JSON too: it only follows strings, comments and colons.
fn blot(text: &str) -> String {
    let mut blotted = String::with_capacity(text.len());
    let mut rest = text;
    let mut last_string = String::new();
    let mut key: Option<String> = None;
    let mut in_list = false;
    while let Some(char) = rest.chars().next() {
        let taken = match char {
            '"' => string(rest),
            '/' => comment(rest),
            _ => rest.split_at(char.len_utf8()).0,
        };
        rest = rest.strip_prefix(taken).unwrap_or_default();
        match char {
            '"' if key.as_deref().is_some_and(|key| is_secret(key, taken)) => {
                blotted.push_str(&stars(taken));
                if !in_list {
                    key = None;
                }
            }
            '"' => {
                blotted.push_str(taken);
                taken.trim_matches('"').clone_into(&mut last_string);
                if !in_list {
                    key = None;
                }
            }
            ':' => {
                blotted.push(char);
                key = Some(std::mem::take(&mut last_string));
            }
            '[' => {
                blotted.push(char);
                in_list = key.is_some();
            }
            ',' | '{' | '}' | ']' => {
                blotted.push(char);
                if char != ',' || !in_list {
                    (key, in_list) = (None, false);
                }
            }
            _ => blotted.push_str(taken),
        }
    }
    blotted
}

/// The string with a star for each of its characters.
fn stars(string: &str) -> String {
    let inside = string.strip_prefix('"').unwrap_or(string);
    let (inside, end) = inside.strip_suffix('"').map_or((inside, ""), |inside| (inside, "\""));
    format!("\"{}{end}", "*".repeat(inside.chars().count()))
}

/// The string that begins here, to its end or the end of the line.
fn string(text: &str) -> &str {
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            '\n' => return text.split_at(at).0,
            '"' if !escaped => return text.split_at(at + 1).0,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text
}

/// The comment that begins here, or the slash.
fn comment(text: &str) -> &str {
    let end = if text.starts_with("//") {
        text.find('\n').unwrap_or(text.len())
    } else if text.starts_with("/*") {
        text.find("*/").map_or(text.len(), |at| at + 2)
    } else {
        1
    };
    text.split_at(end).0
}

fn is_secret(key: &str, value: &str) -> bool {
    // Taken from the environment: nothing to see.
    if value.starts_with("\"${") && value.ends_with("}\"") && !value.contains(":-") {
        return false;
    }
    let key = key.to_lowercase();
    match key.as_str() {
        "url" | "connection_string" | "dsn" => value.contains('@') || value.contains('?'),
        key => {
            SECRET_WORDS.iter().any(|word| key.contains(word)) || nearest(key, SECRET_WORDS.iter().copied()).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_below_another_is_found_or_the_nearest_around_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{\"a\": [\n  {\"name\": \"f\",\n   \"params\": {\"x\": 1}}]}").unwrap();
        let name: std::sync::Arc<str> = file.path().display().to_string().into();
        let at = Location { file: name, pointer: "/a/0".to_owned(), ..Location::default() };
        let place = |pointer: &str| (below(&at, pointer).line, below(&at, pointer).pointer);
        assert_eq!(place("/params/x"), (3, "/a/0/params/x".to_owned()));
        assert_eq!(place("/params/y/z"), (3, "/a/0/params".to_owned()));
        assert_eq!(place("/other"), (2, "/a/0".to_owned()));
        let gone = Location { file: "/nowhere.json".into(), ..at.clone() };
        assert_eq!(below(&gone, "/params"), gone);
    }

    #[test]
    fn secrets_are_blotted_out_in_place() {
        for (text, expected) in [
            (r#"{"password": "a\"bc", "user": "me"}"#, r#"{"password": "*****", "user": "me"}"#),
            ("{\"passwrod\":\n\"abc\"}", "{\"passwrod\":\n\"***\"}"),
            (r#""client_secret" : "xyz"#, r#""client_secret" : "***"#),
            (r#"{"url": "postgres://u:p@h/d"}"#, r#"{"url": "******************"}"#),
            (r#"{"url": "sqlite://x.db"}"#, r#"{"url": "sqlite://x.db"}"#),
            (r#"{"password": "${PW}"}"#, r#"{"password": "${PW}"}"#),
            (r#"{"password": "${PW:-x}"}"#, r#"{"password": "********"}"#),
            (
                "// \"password\": \"x\n{\"a\": \"password\", \"b\": \"é\"}",
                "// \"password\": \"x\n{\"a\": \"password\", \"b\": \"é\"}",
            ),
            (r#"{"token": ["a", "b"]}"#, r#"{"token": ["*", "*"]}"#),
        ] {
            assert_eq!(blot(text), expected);
        }
    }
}
