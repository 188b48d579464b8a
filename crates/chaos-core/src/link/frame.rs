//! What travels over a link: one JSON value a frame, typed, strict, bounded.
//!
//! Owns the shapes and the bound on a frame. It never acts.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::hello::{Hello, PROTOCOL_VERSION};
use crate::port::{Evidence, InjectOrder, InjectionReport, NodeAction, NodeError};
use crate::run::{InjectionId, RunId};
use crate::spec::Target;
use crate::target::Inventory;
use crate::text::shortened;

/// The largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// Injections in one [`ServerFrame::Inject`]: an order of more is sent in parts, so that a request to undo never waits
/// behind a long frame.
pub const ORDER_CHUNK: usize = 256;
/// The longest reason why bytes are no frame.
const REASON_CHARS_MAX: usize = 300;
/// The most entries of a frame that takes up others.
const JOINED_MAX: usize = 1024;

/// From an agent to its server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AgentFrame {
    /// The first frame of a connection.
    Hello(Box<Hello>),
    /// The answer to a request.
    Answer {
        /// Number of the request.
        request: u64,
        /// What came of it.
        answer: Result<Answer, NodeError>,
    },
    /// What became of an injection.
    Report(Box<SequencedReport>),
    /// The agent ends, and holds nothing any more that it could undo.
    Bye,
}

/// A report with its number among those of the same injection by the same agent process, from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequencedReport {
    /// The number.
    pub sequence: u64,
    /// The report.
    pub report: InjectionReport,
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// What matches.
    Inventory(Box<Inventory>),
    /// What was read to say that it worked.
    Evidence(Vec<Evidence>),
    /// It is done.
    Done,
}

/// From a server to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServerFrame {
    /// The agent is taken; the link is open.
    Welcome {
        /// Version of the server.
        version: String,
        /// How long injections outlast silence, in milliseconds: an agent looks after its link several times as often.
        lease_ms: u64,
    },
    /// The agent is not taken. The connection ends.
    Refused {
        /// Why.
        reason: String,
    },
    /// Something that is answered.
    Request {
        /// Its number, greater than that of any before on this connection.
        request: u64,
        /// What is asked for.
        body: Box<Request>,
    },
    /// Start these.
    Inject(Box<InjectOrder>),
    /// Undo these.
    Revert {
        /// The run.
        run: RunId,
        /// Which of its injections.
        injections: Vec<InjectionId>,
    },
    /// The leases of these runs begin anew.
    Renew {
        /// The runs.
        runs: Vec<RunId>,
    },
    /// These ends were heard and need not be told again.
    Heard {
        /// The ends.
        reports: Vec<Heard>,
    },
}

/// A report that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// The injection.
    pub injection: InjectionId,
    /// The number of the report: an older one that was heard says nothing of a later one.
    pub sequence: u64,
}

/// What a server asks an agent for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// What matches a target.
    Inventory(Target),
    /// A run will soon have an order.
    Prepare(RunId),
    /// A run is over.
    Release(RunId),
    /// Help a target back.
    Act(NodeAction),
}

/// Why bytes are no frame, or a frame no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is too large.
    #[error("a frame of {bytes} bytes; at most {FRAME_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is none that this build knows.
    #[error("not a frame of the protocol: {reason}")]
    Unreadable {
        /// What does not fit.
        reason: String,
    },
    /// The other end speaks another version.
    #[error("the agent speaks version {theirs} of the protocol, the server version {PROTOCOL_VERSION}")]
    Version {
        /// What the agent speaks.
        theirs: u32,
    },
}

