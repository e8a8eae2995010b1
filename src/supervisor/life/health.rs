//! When to probe a container and what its probes say: Docker's rules, and a first answer without its wait.
//!
//! Docker probes for the first time one interval (30 seconds, or `start_interval`) after the start, so a service that
//! is ready after 40 ms is seen as healthy half a minute later. Here a container that is starting is probed at once
//! and then again and again in between, ever more rarely. These early probes can only make it healthy: their failures
//! do not count. Failures count at the moments at which Docker probes, so a container becomes unhealthy no sooner
//! than there.
//!
//! Times are durations since the container was started.

use std::time::Duration;

use jiff::Timestamp;

use crate::record::{Health, HealthSpec, HealthStatus, ProbeResult};

const KEPT: usize = 5;
const SHORTEST_GAP: Duration = Duration::from_millis(5);
/// The gap between early probes is this part of the time since the start: a service is seen to be ready at most that
/// much later than it is.
const GAP_PART: u32 = 20;
/// ... and at least so many times as long as the last probe took, so that probing does not slow down what it waits for.
const GAP_OF_PROBE: u32 = 2;

/// The health of a running container.
#[derive(Debug, Clone)]
pub struct Monitor {
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
    health: Health,
    /// When a failure counts again.
    counted_at: Duration,
    next: Duration,
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `None`: killed at its timeout, or could not be started.
    pub exit_code: Option<i32>,
    pub output: String,
}

/// A probe that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    began: Duration,
    counts: bool,
}

