//! Signals of an app for which none are declared: its targets, its errors, its latency.
//!
//! Owns the queries and their bounds. Each is of series that many apps have; where an app never had them, the signal does
//! not apply. It never asks.

use super::SignalConfig;

/// What rates are taken over: two scrapes fit in, also where one is made each minute.
const OVER: &str = "2m";

/// A signal, and the series that it is of.
#[derive(Debug)]
pub(super) struct DefaultSignal {
    pub(super) config: SignalConfig,
    pub(super) series: String,
}

/// The signals of the app that Prometheus scrapes as this job.
pub(super) fn signals(app: &str) -> [DefaultSignal; 3] {
    let job = format!("job={}", quoted(app));
    let up = format!("up{{{job}}}");
    let requests = format!("http_requests_total{{{job},code!=\"\"}}");
    let errors = format!("http_requests_total{{{job},code=~\"5..\"}}");
    let buckets = format!("http_request_duration_seconds_bucket{{{job}}}");
    let rate = |series: &str| format!("sum(rate({series}[{OVER}]))");
    // Where no request came, none failed and none was slow; the division would say that this is not a number.
    let (all, counted) = (rate(&requests), rate(&buckets));
    let ratio = format!("({} or vector(0)) / ({all} > 0) or {all} == 0", rate(&errors));
    let slow = format!("histogram_quantile(0.95, sum by (le) (rate({buckets}[{OVER}])))");
    let slow = format!("{slow} >= 0 or {counted} == 0");
    [
        // Half of the targets down is what a run may do to them (`maxAffected`), and is no reason to stop it.
        signal("up", format!("avg({up})"), (0.5, 0.0), up),
        signal("error-ratio", ratio, (0.01, 0.10), requests),
        signal("latency-p95-seconds", slow, (0.5, 2.5), buckets),
    ]
}

fn signal(name: &str, query: String, (good, bad): (f64, f64), series: String) -> DefaultSignal {
    let config = SignalConfig { name: name.to_owned(), query, good, bad, weight: 1.0, critical: false };
    DefaultSignal { config, series }
}

/// A string of PromQL.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_signal_that_could_be_declared() {
        let mut names = std::collections::BTreeSet::new();
        for default in signals("orchestrator") {
            assert_eq!(default.config.problem(), None);
            assert!(names.insert(default.config.name));
            assert!(default.config.query.contains(&default.series));
        }
    }

    #[test]
    fn the_name_of_the_app_can_not_leave_its_quotes() {
        let [up, ..] = signals("a\"} or vector(1) #\\\n");
        assert_eq!(up.series, r#"up{job="a\"} or vector(1) #\\\n"}"#);
    }
}
