//! Windows against a model that goes from minute to minute and knows nothing but what the local clock shows.
//!
//! Owns the model and the days on which clocks are changed.

use std::collections::BTreeMap;

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::*;
use crate::safety::Day;

const DAYS: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

/// Zones, and when clocks were or will be changed there: by an hour, half an hour, two hours, a whole day; at midnight
/// too. And two where nothing happens.
const CHANGES: [(&str, &str); 16] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Africa/Cairo", "2026-10-29T21:00:00Z"),
    ("America/Santiago", "2026-04-05T03:00:00Z"),
    ("America/Santiago", "2026-09-06T04:00:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("UTC", "2027-01-01T00:00:00Z"),
    ("Asia/Kathmandu", "2026-07-15T12:00:00Z"),
];

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn window(fields: &str) -> Window {
    serde_saphyr::from_str(fields).expect("a window")
}

fn windows(allow: &[&str], deny: &[&str]) -> Windows {
    let read = |list: &[&str]| list.iter().map(|fields| window(fields)).collect();
    Windows { allow: read(allow), deny: read(deny) }
}

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// What the local clock shows from minute to minute, long before and after the moments that are asked for.
struct Model {
    shown: Vec<DateTime>,
}

impl Model {
    const DAYS_AROUND: i64 = 3;
    const MINUTES: usize = 2 * 3 * 24 * 60;

    /// Its first minute.
    fn first(around: Timestamp) -> Timestamp {
        around - SignedDuration::from_hours(24 * Self::DAYS_AROUND)
    }

    fn new(zone: &str, around: Timestamp) -> Self {
        let zone = ZONES.get(zone).expect("a zone");
        let first = Self::first(around);
        Self {
            shown: (0i64..)
                .take(Self::MINUTES)
                .map(|minute| zone.to_datetime(first + minutes(minute)))
                .collect(),
        }
    }

    /// For each minute: does a stretch of the window hold it? It begins with the first minute that shows `from` or
    /// later, and ends before the first that shows `to` or later; one that denies ends after the last that shows less.
    fn held(&self, window: &Window, denies: bool) -> Vec<bool> {
        let mut held = vec![false; self.shown.len()];
        let mut date = self.shown[0].date();
        while date <= self.shown[self.shown.len() - 1].date() {
            let begins = (window.days.is_empty()
                || window.days.iter().any(|day| day.weekday() == date.weekday()))
                && window.first.is_none_or(|first| date >= first)
                && window.last.is_none_or(|last| date <= last);
            if begins {
                self.add(window, date, denies, &mut held);
            }
            date = date.tomorrow().expect("a date");
        }
        held
    }

    fn add(&self, window: &Window, date: Date, denies: bool, held: &mut [bool]) {
        let from = date.to_datetime(window.from.unwrap_or(Time::midnight()));
        let to = match window.to {
            Some(to) if to > from.time() => date.to_datetime(to),
            to => date.tomorrow().expect("a date").to_datetime(to.unwrap_or(Time::midnight())),
        };
        // A stretch that begins before the model does is not complete; nobody asks so early.
        let Some(start) = self.shown.iter().position(|shown| *shown >= from) else { return };
        let end = match denies {
            false => self.shown.iter().position(|shown| *shown >= to).unwrap_or(self.shown.len()),
            true => self.shown.iter().rposition(|shown| *shown < to).map_or(0, |last| last + 1),
        };
        held.iter_mut().take(end).skip(start).for_each(|held| *held = true);
    }
}

