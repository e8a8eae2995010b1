//! The fill of a new volume with what the image has at its mount point.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, Mode, OFlags};

use super::error::VolumeError;
use super::folder::Folder;
use super::spec::{FillState, VolumeRecord};
use crate::state::process;
use crate::state::record::{self, Durability};
use crate::sys::copy::{self, Existing};

/// What [`super::Store::fill`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// The volume was filled before, or holds something.
    Kept,
    /// So many files and folders came from the image; none when its folder is empty.
    Copied { entries: u64 },
}

/// In place, and marked: a container that runs may have the folder mounted already, so it cannot be swapped for a
/// ready one. Found half done, the copy is made again over what is there.
pub(super) fn fill(folder: &Folder, mut volume: VolumeRecord, source: BorrowedFd<'_>) -> Result<Filled, VolumeError> {
    let data = open_data(folder)?;
    let io = |action| VolumeError::io(action, folder.data());
    let failed = |source| VolumeError::Fill { name: volume.name.clone(), source };
    let boot = process::boot_id().ok();
    let existing = match volume.fill {
        FillState::Done => return Ok(Filled::Kept),
        FillState::Copied if volume.fill_boot == boot => return Ok(Filled::Kept),
        FillState::Copied => {
            // Waiting for the disk after the copy would take seconds on a busy machine; to look once after the next
            // boot takes none.
            copy::repair(source, data.as_fd()).map_err(failed)?;
            volume.fill = FillState::Done;
            record::write(&folder.record(), &volume, Durability::Process)?;
            return Ok(Filled::Kept);
        }
        FillState::Started => Existing::Replace,
        _ if !is_empty(data.as_fd()).map_err(io("read"))? => return Ok(Filled::Kept),
        state if is_empty(source).map_err(io("read the image's folder for"))? => {
            if state == FillState::Never {
                copy::attributes(source, data.as_fd()).map_err(failed)?;
                volume.fill = FillState::Owned;
                record::write(&folder.record(), &volume, Durability::Process)?;
            }
            return Ok(Filled::Copied { entries: 0 });
        }
        _ => Existing::Keep,
    };
    volume.fill = FillState::Started;
    record::write(&folder.record(), &volume, Durability::Process)?;
    let failed = |source| VolumeError::Fill { name: volume.name.clone(), source };
    let entries = copy::tree(source, data.as_fd(), existing, &|_, _| true).map_err(failed)?;
    // What is mounted over the folder comes and goes; only its being empty counts.
    let mounted = folder.is_mounted().map_err(io("look at"))?;
    volume.fill = if mounted { FillState::Never } else { FillState::Copied };
    volume.fill_boot = boot;
    record::write(&folder.record(), &volume, Durability::Process)?;
    Ok(Filled::Copied { entries })
}

fn open_data(folder: &Folder) -> Result<File, VolumeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(folder.data(), flags, Mode::empty())
        .map(File::from)
        .map_err(|errno| VolumeError::io("open", folder.data())(errno.into()))
}

fn is_empty(folder: BorrowedFd<'_>) -> std::io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_owned();
        if name != b"." && name != b".." {
            return Ok(false);
        }
    }
    Ok(true)
}
