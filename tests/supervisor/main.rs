//! The supervisor with its keeper and real containers. This program is all three: the role is in its name.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod engine;
mod health;
mod life;
mod network;
mod project;
mod survival;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::rc::Rc;

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let role = arguments.next().unwrap_or_default();
    if role == windlass::keeper::ROLE || role == windlass::keeper::SUPERVISOR_ROLE {
        let _ = tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).try_init();
    }
    if role == windlass::keeper::ROLE {
        return windlass::keeper::main(arguments);
    }
    if role == windlass::keeper::SUPERVISOR_ROLE {
        return windlass::serve::process::main(arguments, |project| Rc::new(engine::TestEngine { project }));
    }
    run()
}

/// Like the usual harness, as far as it is needed: filters, `--list`, `--exact` and the rest are taken or ignored.
fn run() -> ExitCode {
    assert!(rustix::process::geteuid().is_root(), "these tests start real containers: run them as root");
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--test-threads") {
        arguments.drain(place..arguments.len().min(place + 2));
    }
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let tests: Vec<Test> = [life::TESTS, health::TESTS, network::TESTS, survival::TESTS].concat();
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let begin = std::time::Instant::now();
        let ok = catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {} ({:?})", if ok { "ok" } else { "FAILED" }, begin.elapsed());
        if !ok {
            failed.push(name);
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
