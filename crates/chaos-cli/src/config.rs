//! Configuration: flags, then `CHAOS_*` variables, then the file, then defaults; each value with its origin.
//!
//! Owns the layers and their order. It never acts on a value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use chaos_core::spec::{DEFAULT_THRESHOLD, ShortRequest};
use chaos_probes::SignalConfig;
use chaos_server::FileConfig;
use chaos_server::config::{ConfigError, SafetyConfig};
use clap::ValueEnum as _;

use crate::args::{Format, Global};
use crate::exit::Failure;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An option of this command.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// Nobody said otherwise.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting<T> {
    /// The value.
    pub(crate) value: T,
    /// Its origin.
    pub(crate) origin: Origin,
}

impl<T> Setting<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The file that was looked for.
    pub(crate) config_file: Setting<PathBuf>,
    /// It was there.
    pub(crate) config_file_found: bool,
    /// Server to ask.
    pub(crate) server: Option<Setting<String>>,
    /// Bearer token for it.
    pub(crate) token: Option<Setting<String>>,
    /// State folder.
    pub(crate) state: Setting<PathBuf>,
    /// Form of output.
    pub(crate) output: Setting<Format>,
    /// App that is meant when a command names none.
    pub(crate) target_app: Setting<String>,
    /// Health score below which nothing starts.
    pub(crate) threshold: Setting<f64>,
    /// Prometheus that signals and probes are read from.
    pub(crate) prometheus: Option<Setting<String>>,
    /// Health signals.
    pub(crate) signals: Setting<Vec<SignalConfig>>,
    /// Certificate of the authority that the server's certificate is checked by.
    pub(crate) ca: Option<Setting<PathBuf>>,
    /// PostgreSQL of a server; a secret may be in it.
    pub(crate) database: Option<Setting<String>>,
    /// Everything else that the file says: rules, retention, rights of probes.
    pub(crate) rest: FileConfig,
    /// Filter of log lines.
    pub(crate) log: Option<Setting<String>>,
    /// No colours, whatever standard output is.
    pub(crate) no_color: bool,
}

/// The variables of the environment that are looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    root: bool,
}

