//! Tokens with roles: `chaos_<id>_<secret>`, of which only the hash is kept.
//!
//! Owns their text form, how they are made, and the table of those that are taken, in memory so that a request costs no
//! query. The store owns what is on disk; what is revoked there by this process is not taken from that moment on.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use chaos_core::access::{Role, TokenRecord};
use chaos_core::audit::hex;
use chaos_core::port::StoreError;
use chaos_store::SqlStore;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::random;

/// What every token begins with.
const PREFIX: &str = "chaos_";
/// Bytes of the public id.
const ID_BYTES: usize = 4;
/// Bytes of randomness of the secret: 256 bits.
const SECRET_BYTES: usize = 32;
/// The longest name of a token.
const NAME_CHARS_MAX: usize = 63;
/// Names that callers without a token of their own have.
const RESERVED: [&str; 3] = [LOCAL, ANONYMOUS, "unknown"];

/// Name of whoever has the workstation's token.
pub(crate) const LOCAL: &str = "local";
/// Name of whoever reads on this machine without a token.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// The tokens that are taken.
pub(crate) struct Tokens {
    known: watch::Sender<Arc<BTreeMap<String, TokenRecord>>>,
    /// Held while tokens are changed, so that what is read back is what was written.
    pub(crate) changing: Mutex<()>,
}

/// A new token: what is kept, and what is shown once.
pub(crate) struct Issued {
    pub(crate) record: TokenRecord,
    pub(crate) text: String,
}

impl Tokens {
    /// Reads them from the store.
    pub(crate) async fn load(store: &SqlStore) -> Result<Self, StoreError> {
        let tokens = Self { known: watch::Sender::default(), changing: Mutex::default() };
        tokens.reload(store).await?;
        Ok(tokens)
    }

    /// Reads them again, after a change.
    pub(crate) async fn reload(&self, store: &SqlStore) -> Result<(), StoreError> {
        let records = store.tokens().await?;
        let known = records.into_iter().map(|record| (record.id.clone(), record)).collect();
        self.known.send_replace(Arc::new(known));
        Ok(())
    }

    /// All of them, the revoked ones among them, by id.
    pub(crate) fn all(&self) -> Arc<BTreeMap<String, TokenRecord>> {
        Arc::clone(&self.known.borrow())
    }

