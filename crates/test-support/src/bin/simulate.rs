//! Plays many seeds of the simulator on every processor; run by `cargo xtask simulate`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use test_support::simulator::broken::{self, Broken};
use test_support::simulator::{Played, play};

/// What is asked for.
struct Asked {
    seeds: u64,
    from: u64,
    variant: Broken,
    trace: bool,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { seeds: 1000, from: 0, variant: broken::SOUND, trace: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no number"));
        match word.as_str() {
            "--seeds" => asked.seeds = number(value()?)?,
            "--from" => asked.from = number(value()?)?,
            "--trace" => asked.trace = true,
            "--variant" => {
                let name = value()?;
                let found = broken::ALL.into_iter().find(|variant| variant.name == name);
                let names: Vec<&str> = broken::ALL.iter().map(|variant| variant.name).collect();
                asked.variant =
                    found.ok_or_else(|| format!("no variant {name:?}; there are {}", names.join(", ")))?;
            }
            _ => {
                return Err(format!(
                    "unknown {word:?}; expected --seeds N, --from SEED, --variant NAME, --trace"
                ));
            }
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            say(&format!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    let begin = Instant::now();
    let (next, steps, runs) = (AtomicU64::new(asked.from), AtomicU64::new(0), AtomicU64::new(0));
    let breach: Mutex<Option<Played>> = Mutex::new(None);
    let end = asked.from.saturating_add(asked.seeds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end || breach.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                        return;
                    }
                    let played = play(seed, asked.variant);
                    steps.fetch_add(played.steps, Ordering::SeqCst);
                    runs.fetch_add(played.runs as u64, Ordering::SeqCst);
                    if asked.trace {
                        say(&played.trace.join("\n"));
                    }
                    if played.breach.is_some() {
                        breach.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(played);
                    }
                }
            });
        }
    });
    let played = next.load(Ordering::SeqCst).min(end) - asked.from;
    let counts = format!(
        "{played} seeds, {} runs, {} steps, {:.1} s",
        runs.load(Ordering::SeqCst),
        steps.load(Ordering::SeqCst),
        begin.elapsed().as_secs_f64()
    );
    match breach.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => {
            say(&format!("simulate: {counts}, 0 breaches"));
            ExitCode::SUCCESS
        }
        Some(Played { seed, breach, trace, .. }) => {
            say(&trace.join("\n"));
            say(&format!("simulate: {counts}; seed {seed}: {}", breach.unwrap_or_default()));
            say(&format!("again: cargo xtask simulate --from {seed} --seeds 1"));
            ExitCode::FAILURE
        }
    }
}

/// A reader that has gone is no error.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
