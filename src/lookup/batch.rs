//! Many questions in one request: a JSON array of objects, each with one of `mac`, `ip`, `domain` and `asn`.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};

use crate::core::lookup::answer::Answer;
use crate::core::lookup::error::LookupError;
use crate::core::lookup::query::{PARAMETERS, Query, QueryError};

/// How many questions of a batch are put at a time.
const AT_A_TIME: usize = 8;

/// Reads a batch. A question that is none is an error of its own, not the batch's.
///
/// # Errors
/// The body is no JSON array, or has more than `most` items.
pub(super) fn parse(body: &[u8], most: usize) -> Result<Vec<Result<Query, LookupError>>, LookupError> {
    const FORM: &str = r#"the body must be a JSON array such as [{"ip": "192.0.2.1"}, {"mac": "68b5.99fc.d1df"}]"#;
    let items: Vec<Value> =
        serde_json::from_slice(body).map_err(|error| LookupError::Body(format!("{FORM}: {error}")))?;
    if items.is_empty() {
        return Err(LookupError::Body(format!("{FORM}; this one is empty")));
    }
    if items.len() > most {
        return Err(LookupError::TooMany { count: items.len(), most });
    }
    Ok(items.iter().map(question).collect())
}

fn question(item: &Value) -> Result<Query, LookupError> {
    let wrong = || {
        let form = r#"an item must be an object with one of mac, ip, domain and asn, such as {"ip": "192.0.2.1"}"#;
        LookupError::Body(form.to_owned())
    };
    let fields: &Map<String, Value> = item.as_object().ok_or_else(wrong)?;
    if let Some(name) = fields.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
        return Err(QueryError::Unknown(name.chars().take(80).collect()).into());
    }
    let mut fields = fields.iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else { return Err(wrong()) };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if name == "asn" => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => return Err(wrong()),
    };
    Ok(Query::parse(name, &text).ok_or_else(wrong)??)
}

/// The answers, in the order of the questions, each with the status that it would have alone.
pub(super) async fn answer<F, A>(questions: Vec<Result<Query, LookupError>>, ask: F) -> Value
where
    F: Fn(Result<Query, LookupError>) -> A,
    A: Future<Output = Result<(Answer, Option<Duration>), LookupError>>,
{
    let answers = stream::iter(questions.into_iter().map(ask)).buffered(AT_A_TIME).map(|result| {
        let (status, mut value) = match result {
            Ok((answer, _)) => (200, json!(answer)),
            Err(error) => (error.status(), error.to_json()),
        };
        value["status"] = json!(status);
        value
    });
    Value::Array(answers.collect().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_a_question_or_an_error_of_its_own() {
        let body = br#"[{"ip": "192.0.2.1"}, {"asn": 64496}, {"ip": "x"}, {"q": "1"}, {"ip": "192.0.2.1", "mac": "a"}, 7, {"ip": 7}]"#;
        let shown: Vec<String> = parse(body, 7)
            .unwrap()
            .into_iter()
            .map(|item| item.map_or_else(|error| error.code().to_owned(), |query| query.to_string()))
            .collect();
        assert_eq!(
            shown,
            ["192.0.2.1", "AS64496", "invalid_ip", "bad_request", "bad_request", "bad_request", "bad_request"]
        );
        assert_eq!(parse(body, 6).unwrap_err().status(), 413);
        for body in ["", "{}", "[]", "[", "\"192.0.2.1\""] {
            assert_eq!(parse(body.as_bytes(), 7).unwrap_err().status(), 400, "{body}");
        }
    }
}
