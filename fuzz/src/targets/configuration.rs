//! The configuration file.
//!
//! Promises: what is accepted passes its own checks, has a threshold of 0 to 1 and reads back the same; its windows
//! answer for any moment, and what they call the next opening is open; a refusal is brief.

use chaos_core::safety::{Moment, Windows};
use chaos_server::FileConfig;
use jiff::{SignedDuration, Timestamp};

use super::{is_brief, survives_json};

/// Seconds since 1970 at which windows are asked: the days on which the clocks of Europe change, and a leap day.
const MOMENTS: [i64; 3] = [1_774_744_200, 1_792_888_200, 1_835_395_199];
/// No run needs more: a week each of baseline, faults and recovery.
const LONGEST: SignedDuration = SignedDuration::from_hours(3 * 7 * 24);

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match FileConfig::parse(text) {
        Ok(config) => {
            assert_eq!(config.check(), Ok(()));
            assert!((0.0..=1.0).contains(&config.threshold()));
            survives_json(&config);
            let yaml = serde_saphyr::to_string(&config).expect("what was read can be written");
            assert_eq!(FileConfig::parse(&yaml).as_ref(), Ok(&config), "{yaml}");
            let windows = config.safety.policy().windows;
            if !windows.is_empty() {
                check_windows(&windows);
            }
        }
        Err(error) => is_brief(&error.to_string()),
    }
}

fn check_windows(windows: &Windows) {
    // The ends of the calendar have no time before or after them that a promise could be made of.
    for end in [Timestamp::MIN, Timestamp::MAX] {
        let _ = (windows.at(end, LONGEST), windows.next_opening(end, LONGEST));
    }
    for seconds in MOMENTS {
        check_moment(windows, Timestamp::from_second(seconds).expect("within the calendar"));
    }
}

fn check_moment(windows: &Windows, now: Timestamp) {
    let moment = windows.at(now, SignedDuration::from_hours(1)).expect("a zone that was checked");
    let opening = windows.next_opening(now, SignedDuration::ZERO).expect("a zone that was checked");
    let opening = opening.map(|opening| opening.timestamp());
    match moment {
        Moment::Open { until } => {
            assert_eq!(opening, Some(now));
            assert!(until.is_none_or(|until| until.timestamp() > now));
        }
        Moment::Denied { .. } | Moment::Outside => {
            let Some(opening) = opening else { return };
            assert!(opening > now, "the next opening is {opening}, but {now} is not open");
            let then = windows.at(opening, SignedDuration::ZERO).expect("a zone that was checked");
            assert!(matches!(then, Moment::Open { .. }), "{then:?} at the opening {opening}");
        }
    }
}
