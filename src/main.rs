//! The thin binary: picks the role by the name that it was started with, maps the exit code.

use std::ffi::OsStr;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    match arguments.next() {
        Some(name) if name == OsStr::new(windlass::keeper::ROLE) => windlass::keeper::main(arguments),
        Some(name) if name == OsStr::new(windlass::keeper::SUPERVISOR_ROLE) => windlass::serve::main(arguments),
        _ => windlass::cli::main(),
    }
}
