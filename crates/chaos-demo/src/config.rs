//! Owns the settings of the system, their defaults and their form as arguments. It never acts on them.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use crate::args::{UsageError, pairs};

/// The public port unless told otherwise.
pub const DEFAULT_PORT: u16 = 8080;
/// More replicas than this are refused.
pub const MAX_REPLICAS: u16 = 16;

/// What `--help` prints.
pub(crate) const USAGE: &str = "orchestrator: the sample system of `chaos demo`\n\n  \
    --address IP --port N (0: any free)   public address, 127.0.0.1:8080\n  \
    --replicas N                          1 to 16, default 4\n  \
    --breaker on|off                      circuit breaker of each replica\n  \
    --cgroups on|off                      a cgroup for each replica where the host allows it\n  \
    --with-stdin on|off                   end when standard input is closed\n  \
    --health-interval-ms --health-timeout-ms --unhealthy-after --healthy-after\n  \
    --attempt-timeout-ms --slow-call-ms --breaker-failures --breaker-open-ms\n  \
    --retry-percent --restart-backoff-ms";

/// The limits and clocks of the balancer and the supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// Pause between two health checks of one replica.
    pub health_interval: Duration,
    /// A health check that takes longer has failed.
    pub health_timeout: Duration,
    /// So many failed checks in a row take a replica out of rotation.
    pub unhealthy_after: u32,
    /// So many passed checks in a row put it back.
    pub healthy_after: u32,
    /// One attempt at one replica, connecting included, may take this long.
    pub attempt_timeout: Duration,
    /// A call unanswered for this long counts as a failure for the breaker, though it may still succeed;
    /// this alone opens the circuits of at most half of the replicas.
    pub slow_call: Duration,
    /// So many failures in a row open a replica's circuit.
    pub breaker_failures: u32,
    /// An open circuit gets its trial after this long.
    pub breaker_open: Duration,
    /// Retries may be this many percent of the requests.
    pub retry_percent: u32,
    /// Pause before a dead replica is started again; doubles while it dies before being ready.
    pub restart_backoff: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            health_interval: Duration::from_millis(250),
            health_timeout: Duration::from_millis(500),
            unhealthy_after: 3,
            healthy_after: 2,
            attempt_timeout: Duration::from_millis(250),
            slow_call: Duration::from_millis(100),
            breaker_failures: 3,
            breaker_open: Duration::from_secs(2),
            retry_percent: 20,
            restart_backoff: Duration::from_millis(300),
        }
    }
}

/// How to start the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The executable that calls [`crate::main`] when its `argv[0]` is [`crate::NAME`].
    pub program: PathBuf,
    /// The address of the public port; replicas are always on 127.0.0.1.
    pub address: IpAddr,
    /// The public port; 0 takes any free one.
    pub port: u16,
    /// How many replicas, 1 to [`MAX_REPLICAS`].
    pub replicas: u16,
    /// Whether the circuit breakers work.
    pub breaker: bool,
    /// Whether to try to give each replica a cgroup of its own.
    pub cgroups: bool,
    /// Whether it goes on when the process that started it ends.
    pub outlive_caller: bool,
    /// Where its standard error goes (appended); nowhere by default.
    pub log: Option<PathBuf>,
    /// [`crate::Orchestrator::start`] gives up after this long.
    pub start_timeout: Duration,
    /// Limits and clocks.
    pub tuning: Tuning,
    /// Marks all processes of one system in their arguments. [`crate::Orchestrator::start`] always draws
    /// its own.
    pub family: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: DEFAULT_PORT,
            replicas: 4,
            breaker: true,
            cgroups: true,
            outlive_caller: false,
            log: None,
            start_timeout: Duration::from_secs(10),
            tuning: Tuning::default(),
            family: None,
        }
    }
}

