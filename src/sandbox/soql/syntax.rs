//! What a query says, before anybody asked whether its names exist.

use super::lexer::{Token, malformed, tokens};
use crate::sandbox::clock::{datetime, parse_datetime};
use crate::sandbox::exchange::Refusal;
use crate::sandbox::values::date;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct Query {
    pub(super) fields: Fields,
    pub(super) object: String,
    pub(super) condition: Option<Condition>,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Fields {
    /// `COUNT()`
    Count,
    /// `COUNT(Id)`, with what it is called in the answer.
    CountOf(String, String),
    Named(Vec<String>),
    /// `FIELDS(ALL)`, `FIELDS(STANDARD)`, `FIELDS(CUSTOM)`, in upper case.
    Group(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        field: String,
        operator: Operator,
        literal: Literal,
    },
    In {
        field: String,
        negated: bool,
        literals: Vec<Literal>,
    },
    /// `INCLUDES`, `EXCLUDES`
    Includes {
        field: String,
        negated: bool,
        choices: Vec<Literal>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Date(String),
    /// As the API writes times.
    Datetime(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Order {
    pub(super) field: String,
    pub(super) descending: bool,
    pub(super) nulls_last: bool,
}

/// Reads a query.
///
/// # Errors
/// `MALFORMED_QUERY`, also for what the sandbox does not know, such as sub-queries and GROUP BY.
pub(in crate::sandbox) fn parse(text: &str) -> Result<Query, Refusal> {
    let tokens = tokens(text)?;
    let mut reader = Reader { rest: &tokens, depth: 0 };
    reader.keyword("SELECT")?;
    let fields = reader.fields()?;
    reader.keyword("FROM")?;
    let object = reader.name()?;
    let condition = if reader.takes("WHERE") { Some(reader.condition()?) } else { None };
    let order = if reader.takes("ORDER") { reader.order()? } else { Vec::new() };
    let limit = if reader.takes("LIMIT") { Some(reader.count()?) } else { None };
    let offset = if reader.takes("OFFSET") { reader.count()? } else { 0 };
    match reader.rest.first() {
        None => Ok(Query { fields, object, condition, order, limit, offset }),
        Some(token) => Err(unexpected(Some(token))),
    }
}

/// Conditions inside of conditions, so that no query exhausts the stack.
const DEPTH_MAX: usize = 50;

struct Reader<'a> {
    rest: &'a [Token],
    depth: usize,
}

fn unexpected(token: Option<&Token>) -> Refusal {
    match token {
        Some(Token::Bare(word)) => malformed(format!("unexpected token: '{word}'")),
        Some(Token::Text(text)) => malformed(format!("unexpected token: ''{text}''")),
        Some(Token::Symbol(symbol)) => malformed(format!("unexpected token: '{symbol}'")),
        None => malformed("unexpected token: '<EOF>'"),
    }
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first.clone())
    }

    /// Takes a keyword if it is next.
    fn takes(&mut self, keyword: &str) -> bool {
        match self.rest.split_first() {
            Some((Token::Bare(word), rest)) if word.eq_ignore_ascii_case(keyword) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        match self.rest.split_first() {
            Some((Token::Symbol(next), rest)) if *next == symbol => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), Refusal> {
        if self.takes(keyword) { Ok(()) } else { Err(unexpected(self.rest.first())) }
    }

    fn symbol(&mut self, symbol: &str) -> Result<(), Refusal> {
        if self.takes_symbol(symbol) { Ok(()) } else { Err(unexpected(self.rest.first())) }
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Bare(word)) if word.starts_with(|first: char| first.is_ascii_alphabetic()) => Ok(word),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn count(&mut self) -> Result<usize, Refusal> {
        match self.next() {
            Some(Token::Bare(word)) => word.parse().map_err(|_| unexpected(Some(&Token::Bare(word)))),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn fields(&mut self) -> Result<Fields, Refusal> {
        let mut named = Vec::new();
        loop {
            let name = self.name()?;
            if self.takes_symbol("(") {
                return self.function(&name);
            }
            named.push(name);
            if !self.takes_symbol(",") {
                return Ok(Fields::Named(named));
            }
        }
    }

    fn function(&mut self, name: &str) -> Result<Fields, Refusal> {
        let fields = if name.eq_ignore_ascii_case("COUNT") {
            if self.takes_symbol(")") {
                return Ok(Fields::Count);
            }
            Fields::CountOf(self.name()?, "expr0".to_owned())
        } else if name.eq_ignore_ascii_case("FIELDS") {
            Fields::Group(self.name()?.to_ascii_uppercase())
        } else {
            return Err(malformed(format!("the sandbox does not know the function {name}")));
        };
        self.symbol(")")?;
        match (fields, self.rest.first()) {
            (Fields::CountOf(field, _), Some(Token::Bare(alias))) if !alias.eq_ignore_ascii_case("FROM") => {
                let alias = alias.clone();
                self.next();
                Ok(Fields::CountOf(field, alias))
            }
            (fields, _) => Ok(fields),
        }
    }

    /// AND and OR side by side need parentheses.
    fn condition(&mut self) -> Result<Condition, Refusal> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Refusal::new("QUERY_TOO_COMPLICATED", "conditions are nested too deeply"));
        }
        let first = self.term()?;
        let word = ["AND", "OR"].into_iter().find(|word| self.takes(word));
        let Some(word) = word else {
            self.depth -= 1;
            return Ok(first);
        };
        let mut terms = vec![first, self.term()?];
        while self.takes(word) {
            terms.push(self.term()?);
        }
        if self.takes("AND") || self.takes("OR") {
            return Err(malformed("AND and OR need parentheses where they stand side by side"));
        }
        self.depth -= 1;
        Ok(if word == "AND" { Condition::All(terms) } else { Condition::Any(terms) })
    }

    fn term(&mut self) -> Result<Condition, Refusal> {
        if self.takes("NOT") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(Refusal::new("QUERY_TOO_COMPLICATED", "conditions are nested too deeply"));
            }
            let term = self.term()?;
            self.depth -= 1;
            return Ok(Condition::Not(Box::new(term)));
        }
        if self.takes_symbol("(") {
            let condition = self.condition()?;
            self.symbol(")")?;
            return Ok(condition);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, Refusal> {
        let field = self.name()?;
        let negated = self.takes("NOT");
        if negated || self.takes("IN") {
            if negated {
                self.keyword("IN")?;
            }
            return Ok(Condition::In { field, negated, literals: self.list()? });
        }
        for (word, negated) in [("INCLUDES", false), ("EXCLUDES", true)] {
            if self.takes(word) {
                return Ok(Condition::Includes { field, negated, choices: self.list()? });
            }
        }
        let operator = match self.next() {
            Some(Token::Symbol("=")) => Operator::Equal,
            Some(Token::Symbol("!=" | "<>")) => Operator::NotEqual,
            Some(Token::Symbol("<")) => Operator::Less,
            Some(Token::Symbol("<=")) => Operator::LessOrEqual,
            Some(Token::Symbol(">")) => Operator::Greater,
            Some(Token::Symbol(">=")) => Operator::GreaterOrEqual,
            Some(Token::Bare(word)) if word.eq_ignore_ascii_case("LIKE") => Operator::Like,
            other => return Err(unexpected(other.as_ref())),
        };
        Ok(Condition::Compare { field, operator, literal: self.literal(operator == Operator::Like)? })
    }

    fn list(&mut self) -> Result<Vec<Literal>, Refusal> {
        self.symbol("(")?;
        let mut literals = vec![self.literal(false)?];
        while self.takes_symbol(",") {
            literals.push(self.literal(false)?);
        }
        self.symbol(")")?;
        Ok(literals)
    }

    fn literal(&mut self, pattern: bool) -> Result<Literal, Refusal> {
        match self.next() {
            Some(Token::Text(text)) if pattern => Ok(Literal::Text(text)),
            Some(Token::Text(text)) => Ok(Literal::Text(text.replace('\u{e000}', "_").replace('\u{e001}', "%"))),
            Some(Token::Bare(word)) => bare_literal(&word).ok_or_else(|| unexpected(Some(&Token::Bare(word)))),
            other => Err(unexpected(other.as_ref())),
        }
    }

    fn order(&mut self) -> Result<Vec<Order>, Refusal> {
        self.keyword("BY")?;
        let mut order = Vec::new();
        loop {
            let field = self.name()?;
            let descending = self.takes("DESC");
            if !descending {
                self.takes("ASC");
            }
            let nulls_last = if self.takes("NULLS") {
                let last = self.takes("LAST");
                if !last {
                    self.keyword("FIRST")?;
                }
                last
            } else {
                false
            };
            order.push(Order { field, descending, nulls_last });
            if !self.takes_symbol(",") {
                return Ok(order);
            }
        }
    }
}

fn bare_literal(word: &str) -> Option<Literal> {
    match word.to_ascii_lowercase().as_str() {
        "null" => return Some(Literal::Null),
        "true" => return Some(Literal::Bool(true)),
        "false" => return Some(Literal::Bool(false)),
        _ => {}
    }
    if let Some(ms) = parse_datetime(word) {
        return Some(Literal::Datetime(datetime(ms)));
    }
    if word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        if let Ok(number) = word.parse::<f64>() {
            return number.is_finite().then_some(Literal::Number(number));
        }
        if word.len() == 10 {
            return date(word).map(Literal::Date);
        }
    }
    None
}
