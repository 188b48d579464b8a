//! PostgreSQL alone: one server that writes, lost connections, crashes, passwords.

mod cluster;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use chaos_core::port::Store as _;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};

use self::cluster::{Cluster, PASSWORD};
use super::conformance::{self, at, experiment, finished, record, records, summary};
use crate::owner;
use crate::place::Place;
use crate::{Database, ExperimentFilter, SqlStore};

/// Set for a child: the database it writes to.
const WRITER: &str = "CHAOS_STORE_TEST_WRITER";

/// A server, unless there can be none here.
fn cluster() -> Option<Cluster> {
    Cluster::start().inspect_err(|why| eprintln!("skipped: {why}")).ok()
}

/// A connection beside the store.
async fn connection(url: &str) -> AnyConnection {
    AnyConnection::connect(url).await.unwrap()
}

/// Ends whatever connections of the store write; returns when they are gone.
async fn end_writers(url: &str) {
    let mut connection = connection(url).await;
    let end = "SELECT COUNT(pg_terminate_backend(pid, 10000)) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(connection.fetch_one(end).await.unwrap().try_get::<i64, _>(0).unwrap(), 1);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn postgres_passes_the_conformance_suite() {
    let Some(cluster) = cluster() else { return };
    let store = SqlStore::open_url(&cluster.database("suite").await).await.unwrap();
    assert_eq!(store.database(), Database::Postgres);
    conformance::all(&store).await;
    store.close().await;
    let store = SqlStore::open_url(&cluster.database("damage").await).await.unwrap();
    conformance::damage(&store).await;
    store.close().await;
}

#[tokio::test]
async fn runs_of_the_second_version_count_where_new_ones_do() {
    let Some(cluster) = cluster() else { return };
    let place = Place::url(&cluster.database("older").await).unwrap();
    super::format::older_runs_count_where_new_ones_do(&place).await;
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_who_writes() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("one").await;
    let first = SqlStore::open_url(&url).await.unwrap();
    let error = SqlStore::open_url(&url).await.unwrap_err();
    assert!(error.conflict && error.reason.contains("address not known yet"), "{error}");
    first.announce("http://10.0.0.7:8080").await.unwrap();
    let owner = first.owner().await.unwrap().unwrap();
    assert_eq!((owner.pid, &*owner.address), (std::process::id(), "http://10.0.0.7:8080"));
    let error = SqlStore::open_url(&url).await.unwrap_err();
    let expected = format!(
        "cannot open the database \"one\" at {}: chaos on host {} (process {}, http://10.0.0.7:8080) has written to it \
         since {}, and only one may",
        url.split("host=").nth(1).unwrap(),
        owner.host,
        owner.pid,
        owner.since
    );
    assert_eq!((error.conflict, error.to_string()), (true, expected));
    // Whoever only reads may.
    let reader = SqlStore::open_url_to_read(&url).await.unwrap();
    first.register(&experiment("default", "one"), at(1)).await.unwrap();
    assert_eq!(reader.lines(&ExperimentFilter::default(), 10, None).await.unwrap().items.len(), 1);
    assert!(reader.register(&experiment("default", "two"), at(1)).await.unwrap_err().conflict);
    let denied = sqlx::query("DELETE FROM experiments").execute(&reader.readers).await.unwrap_err();
    assert!(denied.to_string().contains("read-only"), "{denied}");
    reader.close().await;
    first.close().await;
    let second = SqlStore::open_url(&url).await.unwrap();
    assert_eq!(second.owner().await.unwrap().unwrap().address, "");
    second.close().await;
}

#[tokio::test]
async fn texts_compare_by_their_bytes_whatever_the_language_of_the_database() {
    let Some(cluster) = cluster() else { return };
    let store = SqlStore::open_url(&cluster.database("texts").await).await.unwrap();
    let columns = async |condition: &str| {
        let text = format!(
            "SELECT COUNT(*) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND data_type = 'text' {condition}"
        );
        let row = sqlx::query(AssertSqlSafe(text)).fetch_one(&store.readers).await.unwrap();
        row.try_get::<i64, _>(0).unwrap()
    };
    assert_eq!(columns("AND collation_name IS DISTINCT FROM 'C'").await, 0);
    assert!(columns("").await > 30);
    store.close().await;
}

