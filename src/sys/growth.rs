//! For tests: how the time of some work grows with its size.

/// How many times the processor time of `work(8 * size)` is that of `work(size)`: eight for what is linear, more than
/// sixty for what is quadratic.
pub fn eightfold(size: usize, work: impl FnMut(usize)) -> u64 {
    fold(8, size, work)
}

/// How many times the processor time of `work(times * size)` is that of `work(size)`. Time of the processor, for this
/// thread alone, and the least of several runs, so that a busy machine changes little. The kernel's part still varies
/// by a few times where files are made: there, many `times` keep what is linear far from what is quadratic.
pub fn fold(times: usize, size: usize, mut work: impl FnMut(usize)) -> u64 {
    let mut run = |size: usize| {
        let before = processor_time();
        work(size);
        processor_time() - before
    };
    let (mut one, mut many) = (u64::MAX, u64::MAX);
    for round in 0..10 {
        (one, many) = (one.min(run(size)), many.min(run(times * size)));
        // Near to what is linear; otherwise the machine gets time to come to rest.
        if round > 1 && many / one.max(1) < 2 * times as u64 {
            break;
        }
    }
    many / one.max(1)
}

/// Nanoseconds that this thread has run.
fn processor_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into `time`, which lives as long as it runs.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every thread has a clock");
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("time does not go backwards")
}
