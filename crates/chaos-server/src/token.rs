//! The token of a workstation: made at the first start, found by the command line in the state folder.
//!
//! Owns its file and its comparison. It is never shown, and never reaches a log.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chaos_core::audit::hex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::random;

/// Name of the file below the state folder.
pub const FILE_NAME: &str = "token";
/// Bytes of randomness: 256 bits.
const TOKEN_BYTES: usize = 32;
/// No file with a token is longer.
const FILE_BYTES_MAX: u64 = 1024;

/// A bearer token.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the token {path}: {source}")]
pub struct TokenError {
    action: &'static str,
    path: String,
    source: io::Error,
}

impl Token {
    /// A token that was made elsewhere.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The token itself, for the `Authorization` header.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Is this it? Takes the same time whatever is given.
    pub fn matches(&self, given: &str) -> bool {
        // Digests have equal lengths, so not even the length of the token can be measured.
        let (ours, theirs) = (Sha256::digest(self.0.as_bytes()), Sha256::digest(given.as_bytes()));
        ours.as_slice().ct_eq(theirs.as_slice()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token of a state folder; `None` when none was made yet.
///
/// # Errors
/// When the file can't be read.
pub fn read(state_dir: &Path) -> Result<Option<Token>, TokenError> {
    let path = state_dir.join(FILE_NAME);
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed("read", &path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| Token(text.to_owned())))
}

/// The token of a state folder, made when there is none. Only the owner of the folder's lock may call it.
///
/// # Errors
/// When the file can't be read or written.
pub fn load_or_create(state_dir: &Path) -> Result<Token, TokenError> {
    let path = state_dir.join(FILE_NAME);
    if let Some(token) = read(state_dir)? {
        let mode = path.metadata().map_err(failed("read the mode of", &path))?.permissions().mode();
        if mode & 0o077 != 0 {
            let private = Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, private).map_err(failed("make private", &path))?;
        }
        return Ok(token);
    }
    let secret = hex(&random::bytes::<TOKEN_BYTES>().map_err(failed("make", &path))?);
    write(&path, &secret).map_err(failed("write", &path))?;
    Ok(Token(secret))
}

/// Whole or not at all: a half-written token would lock everybody out.
fn write(path: &Path, secret: &str) -> io::Result<()> {
    let draft: PathBuf = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> TokenError {
    let path = path.display().to_string();
    move |source| TokenError { action, path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_private_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).expect("readable").is_none());
        let token = load_or_create(folder.path()).expect("made");
        assert_eq!(token.secret().len(), 2 * TOKEN_BYTES);
        let path = folder.path().join(FILE_NAME);
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened up");
        let again = load_or_create(folder.path()).expect("found");
        assert_eq!(again.secret(), token.secret());
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::new("abcdef");
        assert!(token.matches("abcdef"));
        for other in ["", "abcde", "abcdefg", "ABCDEF"] {
            assert!(!token.matches(other), "{other:?}");
        }
    }
}
