//! A service and what hangs on it.

use super::deploy::DEPLOY;
use super::{COUNT, DRIVER_OPTIONS, ENVIRONMENT, LABELS, OPTIONS, Object, Shape, Special, TEXTS, WHOLE};

pub static SERVICE: Object = Object {
    name: "service",
    required: &[],
    attributes: &[
        ("annotations", LABELS),
        ("attach", Shape::Flag),
        ("blkio_config", Shape::Object(&BLKIO)),
        ("build", Shape::Special(Special::Build)),
        ("cap_add", TEXTS),
        ("cap_drop", TEXTS),
        ("cgroup", Shape::Word(&["host", "private"])),
        ("cgroup_parent", Shape::Text),
        ("command", Shape::Special(Special::Command)),
        ("configs", Shape::Special(Special::FileReferences)),
        ("container_name", Shape::Special(Special::ContainerName)),
        ("cpu_count", COUNT),
        ("cpu_percent", Shape::Number),
        ("cpu_period", WHOLE),
        ("cpu_quota", WHOLE),
        ("cpu_rt_period", WHOLE),
        ("cpu_rt_runtime", WHOLE),
        ("cpu_shares", WHOLE),
        ("cpus", Shape::Number),
        ("cpuset", Shape::Text),
        ("credential_spec", Shape::Object(&CREDENTIAL_SPEC)),
        ("depends_on", Shape::Special(Special::DependsOn)),
        ("deploy", Shape::Nullable(&DEPLOY)),
        ("develop", Shape::Nullable(&DEVELOP)),
        ("device_cgroup_rules", TEXTS),
        ("devices", Shape::Special(Special::Devices)),
        ("dns", Shape::TextOrList),
        ("dns_opt", TEXTS),
        ("dns_search", Shape::TextOrList),
        ("domainname", Shape::Text),
        ("entrypoint", Shape::Special(Special::Command)),
        ("env_file", Shape::Special(Special::EnvFile)),
        ("environment", ENVIRONMENT),
        ("expose", Shape::Set(&Shape::TextOrNumber)),
        ("extends", Shape::Special(Special::Extends)),
        ("external_links", TEXTS),
        ("extra_hosts", Shape::Special(Special::ExtraHosts)),
        ("gpus", Shape::Special(Special::Gpus)),
        ("group_add", Shape::Set(&Shape::TextOrNumber)),
        ("healthcheck", Shape::Object(&HEALTHCHECK)),
        ("hostname", Shape::Text),
        ("image", Shape::Text),
        ("init", Shape::Flag),
        ("ipc", Shape::Text),
        ("isolation", Shape::Text),
        ("label_file", Shape::TextOrList),
        ("labels", LABELS),
        ("links", TEXTS),
        ("logging", Shape::Object(&LOGGING)),
        ("mac_address", Shape::Special(Special::MacAddress)),
        ("mem_limit", Shape::Size),
        ("mem_reservation", Shape::Size),
        ("mem_swappiness", WHOLE),
        ("memswap_limit", Shape::Size),
        ("models", Shape::Special(Special::Models)),
        ("network_mode", Shape::Text),
        ("networks", Shape::Special(Special::Networks)),
        ("oom_kill_disable", Shape::Flag),
        ("oom_score_adj", Shape::Whole { min: -1000, max: 1000 }),
        ("pid", Shape::Text),
        ("pids_limit", WHOLE),
        ("platform", Shape::Text),
        ("ports", Shape::Special(Special::Ports)),
        ("post_start", Shape::List(&Shape::Object(&HOOK))),
        ("pre_start", Shape::List(&Shape::Object(&PRE_START))),
        ("pre_stop", Shape::List(&Shape::Object(&HOOK))),
        ("privileged", Shape::Flag),
        ("profiles", TEXTS),
        ("provider", Shape::Object(&PROVIDER)),
        ("pull_policy", Shape::Special(Special::PullPolicy)),
        ("pull_refresh_after", Shape::Text),
        ("read_only", Shape::Flag),
        ("restart", Shape::Special(Special::Restart)),
        ("runtime", Shape::Text),
        ("scale", COUNT),
        ("secrets", Shape::Special(Special::SecretReferences)),
        ("security_opt", TEXTS),
        ("shm_size", Shape::Space),
        ("stdin_open", Shape::Flag),
        ("stop_grace_period", Shape::Duration),
        ("stop_signal", Shape::Text),
        ("storage_opt", OPTIONS),
        ("sysctls", LABELS),
        ("tmpfs", Shape::TextOrList),
        ("tty", Shape::Flag),
        ("ulimits", Shape::Special(Special::Ulimits)),
        ("use_api_socket", Shape::Flag),
        ("user", Shape::Text),
        ("userns_mode", Shape::Text),
        ("uts", Shape::Text),
        ("volumes", Shape::Special(Special::Volumes)),
        ("volumes_from", TEXTS),
        ("working_dir", Shape::Text),
        ("x-windlass", Shape::Nullable(&WINDLASS)),
    ],
};

