//! `docs/compatibility.md`: every command and flag of docker compose, and what windlass does with it.

use std::fmt::Write;

use clap::{Command, CommandFactory};
use windlass::cli::args::Cli;

use crate::effects;

/// Commands, and flags of commands, that windlass does not have, with the reason.
const MISSING: &[(&str, &str)] = &[
    ("bridge", "converting to other models is not what windlass is for"),
    (
        "build",
        "windlass does not build images yet: a service with `build:` runs once its image is here, and is refused with its place until then",
    ),
    ("publish", "projects are shared as files and repositories"),
    ("push", "only what `commit` made could be pushed; `image save` writes it as an archive"),
];

/// Flags that are taken and do something else, or nothing.
const NOTES: &[(&str, &str)] = &[
    ("create --build", "refused with a service that has `build:`, since images are not built yet"),
    ("create --no-build", "always so"),
    ("down --rmi", "`local` removes nothing: windlass builds no images"),
    ("run --build", "refused with a service that has `build:`, since images are not built yet"),
    ("run --quiet-build", "nothing is built"),
    ("up --build", "refused with a service that has `build:`, since images are not built yet"),
    ("up --no-build", "always so"),
    ("watch --prune", "nothing is built, so no image is replaced"),
    ("up --quiet-build", "nothing is built"),
];

