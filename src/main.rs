//! The thin binary: picks the role, maps the exit code.

fn main() -> std::process::ExitCode {
    windlass::cli::main()
}
