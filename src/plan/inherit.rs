//! What a container mounts because another one does (`volumes_from`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::record::{BindSource, ContainerRecord, VolumeUse};
use crate::runtime::spec::{MatchUser, Mount, MountKind};

/// A mount of another container, with what goes with it.
struct Inherited {
    /// Which of the entries it comes by.
    entry: usize,
    mount: Mount,
    uses: Option<VolumeUse>,
    bind: Option<BindSource>,
    match_user: Option<MatchUser>,
}

/// Gives the record the mounts of the containers that it takes volumes from, as far as these are there. Its own mounts
/// win, and of those containers the last one; only the image's VOLUMEs give way.
pub(super) fn inherit<'a>(record: &mut ContainerRecord, parent: impl Fn(&str) -> Option<&'a ContainerRecord>) {
    if record.volumes_from.is_empty() {
        return;
    }
    let yielding = record.volumes.iter().filter(|volume| volume.of_image).map(|volume| volume.target.clone());
    let yielding: BTreeSet<PathBuf> = yielding.collect();
    let own = record.spec.mounts.iter().map(|mount| &mount.target).chain(record.files.iter().map(|file| &file.target));
    let own: BTreeSet<PathBuf> = own.filter(|target| !yielding.contains(*target)).cloned().collect();
    let mut found: BTreeMap<PathBuf, Inherited> = BTreeMap::new();
    for (entry, from) in record.volumes_from.iter_mut().enumerate() {
        let Some(parent) = parent(&from.from) else { continue };
        from.container = Some(parent.id.clone());
        let mounts = mounts_of(parent, entry, from.read_only);
        found.extend(mounts.filter(|it| !own.contains(&it.mount.target)).map(|it| (it.mount.target.clone(), it)));
    }
    record.volumes.retain(|volume| !(volume.of_image && found.contains_key(&volume.target)));
    record.spec.mounts.retain(|mount| !found.contains_key(&mount.target));
    for (target, inherited) in found {
        record.volumes_from[inherited.entry].targets.push(target);
        record.volumes.extend(inherited.uses);
        record.binds.extend(inherited.bind.filter(|bind| !record.binds.contains(bind)));
        record.spec.match_users.extend(inherited.match_user);
        record.spec.mounts.push(inherited.mount);
    }
    // A mount below another mount must come after it.
    record.spec.mounts.sort_by_key(|mount| mount.target.components().count());
}

/// The binds and volumes of a container: neither what is in memory only, nor what makes up its root.
fn mounts_of(parent: &ContainerRecord, entry: usize, read_only: bool) -> impl Iterator<Item = Inherited> {
    parent.spec.mounts.iter().filter_map(move |mount| {
        let MountKind::Bind { source, .. } = &mount.kind else { return None };
        let uses = parent.volumes.iter().find(|volume| volume.target == mount.target);
        let bind = parent.binds.iter().find(|bind| bind.source == *source);
        if uses.is_none() && bind.is_none() {
            return None;
        }
        let mut mount = mount.clone();
        if let MountKind::Bind { read_only: is_read_only, .. } = &mut mount.kind {
            *is_read_only |= read_only;
        }
        let match_user = parent.spec.match_users.iter().find(|wanted| wanted.target == mount.target);
        Some(Inherited {
            entry,
            mount,
            // What the parent's image has there is not this one's.
            uses: uses.map(|uses| VolumeUse { no_copy: true, of_image: false, ..uses.clone() }),
            bind: bind.cloned(),
            match_user: match_user.cloned(),
        })
    })
}

/// Takes away again what [`inherit`] gave.
pub(super) fn disinherit(record: &mut ContainerRecord) {
    let targets: BTreeSet<PathBuf> =
        record.volumes_from.iter_mut().flat_map(|from| std::mem::take(&mut from.targets)).collect();
    let is_inherited = |target: &Path| targets.contains(target);
    let (gone, own): (Vec<Mount>, Vec<Mount>) =
        std::mem::take(&mut record.spec.mounts).into_iter().partition(|mount| is_inherited(&mount.target));
    let sources = |mounts: &[Mount]| -> BTreeSet<PathBuf> {
        let sources = mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => Some(source.clone()),
            _ => None,
        });
        sources.collect()
    };
    let (taken, kept) = (sources(&gone), sources(&own));
    record.binds.retain(|bind| !taken.contains(&bind.source) || kept.contains(&bind.source));
    record.spec.mounts = own;
    record.volumes.retain(|volume| !is_inherited(&volume.target));
    record.spec.match_users.retain(|wanted| !is_inherited(&wanted.target));
    record.volumes_from.iter_mut().for_each(|from| from.container = None);
}

/// From which of the containers that it takes volumes from one record has other mounts than another.
pub(super) fn differs<'a>(wanted: &'a ContainerRecord, have: &ContainerRecord) -> Option<&'a str> {
    let mut entries = wanted.volumes_from.iter().zip(&have.volumes_from);
    let other = entries.find(|(wanted_from, have_from)| {
        mounts_at(wanted, &wanted_from.targets) != mounts_at(have, &have_from.targets)
    });
    other.map(|(from, _)| from.from.as_str())
}

fn mounts_at<'a>(record: &'a ContainerRecord, targets: &[PathBuf]) -> Vec<&'a Mount> {
    let mut mounts: Vec<&Mount> = record.spec.mounts.iter().filter(|it| targets.contains(&it.target)).collect();
    mounts.sort_by(|one, other| one.target.cmp(&other.target));
    mounts
}
