//! What has an effect: for each attribute that `docs/reference/compose-support.md` calls honoured, the test that sees what
//! it changes. One that merely parses has none.

use windlass::compose::attributes;
use windlass::compose::validate::support::{Support, support};

use crate::effects;

/// Attributes and the test that sees them: `FILE::FUNCTION`, below `tests` or in `src`. Those that only hold others are
/// left out.
const ATTRIBUTES: &[(&[&str], &str)] = &[
    (
        &[
            "configs.*.content",
            "configs.*.environment",
            "configs.*.file",
            "secrets.*.file",
            "services.*.configs.*.gid",
            "services.*.configs.*.mode",
            "services.*.configs.*.source",
            "services.*.configs.*.target",
            "services.*.configs.*.uid",
            "services.*.env_file.*.format",
            "services.*.env_file.*.path",
            "services.*.env_file.*.required",
            "services.*.label_file",
            "services.*.labels",
            "services.*.platform",
            "services.*.pull_policy",
            "services.*.secrets.*.gid",
            "services.*.secrets.*.mode",
            "services.*.secrets.*.source",
            "services.*.secrets.*.target",
            "services.*.secrets.*.uid",
        ],
        "e2e/attributes.rs::files_variables_and_labels_come_from_where_the_file_says",
    ),
    (
        &[
            "configs.*.name",
            "include.*.env_file",
            "include.*.path",
            "include.*.project_directory",
            "name",
            "secrets.*.name",
            "services.*.extends.file",
            "services.*.extends.service",
            "services.*.ports.*.app_protocol",
            "services.*.ports.*.name",
            "version",
        ],
        "it/config.rs::what_files_say_about_files_and_names_is_followed",
    ),
    (
        &[
            "networks.*.driver",
            "networks.*.driver_opts",
            "networks.*.enable_ipv4",
            "networks.*.enable_ipv6",
            "networks.*.ipam.config.*.aux_addresses",
            "networks.*.ipam.config.*.gateway",
            "networks.*.ipam.config.*.ip_range",
            "networks.*.ipam.config.*.subnet",
            "networks.*.ipam.driver",
            "networks.*.labels",
            "networks.*.name",
            "services.*.expose",
            "services.*.links",
            "services.*.networks.*.gw_priority",
            "services.*.networks.*.interface_name",
            "services.*.networks.*.ipv6_address",
            "services.*.networks.*.link_local_ips",
            "services.*.networks.*.mac_address",
            "services.*.networks.*.priority",
        ],
        "e2e/attributes.rs::networks_and_places_in_them_are_as_written",
    ),
    (&["networks.*.external"], "e2e/networks.rs::a_network_that_a_person_makes_is_for_every_project"),
    (&["networks.*.internal"], "e2e/names.rs::an_internal_network_leads_nowhere_else"),
    (&["secrets.*.environment"], "e2e/volumes.rs::secrets_and_configs_are_files"),
    (&["services.*.attach"], "e2e/up.rs::what_is_attached_is_what_is_asked_for"),
    (
        &[
            "services.*.blkio_config.device_read_bps.*.path",
            "services.*.blkio_config.device_read_bps.*.rate",
            "services.*.blkio_config.device_read_iops.*.path",
            "services.*.blkio_config.device_read_iops.*.rate",
            "services.*.blkio_config.device_write_bps.*.path",
            "services.*.blkio_config.device_write_bps.*.rate",
            "services.*.blkio_config.device_write_iops.*.path",
            "services.*.blkio_config.device_write_iops.*.rate",
            "services.*.cpu_period",
            "services.*.cpu_quota",
            "services.*.cpuset",
            "services.*.deploy.resources.limits.cpus",
            "services.*.deploy.resources.limits.memory",
            "services.*.deploy.resources.limits.pids",
            "services.*.deploy.resources.reservations.memory",
            "services.*.mem_limit",
            "services.*.mem_reservation",
            "services.*.mem_swappiness",
            "services.*.memswap_limit",
            "services.*.oom_kill_disable",
        ],
        "e2e/limits.rs::every_limit_is_where_the_kernel_reads_it",
    ),
    (&["services.*.blkio_config.weight"], "src/runtime/cgroup/limits.rs::both_versions_of_the_usual_limits"),
    (
        &["services.*.blkio_config.weight_device.*.path", "services.*.blkio_config.weight_device.*.weight"],
        "src/runtime/cgroup/limits.rs::a_device_has_a_weight_of_its_own",
    ),
    (
        &["services.*.cap_add", "services.*.cap_drop", "services.*.privileged", "services.*.security_opt"],
        "e2e/containers.rs::privileges_are_dockers_and_can_be_changed",
    ),
    (
        &["services.*.cgroup", "services.*.ipc", "services.*.pid", "services.*.uts"],
        "e2e/attributes.rs::namespaces_are_the_hosts_a_friends_or_a_containers_own",
    ),
    (
        &[
            "services.*.command",
            "services.*.entrypoint",
            "services.*.environment",
            "services.*.image",
            "services.*.working_dir",
        ],
        "e2e/containers.rs::commands_environment_and_folders_override_the_images",
    ),
    (
        &["services.*.container_name", "services.*.networks.*.aliases", "services.*.scale"],
        "e2e/names.rs::services_containers_aliases_and_replicas_are_names",
    ),
    (&["services.*.cpu_shares", "services.*.cpus"], "e2e/limits.rs::processor_time_is_limited"),
    (
        &["services.*.depends_on.*.condition"],
        "e2e/order.rs::conditions_hold_before_a_dependent_starts_and_stopping_is_the_reverse",
    ),
    (
        &["services.*.depends_on.*.required", "services.*.profiles"],
        "e2e/order.rs::a_dependency_that_is_not_required_may_fail",
    ),
    (
        &["services.*.depends_on.*.restart", "services.*.restart"],
        "e2e/restarts.rs::dependents_are_restarted_after_a_crash",
    ),
    (&["services.*.deploy.mode"], "src/plan/lower/tests/values.rs::all_are_told_with_their_places"),
    (
        &[
            "services.*.deploy.replicas",
            "services.*.x-windlass.install.command",
            "services.*.x-windlass.install.lock",
            "services.*.x-windlass.install.target",
        ],
        "e2e/install.rs::services_with_the_same_packages_share_them",
    ),
    (
        &[
            "services.*.deploy.restart_policy.condition",
            "services.*.deploy.restart_policy.delay",
            "services.*.deploy.restart_policy.max_attempts",
        ],
        "e2e/restarts.rs::attempts_are_limited",
    ),
    (
        &["services.*.deploy.restart_policy.window"],
        "src/record/restarts.rs::only_restarts_that_fail_within_the_window_count",
    ),
    (
        &[
            "services.*.deploy.rollback_config.delay",
            "services.*.deploy.rollback_config.max_failure_ratio",
            "services.*.deploy.rollback_config.monitor",
            "services.*.deploy.rollback_config.parallelism",
            "services.*.deploy.update_config.delay",
            "services.*.deploy.update_config.monitor",
            "services.*.deploy.update_config.parallelism",
        ],
        "e2e/converge.rs::updates_and_rollbacks_go_at_their_own_pace",
    ),
    (
        &["services.*.deploy.rollback_config.failure_action"],
        "src/plan/lower/tests/values.rs::updates_and_rollbacks_have_all_their_settings",
    ),
    (&["services.*.deploy.rollback_config.order"], "e2e/converge.rs::a_rollback_goes_as_its_own_settings_say"),
    (&["services.*.deploy.update_config.failure_action"], "e2e/converge.rs::a_failed_update_is_rolled_back"),
    (
        &["services.*.deploy.update_config.max_failure_ratio"],
        "e2e/converge.rs::an_update_tolerates_the_ratio_of_failures_that_it_is_told_to",
    ),
    (&["services.*.deploy.update_config.order"], "e2e/converge.rs::an_update_starts_first_or_stops_first"),
    (
        &[
            "services.*.develop.watch.*.action",
            "services.*.develop.watch.*.ignore",
            "services.*.develop.watch.*.include",
            "services.*.develop.watch.*.path",
            "services.*.develop.watch.*.target",
        ],
        "e2e/watch.rs::edits_are_copied_as_they_are",
    ),
    (
        &[
            "services.*.develop.watch.*.exec.command",
            "services.*.develop.watch.*.exec.environment",
            "services.*.develop.watch.*.exec.privileged",
            "services.*.develop.watch.*.exec.user",
            "services.*.develop.watch.*.exec.working_dir",
            "services.*.develop.watch.*.initial_sync",
            "services.*.x-windlass.reload",
        ],
        "e2e/watch.rs::processes_are_restarted_in_their_network_and_dependents_follow",
    ),
    (
        &[
            "services.*.device_cgroup_rules",
            "services.*.devices.*.permissions",
            "services.*.devices.*.source",
            "services.*.devices.*.target",
            "services.*.dns",
            "services.*.dns_opt",
            "services.*.dns_search",
            "services.*.domainname",
            "services.*.oom_score_adj",
            "services.*.ulimits.*.hard",
            "services.*.ulimits.*.soft",
        ],
        "e2e/attributes.rs::processes_have_names_groups_devices_and_scores",
    ),
    (
        &[
            "services.*.extra_hosts",
            "services.*.hostname",
            "services.*.read_only",
            "services.*.shm_size",
            "services.*.sysctls",
            "services.*.tmpfs",
        ],
        "e2e/containers.rs::read_only_roots_tmpfs_limits_and_names",
    ),
    (
        &["services.*.group_add", "services.*.user"],
        "e2e/containers.rs::users_and_groups_come_from_the_file_and_the_image",
    ),
    (
        &[
            "services.*.healthcheck.disable",
            "services.*.healthcheck.interval",
            "services.*.healthcheck.retries",
            "services.*.healthcheck.start_interval",
            "services.*.healthcheck.start_period",
            "services.*.healthcheck.test",
            "services.*.healthcheck.timeout",
        ],
        "e2e/health.rs::health_checks_have_all_their_fields",
    ),
    (&["services.*.init"], "e2e/containers.rs::init_reaps_and_forwards"),
    (
        &["services.*.logging.driver", "services.*.logging.options"],
        "e2e/logs.rs::logs_are_rotated_by_size_and_kept_by_driver",
    ),
    (
        &["services.*.mac_address", "services.*.networks.*.ipv4_address"],
        "e2e/names.rs::networks_take_the_subnet_and_addresses_of_the_file",
    ),
    (&["services.*.network_mode"], "e2e/names.rs::network_modes"),
    (&["services.*.pids_limit"], "e2e/limits.rs::processes_are_limited"),
    (
        &[
            "services.*.ports.*.host_ip",
            "services.*.ports.*.mode",
            "services.*.ports.*.protocol",
            "services.*.ports.*.published",
            "services.*.ports.*.target",
        ],
        "e2e/ports.rs::ports_bind_where_the_file_says_and_may_be_any",
    ),
    (
        &[
            "services.*.post_start.*.command",
            "services.*.post_start.*.environment",
            "services.*.post_start.*.privileged",
            "services.*.post_start.*.user",
            "services.*.post_start.*.working_dir",
            "services.*.pre_stop.*.command",
            "services.*.pre_stop.*.environment",
            "services.*.pre_stop.*.privileged",
            "services.*.pre_stop.*.user",
            "services.*.pre_stop.*.working_dir",
        ],
        "e2e/attributes.rs::hooks_run_as_and_where_they_say",
    ),
    (&["services.*.stdin_open"], "e2e/live.rs::attach_is_the_containers_input_and_output"),
    (
        &["services.*.stop_grace_period", "services.*.stop_signal"],
        "e2e/order.rs::the_stop_signal_and_the_grace_period_are_the_files",
    ),
    (&["services.*.tty"], "e2e/containers.rs::a_service_with_a_terminal_has_one"),
    (
        &[
            "services.*.volumes.*.bind.create_host_path",
            "services.*.volumes.*.bind.propagation",
            "services.*.volumes.*.bind.recursive",
            "services.*.volumes.*.read_only",
            "services.*.volumes.*.source",
            "services.*.volumes.*.target",
            "services.*.volumes.*.tmpfs.mode",
            "services.*.volumes.*.tmpfs.size",
            "services.*.volumes.*.type",
            "services.*.volumes.*.volume.subpath",
            "volumes.*.driver",
            "volumes.*.driver_opts",
            "volumes.*.labels",
            "volumes.*.name",
        ],
        "e2e/attributes.rs::mounts_and_volumes_have_their_options",
    ),
    (&["services.*.volumes.*.image.subpath"], "e2e/image_mounts.rs::an_image_is_mounted_whole_or_in_part_and_stays"),
    (&["services.*.volumes.*.volume.nocopy"], "e2e/volumes.rs::a_named_volume_is_filled_at_first_use_shared_and_kept"),
    (&["services.*.userns_mode"], "e2e/containers.rs::every_container_is_in_the_user_namespace_of_the_machine"),
    (&["services.*.volumes_from"], "e2e/volumes_from.rs::files_are_seen_from_both_containers"),
    (&["services.*.x-windlass.bind-idmap"], "e2e/ownership.rs::another_user_of_the_container_can_be_the_one"),
    (&["services.*.x-windlass.restart_unhealthy"], "e2e/restarts.rs::what_is_unhealthy_is_restarted_when_it_says_so"),
    (
        &[
            "services.*.x-windlass.rootfs",
            "services.*.x-windlass.toolchain.node",
            "services.*.x-windlass.toolchain.python",
        ],
        "e2e/toolchains.rs::projects_with_clashing_versions_run_side_by_side",
    ),
    (&["volumes.*.external"], "e2e/housekeeping.rs::a_volume_of_two_projects_stays_for_the_second"),
];

