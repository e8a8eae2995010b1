//! What has an effect: for each flag and variable of docker compose that the pages call honoured, the test that sees what
//! it changes. A flag that merely parses has none.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use windlass::cli::args::Cli;

/// Command, flags by their long names, and the test: `FILE::FUNCTION`, below `tests` or in `src`.
pub const FLAGS: &[(&str, &[&str], &str)] = &[
    (
        "(global)",
        &["--env-file", "--file", "--profile", "--project-directory", "--project-name"],
        "e2e/flags.rs::the_project_is_where_the_flags_say",
    ),
    ("(global)", &["--all-resources"], "e2e/globals.rs::all_resources_are_those_that_no_service_uses_too"),
    ("(global)", &["--compatibility"], "e2e/globals.rs::names_as_compose_v1_made_them"),
    ("(global)", &["--ansi", "--progress"], "e2e/flags.rs::variables_say_how_it_is_shown"),
    ("(global)", &["--dry-run"], "e2e/dry.rs::no_command_changes_anything"),
    ("(global)", &["--parallel"], "src/cli/images/settings.rs::so_many_layers_at_once_as_is_said"),
    ("attach", &["--detach-keys"], "e2e/live.rs::attach_on_a_terminal_is_left_with_keys"),
    ("attach", &["--index"], "e2e/flags.rs::a_number_names_the_replica"),
    ("attach", &["--no-stdin", "--sig-proxy"], "e2e/live.rs::attach_is_the_containers_input_and_output"),
    (
        "commit",
        &["--author", "--change", "--message", "--pause"],
        "e2e/copying.rs::commit_makes_an_image_of_what_a_container_changed",
    ),
    ("commit", &["--index"], "e2e/flags.rs::a_number_names_the_replica"),
    (
        "config",
        &[
            "--environment",
            "--hash",
            "--images",
            "--models",
            "--networks",
            "--no-consistency",
            "--no-env-resolution",
            "--no-interpolate",
            "--no-normalize",
            "--no-path-resolution",
            "--output",
            "--profiles",
            "--quiet",
            "--services",
            "--volumes",
        ],
        "it/config.rs::each_flag_of_config_changes_what_is_printed",
    ),
    ("config", &["--format", "--variables"], "it/config.rs::variables_in_every_form"),
    ("config", &["--lock-image-digests", "--resolve-image-digests"], "it/config.rs::images_get_their_digests"),
    ("cp", &["--all"], "e2e/flags.rs::a_copy_goes_to_those_of_run_too"),
    ("cp", &["--archive", "--follow-link"], "e2e/copying.rs::cp_copies_out_of_a_running_container"),
    ("cp", &["--index"], "e2e/copying.rs::cp_copies_to_every_replica_or_to_one"),
    ("create", &["--force-recreate", "--no-recreate", "--scale"], "e2e/up.rs::create_makes_and_start_starts"),
    ("create", &["--pull", "--quiet-pull"], "e2e/flags.rs::images_come_as_the_flags_say"),
    ("create", &["--remove-orphans"], "e2e/flags.rs::orphans_go_where_that_is_asked_for"),
    ("create", &["--yes"], "e2e/redefined.rs::a_changed_volume_is_made_anew_only_when_a_person_says_so"),
    ("down", &["--remove-orphans", "--timeout", "--volumes"], "e2e/env.rs::down"),
    ("events", &["--json", "--since", "--until"], "e2e/live.rs::events_are_told_as_they_happen_and_afterwards"),
    (
        "exec",
        &["--detach", "--env", "--index", "--no-tty", "--user", "--workdir"],
        "e2e/exec.rs::exec_runs_a_command_and_returns_its_code",
    ),
    ("exec", &["--privileged"], "e2e/flags.rs::all_capabilities_whole_ids_and_versions"),
    ("export", &["--index", "--output"], "e2e/flags.rs::a_number_names_the_replica"),
    ("images", &["--format", "--quiet"], "e2e/reading.rs::images_are_those_of_the_containers"),
    ("kill", &["--remove-orphans"], "e2e/flags.rs::orphans_go_where_that_is_asked_for"),
    ("kill", &["--signal"], "e2e/lifecycle.rs::kill_sends_any_signal"),
    ("logs", &["--follow"], "e2e/logs.rs::following_shows_what_comes_and_ends_with_ctrl_c"),
    (
        "logs",
        &["--index", "--no-color", "--since", "--until"],
        "e2e/logs.rs::logs_of_a_span_of_time_and_of_one_replica",
    ),
    ("logs", &["--no-log-prefix", "--tail", "--timestamps"], "e2e/logs.rs::logs_have_prefixes_tails_and_times"),
    ("ls", &["--all", "--filter", "--quiet"], "e2e/listing.rs::ps_and_ls_choose"),
    ("ls", &["--format"], "e2e/listing.rs::ls_lists_projects"),
    ("port", &["--index", "--protocol"], "e2e/reading.rs::port_prints_where_to_connect"),
    (
        "ps",
        &["--all", "--filter", "--format", "--orphans", "--services", "--status"],
        "e2e/listing.rs::ps_and_ls_choose",
    ),
    ("ps", &["--no-trunc"], "e2e/flags.rs::all_capabilities_whole_ids_and_versions"),
    ("ps", &["--quiet"], "e2e/listing.rs::ps_lists_what_runs_as_a_table_and_as_json"),
    (
        "pull",
        &["--ignore-buildable", "--ignore-pull-failures", "--include-deps", "--policy"],
        "e2e/flags.rs::pull_takes_what_the_flags_say",
    ),
    ("pull", &["--quiet"], "e2e/flags.rs::images_come_as_the_flags_say"),
    ("restart", &["--no-deps"], "e2e/lifecycle.rs::order_holds_for_every_command"),
    ("restart", &["--timeout"], "e2e/lifecycle.rs::a_timeout_replaces_the_grace_period"),
    ("rm", &["--force", "--stop"], "e2e/flags.rs::what_is_kept_and_what_is_made_anew"),
    ("rm", &["--volumes"], "e2e/housekeeping.rs::a_volume_of_two_projects_stays_for_the_second"),
    (
        "run",
        &[
            "--cap-add",
            "--cap-drop",
            "--detach",
            "--entrypoint",
            "--env",
            "--env-from-file",
            "--label",
            "--name",
            "--publish",
            "--service-ports",
            "--user",
            "--volume",
            "--workdir",
        ],
        "e2e/oneoff.rs::flags_change_the_container",
    ),
    ("run", &["--interactive", "--no-TTY"], "e2e/oneoff.rs::exit_codes_and_streams_are_the_commands"),
    ("run", &["--no-deps"], "e2e/oneoff.rs::a_command_runs_in_a_container_of_its_own"),
    ("run", &["--pull", "--quiet", "--quiet-pull"], "e2e/flags.rs::images_come_as_the_flags_say"),
    ("run", &["--remove-orphans"], "e2e/flags.rs::orphans_go_where_that_is_asked_for"),
    ("run", &["--rm"], "e2e/oneoff.rs::rm_happens_without_the_command"),
    ("run", &["--use-aliases"], "e2e/oneoff.rs::names_are_the_services_only_when_asked_for"),
    ("scale", &["--no-deps"], "e2e/up.rs::scale_changes_how_many_there_are"),
    ("stats", &["--all", "--format", "--no-stream", "--no-trunc"], "e2e/live.rs::stats_are_the_kernels_counters"),
    ("stop", &["--timeout"], "e2e/lifecycle.rs::a_timeout_replaces_the_grace_period"),
    (
        "up",
        &["--abort-on-container-exit", "--abort-on-container-failure", "--exit-code-from"],
        "e2e/up.rs::the_end_of_one_can_end_all",
    ),
    (
        "up",
        &["--always-recreate-deps", "--force-recreate", "--no-recreate", "--no-start"],
        "e2e/flags.rs::what_is_kept_and_what_is_made_anew",
    ),
    (
        "up",
        &["--attach", "--attach-dependencies", "--no-attach", "--no-log-prefix", "--timestamps"],
        "e2e/up.rs::what_is_attached_is_what_is_asked_for",
    ),
    ("up", &["--detach", "--pull", "--quiet-pull"], "e2e/flags.rs::images_come_as_the_flags_say"),
    ("up", &["--menu"], "e2e/flags.rs::there_are_no_keys_where_none_are_wanted"),
    ("up", &["--no-color"], "e2e/flags.rs::lines_of_a_foreground_up_have_colours_or_none"),
    ("up", &["--no-deps"], "e2e/lifecycle.rs::order_holds_for_every_command"),
    ("up", &["--remove-orphans"], "e2e/flags.rs::orphans_go_where_that_is_asked_for"),
    ("up", &["--renew-anon-volumes"], "e2e/flags.rs::an_anonymous_volume_is_kept_or_renewed"),
    ("up", &["--scale"], "e2e/up.rs::scale_changes_how_many_there_are"),
    ("up", &["--timeout"], "e2e/lifecycle.rs::a_timeout_replaces_the_grace_period"),
    ("up", &["--wait", "--wait-timeout"], "e2e/failures.rs::a_failed_wait_says_what_happened"),
    ("up", &["--watch"], "e2e/watch.rs::a_foreground_up_follows_edits_too"),
    ("up", &["--yes"], "e2e/redefined.rs::a_changed_volume_is_made_anew_only_when_a_person_says_so"),
    ("version", &["--format"], "e2e/flags.rs::all_capabilities_whole_ids_and_versions"),
    ("version", &["--short"], "e2e/listing.rs::version_and_config_need_no_project_to_run"),
    ("volumes", &["--format", "--quiet"], "e2e/reading.rs::volumes_are_those_of_the_project_or_of_some_services"),
    ("wait", &["--down-project"], "e2e/oneoff.rs::wait_tells_how_containers_end"),
    ("watch", &["--no-up", "--quiet"], "e2e/flags.rs::watch_starts_nothing_when_told_so"),
    // Commands below a command.
    (
        "image history",
        &["--format", "--human", "--quiet"],
        "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say",
    ),
    ("image history", &["--no-trunc"], "e2e/copying.rs::commit_makes_an_image_of_what_a_container_changed"),
    ("image inspect", &["--format"], "e2e/copying.rs::commit_makes_an_image_of_what_a_container_changed"),
    ("image load", &["--input", "--name", "--quiet"], "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say"),
    ("image load", &["--platform"], "e2e/mistaken.rs::images_and_words_of_docker_get_answers"),
    (
        "image ls",
        &["--all", "--digests", "--filter", "--format", "--no-trunc", "--quiet"],
        "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say",
    ),
    (
        "image prune",
        &["--all", "--filter", "--force"],
        "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say",
    ),
    ("image pull", &["--platform"], "e2e/mistaken.rs::images_and_words_of_docker_get_answers"),
    ("image pull", &["--quiet"], "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say"),
    ("image rm", &["--force"], "e2e/images.rs::images_are_pulled_listed_inspected_and_removed"),
    ("image rm", &["--no-prune"], "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say"),
    ("image save", &["--output"], "e2e/subcommands.rs::images_come_and_are_shown_as_the_flags_say"),
    (
        "network connect",
        &["--alias"],
        "e2e/connecting.rs::a_running_container_is_in_the_network_at_once_and_stays_there",
    ),
    (
        "network connect",
        &["--driver-opt", "--link"],
        "e2e/connecting.rs::a_link_is_a_name_for_one_and_an_option_names_the_interface",
    ),
    (
        "network connect",
        &["--gw-priority", "--link-local-ip"],
        "e2e/subcommands.rs::a_place_in_a_network_is_as_the_flags_say",
    ),
    ("network connect", &["--ip", "--ip6"], "e2e/connecting.rs::addresses_are_those_that_are_asked_for"),
    (
        "network create",
        &[
            "--attachable",
            "--aux-address",
            "--driver",
            "--gateway",
            "--internal",
            "--ip-range",
            "--ipv4",
            "--ipv6",
            "--label",
            "--opt",
            "--subnet",
        ],
        "e2e/subcommands.rs::networks_are_made_as_the_flags_say",
    ),
    ("network disconnect", &["--force"], "e2e/connecting.rs::addresses_are_those_that_are_asked_for"),
    (
        "network inspect",
        &["--format"],
        "e2e/housekeeping.rs::networks_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    (
        "network ls",
        &["--filter", "--format"],
        "e2e/housekeeping.rs::networks_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    ("network ls", &["--no-trunc", "--quiet"], "e2e/subcommands.rs::networks_are_made_as_the_flags_say"),
    (
        "network prune",
        &["--filter", "--force"],
        "e2e/housekeeping.rs::networks_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    ("network rm", &["--force"], "e2e/subcommands.rs::networks_are_made_as_the_flags_say"),
    ("system df", &["--format", "--verbose"], "e2e/housekeeping.rs::df_adds_up_what_is_there"),
    (
        "system prune",
        &["--all", "--force", "--volumes"],
        "e2e/subcommands.rs::volumes_and_leftovers_are_as_the_flags_say",
    ),
    ("system prune", &["--filter"], "e2e/networks.rs::a_network_that_a_person_makes_is_for_every_project"),
    ("volume create", &["--driver", "--opt"], "e2e/subcommands.rs::volumes_and_leftovers_are_as_the_flags_say"),
    ("volume create", &["--label"], "e2e/housekeeping.rs::a_volume_of_two_projects_stays_for_the_second"),
    (
        "volume inspect",
        &["--format"],
        "e2e/housekeeping.rs::volumes_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    (
        "volume ls",
        &["--filter", "--format", "--quiet"],
        "e2e/housekeeping.rs::volumes_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    (
        "volume prune",
        &["--all", "--filter", "--force"],
        "e2e/housekeeping.rs::volumes_are_listed_inspected_and_removed_when_nobody_uses_them",
    ),
    ("volume rm", &["--force"], "e2e/housekeeping.rs::volumes_are_listed_inspected_and_removed_when_nobody_uses_them"),
];

/// Variables that the peer reads and windlass too, and the test that sees it.
pub const VARIABLES: &[(&str, &str)] = &[
    ("CI", "src/cli/ui/progress/tests.rs::modes_follow_flag_environment_and_terminal"),
    ("CLICOLOR_FORCE", "src/cli/ui/style.rs::flags_then_environment_then_terminal_decide"),
    ("COMPOSE_ANSI", "e2e/flags.rs::variables_say_how_it_is_shown"),
    ("COMPOSE_COMPATIBILITY", "e2e/globals.rs::names_as_compose_v1_made_them"),
    ("COMPOSE_DISABLE_ENV_FILE", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_ENV_FILES", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_FILE", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_IGNORE_ORPHANS", "src/cli/converging.rs::variables_and_flag_agree_or_are_refused"),
    ("COMPOSE_MENU", "e2e/flags.rs::there_are_no_keys_where_none_are_wanted"),
    ("COMPOSE_PARALLEL_LIMIT", "src/cli/images/settings.rs::so_many_layers_at_once_as_is_said"),
    ("COMPOSE_PATH_SEPARATOR", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_PROFILES", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_PROGRESS", "e2e/flags.rs::variables_say_how_it_is_shown"),
    ("COMPOSE_PROJECT_NAME", "it/config.rs::variables_choose_files_projects_and_profiles"),
    ("COMPOSE_REMOVE_ORPHANS", "src/cli/converging.rs::variables_and_flag_agree_or_are_refused"),
    ("COMPOSE_STATUS_STDOUT", "e2e/flags.rs::variables_say_how_it_is_shown"),
    ("DOCKER_CONFIG", "e2e/registries.rs::helper"),
    ("DOCKER_DEFAULT_PLATFORM", "e2e/flags.rs::variables_say_how_it_is_shown"),
    ("HTTPS_PROXY", "e2e/registries.rs::a_registry_behind_a_proxy"),
    ("HTTP_PROXY", "src/image/registry/proxy.rs::lower_case_variables_win"),
    ("NO_COLOR", "src/cli/ui/style.rs::flags_then_environment_then_terminal_decide"),
    ("NO_PROXY", "src/image/registry/proxy.rs::lower_case_variables_win"),
    ("TERM", "src/cli/ui/progress/tests.rs::modes_follow_flag_environment_and_terminal"),
];

/// Variables of the peer's documentation and code that change nothing here.
const WITHOUT_MEANING: &[&str] = &[
    "BUILDKIT_PROGRESS",
    "BUILDX_BUILDER",
    "COMPOSE_API_VERSION",
    "COMPOSE_BAKE",
    "COMPOSE_CONVERT_WINDOWS_PATHS",
    "COMPOSE_DOCKER_CLI_BUILD",
    "COMPOSE_EXPERIMENTAL",
    "COMPOSE_EXPERIMENTAL_GIT_REMOTE",
    "COMPOSE_EXPERIMENTAL_OCI_REMOTE",
    "COMPOSE_EXPERIMENTAL_WATCH_TAR",
    "COMPOSE_FORCE_WINDOWS_HOST",
    "COMPOSE_HTTP_TIMEOUT",
    "COMPOSE_INTERACTIVE_NO_CLI",
    "COMPOSE_TLS_VERSION",
    "DOCKER_API_VERSION",
    "DOCKER_BUILDKIT",
    "DOCKER_CERT_PATH",
    "DOCKER_CONTENT_TRUST",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
];

#[test]
fn the_page_of_variables_names_each() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/environment.md");
    let page = fs::read_to_string(page).unwrap();
    let (with, without) = page.split_once("## Without meaning here").unwrap();
    for (name, _) in VARIABLES {
        assert!(with.contains(&format!("`{name}`")) || with.contains(&format!("`{name}=")), "{name}");
    }
    for name in WITHOUT_MEANING {
        assert!(without.contains(&format!("`{name}`")) && !with.contains(name), "{name}");
    }
}

/// The text of the file that a test is in.
pub fn file(test: &str) -> Option<String> {
    let (file, _) = test.split_once("::")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = if file.starts_with("src/") { root.join(file) } else { root.join("tests").join(file) };
    fs::read_to_string(path).ok()
}

/// The function's text, to its end.
pub fn function(test: &str) -> Option<String> {
    let (_, name) = test.split_once("::")?;
    let text = file(test)?;
    let begin = text.find(&format!("fn {name}("))?;
    let line = text[..begin].rfind('\n').map_or(0, |end| end + 1);
    let indent: String = text[line..].chars().take_while(|character| *character == ' ').collect();
    let rest = &text[begin..];
    let end = rest.find(&format!("\n{indent}}}\n")).unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

/// Whether the test uses the flag, by one of its names.
fn uses(body: &str, names: &str) -> bool {
    let closed = |name: &str| ['"', '=', ' '].iter().any(|end| body.contains(&format!("\"{name}{end}")));
    names.split(", ").any(|name| closed(name) || body.contains(&format!(" {name} ")))
}

/// The test that sees what a flag does.
pub fn of_flag(command: &str, long: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(name, flags, _)| *name == command && flags.contains(&long)).map(|(_, _, test)| *test)
}

/// What is wrong with the entry of a flag, whose names are as the peer prints them.
pub fn fault(command: &str, names: &str) -> Option<String> {
    let long = names.rsplit(", ").next().unwrap();
    let Some(test) = of_flag(command, long) else {
        return Some(format!("no test sees what `{command} {long}` does"));
    };
    // A unit test calls what the flag leads to.
    match function(test) {
        None => Some(format!("{command} {long}: there is no test {test}")),
        Some(body) if !test.starts_with("src/") && !uses(&body, names) => {
            Some(format!("{command} {long}: {test} does not use it"))
        }
        Some(_) => None,
    }
}

#[test]
fn each_variable_has_its_test() {
    for (name, test) in VARIABLES {
        let body = function(test).unwrap_or_else(|| panic!("{name}: there is no test {test}"));
        assert!(body.contains(name), "{name}: {test} does not use it");
    }
}

/// Commands of Docker's own below one of their own, which the peer does not have: each of their flags has its test too.
#[test]
fn each_flag_of_a_command_below_a_command_has_its_test() {
    let mut faults = Vec::new();
    for above in Cli::command().get_subcommands() {
        for below in above.get_subcommands() {
            let name = format!("{} {}", above.get_name(), below.get_name());
            for flag in below.get_arguments() {
                let Some(long) = flag.get_long().filter(|long| !matches!(*long, "help" | "dry-run")) else { continue };
                let short = flag.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
                faults.extend(fault(&name, &format!("{short}--{long}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
