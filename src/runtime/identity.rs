//! `user: name:group` to numbers, by the files of the container's own root.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::runtime::StartError;
use crate::runtime::inroot;

/// Longer account files are not honest.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, the primary one among them.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Looks a user up in the root's `/etc/passwd` and `/etc/group`.
pub(super) fn resolve(root: impl AsFd, user: &str, additional: &[String]) -> Result<Identity, StartError> {
    let read = |path: &str| match inroot::read(&root, Path::new(path), LIMIT) {
        Ok(bytes) => Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()),
        // A hostile or broken file is as good as none, unless it is needed; then the name is not found.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(String::new()),
        Err(error) if error.raw_os_error().is_some() => Ok(String::new()),
        Err(error) => Err(StartError::io(format!("read {path} of the container"), &error)),
    };
    lookup(&read("/etc/passwd")?, &read("/etc/group")?, user, additional)
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, uid, gid, _, home, ..] => Some(Account { name, uid: id(uid)?, gid: id(gid)?, home }),
            _ => None,
        }
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, gid, members, ..] => Some(Group { name, gid: id(gid)?, members }),
            [name, _, gid] => Some(Group { name, gid: id(gid)?, members: "" }),
            _ => None,
        }
    })
}

/// A user or group number. The largest one means "no change" to the kernel and is refused.
fn id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<u32>().ok().filter(|id| *id <= i32::MAX as u32)
}

/// A name as an image has it: of any length, and of any characters.
fn shown(name: &str) -> String {
    const LONGEST: usize = 80;
    let begin: String = name.chars().take(LONGEST).collect();
    let more = if begin.len() < name.len() { "…" } else { "" };
    format!("{}{more}", begin.escape_debug())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The same by the texts of the two files.
///
/// # Errors
/// When one of the names is in neither.
pub fn lookup(passwd: &str, group: &str, user: &str, additional: &[String]) -> Result<Identity, StartError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let user_part = if user_part.is_empty() { "0" } else { user_part };
    let failed = |detail: String| StartError::new(format!("user {}", shown(user)), detail);
    let by_name = accounts(passwd).find(|a| a.name == user_part);
    let account = by_name.or_else(|| id(user_part).and_then(|uid| accounts(passwd).find(|a| a.uid == uid)));
    let uid = match (&account, id(user_part)) {
        (Some(account), _) => account.uid,
        (None, Some(uid)) => uid,
        (None, None) if is_number(user_part) => return Err(failed("the number is too large".into())),
        (None, None) => return Err(failed(format!("the image's /etc/passwd has no user `{}`", shown(user_part)))),
    };
    let mut names: HashMap<&str, u32> = HashMap::new();
    if group_part.is_some() || !additional.is_empty() {
        // Of two groups with one name the first counts.
        groups(group).for_each(|g| _ = names.entry(g.name).or_insert(g.gid));
    }
    let group_id = |name: &str| {
        let found = names.get(name).copied().or_else(|| id(name));
        found.ok_or_else(|| failed(format!("the image's /etc/group has no group `{}`", shown(name))))
    };
    let gid = match group_part {
        Some(name) => group_id(name)?,
        None => account.as_ref().map_or(0, |a| a.gid),
    };
    let mut all = vec![gid];
    // Docker: memberships count only when no group is named.
    if let (None, Some(account)) = (group_part, &account) {
        all.extend(groups(group).filter(|g| g.members.split(',').any(|m| m.trim() == account.name)).map(|g| g.gid));
    }
    for name in additional {
        all.push(group_id(name)?);
    }
    let mut seen = HashSet::with_capacity(all.len());
    all.retain(|gid| seen.insert(*gid));
    let home = account.map(|a| a.home).filter(|home| !home.is_empty());
    let home = home.map_or_else(|| if uid == 0 { "/root" } else { "/" }.to_owned(), str::to_owned);
    Ok(Identity { uid, gid, groups: all, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/var/www:/bin/false\nbroken:x:y:z\n0web:x:7:8::/h:/x";
    const GROUP: &str = "root:x:0:\nwww:x:102:\nlog:x:4:syslog,web\nssl:x:9:web";

    fn of(user: &str, groups: &[&str]) -> Result<Identity, StartError> {
        lookup(PASSWD, GROUP, user, &groups.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>())
    }

    fn ids(user: &str, groups: &[&str]) -> (u32, u32, Vec<u32>, String) {
        let i = of(user, groups).unwrap();
        (i.uid, i.gid, i.groups, i.home)
    }

    #[test]
    fn forms_of_user() {
        assert_eq!(ids("", &[]), (0, 0, vec![0], "/root".into()));
        assert_eq!(ids("web", &[]), (101, 102, vec![102, 4, 9], "/var/www".into()));
        assert_eq!(ids("101", &[]), (101, 102, vec![102, 4, 9], "/var/www".into()));
        assert_eq!(ids("web:log", &["ssl", "77"]), (101, 4, vec![4, 9, 77], "/var/www".into()));
        assert_eq!(ids("1234:5", &[]), (1234, 5, vec![5], "/".into()));
        assert_eq!(ids("1234", &[]), (1234, 0, vec![0], "/".into()));
        assert_eq!(ids("0web", &[]).0, 7);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(of("nobody", &[]).unwrap_err().detail.contains("no user `nobody`"));
        assert!(of("web:nogroup", &[]).unwrap_err().detail.contains("no group `nogroup`"));
        assert!(of("4294967295", &[]).is_err());
        assert!(of("99999999999999", &[]).is_err());
        assert!(of("web", &["nix"]).is_err());
        let odd = of(&format!("\u{1b}[31m{}", "u".repeat(1 << 20)), &[]).unwrap_err();
        assert!(odd.detail.len() < 200 && !odd.step.contains('\u{1b}') && odd.step.len() < 200, "{odd:?}");
    }
    #[test]
    fn many_groups_take_linear_time() {
        let growth = crate::sys::growth::eightfold(1_000, |size| {
            let group: String = (0..size).map(|gid| format!("group{gid}:x:{gid}:web\n")).collect();
            let additional: Vec<String> = (0..size).rev().map(|gid| format!("group{gid}")).collect();
            assert_eq!(lookup(PASSWD, &group, "web", &additional).unwrap().groups.len(), size);
        });
        assert!(growth < 24, "{growth} times the time for 8 times the groups");
    }
}
