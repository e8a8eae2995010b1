//! `security_opt`, capabilities and privileges.

use crate::compose::model::Service;
use crate::runtime::spec::{Seccomp, Security};

use super::Fault;

pub(super) fn lower(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Security {
    let mut security = Security {
        privileged: service.privileged,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        no_new_privileges: false,
        seccomp: if service.privileged { Seccomp::Unconfined } else { Seccomp::Default },
        apparmor: None,
        mask_paths: !service.privileged,
    };
    for (index, option) in service.security_opt.iter().enumerate() {
        // `key=value`, or `key:value` of old files.
        let (key, value) = option.split_once('=').or_else(|| option.split_once(':')).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            // Loading put the profile's text in place of its path.
            ("seccomp", text) if text.trim_start().starts_with('{') => {
                security.seccomp = Seccomp::Profile(text.to_owned())
            }
            ("seccomp", "builtin") => security.seccomp = Seccomp::Default,
            ("apparmor", profile) if !profile.is_empty() => security.apparmor = Some(profile.to_owned()),
            ("systempaths", "unconfined") => security.mask_paths = false,
            // SELinux labels: without SELinux there is nothing to label.
            ("label", _) => {}
            _ => faults.push(
                Fault::new(
                    format!("services.{name}.security_opt[{index}]"),
                    format!("unknown security option `{option}`"),
                )
                .hint("known are no-new-privileges, seccomp, apparmor, label and systempaths=unconfined"),
            ),
        }
    }
    security
}
