//! What pulling and loading tell while they work.

/// One step forward of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferEvent {
    /// The image as people write it.
    pub image: String,
    /// The layer's short digest; `None` when the event is about the image.
    pub layer: Option<String>,
    pub status: TransferStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferStatus {
    /// The registry is asked what the name means.
    Resolving,
    /// The image has this many layers of this many (compressed) bytes.
    Pulling { layers: usize, bytes: u64 },
    /// The layer waits for its turn, or for another command that fetches the same one.
    Waiting,
    /// `total` is 0 when nobody said how much it is.
    Downloading { current: u64, total: u64 },
    /// All of the layer is here; its last files are being written.
    Extracting,
    /// The layer was here already.
    Exists,
    /// The layer is complete.
    Complete,
    /// The image is complete. `changed` is false when it was here already.
    Done { changed: bool },
}

/// Receives events, from several threads at once.
pub type TransferObserver<'a> = &'a (dyn Fn(TransferEvent) + Sync);

/// Events of one image.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'a> {
    pub image: &'a str,
    pub progress: TransferObserver<'a>,
}

impl Reporter<'_> {
    pub fn image(&self, status: TransferStatus) {
        (self.progress)(TransferEvent { image: self.image.to_owned(), layer: None, status });
    }

    pub fn layer(&self, layer: &str, status: TransferStatus) {
        (self.progress)(TransferEvent { image: self.image.to_owned(), layer: Some(layer.to_owned()), status });
    }
}
