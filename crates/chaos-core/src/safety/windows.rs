//! Windows of time: what is open at a moment, and when something opens next.
//!
//! Owns the calendar: zones, days that are longer or shorter by daylight saving, windows over midnight. It reads no
//! clock and no file: the zones are those that the program was built with.
//!
//! A window is a row of stretches, one for each date on which it begins. A stretch begins when the local clock first
//! shows its `from`; where the clock jumps over it, at the jump. Its end is where the clock first shows `to` when it
//! allows, and where it shows less for the last time when it denies, so that an hour that comes twice never allows
//! more.

use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

use super::{Window, Windows};

/// How far ahead an opening is looked for: a yearly one is found.
pub const HORIZON_DAYS: i32 = 400;
/// A stretch begins at most so many days before the moment that it holds: it may last a day, and a clock may be set
/// back by nearly another.
const DAYS_BACK: i32 = 2;

/// The zones of this build: the same input gives the same decision wherever it is made.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A zone that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}")]
pub struct UnknownZone(pub String);

/// What windows say of a moment and of the time after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Within one that denies.
    Denied {
        /// Its name, or its place in the policy.
        name: String,
    },
    /// Within none that allows.
    Outside,
    /// It is open.
    Open {
        /// When it closes, if that is before the time that was asked for is over.
        until: Option<Zoned>,
    },
}

impl Windows {
    /// There is none, so everything is open at any time.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Is it open at `now`, and for as long as `needed`?
    ///
    /// # Errors
    /// A window has a zone that is not known.
    pub fn at(&self, now: Timestamp, needed: SignedDuration) -> Result<Moment, UnknownZone> {
        let until = now.saturating_add(needed).unwrap_or(Timestamp::MAX);
        let open = self.open(now, until)?;
        if let Some(stretch) = open.into_iter().find(|stretch| stretch.holds(now)) {
            let closes = (stretch.end < until).then(|| stretch.end.to_zoned(stretch.zone));
            return Ok(Moment::Open { until: closes });
        }
        for (index, window) in self.deny.iter().enumerate() {
            if stretches(window, Reading::Last, now, now)?.iter().any(|stretch| stretch.holds(now)) {
                let name = window.name.clone().unwrap_or_else(|| format!("safety.windows.deny[{index}]"));
                return Ok(Moment::Denied { name });
            }
        }
        Ok(Moment::Outside)
    }

    /// The first moment from `from` on at which it is open for as long as `needed`, in the zone of the window that
    /// opens it; `None` when there is none within [`HORIZON_DAYS`].
    ///
    /// # Errors
    /// A window has a zone that is not known.
    pub fn next_opening(
        &self,
        from: Timestamp,
        needed: SignedDuration,
    ) -> Result<Option<Zoned>, UnknownZone> {
        let horizon = SignedDuration::from_hours(i64::from(HORIZON_DAYS) * 24);
        let until = from.saturating_add(horizon).unwrap_or(Timestamp::MAX);
        let long_enough = |stretch: &Stretch| stretch.end.duration_since(stretch.start.max(from)) >= needed;
        let found = self.open(from, until)?.into_iter().find(long_enough);
        Ok(found.map(|stretch| stretch.start.max(from).to_zoned(stretch.zone)))
    }

    /// Everything that is open between two moments: sorted, apart from each other, the last one possibly longer in
    /// truth than it is here.
    fn open(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Stretch>, UnknownZone> {
        let allowed = match self.allow.as_slice() {
            [] => vec![Stretch { start: from, end: until.max(after(from)), zone: TimeZone::UTC }],
            windows => all(windows, Reading::First, from, until)?,
        };
        Ok(without(allowed, &all(&self.deny, Reading::Last, from, until)?))
    }
}

/// A moment later: what begins at a moment lasts at least that long.
fn after(moment: Timestamp) -> Timestamp {
    moment.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX)
}

/// Is there a zone of this name?
pub(super) fn is_zone(name: &str) -> bool {
    zone(name).is_ok()
}

/// Every name of a zone.
pub(super) fn zone_names() -> Vec<String> {
    ZONES.available().map(|zone| zone.as_str().to_owned()).collect()
}

fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    ZONES.get(name).map_err(|_| UnknownZone(name.to_owned()))
}

