//! Layers that leave something to the layers below them: folders they only pass through, hard links to files they do
//! not hold. Such a layer is completed once those are unpacked, and then serves only on top of them.

use std::path::PathBuf;

use super::error::LayerError;
use super::layer::Ready;

/// Completes the layer from those `below`, the topmost first. True when what they say made a difference.
pub(super) fn complete(ready: &Ready, below: &[PathBuf]) -> Result<bool, LayerError> {
    let _ = below;
    if let Some((link, target)) = ready.unpacked.outside_links.first() {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        return Err(LayerError::MissingTarget { link: text(link), target: text(target) });
    }
    Ok(false)
}
