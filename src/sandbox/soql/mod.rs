//! SOQL, as far as the sandbox knows it: text → [`syntax`] → [`plan`] (names and types checked) → rows.

pub(super) mod filter;
pub(super) mod lexer;
pub(super) mod plan;
pub(super) mod syntax;

#[cfg(test)]
mod tests;
