//! Removing images, and content that nothing refers to.
