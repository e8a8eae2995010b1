//! `build`.

use super::{ENVIRONMENT, LABELS, Object, PAIRS, Shape, Special, TEXTS};

pub(super) static BUILD: Object = Object {
    name: "build",
    required: &[],
    attributes: &[
        ("additional_contexts", PAIRS),
        ("args", ENVIRONMENT),
        ("cache_from", TEXTS),
        ("cache_to", TEXTS),
        ("context", Shape::Text),
        ("dockerfile", Shape::Text),
        ("dockerfile_inline", Shape::Text),
        ("entitlements", TEXTS),
        ("extra_hosts", Shape::Special(Special::ExtraHosts)),
        ("isolation", Shape::Text),
        ("labels", LABELS),
        ("network", Shape::Text),
        ("no_cache", Shape::Flag),
        ("no_cache_filter", Shape::TextOrList),
        ("platforms", TEXTS),
        ("privileged", Shape::Flag),
        ("provenance", Shape::TextOrFlag),
        ("pull", Shape::Flag),
        ("sbom", Shape::TextOrFlag),
        ("secrets", Shape::Special(Special::FileReferences)),
        ("shm_size", Shape::Space),
        ("ssh", Shape::Special(Special::Ssh)),
        ("tags", TEXTS),
        ("target", Shape::Text),
        ("ulimits", Shape::Special(Special::Ulimits)),
    ],
};
