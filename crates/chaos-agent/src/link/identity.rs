//! The identity of a state folder, and how often an agent was started on it.
//!
//! Owns one small file. Two machines of one name have two identities, so that neither is taken for the other; the count
//! tells a server which of two hellos is the newer.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Name of the file below the state folder.
const FILE_NAME: &str = "agent";
/// No such file is longer.
const FILE_BYTES_MAX: u64 = 1024;

/// Who an agent is, besides its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Drawn when the folder was used for the first time: 16 hexadecimal digits.
    pub node: String,
    /// Starts so far, this one counted.
    pub starts: u64,
}

/// Why a folder has no identity.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the identity of this agent in {path}: {source}")]
pub struct IdentityError {
    action: &'static str,
    path: String,
    source: io::Error,
}

impl Identity {
    /// Counts one more start, and makes an identity when there is none yet. Only the owner of the folder's lock may call
    /// it. It is on disk when this returns.
    ///
    /// # Errors
    /// The file can't be read or written, or is no such file.
    pub fn next(state_dir: &Path) -> Result<Self, IdentityError> {
        let path = state_dir.join(FILE_NAME);
        let failed = |action| {
            let path = path.display().to_string();
            move |source| IdentityError { action, path, source }
        };
        let identity = match read(&path).map_err(failed("read"))? {
            Some(before) => Self { starts: before.starts.saturating_add(1), ..before },
            None => Self { node: draw().map_err(failed("draw"))?, starts: 1 },
        };
        write(&path, &identity).map_err(failed("write"))?;
        Ok(identity)
    }
}

fn read(path: &Path) -> io::Result<Option<Identity>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    serde_json::from_str(&text).map(Some).map_err(io::Error::other)
}

/// Whole or not at all.
fn write(path: &Path, identity: &Identity) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&serde_json::to_vec(identity).map_err(io::Error::other)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn draw() -> io::Result<String> {
    Ok(random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// So many bytes of the system's randomness.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_identity_and_counts_its_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Identity::next(folder.path()).expect("made");
        assert_eq!((first.node.len(), first.starts), (16, 1));
        let second = Identity::next(folder.path()).expect("found");
        assert_eq!(second, Identity { starts: 2, ..first.clone() });
        let other = tempfile::tempdir().expect("a folder");
        assert_ne!(Identity::next(other.path()).expect("made").node, first.node);
    }

    #[test]
    fn a_file_that_is_no_identity_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE_NAME), "something else").expect("written");
        let error = Identity::next(folder.path()).expect_err("no identity");
        assert!(error.to_string().starts_with("cannot read the identity of this agent"), "{error}");
    }
}
