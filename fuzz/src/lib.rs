//! What holds for every input that a stranger may send: one target for each reader of foreign bytes.
//!
//! Owns the targets and their kept inputs: `corpus/<target>` are seeds, `regressions/<target>` is what once broke one. The
//! test of this crate feeds all of them to the targets as they ship; `cargo xtask fuzz` searches on with libFuzzer,
//! instrumented by the stable compiler, so it needs a C++ compiler and nothing else. A target is one file in `targets/`
//! with `check(bytes)`, which panics when a promise is broken, one line in [`TARGETS`], and a folder of seeds.
//!
//! It never opens a file, a socket or a process: what reads those in the product is reached behind that step.

mod targets;

use targets::{
    agent_frame, api_body, audit_log, configuration, document, event_stream, holder_line, host_file,
    http_answer, journal, lock_file, netlink_answer, page_cursor, prometheus_answer, replay, undo_record,
};

/// The variable that names the target of the instrumented program.
const CHOICE: &str = "CHAOS_FUZZ_TARGET";

/// A reader of foreign bytes, and what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is also the name of its folders.
    pub name: &'static str,
    check: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 16] = [
    Target { name: "agent_frame", check: agent_frame::check },
    Target { name: "api_body", check: api_body::check },
    Target { name: "audit_log", check: audit_log::check },
    Target { name: "configuration", check: configuration::check },
    Target { name: "document", check: document::check },
    Target { name: "event_stream", check: event_stream::check },
    Target { name: "holder_line", check: holder_line::check },
    Target { name: "host_file", check: host_file::check },
    Target { name: "http_answer", check: http_answer::check },
    Target { name: "journal", check: journal::check },
    Target { name: "lock_file", check: lock_file::check },
    Target { name: "netlink_answer", check: netlink_answer::check },
    Target { name: "page_cursor", check: page_cursor::check },
    Target { name: "prometheus_answer", check: prometheus_answer::check },
    Target { name: "replay", check: replay::check },
    Target { name: "undo_record", check: undo_record::check },
];

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }

    /// Feeds it one input.
    ///
    /// # Panics
    /// When the input breaks a promise: that is what is looked for.
    pub fn check(self, bytes: &[u8]) {
        (self.check)(bytes);
    }
}

/// The target that this process is for.
///
/// # Panics
/// When the variable `CHAOS_FUZZ_TARGET` names none.
pub fn chosen() -> Target {
    static CHOSEN: std::sync::OnceLock<Target> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var(CHOICE).unwrap_or_default();
        Target::named(&name).unwrap_or_else(|| panic!("{CHOICE}={name:?} names no target"))
    })
}
