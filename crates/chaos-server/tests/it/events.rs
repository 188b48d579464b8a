//! The stream: complete, in order, resumable.

use std::time::Instant;

use chaos_api::{EventEnvelope, EventsQuery, ProblemCode};
use chaos_core::run::Phase;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::APPS;
use crate::support::{PATIENCE, Service, key};

/// Reads raw events until `enough`, then breaks the connection.
async fn read_events(
    service: &Service,
    path: &str,
    last: Option<u64>,
    enough: usize,
) -> Vec<(u64, EventEnvelope)> {
    let mut stream = TcpStream::connect(service.authority()).await.unwrap();
    let last = last.map(|last| format!("last-event-id: {last}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut text, mut bytes, begin) = (String::new(), [0; 4096], Instant::now());
    loop {
        let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("events in time").unwrap();
        assert!(read > 0 && begin.elapsed() < PATIENCE, "the stream ended:\n{text}");
        text += &String::from_utf8_lossy(&bytes[..read]);
        let events = parse(&text);
        if events.len() >= enough {
            return events.into_iter().take(enough).collect();
        }
    }
}

fn parse(text: &str) -> Vec<(u64, EventEnvelope)> {
    let (mut events, mut id) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("id: ") {
            id = value.parse().ok();
        } else if let Some(data) = line.strip_prefix("data: ")
            && let Ok(envelope) = serde_json::from_str::<EventEnvelope>(data)
        {
            events.push((id.unwrap_or(envelope.position), envelope));
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_break_without_loss_or_repetition() {
    let service = Service::start().await;
    for (app, name) in APPS.into_iter().zip(["one", "two", "three"]) {
        service.run_on(app, name, "200ms").await;
    }
    let mut seen: Vec<(u64, EventEnvelope)> = Vec::new();
    // Broken after every third event, while the runs go on.
    for _ in 0..4 {
        let last = seen.last().map(|(position, _)| *position);
        seen.extend(read_events(&service, "/api/v1/events?after=0", last, 3).await);
    }
    for name in ["one", "two", "three"] {
        service.until(name, Phase::Finished).await;
    }
    let mut expected = 0;
    for name in ["one", "two", "three"] {
        let run = service.client.get(&key(name)).await.unwrap().record.run.unwrap();
        expected += service.client.journal(&key(name), &run, 0).await.unwrap().len();
    }
    let last = seen.last().map(|(position, _)| *position);
    seen.extend(read_events(&service, "/api/v1/events", last, expected - seen.len()).await);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, none twice");
    for name in ["one", "two", "three"] {
        let run = service.client.get(&key(name)).await.unwrap().record.run.unwrap();
        let streamed: Vec<_> =
            seen.iter().filter(|(_, one)| one.run == run).map(|(_, one)| one.record.clone()).collect();
        assert_eq!(streamed, service.client.journal(&key(name), &run, 0).await.unwrap(), "{name}");
    }
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_one_run_has_its_whole_journal_and_ends() {
    let service = Service::start().await;
    service.run_on("second", "noise", "1h").await;
    let created = service.run("followed", "200ms").await;
    let run = created.record.run.unwrap();
    let query = EventsQuery { run: Some(run.clone()), ..EventsQuery::default() };
    let events: Vec<_> = timeout(PATIENCE, service.client.events(query).collect()).await.expect("it ends");
    let records: Vec<_> = events.into_iter().map(|event| event.unwrap().1.record).collect();
    assert_eq!(records, service.client.journal(&key("followed"), &run, 0).await.unwrap());
    let path = format!("/api/v1/experiments/followed/runs/{run}/events");
    let answer = service.send("GET", &path, &[("accept", "text/event-stream")]).await;
    assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(parse(&answer.body).len(), records.len());
    assert!(answer.body.contains("event: end"));
    service.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_service_after_the_last_event() {
    let service = Service::start().await;
    service.run("cut", "1h").await;
    let run = service.until("cut", Phase::Active).await.record.run.unwrap();
    let query = EventsQuery { run: Some(run), ..EventsQuery::default() };
    let following = tokio::spawn(service.client.events(query).collect::<Vec<_>>());
    service.shutdown().await;
    let events = timeout(PATIENCE, following).await.expect("it ends").unwrap();
    let last = events.last().unwrap().as_ref().unwrap();
    assert_eq!(last.1.summary.phase, Phase::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_streams_are_refused() {
    let service = Service::start().await;
    let mut open = Vec::new();
    for _ in 0..chaos_server::limits::STREAMS_MAX {
        let mut stream = TcpStream::connect(service.authority()).await.unwrap();
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("in time").unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        open.push(stream);
    }
    let answer = service.send("GET", "/api/v1/events", &[]).await;
    assert_eq!(answer.problem().code, ProblemCode::QueueFull);
    assert_eq!(service.send("GET", "/health", &[]).await.status, 200);
    drop(open);
    service.shutdown().await;
}
