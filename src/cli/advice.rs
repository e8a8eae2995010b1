//! What people type who know `docker`, and what it is called here: a command line that is not understood gets an answer
//! that helps.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words that are no command, and what to do instead.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["build", "buildx", "bake", "builder"],
        "windlass does not build images yet: build with docker, podman or buildah, and bring the image here with `windlass image load` (docs/guide/moving.md)",
    ),
    (&["push", "publish"], "nothing is sent to a registry: `windlass image save` writes an archive"),
    (
        &["inspect"],
        "`windlass ps --format json` and `windlass config SERVICE` show a service; `windlass image|volume|network inspect NAME` the others",
    ),
    (
        &["login", "logout"],
        "credentials are those of ~/.docker/config.json (or of DOCKER_CONFIG): log in with docker, podman login --authfile, or a credential helper",
    ),
    (
        &["container", "containers"],
        "containers are listed by `windlass ps -a`, and those of all projects by `windlass ls -a`",
    ),
    (&["rmi"], "an image is removed by `windlass image rm IMAGE`"),
    (
        &["tag", "load", "save", "history"],
        "that is a command of `windlass image`: `windlass image load|save|tag|history`",
    ),
    (&["import"], "`windlass image load` reads archives of `docker save` and of OCI layouts"),
    (&["prune"], "`windlass system prune`, or `windlass image|volume|network prune`"),
    (&["df"], "`windlass system df`"),
    (&["info"], "`windlass version` says what this is, `windlass system df` what is kept, `windlass ls -a` what runs"),
    (&["status", "list"], "`windlass ps` lists the containers of this project, `windlass ls` the projects"),
    (&["rename", "update"], "change the file, and `windlass up -d` makes the difference"),
    (
        &["diff"],
        "`windlass up --dry-run` shows what would change; `windlass export SERVICE` writes a container's files",
    ),
    (&["search"], "images are found on the registry's own pages; `windlass pull` brings those of the file"),
    (
        &["sh", "bash", "ssh", "enter"],
        "`windlass shell SERVICE` opens a shell; `windlass exec SERVICE COMMAND` runs any command",
    ),
    (
        &["remove", "delete", "destroy", "uninstall"],
        "`windlass down` removes the project's containers and networks, -v its volumes too",
    ),
    (&["reload", "recreate", "apply", "deploy"], "`windlass up -d` makes what runs equal to the file"),
    (&["volumes-prune"], "`windlass volume prune`"),
    (
        &["compose", "docker", "docker-compose"],
        "leave that word out: windlass takes Compose's commands directly, as in `windlass up`",
    ),
    (
        &["daemon", "dockerd", "serve", "context", "plugin", "desktop"],
        "there is no daemon: each project keeps itself while it runs",
    ),
    (
        &["swarm", "stack", "service", "node", "secret"],
        "there is no Swarm mode: secrets, configs and replicas are in the Compose file",
    ),
    (&["init", "new"], "write a compose.yaml, or begin with one of the folder `examples`"),
    (&["bridge", "alpha", "model"], "converting to other models is not what windlass is for"),
];

/// Flags that no command has, and what to do instead.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &["--build", "--no-build", "--quiet-build"],
        "this is a flag of `up`, `create` and `run`: windlass does not build images yet, so --no-build is always so",
    ),
    (
        &["-H", "--host", "--context", "-c", "--tls", "--tlsverify"],
        "there is no daemon to speak to: everything is on this machine",
    ),
    (&["-D", "--debug", "--log-level"], "-v says what happens, -vv everything"),
    (&["--verbose"], "write -v before the command: windlass -v up"),
    (&["--workdir"], "in place of --workdir: --project-directory"),
    (&["--no-ansi"], "write --ansi never before the command"),
    (&["--no-cache", "--build-arg", "--ssh"], "windlass does not build images yet"),
    (
        &["-f", "--file", "-p", "--project-name", "--profile", "--env-file", "--project-directory"],
        "write it before the command: windlass -f other.yaml up",
    ),
];

/// That a flag which there is not can be passed as a value is true of every word, and helps nobody.
pub fn mend(error: &mut clap::Error) {
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
}

/// What else to say about a fault of the command line; `None` when clap's own words are the best.
#[must_use]
pub fn on(error: &clap::Error) -> Option<String> {
    let (table, kind) = match error.kind() {
        ErrorKind::InvalidSubcommand => (COMMANDS, ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => (FLAGS, ContextKind::InvalidArg),
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(kind) else { return None };
    let name = word.split('=').next().unwrap_or(word);
    let (_, advice) = table.iter().find(|(words, _)| words.contains(&name))?;
    let what = if kind == ContextKind::InvalidArg { "flag" } else { "command" };
    Some(format!("error: there is no {what} `{name}` here\n\nhint: {advice}\n"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::args::Cli;

    fn answer(arguments: &[&str]) -> Option<String> {
        on(&Cli::try_parse_from([&["windlass"], arguments].concat()).unwrap_err())
    }

    #[test]
    fn words_of_docker_get_an_answer() {
        let root = Cli::command();
        for (words, advice) in COMMANDS {
            for word in *words {
                assert!(root.find_subcommand(word).is_none(), "{word} is there");
                assert!(answer(&[word]).unwrap().contains(advice), "{word}");
            }
        }
        assert!(answer(&["inspect", "web"]).unwrap().contains("`inspect`"));
        assert!(answer(&["container", "ls"]).unwrap().contains("windlass ps"));
        for (words, advice) in FLAGS {
            for word in words.iter().filter(|word| !["-f", "-c", "-p"].contains(word)) {
                assert!(answer(&["ls", word, "x"]).unwrap().contains(advice), "{word}");
            }
        }
        assert!(answer(&["ps", "-f", "x.yaml"]).unwrap().contains("before the command"));
    }

    #[test]
    fn what_clap_knows_better_is_left_to_it() {
        assert!(answer(&["upp"]).is_none() && answer(&["up", "--detatch"]).is_none());
    }

    #[test]
    fn advice_names_commands_that_there_are() {
        let root = Cli::command();
        for (_, advice) in COMMANDS.iter().chain(FLAGS) {
            for rest in advice.split("`windlass ").skip(1) {
                let called = rest.split('`').next().unwrap();
                let first = called.split([' ', '|']).next().unwrap();
                assert!(root.find_subcommand(first).is_some(), "{called}");
            }
        }
    }
}
