//! The bearer token of an agent: from a private file, read anew for each connection, or from the environment.
//!
//! Owns the check of the file's mode. A token is never an argument, never shown, and never reaches a log.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// No file with a token is longer.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// Where the kubelet mounts the tokens that it renews; their modes are its business.
const MOUNTED_TOKENS: &str = "/var/run/secrets/";
/// The variable that may hold a token.
pub(super) const VARIABLE: &str = "CHAOS_TOKEN";

/// Where the token comes from.
#[derive(Clone)]
pub enum Token {
    /// There is none.
    None,
    /// The text itself.
    Text(String),
    /// A file, which may be renewed at any time.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file can't be read.
    #[error("cannot read the token {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Others may read it.
    #[error("the token {path} has mode {mode:03o}: others may read it; expected 600 (chmod 600 {path})")]
    Mode {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is no token.
    #[error("the token {origin} is empty or has characters that no token has")]
    Text {
        /// Where it comes from.
        origin: String,
    },
}

impl Token {
    /// The token now.
    ///
    /// # Errors
    /// It can't be read, others may read it, or it is none.
    pub fn read(&self) -> Result<Option<String>, SecretError> {
        match self {
            Self::None => Ok(None),
            Self::Text(text) => checked(text, VARIABLE.to_owned()).map(Some),
            Self::File(path) => read_file(path).map(Some),
        }
    }
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    let shown = || path.display().to_string();
    let failed = |source| SecretError::Read { path: shown(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 && !path.starts_with(MOUNTED_TOKENS) {
        return Err(SecretError::Mode { path: shown(), mode });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    checked(&text, shown())
}

fn checked(text: &str, origin: String) -> Result<String, SecretError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::Text { origin });
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_must_be_private_and_is_read_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        let mode =
            |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        std::fs::write(&path, "one\n").expect("written");
        mode(0o644);
        let token = Token::File(path.clone());
        let open = token.read().expect_err("others may read it").to_string();
        assert!(open.contains("has mode 644") && !open.contains("one"), "{open}");
        mode(0o600);
        assert_eq!(token.read().expect("private").as_deref(), Some("one"));
        std::fs::write(&path, "two").expect("written");
        assert_eq!(token.read().expect("private").as_deref(), Some("two"));
        std::fs::write(&path, " \n").expect("written");
        assert!(matches!(token.read(), Err(SecretError::Text { .. })));
    }

    #[test]
    fn a_token_is_not_shown() {
        assert_eq!(format!("{:?}", Token::Text("secret".into())), "Text(…)");
        assert!(Token::Text("two words".into()).read().is_err());
    }
}
