//! The packet rules and queueing disciplines of one network namespace, read with `nft` and `tc`: programs of others,
//! as witnesses against our own code.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use super::{Kind, Network};

/// The one table that is ours.
const OURS: (&str, &str) = ("inet", "chaos");

/// Describes what the namespace holds; the caller's own when none is given.
pub(super) fn read(network: Option<&Network>, add: &mut dyn FnMut(Kind, String)) -> Result<()> {
    let name = network.map_or("own network", |network| network.name.as_str());
    let (rules, qdiscs) = match network {
        None => outputs()?,
        // Of this thread only, which ends at once: the namespace is left with it.
        Some(network) => std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&*network.namespace, CloneFlags::CLONE_NEWNET)
                    .context("entering a network namespace")?;
                outputs()
            });
            thread.join().unwrap_or_else(|_| bail!("reading the rules of {name} panicked"))
        })?,
    };
    for (kind, text) in rules_of(&rules) {
        add(kind, format!("{name}: {text}"));
    }
    for qdisc in qdiscs.as_array().into_iter().flatten() {
        let field = |name: &str| qdisc.get(name).map(ToString::to_string).unwrap_or_default();
        add(Kind::Qdisc, format!("{name}: {} {} on {}", field("kind"), field("handle"), field("dev")));
    }
    Ok(())
}

fn outputs() -> Result<(Value, Value)> {
    Ok((output("nft", &["-j", "list", "ruleset"])?, output("tc", &["-j", "qdisc", "show"])?))
}

fn output(program: &str, arguments: &[&str]) -> Result<Value> {
    // A plain user's path often lacks the administration folders where these live.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        bail!("{program} said {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {program} says"))
}

/// Rules and elements in words. In our own table chains, sets and the table itself are nothing, and a rule is inert
/// whose set of victims, whose elements expire, is empty; elsewhere everything counts.
fn rules_of(ruleset: &Value) -> Vec<(Kind, String)> {
    let things: Vec<(&str, &Value)> = ruleset
        .get("nftables")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_object()?.iter().next().map(|(kind, thing)| (kind.as_str(), thing)))
        .collect();
    let (mut live, mut lasting) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    for (_, set) in things.iter().filter(|(kind, thing)| matches!(*kind, "set" | "map") && is_ours(thing)) {
        // Peers and ports that rules compare with: they name no victim.
        if !set.get("flags").is_some_and(|flags| flags.to_string().contains("timeout")) {
            lasting.insert(text(set, "name"));
            continue;
        }
        let elements = set.get("elem").and_then(Value::as_array).map_or(0, Vec::len);
        if elements > 0 {
            let name = text(set, "name");
            found.push((Kind::Rule, format!("{elements} live elements in our set {name}")));
            live.insert(name);
        }
    }
    for (kind, thing) in things {
        if matches!(kind, "metainfo") {
            continue;
        }
        if !is_ours(thing) {
            found.push((Kind::Rule, format!("{kind} {}", without_counts(thing))));
        } else if kind == "rule" {
            let mut sets = Vec::new();
            sets_in(thing, &mut sets);
            sets.retain(|set| !lasting.contains(set));
            let inert = !sets.is_empty() && sets.iter().any(|set| !live.contains(set));
            let state = if inert { Kind::InertRule } else { Kind::Rule };
            found.push((state, format!("our rule {}", without_counts(thing))));
        }
    }
    found
}

fn is_ours(thing: &Value) -> bool {
    let table = thing.get("table").or_else(|| thing.get("name"));
    text(thing, "family") == OURS.0 && table.and_then(Value::as_str) == Some(OURS.1)
}

fn text(thing: &Value, field: &str) -> String {
    thing.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The names of all sets that a rule looks into.
fn sets_in(value: &Value, sets: &mut Vec<String>) {
    match value {
        Value::String(text) => sets.extend(text.strip_prefix('@').map(str::to_owned)),
        Value::Array(values) => values.iter().for_each(|value| sets_in(value, sets)),
        Value::Object(fields) => fields.values().for_each(|value| sets_in(value, sets)),
        _ => {}
    }
}

/// Handles and counters differ between two readings of the same rule.
fn without_counts(value: &Value) -> Value {
    match value {
        Value::Array(values) => values.iter().map(without_counts).collect(),
        Value::Object(fields) => {
            let stays = |name: &&String| !matches!(name.as_str(), "handle" | "packets" | "bytes" | "expires");
            let kept = fields.iter().filter(|(name, _)| stays(name));
            Value::Object(kept.map(|(name, value)| (name.clone(), without_counts(value))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(elements: Value, expected: &[Kind]) {
        let ruleset = json!({ "nftables": [
            { "metainfo": { "version": "1" } },
            { "table": { "family": "inet", "name": "chaos", "handle": 1 } },
            { "chain": { "family": "inet", "table": "chaos", "name": "in" } },
            { "set": { "family": "inet", "table": "chaos", "name": "a", "flags": ["timeout"], "elem": elements } },
            { "set": { "family": "inet", "table": "chaos", "name": "peers", "flags": ["interval"], "elem": ["::1"] } },
            { "rule": { "family": "inet", "table": "chaos", "expr": [
                { "match": { "op": "in", "left": {}, "right": "@peers" } },
                { "match": { "op": "in", "left": {}, "right": "@a" } }, { "drop": null } ] } },
        ]});
        let kinds: Vec<Kind> = rules_of(&ruleset).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_rule_of_ours_acts_only_while_its_set_has_elements() {
        check(json!([]), &[Kind::InertRule]);
        check(json!(["192.0.2.1"]), &[Kind::Rule, Kind::Rule]);
    }

    #[test]
    fn the_table_of_somebody_else_counts_whatever_is_in_it() {
        let ruleset = json!({ "nftables": [{ "table": { "family": "ip", "name": "chaos", "handle": 7 } }] });
        assert_eq!(rules_of(&ruleset).len(), 1);
    }
}
