//! Owns the retry budget: a token bucket filled by requests. It never decides what is worth a retry.

/// Retries that may be saved up in quiet times, in thousandths of a token.
const CAP: u32 = 10_000;
/// One retry, in thousandths of a token.
const RETRY: u32 = 1_000;

/// How many retries are still allowed.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: u32,
    per_request: u32,
}

impl Budget {
    /// A full bucket that gains `percent` of a retry with each request.
    pub(crate) fn new(percent: u32) -> Self {
        Self { tokens: CAP, per_request: percent.min(100) * RETRY / 100 }
    }

    /// A request came in.
    pub(crate) fn deposit(&mut self) {
        self.tokens = (self.tokens + self.per_request).min(CAP);
    }

    /// Takes one retry out, if there is one.
    pub(crate) fn withdraw(&mut self) -> bool {
        let paid = self.tokens >= RETRY;
        if paid {
            self.tokens -= RETRY;
        }
        paid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stay_a_share_of_the_requests() {
        let mut budget = Budget::new(20);
        let retries = (0..1_000)
            .filter(|_| {
                budget.deposit();
                budget.withdraw()
            })
            .count();
        assert!((200..=210).contains(&retries), "{retries} of 1000");
    }

    #[test]
    fn quiet_times_save_up_no_more_than_the_cap() {
        let mut budget = Budget::new(20);
        for _ in 0..1_000_000 {
            budget.deposit();
        }
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
    }
}