#[tokio::test]
async fn two_installations_share_a_server() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("shared").await;
    let mut other = connection(&url).await;
    other.execute("CREATE SCHEMA second").await.unwrap();
    let first = SqlStore::open_url(&url).await.unwrap();
    let second = SqlStore::open_url(&format!("{url}&options=-csearch_path%3Dsecond")).await.unwrap();
    first.register(&experiment("default", "one"), at(1)).await.unwrap();
    assert!(second.lines(&ExperimentFilter::default(), 10, None).await.unwrap().items.is_empty());
    other.close().await.unwrap();
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn a_connection_that_was_lost_is_replaced_with_its_lock() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("lost").await;
    let store = SqlStore::open_url(&url).await.unwrap();
    store.announce("http://10.0.0.7:8080").await.unwrap();
    let header = conformance::run(&store, "run", "default", "one").await;
    let since = store.owner().await.unwrap().unwrap();
    for seq in 1..=3 {
        end_writers(&url).await;
        store.append(&header.run, &records([seq]), &summary(&header)).await.unwrap();
    }
    assert_eq!(store.records(&header.run, 0, 10).await.unwrap(), records(1..=3));
    assert_eq!(store.owner().await.unwrap(), Some(since));
    assert!(SqlStore::open_url(&url).await.unwrap_err().conflict);
    store.close().await;
}

