//! The live view on a terminal: where the run is, what is active, what is measured.
//!
//! Owns the drawing. It never reads an event.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::view::View;
use crate::output;

/// The drawn lines.
pub(super) struct Live {
    lines: MultiProgress,
    head: ProgressBar,
    faults: ProgressBar,
    probes: ProgressBar,
    bar: ProgressStyle,
    spinner: ProgressStyle,
}

/// A template that does not parse is a plain line.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("━╸ ")
}

impl Live {
    /// Draws nothing yet.
    pub(super) fn new() -> Self {
        let lines = MultiProgress::new();
        let plain = style("  {wide_msg}");
        let add = || {
            let line = lines.add(ProgressBar::new(1));
            line.set_style(plain.clone());
            line
        };
        let (head, faults, probes) = (add(), add(), add());
        let bar = style("{spinner} {prefix} {bar:30} {msg}");
        let spinner = style("{spinner} {prefix} {wide_msg}");
        head.set_style(spinner.clone());
        head.enable_steady_tick(Duration::from_millis(100));
        Self { lines, head, faults, probes, bar, spinner }
    }

    /// Draws the run as it is now.
    pub(super) fn draw(&self, view: &View) {
        let seconds = |duration: Duration| output::seconds(duration.as_secs_f64());
        self.head.set_prefix(format!("{} {:<10}", view.key, view.phase.to_string()));
        if let Some((active, whole)) = view.active() {
            self.head.set_style(self.bar.clone());
            self.head.set_length(u64::try_from(whole.as_millis()).unwrap_or(u64::MAX).max(1));
            self.head.set_position(u64::try_from(active.as_millis()).unwrap_or(u64::MAX));
            self.head.set_message(format!(
                "{} of {}, {} left",
                seconds(active),
                seconds(whole),
                seconds(whole - active)
            ));
        } else {
            self.head.set_style(self.spinner.clone());
            self.head.set_message(seconds(view.elapsed()));
        }
        let score = view.score.map_or_else(|| "unknown".to_owned(), |score| format!("{score:.2}"));
        let ready = view.ready.map(|ready| format!(", {ready} ready")).unwrap_or_default();
        self.faults.set_message(format!("faults: {}   health: {score}{ready}", view.injections()));
        let probes: Vec<String> = view
            .probes
            .iter()
            .map(|(name, counts)| format!("{name} {}/{}", counts.passed, counts.measured))
            .collect();
        self.probes.set_message(if probes.is_empty() {
            String::new()
        } else {
            format!("probes: {}", probes.join("   "))
        });
    }

    /// A line above the view that stays.
    pub(super) fn say(&self, text: &str) {
        let _ = self.lines.println(text);
    }

    /// Takes everything off the screen.
    pub(super) fn clear(self) {
        for line in [&self.head, &self.faults, &self.probes] {
            line.finish_and_clear();
        }
        let _ = self.lines.clear();
    }
}
