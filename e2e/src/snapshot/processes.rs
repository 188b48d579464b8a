//! Every process with its arguments, state, tracer, OOM score and cgroups; never its number.

use std::collections::BTreeSet;

use anyhow::Result;
use chaos_agent::sys::proc;

/// Describes every process but those in `leave_out`, the caller and its ancestors.
pub(super) fn read(leave_out: &BTreeSet<i32>, add: &mut dyn FnMut(String)) -> Result<()> {
    let mut skipped = leave_out.clone();
    let mut own = chaos_agent::sys::own_pid();
    while own > 0 && skipped.insert(own) {
        own = proc::stat(own).map_or(0, |stat| stat.parent);
    }
    for pid in proc::pids()? {
        if !skipped.contains(&pid)
            && let Some(text) = describe(pid)
        {
            add(text);
        }
    }
    Ok(())
}

/// None when it has ended meanwhile.
fn describe(pid: i32) -> Option<String> {
    let stat = proc::stat(pid).ok()?;
    if stat.is_kernel_thread() {
        return None;
    }
    let command = proc::command_line(pid).ok()?;
    let command =
        if command.is_empty() { format!("[{}]", stat.comm) } else { without_ports(command).join(" ") };
    let threads = proc::threads(pid).unwrap_or_default();
    let traced = threads.iter().filter(|tid| proc::thread_tracer(pid, **tid) != 0).count();
    let stopped =
        threads.iter().filter(|tid| proc::thread_stat(pid, **tid).is_ok_and(|stat| is_stop(stat.state)));
    let stopped = stopped.count();
    let state = match stat.state {
        'Z' | 'X' => "dead and not reaped".to_owned(),
        _ if traced + stopped > 0 => format!("{stopped} threads stopped, {traced} traced"),
        _ => "running".to_owned(),
    };
    let oom = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default();
    let cgroups: BTreeSet<String> =
        proc::cgroups(pid).map(|paths| paths.all().map(str::to_owned).collect()).unwrap_or_default();
    let cgroups = cgroups.into_iter().collect::<Vec<_>>().join(" ");
    Some(format!("{command:?}, {state}, oom {}, cgroups {cgroups}", oom.trim()))
}

/// A sample system that was started again keeps the ports that were free at first.
fn without_ports(mut command: Vec<String>) -> Vec<String> {
    for index in 1..command.len() {
        if matches!(command[index - 1].as_str(), "--port" | "--admin-port") {
            command[index] = "N".to_owned();
        }
    }
    command
}

fn is_stop(state: char) -> bool {
    matches!(state, 'T' | 't')
}
