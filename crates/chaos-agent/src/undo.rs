//! Undo records: on disk before the first change, gone when the undo is proven.
//!
//! One file per injection under `<state>/undo`, written so that a crash at any moment leaves the old or the new
//! content whole. No record means: never applied, or proven undone. Reading and writing are behind a trait, because
//! the logic of fault processes also runs where there is no disk. It never undoes anything itself.

use std::path::{Path, PathBuf};

use chaos_core::port::{Evidence, InjectionPlan, Owner};
use chaos_core::run::{InjectionId, InjectionState, RunId};
use chaos_core::spec::Fault;
use chaos_core::target::{Instance, ProcessRef};
use serde::{Deserialize, Serialize};

use crate::sys::cgroup::own::Moved;
use crate::sys::{SysError, files, proc};

/// Version of the format that this program writes; it reads no other.
pub const RECORD_VERSION: u32 = 1;
/// Largest record that is read or written, in bytes.
pub const RECORD_BYTES_MAX: usize = 4 << 20;
/// Most records of one state folder that are looked at in one pass.
pub const RECORDS_MAX: usize = 100_000;
/// Longest id of an injection, which is also a file name.
pub const ID_CHARS_MAX: usize = 64;

/// Everything that a stranger needs to undo an injection without the memory of whoever made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// Whose record it is.
    pub injection: InjectionId,
    /// Its run.
    pub run: RunId,
    /// What is done.
    pub fault: Fault,
    /// To whom.
    pub instance: Instance,
    /// What the holder does when its parent dies.
    pub owner: Owner,
    /// The fault process that undoes it while it lives.
    pub holder: ProcessRef,
    /// Wall clock at the writing, in milliseconds since 1970; for people only.
    pub created_unix_ms: u64,
    /// What the undo has to know beyond the target.
    pub data: UndoData,
    /// How it ended, when nobody was there to hear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// What a fault leaves in the kernel that must be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UndoData {
    /// Nothing: what was killed stays dead, and stops and workers end with the fault process.
    Nothing,
    /// Rules under a name, and perhaps a cgroup.
    Network(NetworkUndo),
}

/// What a partition changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkUndo {
    /// The name of its rules and sets in our table.
    pub name: String,
    /// Inode of the network namespace that holds them.
    pub namespace: u64,
    /// A process in that namespace when the record was written.
    pub process: ProcessRef,
    /// The cgroup that was made to recognise the target's sockets.
    pub cgroup: Option<CgroupUndo>,
}

/// A cgroup of ours and who was moved into it. Several injections on one target share it; each has an empty cgroup
/// below it as its token, and whoever takes the last token away takes the cgroup away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CgroupUndo {
    /// Its directory.
    pub directory: PathBuf,
    /// The directory of this injection's token.
    pub token: PathBuf,
    /// Where those go whose former place is not known: where the target's root was.
    pub fallback: PathBuf,
    /// Who was moved, and from where.
    pub moved: Vec<Moved>,
}

/// How an injection ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// A final state.
    pub state: InjectionState,
    /// What was read to say so.
    pub evidence: Vec<Evidence>,
    /// Why it failed, when it did.
    pub error: Option<String>,
}

/// Why a record can't be trusted or kept.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The disk refuses.
    #[error("undo record: {0}")]
    Disk(#[from] SysError),
    /// The file is not a record that this program wrote.
    #[error("undo record {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An id that can't be a file name.
    #[error("injection id {id:?}: expected 1 to {ID_CHARS_MAX} of A-Z a-z 0-9 _ -")]
    Id {
        /// The id.
        id: String,
    },
}

impl UndoRecord {
    /// A record for an injection that `holder` is about to make, `now_unix_ms` milliseconds after 1970.
    #[must_use]
    pub fn new(
        run: &RunId,
        plan: &InjectionPlan,
        owner: Owner,
        holder: ProcessRef,
        data: UndoData,
        now_unix_ms: u64,
    ) -> Self {
        Self {
            version: RECORD_VERSION,
            injection: plan.id.clone(),
            run: run.clone(),
            fault: plan.fault.clone(),
            instance: plan.instance.clone(),
            owner,
            holder,
            created_unix_ms: now_unix_ms,
            data,
            outcome: None,
        }
    }

    /// Reads the content of a record's file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        if record.version != RECORD_VERSION {
            return Err(format!("version {}, expected {RECORD_VERSION}", record.version));
        }
        Ok(record)
    }
}

