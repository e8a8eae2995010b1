//! Images: references, registries, the content-addressed store, unpacking, and the host root file system.
