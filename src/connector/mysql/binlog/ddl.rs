//! What a statement of the log means for the table that is followed (layer 4, pure). Rows come as rows; statements come for what changes the
//! table itself, and for changes that somebody had logged as statements, which say nothing of rows.
//!
//! Statements are cut into words and not understood: where a word might be our table's name, it is taken for it.

/// What a statement does to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing that changes how rows are read.
    Nothing,
    /// It is empty.
    Truncated,
    /// Columns may stand in other places, or have other names or types.
    Altered,
    /// What is known of it does not hold any more.
    Lost(&'static str),
    /// Rows were changed, and it is not said which.
    Statement,
    /// A transaction that was prepared is committed, or given up.
    Decided {
        /// Its name, as in [`super::events::Body::Prepared`].
        name: String,
        /// Committed.
        commit: bool,
    },
}

/// A word, number, name or sign.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// Not quoted, in capitals for comparing; and as it stands.
    Word(String, String),
    /// Quoted as a name.
    Name(String),
    /// A text.
    Text,
    /// Anything else.
    Sign(char),
}

impl Token {
    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(found, _) if found == word)
    }

    fn names(&self, name: &str) -> bool {
        match self {
            Self::Word(_, found) | Self::Name(found) => found.to_lowercase() == name.to_lowercase(),
            Self::Text | Self::Sign(_) => false,
        }
    }
}

/// What `text`, run in `database`, means for the table `of` (database and name).
pub(super) fn meaning(text: &str, database: &str, of: (&str, &str)) -> Meaning {
    if let Some(decided) = decided(text) {
        return decided;
    }
    let tokens = tokens(text);
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let named = |name: &str| tokens.iter().any(|token| token.names(name));
    let ours = named(of.1) && (database.eq_ignore_ascii_case(of.0) || named(of.0));
    let begins =
        |at: usize| tokens.get(at).map_or("", |token| if let Token::Word(word, _) = token { word } else { "" });
    let (first, second) = (begins(0), begins(1));
    match first {
        "DROP" if matches!(second, "DATABASE" | "SCHEMA") && named(of.0) => Meaning::Lost("its database was dropped"),
        _ if !ours => Meaning::Nothing,
        "TRUNCATE" => Meaning::Truncated,
        "DROP" if second == "TABLE" => Meaning::Lost("the table was dropped"),
        "RENAME" => Meaning::Lost("the table was renamed, or another took its name"),
        "CREATE" if has("TABLE") && !has("TRIGGER") => created(&tokens, of.1),
        "ALTER" if has("TABLE") => altered(&tokens),
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" => Meaning::Statement,
        _ => Meaning::Nothing,
    }
}

/// `CREATE TABLE other LIKE ours` and `… SELECT … FROM ours` name it later. `IF NOT EXISTS` makes nothing of a table that is there, and MySQL logs
/// it all the same; one that is not there was dropped before.
fn created(tokens: &[Token], name: &str) -> Meaning {
    let table = tokens.iter().position(|token| token.is("TABLE")).unwrap_or_default();
    let end = tokens
        .iter()
        .skip(table)
        .position(|token| *token == Token::Sign('(') || token.is("LIKE") || token.is("SELECT") || token.is("AS"));
    let head = tokens.get(table..end.map_or(tokens.len(), |end| table + end)).unwrap_or_default();
    let anew = head.iter().any(|token| token.names(name)) && !head.iter().any(|token| token.is("IF"));
    if anew { Meaning::Lost("the table was made anew") } else { Meaning::Nothing }
}

fn altered(tokens: &[Token]) -> Meaning {
    let has = |word: &str| tokens.iter().any(|token| token.is(word));
    let before = |word: &str, next: &[&str]| {
        let pairs = tokens.iter().zip(tokens.iter().skip(1));
        pairs.into_iter().any(|(token, after)| token.is(word) && next.iter().any(|next| after.is(next)))
    };
    if has("PARTITION") && ["TRUNCATE", "DROP", "EXCHANGE"].iter().any(|word| has(word)) {
        return Meaning::Lost("a partition was emptied, dropped or exchanged");
    }
    if before("RENAME", &["TO", "AS"]) || (has("RENAME") && !before("RENAME", &["COLUMN", "INDEX", "KEY"])) {
        return Meaning::Lost("the table was renamed");
    }
    // Columns that are added at the end disturb nobody.
    let moves = ["DROP", "CHANGE", "MODIFY", "RENAME", "FIRST", "AFTER", "CONVERT", "ORDER"];
    if moves.iter().any(|word| has(word)) { Meaning::Altered } else { Meaning::Nothing }
}

/// `XA COMMIT X'…',X'…',1`: as the server itself writes it.
fn decided(text: &str) -> Option<Meaning> {
    let rest = text.strip_prefix("XA ")?;
    let (verb, name) = rest.split_once(' ')?;
    let name = name.trim().trim_end_matches("ONE PHASE").trim();
    // Both servers write the numbers of a byte in small letters.
    let name = name.to_lowercase().replace("x'", "X'");
    match verb {
        "COMMIT" => Some(Meaning::Decided { name, commit: true }),
        "ROLLBACK" => Some(Meaning::Decided { name, commit: false }),
        _ => None,
    }
}

