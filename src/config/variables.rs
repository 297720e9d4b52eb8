//! `${VAR}` in strings (layer 2): `${VAR:-default}` where it may be unset or empty, `$${` for a literal `${`.

/// Why a text cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum VariableError {
    /// The variable of that name is not set.
    Missing(String),
    /// A `${` without an end, or with something else than a name in it.
    Malformed,
}

/// A filled-in text and the variables of it: name and what the environment said, empty where the default counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) text: String,
    pub(crate) taken: Vec<(String, String)>,
}

/// Fills in every variable. Reports all that are missing.
pub(crate) fn fill(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Filled, Vec<VariableError>> {
    let mut filled = Filled { text: String::with_capacity(text.len()), taken: Vec::new() };
    let mut errors = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            filled.text.push_str(escaped);
            filled.text.push_str("${");
            rest = after;
            continue;
        }
        filled.text.push_str(before);
        let Some((inside, behind)) = after.split_once('}') else {
            errors.push(VariableError::Malformed);
            rest = "";
            break;
        };
        rest = behind;
        match value(inside, environment) {
            Ok(variable) => {
                filled.text.push_str(&variable.text);
                filled.taken.push((variable.name, variable.said));
            }
            Err(error) => errors.push(error),
        }
    }
    filled.text.push_str(rest);
    if errors.is_empty() { Ok(filled) } else { Err(errors) }
}

struct Variable {
    name: String,
    said: String,
    text: String,
}

fn value(inside: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Variable, VariableError> {
    let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    if !is_name(name) {
        return Err(VariableError::Malformed);
    }
    let value = environment(name);
    let said = value.clone().filter(|value| !value.is_empty());
    let value = match default {
        Some(default) => said.clone().or_else(|| Some(default.to_owned())),
        None => value,
    };
    let text = value.ok_or_else(|| VariableError::Missing(name.to_owned()))?;
    Ok(Variable { name: name.to_owned(), said: said.unwrap_or_default(), text })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Vec<VariableError>> {
        let environment = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        fill(text, &environment).map(|filled| filled.text)
    }

    #[test]
    fn variables_defaults_and_escapes() {
        for (text, expected) in [
            ("plain $ {x} }", "plain $ {x} }"),
            ("${A}", "one"),
            ("<${A}${A}>", "<oneone>"),
            ("${EMPTY}", ""),
            ("${EMPTY:-two}", "two"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("$${A} and $$${A}", "${A} and $${A}"),
            ("^\\+[1-9]\\d{1,14}$", "^\\+[1-9]\\d{1,14}$"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_missing_variable_is_named() {
        let missing = |name: &str| VariableError::Missing(name.to_owned());
        assert_eq!(filled("${X} ${A} ${Y}"), Err(vec![missing("X"), missing("Y")]));
        assert_eq!(filled("${A"), Err(vec![VariableError::Malformed]));
        assert_eq!(filled("${}"), Err(vec![VariableError::Malformed]));
        assert_eq!(filled("${1A}"), Err(vec![VariableError::Malformed]));
    }
}
