//! Profiles: Docker's JSON format, and what remains of one on this machine with given capabilities.

use serde::Deserialize;

use super::assemble::{self, Filter};
use super::numbers::NUMBERS;
use crate::runtime::capability::Capabilities;
use crate::sys::seccomp::Instruction;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Errno(u16),
    KillThread,
    KillProcess,
    Trap,
    Log,
    Trace(u16),
}

impl Action {
    /// As a filter returns it.
    pub(super) fn code(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
            Self::Trap => 0x0003_0000,
            Self::Log => 0x7ffc_0000,
            Self::Trace(data) => 0x7ff0_0000 | u32::from(data),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Op {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// A condition on one argument. `mask` counts for `MaskedEq` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compare {
    pub arg: u8,
    pub op: Op,
    pub value: u64,
    pub mask: u64,
}

impl Compare {
    pub(super) fn new(arg: u8, op: Op, value: u64) -> Self {
        Self { arg, op, value, mask: u64::MAX }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub names: Vec<String>,
    pub action: Action,
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Counts only on machines of one of these architectures (Go's names).
    pub native: Vec<String>,
    pub not_native: Vec<String>,
    pub capabilities: Vec<String>,
    pub without_capabilities: Vec<String>,
    pub min_kernel: Option<(u32, u32)>,
    pub before_kernel: Option<(u32, u32)>,
}

impl Rule {
    pub(super) fn allow(names: &str) -> Self {
        Self {
            names: names.split_whitespace().map(str::to_owned).collect(),
            action: Action::Allow,
            compares: Vec::new(),
            native: Vec::new(),
            not_native: Vec::new(),
            capabilities: Vec::new(),
            without_capabilities: Vec::new(),
            min_kernel: None,
            before_kernel: None,
        }
    }

    fn applies(&self, machine: &Machine) -> Result<bool, String> {
        let native = |names: &[String]| names.iter().any(|name| *name == machine.native.go_name());
        let has = |name: &String| match Capabilities::number(name) {
            Some(number) => Ok(machine.capabilities.contains(number)),
            None => Err(format!("`{name}` is no capability")),
        };
        for name in &self.capabilities {
            if !has(name)? {
                return Ok(false);
            }
        }
        for name in &self.without_capabilities {
            if has(name)? {
                return Ok(false);
            }
        }
        Ok((self.native.is_empty() || native(&self.native))
            && !native(&self.not_native)
            && self.min_kernel.is_none_or(|least| machine.kernel >= least)
            && self.before_kernel.is_none_or(|least| machine.kernel < least))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArchitectureName {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl ArchitectureName {
    pub(super) const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// `None` for those that do not run on any machine of ours.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "SCMP_ARCH_NATIVE" => Ok(Some(Machine::NATIVE)),
            "SCMP_ARCH_X86_64" => Ok(Some(Self::X86_64)),
            "SCMP_ARCH_X86" => Ok(Some(Self::X86)),
            "SCMP_ARCH_X32" => Ok(Some(Self::X32)),
            "SCMP_ARCH_AARCH64" => Ok(Some(Self::Aarch64)),
            "SCMP_ARCH_ARM" => Ok(Some(Self::Arm)),
            _ if text.starts_with("SCMP_ARCH_") => Ok(None),
            _ => Err(format!("`{text}` is no architecture")),
        }
    }

    fn go_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    fn column(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).unwrap_or(0)
    }

    /// The number of a system call, without x32's bit.
    pub(super) fn number(self, name: &str) -> Option<u32> {
        let found = NUMBERS.binary_search_by(|(known, _)| known.cmp(&name)).ok()?;
        u32::try_from(NUMBERS[found].1[self.column()]).ok()
    }
}

/// What a profile is compiled for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub native: ArchitectureName,
    pub kernel: (u32, u32),
    /// The bounding set of the container.
    pub capabilities: Capabilities,
}

impl Machine {
    #[cfg(target_arch = "aarch64")]
    const NATIVE: ArchitectureName = ArchitectureName::Aarch64;
    #[cfg(not(target_arch = "aarch64"))]
    const NATIVE: ArchitectureName = ArchitectureName::X86_64;

    pub(super) fn this(capabilities: Capabilities) -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self { native: Self::NATIVE, kernel: version(&release).unwrap_or((5, 10)), capabilities }
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub default: Action,
    /// Native architecture, and those that it runs as well.
    pub architectures: Vec<(ArchitectureName, Vec<ArchitectureName>)>,
    pub rules: Vec<Rule>,
}

impl Profile {
    /// Reads Docker's format.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !json.architectures.is_empty() && !json.arch_map.is_empty() {
            return Err("`architectures` and `archMap` exclude each other".into());
        }
        if json.listener_path.is_some_and(|path| !path.is_empty()) {
            return Err("`listenerPath` needs a listener, which windlass does not offer".into());
        }
        let mut architectures = Vec::new();
        for entry in &json.arch_map {
            let Some(native) = ArchitectureName::parse(&entry.architecture)? else { continue };
            let mut others = Vec::new();
            for name in entry.sub_architectures.iter().flatten() {
                others.extend(ArchitectureName::parse(name)?);
            }
            architectures.push((native, others));
        }
        if !json.architectures.is_empty() {
            let mut named = Vec::new();
            for name in &json.architectures {
                named.extend(ArchitectureName::parse(name)?);
            }
            architectures.push((Machine::NATIVE, named));
        }
        let default = action(&json.default_action, json.default_errno_ret)?;
        let mut rules = Vec::with_capacity(json.syscalls.len());
        for rule in json.syscalls {
            rules.push(rule.into_rule(json.default_errno_ret)?);
        }
        Ok(Self { default, architectures, rules })
    }

    /// Compiles what remains of the profile on a machine.
    pub(super) fn compile(&self, machine: &Machine) -> Result<Vec<Instruction>, String> {
        let mut rules = Vec::new();
        for rule in &self.rules {
            if rule.applies(machine)? {
                rules.push(rule);
            }
        }
        let mut architectures = vec![machine.native];
        for (native, others) in &self.architectures {
            if *native == machine.native {
                architectures.extend(others.iter().filter(|other| **other != machine.native));
            }
        }
        let filters: Vec<_> = architectures.iter().map(|a| (*a, Filter::of(*a, self.default, &rules))).collect();
        assemble::program(&filters)
    }
}

fn action(text: &str, errno: Option<u32>) -> Result<Action, String> {
    let data = u16::try_from(errno.unwrap_or(1)).map_err(|_| "`errnoRet` is too large".to_owned())?;
    match text {
        "SCMP_ACT_ALLOW" => Ok(Action::Allow),
        // What is above the largest errno would be taken for it.
        "SCMP_ACT_ERRNO" => Ok(Action::Errno(data.min(4095))),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(Action::KillThread),
        "SCMP_ACT_KILL_PROCESS" => Ok(Action::KillProcess),
        "SCMP_ACT_TRAP" => Ok(Action::Trap),
        "SCMP_ACT_LOG" => Ok(Action::Log),
        "SCMP_ACT_TRACE" => Ok(Action::Trace(data)),
        "SCMP_ACT_NOTIFY" => Err("SCMP_ACT_NOTIFY needs a listener, which windlass does not offer".into()),
        _ => Err(format!("`{text}` is no action")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<JsonArch>,
    #[serde(default)]
    syscalls: Vec<JsonRule>,
    listener_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonArch {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRule {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<JsonArg>>,
    includes: Option<JsonCondition>,
    excludes: Option<JsonCondition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonArg {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Op,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonCondition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

impl JsonRule {
    fn into_rule(self, default_errno: Option<u32>) -> Result<Rule, String> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names) {
            (Some(_), names) if !names.is_empty() => return Err("`name` and `names` exclude each other".into()),
            (Some(name), _) => vec![name],
            (None, names) => names,
        };
        let mut compares = Vec::new();
        for arg in self.args.into_iter().flatten() {
            if arg.index > 5 {
                return Err(format!("a system call has six arguments, there is no argument {}", arg.index));
            }
            // With a mask, `value` is the mask and `valueTwo` what must remain.
            compares.push(match arg.op {
                Op::MaskedEq => Compare { arg: arg.index, op: arg.op, value: arg.value_two, mask: arg.value },
                op => Compare::new(arg.index, op, arg.value),
            });
        }
        let includes = self.includes.unwrap_or_default();
        let excludes = self.excludes.unwrap_or_default();
        let kernel = |text: Option<String>| match text {
            Some(text) => version(&text).map(Some).ok_or_else(|| format!("`{text}` is no kernel version")),
            None => Ok(None),
        };
        Ok(Rule {
            names,
            action: action(&self.action, self.errno_ret.or(default_errno))?,
            compares,
            native: includes.arches,
            not_native: excludes.arches,
            capabilities: includes.caps,
            without_capabilities: excludes.caps,
            min_kernel: kernel(includes.min_kernel)?,
            before_kernel: kernel(excludes.min_kernel)?,
        })
    }
}
