//! Faults of the Compose file that are found after it was read.

use super::exit::CommandError;
use crate::compose::model::Project;
use crate::plan::lower::Fault;

/// Faults that only show when the file meets its images, each with its place.
pub fn faults_of_the_file(project: &Project, faults: &[Fault]) -> CommandError {
    let mut text = String::new();
    for fault in faults {
        text += &format!("error: {}: {}\n", fault.path, fault.message);
        if let Some(place) = project.place(&fault.path) {
            text += &format!("  --> {place}\n");
        }
        if let Some(hint) = &fault.hint {
            text += &format!("  hint: {hint}\n");
        }
    }
    CommandError::rendered(text)
}
