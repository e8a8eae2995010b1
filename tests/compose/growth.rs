//! Small files that stand for enormous projects, and enormous files: told as faults, within bounds of time and memory.

use std::path::Path;
use std::process::{Command, Stdio};

/// Address space of the process, in KiB.
const MEMORY: u32 = 1_500_000;
/// Seconds of processor time; debug builds are slow.
const TIME: u32 = 60;

/// What `windlass config` says about the files, within the limits.
#[track_caller]
fn config(files: &[(&str, &str)], args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run(folder.path(), args, Stdio::null())
}

#[track_caller]
fn run(folder: &Path, args: &[&str], input: Stdio) -> String {
    let limits = format!("ulimit -v {MEMORY}; ulimit -t {TIME}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limits, "sh", env!("CARGO_BIN_EXE_windlass")])
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("WINDLASS_HOME", folder.join("home"))
        .stdin(input)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code().is_some(), "killed by {:?}: {said:.2000}", output.status);
    assert!(!said.contains("panicked"), "{said:.2000}");
    assert!(said.len() < 2 << 20, "{} bytes of complaints", said.len());
    assert_eq!(output.status.success(), !said.contains("error:"), "{said:.2000}");
    said
}

#[track_caller]
fn refused(files: &[(&str, &str)], message: &str) {
    let said = config(files, &["config", "-q"]);
    assert!(said.contains(message), "{said:.2000}");
}

#[test]
fn aliases_of_aliases() {
    let mut bomb = "x-a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("x-a{level}: &a{level} [{aliases}]\n"));
    }
    refused(&[("compose.yaml", &bomb)], "aliases make this file too large");
}

#[test]
fn anchors_within_anchors() {
    let open: String = (0..90).map(|level| format!("&a{level} [")).collect();
    let text = format!("x-a: {open}{}{}\n", "x, ".repeat(200_000), "]".repeat(90));
    refused(&[("compose.yaml", &text)], "aliases make this file too large");
}

#[test]
fn deep_nesting() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("a:\n", "")] {
        let text = format!("x-a: {}{}\n", open.repeat(200_000), close.repeat(200_000));
        let said = config(&[("compose.yaml", &text)], &["config", "-q"]);
        assert!(said.contains("error:"), "{open}: {said:.500}");
    }
    let lines: String = (0..3000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refused(&[("compose.yaml", &lines)], "nested more than");
}

#[test]
fn large_files() {
    for text in [
        "services: {}\n".repeat(1_000_000),
        "a:\n".repeat(5_000_000),
        "- \n".repeat(5_000_000),
        "---\n".repeat(4_000_000),
        format!("[{}]", "1,".repeat(7_000_000)),
        format!("{{services: {{a: {{image: x, ports: [{}]}}}}}}", "[],".repeat(4_000_000)),
        format!("services:\n  a:\n    image: x\n    ports: [{}]\n", "[],".repeat(300_000)),
        format!("services:\n  a:\n    image: x\n    dns: [{}]\n", "5,".repeat(300_000)),
    ] {
        let said = config(&[("compose.yaml", &text)], &["config", "-q"]);
        assert!(said.contains("error:"), "{said:.500}");
    }
    refused(&[("compose.yaml", &" ".repeat(100 << 20))], "larger than 16 MiB");
    refused(
        &[("compose.yaml", "services: { a: { image: x } }"), (".env", &"A=1\n".repeat(25 << 20))],
        "larger than 16 MiB",
    );
}

#[test]
fn endless_files() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["-f", "/dev/zero", "config"], Stdio::null());
    assert!(said.contains("it is a device and not a file"), "{said:.500}");
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let said = run(folder.path(), &["-f", "-", "config"], zero.into());
    assert!(said.contains("larger than 16 MiB"), "{said:.500}");
}

