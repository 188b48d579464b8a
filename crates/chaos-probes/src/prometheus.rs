//! `prometheus`: one instant query that gives one value; and the client for it.
//!
//! Owns asking and reading. Whatever is not exactly one finite value (nothing, several series, NaN, an error, a late
//! answer) is no data: a Prometheus that doesn't know must never look like a target that is well, or like one that is
//! not.

use std::fmt;
use std::time::Duration;

use chaos_core::spec::PrometheusProbe;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::client::{BODY_BYTES_MAX, Clients, describe, parse_url, read_body};
use crate::measured::{Measured, milliseconds, shortened};

/// Why a query gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// It answered, but not with one finite number.
    #[error("{0}")]
    NoValue(String),
    /// It did not answer, not in time, or not as a Prometheus does.
    #[error("{0}")]
    NoAnswer(String),
}

/// A Prometheus to ask.
pub(crate) struct Prometheus {
    client: Client,
    url: Url,
    name: String,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prometheus").field(&self.name).finish()
    }
}

impl Prometheus {
    /// By its base URL, with or without a path.
    pub(crate) fn new(base: &str, clients: &Clients) -> Result<Self, String> {
        let mut url = parse_url(base)?;
        let client = clients.of(&url)?;
        let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
        let mut public = url.clone();
        url.set_path(&path);
        public.set_query(None);
        // Both can only fail for a URL without a host, which no client takes.
        let _ = public.set_username("");
        let _ = public.set_password(None);
        Ok(Self { client, url, name: public.as_str().trim_end_matches('/').to_owned() })
    }

    /// Its base URL without credentials.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The one value of a query now.
    pub(crate) async fn value(&self, query: &str, limit: Duration) -> Result<f64, QueryError> {
        match timeout(limit, self.ask(query, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(QueryError::NoAnswer(format!("no answer within {}", milliseconds(limit)))),
        }
    }

    async fn ask(&self, query: &str, limit: Duration) -> Result<f64, QueryError> {
        let no_answer = |error: reqwest::Error| QueryError::NoAnswer(describe(&error));
        let mut asked = self.url.clone();
        // Prometheus need not go on for longer than we listen.
        asked
            .query_pairs_mut()
            .append_pair("query", query)
            .append_pair("timeout", &format!("{}ms", limit.as_millis().max(1)));
        let form = asked.query().unwrap_or_default().to_owned();
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut response = request.body(form).send().await.map_err(no_answer)?;
        // A proxy in between may let only GET pass.
        if matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            response = self.client.get(asked).send().await.map_err(no_answer)?;
        }
        let status = response.status();
        let body = read_body(response, true).await.map_err(no_answer)?;
        if body.cut {
            return Err(QueryError::NoAnswer(format!("the answer is longer than {BODY_BYTES_MAX} bytes")));
        }
        one_value(status, &body.bytes)
    }
}

#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Answer {
    Success {
        data: Data,
    },
    Error {
        #[serde(rename = "errorType", default)]
        kind: String,
        #[serde(default)]
        error: String,
    },
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

/// The one finite number in an answer.
fn one_value(status: StatusCode, body: &[u8]) -> Result<f64, QueryError> {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(_) if !status.is_success() => {
            return Err(QueryError::NoAnswer(format!("status {}", status.as_u16())));
        }
        Err(error) => return Err(QueryError::NoAnswer(format!("not an answer of Prometheus: {error}"))),
    };
    let text = match answer {
        Answer::Error { kind, error } => {
            let text = format!("status {}, {}", status.as_u16(), shortened(&format!("{kind}: {error}")));
            return Err(if status.is_client_error() {
                QueryError::NoValue(text)
            } else {
                QueryError::NoAnswer(text)
            });
        }
        Answer::Success { data: Data::Scalar((_, text)) } => text,
        Answer::Success { data: Data::Vector(series) } => match series.as_slice() {
            [] => return Err(QueryError::NoValue("the query gives no series".into())),
            [one] => one.value.1.clone(),
            many => {
                return Err(QueryError::NoValue(format!("the query gives {} series, not one", many.len())));
            }
        },
        Answer::Success { data: Data::Other { kind } } => {
            return Err(QueryError::NoValue(format!(
                "the query gives a {}, not one value",
                shortened(&kind)
            )));
        }
    };
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(QueryError::NoValue(format!("the value is {}", shortened(&text)))),
    }
}

