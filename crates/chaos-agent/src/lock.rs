//! The lock on a state folder: one owner at a time, who says where it is reached.
//!
//! Owns the file `lock` below the folder. The kernel gives the lock back when its owner dies, so a stale one does not
//! exist; what the file says counts only while it is held.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Name of the file below the state folder.
pub const FILE_NAME: &str = "lock";
/// How long somebody who only looks may hold the lock up.
const LOOKED_AT: Duration = Duration::from_millis(250);
/// How long an owner may take from the lock to its address.
const STARTS_WITHIN: Duration = Duration::from_secs(2);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// No lock file is longer.
const FILE_BYTES_MAX: u64 = 4096;

/// Who owns a state folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Its process.
    pub pid: u32,
    /// Where it is reached: `http://…` or `unix:/…`.
    pub address: String,
    /// It stays; one that was not started as a server exits after its last run.
    pub as_server: bool,
    /// Its version.
    pub version: String,
}

/// Why a state folder can't be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else owns it.
    #[error("the state folder {folder} belongs to {}", owner.as_ref().map_or_else(|| "another process that is starting".to_owned(), |owner| format!("process {} at {}", owner.pid, owner.address)))]
    Held {
        /// The folder.
        folder: String,
        /// Who; absent while it is starting.
        owner: Option<OwnerInfo>,
    },
    /// The file can't be used.
    #[error("cannot lock the state folder {folder}: {source}")]
    File {
        /// The folder.
        folder: String,
        /// The cause.
        source: io::Error,
    },
}

/// A state folder that belongs to this process until this value is dropped, or the process dies.
#[derive(Debug)]
pub struct StateLock {
    file: Flock<File>,
}

impl StateLock {
    /// Makes the folder when it is not there (mode 0700), and owns it. May block for a quarter of a second.
    ///
    /// # Errors
    /// [`LockError::Held`] when another process owns it.
    pub fn acquire(state_dir: &Path) -> Result<Self, LockError> {
        let folder = state_dir.display().to_string();
        let failed = |source| LockError::File { folder: folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
        let mut file = open(state_dir, true).map_err(failed)?;
        let deadline = Instant::now() + LOOKED_AT;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    file.set_len(0).map_err(failed)?;
                    return Ok(Self { file });
                }
                Err((back, Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                    file = back;
                    sleep(PAUSE);
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(LockError::Held { owner: owner(state_dir), folder });
                }
                Err((_, error)) => return Err(failed(error.into())),
            }
        }
    }

    /// Says where this process is reached.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn announce(&mut self, owner: &OwnerInfo) -> io::Result<()> {
        let text = serde_json::to_string(owner).map_err(io::Error::other)?;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // What it said counts no more; that it can't be erased changes nothing, because the lock is given back.
        let _ = self.file.set_len(0);
    }
}

/// Who owns a state folder now; `None` when nobody does. May block for as long as an owner takes to start.
pub fn owner(state_dir: &Path) -> Option<OwnerInfo> {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        let file = open(state_dir, false).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_given_back_at_once) => return None,
            Err((file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
                if let Some(owner) = read.ok().and_then(|_| serde_json::from_str(&text).ok()) {
                    return Some(owner);
                }
            }
            Err(_) => return None,
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(PAUSE);
    }
}

fn open(state_dir: &Path, create: bool) -> io::Result<File> {
    let path = state_dir.join(FILE_NAME);
    OpenOptions::new().read(true).write(create).create(create).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_who_is_found_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        assert_eq!(owner(&state), None);
        let mut lock = StateLock::acquire(&state).expect("free");
        let info = OwnerInfo { pid: 1, address: "unix:/a".into(), as_server: true, version: "0".into() };
        lock.announce(&info).expect("written");
        assert_eq!(owner(&state), Some(info.clone()));
        match StateLock::acquire(&state) {
            Err(LockError::Held { owner, .. }) => assert_eq!(owner, Some(info)),
            other => panic!("{other:?}"),
        }
        drop(lock);
        assert_eq!(owner(&state), None);
        StateLock::acquire(&state).expect("free again");
    }
}
