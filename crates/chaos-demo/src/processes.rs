//! Owns the finding of a system's processes by the family mark in their arguments. It never signals any.

use std::{ffi::OsStr, fs};

use crate::is_orchestrator;

/// The argument that carries the mark.
pub(crate) const FAMILY: &str = "--family";

/// The living processes of `family`, in no order. A zombie has no arguments any more and is not among them.
pub(crate) fn of_family(family: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| arguments(*pid).is_some_and(|arguments| is_of(&arguments, family)))
        .collect()
}

/// Whether `pid` is alive and runs as one of these systems, whichever family.
pub(crate) fn is_ours(pid: u32) -> bool {
    arguments(pid).is_some_and(|arguments| has_our_name(&arguments))
}

fn arguments(pid: u32) -> Option<Vec<String>> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(raw.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}

fn is_of(arguments: &[String], family: &str) -> bool {
    has_our_name(arguments) && arguments.windows(2).any(|pair| pair[0] == FAMILY && pair[1] == family)
}

fn has_our_name(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|name| is_orchestrator(OsStr::new(name)))
}