#[tokio::test]
async fn who_lost_the_lock_to_another_writes_no_more_until_it_is_free() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("fenced").await;
    let store = SqlStore::open_url(&url).await.unwrap();
    let header = conformance::run(&store, "run", "default", "one").await;
    end_writers(&url).await;
    let other = SqlStore::open_url(&url).await.unwrap();
    other.announce("http://10.0.0.8:8080").await.unwrap();
    let error = store.append(&header.run, &records([1]), &summary(&header)).await.unwrap_err();
    assert!(!error.conflict && error.reason.contains("http://10.0.0.8:8080"), "{error}");
    other.append(&header.run, &[record(1, "of the other")], &summary(&header)).await.unwrap();
    other.close().await;
    let error = store.append(&header.run, &records([1]), &summary(&header)).await.unwrap_err();
    assert!(error.conflict && error.reason.contains("record 1 can't follow record 1"), "{error}");
    store.append(&header.run, &records([2]), &summary(&header)).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_lock_that_outlived_its_connection_is_taken_from_it() {
    let Some(cluster) = cluster() else { return };
    let place = Place::url(&cluster.database("outlived").await).unwrap();
    let (mut old, mut new) = (place.connect().await.unwrap(), place.connect().await.unwrap());
    let previous = owner::lock(&mut old, None).await.unwrap();
    let error = owner::lock(&mut new, Some(previous + 1)).await.unwrap_err();
    assert_eq!(error.to_string(), "another server writes to it, and only one may");
    assert_ne!(owner::lock(&mut new, Some(previous)).await.unwrap(), previous);
    assert!(old.ping().await.is_err(), "whoever had it is gone");
    new.close().await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_of_the_server_and_writing_goes_on() {
    let Some(mut cluster) = cluster() else { return };
    let url = cluster.database("crash").await;
    let store = SqlStore::open_url(&url).await.unwrap();
    let header = conformance::run(&store, "run", "default", "one").await;
    for round in 0..3 {
        for seq in 1..=20 {
            store.append(&header.run, &records([round * 20 + seq]), &summary(&header)).await.unwrap();
        }
        cluster.crash();
        let next = records([round * 20 + 21]);
        let error = store.append(&header.run, &next, &summary(&header)).await.unwrap_err();
        assert!(!error.conflict && !error.to_string().contains(PASSWORD), "{error}");
        cluster.run().unwrap();
    }
    store.append(&header.run, &records([61]), &finished(&header)).await.unwrap();
    assert_eq!(store.records(&header.run, 0, 100).await.unwrap(), records(1..=61));
    let position = store.latest_position().await.unwrap();
    assert_eq!(store.events_after(0, 1000).await.unwrap().last().unwrap().position, position);
    store.close().await;
}

/// In a child: writes and says what was acknowledged, until it is killed.
async fn write_for_ever(url: &str) {
    let store = SqlStore::open_url(url).await.unwrap();
    let unfinished = store.unfinished().await.unwrap().pop();
    let (header, written) = match unfinished {
        Some((header, records)) => (header, records.len() as u64),
        None => (conformance::run(&store, "run", "default", "one").await, 0),
    };
    for seq in written + 1.. {
        store.append(&header.run, &[record(seq, &"x".repeat(500))], &summary(&header)).await.unwrap();
        // Past the capture of the test harness.
        std::io::stdout().write_all(format!("\nacknowledged {seq}\n").as_bytes()).unwrap();
    }
}

/// A child that is killed when its test ends.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills it once it has acknowledged `count` more records; returns the last it acknowledged.
fn kill_after(mut writer: Writer, count: usize) -> u64 {
    let (mut last, mut acknowledged) = (0, 0);
    for line in BufReader::new(writer.0.stdout.take().unwrap()).lines() {
        let Some(seq) = line.unwrap().strip_prefix("acknowledged ").map(str::to_owned) else { continue };
        (last, acknowledged) = (seq.parse().unwrap(), acknowledged + 1);
        if acknowledged == count {
            writer.0.kill().unwrap();
        }
    }
    last
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_and_the_next_one_may_write() {
    if let Ok(url) = std::env::var(WRITER) {
        return write_for_ever(&url).await;
    }
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("killed").await;
    for count in [1, 50, 200] {
        let writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::postgres::a_killed_writer_loses_nothing_and_the_next_one_may_write"])
            .arg("--nocapture")
            .env(WRITER, &url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let writer = Writer(writer);
        let acknowledged = tokio::task::spawn_blocking(move || kill_after(writer, count)).await.unwrap();
        let store = SqlStore::open_url(&url).await.unwrap();
        let (_, records) = store.unfinished().await.unwrap().remove(0);
        assert!(records.len() as u64 >= acknowledged, "{acknowledged} acknowledged, {} found", records.len());
        store.close().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for_for_ever() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::time::pause();
    let url = format!("postgres://ada:secret@127.0.0.1:{port}/chaos");
    let (opened, _held) = tokio::join!(SqlStore::open_url(&url), async { listener.accept().await.unwrap() });
    let error = opened.unwrap_err();
    assert_eq!(error.action, format!("open the database \"chaos\" at 127.0.0.1:{port}"));
    assert!(!error.conflict && error.reason.contains("timed out"), "{error}");
}

#[tokio::test]
async fn no_error_and_no_text_shows_a_password() {
    let secret = "hunter2";
    let long = format!("postgres://ada:{secret}@127.0.0.1:1/chaos?sslmode=disable");
    let mut urls = vec![
        long.clone(),
        format!("{long}&password={secret}"),
        format!("postgres://127.0.0.1:1/chaos?user=ada&password={secret}"),
        format!("postgres://ada:{secret}@127.0.0.1:{secret}/chaos"),
        format!("postgres://ada:{secret}@/chaos"),
        format!("mysql://ada:{secret}@127.0.0.1/chaos"),
        format!("{long}&passwort={secret}"),
        format!("ada:{secret}@127.0.0.1/chaos"),
        secret.to_owned(),
    ];
    let cluster = cluster();
    if let Some(cluster) = &cluster {
        urls.push(cluster.url_with(secret, "postgres"));
    }
    for url in urls {
        let error = SqlStore::open_url(&url).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
    let Some(cluster) = cluster else { return };
    let url = cluster.database("quiet").await;
    let store = SqlStore::open_url(&url).await.unwrap();
    let backup = store.backup(std::path::Path::new("copy.db")).await.unwrap_err();
    assert!(backup.conflict && backup.reason.contains("use pg_dump"), "{backup}");
    let text = format!("{store:?} {backup:?} {:?}", Place::url(&url).unwrap());
    assert!(!text.contains(PASSWORD) && !text.contains("s3cret"), "{text}");
    store.close().await;
}

#[tokio::test]
async fn an_encrypted_connection_is_only_to_whom_the_certificate_names() {
    let Some(mut cluster) = cluster() else { return };
    let database = cluster.database("encrypted").await;
    let (port, certificate) = match cluster.encrypt() {
        Ok(encrypted) => encrypted,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let (address, _) = database.split_once('?').unwrap();
    let url = |host: &str, trusts: bool| {
        let root = if trusts { format!("&sslrootcert={}", certificate.display()) } else { String::new() };
        let address = address.replace("@localhost/", &format!("@{host}:{port}/"));
        format!("{address}?sslmode=verify-full{root}")
    };
    let store = SqlStore::open_url(&url("localhost", true)).await.unwrap();
    let row = sqlx::query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert!(row.fetch_one(&store.readers).await.unwrap().try_get::<bool, _>(0).unwrap());
    store.close().await;
    for url in [url("localhost", false), url("127.0.0.1", true)] {
        let error = SqlStore::open_url(&url).await.unwrap_err();
        assert!(error.reason.contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused_and_stays() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("newer").await;
    SqlStore::open_url(&url).await.unwrap().close().await;
    let mut other = connection(&url).await;
    other.execute("INSERT INTO schema_version (version) VALUES (99)").await.unwrap();
    for error in
        [SqlStore::open_url(&url).await.unwrap_err(), SqlStore::open_url_to_read(&url).await.unwrap_err()]
    {
        assert!(error.conflict && error.reason.contains("it has format 99"), "{error}");
    }
    other.close().await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_locked_out_fails_in_time_and_goes_on_after() {
    let Some(cluster) = cluster() else { return };
    let url = cluster.database("locked").await;
    let store = SqlStore::open_url(&url).await.unwrap();
    let header = conformance::run(&store, "run", "default", "one").await;
    let mut other = connection(&url).await;
    let mut lock = other.begin().await.unwrap();
    lock.execute("LOCK TABLE runs").await.unwrap();
    let error = store.append(&header.run, &records([1]), &summary(&header)).await.unwrap_err();
    assert!(!error.conflict && error.reason.contains("lock timeout"), "{error}");
    lock.rollback().await.unwrap();
    store.append(&header.run, &records([1]), &summary(&header)).await.unwrap();
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn every_query_of_a_long_list_goes_by_an_index() {
    let Some(cluster) = cluster() else { return };
    let store = SqlStore::open_url(&cluster.database("plans").await).await.unwrap();
    conformance::raw(
        &store,
        "INSERT INTO experiments (namespace, name, kind, document, registered_at, latest_run, status) SELECT \
         'n' || i % 7, 'e' || i, 'pod_kill', '{}', 0, 0, 'completed' FROM generate_series(1, 10000) AS i",
    )
    .await;
    let mut connection = store.place.connect().await.unwrap();
    connection.execute("ANALYZE").await.unwrap();
    let after = crate::ExperimentCursor::after(&conformance::key("n3", "e5000"));
    for (namespace, cursor) in [(None, None), (None, Some(&after)), (Some("n3".to_owned()), Some(&after))] {
        let filter = ExperimentFilter { namespace, ..ExperimentFilter::default() };
        let statement = crate::page::list_statement(crate::page::LINE_COLUMNS, &filter, 50, cursor);
        let explain = AssertSqlSafe(format!("EXPLAIN {}", statement.text));
        let query = statement.values.into_iter().fold(sqlx::query(explain), |query, value| query.bind(value));
        let rows = query.fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(0).unwrap()).collect();
        assert!(plan.iter().any(|line| line.contains("Index Scan using experiments_")), "{plan:#?}");
        assert!(
            !plan.iter().any(|line| line.contains("Sort") || line.contains("Seq Scan on experiments")),
            "{plan:#?}"
        );
    }
    connection.close().await.unwrap();
    store.close().await;
}
