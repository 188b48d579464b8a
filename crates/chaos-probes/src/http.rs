//! `http`: one request, and whether its answer is what was expected.
//!
//! Owns requests and expectations of `http` and `load`. A target that can't be reached, is late or answers otherwise
//! has failed; only what can't or must not even be asked is no data. Redirects are not followed: a 3xx is an answer.

use std::time::Duration;

use chaos_core::spec::{BodyCheck, HttpExpect, HttpProbe, Method};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;
use serde_json_path::JsonPath;
use tokio::time::{Instant, timeout_at};

use crate::client::{BODY_BYTES_MAX, Body, Clients, describe, parse_url, read_body, refusal};
use crate::measured::{Measured, milliseconds, shortened};

/// A request made ready to be sent many times.
#[derive(Debug)]
pub(crate) struct HttpCheck {
    client: Client,
    method: reqwest::Method,
    url: Url,
    headers: HeaderMap,
    body: Option<String>,
    expect: Expectation,
}

#[derive(Debug)]
struct Expectation {
    status: Option<u16>,
    headers: HeaderMap,
    contains: Option<String>,
    json: Option<JsonExpectation>,
    latency: Option<Duration>,
}

#[derive(Debug)]
struct JsonExpectation {
    text: String,
    path: JsonPath,
    equals: Option<Value>,
}

impl HttpCheck {
    pub(crate) fn new(probe: &HttpProbe, clients: &Clients) -> Result<Self, String> {
        let headers = header_map(&probe.headers)?;
        Self::build(probe.method, &probe.url, headers, probe.body.clone(), &probe.expect, clients)
    }

    pub(crate) fn build(
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Option<String>,
        expect: &HttpExpect,
        clients: &Clients,
    ) -> Result<Self, String> {
        let url = parse_url(url)?;
        let client = clients.of(&url)?;
        let method = match method {
            Method::Get => reqwest::Method::GET,
            Method::Head => reqwest::Method::HEAD,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        Ok(Self { client, method, url, headers, body, expect: Expectation::new(expect)? })
    }

    /// Sends it now and judges the answer. Latency counts from `from`; it is given up `timeout` after it is sent.
    pub(crate) async fn measure(&self, from: Instant, timeout: Duration) -> Measured {
        match timeout_at(Instant::now() + timeout, self.ask(from)).await {
            Ok(measured) => measured,
            Err(_) => Measured::failed(format!("no complete answer within {}", milliseconds(timeout)))
                .took(from.elapsed()),
        }
    }

    async fn ask(&self, from: Instant) -> Measured {
        let mut request =
            self.client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => return Measured::no_data(describe(&error)),
            Err(error) => {
                return refusal(&error).map_or_else(|| Measured::failed(describe(&error)), Measured::no_data);
            }
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match read_body(response, self.expect.reads_body(), BODY_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return Measured::failed(describe(&error)),
        };
        let took = from.elapsed();
        match self.expect.objection(status, &headers, &body, took) {
            Ok(value) => Measured::passed(took).with_value(value),
            Err(problem) => Measured::failed(problem).took(took),
        }
    }
}

impl Expectation {
    fn new(expect: &HttpExpect) -> Result<Self, String> {
        let body = expect.body.clone().unwrap_or_default();
        Ok(Self {
            status: expect.status,
            headers: header_map(&expect.headers)?,
            json: JsonExpectation::new(&body)?,
            contains: body.contains,
            latency: expect.latency.map(|span| span.0),
        })
    }

    fn reads_body(&self) -> bool {
        self.contains.is_some() || self.json.is_some()
    }

    /// The value that was read, if any; or the first thing that is not as expected.
    fn objection(
        &self,
        status: u16,
        headers: &HeaderMap,
        body: &Body,
        took: Duration,
    ) -> Result<Option<f64>, String> {
        match self.status {
            Some(wanted) if status != wanted => return Err(format!("status {status}, expected {wanted}")),
            None if !(200..=399).contains(&status) => {
                return Err(format!("status {status}, expected 200 to 399"));
            }
            _ => {}
        }
        for (name, wanted) in &self.headers {
            match headers.get_all(name).iter().next() {
                None => return Err(format!("header {} is missing", shortened(name.as_str()))),
                Some(_) if headers.get_all(name).iter().any(|value| value == wanted) => {}
                // Neither value is said: a header may hold a session or a token.
                Some(_) => return Err(format!("header {} has another value", shortened(name.as_str()))),
            }
        }
        let value = self.body_objection(body)?;
        match self.latency {
            Some(bound) if took > bound => {
                Err(format!("took {}, expected at most {}", milliseconds(took), milliseconds(bound)))
            }
            _ => Ok(value),
        }
    }

    fn body_objection(&self, body: &Body) -> Result<Option<f64>, String> {
        if !self.reads_body() {
            return Ok(None);
        }
        if body.cut {
            return Err(format!("the body is longer than {BODY_BYTES_MAX} bytes"));
        }
        if let Some(part) = &self.contains
            && !String::from_utf8_lossy(&body.bytes).contains(part.as_str())
        {
            return Err(format!("the body does not contain {:?}", shortened(part)));
        }
        self.json.as_ref().map_or(Ok(None), |json| json.objection(&body.bytes))
    }
}

impl JsonExpectation {
    fn new(body: &BodyCheck) -> Result<Option<Self>, String> {
        let Some(text) = &body.json_path else {
            return match body.equals {
                Some(_) => Err("body.equals without body.jsonPath".to_owned()),
                None => Ok(None),
            };
        };
        let path = JsonPath::parse(text).map_err(|error| format!("not a JSON path: {error}"))?;
        Ok(Some(Self { text: shortened(text), path, equals: body.equals.clone() }))
    }