impl Environment {
    /// This process's.
    pub(crate) fn current() -> Self {
        Self {
            variables: std::env::vars_os().filter_map(utf8).collect(),
            root: nix::unistd::geteuid().is_root(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn variable(&self, name: &'static str) -> Option<Setting<String>> {
        self.get(name).map(|value| Setting::new(value.to_owned(), Origin::Variable(name)))
    }

    /// `$XDG_…/chaos`, else the usual place below the home folder.
    fn folder(&self, variable: &str, below_home: &str) -> PathBuf {
        let absolute = self.get(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute
            .unwrap_or_else(|| PathBuf::from(self.get("HOME").unwrap_or("/")).join(below_home))
            .join("chaos")
    }

    fn state_folder(&self) -> PathBuf {
        if self.root {
            PathBuf::from("/var/lib/chaos")
        } else {
            self.folder("XDG_STATE_HOME", ".local/state")
        }
    }
}

fn utf8((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

impl Settings {
    /// What a service in this process takes of them.
    pub(crate) fn service(&self) -> FileConfig {
        FileConfig {
            target_app: Some(self.target_app.value.clone()),
            safety: SafetyConfig {
                threshold: Some(self.threshold.value),
                prometheus: self.prometheus.as_ref().map(|url| url.value.clone()),
                signals: self.signals.value.clone(),
                ..self.rest.safety.clone()
            },
            ..self.rest.clone()
        }
    }

    /// Merges every layer.
    ///
    /// # Errors
    /// When the file is not readable or defective, was named and is not there, or a variable has no sense.
    pub(crate) fn load(flags: &Global, environment: &Environment) -> Result<Self, Failure> {
        let named = flags
            .config_file
            .clone()
            .map(|path| Setting::new(path, Origin::Flag("config-file")))
            .or_else(|| path(environment.variable("CHAOS_CONFIG_FILE")));
        let must_exist = named.is_some();
        let config_file = named.unwrap_or_else(|| {
            Setting::new(
                environment.folder("XDG_CONFIG_HOME", ".config").join("config.yaml"),
                Origin::Default,
            )
        });
        let found = read(&config_file.value)?;
        let config_file_found = found.is_some();
        if must_exist && !config_file_found {
            let (path, origin) = (config_file.value.display(), &config_file.origin);
            return Err(Failure::usage(format!("the configuration {path} ({origin}) is not there")));
        }
        if let Some(context) = found.as_ref().and_then(|file| file.context.as_ref()) {
            // Hitting this host where a cluster is meant would be worse than nothing.
            let path = config_file.value.display();
            return Err(Failure::usage(format!(
                "{path}: context: {context:?}: this build can't reach a cluster yet"
            )));
        }
        let layers = Layers { flags, environment, file: found.unwrap_or_default(), path: &config_file.value };
        Ok(Self {
            server: layers.server()?,
            token: environment.variable("CHAOS_TOKEN").or_else(|| layers.file(layers.file.token.clone())),
            state: layers.state(),
            output: layers.output()?,
            target_app: layers.target_app(),
            threshold: layers.threshold()?,
            prometheus: environment
                .variable("CHAOS_PROMETHEUS")
                .or_else(|| layers.file(layers.file.safety.prometheus.clone())),
            signals: layers
                .file(Some(layers.file.safety.signals.clone()).filter(|signals| !signals.is_empty()))
                .unwrap_or_else(|| Setting::new(Vec::new(), Origin::Default)),
            ca: flags
                .ca
                .clone()
                .map(|path| Setting::new(path, Origin::Flag("ca")))
                .or_else(|| path(environment.variable("CHAOS_CA"))),
            database: environment.variable("DATABASE_URL"),
            log: environment.variable("CHAOS_LOG"),
            no_color: environment.get("NO_COLOR").is_some(),
            config_file: config_file.clone(),
            config_file_found,
            rest: layers.file,
        })
    }
}

fn read(path: &Path) -> Result<Option<FileConfig>, Failure> {
    FileConfig::read(path).map_err(|error| match error {
        ConfigError::Read { source, .. } => Failure::file("read", path, source),
        ConfigError::Defect { error, .. } => {
            Failure::Document { source: path.display().to_string(), errors: vec![*error] }
        }
    })
}

fn path(setting: Option<Setting<String>>) -> Option<Setting<PathBuf>> {
    setting.map(|setting| Setting::new(PathBuf::from(setting.value), setting.origin))
}

struct Layers<'l> {
    flags: &'l Global,
    environment: &'l Environment,
    file: FileConfig,
    path: &'l Path,
}

impl Layers<'_> {
    fn file<T>(&self, value: Option<T>) -> Option<Setting<T>> {
        value.map(|value| Setting::new(value, Origin::File(self.path.to_owned())))
    }

    fn server(&self) -> Result<Option<Setting<String>>, Failure> {
        let server = self
            .flags
            .server
            .clone()
            .map(|url| Setting::new(url, Origin::Flag("server")))
            .or_else(|| self.environment.variable("CHAOS_SERVER"))
            .or_else(|| self.file(self.file.server.clone()));
        match server {
            Some(server)
                if !["http://", "https://", "unix:/"].iter().any(|start| server.value.starts_with(start)) =>
            {
                Err(Failure::usage(format!(
                    "the server {:?} ({}) is no URL; expected http://HOST:PORT, https://… or unix:/PATH",
                    server.value, server.origin
                )))
            }
            server => Ok(server),
        }
    }

    /// Absolute, because other terminals find the owner's socket by it from wherever they are.
    fn state(&self) -> Setting<PathBuf> {
        let Setting { value, origin } = self.state_as_given();
        Setting::new(std::path::absolute(&value).unwrap_or(value), origin)
    }

    fn state_as_given(&self) -> Setting<PathBuf> {
        let flag = self.flags.state.clone().map(|path| Setting::new(path, Origin::Flag("state")));
        flag.or_else(|| path(self.environment.variable("CHAOS_STATE")))
            .or_else(|| self.file(self.file.state.clone()))
            .unwrap_or_else(|| Setting::new(self.environment.state_folder(), Origin::Default))
    }

    fn output(&self) -> Result<Setting<Format>, Failure> {
        if let Some(format) = self.flags.output {
            return Ok(Setting::new(format, Origin::Flag("output")));
        }
        let Some(text) = self.environment.variable("CHAOS_OUTPUT") else {
            return Ok(Setting::new(Format::Text, Origin::Default));
        };
        let format = Format::from_str(&text.value, false).map_err(|_| {
            Failure::usage(format!(
                "CHAOS_OUTPUT is {:?}; expected text, wide, json, yaml or jsonl",
                text.value
            ))
        })?;
        Ok(Setting::new(format, text.origin))
    }

    /// The file comes before the variable here: a variable of the shell is the weaker word on what is broken.
    fn target_app(&self) -> Setting<String> {
        self.file(self.file.target_app.clone())
            .or_else(|| self.environment.variable("CHAOS_TARGET_APP"))
            .unwrap_or_else(|| Setting::new(ShortRequest::DEFAULT_APP.to_owned(), Origin::Default))
    }

    fn threshold(&self) -> Result<Setting<f64>, Failure> {
        let Some(text) = self.environment.variable("CHAOS_SAFETY_THRESHOLD") else {
            return Ok(self
                .file(self.file.safety.threshold)
                .unwrap_or_else(|| Setting::new(DEFAULT_THRESHOLD, Origin::Default)));
        };
        match text.value.trim().parse() {
            Ok(value) if (0.0..=1.0).contains(&value) => Ok(Setting::new(value, text.origin)),
            _ => Err(Failure::usage(format!(
                "CHAOS_SAFETY_THRESHOLD is {:?}; expected a number from 0 to 1",
                text.value
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Environment { variables: pairs.collect(), root: false }
    }

    fn written(text: &str) -> (tempfile::TempDir, Global) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).expect("written");
        (folder, Global { config_file: Some(path), ..Global::default() })
    }

    #[test]
    fn a_flag_outweighs_a_variable_outweighs_the_file() {
        let (_folder, mut flags) = written("server: http://file:1\nsafety: { threshold: 0.5 }\n");
        let load = |flags: &Global, env: &[(&str, &str)]| {
            Settings::load(flags, &environment(env)).map(|all| all.server.map(|one| one.value))
        };
        let variable = [("CHAOS_SERVER", "http://variable:1")];
        assert_eq!(load(&flags, &[]).expect("loads").as_deref(), Some("http://file:1"));
        assert_eq!(load(&flags, &variable).expect("loads").as_deref(), Some("http://variable:1"));
        flags.server = Some("http://flag:1".into());
        assert_eq!(load(&flags, &variable).expect("loads").as_deref(), Some("http://flag:1"));
    }

    #[test]
    fn the_app_of_the_file_outweighs_the_variable() {
        let (_folder, flags) = written("targetApp: checkout\n");
        let variable = environment(&[("CHAOS_TARGET_APP", "cart")]);
        let app = |flags: &Global| Settings::load(flags, &variable).expect("loads").target_app;
        assert_eq!(app(&flags).value, "checkout");
        assert_eq!(
            app(&Global::default()),
            Setting::new("cart".into(), Origin::Variable("CHAOS_TARGET_APP"))
        );
    }

    #[test]
    fn the_folders_follow_xdg_and_root_has_its_own() {
        let home = environment(&[("HOME", "/home/ada")]);
        assert_eq!(home.state_folder(), Path::new("/home/ada/.local/state/chaos"));
        let xdg = environment(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "/data")]);
        assert_eq!(xdg.state_folder(), Path::new("/data/chaos"));
        let relative = environment(&[("HOME", "/home/ada"), ("XDG_STATE_HOME", "data")]);
        assert_eq!(relative.state_folder(), Path::new("/home/ada/.local/state/chaos"));
        assert_eq!(Environment { root: true, ..xdg }.state_folder(), Path::new("/var/lib/chaos"));
    }

    #[test]
    fn a_defective_file_is_refused_with_the_path_and_the_nearest_name() {
        let (_folder, flags) = written("targetAp: checkout\n");
        let error = Settings::load(&flags, &environment(&[])).expect_err("defective");
        assert!(error.to_string().contains("targetAp: unknown field"), "{error}");
        assert!(error.to_string().contains("did you mean \"targetApp\"?"), "{error}");
        assert_eq!(error.code(), 2);
    }

    #[test]
    fn values_without_sense_are_refused() {
        for (name, value) in
            [("CHAOS_SAFETY_THRESHOLD", "1.5"), ("CHAOS_OUTPUT", "xml"), ("CHAOS_SERVER", "localhost:8081")]
        {
            let error = Settings::load(&Global::default(), &environment(&[(name, value)])).expect_err(name);
            assert_eq!(error.code(), 2, "{error}");
        }
    }
}
