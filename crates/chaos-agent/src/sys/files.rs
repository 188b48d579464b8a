//! Files that survive a crash, and locks that end with their holder. It knows no format.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::SysError;

/// Writes a file so that after a crash at any moment either the old or the new content is there, whole: into
/// a temporary file of the same folder (mode 0600), flushed, renamed, and the folder flushed.
///
/// # Errors
/// Any of the steps failed; the old content is then still in place and the temporary file is removed.
pub fn fsync_write(path: &Path, bytes: &[u8]) -> Result<(), SysError> {
    let attempted = |step: &str| format!("{step} {}", path.display());
    let missing = || SysError::io(attempted("writing"), Errno::EINVAL);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(missing)?.to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_and_flush(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(source) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(SysError::io(attempted("writing"), source));
    }
    sync_folder(folder)
}

/// Writes a file that is not there yet, flushed once instead of twice: when this returns it survives a crash of the
/// machine, and at every moment a killed writer leaves it whole or not at all (mode 0600). Only a crash of the machine
/// before the return may leave the name without its content.
///
/// # Errors
/// Any of the steps failed; nothing is left.
pub fn fsync_create(path: &Path, bytes: &[u8]) -> Result<(), SysError> {
    let failed = |source| SysError::io(format!("writing {}", path.display()), source);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        std::fs::rename(&temporary, path)?;
        // Flushing the file after its renaming takes both to the disk in one commit of a journal.
        file.sync_all()
    })();
    if let Err(source) = written {
        let _ = std::fs::remove_file(&temporary);
        let _ = std::fs::remove_file(path);
        return Err(failed(source));
    }
    sync_folder(folder)
}

/// The process that a temporary file of [`fsync_write`] and [`fsync_create`] belongs to, by its name.
#[must_use]
pub fn temporary_writer(name: &str) -> Option<i32> {
    name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?.1.parse().ok()
}

fn write_and_flush(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes files of a folder so that they stay removed after a crash, with one flush for all; those that are not there
/// are fine.
///
/// # Errors
/// A file can't be removed or the folder can't be flushed; others may be left as well.
pub fn fsync_remove(folder: &Path, paths: &[PathBuf]) -> Result<(), SysError> {
    let mut any = false;
    for path in paths {
        match std::fs::remove_file(path) {
            Ok(()) => any = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(SysError::io(format!("removing {}", path.display()), error)),
        }
    }
    if any { sync_folder(folder) } else { Ok(()) }
}

/// Flushes the entries of a folder.
///
/// # Errors
/// It can't be opened or flushed.
pub fn sync_folder(folder: &Path) -> Result<(), SysError> {
    let failed = |source| SysError::io(format!("flushing folder {}", folder.display()), source);
    File::open(folder).map_err(failed)?.sync_all().map_err(failed)
}

/// An exclusive lock on a file, released by the kernel when its holder ends.
#[derive(Debug)]
pub struct FileLock(Flock<File>);

impl FileLock {
    /// Takes the lock if nobody has it; `None` when somebody does. The file is made when missing (mode 0600)
    /// and never removed: removing a lock file lets two holders in.
    ///
    /// # Errors
    /// The file can't be opened or locked.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, SysError> {
        let attempted = || format!("locking {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|source| SysError::io(attempted(), source))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self(lock))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(SysError::io(attempted(), errno)),
        }
    }

    /// The locked file, for its content (the owner's address).
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_no_temporary_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        fsync_write(&path, b"one").unwrap();
        fsync_write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = folder.path().join("other.json");
        fsync_write(&other, b"one").unwrap();
        for _ in 0..2 {
            fsync_remove(folder.path(), &[path.clone(), other.clone()]).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(fsync_write(&folder.path().join("missing/record"), b"x").is_err());
    }

    #[test]
    fn a_new_file_is_whole_and_nothing_is_left_of_a_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        fsync_create(&path, b"one").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(fsync_create(&folder.path().join("missing/record"), b"x").is_err());
        assert_eq!(temporary_writer(".record.json.4711.tmp"), Some(4711));
        assert_eq!(temporary_writer("record.json"), None);
    }

    #[test]
    fn a_lock_has_one_holder_and_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::try_acquire(&path).unwrap();
        assert!(held.is_some());
        assert!(FileLock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(FileLock::try_acquire(&path).unwrap().is_some());
    }
}
