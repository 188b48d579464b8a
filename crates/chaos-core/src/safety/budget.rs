//! Error budgets: what is asked of Prometheus for an objective, and what the answers mean.
//!
//! Owns the formulas and the numbers of the SRE workbook. It never asks anybody.

use std::collections::BTreeMap;

use super::{BudgetReading, Burn, Known, Slo};
use crate::units::Percent;

/// Two windows over which a budget must not be spent faster than so: both above it would page somebody.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnWindow {
    /// The window that says that it matters, in seconds.
    pub long_seconds: u64,
    /// The window that says that it still goes on, in seconds.
    pub short_seconds: u64,
    /// The rate that is too fast: 1 spends the budget exactly within the objective's window.
    pub above: f64,
}

/// Page-level burn rates of the SRE workbook: 2 % of a 30-day budget in an hour, 5 % in six.
pub const WINDOWS: [BurnWindow; 2] = [
    BurnWindow { long_seconds: 3600, short_seconds: 300, above: 14.4 },
    BurnWindow { long_seconds: 6 * 3600, short_seconds: 1800, above: 6.0 },
];

/// Every window that the gates need an error ratio over, in seconds: those of [`WINDOWS`], then the objective's own.
pub fn seconds_of(slo: &Slo) -> [u64; 5] {
    let [page, slow] = WINDOWS;
    [page.short_seconds, page.long_seconds, slow.short_seconds, slow.long_seconds, own_seconds(slo)]
}

fn own_seconds(slo: &Slo) -> u64 {
    u64::from(slo.window_days) * 24 * 3600
}

/// PromQL for the share of bad events over the last `seconds`. Where events are counted and no bad one ever was, the
/// share is 0: clients make the series of an error with the first error. Without the counter of all events it has no
/// value, and NaN when nothing happened: neither is good news.
pub fn ratio_query(slo: &Slo, seconds: u64) -> String {
    let Slo { errors, total, .. } = slo;
    let all = format!("sum(rate({total}[{seconds}s]))");
    format!("(sum(rate({errors}[{seconds}s])) or 0 * {all}) / {all}")
}

/// How fast a budget is spent at this share of bad events: 1 spends it exactly within the objective's window. `None`
/// when there is no such number.
pub fn burn(ratio: f64, objective: Percent) -> Option<f64> {
    let budget = (100.0 - objective.value()) / 100.0;
    let rate = ratio / budget;
    (ratio >= 0.0 && rate.is_finite()).then_some(rate)
}

/// Share of the budget that is left when `ratio` is the share of bad events over the objective's window; below 0 when
/// it is overspent, `None` when there is no such number.
pub fn remaining(ratio: f64, objective: Percent) -> Option<f64> {
    burn(ratio, objective).map(|spent| 1.0 - spent)
}

/// What the shares of bad events over each of [`seconds_of`] say; a window that is not among them is not known.
pub fn reading(slo: &Slo, ratios: &BTreeMap<u64, Known<Option<f64>>>) -> BudgetReading {
    let ratio = |seconds: u64| match ratios.get(&seconds) {
        Some(Ok(Some(ratio))) if ratio.is_finite() => Ok(*ratio),
        Some(Ok(_)) => Err(format!("no data over {}", words(seconds))),
        Some(Err(error)) => Err(error.clone()),
        None => Err(format!("not asked for {}", words(seconds))),
    };
    let rate = |seconds: u64| ratio(seconds).ok().and_then(|ratio| burn(ratio, slo.objective));
    let pairs = WINDOWS.iter().flat_map(|window| [window.short_seconds, window.long_seconds]);
    BudgetReading {
        slo: slo.name.clone(),
        remaining: ratio(own_seconds(slo)).ok().and_then(|ratio| remaining(ratio, slo.objective)),
        burns: pairs.map(|over_seconds| Burn { over_seconds, rate: rate(over_seconds) }).collect(),
        error: seconds_of(slo).into_iter().find_map(|seconds| ratio(seconds).err()),
    }
}

impl BudgetReading {
    /// The burn rate over so many seconds, when it is known.
    pub fn rate(&self, over_seconds: u64) -> Option<f64> {
        let burn = self.burns.iter().find(|burn| burn.over_seconds == over_seconds)?;
        burn.rate.filter(|rate| rate.is_finite())
    }
}

/// `5m`, `6h`, `30d`.
pub(super) fn words(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slo() -> Slo {
        Slo {
            name: "checkout".into(),
            objective: Percent::new(99.9).expect("a share"),
            window_days: 30,
            errors: r#"http_requests_total{code=~"5.."}"#.into(),
            total: "http_requests_total".into(),
        }
    }

    #[test]
    fn the_thresholds_spend_two_and_five_percent_of_a_month() {
        for (window, share) in WINDOWS.iter().zip([0.02, 0.05]) {
            let month = 30.0 * 24.0 * 3600.0;
            assert!((share * month / window.long_seconds as f64 - window.above).abs() < 1e-9);
            assert_eq!(window.long_seconds / window.short_seconds, 12);
        }
    }

    #[test]
    fn a_ratio_becomes_a_burn_rate_and_a_rest() {
        let objective = slo().objective;
        let near = |value: Option<f64>, expected: f64| (value.expect("a number") - expected).abs() < 1e-6;
        assert!(near(burn(0.001, objective), 1.0));
        assert!(near(burn(0.0144, objective), 14.4));
        assert!(near(remaining(0.00025, objective), 0.75));
        assert!(near(remaining(0.002, objective), -1.0));
        assert!(near(remaining(0.0, objective), 1.0));
        for ratio in [f64::NAN, f64::INFINITY, -0.1] {
            assert_eq!((burn(ratio, objective), remaining(ratio, objective)), (None, None), "{ratio}");
        }
        assert_eq!(burn(0.0, Percent::new(100.0).expect("a share")), None, "no budget has no burn rate");
    }

    #[test]
    fn prometheus_is_asked_for_a_ratio_of_rates() {
        assert_eq!(
            ratio_query(&slo(), 300),
            r#"(sum(rate(http_requests_total{code=~"5.."}[300s])) or 0 * sum(rate(http_requests_total[300s]))) / sum(rate(http_requests_total[300s]))"#
        );
        assert_eq!(seconds_of(&slo()), [300, 3600, 1800, 21_600, 2_592_000]);
    }

    #[test]
    fn a_window_without_data_is_not_known_and_says_why() {
        let known = || seconds_of(&slo()).into_iter().map(|seconds| (seconds, Ok(Some(0.0005))));
        let all = reading(&slo(), &known().collect());
        let half = |value: Option<f64>| value.is_some_and(|value| (value - 0.5).abs() < 1e-6);
        assert!(half(all.remaining) && all.error.is_none(), "{all:?}");
        assert!(all.burns.iter().all(|burn| half(burn.rate)), "{all:?}");
        for (gap, why) in [
            (Ok(None), "no data over 1h"),
            (Ok(Some(f64::NAN)), "no data over 1h"),
            (Err("connection refused".to_owned()), "connection refused"),
        ] {
            let mut ratios: BTreeMap<u64, Known<Option<f64>>> = known().collect();
            ratios.insert(3600, gap);
            let reading = reading(&slo(), &ratios);
            assert_eq!((reading.rate(3600), reading.error.as_deref()), (None, Some(why)));
            assert!(reading.rate(300).is_some());
        }
    }
}
