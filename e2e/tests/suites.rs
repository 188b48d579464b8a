//! Several documents in one command: how many at a time, what a deviation ends, one table, one exit code.

use chaos_api::ExperimentDetail;
use chaos_core::run::Verdict;
use e2e::terminal::Terminal;
use e2e::world::House;

const SOAK: &str = env!("CARGO_BIN_EXE_soak");

/// Three systems, a folder with a document for each, and how long each takes. One that deviates asks a port where
/// nobody listens.
struct Suite {
    terminal: Terminal,
    _houses: Vec<House>,
    folder: String,
}

fn suite(documents: [(&str, u32, bool); 3]) -> Suite {
    let terminal = Terminal::new();
    let folder = terminal.folder.path().join("suite");
    std::fs::create_dir(&folder).expect("a folder");
    let mut houses = Vec::new();
    for (name, seconds, holds) in documents {
        let house = House::start(SOAK.into(), 0, 2).expect("a sample system");
        let probe = "- { name: nobody, http: { url: \"http://127.0.0.1:9/\" }, every: 200ms, timeout: 100ms, \
             during: [chaos] }";
        let probes = if holds { String::new() } else { format!("  probes:\n    {probe}\n") };
        let document = format!(
            "apiVersion: chaos.engineering/v1\nkind: Experiment\nmetadata: {{ name: {name} }}\nspec:\n  \
             target: {{ {} }}\n  faults: [ {{ process_pause: {{}} }} ]\n  duration: {seconds}s\n{probes}  \
             recovery: {{ timeout: 10s, hold: 0s }}\n",
            house.target_yaml()
        );
        std::fs::write(folder.join(format!("{name}.yaml")), document).expect("a document");
        houses.push(house);
    }
    Suite { terminal, _houses: houses, folder: folder.display().to_string() }
}

#[test]
fn a_suite_that_is_told_to_stop_ends_at_a_deviation_with_one_table_and_one_exit_code() {
    e2e::in_a_room!();
    let suite = suite([("first", 4, true), ("second", 1, false), ("third", 1, true)]);
    let run = ["run", "-f", &suite.folder, "--parallel", "2", "--on-deviation", "stop"];
    let ended = suite.terminal.expect(3, &run);
    let table = ended.output.rsplit("NAME ").next().unwrap_or_default();
    let verdict_of = |name: &str| table.lines().find(|line| line.starts_with(name)).map(str::to_owned);
    let says = |name: &str, verdict: &str| verdict_of(name).is_some_and(|line| line.contains(verdict));
    // What ran beside the one that deviated went on to its end; the third never began.
    assert!(says("first", "held") && says("second", "deviated"), "{ended:?}");
    assert_eq!(verdict_of("third"), None, "{ended:?}");
    assert_ne!(suite.terminal.run(&["status", "third"]).code, Some(0), "it never was");
    let rows = suite.terminal.json(&["list"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "{rows}");
}

#[test]
fn a_suite_goes_on_after_a_deviation_and_runs_two_at_a_time_and_never_three() {
    e2e::in_a_room!();
    let suite = suite([("first", 3, true), ("second", 3, false), ("third", 1, true)]);
    let run = ["run", "-f", &suite.folder, "--parallel", "2", "--output", "json"];
    let ended = suite.terminal.expect(3, &run);
    let rows: Vec<ExperimentDetail> = serde_json::from_str(&ended.output).expect("one array");
    let row = |name: &str| &rows.iter().find(|row| row.record.name == name).expect("its row").record;
    let (first, second, third) = (row("first"), row("second"), row("third"));
    let verdicts = [first, second, third].map(|row| row.verdict);
    assert_eq!(verdicts, [Some(Verdict::Held), Some(Verdict::Deviated), Some(Verdict::Held)]);
    assert!(second.started_at < first.finished_at, "the first two ran together: {rows:?}");
    let earlier_end = first.finished_at.min(second.finished_at);
    assert!(third.started_at >= earlier_end, "never three at a time: {rows:?}");
}
