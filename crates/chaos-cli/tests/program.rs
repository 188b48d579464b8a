//! The built program as a user sees it: verbs, help, exit codes, closed pipes, files. Nothing here touches a process
//! or needs a privilege.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Verbs of this build, as the help must list them.
const VERBS: [&str; 25] = [
    "run",
    "create",
    "list",
    "status",
    "stop",
    "delete",
    "lever",
    "approve",
    "health",
    "report",
    "incident",
    "audit",
    "token",
    "store",
    "validate",
    "init",
    "faults",
    "targets",
    "doctor",
    "recover",
    "config",
    "demo",
    "serve",
    "agent",
    "completions",
];

/// A home of its own for the program, so that nothing of this machine's configuration is read or written.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chaos(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
        command
            .env_clear()
            .env("HOME", self.0.path())
            .env("CHAOS_STATE", self.path("state"))
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.chaos().args(arguments).output().expect("the program starts"))
    }
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn without_arguments_it_prints_its_help() {
    let ended = Home::new().run(&[]);
    assert_eq!(ended.code, 0);
    assert!(ended.out.contains("Usage: chaos"), "{ended:?}");
}

#[test]
fn the_help_lists_exactly_the_verbs_of_this_build() {
    let help = Home::new().run(&["--help"]).out;
    let commands = help.split("Commands:").nth(1).expect("a list of commands");
    let commands = commands.split("\n\n").next().expect("its lines");
    let listed: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(listed, VERBS);
}

