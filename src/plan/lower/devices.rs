//! Devices of this machine.

use std::path::PathBuf;

use crate::compose::model::Service;
use crate::runtime::spec::Device;

use super::Fault;

pub(super) fn lower(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Vec<Device> {
    let mut devices = Vec::new();
    for (index, device) in service.devices.iter().enumerate() {
        if !device.source.starts_with('/') {
            faults.push(
                Fault::new(
                    format!("services.{name}.devices[{index}]"),
                    format!("`{}` is not a device of this machine: CDI names are not supported", device.source),
                )
                .hint("write the path of a device node, such as /dev/ttyUSB0"),
            );
            continue;
        }
        devices.push(Device {
            source: PathBuf::from(&device.source),
            target: PathBuf::from(device.target.clone().unwrap_or_else(|| device.source.clone())),
            permissions: device.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        });
    }
    devices
}
