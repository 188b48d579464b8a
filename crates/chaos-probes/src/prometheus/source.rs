//! A Prometheus to ask: instant queries and alerting rules, fresh, in bounded time and size.
//!
//! Owns asking, and what "fresh" means. A sample counts for as long as [`SAMPLE_AGE_MAX`] (or what was chosen instead):
//!
//! - Each query carries `lookback_delta`, so that a Prometheus from 2.43 on takes nothing older for the present. An older
//!   one ignores it and goes back as far as its own look-back, five minutes unless configured.
//! - Beside each query it is asked how old the newest sample of `up` is. When nothing at all was scraped for longer than
//!   that, everything it says is of the past, averages over hours too. One that never scraped anything (its rules or its
//!   clients write what it has) gives no evidence, and is believed.
//!
//! A range such as `[5m]` says itself how old its samples may be. A target that is not reached any more needs none of
//! this: its series end with the next scrape.

use std::fmt;
use std::time::Duration;

use futures_util::future::join;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::time::{Instant, timeout};

use super::answer::{QueryError, one_value};
use super::rules::{ToldRule, alerting_rules};
use crate::client::{BODY_BYTES_MAX, Clients, describe, parse_url, read_body, refusal};
use crate::measured::milliseconds;

/// The oldest sample that is data: a Prometheus left at its defaults scrapes once a minute and waits ten seconds at
/// most.
pub const SAMPLE_AGE_MAX: Duration = Duration::from_secs(70);
/// The most bytes that are read of an answer with rules: thousands of them, each with its alerts.
pub const RULES_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How old the newest sample of any target is, by the clock of Prometheus and below zero: what answers every query
/// with the same number says nothing by it.
const NEWEST_SAMPLE: &str = "max(timestamp(up)) - time()";
/// What every scraped target has.
const SCRAPED: &str = "up";
/// How long ago series count as having been there.
pub(crate) const LATELY: &str = "1h";

/// A Prometheus to ask.
pub(crate) struct Prometheus {
    client: Client,
    base: Url,
    name: String,
    sample_age_max: Duration,
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prometheus").field(&self.name).finish()
    }
}

