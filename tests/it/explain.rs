//! `explain` of a project of several files, with the built binary.

use std::fmt::Write as _;

use crate::project::Folder;

#[test]
fn trails_of_a_project_of_many_files() {
    let shop = Folder::copy("explain");
    let mut text = String::new();
    for path in [
        "name",
        "services.web.environment.DB_URL",
        "services.web.environment.LOG_LEVEL",
        "services.web.environment.REGION",
        "services.web.environment.CACHE",
        "services.web.environment.API_TOKEN",
        "services.web.environment.AUTH",
        "services.web.hostname",
        "services.web.image",
        "services.web.mem_limit",
        "services.web.ports",
        "services.web.ports[2]",
        "services.web.volumes",
        "services.web.labels.traefik.http.routers.web.rule",
        "services.web.networks",
        "services.db.command",
        "services.debug.image",
        "services.redis.image",
        "networks.default.name",
        "configs.motd.content",
        "secrets.token",
        "services.web",
    ] {
        _ = writeln!(text, "$ windlass explain {path}\n{}", shop.ok(&["explain", path]));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn variables_of_a_project_of_many_files() {
    let mut shop = Folder::copy("explain");
    shop.set("TAG", "9");
    shop.file("dev.env", "DB_NAME=dev\n");
    let mut text = String::new();
    for flags in [&["explain", "--variables"][..], &["--env-file", "dev.env", "explain", "services.web.image"]] {
        _ = writeln!(text, "$ windlass {}\n{}", flags.join(" "), shop.ok(flags));
    }
    let named = ["--env-file", ".env", "--env-file", "dev.env", "explain", "services.web.environment.DB_URL"];
    _ = writeln!(text, "$ windlass {}\n{}", named.join(" "), shop.ok(&named));
    insta::assert_snapshot!(text);
}

#[test]
fn a_path_that_leads_nowhere_says_what_there_is() {
    let shop = Folder::copy("explain");
    let mut text = String::new();
    for path in [
        "services.web.hostnam",
        "services.web.command",
        "services.web.ports[7]",
        "services.web.image.x",
        "servces.web.image",
        "services.wbe.image",
        "nothing.like.it",
    ] {
        let output = shop.run(&["explain", path]);
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{path}");
        _ = writeln!(text, "$ windlass explain {path}\n{}", output.stderr);
    }
    insta::assert_snapshot!(text);
}

#[test]
fn no_form_of_the_output_gives_a_secret_away() {
    let mut shop = Folder::copy("explain");
    shop.set("GREETING_SECRET", "hunter2hunter2");
    shop.file(
        "more.yaml",
        "services:\n  web:\n    env_file: [.env]\n    environment: { COPY: '${TOKEN_HEADER}', G: 'x-${GREETING_SECRET}', \
         SAME: s3cr3t-t0ken }\n    build: { context: ., args: [API_TOKEN] }\n\
         configs:\n  greeting: { environment: GREETING_SECRET }\n  motd: { content: 'in the clear: ${NOT_SET:-4711}' }\n",
    );
    for flags in [vec!["explain", "--variables"], vec!["explain", "services"], vec!["explain", "configs"]] {
        for format in ["text", "json"] {
            let files = ["-f", "compose.yaml", "-f", "compose.override.yaml", "-f", "more.yaml"];
            let arguments = [&files[..], &flags, &["--format", format]].concat();
            let printed = shop.ok(&arguments);
            for secret in ["s3cr3t", "hunter2", "4711"] {
                assert!(!printed.contains(secret), "{arguments:?} prints {secret}:\n{printed}");
            }
            assert!(printed.contains("(hidden)"), "{arguments:?}:\n{printed}");
        }
    }
}

#[test]
fn the_trail_as_data() {
    let shop = Folder::copy("explain");
    let value = |arguments: &[&str]| serde_json::from_str::<serde_json::Value>(&shop.ok(arguments)).unwrap();
    let explained = value(&["explain", "services.web.environment.DB_URL", "--format", "json"]);
    assert_eq!(explained["path"], "services.web.environment.DB_URL");
    assert_eq!(explained["value"], "postgres://app@db/shop");
    let trail = explained["trail"].as_array().unwrap();
    assert_eq!(trail.len(), 3);
    let place = &trail[0]["place"];
    assert_eq!((&place["line"], &place["column"]), (&4.into(), &15.into()));
    assert!(place["file"].as_str().unwrap().ends_with("/shop/compose.override.yaml"));
    assert_eq!(trail[0]["wins"], true);
    assert_eq!(trail[0]["variables"][1]["from"]["kind"], "file");
    assert_eq!(trail[2]["through"][0]["by"], "env_file");
    let removed = value(&["explain", "services.web.hostname", "--format", "json"]);
    assert_eq!(removed.get("value"), None);
    assert_eq!(removed["trail"][1]["value"], "shop");
    let variables = value(&["explain", "--variables", "--format", "json"]);
    let tag = variables.as_array().unwrap().iter().find(|variable| variable["name"] == "TAG").unwrap();
    assert_eq!(tag["used"][0]["path"], "services.web.image");
    assert_eq!(tag["used"][0]["place"]["column"], 33);
}

#[test]
fn faults_stop_it_as_they_stop_config() {
    let broken = Folder::with("services:\n  web:\n    imgae: a\n");
    let output = broken.run(&["explain", "services.web"]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("did you mean `image`?"), "{}", output.stderr);
    let output = broken.run(&["explain", "services.web", "--format", "json"]);
    let faults: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &faults[0]["place"]["line"]), (1, &3.into()));
}