/// A frame as bytes.
pub trait Frame: Sized {
    /// The bytes of this frame.
    ///
    /// # Errors
    /// It is too large.
    fn encode(&self) -> Result<Vec<u8>, FrameError>;

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`].
    fn decode(bytes: &[u8]) -> Result<Self, FrameError>;
}

impl Frame for AgentFrame {
    fn encode(&self) -> Result<Vec<u8>, FrameError> {
        encode(self)
    }

    /// A `hello` of another version is recognised whatever else it holds.
    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let decoded = decode(bytes);
        let theirs = match &decoded {
            Ok(Self::Hello(hello)) => Some(hello.introduction.protocol),
            Ok(_) | Err(FrameError::TooLarge { .. }) => None,
            Err(_) => stated_version(bytes),
        };
        match theirs {
            Some(theirs) if theirs != PROTOCOL_VERSION => Err(FrameError::Version { theirs }),
            _ => decoded,
        }
    }
}

impl Frame for ServerFrame {
    fn encode(&self) -> Result<Vec<u8>, FrameError> {
        encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        decode(bytes)
    }
}

impl ServerFrame {
    /// Takes up the next frame, when one can say both; gives it back when not.
    pub fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Renew { runs }, Self::Renew { runs: more }) if runs.len() < JOINED_MAX => {
                more.into_iter().for_each(|run| {
                    if !runs.contains(&run) {
                        runs.push(run);
                    }
                });
                None
            }
            (Self::Heard { reports }, Self::Heard { reports: mut more }) if reports.len() < JOINED_MAX => {
                reports.append(&mut more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

fn encode(frame: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let bytes =
        serde_json::to_vec(frame).map_err(|error| FrameError::Unreadable { reason: error.to_string() })?;
    within_bound(&bytes)?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    within_bound(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        // It may repeat what it could not read.
        FrameError::Unreadable { reason: shortened(&error.to_string(), REASON_CHARS_MAX) }
    })
}

fn within_bound(bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge { bytes: bytes.len() });
    }
    Ok(())
}

/// The version in a `hello` that otherwise may be anything.
fn stated_version(bytes: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Introduction {
        protocol: u32,
    }
    #[derive(Deserialize)]
    struct Hello {
        introduction: Introduction,
    }
    #[derive(Deserialize)]
    struct Frame {
        hello: Hello,
    }
    serde_json::from_slice::<Frame>(bytes).ok().map(|frame| frame.hello.introduction.protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Epoch;
    use crate::link::tests::introduction;

    fn hello() -> AgentFrame {
        AgentFrame::Hello(Box::new(Hello {
            introduction: introduction("node-1"),
            epoch: Epoch::default(),
            injections: Vec::new(),
        }))
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let bytes = hello().encode().expect("small enough");
        assert_eq!(AgentFrame::decode(&bytes), Ok(hello()));
        let renew = ServerFrame::Renew { runs: vec![RunId("a".into())] };
        assert_eq!(ServerFrame::decode(&renew.encode().expect("small enough")), Ok(renew));
    }

    #[test]
    fn an_agent_of_another_version_is_recognised_whatever_else_its_hello_holds() {
        let later = br#"{"hello":{"introduction":{"protocol":7,"colour":"blue"},"more":[1]}}"#;
        let error = AgentFrame::decode(later).expect_err("another version");
        assert_eq!(error, FrameError::Version { theirs: 7 });
        assert_eq!(error.to_string(), "the agent speaks version 7 of the protocol, the server version 1");
        let text = String::from_utf8(hello().encode().expect("small enough")).expect("text");
        let other = text.replace("\"protocol\":1", "\"protocol\":2");
        assert_eq!(AgentFrame::decode(other.as_bytes()), Err(FrameError::Version { theirs: 2 }));
    }

    #[test]
    fn an_error_of_a_node_reads_back_as_it_was_told_and_one_of_a_newer_node_in_its_own_words() {
        let answer = |error| AgentFrame::Answer { request: 7, answer: Err(error) };
        let reason = "ending app/4711: it still runs".to_owned();
        let failed = NodeError::Failed { reason };
        for error in
            [failed, NodeError::Refused { reason: "no".into() }, NodeError::Unknown("Melted {}".into())]
        {
            let bytes = answer(error.clone()).encode().expect("small enough");
            assert_eq!(AgentFrame::decode(&bytes), Ok(answer(error)));
        }
        let read = |error: &str| {
            let bytes = format!(r#"{{"answer":{{"request":7,"answer":{{"Err":{error}}}}}}}"#);
            AgentFrame::decode(bytes.as_bytes())
        };
        for newer in [r#"{"Melted":{"at":[900,"°C"]}}"#, "\"Melted\"", r#"{"Refused":{"because":"no"}}"#, "1"]
        {
            let words = newer.trim_matches('"').to_owned();
            let frame = read(newer).expect("readable");
            assert_eq!(frame, answer(NodeError::Unknown(words)));
            assert_eq!(AgentFrame::decode(&frame.encode().expect("small enough")), Ok(frame));
        }
        let long = read(&format!("{{\"Melted\":\"{}\"}}", "x".repeat(100_000))).expect("readable");
        assert!(long.encode().expect("small enough").len() < 1000);
    }

    #[test]
    fn what_is_unknown_or_too_large_is_refused() {
        for bytes in [&br#"{"run":"rm -rf /"}"#[..], b"", b"\xff", br#"{"bye":null,"more":1}"#] {
            let error = AgentFrame::decode(bytes).expect_err("no frame");
            assert!(matches!(error, FrameError::Unreadable { .. }), "{error}");
        }
        let foreign = format!("\"{}\"", "k".repeat(100_000));
        let error = AgentFrame::decode(foreign.as_bytes()).expect_err("no frame").to_string();
        assert!(error.contains("unknown variant") && error.len() < 1000, "{} bytes", error.len());
        let large = vec![b' '; FRAME_BYTES_MAX + 1];
        assert_eq!(ServerFrame::decode(&large), Err(FrameError::TooLarge { bytes: large.len() }));
        let reason = "x".repeat(FRAME_BYTES_MAX);
        let error = ServerFrame::Refused { reason }.encode().expect_err("too large");
        assert!(matches!(error, FrameError::TooLarge { .. }));
    }
}
