//! The audit log.

use std::collections::BTreeMap;

use chaos_core::access::{Actor, Role};
use chaos_core::audit::{AuditEntry, AuditEvent, GENESIS};
use chaos_core::port::Store as _;
use futures_util::future::join_all;

use super::{assert_refused, at, finished, raw, records, run};
use crate::{AUDIT_EVENT_BYTES_MAX, AuditError, SqlStore};

/// Against an empty log.
pub(super) async fn all(store: &SqlStore) {
    an_empty_log_is_whole(store).await;
    an_entry_is_bound_to_the_one_before(store).await;
    concurrent_entries_make_one_chain(store).await;
    a_log_is_whole_while_it_is_written(store).await;
    a_changed_byte_is_found_at_its_entry(store).await;
    a_missing_tail_is_found(store).await;
    an_entry_by_another_hand_is_found(store).await;
    an_event_may_not_be_too_large(store).await;
}

pub(crate) fn event(action: &str) -> AuditEvent {
    AuditEvent {
        at: at(1_700_000_000_000),
        actor: Actor { name: "ada".to_owned(), role: Role::Operator },
        action: action.to_owned(),
        subject: "default/one".to_owned(),
        status: Some(201),
        detail: BTreeMap::from([("reason".to_owned(), "an 'ü' and a \0".to_owned())]),
    }
}

async fn whole(store: &SqlStore) -> Vec<AuditEntry> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    loop {
        let page = store.audit_page(entries.last().map_or(0, |entry| entry.seq), 30).await.unwrap();
        assert!(page.len() <= 30);
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

async fn tampered(store: &SqlStore) -> (u64, String) {
    match store.verify_audit().await {
        Err(AuditError::Tampered(tampered)) => (tampered.seq, tampered.reason),
        other => panic!("{other:?}"),
    }
}

async fn an_empty_log_is_whole(store: &SqlStore) {
    assert_eq!(store.verify_audit().await.unwrap(), 0);
    assert_eq!(store.audit_head().await.unwrap(), None);
    assert!(store.audit_page(0, 10).await.unwrap().is_empty());
}

async fn an_entry_is_bound_to_the_one_before(store: &SqlStore) {
    let one = store.append_audit(&event("lever.engage")).await.unwrap();
    assert_eq!((one.seq, &*one.previous), (1, GENESIS));
    assert_eq!(one.event().unwrap(), event("lever.engage"));
    let two = store.append_audit(&event("lever.release")).await.unwrap();
    assert_eq!((two.seq, &two.previous), (2, &one.hash));
    assert_eq!(store.audit_head().await.unwrap(), Some((2, two.hash.clone())));
    assert_eq!(store.audit_page(0, 10).await.unwrap(), [one, two.clone()]);
    assert_eq!(store.audit_page(1, 10).await.unwrap(), [two]);
    assert_eq!(store.verify_audit().await.unwrap(), 2);
}

async fn concurrent_entries_make_one_chain(store: &SqlStore) {
    let header = run(store, "audited", "audited", "one").await;
    // Between them appends, some of which are refused.
    let entries = join_all((0..200).map(async |number| {
        let (records, summary) = (records([number / 20 + 1]), finished(&header));
        let append = store.append(&header.run, &records, &summary);
        let event = event(&format!("action.{number}"));
        let (entry, _) = tokio::join!(store.append_audit(&event), append);
        entry.unwrap()
    }))
    .await;
    assert_eq!(store.verify_audit().await.unwrap(), 202);
    let stored = whole(store).await;
    assert_eq!(stored.iter().map(|entry| entry.seq).collect::<Vec<_>>(), (1..=202).collect::<Vec<_>>());
    // What each was answered is what is stored.
    assert!(entries.iter().all(|entry| stored.contains(entry)));
}

async fn a_log_is_whole_while_it_is_written(store: &SqlStore) {
    let writing = join_all((0..50).map(async |_| store.append_audit(&event("more")).await.unwrap()));
    let verifying = async {
        for _ in 0..5 {
            store.verify_audit().await.unwrap();
        }
    };
    tokio::join!(writing, verifying);
    assert_eq!(store.verify_audit().await.unwrap(), 252);
}

async fn a_changed_byte_is_found_at_its_entry(store: &SqlStore) {
    for (from, to) in [("\"ada\"", "\"eve\""), ("201", "200")] {
        raw(store, &format!("UPDATE audit SET event = replace(event, '{from}', '{to}') WHERE seq = 100"))
            .await;
        assert_eq!(tampered(store).await, (100, "its content does not have its hash".to_owned()));
        raw(store, &format!("UPDATE audit SET event = replace(event, '{to}', '{from}') WHERE seq = 100"))
            .await;
        assert_eq!(store.verify_audit().await.unwrap(), 252);
    }
}

async fn a_missing_tail_is_found(store: &SqlStore) {
    let (last, head) = (store.audit_page(251, 1).await.unwrap().remove(0), store.audit_head().await.unwrap());
    raw(store, "DELETE FROM audit WHERE seq > 250").await;
    let (seq, reason) = tampered(store).await;
    assert_eq!((seq, &*reason), (251, "the log ends at entry 250, 252 were written"));
    // It goes on after the entries that were written, and the gap stays.
    let next = store.append_audit(&event("after")).await.unwrap();
    assert_eq!((next.seq, Some((252, next.previous))), (253, head));
    assert_eq!(tampered(store).await, (251, "entry 253 follows instead".to_owned()));
    raw(store, "DELETE FROM audit WHERE seq > 250").await;
    let (_, hash) = whole(store).await.last().map(|entry| (entry.seq, entry.hash.clone())).unwrap();
    raw(store, &format!("UPDATE audit_head SET seq = 250, hash = '{hash}'")).await;
    assert_eq!(last.seq, 252);
    assert_eq!(store.verify_audit().await.unwrap(), 250);
}

async fn an_entry_by_another_hand_is_found(store: &SqlStore) {
    let (seq, hash) = store.audit_head().await.unwrap().unwrap();
    let forged = AuditEntry::after(Some((seq, &hash)), &event("forged")).unwrap();
    raw(
        store,
        &format!(
            "INSERT INTO audit (seq, event, previous, hash) VALUES (251, '{}', '{}', '{}')",
            forged.event.replace('\'', "''"),
            forged.previous,
            forged.hash
        ),
    )
    .await;
    assert_eq!(tampered(store).await, (251, "the log ends at entry 251, 250 were written".to_owned()));
    raw(store, "DELETE FROM audit WHERE seq = 251").await;
    assert_eq!(store.verify_audit().await.unwrap(), 250);
}

async fn an_event_may_not_be_too_large(store: &SqlStore) {
    let large = event(&"x".repeat(AUDIT_EVENT_BYTES_MAX));
    assert_refused(store.append_audit(&large).await, "bytes, at most 65536");
    assert_eq!(store.verify_audit().await.unwrap(), 250);
}