/// For each minute around a moment: is it open?
fn model(windows: &Windows, around: Timestamp) -> (Timestamp, Vec<bool>) {
    let mut clocks: BTreeMap<String, Model> = BTreeMap::new();
    let mut any = |list: &[Window], denies: bool| {
        let each = list.iter().map(|window| {
            let clock = clocks.entry(window.timezone.clone());
            clock.or_insert_with(|| Model::new(&window.timezone, around)).held(window, denies)
        });
        each.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| *a || *b).collect())
    };
    let allowed = any(&windows.allow, false).unwrap_or_else(|| vec![true; Model::MINUTES]);
    let denied = any(&windows.deny, true).unwrap_or_else(|| vec![false; Model::MINUTES]);
    (
        Model::first(around),
        allowed.iter().zip(&denied).map(|(allowed, denied)| *allowed && !*denied).collect(),
    )
}

/// Times of day that lie on a quarter of an hour, as those do where clocks are changed, and mostly near those.
fn time() -> impl Strategy<Value = Time> {
    let hour = prop_oneof![3 => 0i8..5, 1 => 0i8..24];
    (hour, 0i8..4).prop_map(|(hour, quarter)| jiff::civil::time(hour, quarter * 15, 0, 0))
}

/// A window that mostly lies in this zone.
fn any_window(zone: &'static str) -> impl Strategy<Value = Window> {
    let zone = prop_oneof![
        3 => Just(zone),
        1 => prop::sample::select(CHANGES.as_slice()).prop_map(|(other, _)| other),
    ];
    let days = prop_oneof![Just(Vec::new()), prop::sample::subsequence(DAYS.as_slice(), 1..7)];
    (days, prop::option::of(time()), prop::option::of(time()), zone).prop_map(|(days, from, to, zone)| {
        Window {
            name: None,
            days,
            from,
            to: to.filter(|to| *to != from.unwrap_or(Time::midnight())),
            first: None,
            last: None,
            timezone: zone.to_owned(),
        }
    })
}

fn any_windows(zone: &'static str) -> impl Strategy<Value = Windows> {
    let list = || prop::collection::vec(any_window(zone), 0..3);
    (list(), list()).prop_map(|(allow, deny)| Windows { allow, deny })
}

/// A zone, and a minute near one at which clocks are changed there.
fn any_moment() -> impl Strategy<Value = (&'static str, Timestamp)> {
    let minute = prop_oneof![3 => -240i64..240, 1 => -1440i64..1440];
    (prop::sample::select(CHANGES.as_slice()), minute)
        .prop_map(|((zone, text), minute)| (zone, at(text) + minutes(minute)))
}

/// Windows and a moment to look at them.
fn any_case() -> impl Strategy<Value = (Windows, Timestamp)> {
    any_moment().prop_flat_map(|(zone, now)| (any_windows(zone), Just(now)))
}

/// One window and a moment to look at it.
fn any_single_case() -> impl Strategy<Value = (Window, Timestamp)> {
    any_moment().prop_flat_map(|(zone, now)| (any_window(zone), Just(now)))
}

