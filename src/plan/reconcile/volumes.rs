//! Volumes of an `up`: what is missing, and what exists in another form.

use super::Up;
use crate::plan::down::stop_in_reverse;
use crate::plan::operation::OperationKind;
use crate::record::ObservedContainer;
use crate::volumes::spec::VolumeSpec;

impl Up<'_> {
    pub(super) fn volume(&mut self, volume: &VolumeSpec) {
        let name = &volume.name;
        if let Some(owner) = self.observed.foreign.get(name) {
            let made = owner.as_ref().map_or_else(|| "by hand".to_owned(), |owner| format!("for project {owner}"));
            self.plan.warnings.push(format!(
                "volume {name} exists and was made {made}; `external: true` says that it is to be used as it is"
            ));
        }
        if !self.observed.volumes.contains(name) {
            let cause = if volume.external { "external" } else { "not found" };
            let index = self.plan.push(OperationKind::CreateVolume { name: name.clone() }, cause, vec![]);
            self.foundation.push(index);
        } else if let Some(change) = self.observed.diverged.get(name) {
            if self.options.renew_volumes.contains(name) {
                self.renew_volume(name, change);
            } else {
                self.plan.warnings.push(format!(
                    "volume {name} exists but doesn't match configuration in compose file ({change}): it stays as it \
                     is; with --yes it is made anew, and what it holds is lost"
                ));
            }
        }
    }

    /// Its containers are stopped, and made anew with it.
    fn renew_volume(&mut self, name: &str, change: &str) {
        let cause = format!("its configuration changed: {change}");
        let observed = self.observed;
        let users: Vec<&ObservedContainer> = observed.containers.iter().filter(|have| mounts(have, name)).collect();
        let stops = stop_in_reverse(&mut self.plan, &users, false, &format!("volume {name} is made anew"));
        let mut after: Vec<usize> = stops.into_values().flatten().chain(self.foundation.iter().copied()).collect();
        after.sort_unstable();
        self.gone.extend(users.iter().map(|have| have.record.id.clone()));
        let containers: Vec<_> = users.iter().map(|have| (have.record.id.clone(), have.record.name.clone())).collect();
        if !containers.is_empty() {
            let remove = OperationKind::RemoveContainers { containers, anonymous_volumes: false };
            after = vec![self.plan.push(remove, format!("volume {name} is made anew"), after)];
        }
        let remove = self.plan.push(OperationKind::RemoveVolume { name: name.to_owned() }, &cause, after);
        let create = self.plan.push(OperationKind::CreateVolume { name: name.to_owned() }, &cause, vec![remove]);
        self.foundation.push(create);
    }
}

fn mounts(have: &ObservedContainer, volume: &str) -> bool {
    have.record.volumes.iter().any(|used| used.volume == volume)
}
