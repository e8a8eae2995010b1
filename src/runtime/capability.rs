//! Names and sets of capabilities.

use crate::runtime::StartError;
use crate::runtime::spec::Security;
use crate::sys::capability as sys;

/// By number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker gives a container that asks for nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities: bit `n` is capability number `n`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// The number of a name (`net_admin`, `CAP_NET_ADMIN`).
    #[must_use]
    pub fn number(name: &str) -> Option<u32> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES.iter().position(|known| *known == bare).and_then(|number| u32::try_from(number).ok())
    }

    #[must_use]
    pub fn contains(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }

    fn of(names: &[&str]) -> Self {
        names.iter().filter_map(|name| Self::number(name)).fold(Self(0), |set, number| Self(set.0 | 1 << number))
    }

    /// What a container gets: Docker's default with the user's changes. `held` is what this process may give.
    ///
    /// # Errors
    /// For a name that is no capability, and for one that is asked for but not ours to give.
    pub fn of_container(security: &Security, held: Self) -> Result<Self, StartError> {
        if security.privileged {
            return Ok(held);
        }
        let add = Request::parse("cap_add", &security.cap_add)?;
        let drop = Request::parse("cap_drop", &security.cap_drop)?;
        let wanted = if add.all {
            Self(held.0 & !drop.set.0)
        } else if drop.all {
            add.set
        } else {
            Self((Self::of(&DEFAULT).0 & !drop.set.0) | add.set.0)
        };
        let missing = Self(add.set.0 & !held.0);
        if let Some(number) = (0..64).find(|number| missing.contains(*number)) {
            let name = NAMES.get(number as usize).unwrap_or(&"?");
            return Err(StartError::new(
                format!("cap_add {name}"),
                "this process does not have the capability itself, so it cannot give it",
            ));
        }
        Ok(Self(wanted.0 & held.0))
    }

    /// The capabilities of this process.
    ///
    /// # Errors
    /// As `capget(2)`.
    pub fn held() -> std::io::Result<Self> {
        let permitted = sys::permitted()?;
        Ok(Self(
            (0..64)
                .filter(|n| permitted & (1 << n) != 0 && sys::in_bounding(*n) == Some(true))
                .fold(0, |set, n| set | 1 << n),
        ))
    }
}

/// Whether `cap_add` and `cap_drop` may have this.
#[must_use]
pub fn is_capability(name: &str) -> bool {
    is_all(name) || Capabilities::number(name).is_some()
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all")
}

struct Request {
    all: bool,
    set: Capabilities,
}

impl Request {
    fn parse(what: &str, names: &[String]) -> Result<Self, StartError> {
        let mut request = Self { all: false, set: Capabilities(0) };
        for name in names {
            if is_all(name) {
                request.all = true;
            } else {
                let number = Capabilities::number(name)
                    .ok_or_else(|| StartError::new(format!("{what} {name}"), "there is no such capability"))?;
                request.set.0 |= 1 << number;
            }
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities((1 << 41) - 1);

    fn security(add: &[&str], drop: &[&str]) -> Security {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Security {
            privileged: false,
            cap_add: owned(add),
            cap_drop: owned(drop),
            no_new_privileges: false,
            seccomp: crate::runtime::spec::Seccomp::Default,
            apparmor: None,
            mask_paths: true,
        }
    }

    fn of(add: &[&str], drop: &[&str]) -> Capabilities {
        Capabilities::of_container(&security(add, drop), ALL).unwrap()
    }

    #[test]
    fn docker_s_algebra() {
        assert_eq!(of(&[], &[]).0, 0xa804_25fb);
        assert_eq!(of(&["ALL"], &[]), ALL);
        assert_eq!(of(&["all"], &["sys_admin"]).0, ALL.0 & !(1 << 21));
        assert_eq!(of(&["CAP_NET_ADMIN"], &["ALL"]).0, 1 << 12);
        assert_eq!(of(&[], &["ALL"]).0, 0);
        assert_eq!(of(&["sys_time"], &["CHOWN"]).0, (0xa804_25fb & !1) | 1 << 25);
    }

    #[test]
    fn unknown_and_unavailable_names_are_refused() {
        assert!(Capabilities::of_container(&security(&["NET_ADMN"], &[]), ALL).is_err());
        assert!(Capabilities::of_container(&security(&["SYS_RESOURCE"], &[]), Capabilities(0xff)).is_err());
        assert!(Capabilities::of_container(&security(&["ALL"], &[]), Capabilities(0xff)).is_ok());
    }
}
