//! Pauses of real processes: everything stops, and everything goes on whoever dies.

use std::sync::atomic::{AtomicPtr, Ordering};

use super::super::testing::{Child, Forked, eventually};
use super::super::worker::shared::SharedState;
use super::group::PauseGroup;
use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn state(pid: i32) -> char {
    proc::stat(pid).map_or('-', |stat| stat.state)
}

#[test]
fn every_thread_is_stopped_and_runs_again_afterwards() {
    let victim = Forked::start(|| {
        for _ in 0..3 {
            std::thread::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        loop {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    eventually("it has its threads", || proc::threads(victim.pid()).unwrap().len() == 4);
    for _ in 0..20 {
        let mut pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
        pause.prove_stopped().unwrap();
        assert_eq!(pause.pump().unwrap(), Held::Stopped);
        assert_eq!(pause.resume(PATIENCE).unwrap(), Resumed::Running);
        assert_eq!(pause.resume(PATIENCE).unwrap(), Resumed::Running);
        assert!(pause.prove_stopped().is_err());
    }
    let before = proc::process_cpu_time(victim.pid()).unwrap();
    eventually("it works again", || proc::process_cpu_time(victim.pid()).unwrap() > before);
}

#[test]
fn threads_that_are_born_during_the_pause_are_caught_too() {
    let victim = Forked::start(|| {
        loop {
            let _ = std::thread::spawn(|| {}).join();
        }
    });
    for _ in 0..50 {
        let mut pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
        pause.prove_stopped().unwrap();
        assert_eq!(pause.resume(PATIENCE).unwrap(), Resumed::Running);
    }
}

#[test]
fn a_victim_that_was_stopped_by_a_signal_stays_stopped() {
    let victim = Child::sleeping();
    let held = PidFd::open(victim.identity()).unwrap();
    held.send_signal(libc::SIGSTOP).unwrap();
    eventually("it is stopped", || state(victim.pid()) == 'T');
    let mut pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
    assert!(pause.was_stopped());
    pause.prove_stopped().unwrap();
    assert_eq!(pause.resume(PATIENCE).unwrap(), Resumed::StoppedBySignal);
    eventually("it is stopped again", || state(victim.pid()) == 'T');
    held.send_signal(libc::SIGCONT).unwrap();
    eventually("it goes on", || state(victim.pid()) == 'S');
}

static COUNTED: AtomicPtr<SharedState> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn count_signal(_: libc::c_int) {
    // SAFETY: the pointer was set before the handler was installed and its target is never freed.
    let counted = unsafe { &*COUNTED.load(Ordering::Acquire) };
    counted.set_touched(counted.touched_bytes() + 1);
}

/// A forked process that counts one signal in its handler and otherwise burns CPU time.
fn counting_victim(signal: i32) -> Forked {
    COUNTED.store(Box::leak(Box::new(SharedState::new().unwrap())), Ordering::Release);
    let handler: extern "C" fn(libc::c_int) = count_signal;
    // SAFETY: the handler only uses atomics.
    unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
    let victim = Forked::start(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    // SAFETY: the parent goes back to the default.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    victim
}

#[test]
fn signals_that_come_before_and_while_it_is_held_all_arrive() {
    let signal = libc::SIGRTMIN() + 3;
    let victim = counting_victim(signal);
    let held = PidFd::open(victim.identity()).unwrap();
    let rounds = 100;
    // A real-time signal is queued, so every single one counts; the first of each round races with the seizing.
    for _ in 0..rounds {
        held.send_signal(signal).unwrap();
        let mut pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
        held.send_signal(signal).unwrap();
        assert_eq!(pause.pump().unwrap(), Held::Stopped);
        pause.prove_stopped().unwrap();
        pause.resume(PATIENCE).unwrap();
    }
    // SAFETY: set by `start` and never freed.
    let counted = unsafe { &*COUNTED.load(Ordering::Acquire) };
    eventually("every signal was handled", || counted.touched_bytes() == 2 * rounds);
}

#[test]
fn a_victim_killed_while_it_is_held_is_reported_and_gone() {
    let victim = Child::sleeping();
    let mut pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
    pause.victim().send_signal(libc::SIGKILL).unwrap();
    eventually("the pause sees the death", || pause.pump().unwrap() == Held::Gone);
    assert_eq!(pause.resume(PATIENCE).unwrap(), Resumed::Gone);
    assert!(matches!(Pause::seize(victim.identity(), PATIENCE), Err(SysError::Gone { .. })));
}

#[test]
fn a_victim_that_is_traced_already_is_refused_by_name() {
    let victim = Child::sleeping();
    let _pause = Pause::seize(victim.identity(), PATIENCE).unwrap();
    let identity = victim.identity();
    let refused =
        std::thread::spawn(move || Pause::seize(identity, PATIENCE).map(|_| ()).unwrap_err()).join();
    let own = super::super::own_pid();
    assert!(matches!(refused.unwrap(), SysError::AlreadyTraced { tracer, .. } if tracer == own));
}

#[test]
fn a_dropped_pause_and_a_dead_tracer_let_the_victim_go() {
    let victim = Child::sleeping();
    drop(Pause::seize(victim.identity(), PATIENCE).unwrap());
    eventually("it is free after a drop", || state(victim.pid()) == 'S');
    let identity = victim.identity();
    super::super::testing::in_single_threaded_process(move || {
        let pause = Pause::seize(identity, PATIENCE).map_err(|error| error.to_string())?;
        pause.prove_stopped().map_err(|error| error.to_string())?;
        std::mem::forget(pause);
        Ok(())
    });
    eventually("it is free after its tracer's death", || state(victim.pid()) == 'S');
    assert_eq!(proc::status(victim.pid()).unwrap().tracer, 0);
}

#[test]
fn a_group_is_held_with_everything_that_it_forks_meanwhile() {
    let victim = Forked::start(|| {
        loop {
            // SAFETY: the child only ends; the parent waits for it.
            unsafe {
                let pid = libc::fork();
                if pid == 0 {
                    libc::usleep(500);
                    libc::_exit(0);
                }
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    });
    for _ in 0..20 {
        let mut group = PauseGroup::seize(&[victim.identity()], PATIENCE).unwrap();
        group.prove_stopped().unwrap();
        assert!(group.processes().any(|process| process == victim.identity()));
        assert_eq!(group.pump().unwrap(), Held::Stopped);
        for (_, resumed) in group.resume(PATIENCE).unwrap() {
            assert_ne!(resumed, Resumed::StoppedBySignal);
        }
    }
    let before = proc::process_cpu_time(victim.pid()).unwrap();
    eventually("it works again", || proc::process_cpu_time(victim.pid()).unwrap() > before);
    assert!(matches!(PauseGroup::seize(&[], PATIENCE), Err(SysError::Gone { .. })));
}
