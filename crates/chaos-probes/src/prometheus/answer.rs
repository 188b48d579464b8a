//! What a Prometheus answers to a query, and why that may be no value.
//!
//! Owns reading. It never asks.

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::measured::shortened;

/// Why a query gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// There is no data: no series, or no number.
    #[error("{0}")]
    NoData(String),
    /// It answered, but not with one number that can be relied on: the query is wrong, or the data is old.
    #[error("{0}")]
    Unusable(String),
    /// It did not answer, not in time, or not as a Prometheus does.
    #[error("{0}")]
    NoAnswer(String),
}

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    data: Option<T>,
    #[serde(rename = "errorType", default)]
    kind: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Scalar((f64, String)),
    Vector(Vec<Series>),
    #[serde(untagged)]
    Other {
        #[serde(rename = "resultType")]
        kind: String,
    },
}

#[derive(Deserialize)]
struct Series {
    value: (f64, String),
}

/// The data in an answer of whatever endpoint.
pub(super) fn data<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, QueryError> {
    let answer: Envelope<T> = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => {
            return Err(QueryError::NoAnswer(format!("status {}", status.as_u16())));
        }
        Err(error) => {
            let error = shortened(&error.to_string());
            return Err(QueryError::NoAnswer(format!("not an answer of Prometheus: {error}")));
        }
    };
    let no_answer = |text: &str| Err(QueryError::NoAnswer(format!("not an answer of Prometheus: {text}")));
    match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) => Ok(data),
        ("success", None) => no_answer("it has no data"),
        ("error", _) => {
            let problem = shortened(&format!("{}: {}", answer.kind, answer.error));
            let text = format!("status {}, {problem}", status.as_u16());
            Err(if status.is_client_error() {
                QueryError::Unusable(text)
            } else {
                QueryError::NoAnswer(text)
            })
        }
        _ => no_answer("it is neither success nor error"),
    }
}

/// The one finite number in the answer to a query.
pub(crate) fn one_value(status: StatusCode, body: &[u8]) -> Result<f64, QueryError> {
    let text = match data(status, body)? {
        Data::Scalar((_, text)) => text,
        Data::Vector(series) => match series.as_slice() {
            [] => return Err(QueryError::NoData("the query gives no series".into())),
            [one] => one.value.1.clone(),
            many => {
                return Err(QueryError::Unusable(format!(
                    "the query gives {} series, not one: aggregate them, such as by sum(…)",
                    many.len()
                )));
            }
        },
        Data::Other { kind } => {
            let kind = shortened(&kind);
            return Err(QueryError::Unusable(format!("the query gives a {kind}, not one value")));
        }
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(QueryError::NoData(format!("the value is {}", shortened(&text)))),
        Err(_) => Err(QueryError::NoAnswer(format!(
            "not an answer of Prometheus: the value is {}",
            shortened(&text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, wanted: Result<f64, &str>) -> Option<QueryError> {
        let found = one_value(StatusCode::OK, body.as_bytes());
        match wanted {
            Ok(value) => assert_eq!(found, Ok(value), "{body}"),
            Err(part) => {
                let has_it = found.as_ref().is_err_and(|error| error.to_string().contains(part));
                assert!(has_it, "{body}: {found:?}");
            }
        }
        found.err()
    }

    fn vector(series: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
    }

    fn one(value: &str) -> String {
        format!(r#"{{"metric":{{"job":"a"}},"value":[1.5,"{value}"]}}"#)
    }

    #[test]
    fn only_one_finite_number_is_a_value() {
        check(
            r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"2.5"]}}"#,
            Ok(2.5),
        );
        check(&vector(&one("1")), Ok(1.0));
        check(&vector(&one("1e-3")), Ok(0.001));
        check(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, Err("a matrix"));
        check(r#"{"status":"success","data":{"resultType":"string","result":[1,"up"]}}"#, Err("a string"));
        for body in [
            r#"{"status":"success"}"#,
            r#"{"status":"well","data":{"resultType":"vector","result":[]}}"#,
            "<html>",
            "",
        ] {
            check(body, Err("not an answer"));
        }
    }

    #[test]
    fn no_series_and_no_number_are_no_data_and_several_series_are_a_query_to_mend() {
        for (body, part) in [
            (vector(""), "no series"),
            (vector(&one("NaN")), "the value is NaN"),
            (vector(&one("+Inf")), "the value is +Inf"),
            (vector(&one("-Inf")), "the value is -Inf"),
        ] {
            assert!(matches!(check(&body, Err(part)), Some(QueryError::NoData(_))), "{body}");
        }
        let two = check(&vector(&format!("{},{}", one("1"), one("2"))), Err("2 series, not one: aggregate"));
        assert!(matches!(two, Some(QueryError::Unusable(_))));
        assert!(matches!(check(&vector(&one("")), Err("the value is")), Some(QueryError::NoAnswer(_))));
    }

    #[test]
    fn a_refused_query_is_an_answer_and_a_server_error_is_none() {
        let error = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let text = |status| format!("status {status}, bad_data: parse error");
        assert_eq!(one_value(StatusCode::BAD_REQUEST, error), Err(QueryError::Unusable(text(400))));
        assert_eq!(one_value(StatusCode::SERVICE_UNAVAILABLE, error), Err(QueryError::NoAnswer(text(503))));
        assert_eq!(
            one_value(StatusCode::BAD_GATEWAY, b"<html>"),
            Err(QueryError::NoAnswer("status 502".into()))
        );
    }
}
