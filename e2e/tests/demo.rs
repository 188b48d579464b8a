//! `chaos demo`, as a user first meets it. Each test has the machine to itself as far as this suite goes: what the demo
//! shows is a matter of latencies.

use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::terminal::{Terminal, get, wait_for};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_demo_gives_four_verdicts_and_leaves_nothing() {
    let _alone = alone();
    e2e::in_a_room!();
    let terminal = Terminal::new();
    let scope = e2e::snapshot::Scope { states: vec![terminal.state.join("demo")], ..Default::default() };
    let before = e2e::snapshot::Snapshot::take(&scope).unwrap();
    let begun = std::time::Instant::now();
    let ended = terminal.expect(0, &["demo"]);
    assert!(begun.elapsed().as_secs() <= 120, "{:?}", begun.elapsed());
    for scenario in ["pod resilience", "resource limits", "circuit breaker", "safety block"] {
        assert!(ended.output.to_lowercase().contains(scenario), "no {scenario}: {}", ended.output);
    }
    let after = e2e::snapshot::Snapshot::take(&scope).unwrap();
    assert_eq!(e2e::snapshot::diff(&before, &after), []);
}

#[test]
fn the_breaker_scenario_deviates_without_its_breaker() {
    let _alone = alone();
    e2e::in_a_room!();
    let terminal = Terminal::new();
    terminal.expect(3, &["demo", "--scenario", "circuit-breaker", "--breaker", "off"]);
}

#[test]
fn a_demo_that_is_kept_can_be_broken_from_a_second_terminal() {
    let _alone = alone();
    e2e::in_a_room!();
    let scope = e2e::snapshot::Scope::default();
    let before = e2e::snapshot::Snapshot::take(&scope).unwrap();
    let terminal = Terminal::new();
    let mut demo = terminal.start(&["demo", "--keep"]);
    wait_for("the demo", || get("127.0.0.1:8080", "/health").is_some());
    let arguments =
        ["run", "--type", "pod_kill", "--name", "orchestrator-test", "--target-app", "orchestrator"];
    terminal.expect(0, &[&arguments[..], &["--duration", "3", "--safety-threshold", "0.8"]].concat());
    demo.signal(nix::sys::signal::Signal::SIGINT);
    let ended = demo.end();
    assert!(matches!(ended.code, Some(0 | 130)), "{ended:?}");
    let after = e2e::snapshot::Snapshot::take(&scope).unwrap();
    assert_eq!(e2e::snapshot::diff(&before, &after), []);
}