/// A query to be asked many times.
#[derive(Debug)]
pub(crate) struct PrometheusCheck {
    prometheus: Prometheus,
    query: String,
}

impl PrometheusCheck {
    pub(crate) fn new(
        probe: &PrometheusProbe,
        clients: &Clients,
        default: Option<&str>,
    ) -> Result<Self, String> {
        let base = probe
            .url
            .as_deref()
            .or(default)
            .ok_or("no Prometheus is named, neither here nor in the configuration")?;
        Ok(Self { prometheus: Prometheus::new(base, clients)?, query: probe.query.clone() })
    }

    /// Asks; the value is judged by the probe's bounds afterwards.
    pub(crate) async fn measure(&self, limit: Duration) -> Measured {
        let begin = Instant::now();
        match self.prometheus.value(&self.query, limit).await {
            Ok(value) => Measured::passed(begin.elapsed()).with_value(Some(value)),
            Err(error) => Measured::no_data(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_finite_number_is_a_value() {
        let check = |body: &str, wanted: Result<f64, &str>| {
            let found = one_value(StatusCode::OK, body.as_bytes()).map_err(|error| error.to_string());
            match wanted {
                Ok(value) => assert_eq!(found, Ok(value), "{body}"),
                Err(part) => {
                    assert!(found.as_ref().is_err_and(|text| text.contains(part)), "{body}: {found:?}")
                }
            }
        };
        let vector = |series: &str| {
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#)
        };
        let one = |value: &str| format!(r#"{{"metric":{{"job":"a"}},"value":[1.5,"{value}"]}}"#);
        check(
            r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"2.5"]}}"#,
            Ok(2.5),
        );
        check(&vector(&one("1")), Ok(1.0));
        check(&vector(&one("1e-3")), Ok(0.001));
        check(&vector(""), Err("no series"));
        check(&vector(&format!("{},{}", one("1"), one("2"))), Err("2 series"));
        check(&vector(&one("NaN")), Err("the value is NaN"));
        check(&vector(&one("+Inf")), Err("the value is +Inf"));
        check(&vector(&one("")), Err("the value is"));
        check(r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#, Err("a matrix"));
        check(r#"{"status":"success","data":{"resultType":"string","result":[1,"up"]}}"#, Err("a string"));
        check(r#"{"status":"success"}"#, Err("not an answer"));
        check("<html>", Err("not an answer"));
        check("", Err("not an answer"));
    }

    #[test]
    fn a_refused_query_is_an_answer_and_a_server_error_is_none() {
        let error = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        let text = |status| format!("status {status}, bad_data: parse error");
        assert_eq!(one_value(StatusCode::BAD_REQUEST, error), Err(QueryError::NoValue(text(400))));
        assert_eq!(one_value(StatusCode::SERVICE_UNAVAILABLE, error), Err(QueryError::NoAnswer(text(503))));
        assert_eq!(
            one_value(StatusCode::BAD_GATEWAY, b"<html>"),
            Err(QueryError::NoAnswer("status 502".into()))
        );
    }

    #[test]
    fn its_name_has_no_credentials() {
        let prometheus =
            Prometheus::new("http://user:pass@localhost:9090/prom/?a=b", &Clients::default()).expect("valid");
        assert_eq!(prometheus.name(), "http://localhost:9090/prom");
        assert_eq!(prometheus.url.path(), "/prom/api/v1/query");
        assert!(!format!("{prometheus:?}").contains("pass"));
    }
}
