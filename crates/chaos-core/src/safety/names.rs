//! What a target is called, for rules that go by name.
//!
//! Owns the list of names and the comparison with `*`. It never decides what a name is protected from.

use std::collections::BTreeSet;

use crate::spec::{Experiment, HostTarget};
use crate::target::{Instance, Inventory};

/// The target of an experiment in words, as [`RunSummary::target`](crate::journal::RunSummary) has it.
pub(super) fn target(experiment: &Experiment) -> String {
    experiment.spec.target.host.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Every name that a rule can know the target by: what the document says, and of each instance that matches (a later
/// draw may hit any of them) its executable, its unit or container where it has that to itself, and the name in its
/// id. Other words for the same victim are no way around a rule.
pub(super) fn of(host: Option<&HostTarget>, inventory: &Inventory) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    match host {
        Some(HostTarget::App(name) | HostTarget::Unit(name) | HostTarget::Container(name)) => {
            names.extend([name.clone()]);
        }
        Some(HostTarget::Process(process)) => names.extend(process.name.clone()),
        Some(HostTarget::Cgroup(path)) => names.extend(parts(path)),
        Some(HostTarget::Pid(_)) | None => {}
    }
    for instance in &inventory.instances {
        names.extend(of_instance(instance));
    }
    let plain: Vec<String> =
        names.iter().filter_map(|name| name.strip_suffix(".service").map(ToOwned::to_owned)).collect();
    names.extend(plain);
    names.remove("");
    names
}

fn of_instance(instance: &Instance) -> impl Iterator<Item = String> {
    let in_id = instance.id.rsplit_once('/').map(|(name, _)| name);
    // On another host its name comes first, but a program may have a colon in its own.
    let on_host = in_id.and_then(|name| name.split_once(':')).map(|(_, name)| name);
    let in_id = in_id.into_iter().chain(on_host).map(ToOwned::to_owned);
    // A process without a command line is shown by its name in brackets.
    let program = instance.command.split_whitespace().next().map(|word| word.trim_matches(['[', ']']));
    let program = program.and_then(|path| path.rsplit('/').next()).map(ToOwned::to_owned);
    in_id.chain(program).chain(instance.own_cgroup.iter().flat_map(|path| parts(path)))
}

/// The parts of a cgroup's path: slices, units, containers.
fn parts(path: &str) -> impl Iterator<Item = String> {
    path.split('/').map(ToOwned::to_owned)
}

/// Is it this name? `*` stands for any run of characters.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|prefix| name.strip_prefix(prefix)) else { return false };
    let Some(suffix) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(suffix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook definition, letter by letter.
    fn model(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| model(rest, &name[skip..])),
            ([a, pattern @ ..], [b, name @ ..]) => a == b && model(pattern, name),
            _ => false,
        }
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("sshd", "sshd", true),
            ("sshd", "sshd2", false),
            ("ssh*", "sshd", true),
            ("*sql*", "postgresql-17", true),
            ("a*a", "a", false),
            ("*", "anything", true),
            ("a*b*c", "abbc", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), model(&letters(&pattern), &letters(&name)));
        }
    }
}