/// A file of the log, and what could be read of it.
pub type Found = (PathBuf, Result<UndoRecord, UndoError>);

/// Where undo records are kept: a folder ([`UndoLog`]), or in a simulation whatever survives the death of a process
/// there. Every write is whole or did not happen.
pub trait UndoRecords {
    /// Writes a record, or replaces it; when this returns it survives a crash.
    ///
    /// # Errors
    /// It can't be kept (the former record is then still there), or it is too large.
    fn write(&self, record: &UndoRecord) -> Result<(), UndoError>;

    /// The record of an injection, or none.
    ///
    /// # Errors
    /// It can't be read or is damaged.
    fn read(&self, id: &InjectionId) -> Result<Option<UndoRecord>, UndoError>;

    /// Forgets a record; one that is not there is fine.
    ///
    /// # Errors
    /// It is still there.
    fn remove(&self, id: &InjectionId) -> Result<(), UndoError>;

    /// Forgets several records, in one go where that is quicker.
    ///
    /// # Errors
    /// One of them is still there; others may be, too.
    fn remove_all(&self, ids: &[InjectionId]) -> Result<(), UndoError> {
        ids.iter().try_for_each(|id| self.remove(id))
    }

    /// Every record, readable or not, ordered by file name.
    ///
    /// # Errors
    /// They can't be listed or are more than [`RECORDS_MAX`].
    fn all(&self) -> Result<Vec<Found>, UndoError>;

    /// Puts a damaged record out of the way, where it is kept for people; says where.
    ///
    /// # Errors
    /// It is still in the way.
    fn set_aside(&self, path: &Path) -> Result<PathBuf, UndoError>;

    /// Removes what writers that are dead left half written. The changes those records were for were never made.
    ///
    /// # Errors
    /// Something may still be there.
    fn discard_unfinished(&self, is_dead: &dyn Fn(i32) -> bool) -> Result<(), UndoError>;
}

/// The folder of the records.
#[derive(Debug, Clone)]
pub struct UndoLog {
    folder: PathBuf,
}

impl UndoLog {
    /// The log below a state folder. Nothing is made or read yet.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join("undo") }
    }

    /// Makes the folder, for this user only.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn prepare(&self) -> Result<(), UndoError> {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let attempted = || format!("making folder {}", self.folder.display());
        made.map_err(|source| SysError::io(attempted(), source).into())
    }

    /// The file of an injection.
    ///
    /// # Errors
    /// [`UndoError::Id`] when the id is no plain name.
    pub fn path(&self, id: &InjectionId) -> Result<PathBuf, UndoError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(1..=ID_CHARS_MAX).contains(&id.0.len()) || !id.0.bytes().all(plain) {
            return Err(UndoError::Id { id: id.0.clone() });
        }
        Ok(self.folder.join(format!("{id}.json")))
    }
}

impl UndoRecords for UndoLog {
    fn write(&self, record: &UndoRecord) -> Result<(), UndoError> {
        let path = self.path(&record.injection)?;
        let bytes = serde_json::to_vec(record)
            .map_err(|error| UndoError::Damaged { path: path.clone(), reason: error.to_string() })?;
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(SysError::TooLarge { path, limit_bytes: RECORD_BYTES_MAX }.into());
        }
        // The first writing is on the way to every fault, so it takes the quicker way to the disk.
        let written = if path.exists() {
            files::fsync_write(&path, &bytes)
        } else {
            files::fsync_create(&path, &bytes)
        };
        Ok(written?)
    }

    fn remove(&self, id: &InjectionId) -> Result<(), UndoError> {
        self.remove_all(std::slice::from_ref(id))
    }

    fn remove_all(&self, ids: &[InjectionId]) -> Result<(), UndoError> {
        let paths = ids.iter().map(|id| self.path(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(files::fsync_remove(&self.folder, &paths)?)
    }

    fn read(&self, id: &InjectionId) -> Result<Option<UndoRecord>, UndoError> {
        let path = self.path(id)?;
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    }

    fn all(&self) -> Result<Vec<Found>, UndoError> {
        let failed = |source| SysError::io(format!("listing {}", self.folder.display()), source);
        let entries = match std::fs::read_dir(&self.folder) {
            // A folder that is not there holds none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            // What a crash left half written has a dot in front: the change it was for was never made.
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
            if paths.len() > RECORDS_MAX {
                return Err(SysError::TooLarge { path: self.folder.clone(), limit_bytes: RECORDS_MAX }.into());
            }
        }
        paths.sort_unstable();
        Ok(paths.into_iter().map(|path| (path.clone(), read(&path))).collect())
    }

    fn discard_unfinished(&self, is_dead: &dyn Fn(i32) -> bool) -> Result<(), UndoError> {
        let failed = |source| SysError::io(format!("listing {}", self.folder.display()), source);
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let writer = name.to_str().and_then(files::temporary_writer);
            if writer.is_some_and(is_dead) {
                files::fsync_remove(&self.folder, &[entry.path()])?;
            }
        }
        Ok(())
    }

    fn set_aside(&self, path: &Path) -> Result<PathBuf, UndoError> {
        let failed = |source| SysError::io(format!("setting {} aside", path.display()), source);
        let mut number = 0_u32;
        let aside = loop {
            let aside = path.with_extension(format!("damaged-{number}"));
            if !aside.exists() {
                break aside;
            }
            number += 1;
        };
        std::fs::rename(path, &aside).map_err(failed)?;
        files::sync_folder(&self.folder)?;
        Ok(aside)
    }
}