    /// The number it selects, if it is one; or why this is not as expected. Several nodes are compared as an array.
    fn objection(&self, body: &[u8]) -> Result<Option<f64>, String> {
        let document: Value =
            serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        let nodes = self.path.query(&document).all();
        let selected = match nodes.as_slice() {
            [] => return Err(format!("{} selects nothing", self.text)),
            [one] => (*one).clone(),
            many => Value::Array(many.iter().map(|node| (*node).clone()).collect()),
        };
        match &self.equals {
            Some(wanted) if !same(&selected, wanted) => Err(format!(
                "{} is {}, expected {}",
                self.text,
                shortened(&selected.to_string()),
                shortened(&wanted.to_string())
            )),
            _ => Ok(selected.as_f64()),
        }
    }
}

/// Judges an answer of status 200 with this body and no headers.
pub(crate) fn judge_body(expect: &HttpExpect, body: &[u8]) -> Result<Option<f64>, String> {
    let body = Body { bytes: body.to_vec(), cut: false };
    Expectation::new(expect)?.objection(200, &HeaderMap::new(), &body, Duration::ZERO)
}

/// Equal as JSON values, where 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64() == y.as_f64(),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, x)| y.get(key).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}

fn header_map<'h>(headers: impl IntoIterator<Item = (&'h String, &'h String)>) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("not a header name: {:?}", shortened(name)))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of header {} has characters it can't have", shortened(name)))?;
        value.set_sensitive(true);
        map.insert(key, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objection(expect: Value, status: u16, body: &str) -> Result<Option<f64>, String> {
        let expect: HttpExpect = serde_json::from_value(expect).expect("valid");
        let body = Body { bytes: body.into(), cut: false };
        let mut headers = HeaderMap::new();
        headers.append("x-set", HeaderValue::from_static("one"));
        headers.append("x-set", HeaderValue::from_static("two"));
        Expectation::new(&expect)?.objection(status, &headers, &body, Duration::from_millis(30))
    }

    #[test]
    fn every_expectation_must_hold_and_the_first_that_does_not_is_named() {
        let json = r#"{"up": true, "n": 2, "list": [1, 2], "deep": {"a": [1.0]}}"#;
        let check = |expect: Value, wanted: Result<Option<f64>, &str>| {
            assert_eq!(objection(expect.clone(), 204, json), wanted.map_err(str::to_owned), "{expect}");
        };
        use serde_json::json;
        check(json!({}), Ok(None));
        check(json!({ "status": 204 }), Ok(None));
        check(json!({ "status": 200 }), Err("status 204, expected 200"));
        check(json!({ "headers": { "X-Set": "two" } }), Ok(None));
        check(json!({ "headers": { "X-Set": "three" } }), Err("header x-set has another value"));
        check(json!({ "headers": { "X-Other": "three" } }), Err("header x-other is missing"));
        check(json!({ "body": { "contains": "\"up\"" } }), Ok(None));
        check(json!({ "body": { "contains": "down" } }), Err("the body does not contain \"down\""));
        check(json!({ "body": { "jsonPath": "$.n" } }), Ok(Some(2.0)));
        check(json!({ "body": { "jsonPath": "$.n", "equals": 2.0 } }), Ok(Some(2.0)));
        check(json!({ "body": { "jsonPath": "$.n", "equals": "2" } }), Err("$.n is 2, expected \"2\""));
        check(json!({ "body": { "jsonPath": "$.list[*]", "equals": [1, 2] } }), Ok(None));
        check(json!({ "body": { "jsonPath": "$.deep", "equals": { "a": [1] } } }), Ok(None));
        check(json!({ "body": { "jsonPath": "$.none" } }), Err("$.none selects nothing"));
        check(json!({ "body": { "equals": 1 } }), Err("body.equals without body.jsonPath"));
        check(json!({ "latency": "30ms" }), Ok(None));
        check(json!({ "latency": "29ms" }), Err("took 30.0ms, expected at most 29.0ms"));
    }

    #[test]
    fn without_an_expected_status_only_success_and_redirects_pass() {
        for (status, passes) in
            [(200, true), (302, true), (399, true), (199, false), (400, false), (503, false)]
        {
            assert_eq!(objection(serde_json::json!({}), status, "").is_ok(), passes, "{status}");
        }
    }

    #[test]
    fn what_can_not_be_asked_says_so_without_the_value() {
        let mut headers = std::collections::BTreeMap::from([("x-token".to_owned(), "secret\n".to_owned())]);
        let error = header_map(&headers).expect_err("a line break");
        assert!(error.contains("x-token") && !error.contains("secret"), "{error}");
        headers.insert("not a name".into(), String::new());
        assert!(header_map(&headers).is_err());
        assert!(objection(serde_json::json!({ "body": { "jsonPath": "$[" } }), 200, "").is_err());
    }

    #[test]
    fn an_expectation_of_any_length_is_quoted_briefly() {
        let long = "k".repeat(10_000);
        for expect in [
            serde_json::json!({ "body": { "jsonPath": format!("$.{long}") } }),
            serde_json::json!({ "headers": { &long: "x" } }),
            serde_json::json!({ "headers": { format!(" {long}"): "x" } }),
        ] {
            let problem = objection(expect, 200, "{}").expect_err("neither is there");
            assert!(problem.len() < 1000, "{} bytes", problem.len());
        }
    }
}
