//! Before a plan is carried out: what it would fail for is told, all of it at once, while everything still runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use super::engine::Engine;
use super::report::Report;
use crate::message::Failure;
use crate::network::ports::PortConflict;
use crate::network::spec::{NetworkSpec, PortSpec, PublishedPort};
use crate::network::{NetworkError, StaticWish, check_addresses};
use crate::plan::desired::{SERVICE_PREFIX, address_key, parent_key, port_key, source_key};
use crate::plan::{Desired, OperationKind, Plan};
use crate::record::{CONTAINER_PREFIX, ContainerRecord, Origin, Status, inventory};
use crate::runtime::preflight::Part;
use crate::state::{Paths, remedy};
use crate::supervisor::preflight::{About, files_made_as_folders, obstacles};
use crate::supervisor::{Holder, SupervisorError, View};

/// Our own processes, as `ps` names them.
const KEEPER: &str = "windlass";

/// Something that is in the way of a plan.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    place: String,
    text: String,
    hint: Option<String>,
    /// What `run` ends with.
    code: i32,
}

/// Binds the ports of a container; those that the named containers have are free by then.
type Reserve<'a> = &'a dyn Fn(&ContainerRecord, &BTreeSet<&str>) -> Result<(), SupervisorError>;

/// What a plan is held against: the containers of the project as they are, and the machine.
pub(super) struct Scene<'a> {
    pub paths: &'a Paths,
    pub containers: Vec<View>,
    pub reserve: Reserve<'a>,
    /// The container of another project that has a name.
    pub elsewhere: &'a dyn Fn(&str) -> Option<Holder>,
}

impl Engine {
    /// Looks for everything that the plan is known to fail for, and binds the ports of what it starts. Nothing has been
    /// touched after a failure.
    pub(super) fn preflight(&self, plan: &Plan, desired: Option<&Desired>, report: &Report) -> Result<(), Failure> {
        let warnings = self.with_scene(|scene| scene.preflight(plan, desired))?;
        warnings.into_iter().for_each(|warning| report.warning(warning));
        Ok(())
    }

    /// The same for a dry run, and with the names that are taken; no port stays bound.
    pub(super) fn object(&self, plan: &Plan, desired: Option<&Desired>, report: &Report) -> Result<(), Failure> {
        let (found, started) = self.with_scene(|scene| (scene.object(plan, desired), scene.starting(plan)));
        self.project.give_back_ports(started.iter().map(|record| record.id.as_str()));
        found?.into_iter().for_each(|warning| report.warning(warning));
        Ok(())
    }

    pub(super) fn with_scene<T>(&self, look: impl FnOnce(&Scene<'_>) -> T) -> T {
        look(&Scene {
            paths: self.project.paths(),
            containers: self.project.containers(),
            reserve: &|record, leaving| self.project.reserve_ports(record, leaving),
            elsewhere: &|name| self.project.holder_elsewhere(name),
        })
    }
}

impl Scene<'_> {
    /// Everything that the plan is known to fail for; what is only to be told of otherwise.
    pub(super) fn object(&self, plan: &Plan, desired: Option<&Desired>) -> Result<BTreeSet<String>, Failure> {
        let warnings = self.preflight(plan, desired)?;
        self.check_names(plan)?;
        Ok(warnings)
    }

