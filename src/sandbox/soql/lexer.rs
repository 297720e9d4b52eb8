//! The words of a query.

use crate::sandbox::exchange::Refusal;

/// The longest query.
const LENGTH_MAX: usize = 100_000;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Token {
    /// A name, keyword, number or time.
    Bare(String),
    /// A quoted text, without its quotes and escapes.
    Text(String),
    /// `=`, `<=`, `(`, …
    Symbol(&'static str),
}

/// Two characters before one, so that `<=` is not `<`.
const SYMBOLS: &[&str] = &["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ","];

/// Why a query cannot be read.
pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new("MALFORMED_QUERY", message)
}

/// Takes a query apart.
///
/// # Errors
/// `MALFORMED_QUERY`.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    if text.chars().count() > LENGTH_MAX {
        return Err(Refusal::new(
            "QUERY_TOO_COMPLICATED",
            format!("SOQL statements cannot be longer than {LENGTH_MAX} characters"),
        ));
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (token, after) = quoted(rest)?;
            tokens.push(token);
            rest = after;
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push(Token::Symbol(symbol));
            rest = rest.strip_prefix(symbol).unwrap_or(rest);
        } else {
            let ends = |letter: char| letter.is_whitespace() || "<>=!(),'".contains(letter);
            let (word, after) = rest.split_at_checked(rest.find(ends).unwrap_or(rest.len())).unwrap_or((rest, ""));
            if word.is_empty() {
                return Err(malformed(format!("unexpected token: '{first}'")));
            }
            tokens.push(Token::Bare(word.to_owned()));
            rest = after;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

fn quoted(text: &str) -> Result<(Token, &str), Refusal> {
    let mut value = String::new();
    let mut letters = text.chars();
    letters.next();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => return Ok((Token::Text(value), letters.as_str())),
            '\\' => value.push(match letters.next() {
                Some('n' | 'N') => '\n',
                Some('r' | 'R') => '\r',
                Some('t' | 'T') => '\t',
                Some('b' | 'B') => '\u{8}',
                Some('f' | 'F') => '\u{c}',
                // In LIKE they stand for themselves: kept apart from the wildcards.
                Some('_') => '\u{e000}',
                Some('%') => '\u{e001}',
                Some(same @ ('\'' | '"' | '\\')) => same,
                Some(_) | None => return Err(malformed("Illegal character sequence in string literal")),
            }),
            _ => value.push(letter),
        }
    }
    Err(malformed("unterminated string literal"))
}
