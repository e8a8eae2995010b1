//! Whether and when a container that ended is started again: Docker's policies and its back-off.

use std::time::Duration;

use super::{RestartLimits, RestartPolicy};
use crate::runtime::spec::ExitStatus;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// Whoever ran this long starts afresh.
const STABLE: Duration = Duration::from_secs(10);

/// What is remembered between two exits of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restarts {
    policy: RestartPolicy,
    limits: RestartLimits,
    /// How often the container was started again since a person started it.
    count: u32,
    /// How many of these restarts in a row have failed: all, but for those that lasted as long as the window.
    failed: u32,
    delay: Option<Duration>,
}

impl Restarts {
    /// `count` is that of an earlier life of the supervisor.
    #[must_use]
    pub fn new(policy: RestartPolicy, limits: RestartLimits, count: u32) -> Self {
        Self { policy, limits, count, failed: count, delay: None }
    }

    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// A person has started the container: the counting begins anew.
    pub fn reset(&mut self) {
        self.count = 0;
        self.failed = 0;
        self.delay = None;
    }

    /// The container has ended by itself: how long to wait until it is started again, or `None` for never.
    pub fn after_exit(&mut self, exit: ExitStatus, ran: Duration) -> Option<Duration> {
        let wanted = match self.policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max_retries } => {
                let left = max_retries.is_none_or(|most| most == 0 || self.count < most);
                left && exit.code() != 0
            }
        };
        self.again(wanted, ran)
    }

    /// It was ended because it was unhealthy, which it is not to stay: whatever the policy, within its limits.
    pub fn after_unhealthy(&mut self, ran: Duration) -> Option<Duration> {
        self.again(true, ran)
    }

    fn again(&mut self, wanted: bool, ran: Duration) -> Option<Duration> {
        if ran >= STABLE {
            self.delay = None;
        }
        if self.limits.window_ms.is_some_and(|window| ran >= Duration::from_millis(window)) {
            self.failed = 0;
        }
        let delay = self.delay.map_or(FIRST_DELAY, |delay| (delay * 2).min(LONGEST_DELAY));
        self.delay = Some(delay);
        let delay = self.limits.delay_ms.map_or(delay, Duration::from_millis);
        let left = self.limits.max_attempts.is_none_or(|most| self.failed < most);
        (wanted && left).then(|| {
            self.count += 1;
            self.failed += 1;
            delay
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAILED: ExitStatus = ExitStatus::Code(1);

    #[test]
    fn the_delay_doubles_up_to_a_minute_and_starts_afresh_after_a_stable_run() {
        let mut restarts = Restarts::new(RestartPolicy::Always, RestartLimits::default(), 0);
        let mut delays = Vec::new();
        for _ in 0..12 {
            delays.push(restarts.after_exit(FAILED, Duration::ZERO).unwrap().as_millis());
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000]);
        assert_eq!(restarts.after_exit(FAILED, STABLE), Some(FIRST_DELAY));
        assert_eq!(restarts.count(), 13);
    }

    #[test]
    fn on_failure_counts_and_gives_up() {
        let mut restarts =
            Restarts::new(RestartPolicy::OnFailure { max_retries: Some(2) }, RestartLimits::default(), 0);
        assert_eq!(restarts.after_exit(ExitStatus::Code(0), Duration::ZERO), None);
        assert!(restarts.after_exit(FAILED, Duration::ZERO).is_some());
        assert!(restarts.after_exit(ExitStatus::Signal(9), Duration::ZERO).is_some());
        assert_eq!(restarts.after_exit(FAILED, Duration::ZERO), None);
        restarts.reset();
        assert_eq!(restarts.after_exit(FAILED, Duration::ZERO), Some(FIRST_DELAY));
    }

    #[test]
    fn without_a_policy_nothing_is_started_again() {
        let mut restarts = Restarts::new(RestartPolicy::No, RestartLimits::default(), 0);
        assert_eq!(restarts.after_exit(FAILED, Duration::ZERO), None);
    }

    fn limited(policy: RestartPolicy, delay: Option<u64>, most: Option<u32>, window: Option<u64>) -> Restarts {
        Restarts::new(policy, RestartLimits { delay_ms: delay, max_attempts: most, window_ms: window }, 0)
    }

    #[test]
    fn a_delay_of_ones_own_replaces_the_back_off() {
        let mut restarts = limited(RestartPolicy::Always, Some(700), None, None);
        for _ in 0..5 {
            assert_eq!(restarts.after_exit(FAILED, Duration::ZERO), Some(Duration::from_millis(700)));
        }
    }

    #[test]
    fn only_restarts_that_fail_within_the_window_count() {
        let quick = Duration::from_millis(10);
        let mut restarts = limited(RestartPolicy::Always, None, Some(2), None);
        assert!(restarts.after_exit(FAILED, quick).is_some());
        assert!(restarts.after_exit(FAILED, STABLE).is_some(), "without a window every restart counts");
        assert_eq!(restarts.after_exit(FAILED, STABLE), None);
        let mut restarts = limited(RestartPolicy::Always, None, Some(2), Some(1000));
        assert!(restarts.after_exit(FAILED, quick).is_some());
        assert!(restarts.after_exit(FAILED, quick).is_some());
        let mut patient = restarts.clone();
        assert_eq!(restarts.after_exit(FAILED, quick), None);
        assert!(patient.after_exit(FAILED, Duration::from_secs(1)).is_some(), "it lasted: counting begins anew");
    }

    #[test]
    fn what_is_unhealthy_is_restarted_without_a_policy_and_within_its_limits() {
        let mut restarts = limited(RestartPolicy::No, None, Some(1), None);
        assert_eq!(restarts.after_unhealthy(Duration::ZERO), Some(FIRST_DELAY));
        assert_eq!(restarts.after_unhealthy(Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn limits_hold_whatever_happens(
            runs in prop::collection::vec((0u64..20_000, 0i32..2, prop::bool::ANY), 1..60),
            most in 1u32..5,
            window in prop::option::of(1u64..5000),
        ) {
            let mut restarts = limited(RestartPolicy::Always, None, Some(most), window);
            let mut in_a_row = 0;
            for (ran, code, unhealthy) in runs {
                let ran = Duration::from_millis(ran);
                if window.is_some_and(|window| ran >= Duration::from_millis(window)) {
                    in_a_row = 0;
                }
                let delay = if unhealthy {
                    restarts.after_unhealthy(ran)
                } else {
                    restarts.after_exit(ExitStatus::Code(code), ran)
                };
                prop_assert_eq!(delay.is_some(), in_a_row < most);
                in_a_row += u32::from(delay.is_some());
            }
        }

        #[test]
        fn delays_are_bounded_and_never_shrink_but_after_stable_runs(
            runs in prop::collection::vec((0u64..20_000, 0i32..3), 1..60),
            limit in prop::option::of(0u32..5),
        ) {
            let mut restarts = Restarts::new(RestartPolicy::OnFailure { max_retries: limit }, RestartLimits::default(), 0);
            let mut last = Duration::ZERO;
            for (ran, code) in runs {
                let ran = Duration::from_millis(ran);
                let before = restarts.count();
                if let Some(delay) = restarts.after_exit(ExitStatus::Code(code), ran) {
                    prop_assert!(code != 0);
                    prop_assert!((FIRST_DELAY..=LONGEST_DELAY).contains(&delay));
                    prop_assert!(ran >= STABLE || delay >= last);
                    prop_assert_eq!(restarts.count(), before + 1);
                    last = delay;
                } else {
                    prop_assert_eq!(restarts.count(), before);
                    last = Duration::ZERO;
                }
                if let Some(most) = limit.filter(|most| *most > 0) {
                    prop_assert!(restarts.count() <= most);
                }
            }
        }
    }
}
