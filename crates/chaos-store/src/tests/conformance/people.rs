//! What people decided: the lever, tokens, approvals.

use chaos_core::access::{Role, TokenRecord};
use chaos_core::safety::{Approval, Lever};
use futures_util::future::join_all;

use super::{assert_refused, at, experiment, key};
use crate::SqlStore;

const DAY: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn all(store: &SqlStore) {
    the_lever_is_as_it_was_left(store).await;
    a_name_belongs_to_one_token_that_is_not_revoked(store).await;
    a_token_is_replaced_in_one_step(store).await;
    one_of_many_tokens_of_a_name_is_kept(store).await;
    a_revoked_token_is_forgotten_after_a_while(store).await;
    an_approver_approves_a_document_once(store).await;
    an_approval_goes_with_its_experiment_and_after_a_while(store).await;
}

async fn the_lever_is_as_it_was_left(store: &SqlStore) {
    assert_eq!(store.lever().await.unwrap(), Lever::untouched());
    for engaged in [true, false] {
        let lever = Lever {
            engaged,
            reason: "smoke 'and' \"fire\"".to_owned(),
            actor: "ada".to_owned(),
            at: "2026-11-24T08:00:00.123456789Z".parse().unwrap(),
        };
        store.set_lever(&lever).await.unwrap();
        assert_eq!(store.lever().await.unwrap(), lever);
    }
}

fn token(id: &str, name: &str) -> TokenRecord {
    TokenRecord {
        id: id.to_owned(),
        name: name.to_owned(),
        role: Role::Operator,
        hash: "ab".repeat(32),
        created_at: at(1_700_000_000_000),
        created_by: "ada".to_owned(),
        expires_at: Some(at(1_800_000_000_000)),
        revoked_at: None,
    }
}

async fn a_name_belongs_to_one_token_that_is_not_revoked(store: &SqlStore) {
    assert!(store.tokens().await.unwrap().is_empty());
    let one = token("t1", "ada");
    store.add_token(&one, None).await.unwrap();
    assert_eq!(store.token("t1").await.unwrap(), Some(one.clone()));
    assert_refused(store.add_token(&token("t2", "ada"), None).await, "token t1 has that name or id");
    assert_refused(store.add_token(&token("t1", "bob"), None).await, "token t1 has that name or id");
    assert_refused(store.add_token(&token("t2", "a\0"), None).await, "no name");
    store.add_token(&token("t2", "bob"), None).await.unwrap();
    assert!(store.revoke_token("t1", at(7)).await.unwrap());
    assert!(!store.revoke_token("t1", at(8)).await.unwrap(), "it is revoked already");
    assert!(!store.revoke_token("nobody", at(8)).await.unwrap());
    let revoked = TokenRecord { revoked_at: Some(at(7)), ..one };
    assert_eq!(store.token("t1").await.unwrap(), Some(revoked.clone()));
    // The name is free again, the id never is.
    assert_refused(store.add_token(&token("t1", "ada"), None).await, "token t1 has that name or id");
    let next = TokenRecord { created_at: at(8), ..token("t3", "ada") };
    store.add_token(&next, None).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), [revoked, next, token("t2", "bob")]);
}

async fn a_token_is_replaced_in_one_step(store: &SqlStore) {
    let old = token("r1", "eve");
    store.add_token(&old, None).await.unwrap();
    assert_refused(store.add_token(&token("r2", "eve"), Some("nobody")).await, "token r1 has that name");
    assert_refused(store.add_token(&token("r2", "new"), Some("nobody")).await, "no token nobody to replace");
    assert_eq!(store.token("r2").await.unwrap(), None);
    let next = TokenRecord { created_at: at(1_700_000_000_500), ..token("r2", "eve") };
    store.add_token(&next, Some("r1")).await.unwrap();
    let revoked = TokenRecord { revoked_at: Some(next.created_at), ..old };
    assert_eq!(store.token("r1").await.unwrap(), Some(revoked));
    assert_eq!(store.token("r2").await.unwrap(), Some(next));
    assert_refused(store.add_token(&token("r3", "other"), Some("r1")).await, "no token r1 to replace");
    // Whose name another has, that token can't be the one that is replaced.
    assert_refused(store.add_token(&token("r3", "bob"), Some("r2")).await, "token t2 has that name");
    assert!(store.token("r2").await.unwrap().unwrap().revoked_at.is_none());
}

async fn one_of_many_tokens_of_a_name_is_kept(store: &SqlStore) {
    let tokens: Vec<_> = (0..20).map(|number| token(&format!("m{number}"), "many")).collect();
    let results = join_all(tokens.iter().map(|token| store.add_token(token, None))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let kept = store.tokens().await.unwrap().into_iter().filter(|token| token.name == "many").count();
    assert_eq!(kept, 1);
}

async fn a_revoked_token_is_forgotten_after_a_while(store: &SqlStore) {
    let start = 1_700_000_000_000;
    store.add_token(&token("f1", "fay"), None).await.unwrap();
    store.revoke_token("f1", at(start)).await.unwrap();
    for (days, there) in [(89, true), (91, false)] {
        let later = TokenRecord {
            created_at: at(start + days * DAY),
            ..token(&format!("f{days}"), &format!("f{days}"))
        };
        store.add_token(&later, None).await.unwrap();
        assert_eq!(store.token("f1").await.unwrap().is_some(), there, "after {days} days");
    }
    assert!(store.token("r2").await.unwrap().is_some(), "what is not revoked stays");
}

fn approval(approver: &str, hash: &str, at_ms: i64) -> Approval {
    Approval {
        experiment: key("approved", "one"),
        document_hash: hash.to_owned(),
        approver: approver.to_owned(),
        reason: Some("looks safe".to_owned()),
        at: at(at_ms),
        expires_at: at(at_ms + DAY),
    }
}

async fn an_approver_approves_a_document_once(store: &SqlStore) {
    let (one, hash) = (key("approved", "one"), "aa");
    assert!(store.approvals(&one, hash).await.unwrap().is_empty());
    for approval in [
        approval("eve", "aa", 5),
        approval("ada", "aa", 5),
        approval("ada", "bb", 5),
        approval("ada", "aa", 9),
    ] {
        store.add_approval(&approval).await.unwrap();
    }
    assert_eq!(
        store.approvals(&one, hash).await.unwrap(),
        [approval("ada", "aa", 9), approval("eve", "aa", 5)]
    );
    assert_eq!(store.approvals(&one, "bb").await.unwrap(), [approval("ada", "bb", 5)]);
    assert!(store.approvals(&key("approved", "two"), hash).await.unwrap().is_empty());
}

async fn an_approval_goes_with_its_experiment_and_after_a_while(store: &SqlStore) {
    let one = key("approved", "one");
    store.add_approval(&approval("bob", "cc", 20 * DAY)).await.unwrap();
    assert_eq!(store.approvals(&one, "aa").await.unwrap().len(), 2, "expired ones stay for a while");
    store.add_approval(&approval("bob", "cc", 40 * DAY)).await.unwrap();
    assert_eq!(store.approvals(&one, "aa").await.unwrap().len(), 0);
    assert_eq!(store.approvals(&one, "cc").await.unwrap(), [approval("bob", "cc", 40 * DAY)]);
    store.register(&experiment("approved", "one"), at(1)).await.unwrap();
    assert!(store.delete_experiment(&one).await.unwrap());
    assert!(store.approvals(&one, "cc").await.unwrap().is_empty());
}
