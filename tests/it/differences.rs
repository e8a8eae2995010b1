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
    accepted("ports: ['80:80', '${P}:81']", &["--no-interpolate"], "published: \"80\"\n        target: 80\n");
    refused("extends: { file: 'oci://x/y', service: z }", "windlass reads Compose files of this machine only");
    let versions = Folder::with("services: { web: { image: 'node:${NODE_VERSION:-18}' } }\n");
    versions.file(".nvmrc", "22\n");
    assert!(versions.ok(&["config"]).contains("image: node:22"));
    accepted("tty: yes", &[], "\"yes\" is not a boolean in YAML 1.2");
    assert_eq!(config("tty: true", &["-q", "--format", "json"]).unwrap(), "[]\n");
    let both = config("imgae: a\n    tyt: b", &[]).unwrap_err();
    assert_eq!(both.matches("error: ").count(), 2, "{both}");
}