    pub(super) fn preflight(&self, plan: &Plan, desired: Option<&Desired>) -> Result<BTreeSet<String>, Failure> {
        let records = self.starting(plan);
        let mut warnings: BTreeSet<String> = BTreeSet::new();
        let mut findings: BTreeSet<Finding> = BTreeSet::new();
        for record in &records {
            let others = records.iter().filter(|other| other.service != record.service);
            let made: BTreeSet<&Path> =
                others.flat_map(|other| other.binds.iter().map(|bind| bind.source.as_path())).collect();
            let origins = origins(desired, record);
            for source in files_made_as_folders(record) {
                let place = origins.get(&source_key(source));
                let place = place.map(|origin| format!("{}: ", origin.place)).unwrap_or_default();
                warnings.insert(format!(
                    "{place}{} does not exist and is made as a folder, though it looks like a file",
                    source.display()
                ));
            }
            // The program may be among what is brought into the container before.
            let brings = desired.is_some_and(|desired| desired.initial_sync.contains_key(&record.service));
            for obstacle in obstacles(record, &made) {
                if brings && obstacle.about == About::Spec(Part::Program) {
                    continue;
                }
                let (keys, hint) = described(&obstacle.about);
                let origin = keys.iter().find_map(|key| origins.get(key));
                let hint = match (&obstacle.about, origin) {
                    (About::Source(_, true), Some(origin)) if !origin.path.starts_with("services.") => {
                        Some("create the file, or write the path of the one that is meant")
                    }
                    _ => hint,
                };
                findings.insert(Finding {
                    code: obstacle.code,
                    ..finding(&record.name, &record.service, origin, &obstacle.reason, hint)
                });
            }
        }
        for record in &records {
            findings.extend(without_parent(record, origins(desired, record)));
        }
        self.reserve(plan, &records, desired, &mut findings);
        self.check_addresses(plan, &records, desired, &mut findings);
        failure(&findings).map_or(Ok(warnings), Err)
    }

    fn container(&self, id: &str) -> Option<&View> {
        self.containers.iter().find(|view| view.record.id == id)
    }

    /// What the plan starts, and what it creates.
    fn starting(&self, plan: &Plan) -> Vec<Rc<ContainerRecord>> {
        let mut records: Vec<Rc<ContainerRecord>> = Vec::new();
        for operation in &plan.operations {
            match &operation.kind {
                OperationKind::CreateContainer { record, .. } => records.push(Rc::new((**record).clone())),
                OperationKind::StartContainer { id, .. } => {
                    records.extend(self.container(id).map(|view| Rc::clone(&view.record)));
                }
                _ => {}
            }
        }
        records
    }

    /// Binds the ports of all containers that the plan creates or starts.
    fn reserve(
        &self,
        plan: &Plan,
        records: &[Rc<ContainerRecord>],
        desired: Option<&Desired>,
        findings: &mut BTreeSet<Finding>,
    ) {
        let leaving = leaving(plan);
        let mut replicas: BTreeMap<&str, usize> = BTreeMap::new();
        for record in records {
            *replicas.entry(&record.service).or_default() += 1;
        }
        for record in records.iter().filter(|record| self.needs_ports(record)) {
            let Err(error) = (self.reserve)(record, &leaving) else { continue };
            let origins = origins(desired, record);
            let (origin, hint) = match &error {
                SupervisorError::Port(conflict) => {
                    let wanted = |port: &&PortSpec| {
                        port.protocol == conflict.protocol
                            && port.published.is_some_and(|(first, last)| (first, last.max(first)) == conflict.ports)
                    };
                    let port = record.ports.iter().find(wanted);
                    let origin = port.and_then(|port| origins.get(&port_key(port)));
                    let shared = self.shares_its_port(record, &replicas, conflict.ports);
                    (origin, shared.or_else(|| remedy::of(&error).map(str::to_owned)))
                }
                _ => (None, remedy::of(&error).map(str::to_owned)),
            };
            let reason = match &error {
                SupervisorError::Port(conflict) => match self.holder(conflict) {
                    Some(holder) => {
                        format!("cannot publish its ports: {} is already used by {holder}", conflict.port())
                    }
                    None => format!("cannot publish its ports: {error}"),
                },
                _ => format!("cannot publish its ports: {error}"),
            };
            findings.insert(finding(&record.name, &record.service, origin, &reason, hint.as_deref()));
        }
    }