impl Prometheus {
    /// By its base URL, with or without a path.
    pub(crate) fn new(base: &str, clients: &Clients) -> Result<Self, String> {
        let mut base = parse_url(base)?;
        let client = clients.of(&base)?;
        base.set_query(None);
        base.set_fragment(None);
        let mut public = base.clone();
        // Both can only fail for a URL without a host, which no client takes.
        let _ = public.set_username("");
        let _ = public.set_password(None);
        let name = public.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, base, name, sample_age_max: SAMPLE_AGE_MAX })
    }

    /// Takes samples up to this age for data.
    pub(crate) fn with_sample_age_max(self, sample_age_max: Duration) -> Self {
        Self { sample_age_max, ..self }
    }

    /// Its base URL without credentials.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The one value of a query now, of data that is fresh.
    pub(crate) async fn fresh_value(&self, query: &str, limit: Duration) -> Result<f64, QueryError> {
        let (value, fresh) = join(self.value(query, limit), self.check_fresh(limit)).await;
        unless_old(value, &fresh)
    }

    /// Its alerting rules, evaluated over data that is fresh; those of one alert only, where it can choose.
    pub(crate) async fn fresh_rules(
        &self,
        alert: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<ToldRule>, QueryError> {
        let (rules, fresh) = join(within(limit, self.ask_rules(alert)), self.check_fresh(limit)).await;
        unless_old(rules, &fresh)
    }

    /// The one value of a query now; for whoever checks the freshness of several together.
    pub(crate) async fn value(&self, query: &str, limit: Duration) -> Result<f64, QueryError> {
        within(limit, self.ask_value(query, limit)).await
    }

    /// Fails when it is evident that nothing was scraped for too long. What it does not say is no evidence.
    pub(crate) async fn check_fresh(&self, limit: Duration) -> Result<(), QueryError> {
        let begin = Instant::now();
        let allowed = self.sample_age_max.as_secs_f64();
        let since = match self.value(NEWEST_SAMPLE, limit).await {
            Ok(newest) if newest < -allowed => format!("{:.0}s", -newest),
            Err(QueryError::NoData(_))
                if self.has_lately(SCRAPED, limit.saturating_sub(begin.elapsed())).await == Ok(true) =>
            {
                "longer than it looks back".to_owned()
            }
            _ => return Ok(()),
        };
        Err(QueryError::Unusable(format!(
            "the data is old: nothing was scraped for {since}, allowed are {allowed}s"
        )))
    }

    /// Were there series of this selector within [`LATELY`]?
    pub(crate) async fn has_lately(&self, selector: &str, limit: Duration) -> Result<bool, QueryError> {
        match self.value(&format!("count(present_over_time({selector}[{LATELY}]))"), limit).await {
            Ok(series) => Ok(series > 0.0),
            Err(QueryError::NoData(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn ask_value(&self, query: &str, limit: Duration) -> Result<f64, QueryError> {
        let url = self.endpoint("query");
        let mut asked = url.clone();
        // Prometheus need not go on for longer than we listen.
        asked
            .query_pairs_mut()
            .append_pair("query", query)
            .append_pair("timeout", &format!("{}ms", limit.as_millis().max(1)))
            .append_pair("lookback_delta", &format!("{}ms", self.sample_age_max.as_millis().max(1)));
        let form = asked.query().unwrap_or_default().to_owned();
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut response = request.body(form).send().await.map_err(|error| no_answer(&error))?;
        // A proxy in between may let only GET pass.
        if matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED) {
            response = self.client.get(asked).send().await.map_err(|error| no_answer(&error))?;
        }
        let (status, body) = read(response, BODY_BYTES_MAX).await?;
        one_value(status, &body)
    }

    async fn ask_rules(&self, alert: Option<&str>) -> Result<Vec<ToldRule>, QueryError> {
        let mut url = self.endpoint("rules");
        url.query_pairs_mut().append_pair("type", "alert");
        if let Some(name) = alert {
            url.query_pairs_mut().append_pair("rule_name[]", name);
        }
        let response = self.client.get(url).send().await.map_err(|error| no_answer(&error))?;
        let (status, body) = read(response, RULES_BYTES_MAX).await?;
        alerting_rules(status, &body)
    }

    fn endpoint(&self, name: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v1/{name}", self.base.path().trim_end_matches('/')));
        url
    }
}

/// What was found, or that it is of old data; what was missing may be missing for that.
pub(crate) fn unless_old<T>(
    found: Result<T, QueryError>,
    fresh: &Result<(), QueryError>,
) -> Result<T, QueryError> {
    match (found, fresh) {
        (Ok(_) | Err(QueryError::NoData(_)), Err(old)) => Err(old.clone()),
        (found, _) => found,
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(QueryError::NoAnswer(format!("no answer within {}", milliseconds(limit)))),
    }
}

fn no_answer(error: &reqwest::Error) -> QueryError {
    QueryError::NoAnswer(refusal(error).unwrap_or_else(|| describe(error)))
}

async fn read(response: Response, bytes_max: usize) -> Result<(StatusCode, Vec<u8>), QueryError> {
    let status = response.status();
    let body = read_body(response, true, bytes_max).await.map_err(|error| no_answer(&error))?;
    if body.cut {
        return Err(QueryError::NoAnswer(format!("the answer is longer than {bytes_max} bytes")));
    }
    Ok((status, body.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::AddressPolicy;

    #[test]
    fn its_name_has_no_credentials() {
        let clients = Clients::new(AddressPolicy::Any);
        let prometheus =
            Prometheus::new("http://user:pass@localhost:9090/prom/?a=pass#pass", &clients).expect("valid");
        assert_eq!(prometheus.name(), "http://localhost:9090/prom");
        assert_eq!(prometheus.endpoint("rules").path(), "/prom/api/v1/rules");
        assert!(!format!("{prometheus:?}").contains("pass"));
    }
}