/// A named pipe that nobody writes to would be waited for without end.
#[test]
fn named_pipes_instead_of_files() {
    let web = "services: { web: { image: x } }\n";
    for (pipe, compose, named) in [
        ("compose.yaml", "", "compose.yaml"),
        (".env", web, ".env"),
        ("a.yaml", "include: [a.yaml]\n", "a.yaml"),
        ("a.yaml", "services: { web: { extends: { file: a.yaml, service: x } } }\n", "a.yaml"),
        ("a.env", "services: { web: { image: x, env_file: a.env } }\n", "a.env"),
        ("a.env", "services: { web: { image: x, label_file: a.env } }\n", "a.env"),
        ("a.env", "include: [{ path: b.yaml, env_file: a.env }]\n", "a.env"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.yaml"), web).unwrap();
        if pipe != "compose.yaml" {
            std::fs::write(folder.path().join("compose.yaml"), compose).unwrap();
        }
        assert!(Command::new("mkfifo").arg(folder.path().join(pipe)).status().unwrap().success());
        let said = run(folder.path(), &["config", "-q"], Stdio::null());
        assert!(said.contains(named) && said.contains("it is a named pipe and not a file"), "{compose}: {said}");
    }
    // What a shell makes of `<(command)` is one, and is read.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.yaml"), web).unwrap();
    let output = Command::new("bash")
        .args([
            "-c",
            "exec \"$0\" -f <(cat b.yaml) --env-file <(echo A=b) -p p config --services",
            env!("CARGO_BIN_EXE_windlass"),
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "web\n", "{output:?}");
}

/// Texts that are read once they are mended: each step must be linear in what was mended.
#[test]
fn many_lines_that_yaml_would_refuse() {
    let lines = "x,\n".repeat(200_000);
    let said = config(
        &[("compose.yaml", &format!("services: {{ a: {{ image: x }} }}\nx-a: [\n{lines}]\n"))],
        &["config", "-q"],
    );
    assert!(said.contains("so it is at 200000 more places of this file"), "{said:.2000}");
    let keys = "{*a: x}, ".repeat(100_000);
    let text = format!("services: {{ a: {{ image: x }} }}\nx-k: &a k\nx-a: [{keys}]\n");
    let said = config(&[("compose.yaml", &text)], &["config", "-q"]);
    assert!(said.contains("so it is at 99999 more places of this file"), "{said:.2000}");
    let blanks = " ".repeat(4 << 20);
    refused(&[("compose.yaml", &format!("services:\n  a: b{blanks}c\n\td: e\n"))], "not valid YAML");
    refused(&[("compose.yaml", &format!("x-a: [\n{}", "]\n[\n".repeat(200_000)))], "not valid YAML");
}

#[test]
fn circles_of_files_and_services() {
    refused(
        &[("compose.yaml", "include: [a.yaml]\n"), ("a.yaml", "include: [compose.yaml]\n")],
        "include each other in a circle",
    );
    refused(
        &[
            ("compose.yaml", "services: { a: { extends: { file: b.yaml, service: b } } }\n"),
            ("b.yaml", "services: { b: { extends: { file: compose.yaml, service: a } } }\n"),
        ],
        "extend each other in a circle",
    );
    refused(&[("compose.yaml", "services: { a: { extends: a } }\n")], "extend each other in a circle");
}

#[test]
fn one_long_line_of_faults() {
    let items: String = (0..100_000).map(|_| "\"a\": 1, ").collect();
    let text = format!("{{\"services\": {{\"a\": {{\"image\": \"x\", {items} \"b\": 1}}}}}}");
    refused(&[("compose.yaml", &text)], "is set twice");
    let items: String = (0..100_000).map(|index| format!("\"a{index}\": \"${{UNSET_{index}}}\", ")).collect();
    let text = format!("{{\"services\": {{\"a\": {{\"image\": \"x\", \"labels\": {{{items}}}}}}}}}");
    let said = config(&[("compose.yaml", &text)], &["config", "-q"]);
    assert!(said.contains("more faults and warnings are not shown"), "{said:.2000}");
}

#[test]
fn variables_of_variables() {
    let mut lines = "V0=xxxxxxxxxx\n".to_owned();
    for level in 1..30 {
        lines.push_str(&format!("V{level}={}\n", format!("$V{}", level - 1).repeat(10)));
    }
    let compose = "services: { a: { image: x, hostname: $V29 } }";
    refused(&[("compose.yaml", compose), (".env", &lines)], "larger than 16 MiB");
    let large = format!("V={}\n", "x".repeat(1 << 20));
    let uses: String = (0..2_000).map(|index| format!("{{ a{index}: {} }}, ", "$V".repeat(3))).collect();
    let compose = format!("services: {{ a: {{ image: x }} }}\nx-a: [{uses}]\n");
    refused(&[("compose.yaml", &compose), (".env", &large)], "variables make this project too large");
}

#[test]
fn ranges_of_ports() {
    let ports = "\"1-65535\", ".repeat(50_000);
    refused(
        &[("compose.yaml", &format!("services: {{ a: {{ image: x, ports: [{ports}] }} }}\n"))],
        "the project becomes too large",
    );
}

#[test]
fn services_that_extend_large_services() {
    let labels: String = (0..20_000).map(|index| format!("l{index}: x, ")).collect();
    let services: String = (0..5_000).map(|index| format!("  s{index}: {{ extends: base }}\n")).collect();
    let text = format!("services:\n  base: {{ image: x, labels: {{ {labels} }} }}\n{services}");
    refused(&[("compose.yaml", &text)], "the project becomes too large");
}

#[test]
fn files_that_include_files_many_times() {
    let mut files: Vec<(String, String)> = (0..12)
        .map(|level| (format!("{level}.yaml"), format!("include: [{}]\n", format!("{}.yaml, ", level + 1).repeat(10))))
        .collect();
    files.push(("12.yaml".to_owned(), "services: { a: { image: x } }\n".to_owned()));
    files.push(("compose.yaml".to_owned(), "include: [0.yaml]\n".to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    refused(&files, "the project becomes too large");
}

#[test]
fn a_chain_of_many_services() {
    let chain: String =
        (1..30_000).map(|index| format!("  s{index}: {{ image: x, depends_on: [s{}] }}\n", index - 1)).collect();
    let text = format!("services:\n  s0: {{ image: x }}\n{chain}");
    assert_eq!(config(&[("compose.yaml", &text)], &["config", "--services"]), "", "a fault");
    let circle = text.replace("s0: { image: x }", "s0: { image: x, depends_on: [s29999] }");
    refused(&[("compose.yaml", &circle)], "wait for each other");
}