    /// Looks whether the static addresses of all containers that the plan creates or starts can be had.
    fn check_addresses(
        &self,
        plan: &Plan,
        records: &[Rc<ContainerRecord>],
        desired: Option<&Desired>,
        findings: &mut BTreeSet<Finding>,
    ) {
        let is_made = |name: &str| {
            let makes =
                |kind: &OperationKind| matches!(kind, OperationKind::CreateNetwork { name: made } if made == name);
            plan.operations.iter().any(|operation| makes(&operation.kind))
        };
        let networks = desired.into_iter().flat_map(|desired| &desired.networks);
        let networks: Vec<&NetworkSpec> = networks.filter(|network| is_made(&network.name)).collect();
        let Some(project) = records.first().map(|record| self.paths.project(&record.project)) else { return };
        let asked = records.iter().flat_map(|record| record.endpoints.iter().map(move |endpoint| (record, endpoint)));
        let asked: Vec<_> = asked.filter(|(_, endpoint)| endpoint.ipv4.is_some() || endpoint.ipv6.is_some()).collect();
        if asked.is_empty() {
            return;
        }
        let wishes =
            asked.iter().map(|&(record, endpoint)| StaticWish { container: &record.id, name: &record.name, endpoint });
        let wishes: Vec<StaticWish<'_>> = wishes.collect();
        let found = check_addresses(self.paths, &project, &networks, &wishes, &leaving(plan));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!("cannot look at the addresses: {error}");
            Vec::new()
        });
        for (index, address, error) in found {
            let (record, endpoint) = asked[index];
            let origin = origins(desired, record).get(&address_key(&endpoint.network, address));
            let hint = match error {
                NetworkError::AddressTaken { .. } => Some("give it another address, or none: a free one is found then"),
                _ => Some("write an address of the network's `subnet` that is not its `gateway`"),
            };
            findings.insert(finding(&record.name, &record.service, origin, &error.to_string(), hint));
        }
    }

    /// The container of this project, or of another one, that has a port.
    fn holder(&self, conflict: &PortConflict) -> Option<String> {
        let holder = conflict.holder.as_ref()?;
        let has = |ports: &[PublishedPort]| {
            ports.iter().any(|port| port.protocol == conflict.protocol && port.published == conflict.ports.0)
        };
        if holder.own {
            let name = self.containers.iter().find(|view| has(&view.state.ports)).map(|view| view.record.name.clone());
            return name.map(|name| format!("container {name}"));
        }
        let paths = self.paths;
        let projects = inventory::projects(paths).unwrap_or_default();
        let containers =
            projects.iter().flat_map(|name| inventory::containers(&paths.project(name)).unwrap_or_default());
        let mut published = containers.filter(|have| have.is_running() && has(&have.state.ports));
        let have = published.find(|_| holder.command == KEEPER)?;
        Some(format!("container {} of project {}", have.record.name, have.record.project))
    }

    /// One that runs, or keeps its network while it is restarted, has its ports; one that was stopped gets the ports back
    /// that it had, or only knows which it will get when it starts.
    fn needs_ports(&self, record: &ContainerRecord) -> bool {
        let Some(view) = self.container(&record.id) else { return true };
        let fixed = record.ports.iter().all(|port| port.published.is_some_and(|(first, last)| first == last));
        fixed && matches!(view.state.status, Status::Created | Status::Exited { .. })
    }

    /// Several containers of a service cannot have one port of the host.
    fn shares_its_port(
        &self,
        record: &ContainerRecord,
        replicas: &BTreeMap<&str, usize>,
        (first, last): (u16, u16),
    ) -> Option<String> {
        let others = self
            .containers
            .iter()
            .filter(|view| view.record.service == record.service && !view.record.oneoff && view.record.id != record.id)
            .count();
        let wanted = (others + 1).max(replicas.get(record.service.as_str()).copied().unwrap_or(1));
        let offered = usize::from(last - first) + 1;
        (wanted > offered && !record.oneoff).then(|| {
            let end = usize::from(first) + wanted - 1;
            format!(
                "each of the {wanted} containers of {} needs a port of its own: publish the range {first}-{end}, or leave \
                 the host's port out",
                record.service
            )
        })
    }
}

/// The containers that have ended when the first of the others starts.
fn leaving(plan: &Plan) -> BTreeSet<&str> {
    let stopped = plan.operations.iter().filter_map(|operation| match &operation.kind {
        OperationKind::StopContainer { id, .. } => Some(id.as_str()),
        _ => None,
    });
    stopped.collect()
}

