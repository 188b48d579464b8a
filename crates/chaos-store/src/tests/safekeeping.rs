//! Copies of a file and the way back, and opening to read only.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chaos_core::port::{Store as _, StoreError};

use super::conformance::{self, at, experiment, finished, header, records, summary};
use super::sqlite::{execute, store};
use crate::SqlStore;

/// A closed database with one run of three records, and its path.
async fn filled(folder: &tempfile::TempDir) -> PathBuf {
    let store = store(folder).await;
    let header = conformance::run(&store, "run", "default", "one").await;
    store.append(&header.run, &records(1..=3), &finished(&header)).await.unwrap();
    store.close().await;
    folder.path().join("state/chaos.db")
}

async fn count(path: &Path) -> usize {
    let store = SqlStore::open_to_read(path).await.unwrap();
    let count = store.events_after(0, 1000).await.unwrap().len();
    store.close().await;
    count
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(result: Result<T, StoreError>, part: &str) {
    conformance::assert_refused(result, part);
}

#[tokio::test]
async fn a_copy_made_while_others_write_is_whole_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let header = conformance::run(&store, "run", "default", "one").await;
    let to = folder.path().join("the copy's file?.db");
    let writing = async {
        for seq in 1..=300 {
            store.append(&header.run, &records([seq]), &summary(&header)).await.unwrap();
        }
    };
    let (copied, ()) = tokio::join!(store.backup(&to), writing);
    copied.unwrap();
    assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(folder.path()), ["state", "the copy's file?.db"]);
    let copy = SqlStore::open_to_read(&to).await.unwrap();
    let found = copy.records(&header.run, 0, 1000).await.unwrap();
    assert_eq!(found, records(1..=found.len() as u64));
    copy.close().await;
    assert_conflict(store.backup(&to).await, "that file is there already");
    assert_eq!(store.records(&header.run, 0, 1000).await.unwrap().len(), 300);
    store.close().await;
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(&folder).await;
    let store = SqlStore::open(&path).await.unwrap();
    let error = store.backup(&folder.path().join("nowhere/copy.db")).await.unwrap_err();
    assert!(!error.conflict && error.reason.contains("No such file"), "{error}");
    // What a process that was killed left is no obstacle.
    std::fs::write(folder.path().join("copy.db.partial"), "half").unwrap();
    store.backup(&folder.path().join("copy.db")).await.unwrap();
    assert_eq!(names(folder.path()), ["copy.db", "state"]);
    store.close().await;
}

#[tokio::test]
async fn a_copy_is_brought_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (filled(&folder).await, folder.path().join("copy.db"));
    let store = SqlStore::open(&path).await.unwrap();
    store.backup(&copy).await.unwrap();
    let header = header("run", experiment("default", "one"));
    store.append(&header.run, &records(4..=9), &finished(&header)).await.unwrap();
    assert_conflict(SqlStore::restore(&copy, &path, false).await, "there is a database already");
    assert_conflict(SqlStore::restore(&copy, &path, true).await, "a process has the database open");
    store.close().await;
    assert_eq!(count(&path).await, 9);
    SqlStore::restore(&copy, &path, true).await.unwrap();
    assert_eq!(count(&path).await, 3);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = folder.path().join("elsewhere.db");
    SqlStore::restore(&copy, &elsewhere, false).await.unwrap();
    let store = SqlStore::open(&elsewhere).await.unwrap();
    store.append(&header.run, &records([4]), &finished(&header)).await.unwrap();
    store.close().await;
    assert_eq!(names(folder.path()), ["copy.db", "elsewhere.db", "state"]);
}