static WINDLASS: Object = Object {
    name: "x-windlass",
    required: &[],
    attributes: &[
        ("bind-idmap", Shape::Text),
        ("install", Shape::Special(Special::Install)),
        ("reload", Shape::Word(&["restart"])),
        ("restart_unhealthy", Shape::Flag),
        ("rootfs", Shape::Word(&["host"])),
        ("toolchain", Shape::Object(&TOOLCHAIN)),
    ],
};

pub static INSTALL: Object = Object {
    name: "install",
    required: &["command"],
    attributes: &[("command", Shape::Special(Special::Script)), ("lock", Shape::TextOrList), ("target", Shape::Text)],
};

static TOOLCHAIN: Object =
    Object { name: "toolchain", required: &[], attributes: &[("node", Shape::Text), ("python", Shape::Text)] };

static BLKIO: Object = Object {
    name: "blkio_config",
    required: &[],
    attributes: &[
        ("device_read_bps", Shape::List(&Shape::Object(&BLKIO_LIMIT))),
        ("device_read_iops", Shape::List(&Shape::Object(&BLKIO_LIMIT))),
        ("device_write_bps", Shape::List(&Shape::Object(&BLKIO_LIMIT))),
        ("device_write_iops", Shape::List(&Shape::Object(&BLKIO_LIMIT))),
        ("weight", Shape::Whole { min: 0, max: 1000 }),
        ("weight_device", Shape::List(&Shape::Object(&BLKIO_WEIGHT))),
    ],
};

static BLKIO_LIMIT: Object =
    Object { name: "device limit", required: &[], attributes: &[("path", Shape::Text), ("rate", Shape::Space)] };

static BLKIO_WEIGHT: Object = Object {
    name: "device weight",
    required: &[],
    attributes: &[("path", Shape::Text), ("weight", Shape::Whole { min: 0, max: 1000 })],
};

static CREDENTIAL_SPEC: Object = Object {
    name: "credential_spec",
    required: &[],
    attributes: &[("config", Shape::Text), ("file", Shape::Text), ("registry", Shape::Text)],
};

pub(crate) static DEPENDENCY: Object = Object {
    name: "dependency",
    required: &["condition"],
    attributes: &[
        ("condition", Shape::Word(&["service_started", "service_healthy", "service_completed_successfully"])),
        ("required", Shape::Flag),
        ("restart", Shape::Flag),
    ],
};

static DEVELOP: Object =
    Object { name: "develop", required: &[], attributes: &[("watch", Shape::List(&Shape::Object(&WATCH)))] };