impl Monitor {
    /// `earlier` is the health that an earlier supervisor has seen of the same process.
    #[must_use]
    pub fn new(spec: &HealthSpec, earlier: Option<Health>, now: Duration) -> Self {
        let ms = Duration::from_millis;
        // Zero means the default, as in the peer.
        let or = |value: u64, default: u64| ms(if value == 0 { default } else { value });
        let mut monitor = Self {
            interval: or(spec.interval_ms, 30_000),
            timeout: or(spec.timeout_ms, 30_000),
            start_period: ms(spec.start_period_ms),
            start_interval: or(spec.start_interval_ms, 5_000),
            retries: spec.retries.max(1),
            health: earlier.unwrap_or(Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }),
            counted_at: Duration::ZERO,
            next: now,
        };
        monitor.counted_at = now + monitor.regular_gap(now);
        if monitor.health.status != HealthStatus::Starting {
            monitor.next = monitor.counted_at;
        }
        monitor
    }

    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// A probe that runs longer has failed.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the next probe is due.
    #[must_use]
    pub fn next(&self) -> Duration {
        self.next
    }

    #[must_use]
    pub fn begin(&self, now: Duration) -> Probe {
        Probe { began: now, counts: now >= self.counted_at }
    }

    /// Takes in a probe's result; whether the status has changed.
    pub fn finish(&mut self, probe: Probe, outcome: Outcome, now: Duration, start: Timestamp, end: Timestamp) -> bool {
        let before = self.health.status;
        if outcome.exit_code == Some(0) {
            self.health.failing_streak = 0;
            self.health.status = HealthStatus::Healthy;
        } else if probe.counts && !(before == HealthStatus::Starting && probe.began < self.start_period) {
            self.health.failing_streak += 1;
            if self.health.failing_streak >= self.retries {
                self.health.status = HealthStatus::Unhealthy;
            }
        }
        if self.health.log.len() >= KEPT {
            self.health.log.drain(..=self.health.log.len() - KEPT);
        }
        self.health.log.push(ProbeResult { start, end, exit_code: outcome.exit_code, output: outcome.output });
        if probe.counts || self.health.status != HealthStatus::Starting {
            self.counted_at = now + self.regular_gap(now);
        }
        self.next = self.counted_at.max(now);
        if self.health.status == HealthStatus::Starting {
            let took = now.saturating_sub(probe.began);
            let gap = SHORTEST_GAP.max(now / GAP_PART).max(took * GAP_OF_PROBE);
            self.next = self.counted_at.clamp(now, now + gap);
        }
        before != self.health.status
    }

    /// The peer's gap between two probes.
    fn regular_gap(&self, now: Duration) -> Duration {
        let early = self.health.status == HealthStatus::Starting && now < self.start_period;
        if early { self.start_interval } else { self.interval }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::HealthTest;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn spec(interval: u64, start_period: u64, start_interval: u64, retries: u32) -> HealthSpec {
        HealthSpec {
            test: HealthTest::Shell("true".into()),
            interval_ms: interval,
            timeout_ms: 1000,
            start_period_ms: start_period,
            start_interval_ms: start_interval,
            retries,
        }
    }

    fn outcome(code: i32) -> Outcome {
        Outcome { exit_code: Some(code), output: String::new() }
    }

    /// Probes that take `cost` until the status is not "starting"; the container is ready at `ready`.
    fn run(monitor: &mut Monitor, cost: Duration, ready: Option<Duration>) -> (Duration, usize) {
        let stamp = Timestamp::UNIX_EPOCH;
        for probes in 1..100_000 {
            let probe = monitor.begin(monitor.next());
            let now = monitor.next() + cost;
            let code = i32::from(ready.is_none_or(|ready| probe.began < ready));
            if monitor.finish(probe, outcome(code), now, stamp, stamp) {
                return (now, probes);
            }
        }
        panic!("still starting");
    }

    #[test]
    fn a_service_that_is_ready_is_seen_at_once() {
        let mut monitor = Monitor::new(&spec(30_000, 0, 5000, 3), None, Duration::ZERO);
        assert_eq!(run(&mut monitor, ms(2), Some(ms(0))), (ms(2), 1));
        assert_eq!(monitor.next(), ms(30_002));
    }

    #[test]
    fn a_service_is_seen_to_be_ready_soon_after_it_is_and_with_few_probes() {
        for ready in [20, 300, 1000, 10_000] {
            let mut monitor = Monitor::new(&spec(30_000, 0, 5000, 3), None, Duration::ZERO);
            let (seen, probes) = run(&mut monitor, ms(3), Some(ms(ready)));
            let late = seen.saturating_sub(ms(ready)).as_millis();
            assert!(late <= u128::from(12 + ready / 15), "{ready} ms: {late} ms late");
            assert!(probes < 200, "{ready} ms: {probes} probes");
        }
    }

    #[test]
    fn it_becomes_unhealthy_no_sooner_than_with_the_peer() {
        let mut monitor = Monitor::new(&spec(100, 0, 5000, 3), None, Duration::ZERO);
        let (at, _) = run(&mut monitor, ms(1), None);
        assert_eq!(monitor.health().status, HealthStatus::Unhealthy);
        assert!(at >= ms(300) && at < ms(330), "{at:?}");
        // The start period does not count, and its interval is used during it.
        let mut monitor = Monitor::new(&spec(1000, 5000, 500, 2), None, Duration::ZERO);
        let (at, _) = run(&mut monitor, ms(1), None);
        assert!(at >= ms(6000) && at < ms(7500), "{at:?}");
    }

    #[test]
    fn one_success_makes_it_healthy_again() {
        let stamp = Timestamp::UNIX_EPOCH;
        let mut monitor = Monitor::new(&spec(100, 0, 100, 1), None, Duration::ZERO);
        run(&mut monitor, ms(1), None);
        let probe = monitor.begin(monitor.next());
        assert!(monitor.finish(probe, outcome(0), probe.began, stamp, stamp));
        assert_eq!(monitor.health().status, HealthStatus::Healthy);
        assert_eq!(monitor.health().failing_streak, 0);
        assert_eq!(monitor.health().log.len(), 5);
    }

    #[test]
    fn a_new_supervisor_goes_on_where_the_old_one_was() {
        let earlier = Health { status: HealthStatus::Healthy, failing_streak: 1, log: Vec::new() };
        let monitor = Monitor::new(&spec(100, 0, 100, 3), Some(earlier), ms(60_000));
        assert_eq!(monitor.next(), ms(60_100));
        assert_eq!(monitor.health().failing_streak, 1);
    }

    proptest! {
        #[test]
        fn probes_never_overlap_and_the_streak_never_exceeds_what_counts(
            interval in 1u64..5000, start_period in 0u64..10_000, start_interval in 1u64..5000, retries in 1u32..6,
            codes in prop::collection::vec((0i32..2, 0u64..500), 1..100),
        ) {
            let mut monitor = Monitor::new(&spec(interval, start_period, start_interval, retries), None, Duration::ZERO);
            let mut now = Duration::ZERO;
            for (code, cost) in codes {
                prop_assert!(monitor.next() >= now);
                now = monitor.next();
                let probe = monitor.begin(now);
                now += ms(cost);
                let streak = monitor.health().failing_streak;
                monitor.finish(probe, outcome(code), now, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
                let health = monitor.health();
                prop_assert!(health.failing_streak <= streak + u32::from(probe.counts));
                prop_assert!(code != 0 || health.status == HealthStatus::Healthy);
                prop_assert_eq!(health.status == HealthStatus::Unhealthy, health.failing_streak >= retries);
                prop_assert!(health.log.len() <= KEPT);
                prop_assert!(monitor.next() <= now + ms(interval.max(start_interval)));
            }
        }
    }
}
