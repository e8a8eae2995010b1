//! `pid`, `ipc`, `uts`, `cgroup` and `network_mode`: what is a container's own, and what it shares.

use crate::compose::model::Service;
use crate::plan::desired::SERVICE_PREFIX;
use crate::record::CONTAINER_PREFIX;
use crate::runtime::spec::{Namespace, Namespaces, NetworkNamespace};

use super::Fault;

pub(super) fn lower(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Namespaces {
    let is_peer = |text: &str| {
        [SERVICE_PREFIX, CONTAINER_PREFIX]
            .iter()
            .any(|prefix| text.strip_prefix(prefix).is_some_and(|name| !name.is_empty()))
    };
    let mut plain = |attribute: &str, value: Option<&String>| -> Namespace {
        match value.map(String::as_str) {
            None | Some("" | "private" | "shareable") => Namespace::Private,
            Some("host") => Namespace::Host,
            Some(text) if is_peer(text) && attribute != "cgroup" => Namespace::Container(text.to_owned()),
            Some(other) => {
                let hint = match attribute {
                    "cgroup" => "use `host` or `private`",
                    _ => "use `host`, `private`, `service:NAME` or `container:NAME`",
                };
                faults.push(
                    Fault::new(format!("services.{name}.{attribute}"), format!("`{other}` is not supported"))
                        .hint(hint),
                );
                Namespace::Private
            }
        }
    };
    let pid = plain("pid", service.pid.as_ref());
    let ipc = plain("ipc", service.ipc.as_ref());
    let uts = plain("uts", service.uts.as_ref());
    let cgroup = plain("cgroup", service.cgroup.as_ref());
    let network = match service.network_mode.as_deref() {
        None | Some("" | "none" | "bridge" | "default") => NetworkNamespace::Passed,
        Some("host") => NetworkNamespace::Host,
        Some(text) if is_peer(text) => NetworkNamespace::Container(text.to_owned()),
        Some(other) => {
            faults.push(
                Fault::new(format!("services.{name}.network_mode"), format!("`{other}` is not supported"))
                    .hint("use `host`, `none`, `service:NAME`, `container:NAME`, or `networks:`"),
            );
            NetworkNamespace::Passed
        }
    };
    Namespaces { network, pid, ipc, uts, cgroup }
}
