//! `develop.watch` and `x-windlass.reload` to rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::service::hook;
use super::{Fault, Locks};
use crate::compose::model::{Project, Service, VolumeMountType, WatchAction, WatchRule};
use crate::record::Hook;
use crate::watch::{Action, Lists, Rule};

/// A service that is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub service: String,
    pub rules: Vec<WatchedRule>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WatchedRule {
    pub rule: Rule,
    /// What `sync+exec` runs.
    pub hook: Option<Hook>,
    /// Where it stands in the file: `services.web.develop.watch[0]`.
    pub place: String,
}

/// The rules of the chosen services, and what of them will have no effect.
///
/// # Errors
/// Rules that cannot be followed.
pub fn watch(project: &Project, services: &[String]) -> Result<(Vec<Watched>, Vec<Fault>), Vec<Fault>> {
    let (mut watched, mut warnings, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for name in services {
        let Some(service) = project.services.get(name) else { continue };
        let mut rules = Vec::new();
        for (index, written) in service.develop.iter().flat_map(|develop| &develop.watch).enumerate() {
            let place = format!("services.{name}.develop.watch[{index}]");
            match rule(project, service, written, &place, &mut warnings) {
                Ok(rule) => rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        if service.windlass.reload.is_some() {
            rules.extend(reloads(project, name, service, &mut warnings));
        }
        if !rules.is_empty() {
            watched.push(Watched { service: name.clone(), rules });
        }
    }
    if faults.is_empty() { Ok((watched, warnings)) } else { Err(faults) }
}

fn rule(
    project: &Project,
    service: &Service,
    written: &WatchRule,
    place: &str,
    warnings: &mut Vec<Fault>,
) -> Result<WatchedRule, Fault> {
    let action = match written.action {
        WatchAction::Sync => Action::Sync,
        WatchAction::Rebuild => Action::Rebuild,
        WatchAction::Restart => Action::Restart,
        WatchAction::SyncRestart => Action::SyncRestart,
        WatchAction::SyncExec => Action::SyncExec,
    };
    let path = PathBuf::from(&written.path);
    let copies = matches!(action, Action::Sync | Action::SyncRestart | Action::SyncExec);
    let mut target = written.target.as_ref().filter(|_| copies).map(|target| PathBuf::from("/").join(target));
    if target.as_ref().is_some_and(|target| is_bound(service, &path, target)) {
        // Edits are in the container at once.
        target = None;
        if action == Action::Sync {
            warnings.push(
                Fault::new(place, "there is nothing to copy: the path is mounted at the target")
                    .hint("edits are in the container at once; remove the rule, or let it `restart`"),
            );
        }
    }
    if action == Action::Rebuild {
        warnings.push(
            Fault::new(place, "`rebuild` has no effect yet: windlass does not build images")
                .hint("changes are shown; build the image elsewhere and bring it here with `windlass image load`"),
        );
    }
    let hook = match (&written.exec, action) {
        (Some(exec), Action::SyncExec) if !exec.command.is_empty() => Some(hook(exec)),
        (_, Action::SyncExec) => {
            return Err(Fault::new(place, "`sync+exec` has no command").hint("add `exec: { command: … }`"));
        }
        _ => None,
    };
    let lists = Lists {
        ignore: written.ignore.clone(),
        include: written.include.clone(),
        dockerignore: Some(dockerignore(project, service)),
    };
    let initial_sync = written.initial_sync && target.is_some();
    Ok(WatchedRule { rule: Rule { path, action, target, lists, initial_sync }, hook, place: place.to_owned() })
}

/// Bind mounts of the project's folder, whose changes restart the process.
fn reloads(project: &Project, name: &str, service: &Service, warnings: &mut Vec<Fault>) -> Vec<WatchedRule> {
    let place = format!("services.{name}.x-windlass.reload");
    let binds = service.volumes.iter().filter(|mount| mount.kind == VolumeMountType::Bind);
    let sources = binds.filter_map(|mount| mount.source.as_ref()).map(PathBuf::from);
    let rules: Vec<WatchedRule> = sources
        .filter(|source| source.starts_with(&project.working_dir))
        .map(|path| WatchedRule {
            rule: Rule {
                path,
                action: Action::Restart,
                target: None,
                lists: Lists { dockerignore: Some(dockerignore(project, service)), ..Lists::default() },
                initial_sync: false,
            },
            hook: None,
            place: place.clone(),
        })
        .collect();
    if rules.is_empty() {
        warnings.push(
            Fault::new(place, "the service mounts nothing of the project's folder, so there is nothing to watch")
                .hint("mount its sources with `volumes`, or write rules below `develop.watch`"),
        );
    }
    rules
}

/// Lock files, whose changes install packages again.
pub fn watch_locks(locks: &BTreeMap<String, Locks>, watched: &mut Vec<Watched>) {
    for (name, locks) in locks {
        let place = format!("services.{name}.x-windlass.install");
        let rules = locks.files.keys().map(|path| WatchedRule {
            rule: Rule {
                path: path.clone(),
                action: Action::Install,
                target: None,
                lists: Lists::default(),
                initial_sync: false,
            },
            hook: None,
            place: place.clone(),
        });
        match watched.iter_mut().find(|watched| watched.service == *name) {
            Some(watched) => watched.rules.extend(rules),
            None => watched.push(Watched { service: name.clone(), rules: rules.collect() }),
        }
    }
}

/// The `.dockerignore` of the build's context, or of the project, and the folder that it is about.
fn dockerignore(project: &Project, service: &Service) -> (PathBuf, PathBuf) {
    let context = service.build.as_ref().map(|build| Path::new(&build.context)).filter(|path| path.is_absolute());
    let base = context.unwrap_or(&project.working_dir);
    (base.join(".dockerignore"), base.to_owned())
}

/// Whether the path itself is what the container has at the target.
fn is_bound(service: &Service, path: &Path, target: &Path) -> bool {
    let mut mounts: Vec<_> = service.volumes.iter().filter(|mount| target.starts_with(&mount.target)).collect();
    // The innermost mount is what one sees.
    mounts.sort_by_key(|mount| std::cmp::Reverse(Path::new(&mount.target).components().count()));
    let Some(mount) = mounts.first().filter(|mount| mount.kind == VolumeMountType::Bind) else { return false };
    let (Some(source), Ok(below)) = (&mount.source, target.strip_prefix(&mount.target)) else { return false };
    let same = Path::new(source).join(below);
    path.components().eq(same.components())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::{Develop, VolumeMount};

    fn bind(source: &str, target: &str) -> VolumeMount {
        let (source, target) = (Some(source.to_owned()), target.to_owned());
        VolumeMount { kind: VolumeMountType::Bind, source, target, ..VolumeMount::default() }
    }

    fn lowered(service: Service) -> Result<(Vec<Watched>, Vec<Fault>), Vec<Fault>> {
        let mut project = Project { working_dir: "/shop".into(), ..Project::default() };
        project.services.insert("web".into(), service);
        watch(&project, &["web".into()])
    }

    fn with(rule: WatchRule) -> Service {
        Service { develop: Some(Develop { watch: vec![rule], ..Develop::default() }), ..Service::default() }
    }

    #[test]
    fn what_is_mounted_is_not_copied() {
        let rule = |action, path: &str, target: &str| WatchRule {
            path: path.into(),
            action,
            target: Some(target.into()),
            ..WatchRule::default()
        };
        let target_of = |action, path: &str, target: &str| {
            let mut service = with(rule(action, path, target));
            service.volumes = vec![bind("/shop/src", "/app"), bind("/shop/other", "/app/vendor")];
            let (watched, warnings) = lowered(service).unwrap();
            (watched[0].rules[0].rule.target.clone(), warnings.len())
        };
        assert_eq!(target_of(WatchAction::SyncRestart, "/shop/src", "/app/"), (None, 0));
        assert_eq!(target_of(WatchAction::Sync, "/shop/src/sub", "/app/sub"), (None, 1));
        assert_eq!(target_of(WatchAction::Sync, "/shop/src", "/srv"), (Some("/srv".into()), 0));
        assert_eq!(target_of(WatchAction::Sync, "/shop/src/vendor", "/app/vendor"), (Some("/app/vendor".into()), 0));
    }

    #[test]
    fn reload_restarts_on_what_is_mounted_of_the_project() {
        let mut service = Service::default();
        service.windlass.reload = Some("restart".into());
        let (watched, warnings) = lowered(service.clone()).unwrap();
        assert!(watched.is_empty() && warnings[0].message.contains("nothing to watch"));
        service.volumes = vec![bind("/shop/src", "/app"), bind("/etc/ssl", "/ssl")];
        let (watched, warnings) = lowered(service).unwrap();
        assert!(warnings.is_empty());
        let rules: Vec<_> = watched[0].rules.iter().map(|rule| (&rule.rule.path, rule.rule.action)).collect();
        assert_eq!(rules, [(&PathBuf::from("/shop/src"), Action::Restart)]);
    }

    #[test]
    fn what_cannot_be_followed_is_told_with_its_place() {
        let rule = WatchRule { path: "/shop".into(), action: WatchAction::SyncExec, ..WatchRule::default() };
        assert_eq!(lowered(with(rule)).unwrap_err()[0].path, "services.web.develop.watch[0]");
        let rule = WatchRule { path: "/shop".into(), action: WatchAction::Rebuild, ..WatchRule::default() };
        assert!(lowered(with(rule)).unwrap().1[0].message.contains("does not build"));
    }
}
