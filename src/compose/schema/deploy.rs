//! `deploy`.

use super::service::DEVICE_REQUEST;
use super::{COUNT, LABELS, Object, Shape, TEXTS, WHOLE};

pub(super) static DEPLOY: Object = Object {
    name: "deploy",
    required: &[],
    attributes: &[
        ("endpoint_mode", Shape::Text),
        ("labels", LABELS),
        ("mode", Shape::Text),
        ("placement", Shape::Object(&PLACEMENT)),
        ("replicas", COUNT),
        ("resources", Shape::Object(&RESOURCES)),
        ("restart_policy", Shape::Object(&RESTART_POLICY)),
        ("rollback_config", Shape::Object(&UPDATE)),
        ("update_config", Shape::Object(&UPDATE)),
    ],
};

static UPDATE: Object = Object {
    name: "update_config",
    required: &[],
    attributes: &[
        ("delay", Shape::Duration),
        ("failure_action", Shape::Text),
        ("max_failure_ratio", Shape::Number),
        ("monitor", Shape::Duration),
        ("order", Shape::Word(&["start-first", "stop-first"])),
        ("parallelism", COUNT),
    ],
};

static RESOURCES: Object = Object {
    name: "resources",
    required: &[],
    attributes: &[("limits", Shape::Object(&LIMITS)), ("reservations", Shape::Object(&RESERVATIONS))],
};

static LIMITS: Object = Object {
    name: "limits",
    required: &[],
    attributes: &[("cpus", Shape::Number), ("memory", Shape::Size), ("pids", WHOLE)],
};

static RESERVATIONS: Object = Object {
    name: "reservations",
    required: &[],
    attributes: &[
        ("cpus", Shape::Number),
        ("devices", Shape::List(&Shape::Object(&RESERVED_DEVICE))),
        ("generic_resources", Shape::List(&Shape::Object(&GENERIC_RESOURCE))),
        ("memory", Shape::Size),
    ],
};

static RESERVED_DEVICE: Object =
    Object { name: "device", required: &["capabilities"], attributes: DEVICE_REQUEST.attributes };

static GENERIC_RESOURCE: Object = Object {
    name: "generic resource",
    required: &[],
    attributes: &[("discrete_resource_spec", Shape::Object(&DISCRETE_RESOURCE))],
};

static DISCRETE_RESOURCE: Object =
    Object { name: "discrete_resource_spec", required: &[], attributes: &[("kind", Shape::Text), ("value", WHOLE)] };

static RESTART_POLICY: Object = Object {
    name: "restart_policy",
    required: &[],
    attributes: &[
        ("condition", Shape::Text),
        ("delay", Shape::Duration),
        ("max_attempts", COUNT),
        ("window", Shape::Duration),
    ],
};

static PLACEMENT: Object = Object {
    name: "placement",
    required: &[],
    attributes: &[
        ("constraints", TEXTS),
        ("max_replicas_per_node", COUNT),
        ("preferences", Shape::List(&Shape::Object(&PREFERENCE))),
    ],
};

static PREFERENCE: Object =
    Object { name: "placement preference", required: &[], attributes: &[("spread", Shape::Text)] };