#[test]
fn both_names_are_the_same_program() {
    let version = |program: &str| {
        Ended::of(Command::new(program).arg("--version").output().expect("the program starts")).out
    };
    let expected = format!("chaos {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version(env!("CARGO_BIN_EXE_chaos")), expected);
    assert_eq!(version(env!("CARGO_BIN_EXE_chaos-cli")), expected);
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let home = Home::new();
    for arguments in [&["faults"][..], &["--help"], &["completions", "bash"], &["faults", "--output", "json"]]
    {
        let mut child = home
            .chaos()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        // Gone before the program can have written anything of size.
        drop(child.stdout.take());
        let ended = Ended::of(child.wait_with_output().expect("the program ends"));
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_exit_2_with_a_hint() {
    let home = Home::new();
    for (arguments, hint) in [
        (&["runn"][..], "run"),
        (&["run"], "--config <FILE>|--type <TYPE>"),
        (&["run", "--type", "pod_kil"], "did you mean \"pod_kill\"?"),
        (&["run", "--type", "pod_kill", "--percent", "101"], "above 0 and up to 100"),
        (&["run", "--type", "pod_kill", "--duration", "5 apples"], "expected a duration"),
        (&["run", "--type", "pod_kill", "--safety-threshold", "2"], "from 0 to 1"),
        (&["run", "--type", "cpu_stress", "--set", "laod=1"], "did you mean \"load\"?"),
        (&["run", "--type", "pod_kill", "--override", "max_affected"], "--reason"),
        (
            &["run", "--type", "pod_kill", "--override", "max_affectd", "--reason", "r"],
            "did you mean \"max_affected\"?",
        ),
        (&["run", "-f", "nowhere.yaml"], "nowhere.yaml"),
        (&["stop"], "--all"),
        (&["list", "--status", "sleeping"], "running"),
        (&["list", "--output", "xml"], "jsonl"),
        (&["list", "--config-file", "nowhere.yaml"], "nowhere.yaml"),
        (&["list", "--server", "localhost:8081"], "http://"),
        (&["serve", "--listen", "nowhere"], "an address and a port"),
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, 2, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[test]
fn every_example_is_valid() {
    let ended = Home::new().run(&["validate", "--recursive", examples().to_str().expect("UTF-8")]);
    assert_eq!(ended.code, 0, "{}", ended.out);
    let good = ended.out.lines().filter(|line| line.contains(": ok: ")).count();
    assert!(good >= 9 && good == ended.out.lines().count(), "{}", ended.out);
}

#[test]
fn every_fault_has_an_example_of_its_own_on_a_host() {
    for kind in chaos_core::spec::FaultKind::ALL {
        let path = examples().join("host").join(format!("{kind}.yaml"));
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(text.contains(&format!("- {kind}:")), "{}", path.display());
    }
}

#[test]
fn validate_says_of_each_document_whether_it_is_good() {
    let home = Home::new();
    let good = fs::read_to_string(examples().join("host/pod_kill.yaml")).expect("an example");
    let bad = good.replace("duration: 10s", "durration: 10s");
    fs::write(home.path("two.yaml"), format!("{good}\n---\n{bad}")).expect("written");
    let ended = home.run(&["validate", "two.yaml"]);
    assert_eq!(ended.code, 2);
    assert_eq!(
        ended.out,
        "two.yaml: ok: default/host-pod-kill, pod_kill\n\
         two.yaml: document 2: spec.durration: unknown field \"durration\"; expected one of hypothesis, target, faults, \
         duration, ramp, revert, baseline, probes, safety, recovery; did you mean \"duration\"?\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&home.run(&["validate", "two.yaml", "--output", "json"]).out).expect("JSON");
    assert_eq!(json[1]["errors"][0]["nearest"], "duration");
    assert_eq!(json[0]["valid"], true);
}

#[test]
fn validate_reads_standard_input_and_refuses_what_is_too_large() {
    let home = Home::new();
    let document = fs::File::open(examples().join("host/cpu_stress.yaml")).expect("an example");
    let ended = Ended::of(home.chaos().args(["validate", "-"]).stdin(document).output().expect("starts"));
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "standard input: ok: default/host-cpu-stress, cpu_stress\n")
    );
    fs::write(home.path("large.yaml"), "a".repeat(10 << 20)).expect("written");
    let ended = home.run(&["validate", "large.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.out.contains("at most 1048576"), "{}", ended.out);
}

#[test]
fn a_folder_without_documents_is_a_mistake() {
    let home = Home::new();
    fs::create_dir(home.path("empty")).expect("made");
    let ended = home.run(&["validate", "empty"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("--recursive"), "{}", ended.err);
}

#[test]
fn init_writes_a_valid_starter_and_never_overwrites() {
    let home = Home::new();
    assert_eq!(home.run(&["init", "--type", "network_partition"]).code, 0);
    assert_eq!(home.run(&["validate", "experiment.yaml"]).code, 0);
    let again = home.run(&["init"]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert!(fs::read_to_string(home.path("experiment.yaml")).expect("kept").contains("network_partition"));
    assert_eq!(home.run(&["init", "--force"]).code, 0);
    assert!(fs::read_to_string(home.path("experiment.yaml")).expect("written").contains("pod_kill"));
}

#[test]
fn config_show_names_the_origin_of_each_value_and_masks_secrets() {
    let home = Home::new();
    let config = home.path(".config/chaos");
    fs::create_dir_all(&config).expect("made");
    fs::write(
        config.join("config.yaml"),
        "targetApp: checkout\nsafety: { threshold: 0.7, prometheus: 'http://ada:secret@127.0.0.1:9090' }\n",
    )
    .expect("written");
    let show = |extra: &[&str]| {
        let mut command = home.chaos();
        command.args(["config", "show", "--output", "json"]).args(extra);
        command.env("CHAOS_TOKEN", "hidden").env("CHAOS_SAFETY_THRESHOLD", "0.9");
        let ended = Ended::of(command.output().expect("starts"));
        assert_eq!(ended.code, 0, "{}", ended.err);
        assert!(!ended.out.contains("hidden") && !ended.out.contains("secret"), "{}", ended.out);
        serde_json::from_str::<Vec<serde_json::Value>>(&ended.out).expect("an array")
    };
    let rows = show(&["--server", "http://127.0.0.1:1"]);
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).expect("a row").clone();
    assert_eq!(row("server")["origin"], "flag --server");
    assert_eq!(row("safety.threshold")["origin"], "variable CHAOS_SAFETY_THRESHOLD");
    assert_eq!(row("safety.threshold")["value"], 0.9);
    assert_eq!(row("targetApp")["value"], "checkout");
    assert!(row("targetApp")["origin"].as_str().is_some_and(|origin| origin.starts_with("file ")));
    assert_eq!(row("state")["origin"], "variable CHAOS_STATE");
}

#[test]
fn the_catalogue_is_a_table_and_a_fault_in_full() {
    let home = Home::new();
    let table = home.run(&["faults"]).out;
    assert!(table.starts_with("TYPE               WHAT\npod_kill           Kills"), "{table}");
    assert_eq!(table.lines().count(), 1 + chaos_core::spec::FaultKind::ALL.len());
    let one = home.run(&["faults", "cpu_stress"]).out;
    assert!(one.contains("load       80%"), "{one}");
    let json: serde_json::Value =
        serde_json::from_str(&home.run(&["faults", "cpu_stress", "--output", "json"]).out).expect("JSON");
    assert_eq!(json["defaults"]["load"], "80%");
    assert_eq!(home.run(&["faults", "--output", "jsonl"]).out.lines().count(), 5);
}

#[test]
fn completions_exist_for_every_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = home.run(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(ended.out.contains("validate"), "{shell}");
        assert!(!ended.out.contains("openapi"), "{shell}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_never_passed_over() {
    let home = Home::new();
    for arguments in [&["list"][..], &["run", "--type", "pod_kill"], &["stop", "--all"], &["health"]] {
        let ended = Ended::of(
            home.chaos().args(arguments).env("CHAOS_SERVER", "http://127.0.0.1:9").output().expect("starts"),
        );
        assert_eq!(ended.code, 1, "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("--standalone"), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains("CHAOS_SERVER"), "{arguments:?}: {}", ended.err);
    }
    assert!(!home.path("state").exists());
}

#[test]
fn create_without_a_server_says_how_to_start_one() {
    let home = Home::new();
    let example = examples().join("host/pod_kill.yaml");
    let ended = home.run(&["create", "--yaml", example.to_str().expect("UTF-8")]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("chaos serve"), "{}", ended.err);
}

#[test]
fn generated_files_are_the_same_twice() {
    let home = Home::new();
    for folder in ["one", "two"] {
        assert_eq!(home.run(&["generate", "--out", folder]).code, 0);
    }
    for file in [
        "reference/experiment.schema.json",
        "reference/openapi.json",
        "reference/faults.md",
        "man/chaos-run.1",
        "completions/_chaos",
    ] {
        let read = |folder: &str| fs::read(home.path(folder).join(file)).expect(file);
        assert_eq!(read("one"), read("two"), "{file}");
    }
}
