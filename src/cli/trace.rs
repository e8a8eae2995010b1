//! `-v` (tracing to stderr) and `--timings` (where the time went).

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Target of the spans that `--timings` prints: `tracing::info_span!(target: TIMING, "load", what = "compose.yaml")`.
pub const TIMING: &str = "windlass::timing";

/// Steps that were measured by the supervisor, in microseconds after it was asked.
static FOREIGN: Mutex<Vec<(String, u64, u64)>> = Mutex::new(Vec::new());

/// Adds a step that was measured elsewhere.
pub fn foreign(step: &str, start_us: u64, took_us: u64) {
    if let Ok(mut steps) = FOREIGN.lock() {
        steps.push((step.to_owned(), start_us, took_us));
    }
}

/// The trace of one command.
#[derive(Debug)]
pub struct Trace {
    steps: Option<Arc<Mutex<Vec<Step>>>>,
    begin: Instant,
}

#[derive(Debug)]
struct Step {
    name: String,
    what: String,
    start: Instant,
    end: Instant,
}

impl Trace {
    /// Installs the subscribers that were asked for; none when nothing was.
    #[must_use]
    pub fn start(verbose: u8, timings: bool) -> Self {
        let begin = Instant::now();
        let steps = timings.then(|| Arc::new(Mutex::new(Vec::new())));
        let text = (verbose > 0).then(|| {
            let level = if verbose == 1 { "windlass=debug" } else { "windlass=trace" };
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .with_filter(EnvFilter::new(level))
        });
        if text.is_some() || steps.is_some() {
            let timing = steps.clone().map(TimingLayer);
            let _ = tracing_subscriber::registry().with(text).with(timing).try_init();
        }
        Self { steps, begin }
    }

    /// Prints the steps in the order in which they began.
    pub fn finish(self) {
        let Some(steps) = self.steps else { return };
        let total = self.begin.elapsed();
        let Ok(mut steps) = steps.lock() else { return };
        steps.sort_by_key(|step| step.start);
        eprintln!("{:>10}  {:>10}  step", "start ms", "took ms");
        for step in steps.iter() {
            let start = step.start.saturating_duration_since(self.begin).as_secs_f64() * 1e3;
            let took = step.end.saturating_duration_since(step.start).as_secs_f64() * 1e3;
            eprintln!("{start:>10.2}  {took:>10.2}  {} {}", step.name, step.what);
        }
        if let Ok(mut foreign) = FOREIGN.lock()
            && !foreign.is_empty()
        {
            foreign.sort_by_key(|step| step.1);
            eprintln!("{:>10}  {:>10}  in the supervisor, from its being asked", "", "");
            for (step, start, took) in foreign.iter() {
                eprintln!("{:>10.2}  {:>10.2}  {step}", *start as f64 / 1e3, *took as f64 / 1e3);
            }
        }
        eprintln!("{:>10}  {:>10.2}  total", "", total.as_secs_f64() * 1e3);
    }
}

struct TimingLayer(Arc<Mutex<Vec<Step>>>);

struct Started(Instant, String);

struct What(String);

impl Visit for What {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "what" {
            self.0 = format!("{value:?}").trim_matches('"').to_owned();
        }
    }
}

impl<S> Layer<S> for TimingLayer
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && span.metadata().target() == TIMING
        {
            let mut what = What(String::new());
            attributes.record(&mut what);
            span.extensions_mut().insert(Started(Instant::now(), what.0));
        }
    }

    fn on_close(&self, id: tracing::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Started(start, what)) = span.extensions_mut().remove::<Started>() else { return };
        if let Ok(mut steps) = self.0.lock() {
            steps.push(Step { name: span.name().to_owned(), what, start, end: Instant::now() });
        }
    }
}