/// What behaves differently, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("Root is needed", "there is no daemon that would have it"),
    (
        "`logs --split-streams`: what containers wrote to standard error goes to standard error; without it everything goes to standard output, as the peer's",
        "a script may want one of the two",
    ),
    (
        "`run` says nothing of its own but warnings where standard output is no terminal; `--progress plain` shows the rest",
        "a script gets what the command says",
    ),
    (
        "On a narrow terminal `ps`, `images`, `stats`, `top` and other lists shorten and leave out columns",
        "a line that wraps cannot be read; in a pipe everything is there",
    ),
    (
        "`--abort-on-container-exit`: a one-shot that had succeeded before and is not run again ends nothing",
        "nothing has ended; what ends while `up` runs ends all, as with the peer",
    ),
    (
        "Everything that a start is known to fail for (files, ports, devices, limits, users, options) is told at once, with its place, before anything is stopped",
        "what runs goes on running",
    ),
    (
        "`up --wait` takes a container without a health check for up once it has run for half a second, counted from its own start, and one that ended with 0 for done; while a restart policy starts it again and again it waits on (`--wait-timeout`)",
        "the peer takes any instant of running, at looks half a second apart",
    ),
    (
        "`kill` returns when the end is recorded: always for `SIGKILL`, for the container's stop signal within a second; a container that waits to be restarted is ended, too",
        "what comes next finds what is so",
    ),
    (
        "Secrets, configs and `env_file` that are named pipes or sockets are refused; the pipes of `<(command)` are fine",
        "nothing is waited for without a word",
    ),
    (
        "The `source` of a volume of `type: image` that is a service of the file means the image of that service, whatever it is called and for the platform of that service; anything else is the name or id of an image",
        "the peer means only what it builds for a service, and pulls an image called like it first",
    ),
    ("`wait` also answers for containers that have ended already", "a script that asks a moment late gets its answer"),
    (
        "What a foreground `run` writes is not in its log, unless its client is killed: from then on it is",
        "a dump that goes to a file is not on the disk a second time",
    ),
    (
        "`exec` and `run` leave input that the program did not read to whoever reads next: \
         `while read line; do windlass exec …; done < list` sees each line",
        "as if the program ran here",
    ),
    (
        "A reader that goes away ends the program of `exec` and `run` by `SIGPIPE`, and so does the end of a killed `exec`",
        "a program that nobody reads is not left running unseen",
    ),
    (
        "`exec` and `$(windlass exec …)` end with the program; what it has left in the background holds nobody up",
        "as with the peer, which waits up to two seconds",
    ),
    (
        "`restart` stops in reverse order and starts in order, and waits for `depends_on` conditions between",
        "what depends on a restarted service finds it ready",
    ),
    (
        "A container that is stopped and started keeps its published ports, also those that were any free one",
        "an address that was noted down stays right",
    ),
    (
        "`kill -s HUP` and the like do not end the restart policy; `SIGKILL` and the container's own stop signal do",
        "a reload is no stop",
    ),
    (
        "`pull` keeps to `pull_policy`, or to `--policy` instead of it: `never` and `build` are left out, and so is \
         `missing` for what is here, unless it is `latest`, which moves; all else is asked for anew",
        "what is left out is told, with the reason",
    ),
    (
        "An image that is asked for with `platform` stands beside the native one of the same name",
        "with one name for both, each `up` would give one of the two services the other's image",
    ),
    (
        "`create` and `up` ask again for an image of `pull_policy: daily`, `weekly` or `every_12h` (of `w`, `d`, `h`, \
         `m`, `s`) once it is that old",
        "an image that moves is kept fresh without a question at every start",
    ),
    (
        "`up --dry-run` prints the plan, with reasons and lines of the file",
        "the peer prints the progress of things that do not happen",
    ),
    (
        "`down` leaves containers of services whose profile is off, as the peer, and names them with what takes them down too (`--profile`); networks and volumes that they have stay, those of stopped ones too",
        "in silence, somebody would take the project for gone",
    ),
    (
        "`--dry-run` of any command changes nothing: no image is pulled, no registry asked, no process or folder made; what would be refused before anything is touched is refused, with the same exit code; `attach`, `commit`, `cp`, `exec`, `export`, `shell`, `image load`, `image save`, `network create`, `network connect`, `network disconnect`, `completion --install` and `config --output` say that they have no dry form",
        "a person who asks what would happen wants nothing to happen",
    ),
    (
        "Contents of secrets and configs are inputs: another content makes the container anew",
        "the container would go on with the old one in silence",
    ),
    (
        "A foreground `up` shows its keys on a terminal by default, and has keys to restart, to read one service's lines and to open a shell",
        "`--menu=false` and `COMPOSE_MENU=false` leave them out; Enter and Ctrl-Z do what they always do",
    ),
    (
        "A missing source of a bind mount in the project's folder is created for the owner of the folder above it; under `sudo` what containers write there is the person's",
        "nobody wants root's files in their project: `x-windlass: { bind-idmap: off }`",
    ),
    (
        "A container's terminal is 24 by 80, or of the person's size, before its program starts; `--ansi never` and `CI` make plain lines of progress",
        "a terminal without a size makes programs fail, and logs are not drawn over",
    ),
    (
        "`up` starts a container again that sits in a namespace which its owner does not have any more",
        "after `stop` and `start` of that one it would be without its network in silence",
    ),
    ("Other labels of a volume are taken over without asking", "they are no reason to lose what it holds"),
    (
        "The order of keys and of lists in which it means nothing, and other forms of a value, make no container anew",
        "what runs is the same",
    ),
    (
        "A one-shot that has succeeded and that others wait for (`service_completed_successfully`) does not run again until its inputs change",
        "`--force-recreate` runs it",
    ),
    (
        "`cp` drops set-id bits without `-a`, sees tmpfs mounts of a running container, and leaves sockets and devices out",
        "files of a hostile container gain nothing here",
    ),
    (
        "`export` of a service on the machine's own files holds what the container added, not the machine's files",
        "they are not the container's",
    ),
    (
        "`system prune` leaves stopped containers to `rm` and `down`; `system df` counts logs",
        "a stopped container belongs to its project",
    ),
    (
        "`config` doubles `$` in values alone: printed keys stay as they are",
        "the peer's output would not load as the same project",
    ),
    (
        "Ports of a service whose networks are all `internal` are not published, as with the peer, and a warning says so with the place",
        "the peer says nothing, and people look for the fault elsewhere",
    ),
    (
        "`ports`, `dns`, `extra_hosts`, `links` and `mac_address` beside `network_mode: service:` or `container:` are refused, as by the peer, but with their place and before anything is made; `dns_search` and `dns_opt` are warned about",
        "they belong to the container that has the network; the peer finds out when the others run already",
    ),
    (
        "`volumes_from`: the mode `ro` is honoured; a container is made anew when the one that it takes volumes from has other ones now (`up -V`); a mode that is none, a circle, or a container that is not there is told with its place before anything is made",
        "the peer loses the mode on the way, and leaves the container with volumes that nobody else has any more",
    ),
    (
        "What follows a container of the same file as `container:NAME` starts after it, as with `service:`",
        "the peer starts both at once, and fails when the follower is quicker",
    ),
    (
        "A container that is to be replaced is removed only when the new one has started; when that fails, it goes on in its place, and so does what was stopped to be restarted with it",
        "the peer has removed it by then, and nothing runs",
    ),
    (
        "As long as a container's record cannot be read, every image counts as used by it: `image prune` removes none and names the record, `image rm` needs `--force` and leaves the files",
        "nobody knows which image the container was made from",
    ),
    (
        "A program that is not in the image, or is not executable there, is told with its place before anything runs; what is mounted over it, or copied into the container, may bring it",
        "the peer stops what ran and then fails",
    ),
    (
        "A container that is made anew has the address that it had; otherwise it gets the lowest that is free and in no service's `ipv4_address`",
        "a proxy in front that has looked its name up goes on",
    ),
    (
        "A bridge, address, route or table of rules that somebody else removed is made again at once, and `events` says `network mend`",
        "after a firewall's reload the peer's networks are dead until its daemon is restarted",
    ),
    (
        "A port that goes from a container to the one that takes its place is never free in between: it stays bound, and clients wait",
        "the peer's is anybody's for a moment, and clients are refused",
    ),
    (
        "Beside ufw, and whatever else denies what comes in by `iptables`, a container reaches the ports that it publishes itself by the machine's address",
        "the peer's own proxy is what the firewall keeps it from",
    ),
    (
        "`oci://` and git addresses in `include` and `-f` are refused with the place",
        "nothing is fetched that the project's folder does not hold",
    ),
];

struct Line<'a> {
    command: &'a str,
    /// Its names: `-f, --file`.
    flag: Option<&'a str>,
}