/// The attributes that are honoured and hold no others.
fn honoured() -> Vec<String> {
    let all: Vec<String> = attributes().into_iter().map(|(path, _)| path).collect();
    let holds_others =
        |path: &str| all.iter().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
    all.iter().filter(|path| support(path) == Support::Honoured && !holds_others(path)).cloned().collect()
}

/// Whether `text` has the word, as a whole.
fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| !text[..at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// What is wrong with naming `test` for an attribute.
fn fault(path: &str, test: &str) -> Option<String> {
    let Some(body) = effects::function(test) else { return Some(format!("{path}: there is no test {test}")) };
    let keys: Vec<&str> = path.split('.').filter(|key| *key != "*").collect();
    let (last, above) = keys.split_last()?;
    if !has_word(&body, last) {
        return Some(format!("{path}: {test} does not use `{last}`"));
    }
    // `path` and the like say little by themselves. A unit test has the drivers' words, not the file's.
    match above.last() {
        Some(above) if !test.starts_with("src/") && !effects::file(test)?.contains(above) => {
            Some(format!("{path}: the file of {test} has no `{above}`"))
        }
        _ => None,
    }
}

#[test]
fn each_attribute_that_is_honoured_has_its_test() {
    let mut faults = Vec::new();
    let honoured = honoured();
    for path in &honoured {
        let tests: Vec<&str> =
            ATTRIBUTES.iter().filter(|(paths, _)| paths.contains(&path.as_str())).map(|(_, test)| *test).collect();
        match tests[..] {
            [test] => faults.extend(fault(path, test)),
            _ => faults.push(format!("{path}: {} tests see what it does", tests.len())),
        }
    }
    let named = ATTRIBUTES.iter().flat_map(|(paths, _)| *paths);
    let stale = named.filter(|path| !honoured.iter().any(|known| known == *path));
    faults.extend(stale.map(|path| format!("{path}: it is not an attribute that is honoured and holds no others")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
