//! One request and its answer, as data: what the API does with them is a function that knows no socket.

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

/// What came in.
#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    /// In upper case.
    pub(super) method: String,
    /// Decoded segments, without empty ones: a trailing slash makes no difference.
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Takes a path with its query apart.
    pub(super) fn new(method: &str, target: &str, headers: HeaderMap, body: Vec<u8>) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments = path.split('/').filter(|part| !part.is_empty()).map(|part| decode(part, false)).collect();
        Self { method: method.to_ascii_uppercase(), segments, query: pairs(query), headers, body }
    }

    /// The first value of a parameter of the query.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// One of the `key=value, …` of a header.
    pub(super) fn option(&self, header: &str, key: &str) -> Option<&str> {
        self.header(header)?.split(',').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then_some(value.trim())
        })
    }

    pub(super) fn path(&self) -> String {
        format!("/{}", self.segments.join("/"))
    }

    /// The body as a form.
    pub(super) fn form(&self) -> Vec<(String, String)> {
        pairs(&String::from_utf8_lossy(&self.body))
    }

    /// The body as a JSON object.
    pub(super) fn json(&self) -> Result<Map<String, Value>, Refusal> {
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Refusal::new("JSON_PARSER_ERROR", "A JSON object is expected")),
            Err(error) => Err(Refusal::new("JSON_PARSER_ERROR", format!("The body is no JSON: {error}"))),
        }
    }
}

/// The first value of a name.
pub(super) fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Takes `%41` for `A`, in queries and forms also `+` for a space. What is no such escape stays.
pub(super) fn decode(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        rest = after;
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What goes out.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self::text(status, "application/json;charset=UTF-8", body.to_string())
    }

    pub(super) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(super) fn text(status: StatusCode, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into_bytes() }
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn with(mut self, header: &'static str, value: String) -> Self {
        self.headers.push((header, value));
        self
    }
}

/// Why something was not done, in Salesforce's words. Its messages name values where the real ones do: they are test data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) fields: Vec<String>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    /// About one field.
    pub(super) fn field(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: vec![field.to_owned()] }
    }

    /// What is not there.
    pub(super) fn not_found() -> Self {
        Self::new("NOT_FOUND", "The requested resource does not exist")
    }

    fn status(&self) -> StatusCode {
        match self.code {
            "NOT_FOUND" | "ENTITY_IS_DELETED" => StatusCode::NOT_FOUND,
            "INVALID_SESSION_ID" => StatusCode::UNAUTHORIZED,
            "REQUEST_LIMIT_EXCEEDED" | "INSUFFICIENT_ACCESS_OR_READONLY" => StatusCode::FORBIDDEN,
            "METHOD_NOT_ALLOWED" => StatusCode::METHOD_NOT_ALLOWED,
            "PRECONDITION_FAILED" => StatusCode::PRECONDITION_FAILED,
            "UNSUPPORTED_API_VERSION" => StatusCode::GONE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// As the answer to a request: an array, and the code under `errorCode`.
    pub(super) fn answer(&self) -> Answer {
        let mut error = json!({"message": self.message, "errorCode": self.code});
        if let (false, Some(object)) = (self.fields.is_empty(), error.as_object_mut()) {
            object.insert("fields".to_owned(), json!(self.fields));
        }
        Answer::json(self.status(), &json!([error]))
    }

    /// As the result of one record of several: the code under `statusCode`.
    pub(super) fn result(&self) -> Value {
        json!({"success": false, "errors": [{"statusCode": self.code, "message": self.message, "fields": self.fields}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_decoded_once() {
        let request = Request::new("patch", "/a%20b/c%2Fd//?q=a+b%2B1&x=%", HeaderMap::new(), Vec::new());
        assert_eq!(request.segments, ["a b", "c/d"]);
        assert_eq!(request.parameter("q"), Some("a b+1"));
        assert_eq!(request.parameter("x"), Some("%"));
        assert_eq!(request.method, "PATCH");
        assert_eq!(decode("%zz%C3%A9+", false), "%zzé+");
    }

    #[test]
    fn the_two_shapes_of_an_error_differ() {
        let refusal = Refusal::field("STRING_TOO_LONG", "Name", "too long");
        assert!(refusal.result().to_string().contains("statusCode"));
        assert!(String::from_utf8_lossy(&refusal.answer().body).contains("errorCode"));
    }
}
