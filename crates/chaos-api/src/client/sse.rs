//! Server-sent events: reading them, and going on where a connection broke.
//!
//! Owns the position that was seen last. It never hands over an event twice.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{Stream, stream};
use reqwest::Response;
use tokio::time::{sleep, timeout};

use super::{Client, ClientError, SILENCE_MAX, unreachable};
use crate::{EventEnvelope, EventsQuery};

/// Connections that may fail in a row before the stream gives up.
const RECONNECTS_MAX: u32 = 5;
/// Time before the first of them; each next one waits twice as long.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The largest event that is read.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// `event:` by which the server says that nothing more will come.
const END: &str = "end";

/// A stream's place.
pub(super) struct Subscription {
    client: Client,
    query: EventsQuery,
    last: Option<u64>,
    connection: Option<Connection>,
    failures: u32,
    over: bool,
}

struct Connection {
    response: Response,
    parser: Parser,
    waiting: VecDeque<Message>,
}

impl Subscription {
    pub(super) fn new(client: Client, query: EventsQuery) -> Self {
        Self { client, query, last: None, connection: None, failures: 0, over: false }
    }

    async fn next(&mut self) -> Option<Result<(u64, EventEnvelope), ClientError>> {
        loop {
            if self.over {
                return None;
            }
            match self.message().await {
                Ok(Some(message)) if message.event == END => self.over = true,
                Ok(Some(message)) => {
                    self.failures = 0;
                    if let Some(item) = self.take(&message) {
                        return Some(item);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    self.connection = None;
                    // A refusal does not change by asking again; a broken connection may.
                    let gone = self.failures >= RECONNECTS_MAX || !error.is_unreachable();
                    if gone {
                        self.over = true;
                        return Some(Err(error));
                    }
                    sleep(RECONNECT_PAUSE * 2u32.pow(self.failures)).await;
                    self.failures += 1;
                }
            }
        }
    }

    /// The next whole message; `None` when the server only said that it is still there.
    async fn message(&mut self) -> Result<Option<Message>, ClientError> {
        let client = self.client.clone();
        let broken = |reason: &str| ClientError::Unreachable {
            endpoint: client.endpoint().clone(),
            reason: reason.to_owned(),
        };
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let response = client.send(client.events_request(&self.query, self.last)).await?;
                let connection = Connection { response, parser: Parser::default(), waiting: VecDeque::new() };
                self.connection.insert(connection)
            }
        };
        if let Some(message) = connection.waiting.pop_front() {
            return Ok(Some(message));
        }
        let chunk = timeout(SILENCE_MAX, connection.response.chunk()).await;
        let chunk = chunk.map_err(|_| broken("the stream is silent"))?;
        match chunk.map_err(|error| unreachable(client.endpoint(), &error))? {
            None => Err(broken("the stream ended")),
            Some(bytes) => {
                connection.parser.push(&bytes, &mut connection.waiting).map_err(|reason| broken(&reason))?;
                Ok(connection.waiting.pop_front())
            }
        }
    }

    /// The event of a message; `None` for one that was seen or is of another kind.
    fn take(&mut self, message: &Message) -> Option<Result<(u64, EventEnvelope), ClientError>> {
        // A position without an event: where to go on from.
        let position = message.id;
        if message.event != EventEnvelope::NAME {
            self.last = position.or(self.last);
            return None;
        }
        let envelope: EventEnvelope = match serde_json::from_str(&message.data) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.over = true;
                return Some(Err(self.client.undecodable("the event stream".to_owned(), error.to_string())));
            }
        };
        let position = position.unwrap_or(envelope.position);
        if self.last.is_some_and(|last| position <= last) {
            return None;
        }
        self.last = Some(position);
        Some(Ok((position, envelope)))
    }
}

pub(super) fn stream(
    subscription: Subscription,
) -> impl Stream<Item = Result<(u64, EventEnvelope), ClientError>> + Send + 'static {
    Box::pin(stream::unfold(subscription, |mut subscription| async move {
        let item = subscription.next().await?;
        Some((item, subscription))
    }))
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Message {
    id: Option<u64>,
    event: String,
    data: String,
}

/// Bytes to messages, as the HTML standard has it.
#[derive(Default)]
struct Parser {
    rest: Vec<u8>,
    message: Message,
}

impl Parser {
    fn push(&mut self, bytes: &[u8], messages: &mut VecDeque<Message>) -> Result<(), String> {
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[begin..begin + length]).into_owned();
            begin += length + 1;
            self.line(line.strip_suffix('\r').unwrap_or(&line), messages);
        }
        self.rest.drain(..begin);
        if self.rest.len() + self.message.data.len() > EVENT_BYTES_MAX {
            return Err(format!("an event is larger than {EVENT_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    fn line(&mut self, line: &str, messages: &mut VecDeque<Message>) {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            if message != Message::default() {
                messages.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = value.parse().ok(),
            "event" => self.message.event = value.to_owned(),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            _ => {}
        }
    }
}

/// The messages (id, event, data) of a whole stream, arriving in these pieces.
pub(crate) fn messages<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> Result<Vec<(Option<u64>, String, String)>, String> {
    let (mut parser, mut messages) = (Parser::default(), VecDeque::new());
    pieces.into_iter().try_for_each(|piece| parser.push(piece, &mut messages))?;
    Ok(messages.into_iter().map(|message| (message.id, message.event, message.data)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_however_the_bytes_are_cut() {
        let text =
            ": hello\n\nid: 7\nevent: record\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid: 8\n\nevent: end\n\n";
        let whole = |size: usize| {
            let (mut parser, mut messages) = (Parser::default(), VecDeque::new());
            for chunk in text.as_bytes().chunks(size) {
                parser.push(chunk, &mut messages).expect("small");
            }
            messages.into_iter().collect::<Vec<_>>()
        };
        let messages = whole(text.len());
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert_eq!(messages[0], Message { id: Some(7), event: "record".into(), data: "{\"a\":\n1}".into() });
        assert_eq!((messages[1].id, messages[2].event.as_str()), (Some(8), "end"));
        for size in 1..text.len() {
            assert_eq!(whole(size), messages, "in pieces of {size}");
        }
    }
}