static WATCH: Object = Object {
    name: "watch rule",
    required: &["path", "action"],
    attributes: &[
        ("action", Shape::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
        ("exec", Shape::Object(&HOOK)),
        ("ignore", Shape::TextOrList),
        ("include", Shape::TextOrList),
        ("initial_sync", Shape::Flag),
        ("path", Shape::Text),
        ("target", Shape::Text),
    ],
};

pub(crate) static DEVICE: Object = Object {
    name: "device",
    required: &["source"],
    attributes: &[("permissions", Shape::Text), ("source", Shape::Text), ("target", Shape::Text)],
};

pub(crate) static DEVICE_REQUEST: Object = Object {
    name: "device request",
    required: &[],
    attributes: &[
        ("capabilities", TEXTS),
        ("count", Shape::Special(Special::DeviceCount)),
        ("device_ids", TEXTS),
        ("driver", Shape::Text),
        ("options", LABELS),
    ],
};

pub(crate) static ENV_FILE: Object = Object {
    name: "env_file",
    required: &["path"],
    attributes: &[("format", Shape::Text), ("path", Shape::Text), ("required", Shape::Flag)],
};

pub(crate) static EXTENDS: Object =
    Object { name: "extends", required: &["service"], attributes: &[("file", Shape::Text), ("service", Shape::Text)] };

pub(crate) static FILE_REFERENCE: Object = Object {
    name: "file reference",
    required: &["source"],
    attributes: &[
        ("gid", Shape::Text),
        ("mode", Shape::Mode),
        ("source", Shape::Text),
        ("target", Shape::Text),
        ("uid", Shape::Text),
    ],
};

static HEALTHCHECK: Object = Object {
    name: "healthcheck",
    required: &[],
    attributes: &[
        ("disable", Shape::Flag),
        ("interval", Shape::Duration),
        ("retries", COUNT),
        ("start_interval", Shape::Duration),
        ("start_period", Shape::Duration),
        ("test", Shape::Special(Special::HealthTest)),
        ("timeout", Shape::Duration),
    ],
};

static HOOK: Object = Object {
    name: "hook",
    required: &["command"],
    attributes: &[
        ("command", Shape::Special(Special::Command)),
        ("environment", ENVIRONMENT),
        ("privileged", Shape::Flag),
        ("user", Shape::Text),
        ("working_dir", Shape::Text),
    ],
};

static PRE_START: Object = Object {
    name: "pre_start hook",
    required: &[],
    attributes: &[
        ("command", Shape::Special(Special::Command)),
        ("environment", ENVIRONMENT),
        ("image", Shape::Text),
        ("per_replica", Shape::Flag),
        ("privileged", Shape::Flag),
        ("user", Shape::Text),
        ("working_dir", Shape::Text),
    ],
};

static LOGGING: Object =
    Object { name: "logging", required: &[], attributes: &[("driver", Shape::Text), ("options", OPTIONS)] };

pub(crate) static NETWORK_ATTACHMENT: Object = Object {
    name: "network attachment",
    required: &[],
    attributes: &[
        ("aliases", TEXTS),
        ("driver_opts", DRIVER_OPTIONS),
        ("gw_priority", WHOLE),
        ("interface_name", Shape::Text),
        ("ipv4_address", Shape::Text),
        ("ipv6_address", Shape::Text),
        ("link_local_ips", TEXTS),
        ("mac_address", Shape::Special(Special::MacAddress)),
        ("priority", WHOLE),
    ],
};

pub(crate) static MODEL_USE: Object = Object {
    name: "model binding",
    required: &[],
    attributes: &[("endpoint_var", Shape::Text), ("model_var", Shape::Text)],
};

pub(crate) static PORT: Object = Object {
    name: "port",
    required: &["target"],
    attributes: &[
        ("app_protocol", Shape::Text),
        ("host_ip", Shape::Text),
        ("mode", Shape::Text),
        ("name", Shape::Text),
        ("protocol", Shape::Text),
        ("published", Shape::TextOrNumber),
        ("target", Shape::Whole { min: 1, max: 65535 }),
    ],
};

static PROVIDER: Object = Object {
    name: "provider",
    required: &["type"],
    attributes: &[("options", Shape::Special(Special::ProviderOptions)), ("type", Shape::Text)],
};

pub(crate) static ULIMIT: Object =
    Object { name: "ulimit", required: &["soft", "hard"], attributes: &[("hard", WHOLE), ("soft", WHOLE)] };

pub(crate) static VOLUME_MOUNT: Object = Object {
    name: "volume",
    required: &["type"],
    attributes: &[
        ("bind", Shape::Object(&BIND)),
        ("consistency", Shape::Text),
        ("image", Shape::Object(&IMAGE_MOUNT)),
        ("read_only", Shape::Flag),
        ("source", Shape::Text),
        ("target", Shape::Text),
        ("tmpfs", Shape::Object(&TMPFS)),
        ("type", Shape::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
        ("volume", Shape::Object(&VOLUME_OPTIONS)),
    ],
};

static BIND: Object = Object {
    name: "bind",
    required: &[],
    attributes: &[
        ("create_host_path", Shape::Flag),
        ("propagation", Shape::Text),
        ("recursive", Shape::Word(&["enabled", "disabled", "writable", "readonly"])),
        ("selinux", Shape::Word(&["z", "Z"])),
    ],
};

static VOLUME_OPTIONS: Object = Object {
    name: "volume options",
    required: &[],
    attributes: &[("labels", LABELS), ("nocopy", Shape::Flag), ("subpath", Shape::Text)],
};

static TMPFS: Object =
    Object { name: "tmpfs", required: &[], attributes: &[("mode", Shape::Mode), ("size", Shape::Space)] };

static IMAGE_MOUNT: Object = Object { name: "image options", required: &[], attributes: &[("subpath", Shape::Text)] };