    /// Resolves when a token is not taken any more: what goes on for long looks at it besides. Never for whoever needs
    /// none.
    pub(crate) async fn over(&self, id: Option<&str>, now: Timestamp) {
        let Some(id) = id else { return std::future::pending().await };
        let mut known = self.known.subscribe();
        let end = known.borrow().get(id).and_then(|record| record.expires_at);
        let expired = async {
            match end.map(|end| end.duration_since(now)) {
                Some(left) => sleep(left.try_into().unwrap_or_default()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = known.wait_for(|known| known.get(id).is_none_or(|one| one.revoked_at.is_some())) => {}
            () = expired => {}
        }
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is not taken. Whether an id exists is told only to who has its secret.
    pub(crate) fn find(&self, text: &str, now: Timestamp) -> Result<TokenRecord, &'static str> {
        const UNKNOWN: &str = "the token is not known here";
        let (id, secret) = parse(text).ok_or(UNKNOWN)?;
        let known = self.all();
        let record = known.get(id);
        // The same work whether the id exists or not.
        let kept = record.map_or("", |record| record.hash.as_str());
        let is_it: bool = hash(secret).as_bytes().ct_eq(kept.as_bytes()).into();
        match record {
            Some(record) if is_it && record.is_valid(now) => Ok(record.clone()),
            Some(record) if is_it && record.revoked_at.is_some() => Err("the token was revoked"),
            Some(_) if is_it => Err("the token has expired"),
            _ => Err(UNKNOWN),
        }
    }
}

impl Issued {
    /// Makes a token that nobody can guess.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(crate) fn new(
        name: &str,
        role: Role,
        created_by: &str,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> io::Result<Self> {
        let id = hex(&random::bytes::<ID_BYTES>()?);
        let secret = hex(&random::bytes::<SECRET_BYTES>()?);
        let record = TokenRecord {
            hash: hash(&secret),
            name: name.to_owned(),
            role,
            created_at: now,
            created_by: created_by.to_owned(),
            expires_at,
            revoked_at: None,
            id,
        };
        let text = format!("{PREFIX}{}_{secret}", record.id);
        Ok(Self { record, text })
    }
}

/// SHA-256 in hexadecimal digits. The secret has 256 bits of its own, so nothing slower is needed.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Id and secret of a token.
fn parse(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    (id.len() == 2 * ID_BYTES && secret.len() == 2 * SECRET_BYTES).then_some((id, secret))
}

/// What is wrong with a name, if anything.
pub(crate) fn name_defect(name: &str) -> Option<&'static str> {
    let first = name.bytes().next();
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'@')
    };
    if RESERVED.contains(&name) {
        return Some("the name means somebody without a token of their own");
    }
    let begins_well = first.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !begins_well || name.len() > NAME_CHARS_MAX || !name.bytes().all(allowed) {
        return Some("it is no name");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(records: &[TokenRecord]) -> Tokens {
        let known = records.iter().map(|record| (record.id.clone(), record.clone())).collect();
        Tokens { known: watch::Sender::new(Arc::new(known)), changing: Mutex::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_token_is_found_by_its_whole_text_and_kept_as_a_hash() {
        let issued = Issued::new("ada", Role::Viewer, "local", at(0), None).expect("randomness");
        let secret = issued.text.rsplit_once('_').expect("a secret").1;
        assert!(issued.text.starts_with("chaos_") && secret.len() == 64, "{}", issued.text);
        let kept = serde_json::to_string(&issued.record).expect("JSON");
        assert!(!kept.contains(secret), "{kept}");
        let tokens = table(std::slice::from_ref(&issued.record));
        assert_eq!(tokens.find(&issued.text, at(1)).expect("known").name, "ada");
        let mut other = issued.text.clone();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        for text in ["", "chaos_", "chaos__", "ada", secret, other.as_str(), &issued.text.to_uppercase()] {
            assert_eq!(tokens.find(text, at(1)), Err("the token is not known here"), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_taken_after_its_end_or_once_revoked() {
        let issued = Issued::new("ada", Role::Viewer, "local", at(0), Some(at(10))).expect("randomness");
        let tokens = table(std::slice::from_ref(&issued.record));
        assert!(tokens.find(&issued.text, at(9)).is_ok());
        assert_eq!(tokens.find(&issued.text, at(10)), Err("the token has expired"));
        let tokens = table(&[TokenRecord { revoked_at: Some(at(5)), ..issued.record }]);
        assert_eq!(tokens.find(&issued.text, at(9)), Err("the token was revoked"));
    }

    #[tokio::test]
    async fn whoever_waits_for_the_end_of_a_token_hears_of_it() {
        let issued = Issued::new("ada", Role::Agent, "local", at(0), None).expect("randomness");
        let tokens = table(std::slice::from_ref(&issued.record));
        let revoked = TokenRecord { revoked_at: Some(at(1)), ..issued.record.clone() };
        let id = issued.record.id.as_str();
        tokio::join!(tokens.over(Some(id), at(0)), async {
            tokens.known.send_replace(Arc::new(BTreeMap::from([(revoked.id.clone(), revoked)])));
        });
        let tokens = table(&[TokenRecord { expires_at: Some(at(5)), ..issued.record.clone() }]);
        tokens.over(Some(id), at(6)).await;
        tokens.over(Some("gone"), at(0)).await;
    }

    #[test]
    fn a_name_is_one_that_nobody_else_has_by_nature() {
        for name in ["ada", "ci-runner.7", "ada@example.org", "0"] {
            assert_eq!(name_defect(name), None, "{name}");
        }
        for name in ["", "local", "anonymous", "unix:root", "Ada", "-a", "a b", &"a".repeat(64)] {
            assert!(name_defect(name).is_some(), "{name}");
        }
    }
}
