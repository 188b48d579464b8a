//! What an agent is told: its file `agent.yaml`, and options that outweigh it.
//!
//! Owns the format, strict like a document: an unknown field is an error with its path and the nearest known name.
//! What the file does not allow, no server can order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chaos_core::duration::Span;
use chaos_core::spec::{DocumentError, FaultKind, parse_value, plain_values};
use serde::Deserialize;

use super::dial::{Server, ServerError};
use super::secret::{Token, VARIABLE};
use crate::local::Limits;

/// `agent.yaml`. Every field may be absent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentFile {
    /// Address of the server.
    #[serde(default)]
    pub server: Option<String>,
    /// What this host is called; its host name when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// File with the bearer token, private to its owner.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// File with the certificates of the authorities to trust, in place of the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// State folder.
    #[serde(default)]
    pub state: Option<PathBuf>,
    /// What is allowed here.
    #[serde(default)]
    pub limits: LimitsFile,
}

/// `limits` of the file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsFile {
    /// The faults that may be made; every one when absent, none when empty.
    #[serde(default)]
    pub faults: Option<Vec<FaultKind>>,
    /// The apps that may be hit; any when absent.
    #[serde(default)]
    pub apps: Option<Vec<String>>,
    /// The longest duration of a fault.
    #[serde(default)]
    pub duration_max: Option<Span>,
    /// Commands that a recovery may run: name, then program and arguments.
    #[serde(default)]
    pub commands: BTreeMap<String, Vec<String>>,
}

/// What outweighs the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Address of the server.
    pub server: Option<String>,
    /// What this host is called.
    pub name: Option<String>,
    /// File with the bearer token.
    pub token_file: Option<PathBuf>,
    /// File with the certificates to trust.
    pub ca: Option<PathBuf>,
    /// State folder.
    pub state: Option<PathBuf>,
    /// The file itself.
    pub file: Option<PathBuf>,
}

/// Everything that an agent needs to start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where the server is.
    pub server: Server,
    /// What this host is called.
    pub name: String,
    /// Where the token comes from.
    pub token: Token,
    /// File with the certificates to trust; the system's when absent.
    pub ca: Option<PathBuf>,
    /// State folder.
    pub state_dir: PathBuf,
    /// What is allowed here.
    pub limits: Limits,
}

/// Why an agent can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file has a defect.
    #[error("{path} has a defect: {error}")]
    Defect {
        /// The file.
        path: String,
        /// The defect, with its place.
        error: Box<DocumentError>,
    },
    /// No server is named.
    #[error("no server is named: --server URL, or `server` in the agent's file")]
    NoServer,
    /// The server's address is none.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl AgentFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The first defect, with its path.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let mut values = plain_values(text)?;
        if values.len() > 1 {
            return Err(defect("", format!("{} documents", values.len()), "one"));
        }
        let file: Self = parse_value(values.swap_remove(0))?;
        for (name, argv) in &file.limits.commands {
            if argv.first().is_none_or(|program| program.is_empty()) {
                let path = format!("limits.commands.{name}");
                return Err(defect(&path, "no program".to_owned(), "a list of program and arguments"));
            }
        }
        Ok(file)
    }

    fn read(path: &Path) -> Result<Self, SetupError> {
        let shown = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| SetupError::Read { path: shown(), source })?;
        Self::parse(&text).map_err(|error| SetupError::Defect { path: shown(), error: Box::new(error) })
    }
}

impl LimitsFile {
    fn limits(self) -> Limits {
        let usual = Limits::default();
        Limits {
            duration_max: self
                .duration_max
                .map_or(usual.duration_max, |Span(duration)| -> Duration { duration }),
            faults: self.faults.unwrap_or(usual.faults),
            apps: self.apps,
            commands: self.commands,
        }
    }
}

impl Setup {
    /// Puts options, the file and the environment together, in this order of weight.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn from(options: Options) -> Result<Self, SetupError> {
        let file = options.file.as_deref().map_or_else(|| Ok(AgentFile::default()), AgentFile::read)?;
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let server = options.server.or(file.server).or_else(|| variable("CHAOS_SERVER"));
        let token = match options.token_file.or(file.token_file) {
            Some(path) => Token::File(path),
            None => variable(VARIABLE).map_or(Token::None, Token::Text),
        };
        Ok(Self {
            server: server.ok_or(SetupError::NoServer)?.parse()?,
            name: options.name.or(file.name).unwrap_or_else(host_name),
            token,
            ca: options.ca.or(file.ca),
            state_dir: options.state.or(file.state).unwrap_or_else(crate::default_state_dir),
            limits: file.limits.limits(),
        })
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

fn defect(path: &str, problem: String, expected: &str) -> DocumentError {
    DocumentError {
        document: 0,
        path: path.to_owned(),
        value: None,
        problem,
        expected: Some(expected.into()),
        nearest: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
server: https://chaos.example
name: web-1
tokenFile: /etc/chaos/token
ca: /etc/chaos/ca.pem
limits:
  faults: [process_pause, cpu_stress]
  apps: [checkout]
  durationMax: 5m
  commands: { reload: [systemctl, reload, checkout] }
";

    #[test]
    fn the_whole_file_is_read_and_options_outweigh_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.yaml");
        std::fs::write(&path, WHOLE).expect("written");
        let options = Options { name: Some("other".into()), file: Some(path), ..Options::default() };
        let setup = Setup::from(options).expect("sound");
        assert_eq!(setup.server.to_string(), "https://chaos.example:443");
        assert_eq!(setup.name, "other");
        assert_eq!(setup.limits.faults, [FaultKind::ProcessPause, FaultKind::CpuStress]);
        assert_eq!(setup.limits.duration_max, Duration::from_secs(300));
        assert_eq!(setup.limits.apps, Some(vec!["checkout".to_owned()]));
        assert_eq!(setup.limits.commands["reload"], ["systemctl", "reload", "checkout"]);
        assert!(matches!(setup.token, Token::File(_)));
    }

    #[test]
    fn a_defect_has_its_path_and_the_nearest_name() {
        let text = |text: &str| AgentFile::parse(text).expect_err("defective").to_string();
        assert!(text("limits: { fault: [] }").contains("did you mean \"faults\"?"));
        assert!(text("limits: { faults: [pod_kil] }").starts_with("limits.faults[0]"));
        assert!(text("limits: { commands: { a: [] } }").starts_with("limits.commands.a: no program"));
        assert!(text("{}\n---\n{}").contains("2 documents"));
        assert_eq!(AgentFile::parse("# nothing\n").expect("empty"), AgentFile::default());
    }

    #[test]
    fn an_agent_without_a_server_says_how_to_name_one() {
        let options = Options { server: Some("not a server".into()), ..Options::default() };
        assert!(matches!(Setup::from(options), Err(SetupError::Server(_))));
    }
}
