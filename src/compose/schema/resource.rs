//! The top level: networks, volumes, secrets, configs, models, include.

use super::{DRIVER_OPTIONS, LABELS, Object, SERVICE, Shape, Special, TEXTS, WHOLE};

pub static PROJECT: Object = Object {
    name: "Compose file",
    required: &[],
    attributes: &[
        ("configs", Shape::Table(&Shape::Nullable(&CONFIG))),
        ("include", Shape::Special(Special::Include)),
        ("models", Shape::Table(&Shape::Object(&MODEL))),
        ("name", Shape::Text),
        ("networks", Shape::Table(&Shape::Nullable(&NETWORK))),
        ("secrets", Shape::Table(&Shape::Nullable(&SECRET))),
        ("services", Shape::Table(&Shape::Object(&SERVICE))),
        ("version", Shape::Scalar),
        ("volumes", Shape::Table(&Shape::Nullable(&VOLUME))),
    ],
};

static NETWORK: Object = Object {
    name: "network",
    required: &[],
    attributes: &[
        ("attachable", Shape::Flag),
        ("driver", Shape::Text),
        ("driver_opts", DRIVER_OPTIONS),
        ("enable_ipv4", Shape::Flag),
        ("enable_ipv6", Shape::Flag),
        ("external", Shape::Special(Special::External)),
        ("internal", Shape::Flag),
        ("ipam", Shape::Object(&IPAM)),
        ("labels", LABELS),
        ("name", Shape::Text),
    ],
};

static IPAM: Object = Object {
    name: "ipam",
    required: &[],
    attributes: &[
        ("config", Shape::List(&Shape::Object(&IPAM_POOL))),
        ("driver", Shape::Text),
        ("options", Shape::Table(&Shape::Text)),
    ],
};

static IPAM_POOL: Object = Object {
    name: "ipam config",
    required: &[],
    attributes: &[
        ("aux_addresses", Shape::Table(&Shape::Text)),
        ("gateway", Shape::Text),
        ("ip_range", Shape::Text),
        ("subnet", Shape::Text),
    ],
};

static VOLUME: Object = Object {
    name: "volume",
    required: &[],
    attributes: &[
        ("driver", Shape::Text),
        ("driver_opts", DRIVER_OPTIONS),
        ("external", Shape::Special(Special::External)),
        ("labels", LABELS),
        ("name", Shape::Text),
    ],
};

static SECRET: Object = Object {
    name: "secret",
    required: &[],
    attributes: &[
        ("driver", Shape::Text),
        ("driver_opts", DRIVER_OPTIONS),
        ("environment", Shape::Text),
        ("external", Shape::Special(Special::External)),
        ("file", Shape::Text),
        ("labels", LABELS),
        ("name", Shape::Text),
        ("template_driver", Shape::Text),
    ],
};

static CONFIG: Object = Object {
    name: "config",
    required: &[],
    attributes: &[
        ("content", Shape::Text),
        ("environment", Shape::Text),
        ("external", Shape::Special(Special::External)),
        ("file", Shape::Text),
        ("labels", LABELS),
        ("name", Shape::Text),
        ("template_driver", Shape::Text),
    ],
};

pub(crate) static EXTERNAL: Object = Object { name: "external", required: &[], attributes: &[("name", Shape::Text)] };

static MODEL: Object = Object {
    name: "model",
    required: &["model"],
    attributes: &[("context_size", WHOLE), ("model", Shape::Text), ("name", Shape::Text), ("runtime_flags", TEXTS)],
};

pub(crate) static INCLUDE: Object = Object {
    name: "include",
    required: &["path"],
    attributes: &[("env_file", Shape::TextOrList), ("path", Shape::TextOrList), ("project_directory", Shape::Text)],
};
