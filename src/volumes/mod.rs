//! Named volumes, binds, tmpfs, and secrets and configs as files. Has never heard of Compose.

pub mod spec;
