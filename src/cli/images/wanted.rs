//! Which image a service asks for, and when that is to be pulled.

use std::time::Duration;

use crate::cli::exit::CommandError;
use crate::compose::model::{Project, Service};
use crate::image::pull::{Need, PullOptions, PullPolicy};
use crate::image::store::{could_be_id, is_whole_id};
use crate::image::{Image, Platform, Reference, Store};

/// An image that is wanted: by a service for itself, or for a mount of it.
pub(super) struct WantedImage {
    pub(super) service: String,
    /// Its place in `volumes`.
    pub(super) mount: Option<usize>,
    pub(super) need: Need,
}

impl WantedImage {
    pub(super) fn path(&self) -> String {
        path_of(&self.service, self.mount)
    }
}

pub(super) fn path_of(service: &str, mount: Option<usize>) -> String {
    match mount {
        None => format!("services.{service}.image"),
        Some(index) => format!("services.{service}.volumes[{index}].source"),
    }
}

/// The platform that a service is pinned to.
///
/// # Errors
/// When its text is none.
pub fn platform_of(name: &str, service: &Service, options: &PullOptions) -> Result<Option<Platform>, CommandError> {
    let Some(text) = &service.platform else { return Ok(options.platform.clone()) };
    let wrong = |error| CommandError::caused(format!("services.{name}.platform: `{text}` is no platform"), &error);
    text.parse::<Platform>().map(Some).map_err(wrong)
}

/// Whether its image comes from nowhere but a build.
pub(super) fn is_built(service: &Service) -> bool {
    service.build.is_some() && service.image.is_none()
}

/// The name of the image that a service runs on, for what is at `path` of the file.
pub(super) fn image_of(project: &Project, name: &str, service: &Service, path: &str) -> Result<String, CommandError> {
    match &service.image {
        Some(image) => Ok(image.clone()),
        None if service.build.is_some() => Ok(project.built_image(name)),
        None => {
            let place = project.place(path).map_or_else(String::new, |at| format!(" ({at})"));
            Err(CommandError::new(format!("service \"{name}\" has neither an image nor a build{place}")))
        }
    }
}

/// What a service says it runs on.
pub(super) enum Asked {
    Named(Reference),
    /// By an id, which no registry knows.
    Here(String, Box<Image>),
}

pub(super) fn asked_for(
    store: &Store,
    project: &Project,
    text: &str,
    name: &str,
    path: &str,
) -> Result<Asked, CommandError> {
    let text = text.to_owned();
    let place = || project.place(path).map_or_else(String::new, |at| format!(" ({at})"));
    let reference = text.parse::<Reference>().ok().filter(|_| !is_whole_id(&text));
    let is_here = |reference| store.has(reference, None);
    if let Some(reference) = reference {
        // `cafe` may be a name as well as the beginning of an id; names go first, as in `image inspect`.
        if !could_be_id(&text) || is_here(&reference)? {
            return Ok(Asked::Named(reference));
        }
        let found = store.by_id(&text)?;
        return Ok(found.map_or(Asked::Named(reference), |image| Asked::Here(text, Box::new(image))));
    }
    if is_whole_id(&text) {
        let found = store.by_id(&text).map_err(|error| {
            CommandError::caused(format!("the image {text} of service {name} is not available{}", place()), &error)
        })?;
        return found.map(|image| Asked::Here(text.clone(), Box::new(image))).ok_or_else(|| {
            CommandError::new(format!("no image with the id {text} of service {name} is here{}", place()))
                .hint("only a name can be pulled; `windlass image ls` lists what is here")
        });
    }
    let error = text.parse::<Reference>().err();
    let message = format!("{path}: `{text}` is no image name{}", place());
    Err(error.map_or_else(|| CommandError::new(message.clone()), |error| CommandError::caused(message.clone(), &error)))
}

/// When a service's image is to be pulled; the file was checked when it was read.
pub(super) fn policy_of(service: &Service) -> PullPolicy {
    const DAY: u64 = 24 * 60 * 60;
    let days = |days| PullPolicy::Refresh(Duration::from_secs(days * DAY));
    match service.pull_policy.as_deref() {
        Some("always" | "refresh") => PullPolicy::Always,
        Some("never" | "build") => PullPolicy::Never,
        Some("daily") => days(1),
        Some("weekly") => days(7),
        Some(text) => text.strip_prefix("every_").and_then(every).map_or(PullPolicy::Missing, PullPolicy::Refresh),
        None => PullPolicy::Missing,
    }
}

/// `1d12h`
fn every(text: &str) -> Option<Duration> {
    text.split_inclusive(|c: char| !c.is_ascii_digit()).try_fold(Duration::ZERO, |sum, part| {
        let (number, unit) = part.split_at(part.len() - part.chars().next_back()?.len_utf8());
        let seconds = match unit {
            "w" => 7 * 24 * 60 * 60,
            "d" => 24 * 60 * 60,
            "h" => 60 * 60,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        // Longer than any time there is means never again.
        Some(sum.saturating_add(Duration::from_secs(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(seconds))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_with_a_time() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (text, expected) in [
            ("12h", Some(hours(12))),
            ("1w2d", Some(hours(9 * 24))),
            ("90m30s", Some(Duration::from_secs(5430))),
            ("99999999999999999999w", Some(Duration::from_secs(u64::MAX))),
            ("12", None),
            ("x", None),
        ] {
            assert_eq!(every(text), expected, "{text}");
        }
    }
}