proptest! {
    #[test]
    fn what_is_open_is_what_a_clock_on_the_wall_says(
        (windows, now) in any_case(), needed in 0i64..600,
    ) {
        let (first, open) = model(&windows, now);
        let minute = usize::try_from(now.duration_since(first).as_mins()).expect("after the first");
        let until = minute + usize::try_from(needed).expect("a count");
        let closes = (minute..until).find(|minute| !open[*minute]);
        match windows.at(now, minutes(needed)).expect("known zones") {
            Moment::Open { until: None } => {
                prop_assert!(open[minute], "{now} is closed");
                prop_assert_eq!(closes, None, "it closes");
            }
            Moment::Open { until: Some(until) } => {
                prop_assert!(open[minute], "{now} is closed");
                let at = closes.map(|minute| first + minutes(i64::try_from(minute).expect("a count")));
                prop_assert_eq!(Some(until.timestamp()), at);
            }
            Moment::Denied { .. } | Moment::Outside => prop_assert!(!open[minute], "{now} is open"),
        }
    }

    #[test]
    fn the_next_opening_is_the_first_minute_that_is_open_for_long_enough(
        (windows, now) in any_case(), needed in 1usize..300,
    ) {
        let (first, open) = model(&windows, now);
        let minute = usize::try_from(now.duration_since(first).as_mins()).expect("after the first");
        // The model ends; what opens only after two days is not compared.
        let fits = |start: &usize| open[*start..*start + needed].iter().all(|open| *open);
        let expected = (minute..minute + 2 * 1440).find(fits);
        let needed = minutes(i64::try_from(needed).expect("a count"));
        let found = windows.next_opening(now, needed).expect("known zones");
        match expected {
            Some(minute) => {
                let at = first + minutes(i64::try_from(minute).expect("a count"));
                prop_assert_eq!(found.map(|found| found.timestamp()), Some(at));
            }
            None => prop_assert!(found.is_none_or(|found| found.timestamp() > now + minutes(2 * 1440 - 1))),
        }
    }

    #[test]
    fn first_and_last_bound_the_dates_on_which_it_begins(
        (mut one, now) in any_single_case(), first in -3i32..3, length in 0i32..3, denies: bool,
    ) {
        let date = ZONES.get(&one.timezone).expect("a zone").to_datetime(now).date();
        one.first = Some(date + first.days());
        one.last = Some(date + (first + length).days());
        let windows = match denies {
            true => Windows { deny: vec![one], ..Windows::default() },
            false => Windows { allow: vec![one], ..Windows::default() },
        };
        let (start, open) = model(&windows, now);
        let minute = usize::try_from(now.duration_since(start).as_mins()).expect("after the first");
        let found = windows.at(now, SignedDuration::ZERO).expect("known zones");
        prop_assert_eq!(matches!(found, Moment::Open { .. }), open[minute]);
    }
}

#[test]
fn clocks_are_changed_when_the_list_says() {
    for (name, text) in CHANGES {
        let zone = ZONES.get(name).expect("a zone");
        let changed = zone.to_offset(at(text)) != zone.to_offset(at(text) - SignedDuration::from_secs(1));
        assert_eq!(changed, !matches!(name, "UTC" | "Asia/Kathmandu"), "{name} {text}");
    }
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let night = windows(&["{ days: [fri], from: '22:00', to: '02:00', timezone: Europe/Berlin }"], &[]);
    let open = |text: &str| matches!(night.at(at(text), minutes(1)), Ok(Moment::Open { until: None }));
    // 2026-07-17 is a Friday; Berlin is two hours ahead.
    assert!(open("2026-07-17T20:00:00Z") && open("2026-07-17T23:59:00Z"));
    assert!(!open("2026-07-17T19:59:00Z") && !open("2026-07-18T00:00:00Z"));
    assert!(!open("2026-07-16T23:00:00Z"), "the night of Thursday is none");
}

#[test]
fn the_hour_that_comes_twice_never_allows_more() {
    // Clocks in Berlin go back from 03:00 to 02:00 at 01:00 UTC.
    let allow = windows(&["{ from: '00:00', to: '02:30', timezone: Europe/Berlin }"], &[]);
    let deny = windows(&[], &["{ from: '00:00', to: '02:30', timezone: Europe/Berlin }"]);
    let open =
        |windows: &Windows, text: &str| matches!(windows.at(at(text), minutes(1)), Ok(Moment::Open { .. }));
    assert!(open(&allow, "2026-10-25T00:29:00Z") && !open(&allow, "2026-10-25T00:30:00Z"));
    assert!(!open(&allow, "2026-10-25T01:15:00Z"), "02:15 for the second time");
    assert!(!open(&deny, "2026-10-25T00:45:00Z"), "02:45, but 02:15 is still to come again");
    assert!(!open(&deny, "2026-10-25T01:29:00Z") && open(&deny, "2026-10-25T01:30:00Z"));
    let until_two = windows(&[], &["{ from: '00:00', to: '02:00', timezone: Europe/Berlin }"]);
    assert!(open(&until_two, "2026-10-25T00:00:00Z"), "02:00 comes again, 01:59 does not");
}

