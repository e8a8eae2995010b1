//! `config` with the built binary: faults as data, the schema, variables, digests of images.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::project::Folder;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const BROKEN: &str =
    "services:\n  web:\n    imgae: a\n    ports: ['${PORT}:80']\n  db:\n    image: a\n    depends_on: [dbb]\n";

#[test]
fn faults_are_data_for_programs() {
    let mut folder = Folder::with(BROKEN);
    folder.set("PORT", "x");
    for arguments in [&["config", "--format", "json"][..], &["config", "-q", "--format", "json"]] {
        let output = folder.run(arguments);
        assert_eq!((output.code, output.stderr.as_str()), (1, ""), "{arguments:?}");
        let faults = json(&output.stdout);
        let find = |message: &str| {
            let mut all = faults.as_array().unwrap().iter();
            all.find(|fault| fault["message"].as_str().unwrap().contains(message))
                .unwrap_or_else(|| panic!("{message}"))
        };
        let unknown = find("unknown key `imgae`");
        assert_eq!(unknown["severity"], "error");
        assert_eq!(unknown["path"], "services.web.imgae");
        assert_eq!(unknown["hint"], "did you mean `image`?");
        let place = &unknown["place"];
        assert_eq!(place["file"], "/shop/compose.yaml");
        let numbers = ["line", "column", "end_line", "end_column"].map(|key| place[key].as_u64().unwrap());
        assert_eq!(numbers, [3, 5, 3, 10]);
        let port = find("invalid port");
        assert_eq!(
            port["notes"],
            serde_json::json!(["`${PORT}:80` became \"x:80\"", "$PORT comes from the environment"])
        );
        find("undefined service");
    }
}

#[test]
fn faults_of_two_places_name_both() {
    let folder =
        Folder::with("services:\n  web:\n    image: a\n    network_mode: host\n    networks: [a]\nnetworks: { a: }\n");
    let faults = json(&folder.run(&["config", "-q", "--format", "json"]).stdout);
    assert_eq!(faults[0]["related"][0]["line"], 5);
    assert_eq!(faults[0]["related"][0]["text"], "the other");
}

#[test]
fn a_project_without_faults_has_an_empty_list() {
    let fine = Folder::with("services: { web: { image: a } }\n");
    assert_eq!(json(&fine.ok(&["config", "-q", "--format", "json"])), serde_json::json!([]));
    let warned = Folder::with("version: '3'\nservices: { web: { image: a } }\n");
    let warnings = json(&warned.ok(&["config", "-q", "--format", "json"]));
    assert_eq!((&warnings[0]["severity"], &warnings[0]["place"]["line"]), (&"warning".into(), &1.into()));
    // The project goes to standard output, what is to be said about it to standard error.
    let output = warned.run(&["config", "--format", "json"]);
    assert_eq!(json(&output.stdout)["name"], "shop");
    assert_eq!(json(&output.stderr)[0]["severity"], "warning");
}

