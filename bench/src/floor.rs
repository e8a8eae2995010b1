//! The kernel's own work for a number of containers and nothing else: for each a clone with the namespaces of a
//! container, an overlay root with `/proc`, `/sys` and `/dev`, a veth pair on one bridge, `pivot_root` and `execve`, one
//! after the other. No records, no names, no limits, no cgroup, no seccomp, no ports. Prints the microseconds.
//!
//!     floor CONTAINERS LAYER FOLDER
//!
//! LAYER is a root file system with `/bin/true`, FOLDER is on the disk that containers are on.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use rtnetlink::{LinkBridge, LinkUnspec, LinkVeth};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
};
use windlass::sys::{clone, overlay};

/// `CLONE_NEW*` of mount, cgroup, uts, ipc, pid and network namespaces.
const NAMESPACES: u64 = 0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x2000_0000 | 0x4000_0000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: floor CONTAINERS LAYER FOLDER");
    let (count, layer, folder) = (next()?.parse::<usize>()?, PathBuf::from(next()?), PathBuf::from(next()?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let links = runtime.block_on(async {
        let (connection, links, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let _ = links.link().add(LinkBridge::new("floor0").up().build()).execute().await;
        anyhow::Ok(links)
    })?;
    let bridge = runtime.block_on(index(&links, "floor0"))?;
    let mut children = Vec::with_capacity(count);
    let started = Instant::now();
    for number in 0..count {
        let (upper, work) = (folder.join(format!("{number}/upper")), folder.join(format!("{number}/work")));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let (mut go, mut tell) = std::io::pipe()?;
        let (mut executed, hold) = std::io::pipe()?;
        let child = clone::clone3(NAMESPACES, None, || {
            let told = go.read_exact(&mut [0]).map_err(anyhow::Error::from);
            match told.and_then(|()| contain(&layer, &upper, &work)).and_then(|()| execute()) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("{error:#}");
                    127
                }
            }
        })?;
        drop(hold);
        runtime.block_on(connect(&links, number, child.pid, bridge))?;
        tell.write_all(b"x")?;
        // The end of the pipe: `execve` has closed the other side.
        executed.read_to_end(&mut Vec::new())?;
        children.push(child);
    }
    println!("{}", started.elapsed().as_micros());
    for child in children {
        let pid = rustix::process::Pid::from_raw(child.pid);
        if let Some((_, status)) = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty())? {
            anyhow::ensure!(status.exit_status() == Some(0), "a child ended with {status:?}");
        }
    }
    runtime.block_on(links.link().del(bridge).execute())?;
    Ok(())
}

async fn index(links: &rtnetlink::Handle, name: &str) -> Result<u32> {
    let mut found = links.link().get().match_name(name.to_owned()).execute();
    Ok(found.try_next().await?.context("no such link")?.header.index)
}

/// One request makes both ends, the inner one where it belongs; the second puts the outer one on the bridge.
async fn connect(links: &rtnetlink::Handle, number: usize, pid: i32, bridge: u32) -> Result<()> {
    let (ours, theirs) = (format!("floor-{number}"), format!("inner-{number}"));
    links.link().add(LinkVeth::new(&theirs, &ours).setns_by_pid(u32::try_from(pid)?).build()).execute().await?;
    let outer = LinkUnspec::new_with_name(&ours).controller(bridge).up().build();
    links.link().set(outer).execute().await?;
    Ok(())
}

fn contain(layer: &Path, upper: &Path, work: &Path) -> Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let root = overlay::detached(&[layer.to_owned()], Some((upper, work)))?;
    attach(&root, upper)?;
    std::env::set_current_dir(upper)?;
    for (kind, place) in [("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "dev")] {
        fs::create_dir_all(place)?;
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(&context, "source", kind)?;
        fsconfig_create(&context)?;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        attach(&mount, Path::new(place))?;
    }
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

fn attach(mount: impl AsFd, place: &Path) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(mount, "", rustix::fs::CWD, place, flags)?)
}

fn execute() -> Result<()> {
    let program = fs::File::open("/bin/true")?;
    let error = windlass::sys::process::execute_descriptor(program.as_fd(), &[CString::new("true")?], &[]);
    Err(error.into())
}