#[test]
fn a_time_that_the_clock_jumps_over_is_the_jump() {
    // Clocks in Berlin jump from 02:00 to 03:00 at 01:00 UTC, in Cairo from 00:00 to 01:00.
    let berlin = windows(&["{ from: '02:30', to: '04:00', timezone: Europe/Berlin }"], &[]);
    let opening = berlin.next_opening(at("2026-03-29T00:30:00Z"), minutes(60)).expect("a zone");
    assert_eq!(opening.expect("one").to_string(), "2026-03-29T03:00:00+02:00[Europe/Berlin]");
    let cairo = windows(&["{ days: [fri], timezone: Africa/Cairo }"], &[]);
    let opening = cairo.next_opening(at("2026-04-23T12:00:00Z"), minutes(60)).expect("a zone");
    assert_eq!(opening.expect("one").to_string(), "2026-04-24T01:00:00+03:00[Africa/Cairo]");
}

#[test]
fn windows_that_touch_are_one() {
    let week = windows(&["{ days: [mon, tue], timezone: UTC }"], &[]);
    assert_eq!(week.at(at("2026-07-13T23:00:00Z"), minutes(120)), Ok(Moment::Open { until: None }));
    let Ok(Moment::Open { until: Some(until) }) = week.at(at("2026-07-14T23:00:00Z"), minutes(120)) else {
        panic!("it closes");
    };
    assert_eq!(until.timestamp(), at("2026-07-15T00:00:00Z"));
    assert_eq!(until.weekday(), Weekday::Wednesday);
}

#[test]
fn a_blackout_is_told_by_its_name_or_its_place() {
    let windows = windows(&[], &["{ days: [mon] }", "{ name: freeze, first: 2026-12-20, last: 2027-01-03 }"]);
    let name = |text: &str| windows.at(at(text), SignedDuration::ZERO);
    assert_eq!(name("2026-12-24T12:00:00Z"), Ok(Moment::Denied { name: "freeze".into() }));
    assert_eq!(name("2026-07-13T12:00:00Z"), Ok(Moment::Denied { name: "safety.windows.deny[0]".into() }));
    let opening = windows.next_opening(at("2026-12-24T12:00:00Z"), minutes(10)).expect("a zone");
    // 2027-01-04 is a Monday.
    assert_eq!(opening.expect("one").timestamp(), at("2027-01-05T00:00:00Z"));
}

#[test]
fn what_never_opens_is_not_looked_for_for_ever() {
    let past = windows(&["{ last: 2020-01-01 }"], &[]);
    let short = windows(&["{ from: '09:00', to: '10:00' }"], &[]);
    let never = windows(&[], &["{}"]);
    let now = at("2026-07-15T12:00:00Z");
    for windows in [past, short, never] {
        assert_eq!(windows.next_opening(now, minutes(61)), Ok(None), "{windows:?}");
    }
    for now in [Timestamp::MIN, Timestamp::MAX] {
        let all_day = windows(&["{ timezone: Pacific/Apia }"], &["{ from: '12:00' }"]);
        assert!(all_day.at(now, minutes(60)).is_ok() && all_day.next_opening(now, minutes(60)).is_ok());
    }
}

#[test]
fn a_zone_that_nobody_knows_is_an_error() {
    let unknown = Err(UnknownZone("Middle-earth/Shire".into()));
    let now = at("2026-07-15T12:00:00Z");
    let one = windows(&["{ timezone: Middle-earth/Shire }"], &[]);
    assert_eq!(one.at(now, minutes(1)), unknown);
    let other = windows(&[], &["{ timezone: Middle-earth/Shire }"]);
    assert_eq!(other.at(now, minutes(1)), unknown);
    assert_eq!(other.next_opening(now, minutes(1)).map(drop), unknown.map(|_: Moment| ()));
}
