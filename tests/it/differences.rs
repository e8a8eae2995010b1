//! Each row of `docs/reference/differences.md`, against the binary.

use crate::project::Folder;

/// A service with these attributes, loaded with these arguments: standard output on success, standard error otherwise.
fn config(attributes: &str, arguments: &[&str]) -> Result<String, String> {
    let folder = Folder::with(&format!("services:\n  web:\n    image: a\n    {attributes}\n"));
    let output = folder.run(&[&["config"], arguments].concat());
    match output.code {
        0 => Ok(output.stdout + &output.stderr),
        _ => Err(output.stderr),
    }
}

#[track_caller]
fn accepted(attributes: &str, arguments: &[&str], printed: &str) {
    let text = config(attributes, arguments).unwrap();
    assert!(text.contains(printed), "{text}");
}

#[track_caller]
fn refused(attributes: &str, message: &str) {
    let text = config(attributes, &[]).unwrap_err();
    assert!(text.contains(message), "{text}");
}

#[test]
fn every_row_is_true() {
    accepted("volumes: ['c:/data']\nvolumes: { c: }", &[], "type: volume\n        source: c\n        target: /data\n");
    refused("restart: sometimes", "\"sometimes\" is not a restart policy");
    refused("volumes: ['./a:data']", "the target \"data\" of a volume is not an absolute path");
    accepted("command: a && b", &[], "\"&& b\" is left out");
    accepted("command: a && b", &[], "    command:\n      - a\n    image");
    accepted("command: a | b", &[], "\"| b\" is left out");
    accepted("labels: { d: 2024-01-02 }", &[], "d: \"2024-01-02\"");
    accepted(
        "volumes: [{ type: bind, source: /x, target: /y, bind: { create_host_path: false } }]",
        &[],
        "create_host_path: false",
    );
    accepted("cpus: 0.5\n    deploy: { resources: { limits: { memory: 64m } } }", &[], "cpus: 0.5");
    accepted("networks: [default]", &["--no-normalize"], "default: null");
    accepted("environment: [A=b]\n    shm_size: 64M", &["--no-interpolate"], "environment:\n      A: b\n");
    accepted("tmpfs: /t\n    shm_size: 64M", &["--no-interpolate"], "shm_size: 64M\n    tmpfs:\n      - /t\n");
    accepted(
        "command: [\n    a\n    ]",
        &[],
        "warning: YAML 1.2 wants what is in brackets or braces further to the right",
    );
    accepted("command: \"a\n    b\"", &[], "warning: YAML 1.2 wants the lines of a quoted text further to the right");
    accepted("hostname: \"a\"#b", &[], "warning: YAML 1.2 wants a space before a comment");
    accepted("labels: { a: \"b\u{85}      c\" }", &[], "warning: YAML 1.2 takes U+0085 for a character");
    accepted("labels: { a: \"it\\'s\" }", &[], "YAML 1.2 knows no escape");
    accepted("labels: { a: \"b\u{2028}c\" }", &[], "warning: U+2028 is a character in YAML 1.2");
    accepted("environment: { UMASK: 0022 }", &[], "UMASK: \"18\"");
    accepted("environment: { UMASK: 0022 }", &[], "warning: 0022 is a number here, and becomes \"18\"");
    accepted("labels: { v: 1.10 }", &[], "hint: quote it to keep the text: \"1.10\"");
    accepted("labels: { v: True }", &[], "warning: True is a boolean here, and becomes \"true\"");
    let extended = Folder::with("services: { web: { extends: { file: sub/base.yaml, service: s } } }\n");
    extended.file("sub/base.yaml", "services: { s: { build: { dockerfile: D } } }\n");
    assert!(extended.ok(&["config"]).contains("/sub\n      dockerfile: D\n"), "{}", extended.ok(&["config"]));
    accepted("ports: [{ target: 80, host_ip: '' }]", &[], "      - mode: ingress\n        target: 80\n");
    for attribute in ["hostname: 'a b'", "dns_search: [\"a\\nb\"]", "networks: { default: { aliases: [\"a\\tb\"] } }"] {
        refused(attribute, "has blanks, line breaks or control characters");
    }
    refused("extra_hosts: [\"a b=1.2.3.4\"]", "the name in \"a b=1.2.3.4\" has blanks or control characters");
    accepted("extra_hosts: { a: '1.2.3.4,5.6.7.8' }", &[], "      - a=1.2.3.4\n      - a=5.6.7.8\n");
    accepted("networks: [a/b]\nnetworks: { a/b: {} }", &[], "_a/b\n");
    accepted(
        "develop: { watch: [{ path: ., action: rebuild }] }",
        &[],
        "warning: a watch rule of \"web\" does `rebuild`",
    );
    let named = Folder::with("name: My App.2\nservices: { web: { image: a } }\n");
    assert!(named.ok(&["config"]).starts_with("name: myapp2\n"));
    refused("extends: { file: 'oci://x/y', service: z }", "windlass reads Compose files of this machine only");
    let versions = Folder::with("services: { web: { image: 'node:${NODE_VERSION:-18}' } }\n");
    versions.file(".nvmrc", "22\n");
    assert!(versions.ok(&["config"]).contains("image: node:22"));
    accepted("tty: yes", &[], "\"yes\" is not a boolean in YAML 1.2");
    assert_eq!(config("tty: true", &["-q", "--format", "json"]).unwrap(), "[]\n");
    let both = config("imgae: a\n    tyt: b", &[]).unwrap_err();
    assert_eq!(both.matches("error: ").count(), 2, "{both}");
}