/// From a moment (inclusive) to another (exclusive), and the zone that it is told in.
#[derive(Debug, Clone)]
struct Stretch {
    start: Timestamp,
    end: Timestamp,
    zone: TimeZone,
}

impl Stretch {
    fn holds(&self, moment: Timestamp) -> bool {
        self.start <= moment && moment < self.end
    }
}

/// Which of two moments an ambiguous time of day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    First,
    Last,
}

/// The stretches of several windows, joined where they touch.
fn all(
    windows: &[Window],
    end: Reading,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Stretch>, UnknownZone> {
    let mut stretches_of_all = Vec::new();
    for window in windows {
        stretches_of_all.extend(stretches(window, end, from, until)?);
    }
    stretches_of_all.sort_by_key(|stretch| (stretch.start, stretch.end));
    let mut joined: Vec<Stretch> = Vec::new();
    for stretch in stretches_of_all {
        match joined.last_mut() {
            Some(last) if stretch.start <= last.end => last.end = last.end.max(stretch.end),
            _ => joined.push(stretch),
        }
    }
    Ok(joined)
}

/// What is left of `allowed`. Both are sorted and apart.
fn without(allowed: Vec<Stretch>, denied: &[Stretch]) -> Vec<Stretch> {
    let (mut open, mut denied) = (Vec::new(), denied.iter().peekable());
    for mut rest in allowed {
        while denied.next_if(|one| one.end <= rest.start).is_some() {}
        while let Some(one) = denied.peek().filter(|one| one.start < rest.end) {
            if rest.start < one.start {
                open.push(Stretch { end: one.start, ..rest.clone() });
            }
            rest = Stretch { start: one.end.min(rest.end), zone: one.zone.clone(), ..rest };
            if one.end > rest.end {
                break;
            }
            denied.next();
        }
        if rest.start < rest.end {
            open.push(rest);
        }
    }
    open
}

/// The stretches of a window that have a part between two moments, both inclusive.
fn stretches(
    window: &Window,
    end: Reading,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Stretch>, UnknownZone> {
    let zone = zone(&window.timezone)?;
    let earliest = zone.to_datetime(from).date().saturating_sub(DAYS_BACK.days());
    let latest = zone.to_datetime(until).date();
    let begins_on =
        |date: &Date| window.days.is_empty() || window.days.iter().any(|day| day.weekday() == date.weekday());
    let mut date = window.first.map_or(earliest, |first| first.max(earliest));
    let last = window.last.map_or(latest, |last| last.min(latest));
    let mut found = Vec::new();
    while date <= last {
        if begins_on(&date) {
            let stretch = stretch(window, &zone, date, end);
            found.extend(stretch.filter(|one| one.start <= until && from < one.end && one.start < one.end));
        }
        let Ok(tomorrow) = date.tomorrow() else { break };
        date = tomorrow;
    }
    Ok(found)
}

/// The stretch that begins on a date; `None` at the end of the calendar.
fn stretch(window: &Window, zone: &TimeZone, date: Date, end: Reading) -> Option<Stretch> {
    let from = window.from.unwrap_or(Time::midnight());
    let to = window.to.unwrap_or(Time::midnight());
    let last_date = if to > from { date } else { date.tomorrow().ok()? };
    Some(Stretch {
        start: instant(zone, date.to_datetime(from), Reading::First)?,
        end: instant(zone, last_date.to_datetime(to), end)?,
        zone: zone.clone(),
    })
}

/// When the local clock first shows this, or last shows less; where it jumps over it, the jump.
fn instant(zone: &TimeZone, shown: DateTime, reading: Reading) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(shown);
    let (offset, earlier, later) = (ambiguous.offset(), ambiguous.earlier().ok()?, ambiguous.later().ok()?);
    match (offset, reading) {
        (AmbiguousOffset::Gap { .. }, _) => zone.following(earlier).next().map(|jump| jump.timestamp()),
        (AmbiguousOffset::Unambiguous { .. }, _) | (_, Reading::First) => Some(earlier),
        (AmbiguousOffset::Fold { .. }, Reading::Last) => {
            // Set back to this very time, the clock shows nothing less afterwards.
            let just_before = later.saturating_sub(SignedDuration::from_nanos(1)).ok()?;
            Some(if zone.to_datetime(just_before) < shown { later } else { earlier })
        }
    }
}

#[cfg(test)]
mod tests;
