//! Finds the paths that a source file uses, without a parser: comments and literals are left out, the rest is read token by
//! token. Macros are read like other code. Nothing here knows the layers.

/// A word or a mark of the source. `::` is one token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A path, resolved from the root of the crate: `["pipeline", "item", "Item"]`.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// Whether it stands in a `pub use`, which gives the item a second name.
    pub(super) reexported: bool,
}

/// The source without white space, comments, strings, characters and lifetimes.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = if let Some(length) = ignored(rest) {
            (length, false)
        } else if is_word(first) {
            (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        if is_token {
            tokens.push(Token { text: rest[..length].to_owned(), line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Length of a comment or literal at the beginning of the text.
fn ignored(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    let unprefixed = text.trim_start_matches(['b', 'c']);
    if text.len() - unprefixed.len() <= 1 {
        let prefix = text.len() - unprefixed.len();
        if let Some(length) = raw_string(unprefixed).or_else(|| quoted(unprefixed, '"')) {
            return Some(prefix + length);
        }
    }
    quoted_char(text)
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&end).map_or(text.len(), |at| start + at + end.len()))
}

fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.strip_prefix(quote)?.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 2),
            _ => {}
        }
    }
    Some(text.len())
}

/// A character, or the name of a lifetime: neither is part of a path.
fn quoted_char(text: &str) -> Option<usize> {
    let mut after = text.strip_prefix('\'')?.chars();
    let (first, second) = (after.next()?, after.next());
    if first == '\\' || second == Some('\'') {
        return quoted(text, '\'');
    }
    let name = text[1..].find(|c| !is_word(c)).unwrap_or(text.len() - 1);
    Some(1 + name)
}

/// Every path of a file that begins at the crate, at the module itself, at a parent or at a module declared in it.
pub(super) fn used(source: &str, own_path: &[String]) -> Vec<Used> {
    let tokens = tokens(source);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let children: Vec<&str> =
        (0..tokens.len()).filter(|at| text(*at) == "mod" && text(at + 2) == ";").map(|at| text(at + 1)).collect();
    // For every open brace the module that it began, if it began one.
    let mut open: Vec<Option<&str>> = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let here = || own_path.iter().cloned().chain(open.iter().flatten().map(|&name| name.to_owned()));
        let start: Option<Vec<String>> = match text(at) {
            _ if text(at + 1) != "::" || at > 0 && text(at - 1) == "::" => None,
            "crate" | "tidelock" => Some(Vec::new()),
            "self" => Some(here().collect()),
            "super" => Some(parent(here().collect())),
            name if children.contains(&name) => Some(own_path.iter().cloned().chain([name.to_owned()]).collect()),
            _ => None,
        };
        match (start, text(at)) {
            (Some(start), _) => {
                let (before, first) = (found.len(), at);
                at = follow(&tokens, at + 1, start, &mut found);
                let reexported = first > 1 && text(first - 1) == "use" && ["pub", ")"].contains(&text(first - 2));
                found[before..].iter_mut().for_each(|used| used.reexported = reexported);
                continue;
            }
            (None, "{") => open.push((at > 1 && text(at - 2) == "mod").then(|| text(at - 1))),
            (None, "}") => drop(open.pop()),
            (None, _) => {}
        }
        at += 1;
    }
    found
}

fn parent(mut path: Vec<String>) -> Vec<String> {
    path.pop();
    path
}

/// Reads the rest of a path from the token after its first segment, with its groups; answers where it ends.
fn follow(tokens: &[Token], mut at: usize, mut path: Vec<String>, found: &mut Vec<Used>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let line = tokens[at - 1].line;
    while text(at) == "::" {
        match text(at + 1) {
            "{" => return follow_group(tokens, at + 2, &path, found),
            "super" => path = parent(path),
            "self" => {}
            name if name.starts_with(is_word) => path.push(name.to_owned()),
            _ => break,
        }
        at += 2;
    }
    found.push(Used { segments: path, line, reexported: false });
    at
}

fn follow_group(tokens: &[Token], mut at: usize, path: &[String], found: &mut Vec<Used>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    while at < tokens.len() && text(at) != "}" {
        let name = text(at);
        if text(at - 1) == "as" || !name.starts_with(is_word) && name != "*" || name == "as" {
            at += 1;
            continue;
        }
        let mut item = path.to_vec();
        if name.starts_with(is_word) && name != "self" {
            item.push(name.to_owned());
        }
        at = follow(tokens, at + 1, item, found);
    }
    at + 1
}