/// Of the file as it is, else as it was when the container was made.
fn origins<'a>(desired: Option<&'a Desired>, record: &'a ContainerRecord) -> &'a BTreeMap<String, Origin> {
    let wanted = desired.and_then(|desired| desired.services.iter().find(|service| service.name == record.service));
    wanted.map_or(&record.origins, |service| &service.origins)
}

fn finding(name: &str, service: &str, origin: Option<&Origin>, reason: &str, hint: Option<&str>) -> Finding {
    let (hint, code) = (hint.map(str::to_owned), 125);
    match origin {
        // All replicas of a service fail for the same.
        Some(origin) => {
            Finding { place: origin.place.clone(), text: format!("service {service}: {reason}"), hint, code }
        }
        None => Finding { place: String::new(), text: format!("container {name}: {reason}"), hint, code },
    }
}

/// A container to take volumes from that is not there.
fn without_parent(record: &ContainerRecord, origins: &BTreeMap<String, Origin>) -> Option<Finding> {
    let missing = record.volumes_from.iter().find(|from| from.container.is_none())?;
    let origin = origins.get(&parent_key(&missing.from));
    let (reason, hint) = match missing.from.strip_prefix(CONTAINER_PREFIX) {
        Some(name) => (
            format!("there is no container {name} to take volumes from"),
            "start the project that it belongs to first, or write the name of the one that is meant",
        ),
        None => (
            format!("{} has no container to take volumes from", missing.from.trim_start_matches(SERVICE_PREFIX)),
            "start that service first; `--no-deps` leaves it out",
        ),
    };
    Some(finding(&record.name, &record.service, origin, &reason, Some(hint)))
}

/// Where an origin is looked for, the best first; and what helps.
fn described(about: &About) -> (Vec<String>, Option<&'static str>) {
    let keys = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect();
    match about {
        About::Source(path, missing) => {
            (vec![source_key(path)], missing.then_some("create it, or allow that with `create_host_path: true`"))
        }
        About::Logging => (keys(&["logging.driver", "logging"]), None),
        About::StopSignal => (keys(&["stop_signal"]), Some("write a name, as SIGTERM, or a number from 1 to 64")),
        About::Spec(part) => match part {
            Part::Sysctl(name) => (keys(&[&format!("sysctls.{name}"), "sysctls"]), None),
            Part::Capabilities => (keys(&["cap_add", "cap_drop"]), None),
            Part::Seccomp => (keys(&["security_opt"]), None),
            Part::Device(path) => (vec![source_key(path), "devices".to_owned()], None),
            Part::DeviceRule(_) => (keys(&["device_cgroup_rules"]), None),
            Part::Limit(name) => (keys(&[name, "deploy.resources", "deploy"]), None),
            Part::Rlimit(name) => (keys(&[&format!("ulimits.{name}"), "ulimits"]), None),
            Part::Program => (
                keys(&["command", "entrypoint", "image"]),
                Some("check `command:` and `entrypoint:`: the program must be in the image, and executable"),
            ),
            Part::User => (keys(&["user", "group_add", "image"]), Some("write a number, or a name that the image has")),
        },
    }
}

fn failure(findings: &BTreeSet<Finding>) -> Option<Failure> {
    let first = findings.first()?;
    let mut failure = match findings.len() {
        1 => Failure::new(first.text.clone()),
        count => Failure::new(format!("{count} things are in the way, and nothing was changed")),
    };
    failure.start_code = first.code;
    for found in findings {
        match (findings.len(), found.place.is_empty()) {
            (1, true) => {}
            (1, false) => failure.causes.push(format!("asked for at {}", found.place)),
            (_, true) => failure = failure.detail("of the containers as they are", found.text.clone()),
            (_, false) => failure = failure.detail(found.place.clone(), found.text.clone()),
        }
        failure
            .hints
            .extend(found.hint.iter().filter(|hint| !failure.hints.contains(hint)).cloned().collect::<Vec<_>>());
    }
    Some(failure)
}
