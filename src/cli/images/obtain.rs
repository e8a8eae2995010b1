//! Images that are looked for in the store, or pulled, all at once.

use super::PullFlags;
use super::settings::registry;
use crate::cli::Context;
use crate::cli::ui::progress::{self, Progress, State};
use crate::image::pull::{Foresight, Need, PullOptions, PullPolicy, ensure_all, foresee};
use crate::image::{Image, ImageError, Store, TransferEvent, TransferStatus};

/// An image that is wanted.
pub(super) enum Obtained {
    Here(Box<Image>),
    /// It would be pulled.
    Elsewhere,
}

/// Each image, pulled where it must be; `None` for those that are not tried, because another cannot be had.
pub(super) fn fetched(
    context: &Context,
    store: &Store,
    needs: &[Need],
    options: &PullOptions,
    flags: PullFlags,
    progress: &Progress,
) -> Vec<Option<Result<Obtained, ImageError>>> {
    let show = |event: TransferEvent| {
        if !flags.quiet {
            progress.event(shown(&event));
        }
    };
    let at_once = match context.global.parallel {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(4),
        _ => 4,
    };
    let client = registry(context);
    let mut found: Vec<Option<Result<Obtained, ImageError>>> = needs.iter().map(|_| None).collect();
    // What may not be pulled comes first: when it is not here, nothing needs to be fetched.
    for local in [true, false] {
        if found.iter().flatten().any(Result::is_err) {
            break;
        }
        let is_meant = |need: &Need| (need.policy == PullPolicy::Never) == local;
        let places: Vec<usize> = (0..needs.len()).filter(|place| is_meant(&needs[*place])).collect();
        let chosen: Vec<Need> = places.iter().map(|place| needs[*place].clone()).collect();
        let images = ensure_all(store, &client, &chosen, options, at_once, &show);
        for (place, image) in places.into_iter().zip(images) {
            found[place] = Some(image.map(|image| Obtained::Here(Box::new(image))));
        }
    }
    found
}

/// Each image as it is, and what would be pulled, in words.
pub(super) fn foreseen(
    store: &Store,
    needs: &[Need],
    progress: &Progress,
) -> Vec<Option<Result<Obtained, ImageError>>> {
    let found = needs.iter().map(|need| {
        let name = need.reference.familiar();
        Ok(match foresee(store, &need.reference, need.policy, need.platform.as_ref())? {
            Foresight::Here(image) => Obtained::Here(image),
            Foresight::Pull(Some(image)) => {
                progress.note(&format!(
                    "pull image {name}: the registry is to be asked whether it has changed; what follows is of the one that is here"
                ));
                Obtained::Here(image)
            }
            Foresight::Pull(None) => {
                progress.note(&format!(
                    "pull image {name}: it is not here; the command, user, volumes, ports and health check that it brings are \
                     known when it is"
                ));
                Obtained::Elsewhere
            }
        })
    });
    found.map(Some).collect()
}

/// A pull's event in the words of `docker compose`.
#[must_use]
pub fn shown(event: &TransferEvent) -> progress::ProgressEvent {
    let (status, state) = match event.status {
        TransferStatus::Resolving | TransferStatus::Pulling { .. } => ("Pulling", State::Working),
        TransferStatus::Waiting => ("Waiting", State::Working),
        TransferStatus::Downloading { .. } => ("Downloading", State::Working),
        TransferStatus::Extracting => ("Extracting", State::Working),
        TransferStatus::Exists => ("Already exists", State::Done),
        TransferStatus::Complete => ("Pull complete", State::Done),
        TransferStatus::Done { changed: true } => ("Pulled", State::Done),
        TransferStatus::Done { changed: false } => ("Up to date", State::Done),
    };
    let image = format!("Image {}", event.image);
    let shown = match &event.layer {
        // Two images may share a layer, and each shows its own.
        Some(layer) => progress::ProgressEvent::new(format!("{layer} {}", event.image), status, state).of(image),
        None => progress::ProgressEvent::new(image, status, state),
    };
    match event.status {
        TransferStatus::Downloading { current, total } => shown.bytes(current, total),
        _ => shown,
    }
}