fn peer() -> Vec<Line<'static>> {
    let mut command = "";
    let text = include_str!("../fixtures/peer-commands.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| match line.strip_prefix("  ") {
            Some(flag) => Line { command, flag: Some(flag) },
            None => {
                command = line;
                Line { command, flag: None }
            }
        })
        .collect()
}

fn ours<'a>(root: &'a Command, name: &str) -> Option<&'a Command> {
    match name {
        "(global)" => Some(root),
        _ => root.find_subcommand(name),
    }
}

/// Whether the command takes every name of the flag.
fn takes(root: &Command, command: &Command, flag: &str) -> bool {
    flag.split(", ").all(|name| {
        command.get_arguments().chain(root.get_arguments().filter(|it| it.is_global_set())).any(|argument| {
            match name.strip_prefix("--") {
                Some(long) => {
                    argument.get_long() == Some(long)
                        || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&long))
                }
                None => {
                    let short = name.chars().nth(1);
                    argument.get_short() == short
                        || argument
                            .get_all_short_aliases()
                            .is_some_and(|aliases| aliases.iter().any(|it| Some(*it) == short))
                }
            }
        })
    })
}

fn noted(table: &'static [(&'static str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| *name == key).map(|(_, text)| *text)
}

fn key(line: &Line<'_>) -> String {
    match line.flag {
        Some(flag) => format!("{} {}", line.command, flag.rsplit(", ").next().unwrap()),
        None => line.command.to_owned(),
    }
}

fn page() -> String {
    let root = Cli::command();
    let mut page = String::from(
        "# Compatibility\n\nEvery command and flag of `docker compose` 2.40.3 and what windlass does with it. Generated from the \
         code and its\ntests: a flag stands as honoured when the command takes it under every name that the peer has for it, and \
         a test that\n`tests/it/effects.rs` names sees what it changes. Attributes of the file are in\n[compose-support](reference/compose-support.md), differences of loading in \
         [differences](reference/differences.md).\n\n## Commands and flags\n\n| command | honoured | otherwise |\n|---|---|---|\n",
    );
    let lines = peer();
    let mut missing = Vec::new();
    for head in lines.iter().filter(|line| line.flag.is_none()) {
        let name = head.command;
        let Some(command) = ours(&root, name) else {
            match noted(MISSING, name) {
                Some(reason) => writeln!(page, "| `{name}` | | not there: {reason} |").unwrap(),
                None => missing.push(name.to_owned()),
            }
            continue;
        };
        let (mut honoured, mut otherwise) = (Vec::new(), Vec::new());
        for line in lines.iter().filter(|line| line.command == name && line.flag.is_some()) {
            let (flag, key) = (line.flag.unwrap(), key(line));
            match (takes(&root, command, flag), noted(NOTES, &key), noted(MISSING, &key)) {
                (true, None, _) => {
                    missing.extend(effects::fault(name, flag));
                    honoured.push(format!("`{flag}`"));
                }
                (true, Some(note), _) => otherwise.push(format!("`{flag}`: {note}")),
                (false, _, Some(reason)) => otherwise.push(format!("`{flag}` is refused: {reason}")),
                (false, _, None) => missing.push(key),
            }
        }
        let honoured = if honoured.is_empty() { "yes".to_owned() } else { honoured.join(" ") };
        writeln!(page, "| `{name}` | {honoured} | {} |", otherwise.join("; ")).unwrap();
    }
    assert!(missing.is_empty(), "not there and no reason given, or without effect:\n{}", missing.join("\n"));
    let known: Vec<&str> = lines.iter().filter(|line| line.flag.is_none()).map(|line| line.command).collect();
    let more: Vec<String> = root
        .get_subcommands()
        .filter(|command| !known.contains(&command.get_name()) && !command.is_hide_set())
        .map(|command| format!("`{}`", command.get_name()))
        .collect();
    writeln!(page, "\nCommands that the peer does not have: {}.", more.join(", ")).unwrap();
    page.push_str("\n## Differences\n\n| what | why |\n|---|---|\n");
    for (what, why) in DIFFERENCES {
        writeln!(page, "| {what} | {why} |").unwrap();
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let page = page();
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == page, "run with UPDATE_FIXTURES=1");
}

/// A reason for what is there by now, or was never there, would be false.
#[test]
fn reasons_are_about_something() {
    let root = Cli::command();
    let lines = peer();
    let line =
        |name: &str| lines.iter().find(|line| key(line) == name).unwrap_or_else(|| panic!("the peer has no {name}"));
    for (name, _) in MISSING {
        let line = line(name);
        let there =
            ours(&root, line.command).is_some_and(|command| line.flag.is_none_or(|flag| takes(&root, command, flag)));
        assert!(!there, "{name} is there");
    }
    for (name, _) in NOTES {
        let line = line(name);
        let long = name.split(' ').next_back().unwrap();
        assert!(effects::of_flag(line.command, long).is_none(), "{name} has an effect");
    }
    // Those below a command are Docker's own.
    for (command, flags, _) in effects::FLAGS.iter().filter(|(command, ..)| !command.contains(' ')) {
        flags.iter().for_each(|flag| _ = line(&format!("{command} {flag}")));
    }
}
