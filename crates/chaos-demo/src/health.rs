//! Owns the verdict on a replica from its health checks. It never makes a check.

/// Healthy or not, with thresholds in both directions so that one odd check changes nothing.
#[derive(Debug)]
pub(crate) struct Health {
    healthy: bool,
    against: u32,
}

impl Health {
    /// A replica that just reported itself ready.
    pub(crate) fn ready() -> Self {
        Self { healthy: true, against: 0 }
    }

    /// A replica that has not.
    pub(crate) fn absent() -> Self {
        Self { healthy: false, against: 0 }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// One check `passed` or not; the verdict turns after so many in a row that contradict it.
    pub(crate) fn record(&mut self, passed: bool, healthy_after: u32, unhealthy_after: u32) {
        if passed == self.healthy {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= if passed { healthy_after } else { unhealthy_after } {
            *self = Self { healthy: passed, against: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_turns_only_on_a_streak() {
        for (checks, healthy) in [
            ("", true),
            ("--", true),
            ("--+--", true),
            ("---", false),
            ("---+", false),
            ("---++", true),
            ("---+-+", false),
        ] {
            let mut health = Health::ready();
            for check in checks.chars() {
                health.record(check == '+', 2, 3);
            }
            assert_eq!(health.is_healthy(), healthy, "{checks:?}");
        }
    }
}
