//! What waits to be sent to one host: what undoes goes first, what says the same is joined.
//!
//! Owns the order and the bound. It never sends.

use std::collections::VecDeque;

use chaos_core::link::ServerFrame;

/// The most frames that wait for one host.
pub(super) const FRAMES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    urgent: VecDeque<ServerFrame>,
    others: VecDeque<ServerFrame>,
}

impl Outbox {
    /// Puts a frame into its place; false when there is no room. An undo may overtake its order: then the agent never
    /// applies it.
    pub(super) fn push(&mut self, frame: ServerFrame) -> bool {
        let lane = match frame {
            // The welcome comes before everything, and the connection has nothing before it.
            ServerFrame::Revert { .. } | ServerFrame::Welcome { .. } => &mut self.urgent,
            _ => &mut self.others,
        };
        let frame = match lane.back_mut() {
            Some(last) => last.join(frame),
            None => Some(frame),
        };
        let Some(frame) = frame else { return true };
        let room = lane.len() < FRAMES_MAX;
        if room {
            lane.push_back(frame);
        }
        room
    }

    /// The next frame.
    pub(super) fn pop(&mut self) -> Option<ServerFrame> {
        self.urgent.pop_front().or_else(|| self.others.pop_front())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.others.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chaos_core::run::RunId;

    fn renew(run: &str) -> ServerFrame {
        ServerFrame::Renew { runs: vec![RunId(run.into())] }
    }

    fn revert() -> ServerFrame {
        ServerFrame::Revert { run: RunId("a".into()), injections: Vec::new() }
    }

    #[test]
    fn what_undoes_goes_first_and_renewals_are_one_frame() {
        let mut outbox = Outbox::default();
        for frame in [renew("a"), renew("b"), revert()] {
            assert!(outbox.push(frame));
        }
        assert_eq!(outbox.pop(), Some(revert()));
        let both = ServerFrame::Renew { runs: vec![RunId("a".into()), RunId("b".into())] };
        assert_eq!(outbox.pop(), Some(both));
        assert!(outbox.is_empty() && outbox.pop().is_none());
    }

    #[test]
    fn there_is_a_bound() {
        let mut outbox = Outbox::default();
        let taken = (0..FRAMES_MAX + 10).filter(|_| outbox.push(revert())).count();
        assert_eq!(taken, FRAMES_MAX);
    }
}
