//! A journal as the store and the wire hold it: the header in the first line, a record in each of the others.
//!
//! Promises: any sequence of records is replayed or refused, twice to the same state; what replays can be summed up,
//! measured and reported in any form; header, records and state read back the same from their JSON.

use chaos_analysis::report::{Format, render};
use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::run::RunState;

use super::survives_json;

pub(crate) fn check(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Some(Ok(header)) = lines.next().map(serde_json::from_slice::<RunHeader>) else { return };
    survives_json(&header);
    let _ = header.experiment.validate();
    let records: Vec<Record> = lines.map_while(|line| serde_json::from_slice(line).ok()).collect();
    records.iter().for_each(survives_json);
    check_records(&header, &records);
}

/// The promises on a journal that was read, or made.
pub(crate) fn check_records(header: &RunHeader, records: &[Record]) {
    let replayed = RunState::replay(header, records);
    assert_eq!(replayed, RunState::replay(header, records));
    if let Ok(state) = &replayed {
        let elapsed_ms = records.last().map_or(0, |record| record.elapsed_ms);
        let summary = RunSummary::of(header, state, elapsed_ms);
        assert_eq!(summary.exit_code.is_some(), summary.verdict.is_some());
        survives_json(&summary);
    }
    // One form for each input: all of them would take most of the time.
    let format = Format::ALL[records.len() % Format::ALL.len()];
    let report = render(format, header, records);
    assert_eq!(report.is_ok(), replayed.is_ok(), "{}: {report:?}", format.name());
}
