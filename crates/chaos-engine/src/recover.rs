//! Closes the journals of runs whose process died: what became of each fault is written, then the end.
//!
//! Owns nothing but these last records. The faults themselves were undone by the node.

use std::collections::BTreeMap;

use chaos_core::journal::{Record, RunHeader, RunSummary};
use chaos_core::port::{Clock, Evidence, InjectionReport, Store, StoreError};
use chaos_core::run::{Event, Failure, InjectionId, InjectionState, Phase, RunState};

/// Writes the end of an abandoned run, from what the node found when it swept. An injection without an undo record was
/// never applied or is proven undone: the record goes only then.
///
/// # Errors
/// When the journal can't be written.
pub async fn close_abandoned(
    store: &dyn Store,
    clock: &dyn Clock,
    header: &RunHeader,
    records: &[Record],
    swept: &[InjectionReport],
) -> Result<RunSummary, StoreError> {
    let mut state = RunState::replay(header, records).map_err(|error| StoreError {
        action: format!("read the journal of run {}", header.run),
        reason: error.to_string(),
        conflict: true,
    })?;
    let found: BTreeMap<&InjectionId, &InjectionReport> =
        swept.iter().map(|one| (&one.injection, one)).collect();
    let elapsed_ms = records.last().map_or(0, |record| record.elapsed_ms);
    let mut closing = Vec::new();
    let mut push = |state: &mut RunState, event: Event| {
        if let Ok(effects) = state.step(header, elapsed_ms, event.clone()) {
            let seq = records.len() as u64 + closing.len() as u64 + 1;
            closing.push(Record { seq, at: clock.now(), elapsed_ms, event, effects });
        }
    };
    push(
        &mut state,
        Event::Failed(Failure::Abandoned("the process that ran it died; everything was undone".into())),
    );
    let open: Vec<InjectionId> = state.unfinished().map(|injection| injection.id.clone()).collect();
    if state.phase == Phase::Reverting {
        for id in open {
            let report = found.get(&id).map_or_else(|| without_record(&id), |report| (*report).clone());
            push(&mut state, Event::Injection(report));
        }
    }
    let summary = RunSummary::of(header, &state, elapsed_ms);
    store.append(&header.run, &closing, &summary).await?;
    Ok(summary)
}

fn without_record(id: &InjectionId) -> InjectionReport {
    InjectionReport {
        injection: id.clone(),
        state: InjectionState::Reverted,
        evidence: vec![Evidence::new(
            "undo records of the node",
            "none left: never applied, or proven undone",
        )],
        error: None,
        took_ms: 0.0,
    }
}