fn read(path: &Path) -> Result<UndoRecord, UndoError> {
    let damaged = |reason| UndoError::Damaged { path: path.to_owned(), reason };
    let bytes = proc::read_bounded(path, RECORD_BYTES_MAX).map_err(|error| damaged(error.to_string()))?;
    let record = UndoRecord::parse(&bytes).map_err(damaged)?;
    let expected = format!("{}.json", record.injection);
    if path.file_name().is_none_or(|name| name != expected.as_str()) {
        return Err(damaged(format!("it is of injection {}", record.injection)));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> UndoRecord {
        let process = ProcessRef { pid: 1, start_time: 2 };
        let instance = Instance {
            id: "app/1".into(),
            process,
            processes: vec![process],
            command: "app".into(),
            ready: true,
            managed: false,
            ports: vec![],
            network_namespace: 1,
            shares_host_network: true,
            own_cgroup: None,
            host: String::new(),
        };
        let plan = InjectionPlan {
            id: InjectionId(id.into()),
            fault: chaos_core::spec::FaultKind::ProcessPause.with_defaults(),
            instance,
            duration: std::time::Duration::from_secs(1),
        };
        UndoRecord::new(&RunId("run".into()), &plan, Owner::Command, process, UndoData::Nothing, 0)
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let log = UndoLog::new(state.path());
        assert!(log.all().unwrap().is_empty(), "no folder, no records");
        log.prepare().unwrap();
        let mut written = record("run-0");
        log.write(&written).unwrap();
        written.outcome = Some(Outcome { state: InjectionState::Reverted, evidence: vec![], error: None });
        log.write(&written).unwrap();
        assert_eq!(log.read(&written.injection).unwrap(), Some(written.clone()));
        assert_eq!(log.all().unwrap().len(), 1);
        log.remove(&written.injection).unwrap();
        log.remove(&written.injection).unwrap();
        assert_eq!(log.read(&written.injection).unwrap(), None);
    }

    #[test]
    fn an_id_that_would_leave_the_folder_is_refused() {
        let log = UndoLog::new(Path::new("/nowhere"));
        for wrong in ["", "../x", "a/b", "a.b", &"x".repeat(65)] {
            assert!(
                matches!(log.path(&InjectionId(wrong.to_owned())), Err(UndoError::Id { .. })),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_damaged_record_is_told_apart_and_set_aside_but_never_lost() {
        let state = tempfile::tempdir().unwrap();
        let log = UndoLog::new(state.path());
        log.prepare().unwrap();
        let whole = serde_json::to_string(&record("run-0")).unwrap();
        let check = |name: &str, content: &str| {
            let path = state.path().join("undo").join(name);
            std::fs::write(&path, content).unwrap();
            let all = log.all().unwrap();
            assert!(matches!(all.as_slice(), [(_, Err(UndoError::Damaged { .. }))]), "{name}");
            let aside = log.set_aside(&path).unwrap();
            assert_eq!(std::fs::read_to_string(aside).unwrap(), content);
            assert!(log.all().unwrap().is_empty());
        };
        check("run-0.json", "");
        check("run-0.json", &whole[..whole.len() / 2]);
        check("run-0.json", &whole.replace("\"version\":1", "\"version\":2"));
        check("run-0.json", &whole.replace("\"version\":1", "\"version\":1,\"more\":0"));
        check("run-1.json", &whole);
    }
}
