//! What a project has left on the machine, seen from outside; and its removal, so that one fault stays one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What is left, once it no longer changes: a command may return just before the last process is gone.
pub fn settled(home: &Path, projects: &[(String, String)]) -> Vec<String> {
    // A supervisor that nobody asked for anything stays for five seconds.
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let left = find(home, projects);
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One line for each thing that is left of the projects (name and id) below `home`.
pub fn find(home: &Path, projects: &[(String, String)]) -> Vec<String> {
    let mut left = Vec::new();
    for pid in processes_of(home) {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
        left.push(format!("process {pid}: {command}"));
    }
    left.extend(mounts_of(home).into_iter().map(|mount| format!("mount {}", mount.display())));
    for (name, id) in projects {
        left.extend(links_of(id).into_iter().map(|link| format!("link {link}")));
        left.extend(tables_of(id).into_iter().map(|table| format!("nftables {table}")));
        left.extend(cgroups_of(id).into_iter().map(|folder| format!("cgroup {}", folder.display())));
        for place in ["run", "data"] {
            files_of(&home.join(place), &[name, id], &mut left);
        }
    }
    left
}

/// Processes that have `home` in their mounts, descriptors, arguments or environment.
fn processes_of(home: &Path) -> Vec<i32> {
    let needle = home.to_string_lossy().into_owned();
    let mentions = |path: String| {
        fs::read(path).is_ok_and(|text| text.windows(needle.len()).any(|window| window == needle.as_bytes()))
    };
    let own_mounts = fs::read_link("/proc/self/ns/mnt").ok();
    let holds = |pid: i32| {
        mentions(format!("/proc/{pid}/cmdline"))
            || mentions(format!("/proc/{pid}/environ"))
            || (fs::read_link(format!("/proc/{pid}/ns/mnt")).ok() != own_mounts
                && mentions(format!("/proc/{pid}/mountinfo")))
            || fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
                .flatten()
                .any(|descriptor| fs::read_link(descriptor.path()).is_ok_and(|target| target.starts_with(home)))
    };
    // What another test is about to execute has, until then, every descriptor that this process had open.
    let program = |of: &str| fs::read_link(format!("/proc/{of}/exe")).ok();
    let (own, ours) = (i32::try_from(std::process::id()).unwrap_or(0), program("self"));
    entries(Path::new("/proc"))
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter(|pid: &i32| *pid != own && program(&pid.to_string()) != ours && holds(*pid))
        .collect()
}

fn mounts_of(home: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    places.map(|place| PathBuf::from(place.replace("\\040", " "))).filter(|place| place.starts_with(home)).collect()
}

/// Kernel names are short: the first six digits are enough to know one's own.
fn links_of(id: &str) -> Vec<String> {
    let links = entries(Path::new("/sys/class/net"));
    let names = links.iter().filter_map(|path| path.file_name()?.to_str());
    names.filter(|name| name.starts_with("wl") && name.contains(&id[..6])).map(str::to_owned).collect()
}

fn tables_of(id: &str) -> Vec<String> {
    let output = Command::new("/usr/sbin/nft").args(["list", "tables"]).output();
    let output = output.expect("the leak check needs nft: the test script installs nftables");
    assert!(output.status.success(), "nft list tables failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains(id)).map(str::to_owned).collect()
}

/// Folders of the project in every cgroup hierarchy.
fn cgroups_of(id: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, id: &str, found: &mut Vec<PathBuf>) {
        for path in entries(folder) {
            if !path.is_symlink() && path.is_dir() {
                if path.file_name().is_some_and(|name| name.to_string_lossy().contains(id)) {
                    found.push(path.clone());
                }
                walk(&path, id, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), id, &mut found);
    found
}

/// Files and folders that carry the project's name or id, and sockets. Images and caches belong to nobody.
fn files_of(folder: &Path, names: &[&str], left: &mut Vec<String>) {
    for path in entries(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let socket =
            path.symlink_metadata().is_ok_and(|data| std::os::unix::fs::FileTypeExt::is_socket(&data.file_type()));
        if socket || names.iter().any(|wanted| name.contains(wanted)) {
            left.push(format!("file {}", path.display()));
        } else if name != "images" && name != "cache" && !path.is_symlink() && path.is_dir() {
            files_of(&path, names, left);
        }
    }
}

/// Removes what a failed test has left, by force.
pub fn clean(home: &Path, id: &str) {
    for _ in 0..50 {
        let processes = processes_of(home);
        for pid in &processes {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if processes.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    for place in mounts_of(home).iter().rev() {
        let _ = umount2(place, MntFlags::MNT_DETACH);
    }
    for link in links_of(id) {
        let _ = Command::new("ip").args(["link", "del", &link]).output();
    }
    for table in tables_of(id) {
        let words: Vec<&str> = table.split(' ').skip(1).collect();
        let _ = Command::new("/usr/sbin/nft").args(["delete", "table"]).args(words).output();
    }
    for folder in cgroups_of(id).iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}

/// Keeps what explains a failure: the records and logs of the project, without images and volumes.
pub fn keep_artifacts(name: &str, home: &Path) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("artifacts").join(name);
    let _ = fs::remove_dir_all(&target);
    keep(&home.join("data/projects"), &target.join("data"));
    keep(&home.join("run"), &target.join("run"));
    eprintln!("the state of the failed project is in {}", target.display());
}

fn keep(from: &Path, to: &Path) {
    let _ = fs::create_dir_all(to);
    for path in entries(from) {
        let Some(name) = path.file_name() else { continue };
        let Ok(data) = path.symlink_metadata() else { continue };
        if data.is_dir() && name != "upper" && name != "work" && name != "root" {
            keep(&path, &to.join(name));
        } else if data.is_file() {
            let _ = fs::copy(&path, to.join(name));
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}
