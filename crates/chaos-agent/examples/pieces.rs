//! Temporary measurement.
#![allow(clippy::all, missing_docs, clippy::print_stdout)]
use std::time::*;
use chaos_agent::sys::*;
fn t<T>(n: &str, mut f: impl FnMut() -> T) { let mut v = vec![]; for _ in 0..20 { let s = Instant::now(); let _ = f(); v.push(s.elapsed().as_secs_f64()*1e3); } v.sort_by(f64::total_cmp); println!("{n}: p50 {:.2} max {:.2}", v[10], v[19]); }
fn main() {
    t("table", || proc::table::ProcessTable::read().unwrap().len());
    let table = proc::table::ProcessTable::read().unwrap();
    t("protection", || chaos_agent::host::Protection::new(&table, &Default::default()));
    t("pids", || proc::pids().unwrap().len());
    t("stats", || proc::pids().unwrap().into_iter().filter_map(|p| proc::stat(p).ok()).count());
    t("ns", || proc::pids().unwrap().into_iter().filter_map(|p| proc::namespace_inode(p, "net").ok()).count());
    t("sockets", || proc::sockets::sockets(&[own_pid()]));
    t("hier", || cgroup::Hierarchies::detect());
    t("ancestors sockets", || { let mut v = table.ancestors(own_pid()); v.push(1); v.into_iter().map(|p| proc::sockets::sockets(&[p]).is_ok()).count() });
    t("fsync", || files::fsync_write("/tmp/xx-fsync".as_ref(), &[1; 700]).unwrap());
    println!("{}", proc::pids().unwrap().len());
}
