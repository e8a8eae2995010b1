//! A specification for tests to begin from, here and in `tests`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::spec::{
    Cgroup, ContainerSpec, EtcFiles, Namespace, Namespaces, NetworkNamespace, Process, Rootfs, Seccomp, Security,
    TerminalSize,
};

/// A container that runs a command as root, with everything of its own and as it is by default. It has no root yet.
#[must_use]
pub fn spec(args: &[&str]) -> ContainerSpec {
    ContainerSpec {
        id: String::new(),
        hostname: String::new(),
        domainname: None,
        rootfs: Rootfs { lower: vec![], upper: PathBuf::new(), work: PathBuf::new(), read_only: false },
        mounts: vec![],
        match_users: vec![],
        etc: EtcFiles::default(),
        namespaces: Namespaces {
            network: NetworkNamespace::Passed,
            pid: Namespace::Private,
            ipc: Namespace::Private,
            uts: Namespace::Private,
            cgroup: Namespace::Private,
        },
        process: Process {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![],
            cwd: "/".into(),
            user: String::new(),
            groups: vec![],
            rlimits: vec![],
            oom_score_adj: None,
            tty: false,
            stdin_open: false,
            size: TerminalSize::default(),
        },
        security: Security {
            privileged: false,
            cap_add: vec![],
            cap_drop: vec![],
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            apparmor: None,
            mask_paths: true,
        },
        devices: vec![],
        device_cgroup_rules: vec![],
        sysctls: BTreeMap::new(),
        cgroup: Cgroup::default(),
        shm_size: 64 << 20,
        init: false,
    }
}