#[test]
fn commands_that_print_json_fail_in_json() {
    let folder = Folder::with(BROKEN);
    for arguments in
        [&["ps", "--format", "json"][..], &["volumes", "--format", "json"], &["--progress", "json", "config", "-q"]]
    {
        let output = folder.run(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{arguments:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{arguments:?}: {}", output.stderr);
        assert!(json(&output.stderr).as_array().unwrap().iter().any(|it| it["path"] == "services.web.imgae"));
    }
    let output = folder.run(&["ps"]);
    assert!(output.stderr.contains("did you mean `image`?"), "{}", output.stderr);
}

#[test]
fn the_schema_needs_no_project() {
    let schema = json(&Folder::new().ok(&["config", "--schema"]));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let service = &schema["properties"]["services"]["additionalProperties"]["properties"];
    assert!(service["x-windlass"].is_object());
}

#[test]
fn variables_in_every_form() {
    let folder =
        Folder::with("services: { web: { image: 'a:${TAG:-1}', hostname: '${HOST:?why}', user: '${U:+u}' } }\n");
    let all = json(&folder.ok(&["config", "--variables", "--format", "json"]));
    assert_eq!(
        all["TAG"],
        serde_json::json!({"Name": "TAG", "DefaultValue": "1", "PresenceValue": "", "Required": false})
    );
    assert_eq!(all["HOST"]["Required"], true);
    assert_eq!(all["U"]["PresenceValue"], "u");
    let yaml = folder.ok(&["config", "--variables", "--format", "yaml"]);
    assert!(yaml.contains("TAG:\n  defaultvalue: \"1\"\n") || yaml.contains("TAG:\n  name: TAG\n"), "{yaml}");
    assert!(folder.ok(&["config", "--variables"]).starts_with("NAME "));
}

#[test]
fn what_variables_stand_for_may_be_unknown() {
    let folder = Folder::with(
        "services:\n  web:\n    image: '${IMAGE:?which}'\n    ports: ['${PORT}:80', '${PORT:-81}:81', '82:82']\n    \
         volumes: ['${DATA:-./data}:/data', '${MORE}:/more', './c:/c']\n    extra_hosts: ['${HOSTS}', 'a=${A}']\n    \
         devices: ['${DEVICE:-/dev/fuse}']\n    depends_on: ['${DB}']\n    networks: ['${NET}']\n    \
         env_file: ['${STAGE}.env']\n    command: echo ${WORDS:-a \"b}\n    mem_limit: ${MEM}\n    restart: '${RESTART}'\n    \
         secrets: ['${SECRET}']\n    healthcheck: { test: ['${PROBE}'], interval: '${EVERY}' }\n    deploy: { replicas: '${N}' }\n",
    );
    folder.file("compose.override.yaml", "services: { web: { ports: ['${PORT}:90'], volumes: ['${LAST}:/last'] } }\n");
    let printed = json(&folder.ok(&["config", "--no-interpolate", "--format", "json"]));
    let web = &printed["services"]["web"];
    assert_eq!(web["ports"][0], "${PORT}:80");
    assert_eq!(web["ports"][2]["published"], "82");
    assert_eq!(web["ports"].as_array().unwrap().len(), 4);
    assert_eq!(web["volumes"].as_array().unwrap().len(), 4);
    assert_eq!(web["command"], "echo ${WORDS:-a \"b}");
    let table = folder.ok(&["config", "--variables"]);
    for name in
        ["PORT", "DATA", "HOSTS", "DEVICE", "DB", "NET", "STAGE", "WORDS", "MEM", "SECRET", "PROBE", "N", "LAST"]
    {
        assert!(table.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}:\n{table}");
    }
}

/// A registry that knows one manifest: `me/app:1`. Its address, and the manifest's digest.
fn registry() -> (String, String) {
    const MANIFEST: &str =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    fn answer(stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut request = String::new();
            if reader.read_line(&mut request)? == 0 {
                return Ok(());
            }
            let mut header = String::new();
            while reader.read_line(&mut header)? > 2 {
                header.clear();
            }
            let (status, kind, body) = match request.contains(" /v2/me/app/manifests/1 ") {
                true => ("200 OK", "application/vnd.oci.image.index.v1+json", MANIFEST),
                false => ("404 Not Found", "application/json", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            };
            let mut text = String::new();
            _ = write!(
                text,
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            reader.get_mut().write_all(text.as_bytes())?;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || _ = answer(stream));
        }
    });
    (host, format!("sha256:{}", hex(&Sha256::digest(MANIFEST))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn images_get_their_digests() {
    let (host, digest) = registry();
    let pinned = format!("{host}/me/app:1@{digest}");
    let folder = Folder::with(&format!(
        "services:\n  web: {{ image: '{host}/me/app:1', environment: {{ A: b }} }}\n  \
         same: {{ image: '{host}/me/app:${{TAG:-1}}' }}\n  old: {{ image: '{host}/me/old:1@{digest}' }}\n  built: {{ build: . }}\n"
    ));
    let resolved = json(&folder.ok(&["config", "--resolve-image-digests", "--format", "json"]));
    assert_eq!(resolved["services"]["web"]["image"], pinned.as_str());
    assert_eq!(resolved["services"]["web"]["environment"]["A"], "b");
    assert_eq!(resolved["services"]["old"]["image"], format!("{host}/me/old@{digest}"));
    let lock = folder.ok(&["config", "--lock-image-digests"]);
    assert_eq!(
        lock,
        format!(
            "services:\n  built: {{}}\n  old:\n    image: {host}/me/old@{digest}\n  same:\n    image: {pinned}\n  web:\n    image: {pinned}\n"
        )
    );
    // It is an override file: with it the project is what it was, at these digests.
    folder.file("lock.yaml", &lock);
    let locked = json(&folder.ok(&["-f", "compose.yaml", "-f", "lock.yaml", "config", "--format", "json"]));
    assert_eq!(locked["services"]["same"]["image"], pinned.as_str());
    assert_eq!(locked["services"]["web"]["environment"]["A"], "b");
}

#[test]
fn an_image_that_no_registry_has_is_named() {
    let (host, _) = registry();
    let folder = Folder::with(&format!(
        "services: {{ a: {{ image: '{host}/me/none:1' }}, b: {{ image: '{host}/me/app:${{X-1}}' }} }}\n"
    ));
    let output = folder.run(&["config", "--resolve-image-digests"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains(&format!("cannot learn the digest of {host}/me/none:1")), "{}", output.stderr);
    let raw = folder.run(&["config", "--lock-image-digests", "--no-interpolate"]);
    assert!(raw.stderr.contains("nothing is interpolated"), "{}", raw.stderr);
}

#[test]
fn each_flag_of_config_changes_what_is_printed() {
    let folder = Folder::with(
        "services:\n  web:\n    image: web:${TAG:-1}\n    env_file: [web.env]\n    volumes: ['./src:/src', 'data:/data']\n    networks: [front]\n    depends_on: [db]\n  db: { build: ., models: [small] }\n  off: { image: off, profiles: [more] }\nnetworks: { front: , back: }\nvolumes: { data: , spare: }\nmodels: { small: { model: ai/small } }\n",
    );
    folder.file("web.env", "FROM=file\n");
    folder.file(".env", "TAG=7\n");
    let text = |arguments: &[&str]| {
        let output = folder.run(&[&["config"], arguments].concat());
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        output.stdout
    };
    let whole = text(&[]);
    for part in ["FROM: file", "image: web:7", "source: /shop/src", "name: shop_front"] {
        assert!(whole.contains(part), "{part}: {whole}");
    }
    assert!(text(&["--environment"]).contains("TAG=7\n"));
    assert_eq!(text(&["--images"]).lines().collect::<Vec<_>>(), ["shop-db", "web:7"]);
    assert_eq!(text(&["--models"]), "ai/small\n");
    assert_eq!(text(&["--profiles"]), "more\n");
    assert!(text(&["--networks"]).contains("back\n") && text(&["--volumes"]).contains("spare\n"));
    assert_eq!(text(&["--services"]), "db\nweb\n");
    let hashes = text(&["--hash", "*"]);
    assert_eq!(hashes.lines().count(), 2);
    assert_eq!(
        text(&["--hash", "web"]),
        hashes.lines().find(|line| line.starts_with("web ")).unwrap().to_owned() + "\n"
    );
    let unresolved = text(&["--no-env-resolution"]);
    assert!(unresolved.contains("web.env") && !unresolved.contains("FROM"), "{unresolved}");
    assert!(text(&["--no-path-resolution"]).contains("source: ./src"));
    assert!(text(&["--no-interpolate"]).contains("${TAG:-1}"));
    assert!(!text(&["--no-normalize"]).contains("shop_front"));
    assert_eq!(text(&["-q"]), "");
    assert_eq!(text(&["-o", "out.yaml"]), "");
    assert_eq!(std::fs::read_to_string(folder.path().join("out.yaml")).unwrap().len(), {
        let output = folder.run(&["config"]).stdout;
        output.replace("/shop", &folder.path().to_string_lossy()).len()
    });
    folder.file("compose.yaml", "services: { web: { image: a, depends_on: [dbb] } }\n");
    assert_eq!(folder.run(&["config"]).code, 1);
    assert!(text(&["--no-consistency"]).contains("dbb"));
}

#[test]
fn variables_choose_files_projects_and_profiles() {
    let mut folder = Folder::with("services: { web: { image: \"a:${TAG:-none}\" } }\n");
    folder.file("more.yaml", "services: { off: { image: b, profiles: [more] } }\n");
    folder.file(".env", "TAG=dot\n");
    folder.file("one.env", "TAG=one\n");
    folder.file("two.env", "OTHER=1\n");
    let config = |folder: &Folder| folder.run(&["config"]).stdout;
    assert!(config(&folder).contains("a:dot"));
    folder.set("COMPOSE_DISABLE_ENV_FILE", "1");
    assert!(config(&folder).contains("a:none"));
    folder.set("COMPOSE_DISABLE_ENV_FILE", "0");
    folder.set("COMPOSE_ENV_FILES", "one.env,two.env");
    assert!(config(&folder).contains("a:one"));
    folder.set("COMPOSE_FILE", "compose.yaml:more.yaml");
    folder.set("COMPOSE_PROFILES", "more,and");
    assert!(config(&folder).contains("image: b"));
    folder.set("COMPOSE_PATH_SEPARATOR", "+");
    folder.set("COMPOSE_FILE", "compose.yaml+more.yaml");
    assert!(config(&folder).contains("image: b"));
    folder.set("COMPOSE_PROFILES", "");
    assert!(!config(&folder).contains("image: b"));
    folder.set("COMPOSE_PROJECT_NAME", "named");
    assert!(config(&folder).contains("name: named\n"));
}

#[test]
fn who_calls_through_sudo_is_told_where_variables_went() {
    let mut folder = Folder::with("services: { web: { image: \"a:${TAG}\" } }\n");
    assert!(!folder.run(&["config"]).stderr.contains("sudo"));
    folder.set("SUDO_UID", "1000");
    let told = folder.run(&["config"]).stderr;
    assert!(told.contains("TAG is not set") && told.contains("sudo NAME=VALUE windlass"), "{told}");
    folder.set("TAG", "1");
    assert_eq!(folder.run(&["config"]).stderr, "");
}

#[test]
fn what_files_say_about_files_and_names_is_followed() {
    let mut folder = Folder::with(
        r#"
version: "3.8"
name: market
include:
  - { path: [parts/base.yaml, parts/more.yaml], env_file: parts/of.env, project_directory: elsewhere }
services:
  web:
    extends: { file: parts/shared.yaml, service: shared }
    ports: [{ target: 80, name: http, app_protocol: http2, mode: host }]
    secrets: [word]
    configs: [text]
secrets: { word: { name: the-word, file: ./word.txt } }
configs: { text: { name: the-text, content: words } }
"#,
    );
    folder.file("parts/base.yaml", "services: { base: { image: 'a:${TAG}', volumes: ['./src:/src'] } }\n");
    folder.file("parts/more.yaml", "services: { base: { command: [more] } }\n");
    folder.file("parts/of.env", "TAG=included\n");
    folder.file("parts/shared.yaml", "services: { shared: { image: shared, labels: { from: file } } }\n");
    let output = folder.run(&["config", "--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let config = json(&output.stdout);
    assert_eq!(config["name"], "market");
    assert!(output.stderr.contains("`version` is obsolete"), "{}", output.stderr);
    let base = &config["services"]["base"];
    assert_eq!((&base["image"], &base["command"][0]), (&"a:included".into(), &"more".into()));
    assert_eq!(base["volumes"][0]["source"], "/shop/elsewhere/src");
    let web = &config["services"]["web"];
    assert_eq!((&web["image"], &web["labels"]["from"]), (&"shared".into(), &"file".into()));
    let port = &web["ports"][0];
    assert_eq!(
        (&port["name"], &port["app_protocol"], &port["mode"]),
        (&"http".into(), &"http2".into(), &"host".into())
    );
    assert_eq!(
        (&config["secrets"]["word"]["name"], &config["configs"]["text"]["name"]),
        (&"the-word".into(), &"the-text".into())
    );
    // The name of the shell's goes before that of the file.
    folder.set("COMPOSE_PROJECT_NAME", "stall");
    assert_eq!(json(&folder.run(&["config", "--format", "json"]).stdout)["name"], "stall");
}

/// `windlass … | head`, and a full disk.
#[test]
fn who_reads_may_leave_and_a_full_disk_is_a_fault() {
    let folder = Folder::with("services: { web: { image: a } }\n");
    for arguments in [&["version"][..], &["config"], &["graph"], &["config", "--services"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let left = folder.command(arguments).stdout(writer).output().unwrap();
        assert_eq!(
            (left.status.code(), String::from_utf8_lossy(&left.stderr).as_ref()),
            (Some(0), ""),
            "{arguments:?}"
        );
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = folder.command(arguments).stdout(full).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(
            text.contains("cannot write to standard output") && !text.contains("panicked"),
            "{arguments:?}: {text}"
        );
    }
}