#[tokio::test]
async fn nothing_of_the_old_database_gets_into_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (filled(&folder).await, folder.path().join("copy.db"));
    SqlStore::open(&path).await.unwrap().backup(&copy).await.unwrap();
    // A writer that was killed leaves its log behind.
    let (log, kept) = (folder.path().join("state/chaos.db-wal"), folder.path().join("log"));
    let store = SqlStore::open(&path).await.unwrap();
    let header = header("run", experiment("default", "one"));
    store.append(&header.run, &records(4..=9), &finished(&header)).await.unwrap();
    std::fs::copy(&log, &kept).unwrap();
    store.close().await;
    for damaged in [false, true] {
        std::fs::copy(&kept, &log).unwrap();
        if damaged {
            std::fs::write(&path, "not a database".repeat(1000)).unwrap();
        }
        SqlStore::restore(&copy, &path, true).await.unwrap();
        assert!(!log.exists());
        assert_eq!(count(&path).await, 3);
    }
}

#[tokio::test]
async fn what_is_no_whole_database_of_ours_is_not_brought_back() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (filled(&folder).await, folder.path().join("copy.db"));
    let store = SqlStore::open(&path).await.unwrap();
    let header = header("run", experiment("default", "one"));
    store.append(&header.run, &records(4..=1000), &finished(&header)).await.unwrap();
    store.backup(&copy).await.unwrap();
    store.close().await;
    let before = std::fs::read(&path).unwrap();
    let restore = async || SqlStore::restore(&copy, &path, true).await;
    let whole = std::fs::read(&copy).unwrap();
    let mut torn = whole.clone();
    let middle = torn.len() / 2;
    torn[middle..].fill(b'x');
    for content in [b"somebody's file".repeat(1000), torn, whole[..whole.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&copy, content).unwrap();
        assert_conflict(restore().await, "what is to be restored is damaged");
    }
    std::fs::write(&copy, &whole).unwrap();
    execute(&copy, "INSERT INTO schema_version (version) VALUES (99)").await;
    assert_conflict(restore().await, "what is to be restored has format 99");
    std::fs::write(&copy, &whole).unwrap();
    std::fs::write(folder.path().join("copy.db-wal"), "x").unwrap();
    assert_conflict(restore().await, "it is in use or was not closed");
    std::fs::remove_file(&copy).unwrap();
    std::fs::remove_file(folder.path().join("copy.db-wal")).unwrap();
    assert!(restore().await.unwrap_err().reason.contains("No such file"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(names(&folder.path().join("state")), ["chaos.db"]);
}

#[tokio::test]
async fn a_store_that_is_opened_to_read_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(&folder).await;
    let before = std::fs::read(&path).unwrap();
    let store = SqlStore::open_to_read(&path).await.unwrap();
    assert_eq!(*store.positions().borrow(), 3);
    assert_eq!(store.check().await.unwrap().records, 3);
    store.backup(&folder.path().join("copy.db")).await.unwrap();
    let document = experiment("default", "two");
    assert_conflict(store.register(&document, at(1)).await, "the store was opened to read only");
    store.close().await;
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let absent = folder.path().join("absent.db");
    assert!(SqlStore::open_to_read(&absent).await.is_err() && !absent.exists());
}

#[tokio::test]
async fn a_store_is_read_beside_the_process_that_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(&folder).await;
    let (writer, reader) =
        (SqlStore::open(&path).await.unwrap(), SqlStore::open_to_read(&path).await.unwrap());
    let header = header("run", experiment("default", "one"));
    writer.append(&header.run, &records([4]), &finished(&header)).await.unwrap();
    assert_eq!(reader.records(&header.run, 0, 10).await.unwrap().len(), 4);
    reader.close().await;
    writer.append(&header.run, &records([5]), &finished(&header)).await.unwrap();
    writer.close().await;
}

#[tokio::test]
async fn an_address_of_postgres_is_for_its_own_programs() {
    let (url, file) = (Path::new("postgres://ada:secret@host/chaos"), Path::new("copy.db"));
    for (from, to) in [(url, file), (file, url)] {
        let error = SqlStore::restore(from, to, true).await.unwrap_err();
        assert!(error.conflict && error.reason.contains("pg_restore"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