/// Cuts a statement into words. What stands in `/*! … */` is part of it, other comments are not.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '/' if rest.peek() == Some(&'*') => {
                rest.next();
                if rest.next_if(|next| *next == '!').is_some() || rest.next_if(|next| *next == 'M').is_some() {
                    while rest.next_if(|next| *next == '!' || next.is_ascii_digit()).is_some() {}
                    continue;
                }
                let mut last = ' ';
                for next in rest.by_ref() {
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
            }
            '#' => while rest.next_if(|next| *next != '\n').is_some() {},
            '-' if rest.peek() == Some(&'-') => while rest.next_if(|next| *next != '\n').is_some() {},
            '`' | '"' => {
                let mut name = String::new();
                while let Some(next) = rest.next() {
                    if next == letter && rest.next_if(|after| *after == letter).is_none() {
                        break;
                    }
                    name.push(next);
                }
                tokens.push(Token::Name(name));
            }
            '\'' => {
                while let Some(next) = rest.next() {
                    if next == '\\' {
                        rest.next();
                    } else if next == '\'' && rest.next_if(|after| *after == '\'').is_none() {
                        break;
                    }
                }
                tokens.push(Token::Text);
            }
            letter if is_word(letter) => {
                let mut word = String::from(letter);
                while let Some(next) = rest.next_if(|next| is_word(*next)) {
                    word.push(next);
                }
                tokens.push(Token::Word(word.to_uppercase(), word));
            }
            letter if letter.is_whitespace() => {}
            letter => tokens.push(Token::Sign(letter)),
        }
    }
    tokens
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Meaning {
        meaning(text, "shop", ("shop", "Orders"))
    }

    #[test]
    fn statements_are_taken_for_what_they_do_to_the_table() {
        for text in [
            "BEGIN",
            "COMMIT",
            "CREATE TABLE other LIKE Orders",
            "CREATE TABLE IF NOT EXISTS `Orders` (id INT)",
            "CREATE TABLE other (id INT) SELECT id FROM Orders",
            "CREATE INDEX by_name ON Orders (name)",
            "ALTER TABLE Orders ADD COLUMN note text COMMENT 'DROP it FIRST'",
            "ALTER TABLE `Orders` ADD INDEX (a) /* DROP */, ENGINE = InnoDB",
            "ALTER TABLE other DROP COLUMN a",
            "TRUNCATE orders2",
            "INSERT INTO other VALUES ('Orders')",
            "CREATE TRIGGER t AFTER INSERT ON Orders FOR EACH ROW UPDATE x SET a = 1",
            "ANALYZE TABLE Orders",
        ] {
            assert_eq!(of(text), Meaning::Nothing, "{text}");
        }
        for text in [
            "ALTER TABLE Orders DROP COLUMN a",
            "alter table shop.orders modify id bigint",
            "/* app */ ALTER TABLE `Orders` ADD x INT AFTER id",
            "ALTER ONLINE TABLE Orders RENAME COLUMN a TO b",
            "/*!50000 ALTER TABLE Orders CHANGE a b INT */",
        ] {
            assert_eq!(of(text), Meaning::Altered, "{text}");
        }
        for text in [
            "DROP TABLE IF EXISTS `a`,`Orders` /* generated by server */",
            "RENAME TABLE Orders TO _old, _new TO Orders",
            "ALTER TABLE Orders RENAME TO other",
            "ALTER TABLE Orders RENAME other",
            "ALTER TABLE Orders TRUNCATE PARTITION p1",
            "CREATE OR REPLACE TABLE Orders (id INT)",
            "DROP DATABASE shop",
        ] {
            assert!(matches!(of(text), Meaning::Lost(_)), "{text}");
        }
        assert_eq!(of("TRUNCATE TABLE `shop`.`Orders`"), Meaning::Truncated);
        for text in [
            "UPDATE Orders SET a = 1",
            "-- note\nINSERT INTO Orders VALUES (1)",
            "WITH x AS (SELECT 1) DELETE FROM Orders",
        ] {
            assert_eq!(of(text), Meaning::Statement, "{text}");
        }
        assert_eq!(
            meaning("DROP TABLE Orders", "other", ("shop", "Orders")),
            Meaning::Nothing,
            "one of another database"
        );
        assert_eq!(meaning("TRUNCATE shop.Orders", "other", ("shop", "Orders")), Meaning::Truncated);
    }

    #[test]
    fn prepared_transactions_are_decided_by_name() {
        let decided = |commit| Meaning::Decided { name: "X'6162',X'',1".to_owned(), commit };
        assert_eq!(of("XA COMMIT X'6162',X'',1"), decided(true));
        assert_eq!(of("XA ROLLBACK X'6162',X'',1"), decided(false));
        assert_eq!(of("XA START X'6162',X'',1"), Meaning::Nothing);
    }
}