impl Config {
    /// Reads the supervisor's arguments; what is absent keeps its default.
    pub(crate) fn from_args(arguments: &[String]) -> Result<Self, UsageError> {
        let mut config = Self { outlive_caller: true, ..Self::default() };
        let tuning = &mut config.tuning;
        for pair in pairs(arguments)? {
            match pair.key {
                "--address" => config.address = pair.parse("expected an IP address")?,
                "--port" => config.port = pair.parse("expected a port")?,
                "--replicas" => {
                    config.replicas = pair.parse("expected a number from 1 to 16")?;
                    if !(1..=MAX_REPLICAS).contains(&config.replicas) {
                        return Err(pair.bad("expected a number from 1 to 16"));
                    }
                }
                "--breaker" => config.breaker = pair.switch()?,
                "--cgroups" => config.cgroups = pair.switch()?,
                "--with-stdin" => config.outlive_caller = !pair.switch()?,
                "--family" => config.family = Some(pair.value.to_owned()),
                "--health-interval-ms" => tuning.health_interval = pair.millis()?,
                "--health-timeout-ms" => tuning.health_timeout = pair.millis()?,
                "--unhealthy-after" => tuning.unhealthy_after = pair.parse("expected a count")?,
                "--healthy-after" => tuning.healthy_after = pair.parse("expected a count")?,
                "--attempt-timeout-ms" => tuning.attempt_timeout = pair.millis()?,
                "--slow-call-ms" => tuning.slow_call = pair.millis()?,
                "--breaker-failures" => tuning.breaker_failures = pair.parse("expected a count")?,
                "--breaker-open-ms" => tuning.breaker_open = pair.millis()?,
                "--retry-percent" => tuning.retry_percent = pair.parse("expected a percentage")?,
                "--restart-backoff-ms" => tuning.restart_backoff = pair.millis()?,
                _ => return Err(pair.unknown()),
            }
        }
        Ok(config)
    }

    /// The arguments from which [`Config::from_args`] makes the same system.
    pub(crate) fn to_args(&self) -> Vec<String> {
        let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
        let millis = |duration: Duration| duration.as_millis().to_string();
        let tuning = &self.tuning;
        let mut pairs = vec![
            ("--address", self.address.to_string()),
            ("--port", self.port.to_string()),
            ("--replicas", self.replicas.to_string()),
            ("--breaker", switch(self.breaker)),
            ("--cgroups", switch(self.cgroups)),
            ("--with-stdin", switch(!self.outlive_caller)),
            ("--health-interval-ms", millis(tuning.health_interval)),
            ("--health-timeout-ms", millis(tuning.health_timeout)),
            ("--unhealthy-after", tuning.unhealthy_after.to_string()),
            ("--healthy-after", tuning.healthy_after.to_string()),
            ("--attempt-timeout-ms", millis(tuning.attempt_timeout)),
            ("--slow-call-ms", millis(tuning.slow_call)),
            ("--breaker-failures", tuning.breaker_failures.to_string()),
            ("--breaker-open-ms", millis(tuning.breaker_open)),
            ("--retry-percent", tuning.retry_percent.to_string()),
            ("--restart-backoff-ms", millis(tuning.restart_backoff)),
        ];
        pairs.extend(self.family.clone().map(|family| ("--family", family)));
        pairs.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Config, UsageError> {
        Config::from_args(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_survive_the_way_there_and_back() {
        let config = Config {
            port: 0,
            replicas: 7,
            breaker: false,
            outlive_caller: false,
            family: Some("one-two".to_owned()),
            tuning: Tuning { slow_call: Duration::from_millis(77), ..Tuning::default() },
            ..Config::default()
        };
        assert_eq!(Config::from_args(&config.to_args()), Ok(config));
    }

    #[test]
    fn nonsense_is_refused_with_its_key() {
        for (line, part) in [
            ("--replicas 0", "1 to 16"),
            ("--replicas 17", "1 to 16"),
            ("--breaker maybe", "on or off"),
            ("--port 70000", "a port"),
            ("--slow-call-ms 0", "milliseconds"),
            ("--colour red", "unknown argument \"--colour\""),
            ("serve", "unknown argument \"serve\""),
            ("--port", "needs a value"),
        ] {
            let refusal = parse(line).expect_err(line).to_string();
            assert!(refusal.contains(part), "{line}: {refusal}");
        }
    }
}
